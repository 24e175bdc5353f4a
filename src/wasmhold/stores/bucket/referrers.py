"""Referrers: the manifests whose subject is a given one.

A mark ``_r/<subject>/<digest>`` is written with a new nonce before the manifest is live, and taken
away when the manifest is gone.  It says that there may be a referrer; the descriptor is derived
from the manifest.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from ...oci.descriptor import Descriptor
from ...oci.digest import Digest
from ...oci.manifest import parse_manifest
from ..memo import Memo
from . import keys
from .cells import GONE, LIVE, Cells, state_of, turns
from .port import PAGE, Entry

_DESCRIPTORS: Final = 16 * 1024 * 1024  # bytes of descriptors that are remembered, roughly


def _weight(descriptor: Descriptor) -> int:
    return 1024 + sum(len(k) + len(v) + 256 for k, v in descriptor.annotations.items())


class BucketReferrers:
    """The list of referrers, and the removal of its marks."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        # By the mark's key and ETag.  A manifest that comes again writes its mark anew.
        self._known: Memo[tuple[str, str], Descriptor] = Memo(_DESCRIPTORS, _weight)

    async def page(
        self, name: str, subject: Digest, after: Digest | None, limit: int
    ) -> list[Descriptor]:
        prefix = keys.referrers(name, subject)
        found: list[Descriptor] = []
        behind, more = "" if after is None else keys.referrer(name, subject, after), True
        while more and len(found) < limit:
            page, more = await self._cells.bucket.list(prefix, behind, min(limit, PAGE))
            if page:
                behind = page[-1].key
            live = [entry for entry in page if state_of(entry) == LIVE]
            found += await self._descriptors(name, live)
        return found[:limit]

    async def _descriptors(self, name: str, marks: list[Entry]) -> list[Descriptor]:
        """Of those whose manifest is there."""
        known = {mark.key: self._known.get((mark.key, mark.etag)) for mark in marks}
        read = await self._cells.side_by_side(
            [partial(self._read, name, mark) for mark in marks if known[mark.key] is None]
        )
        known.update((key, descriptor) for key, descriptor in read)
        return [d for d in known.values() if d is not None]

    async def _read(self, name: str, mark: Entry) -> tuple[str, Descriptor | None]:
        digest = keys.digest_of(keys.last(mark.key))
        cell = await self._cells.read(keys.manifest(name, digest))
        if not cell.there:  # not yet, or its mark is left over
            return mark.key, None
        manifest = parse_manifest(cell.content, cell.payload.partition(" ")[0])
        descriptor = manifest.descriptor(digest, len(cell.content))
        self._known.put((mark.key, mark.etag), descriptor)
        return mark.key, descriptor

    async def drop(self, name: str, subject: str, digest: str, etag: str | None = None) -> bool:
        """Take the mark away if its manifest is gone; with `etag`: if it is still this one."""
        key = keys.referrer(name, subject, digest)
        for _ in turns():
            # The mark first, then the manifest: whoever brings the manifest back after we saw it
            # gone writes the mark anew, and the ETag that we hold is not its ETag any more.
            mark = await self._cells.read(key)
            if mark.state != LIVE or (etag is not None and mark.etag != etag):
                return False
            manifest = await self._cells.read(keys.manifest(name, digest))
            if manifest.state != GONE:
                return False
            if await self._cells.write(key, mark, GONE):
                return True
        raise AssertionError
