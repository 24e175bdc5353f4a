"""Manifests: what they refer to, and how they and their tags come and go.

The payload of a manifest's cell is ``<media type> <subject or ->{ <reference>}``; a reference is
``b/<digest>`` or ``m/<digest>``, to a blob or a manifest of the same repository.  The content is
the manifest as it was pushed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from ...oci.children import is_manifest, is_required
from ...oci.descriptor import Descriptor
from ...oci.digest import Digest
from ...oci.errors import ManifestBlobUnknown, ManifestUnknown, OutOfSpace, StoreUnavailable
from ...oci.manifest import Manifest
from ...ports.store import StoredManifest, TagGuard
from ..memo import Memo
from . import keys
from .cells import DOOMED, GONE, LIVE, PENDING, Cell, Cells, state_of, turns, unpack
from .referrers import BucketReferrers
from .tags import BucketTags

# A manifest that is pending refers too: its writer has seen, or will see, its targets live.
REFERS: Final = (PENDING, LIVE, DOOMED)

_REFERENCES: Final = 256 * 1024  # references that are remembered, of all manifests together


def references_of(payload: str) -> tuple[str, ...]:
    return tuple(payload.split(" ")[2:])


def _reference(child: Descriptor) -> str:
    return f"{'m' if is_manifest(child) else 'b'}/{child.digest}"


@dataclass(slots=True)
class _Put:
    """A manifest on its way, over all turns."""

    name: str
    digest: str
    payload: str
    content: bytes
    children: dict[str, bool]  # reference to: must it be there
    subject: str | None
    waiting: list[str]  # tags that do not point here yet
    cells: dict[str, Cell] = field(default_factory=dict)  # of these tags, as read in this turn

    @property
    def key(self) -> str:
        return keys.manifest(self.name, self.digest)


class BucketManifests:
    """`ports.store.Manifests`, and what collectors ask about references."""

    def __init__(self, cells: Cells, tags: BucketTags, referrers: BucketReferrers) -> None:
        self._cells = cells
        self._tags = tags
        self._referrers = referrers
        # What a manifest refers to follows from its digest: it never changes.
        self._references: Memo[str, tuple[str, ...]] = Memo(
            _REFERENCES, lambda found: 1 + len(found)
        )

    async def get(self, name: str, digest: Digest) -> StoredManifest | None:
        got = await self._cells.bucket.get(keys.manifest(name, digest))
        if got is None:
            return None
        cell = unpack(*got)
        if not cell.there:
            return None
        return StoredManifest(digest, cell.payload.partition(" ")[0], cell.content)

    # ---- put

    async def put(
        self,
        name: str,
        stored: StoredManifest,
        manifest: Manifest,
        *,
        tags: Sequence[str],
        guard: TagGuard,
        sparse: bool,
    ) -> None:
        children: dict[str, bool] = {}
        for child in manifest.children:
            reference = _reference(child)
            required = not sparse and is_required(child)
            children[reference] = children.get(reference, False) or required
        subject = None if manifest.subject is None else str(manifest.subject.digest)
        payload = " ".join([stored.media_type, subject or "-", *children])
        put = _Put(
            name,
            str(stored.digest),
            payload,
            stored.content,
            children,
            subject,
            [*dict.fromkeys(tags)],
        )
        for turn in turns():
            # 1: the reference, pending; and the tags, whose ETags are known before their marks.
            cell = await self._claim_and_read(put)
            if turn:
                self._leave_out_what_is_done(put)
            try:
                for tag in put.waiting:
                    await self._tags.ask(guard, name, tag, put.cells[tag])
                # 2: its targets, and the marks.
                await self._mark_and_check(put, cell)
            except Exception:
                # Nothing has changed for anybody; it only should not count as a reference.
                if cell.state == PENDING:
                    with suppress(StoreUnavailable, OutOfSpace):
                        await self._cells.write(put.key, cell, GONE)
                raise
            # 3: the commit; 4: the tags.
            if await self._commit(put, cell) and await self._point(put):
                return
        raise AssertionError

    async def _claim_and_read(self, put: _Put) -> Cell:
        jobs: list[Callable[[], Awaitable[Cell]]] = [partial(self._claim, put)]
        for tag in put.waiting:
            # A tag that is new gets a stub: without an ETag there is nothing to compare with.
            jobs.append(partial(self._cells.at_once, keys.tag(put.name, tag), GONE))
        cell, *tags = await self._cells.side_by_side(jobs)
        put.cells = dict(zip(put.waiting, tags, strict=True))
        return cell

    async def _claim(self, put: _Put) -> Cell:
        """The manifest's cell, pending or live."""
        cells, key = self._cells, put.key
        cell: Cell | None = await cells.at_once(key, PENDING, put.payload, put.content)
        for _ in turns():
            if cell is not None and cell.state in (LIVE, PENDING):
                return cell
            if cell is not None:
                state = LIVE if cell.state == DOOMED else PENDING
                cell = await cells.write(key, cell, state, put.payload, put.content)
            if cell is None:
                cell = await cells.read(key)
        raise AssertionError

    def _leave_out_what_is_done(self, put: _Put) -> None:
        """In a later turn, a tag that points here does so by our write or by a later one."""
        for tag, cell in put.cells.items():
            if cell.state == LIVE and cell.payload == put.digest:
                put.waiting.remove(tag)

    async def _mark_and_check(self, put: _Put, cell: Cell) -> None:
        cells, name = self._cells, put.name
        jobs: list[Callable[[], Awaitable[Cell | None]]] = []
        wanted = list(put.children) if cell.state == PENDING else []
        for reference in wanted:
            jobs.append(partial(cells.set_live, keys.target(name, reference)))
        if cell.state == PENDING:  # else the manifest keeps all of it, and has its own mark
            jobs.append(partial(self._name_live, name))
            if put.subject is not None:
                mark = keys.referrer(name, put.subject, put.digest)
                jobs.append(partial(cells.mark, mark))
        for tag in put.waiting:
            jobs.append(partial(cells.mark, keys.mark(name, put.digest, tag)))
        there = await cells.side_by_side(jobs)
        absent = [
            reference[2:]
            for reference, child in zip(wanted, there, strict=False)
            if child is None and put.children[reference]
        ]
        if absent:
            raise ManifestBlobUnknown(absent)

    async def _name_live(self, name: str) -> Cell:
        """The repository is a target like the children, only that it needs no push of its own."""
        key = keys.name(name)
        for _ in turns():
            cell = await self._cells.read(key)
            if cell.state == LIVE:
                return cell
            written = await self._cells.write(key, cell, LIVE)
            if written is not None:
                return written
        raise AssertionError

    async def _commit(self, put: _Put, cell: Cell) -> bool:
        if cell.state == PENDING or cell.payload != put.payload:
            # It may be live with another media type: the same bytes, pushed as something else.
            return bool(await self._cells.write(put.key, cell, LIVE, put.payload, put.content))
        if put.cells:
            # It was live before the tags' marks were; what counts is that it is so after.
            return bool(await self._cells.set_live(put.key))
        return True

    async def _point(self, put: _Put) -> bool:
        """Point the tags here; False: some were changed since the guard saw them."""
        waiting = put.waiting

        async def point(tag: str) -> Cell | None:
            key = keys.tag(put.name, tag)
            return await self._cells.write(key, put.cells[tag], LIVE, put.digest)

        pointed = await self._cells.side_by_side([partial(point, tag) for tag in waiting])
        put.waiting = [tag for tag, cell in zip(waiting, pointed, strict=True) if cell is None]
        return not put.waiting

    # ---- delete

    async def delete(self, name: str, digest: Digest, guard: TagGuard) -> None:
        key, text = keys.manifest(name, digest), str(digest)
        tags: dict[str, Cell] = {}
        for _ in turns():
            cell = await self._cells.read(key)
            if not cell.there:
                break
            tags = await self._tags_of(name, text)
            for tag, tag_cell in tags.items():
                await self._tags.ask(guard, name, tag, tag_cell)
            # The payload stays: a repeat reads the subject in it.
            if await self._cells.write(key, cell, GONE, cell.payload):
                break
        # From here on the tags that point here are absent for every reader, and who marks one now
        # looks at the manifest after that.  A repeat finishes what an earlier attempt left.
        if cell.etag is not None and cell.state != PENDING:
            await self._clean(name, text, cell.payload, tags)
        if not cell.there:
            raise ManifestUnknown(name, text)

    async def _clean(self, name: str, digest: str, payload: str, before: dict[str, Cell]) -> None:
        """Remove what pointed to the manifest; `before`: the tags that did while it was there."""

        async def remove(tag: str) -> None:
            key, cell = keys.tag(name, tag), before.get(tag)
            for _ in turns():
                if cell is None:
                    break
                if await self._cells.write(key, cell, GONE):
                    return
                now = await self._cells.read(key)
                # Another ETag: changed since, perhaps by who has brought the manifest back.
                cell = now if now.etag == cell.etag else None
            await self._tags.drop_dangling(name, tag)

        tags = await self._marked(name, digest)
        await self._cells.side_by_side([partial(remove, tag) for tag in tags])
        subject = payload.split(" ", 2)[1] if payload else "-"
        if subject != "-":
            await self._referrers.drop(name, subject, digest)

    async def _tags_of(self, name: str, digest: str) -> dict[str, Cell]:
        """The tags that point to the manifest."""

        async def read(tag: str) -> tuple[str, Cell]:
            return tag, await self._cells.read(keys.tag(name, tag))

        tags = await self._marked(name, digest)
        found = await self._cells.side_by_side([partial(read, tag) for tag in tags])
        return {tag: c for tag, c in found if c.state == LIVE and c.payload == digest}

    async def _marked(self, name: str, digest: str) -> list[str]:
        """The tags that may point to the manifest, by its marks."""
        marks = await self._cells.listed(keys.marks(name, digest))
        return [keys.last(mark.key) for mark in marks if state_of(mark) == LIVE]

    # ---- references, for those who remove

    async def references(self, key: str) -> tuple[str, ...]:
        """What the manifest refers to; nothing when it is gone by now.

        If it comes back after that, its writer looks at its targets after that too.
        """
        digest = keys.last(key)
        found = self._references.get(digest)
        if found is None:
            cell = await self._cells.read(key)
            found = references_of(cell.payload)
            if cell.state == GONE:
                return ()
            self._references.put(digest, found)
        return found

    async def refer_to(self, name: str, digest: Digest) -> bool:
        """Whether a manifest of the repository refers to the blob."""
        wanted = f"b/{digest}"
        async with aclosing(self._cells.pages(keys.manifests(name))) as pages:
            async for page in pages:
                for entry in page:
                    if state_of(entry) in REFERS and wanted in await self.references(entry.key):
                        return True
        return False
