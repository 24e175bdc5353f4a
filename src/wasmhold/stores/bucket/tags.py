"""Tags.  The payload of a tag's cell is the digest that it points to."""

from __future__ import annotations

from ...oci.digest import Digest
from ...oci.errors import ManifestUnknown, WasmholdError
from ...ports.store import TagGuard
from . import keys
from .cells import GONE, LIVE, Cell, Cells, payload_of, state_of, turns
from .port import PAGE


class BucketTags:
    """`ports.store.Tags`, the guard, and the removal of marks."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells

    async def get(self, name: str, tag: str) -> Digest | None:
        # The manifest is not looked at: whoever asks for it next sees whether it is there, and a
        # GET by tag stays at two requests.
        got = await self._cells.bucket.get(keys.tag(name, tag))
        if got is None or len(got[0]) % 8 != LIVE:
            return None
        return keys.digest_of(payload_of(got[0]))

    async def delete(self, name: str, tag: str, guard: TagGuard) -> None:
        key = keys.tag(name, tag)
        for _ in turns():
            cell = await self._cells.read(key)
            if cell.state != LIVE:
                raise ManifestUnknown(name, tag)
            await self.ask(guard, name, tag, cell)
            if await self._cells.write(key, cell, GONE):
                return
        raise AssertionError

    async def page(self, name: str, after: str, limit: int) -> list[str] | None:
        if not (await self._cells.read(keys.name(name))).there:
            return None
        found: list[str] = []
        behind, more = keys.tag(name, after) if after else "", True
        while more and len(found) < limit:
            page, more = await self._cells.bucket.list(keys.tags(name), behind, min(limit, PAGE))
            if page:
                behind = page[-1].key
            found += [keys.last(entry.key) for entry in page if state_of(entry) == LIVE]
        return found[:limit]

    async def ask(self, guard: TagGuard, name: str, tag: str, cell: Cell) -> None:
        """Put the tag's present to the guard; what it raises goes on.

        A tag whose manifest is gone counts as absent.  Only a guard that refuses makes it worth
        a request to find out.
        """
        current = keys.digest_of(cell.payload) if cell.state == LIVE else None
        try:
            guard(tag, current)
        except WasmholdError:
            if current is None:
                raise
            if (await self._cells.read(keys.manifest(name, current))).there:
                raise
            guard(tag, None)

    async def drop_mark(self, name: str, digest: str, tag: str, etag: str) -> bool:
        """Take a mark away whose tag points elsewhere, if the mark is still the one listed."""
        key = keys.mark(name, digest, tag)
        mark = await self._cells.read(key)
        if mark.etag != etag:
            return False
        cell = await self._cells.read(keys.tag(name, tag))
        if cell.state == LIVE and cell.payload == digest:
            return False
        # A writer may have read the tag, and marked, and not yet written.  The tag gets a new
        # nonce before its mark goes, so that such a writer fails and marks anew.
        if not await self._cells.rewrite(keys.tag(name, tag), cell, cell.state):
            return True
        await self._cells.write(key, mark, GONE)
        return True

    async def drop_dangling(self, name: str, tag: str) -> bool:
        """Take a tag away whose manifest is not there.

        One that is pending counts too: a tag is pointed to a manifest that is live, so this one
        was pointed there before the manifest went.
        """
        key = keys.tag(name, tag)
        for _ in turns():
            cell = await self._cells.read(key)  # the tag first, then the manifest
            if cell.state != LIVE:
                return False
            if (await self._cells.read(keys.manifest(name, cell.payload))).there:
                return False
            if await self._cells.write(key, cell, GONE):
                return True
        raise AssertionError
