"""Blobs of a repository: links to the blobs of the whole store."""

from __future__ import annotations

from ...oci.digest import Digest
from ...oci.errors import BlobInUse, BlobUnknown
from ...ports.body import Body
from . import keys
from .cells import DOOMED, GONE, LIVE, PENDING, Cells, turns
from .content import Content, ContentBody, size_of
from .manifests import BucketManifests


class BucketBlobs:
    """`ports.store.Blobs`."""

    def __init__(self, cells: Cells, manifests: BucketManifests) -> None:
        self._cells = cells
        self._manifests = manifests

    async def stat(self, name: str, digest: Digest) -> int | None:
        link = await self._cells.read(keys.link(name, digest))
        return size_of(link.payload) if link.there else None

    async def open(self, name: str, digest: Digest, start: int, stop: int | None) -> Body:
        # The link copies what the blob's cell says, so that a read takes one request and the data.
        link = await self._cells.read(keys.link(name, digest))
        if not link.there:
            raise BlobUnknown(name, str(digest))
        content = Content.parse(link.payload)
        return ContentBody(
            self._cells.bucket, content, start, content.size if stop is None else stop
        )

    async def mount(self, name: str, digest: Digest, source: str | None) -> int | None:
        cells, link_key, blob_key = self._cells, keys.link(name, digest), keys.blob(digest)
        source_key = blob_key if source is None else keys.link(source, digest)
        for _ in turns():
            theirs, link = await cells.side_by_side(
                [lambda: cells.read(source_key), lambda: cells.first(link_key, PENDING)]
            )
            if link.state == LIVE:
                return size_of(link.payload)
            if not theirs.there:  # the pending link is no blob for anybody; a collector takes it
                return None
            if link.state == DOOMED:
                if await cells.rewrite(link_key, link, LIVE):
                    return size_of(link.payload)
                continue
            if link.state == GONE:
                pending = await cells.write(link_key, link, PENDING)
                if pending is None:
                    continue
                link = pending
            # That their link is there says nothing about the blob, as it is after ours is visible.
            blob = await cells.set_live(blob_key)
            if blob is None:
                return None
            if await cells.write(link_key, link, LIVE, blob.payload):
                return size_of(blob.payload)
        raise AssertionError

    async def delete(self, name: str, digest: Digest) -> None:
        """The collector's three steps, for one link: doom, list the references, kill."""
        key = keys.link(name, digest)
        for _ in turns():
            link = await self._cells.read(key)
            if not link.there:
                raise BlobUnknown(name, str(digest))
            if link.state == LIVE:
                doomed = await self._cells.rewrite(key, link, DOOMED)
                if doomed is None:
                    continue
                link = doomed
            if await self._manifests.refer_to(name, digest):
                await self._cells.set_live(key)
                raise BlobInUse(name, str(digest))
            if await self._cells.write(key, link, GONE):
                return
            # Rescued in between: by a manifest that now refers to it, or by a push of it.
        raise AssertionError
