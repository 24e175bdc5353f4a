"""A cache near by in front of one that is far: what is read comes nearer, what is put goes to both.

Manifests and blobs are what their digests say, wherever they lie.  What a tag led to is asked of
the far one alone, since others write there too.  What comes from far, and has no room near by, is
read all the same.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

from ...oci.descriptor import Descriptor
from ...oci.digest import Digest
from ...oci.errors import (
    BlobUnknown,
    ContentDamaged,
    Denied,
    OutOfSpace,
    SizeInvalid,
    StoreUnavailable,
)
from ...ports.body import Body
from ...ports.repository import BlobSource
from ...ports.store import StoredManifest
from .port import Cache, Kept, Record, RecordKey

_OCTETS: Final = "application/octet-stream"
_CANNOT_WRITE: Final = (OutOfSpace, Denied, StoreUnavailable)


class _From:
    """`ports.repository.BlobSource`: a blob as a cache has it; `otherwise` where it has not."""

    def __init__(self, cache: Cache, digest: Digest, otherwise: BlobSource | None = None) -> None:
        self._cache, self._digest, self._otherwise = cache, digest, otherwise

    async def open(self, start: int) -> Body:
        try:
            return await self._cache.blob_open(self._digest, start)
        except BlobUnknown:
            if self._otherwise is None:
                raise
            return await self._otherwise.open(start)


class TieredCache:
    """`caches.port.Cache`; lists, and what is deleted, are of `far`."""

    def __init__(self, near: Cache, far: Cache) -> None:
        self.place = far.place
        self._near, self._far = near, far

    # ---- blobs

    async def blob_size(self, digest: Digest) -> int | None:
        size = await self._near.blob_size(digest)
        return await self._far.blob_size(digest) if size is None else size

    async def blob_open(self, digest: Digest, start: int = 0) -> Body:
        try:
            return await self._near.blob_open(digest, start)
        except BlobUnknown:
            pass
        size = await self._far.blob_size(digest)
        if size is None:
            raise BlobUnknown(self.place, str(digest))
        try:
            await self._near.blob_put(Descriptor(_OCTETS, digest, size), _From(self._far, digest))
            return await self._near.blob_open(digest, start)
        except (ContentDamaged, SizeInvalid):
            raise BlobUnknown(self.place, str(digest)) from None
        except (BlobUnknown, *_CANNOT_WRITE):  # perhaps it has no room
            return await self._far.blob_open(digest, start)

    async def blob_put(self, descriptor: Descriptor, source: BlobSource) -> None:
        await self._near.blob_put(descriptor, source)
        nearest = _From(self._near, descriptor.digest, source)
        await self._far.blob_put(descriptor, nearest)

    async def blob_delete(self, digest: Digest) -> None:
        await self._near.blob_delete(digest)
        await self._far.blob_delete(digest)

    def blobs(self) -> AsyncIterator[Kept]:
        return self._far.blobs()

    # ---- manifests

    async def manifest_get(self, digest: Digest) -> StoredManifest | None:
        found = await self._near.manifest_get(digest)
        if found is None:
            found = await self._far.manifest_get(digest)
            if found is not None:
                with suppress(*_CANNOT_WRITE):
                    await self._near.manifest_put(found)
        return found

    async def manifest_put(self, stored: StoredManifest) -> None:
        await self._near.manifest_put(stored)
        await self._far.manifest_put(stored)

    async def manifest_delete(self, digest: Digest) -> None:
        await self._near.manifest_delete(digest)
        await self._far.manifest_delete(digest)

    def manifests(self) -> AsyncIterator[Kept]:
        return self._far.manifests()

    # ---- records

    async def record_get(self, key: RecordKey) -> Record | None:
        return await self._far.record_get(key)

    async def record_put(self, record: Record) -> None:
        await self._far.record_put(record)

    async def record_delete(self, key: RecordKey) -> None:
        await self._far.record_delete(key)

    def records(self, prefix: str = "") -> AsyncIterator[Record]:
        return self._far.records(prefix)
