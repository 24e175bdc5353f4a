"""Collection: one round of removing what nothing refers to.

A round lists targets before the references to them, and then, for every target that no listed
reference points to, by a replace with the listed ETag:

    listed       what is done
    -----------  ---------------------------------------------------------------
    live         doomed
    doomed       killed: the references were listed after it was doomed
    dead         its bytes are removed, then the name is free
    pending      gone: its writer's commit will fail, and it begins anew
    gone         forgotten, where the bucket can delete if-match

and a doomed target that is referred to again becomes live.  So two rounds take a level away, and
six all of them: manifests, links, blobs.  Why that is safe stands in the package's docstring.  Ages
only decide what is looked at.  The round may die after any request, and any number may run at once.

Memory: the digests of all blobs, the names of all repositories, and the keys of one repository.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Final, ParamSpec

from ...ports.store import Collected
from ..memo import Memo
from . import keys
from .cells import (
    CLOSING,
    COMMITTING,
    DEAD,
    DOOMED,
    GONE,
    LIVE,
    OPEN,
    PENDING,
    Cells,
    State,
    state_of,
)
from .manifests import REFERS, BucketManifests
from .port import Entry
from .referrers import BucketReferrers
from .staging import next_or_none
from .tags import BucketTags
from .uploads import BucketUploads, Session

SESSION_AGE_S: Final = 24 * 3600.0  # since its last byte; then nobody will go on with it

_PARTS: Final = 64 * 1024  # sessions whose parts are remembered

P = ParamSpec("P")
Job = Callable[[], Awaitable[object]]


class Collector:
    """What a round needs, and what is remembered from one round to the next."""

    def __init__(
        self,
        cells: Cells,
        uploads: BucketUploads,
        manifests: BucketManifests,
        tags: BucketTags,
        referrers: BucketReferrers,
    ) -> None:
        self.cells = cells
        self.uploads = uploads
        self.manifests = manifests
        self.tags = tags
        self.referrers = referrers
        # The parts of a session that owns a blob are final.
        self.parts: Memo[str, frozenset[str]] = Memo(_PARTS)

    async def collect(self, grace_s: float, *, untagged: bool) -> Collected:
        return await _Round(self, grace_s, untagged=untagged).run()


class _Repository:
    """The listed keys of one repository, by kind."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.of: dict[str, list[Entry]] = {kind: [] for kind in "bmrtx"}


class _Round:
    def __init__(self, collector: Collector, grace_s: float, *, untagged: bool) -> None:
        self._collector = collector
        self._cells = collector.cells
        self._now = collector.cells.runtime.now()
        self._before = self._now - grace_s
        self._untagged = untagged
        self._removed = self._freed = 0
        self._changed = False
        # Targets that no reference was seen to yet.
        self._blobs: dict[str, Entry] = {}
        self._names: dict[str, Entry] = {}

    async def run(self) -> Collected:
        self._blobs = await self._targets(keys.BLOBS, keys.last)
        self._names = await self._targets(keys.NAMES, keys.repository_of_name)
        async for repository in self._repositories():
            await self._repository(repository)
        await self._do([self._job(blob, DEAD) for blob in self._blobs.values()])
        await self._do([self._job(name, GONE) for name in self._names.values()])
        await self._sessions()
        return Collected(self._removed, self._freed, self._changed)

    def _old(self, entry: Entry) -> bool:
        return entry.modified <= self._before

    def _due(self, entry: Entry) -> bool:
        """What is doomed was old enough when it was doomed."""
        return state_of(entry) in (DOOMED, DEAD) or self._old(entry)

    # ---- the listings

    async def _targets(self, prefix: str, name_of: Callable[[str], str]) -> dict[str, Entry]:
        """Those below `prefix` that may go; stubs go at once."""
        found: dict[str, Entry] = {}
        async for page in self._cells.pages(prefix):
            await self._do([self._job(e, GONE) for e in page if state_of(e) == GONE])
            for entry in page:
                if state_of(entry) != GONE and self._due(entry):
                    found[name_of(entry.key)] = entry
        return found

    async def _repositories(self) -> AsyncGenerator[_Repository, None]:
        """Each repository that has any key, when all of them are listed."""
        current: _Repository | None = None
        async for page in self._cells.pages(keys.REPOSITORIES):
            for entry in page:
                name, kind, _ = keys.place(entry.key)
                if current is None or current.name != name:
                    if current is not None:
                        yield current
                    current = _Repository(name)
                current.of[kind].append(entry)
        if current is not None:
            yield current

    # ---- a repository

    async def _repository(self, repository: _Repository) -> None:
        of, name = repository.of, repository.name
        manifests = [entry for entry in of["m"] if state_of(entry) in REFERS]
        if self._untagged:
            # Indexes refer to manifests, so these are targets too: listed once more, now that
            # they are listed as targets.
            again = await self._cells.listed(keys.manifests(name))
            manifests += [entry for entry in again if state_of(entry) in REFERS]
        used = await self._used({entry.key for entry in manifests})
        await self._name(name, bool(manifests))
        jobs: list[Job] = []
        for entry in of["b"]:
            jobs += self._blob_of(entry)
            if keys.reference(entry.key) not in used:
                jobs += self._job_or_none(entry, GONE)
            elif state_of(entry) == DOOMED:
                jobs.append(self._revive(entry.key))
        jobs += self._manifests(of, used)
        jobs += await self._tags_and_marks(name, of, {keys.last(entry.key) for entry in manifests})
        await self._do(jobs)

    async def _used(self, manifests: set[str]) -> set[str]:
        references = self._collector.manifests.references
        found = await self._cells.side_by_side(
            [partial(references, key) for key in sorted(manifests)]
        )
        return {reference for some in found for reference in some}

    async def _name(self, name: str, used: bool) -> None:
        """The repository's own name is a target of all its manifests."""
        entry = self._names.get(name)
        if entry is not None and used:
            del self._names[name]
            if state_of(entry) == DOOMED:
                await self._do([self._revive(entry.key)])

    def _blob_of(self, link: Entry) -> list[Job]:
        """The blob that the link refers to is used."""
        if state_of(link) not in REFERS:
            return []
        blob = self._blobs.get(keys.last(link.key))
        if blob is None or state_of(blob) == DEAD:
            return []
        del self._blobs[keys.last(link.key)]
        return [self._revive(blob.key)] if state_of(blob) == DOOMED else []

    def _manifests(self, of: dict[str, list[Entry]], used: set[str]) -> list[Job]:
        jobs: list[Job] = []
        kept = {keys.place(mark.key).rest.partition("/")[0] for mark in of["x"] if _live(mark)}
        kept |= {keys.last(mark.key) for mark in of["r"] if _live(mark)}
        for entry in of["m"]:
            state = state_of(entry)
            stays = (
                not self._untagged
                or keys.last(entry.key) in kept
                or keys.reference(entry.key) in used
            )
            if state in (GONE, PENDING) or not stays:
                jobs += self._job_or_none(entry, GONE)
            elif state == DOOMED:
                jobs.append(self._revive(entry.key))
        return jobs

    async def _tags_and_marks(
        self, name: str, of: dict[str, list[Entry]], manifests: set[str]
    ) -> list[Job]:
        """What here is listed only says where to look: each removal reads again."""
        jobs: list[Job] = []
        tags = self._collector.tags
        marked: dict[str, list[tuple[str, Entry]]] = {}
        for mark in of["x"]:
            if _live(mark):
                digest, tag = keys.place(mark.key).rest.split("/")
                marked.setdefault(tag, []).append((digest, mark))
            else:
                jobs += self._job_or_none(mark, GONE)
        for entry in of["t"]:
            tag = keys.last(entry.key)
            if not _live(entry):
                jobs += self._job_or_none(entry, GONE)
                continue
            marks = marked.pop(tag, [])
            # A tag that is live has its mark.  Where it has one only, that says where it points.
            points_to = marks[0][0] if len(marks) == 1 else await self._points_to(entry)
            if points_to is not None and points_to not in manifests:
                jobs.append(self._noted(tags.drop_dangling, name, tag))
            marked[tag] = [(digest, mark) for digest, mark in marks if digest != points_to]
        for stale in marked.values():
            jobs += [self._drop_mark(name, *mark) for mark in stale if self._old(mark[1])]
        for entry in of["r"]:
            if not _live(entry):
                jobs += self._job_or_none(entry, GONE)
            elif self._old(entry) and keys.last(entry.key) not in manifests:
                jobs.append(self._drop_referrer(name, entry))
        return jobs

    async def _points_to(self, entry: Entry) -> str | None:
        cell = await self._cells.read(entry.key)
        return cell.payload if cell.state == LIVE else None

    def _drop_mark(self, name: str, digest: str, mark: Entry) -> Job:
        tag = keys.last(mark.key)
        return self._noted(self._collector.tags.drop_mark, name, digest, tag, mark.etag)

    def _drop_referrer(self, name: str, mark: Entry) -> Job:
        subject, digest = keys.place(mark.key).rest.split("/")
        return self._noted(self._collector.referrers.drop, name, subject, digest, mark.etag)

    # ---- one target

    def _job_or_none(self, entry: Entry, end: State) -> list[Job]:
        """Nobody refers to the target: what to do with it, if it is old enough."""
        return [self._job(entry, end)] if self._due(entry) else []

    def _job(self, entry: Entry, end: State) -> Job:
        if state_of(entry) == GONE:
            return partial(self._forget, entry)
        return partial(self._sweep, entry, end)

    async def _forget(self, entry: Entry) -> None:
        if self._old(entry) and await self._cells.forget(entry.key, entry.etag):
            self._changed = True

    def _revive(self, key: str) -> Job:
        return self._noted(self._cells.set_live, key)

    def _noted(self, step: Callable[P, Awaitable[object]], *of: P.args, **more: P.kwargs) -> Job:
        """The step as a job that notes whether it changed anything."""

        async def job() -> None:
            if await step(*of, **more):
                self._changed = True

        return job

    async def _sweep(self, entry: Entry, end: State) -> None:
        """`entry` was listed before the references to it were."""
        key, state = entry.key, state_of(entry)
        cell = await self._cells.read(key)
        if cell.etag != entry.etag:
            return  # somebody has used or rescued it; the next round sees what it is then
        self._changed = True
        if state == PENDING:
            await self._cells.write(key, cell, GONE)
        elif state == LIVE:
            await self._cells.rewrite(key, cell, DOOMED)
        elif state == DOOMED and end == GONE:
            if await self._cells.write(key, cell, GONE):
                self._removed += 1
        elif state == DOOMED:
            dead = await self._cells.rewrite(key, cell, DEAD)
            if dead is not None:
                self._removed += 1
                self._freed += await self._collector.uploads.bury(key, dead)
        elif state == DEAD:  # somebody died in the middle of it
            self._freed += await self._collector.uploads.bury(key, cell)

    async def _do(self, jobs: list[Job]) -> None:
        if jobs:
            await self._cells.side_by_side(jobs)

    # ---- sessions and bytes

    async def _sessions(self) -> None:
        """Sessions beside what they have staged; both listings are in the order of sessions."""
        async with aclosing(self._staged()) as staged:
            data = await next_or_none(staged)
            async for page in self._cells.pages(keys.UPLOADS):
                for entry in page:
                    upload = keys.last(entry.key)
                    while data is not None and data[0] < upload:
                        await self._strays(*data)
                        data = await next_or_none(staged)
                    parts: list[Entry] = []
                    if data is not None and data[0] == upload:
                        parts = data[1]
                        data = await next_or_none(staged)
                    await self._session(entry, upload, parts)
            while data is not None:
                await self._strays(*data)
                data = await next_or_none(staged)

    async def _staged(self) -> AsyncGenerator[tuple[str, list[Entry]], None]:
        """What lies under ``data/``, session by session."""
        session, parts = "", list[Entry]()
        async for page in self._cells.pages(keys.DATA):
            for entry in page:
                if keys.session_of_data(entry.key) != session:
                    if parts:
                        yield session, parts
                    session, parts = keys.session_of_data(entry.key), []
                parts.append(entry)
        if parts:
            yield session, parts

    async def _session(self, entry: Entry, upload: str, parts: list[Entry]) -> None:
        state, uploads = state_of(entry), self._collector.uploads
        if state == OPEN:
            if entry.modified <= self._now - SESSION_AGE_S:
                await self._end(uploads.discard(upload))
        elif state == COMMITTING and self._old(entry):
            await self._end(uploads.settle(upload))
        elif state == CLOSING and self._old(entry):
            await self._end(uploads.discard(upload))
        elif state == LIVE and parts:
            used = await self._parts(upload)
            if used is not None:  # others lost a race for their place
                await self._delete([part for part in parts if keys.last(part.key) not in used])
        elif state == GONE and parts:
            await self._delete(parts)
        elif state == GONE:
            await self._forget(entry)

    async def _end(self, step: Awaitable[int]) -> None:
        self._changed = True
        self._freed += await step

    async def _parts(self, upload: str) -> frozenset[str] | None:
        parts = self._collector.parts.get(upload)
        if parts is None:
            cell = await self._cells.read(keys.upload(upload))
            if cell.state != LIVE:
                return None
            parts = frozenset(part.name for part in Session.parse(cell.payload).parts)
            self._collector.parts.put(upload, parts)
        return parts

    async def _strays(self, upload: str, parts: list[Entry]) -> None:
        """Bytes without a session in the listing; it may have begun after its page was read."""
        if (await self._cells.read(keys.upload(upload))).etag is None:
            await self._delete(parts)

    async def _delete(self, parts: list[Entry]) -> None:
        # Nobody will ever use them: the key is used once, and its session has ended.
        for part in parts:
            if self._old(part):
                await self._collector.uploads.staging.delete(part.key)
                self._changed = True
                self._freed += part.size


def _live(entry: Entry) -> bool:
    return state_of(entry) == LIVE
