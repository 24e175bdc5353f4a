"""A cache in this process's memory: within its limit, what was used longest ago goes first."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from ...oci.descriptor import Descriptor
from ...oci.digest import Digest
from ...oci.errors import BlobUnknown
from ...ports.body import Body
from ...ports.repository import BlobSource
from ...ports.runtime import ClientRuntime
from ...ports.store import StoredManifest
from ..places.memory import PiecesBody
from ..verify import checked, pour
from .port import Kept, Record, RecordKey
from .turn import wait_for

_MAX_RECORDS: Final = 10_000  # then the one that was put longest ago goes


@dataclass(slots=True)
class _Blob:
    pieces: tuple[bytes, ...]
    size: int
    used_s: float


@dataclass(slots=True)
class _Manifest:
    stored: StoredManifest
    used_s: float

    @property
    def size(self) -> int:
        return len(self.stored.content)


class _NoRoom(Exception):
    """A blob does not fit beside those that come in at the same time."""


class MemoryContent:
    """What the engines of one cache share; `max_size` in bytes, of blobs and manifests.

    Bytes on their way count too, so the limit holds at every moment.
    """

    def __init__(self, max_size: int) -> None:
        self.max_size = max_size
        self.lock = threading.Lock()
        # The blob that was used last stands last, and the manifest that was put last.
        self.blobs: dict[Digest, _Blob] = {}
        self.manifests: dict[Digest, _Manifest] = {}
        self.records: dict[RecordKey, Record] = {}
        self.coming: set[Digest] = set()
        self._size = 0

    def begin(self, digest: Digest) -> bool:
        """Whether it is our turn to put the blob."""
        with self.lock:
            if digest in self.coming:
                return False
            self.coming.add(digest)
            return True

    def end(self, digest: Digest) -> None:
        with self.lock:
            self.coming.discard(digest)

    def grow(self, size: int) -> bool:
        """Take `size` bytes, for which others may have to go; False when they do not fit."""
        with self.lock:
            while self._size + size > self.max_size:
                oldest = next(iter(self.blobs or self.manifests), None)
                if oldest is None:
                    return False
                self._drop(oldest)
            self._size += size
            return True

    def shrink(self, size: int) -> None:
        with self.lock:
            self._size -= size

    def _drop(self, digest: Digest) -> None:
        gone: _Blob | _Manifest | None = self.blobs.pop(digest, None)
        if gone is None:
            gone = self.manifests.pop(digest)
            lost = [key for key, one in self.records.items() if one.top.digest == digest]
            for key in lost:
                del self.records[key]
        self._size -= gone.size

    def delete_blob(self, digest: Digest) -> None:
        with self.lock:
            gone = self.blobs.pop(digest, None)
            self._size -= 0 if gone is None else gone.size

    def delete_manifest(self, digest: Digest) -> None:
        with self.lock:
            gone = self.manifests.pop(digest, None)
            self._size -= 0 if gone is None else gone.size

    def use_blob(self, digest: Digest, now: float) -> _Blob | None:
        with self.lock:
            found = self.blobs.pop(digest, None)
            if found is not None:
                found.used_s = now
                self.blobs[digest] = found
            return found


class MemoryCache:
    """`caches.port.Cache`.  Bytes were verified when they came, and cannot change."""

    place = "memory"

    def __init__(self, content: MemoryContent, runtime: ClientRuntime) -> None:
        self._content, self._runtime = content, runtime

    # ---- blobs

    async def blob_size(self, digest: Digest) -> int | None:
        found = self._content.blobs.get(digest)
        return None if found is None else found.size

    async def blob_open(self, digest: Digest, start: int = 0) -> Body:
        found = self._content.use_blob(digest, self._runtime.now())
        if found is None:
            raise BlobUnknown(self.place, str(digest))
        return PiecesBody(found.pieces, found.size, start)

    async def blob_put(self, descriptor: Descriptor, source: BlobSource) -> None:
        content, digest = self._content, descriptor.digest
        if descriptor.size > content.max_size:
            return

        def turn() -> bool | None:
            if digest in content.blobs:
                return False
            return content.begin(digest) or None

        def give_up(is_ours: bool) -> None:
            if is_ours:
                content.end(digest)

        if await wait_for(turn, self._runtime, give_up):
            try:
                if digest not in content.blobs:  # the last one may have ended in between
                    await self._fill(descriptor, source)
            finally:
                content.end(digest)

    async def _fill(self, descriptor: Descriptor, source: BlobSource) -> None:
        pieces: list[bytes] = []
        taken = 0

        def write(chunk: bytes) -> None:
            nonlocal taken
            if not self._content.grow(len(chunk)):
                raise _NoRoom
            taken += len(chunk)
            pieces.append(bytes(chunk))

        try:
            await pour(source, descriptor, self._runtime, write)
        except _NoRoom:
            self._content.shrink(taken)
            return
        except BaseException:
            self._content.shrink(taken)
            raise
        with self._content.lock:
            self._content.blobs[descriptor.digest] = _Blob(
                tuple(pieces), taken, self._runtime.now()
            )

    async def blob_delete(self, digest: Digest) -> None:
        self._content.delete_blob(digest)

    async def blobs(self) -> AsyncIterator[Kept]:
        with self._content.lock:
            found = [Kept(at, one.size, one.used_s) for at, one in self._content.blobs.items()]
        for kept in found:
            yield kept

    # ---- all of it

    async def check(self) -> list[tuple[Kept, bool]]:
        """Nothing can have become wrong."""
        return [
            *[(kept, True) async for kept in self.blobs()],
            *[(kept, True) async for kept in self.manifests()],
        ]

    async def clear(self) -> None:
        content = self._content
        for digest in list(content.blobs):
            content.delete_blob(digest)
        for digest in list(content.manifests):
            content.delete_manifest(digest)
        with content.lock:
            content.records.clear()

    # ---- manifests

    async def manifest_get(self, digest: Digest) -> StoredManifest | None:
        found = self._content.manifests.get(digest)
        return None if found is None else found.stored

    async def manifest_put(self, stored: StoredManifest) -> None:
        checked(stored)
        content = self._content
        if stored.digest in content.manifests:
            return
        size = len(stored.content)
        if size <= content.max_size and content.grow(size):
            with content.lock:
                # Somebody may have been faster with the same bytes.
                if stored.digest not in content.manifests:
                    content.manifests[stored.digest] = _Manifest(stored, self._runtime.now())
                    return
            content.shrink(size)

    async def manifest_delete(self, digest: Digest) -> None:
        self._content.delete_manifest(digest)

    async def manifests(self) -> AsyncIterator[Kept]:
        with self._content.lock:
            found = [Kept(at, one.size, one.used_s) for at, one in self._content.manifests.items()]
        for kept in found:
            yield kept

    # ---- records

    async def record_get(self, key: RecordKey) -> Record | None:
        return self._content.records.get(key)

    async def record_put(self, record: Record) -> None:
        records = self._content.records
        with self._content.lock:
            records.pop(record.key, None)
            records[record.key] = record
            if len(records) > _MAX_RECORDS:
                del records[next(iter(records))]

    async def record_delete(self, key: RecordKey) -> None:
        with self._content.lock:
            self._content.records.pop(key, None)

    async def records(self, prefix: str = "") -> AsyncIterator[Record]:
        with self._content.lock:
            found = [
                one for key, one in self._content.records.items() if str(key).startswith(prefix)
            ]
        for record in sorted(found, key=lambda record: record.key):
            yield record
