"""Collection: one round of removing what nothing refers to.

Candidates are found without a lock: names of blobs, then the manifests and what they refer to.
Then, for some at a time, under the repository's exclusive lock, which is held for milliseconds: the
manifests are listed again (only new ones are read), their removals are made durable, and what still
is old and not referred to is unlinked.  A manifest is put under the shared lock, so it either is in
that list, or finds its children gone and is refused.  Pulls take no lock, and open files stay.

A file of the pool with no other name belongs to no repository.  Whoever names it in between has
its own name, and whoever comes later finds it gone and brings its own copy: no lock is needed.

The kernel drops the locks of who dies.  Ages only decide what is looked at.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ...oci.digest import HEX_LENGTH, Digest
from ...oci.errors import ContentDamaged, ManifestInvalid, StoreUnavailable
from ...ports.store import Collected
from . import paths
from .catalog import Catalog
from .disk import Disk, mark_dirty
from .files import Absent, Status
from .manifests import DirectoryManifests, Used
from .paths import RepositoryPaths
from .uploads import DirectoryUploads

SESSION_AGE_S: Final = 24 * 3600.0  # since its last byte; then nobody will go on with it

_BATCH: Final = 1000  # unlinked while the lock is held once
_PAGE: Final = 1000  # repositories

# The rules, as an operator reads them.
_UNUSED: Final = "no manifest refers to it"
_UNTAGGED: Final = "no tag, no index and no subject keeps it"
_UNNAMED: Final = "no repository has it"
_OVER: Final = "nobody has gone on with it for a day"
_DEAD: Final = "their process is gone"


@dataclass(frozen=True, slots=True)
class Removal:
    """What a round removes, and the rule by which; `size` in bytes, 0 where it is not counted."""

    what: str
    rule: str
    repository: str | None = None  # None: of the whole store
    size: int = 0


Told = Callable[[Removal], None]


class Collector:
    def __init__(
        self,
        disk: Disk,
        catalog: Catalog,
        manifests: DirectoryManifests,
        uploads: DirectoryUploads,
        tmp: str,
        look: Callable[[str], Awaitable[object]],
    ) -> None:
        self.disk = disk
        self.catalog = catalog
        self.manifests = manifests
        self.uploads = uploads
        self.tmp = tmp
        self.look = look

    async def collect(
        self,
        grace_s: float,
        *,
        untagged: bool,
        dry_run: bool = False,
        told: Told = lambda removal: None,
    ) -> Collected:
        """With `dry_run` nothing is removed, and what would be is told and counted."""
        return await _Round(self, grace_s, untagged=untagged, dry_run=dry_run, told=told).run()

    async def sweep(self) -> None:
        """Remove what dead processes did not finish; it depends on nothing else that is stored."""
        await _Round(self, 0, untagged=False).leftovers()


class _Round:
    def __init__(
        self,
        collector: Collector,
        grace_s: float,
        *,
        untagged: bool,
        dry_run: bool = False,
        told: Told = lambda removal: None,
    ) -> None:
        self._disk = collector.disk
        self._files = collector.disk.files
        self._catalog = collector.catalog
        self._manifests = collector.manifests
        self._uploads = collector.uploads
        self._tmp = collector.tmp
        self._look = collector.look
        now = collector.disk.runtime.now()
        self._before_ns = int((now - grace_s) * 1e9)
        self._sessions_before_ns = int((now - SESSION_AGE_S) * 1e9)
        self._untagged = untagged
        self._dry_run = dry_run
        self._told = told
        self._gone: set[Digest] = set()  # manifests of this repository, as if they were removed
        self._names_left: dict[int, int] = {}  # by inode, as if others were removed
        self._removed = self._freed = 0
        self._changed = False

    async def run(self) -> Collected:
        names = await self._catalog.every("", _PAGE)
        while names:
            for name in names:
                await self._repository(paths.repository(name))
            names = await self._catalog.every(names[-1], _PAGE)
        await self._sessions()
        await self.leftovers()
        await self._pool()  # last: what goes before may have been another name of the same file
        return Collected(self._removed, self._freed, self._changed)

    def _is_old(self, found: Status | None) -> bool:
        return found is not None and found.changed_ns <= self._before_ns

    # ---- a repository

    async def _repository(self, of: RepositoryPaths) -> None:
        try:
            await self._look(of.name)  # another tool may have brought what refers to the blobs
        except StoreUnavailable:
            return  # it leads out of the root
        if await self._files.stat(of.index_kept) is not None:
            return  # a layout that cannot be taken whole yet: what its blobs are for is not known
        self._gone = set()
        try:
            if self._untagged:
                await self._remove_untagged(of)
            await self._blobs(of)
        except (ContentDamaged, ManifestInvalid):
            return  # what a manifest refers to that cannot be read, nobody knows: all of it stays
        except Absent:
            return  # somebody has taken the folder away

    async def _blobs(self, of: RepositoryPaths) -> None:
        found: list[Digest] = []
        for algorithm in HEX_LENGTH:
            files = await self._files.names(of.blobs_of(algorithm)) or []
            found += [d for f in files if (d := paths.read_hex(algorithm, f)) is not None]
        used = await self._used(of)

        async def is_candidate(digest: Digest) -> bool:
            return digest not in used.digests and self._is_old(
                await self._files.stat(of.blob(digest))
            )

        found.sort()
        old = await self._disk.runtime.map(is_candidate, found, 1)
        candidates = [digest for digest, wanted in zip(found, old, strict=True) if wanted]
        for batch in _batches(candidates):
            if self._dry_run:
                for digest in batch:
                    await self._pretend(of, digest)
            else:
                used = await self._unlink(of, batch, used)

    async def _used(self, of: RepositoryPaths) -> Used:
        if not self._gone:
            return await self._manifests.used(of)
        manifests: set[Digest] = set()
        used: set[Digest] = set()
        for digest, media_type in (await self._manifests.entries(of)).items():
            if digest not in self._gone:
                manifests.add(digest)
                used |= {digest, *await self._manifests.references(of, digest, media_type)}
        return Used(manifests, used)

    async def _pretend(self, of: RepositoryPaths, digest: Digest) -> None:
        found = await self._files.stat(of.blob(digest))
        if found is None:
            return
        left = self._names_left.get(found.inode, found.links) - 1
        self._names_left[found.inode] = left
        if left == 1 and await self._is_pooled(digest, found):
            self._freed += found.size
        self._note_removed(Removal(str(digest), _UNUSED, of.name, found.size))

    async def _is_pooled(self, digest: Digest, found: Status) -> bool:
        pooled = await self._files.stat(paths.pool(digest))
        return pooled is not None and pooled.inode == found.inode

    async def _unlink(self, of: RepositoryPaths, candidates: Sequence[Digest], used: Used) -> Used:
        """What is used now, for the next batch."""
        async with self._disk.locked(of.lock, exclusive=True):
            used = await self._manifests.used_again(of, used)
            # A removal that we have seen must not come undone after what it referred to is gone.
            await self._disk.sync(of.manifests)
            for digest in candidates:
                # Pushed again meanwhile: then it is young.
                found = None if digest in used.digests else await self._files.stat(of.blob(digest))
                if found is not None and self._is_old(found):
                    await self._files.unlink(of.blob(digest))
                    self._note_removed(Removal(str(digest), _UNUSED, of.name, found.size))
        return used

    async def _remove_untagged(self, of: RepositoryPaths) -> None:
        if self._dry_run:
            while untagged := await self._untagged_in(of):
                self._gone |= {*untagged}
                for digest in untagged:
                    self._note_removed(Removal(str(digest), _UNTAGGED, of.name))
            return
        while await self._untagged_in(of):  # so that little is read while we hold the lock
            async with self._disk.locked(of.lock, exclusive=True):
                untagged = await self._untagged_in(of)
                if not untagged:
                    return
                # Of what was removed and moved, all that led to this decision.
                await self._disk.sync(of.tags, of.manifests)
                await mark_dirty(self._disk, of)
                for digest in untagged:
                    await self._manifests.remove(of, digest, None)
                    self._note_removed(Removal(str(digest), _UNTAGGED, of.name))

    async def _untagged_in(self, of: RepositoryPaths) -> list[Digest]:
        """Old manifests that no tag, no index and no subject keeps."""
        tags = await self._files.texts(of.tags)
        kept = {paths.read_short(text) for text in tags.values()}
        entries = await self._manifests.entries(of)
        for digest in self._gone:
            entries.pop(digest, None)
        for digest, media_type in entries.items():
            kept |= {*await self._manifests.references(of, digest, media_type)}
        untagged: list[Digest] = []
        for digest in entries.keys() - kept:
            manifest = await self._manifests.parsed(of, digest)
            if manifest is None or manifest.subject is not None:
                continue
            if self._is_old(await self._files.stat(of.manifest(digest))):
                untagged.append(digest)
        return sorted(untagged)[:_BATCH]

    # ---- the rest

    async def _pool(self) -> None:
        for algorithm in HEX_LENGTH:
            shelf = f"{paths.POOL}/{algorithm}"
            for folder in sorted(await self._files.names(shelf) or []):
                files = sorted(await self._files.names(f"{shelf}/{folder}") or [])
                pooled = [f"{shelf}/{folder}/{file}" for file in files]
                await self._disk.runtime.map(self._pooled, pooled, 1)

    async def _pooled(self, path: str) -> None:
        found = await self._files.stat(path)
        if found is None or found.links != 1:
            return
        if self._dry_run or await self._files.unlink(path):
            self._freed += found.size
            self._note_removed(Removal(path.rpartition("/")[2], _UNNAMED, None, found.size))

    async def _sessions(self) -> None:
        sessions = sorted(await self._files.names(paths.UPLOADS) or [])
        await self._disk.runtime.map(self._session, sessions, 1)
        committed = sorted(await self._files.names(paths.COMMITTED) or [])
        await self._disk.runtime.map(self._committed, committed, 1)

    async def _session(self, session: str) -> None:
        folder = paths.upload(session)
        state = f"{folder}/state"
        if not self._is_over(await self._files.stat(state) or await self._files.stat(folder)):
            return
        held = await self._files.lock(state, exclusive=True, wait=False)
        try:
            if held is not None and not self._is_over(await self._files.stat(state)):
                return
            if held is not None or await self._files.stat(state) is None:
                if not self._dry_run:
                    await self._uploads.drop(session)
                self._note_removed(Removal(f"the upload session {session}", _OVER))
        finally:
            if held is not None:
                await self._files.unlock(held)

    def _is_over(self, found: Status | None) -> bool:
        return found is not None and found.modified_ns <= self._sessions_before_ns

    async def _committed(self, session: str) -> None:
        path = paths.committed(session)
        if self._is_over(await self._files.stat(path)) and not self._dry_run:
            self._changed |= await self._files.unlink(path)

    async def leftovers(self) -> None:
        """What dead processes did not finish."""
        for process in await self._files.names(paths.TMP) or []:
            folder = f"{paths.TMP}/{process}"
            if folder == self._tmp:
                continue
            held = await self._files.lock(f"{folder}/lock", exclusive=True, wait=False)
            if held is None:
                continue  # it lives
            if self._dry_run:
                await self._files.unlock(held)
                self._told(Removal(f"unfinished files in {folder}", _DEAD))
                continue
            try:
                for file in sorted(await self._files.names(folder) or []):
                    if file != "lock":
                        await self._files.unlink(f"{folder}/{file}")
                await self._files.unlink(f"{folder}/lock")
                await self._files.remove_folder(folder)
                self._changed = True
            finally:
                await self._files.unlock(held)

    def _note_removed(self, removal: Removal) -> None:
        self._removed += 1
        self._changed = True
        self._told(removal)


def _batches(items: Sequence[Digest]) -> Iterator[Sequence[Digest]]:
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]
