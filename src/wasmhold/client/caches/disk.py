"""A cache in a folder, which any number of processes use at once, and any of them may be killed.

    CACHEDIR.TAG, wasmhold-cache.json     what the folder is
    blobs/sha256/HEX, blobs/sha512/HEX    blobs; when they were last used is their mtime
    manifests/…                           manifests, in the same way
    refs/HOST/NAME/_tags/TAG.json         records (`records.py`)
    tmp/ALGORITHM-HEX                     a blob on its way, locked by who writes it
    lock                                  held by who makes room

- **A name appears when its bytes are right.**  Nothing is synced: what a power loss spoils is found
  when it is read, and is a miss then.  So is all that anybody else has changed.
- **One flight** is the lock of the file in ``tmp``, which the kernel drops when its holder dies.
  Who gets it next goes on behind the bytes that are there, which it hashes first.
- Readers lock what they read, shared, so that it is not taken for what nobody uses.  They do not
  wait for a lock, nor for each other.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, suppress
from typing import Final

from ...oci import limits
from ...oci.descriptor import Descriptor
from ...oci.digest import Digest, Hasher, hasher
from ...oci.errors import (
    BlobUnknown,
    Cancelled,
    ContentDamaged,
    DigestMismatch,
    ManifestInvalid,
    OutOfSpace,
    SizeInvalid,
)
from ...oci.limits import MIB
from ...oci.manifest import parse_manifest
from ...ports.body import Body
from ...ports.repository import BlobSource
from ...ports.runtime import ClientRuntime, obtained
from ...ports.store import StoredManifest
from ..places.files import FileBody, translated
from ..verify import checked, pour
from .folder import BLOBS, MANIFESTS, DiskContent, blob_name, identity_of, manifest_name
from .part import Part
from .port import Kept, Record, RecordKey
from .records import dump_record, record_path
from .turn import wait_for

_SLICE: Final = 4 * MIB  # bytes that are hashed before it is asked whether we shall end
_READ: Final = MIB


class DiskCache:
    """`caches.port.Cache` in a folder."""

    def __init__(self, content: DiskContent, runtime: ClientRuntime) -> None:
        self.place = content.path
        self._content, self._runtime = content, runtime
        self._is_begun = False

    # ---- blobs

    async def blob_size(self, digest: Digest) -> int | None:
        return await self._runtime.offload(self._content.size, blob_name(digest))

    def blob_path(self, digest: Digest) -> str | None:
        """`caches.port.InFiles`."""
        path = f"{self.place}/{blob_name(digest)}"
        return path if os.path.isfile(path) else None

    async def blob_open(self, digest: Digest, start: int = 0) -> Body:
        """It is verified before the first byte, once, as long as the file does not change.

        What is damaged is removed, and not there; so its body raises ContentDamaged only where
        somebody changes the file while it is read.
        """
        name = blob_name(digest)
        descriptor = await self._open_right(name, digest)
        if descriptor is None:
            raise BlobUnknown(self.place, str(digest))
        try:
            now = self._runtime.now()
            await self._runtime.offload(self._content.stamp, digest, descriptor, now)
        except BaseException:
            os.close(descriptor)
            raise
        body = FileBody(descriptor, start, None, f"{self.place}/{name}", self._runtime)
        return _Unchanged(body, lambda: self._is_right(name, digest, descriptor), name)

    async def _open_right(self, name: str, digest: Digest) -> int | None:
        """The open file, which the caller closes; None when it is not there, or was not right."""
        content, runtime = self._content, self._runtime
        descriptor = await obtained(runtime, lambda: content.open(name), _close)
        if descriptor is None:
            return None
        try:
            await runtime.offload(_share, descriptor)
            if await self._is_right(name, digest, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    async def _is_right(self, name: str, digest: Digest, descriptor: int) -> bool:
        """Whether the open file has the bytes of `digest`; one that has not is removed."""
        content = self._content
        # Once more, where it changes meanwhile: somebody may have noted that it is used.
        while not content.is_known(digest, descriptor):
            identity, running = identity_of(descriptor), hasher(digest.algorithm)
            await self._feed(running, descriptor, os.fstat(descriptor).st_size)
            if running.hexdigest() != digest.encoded:
                await self._runtime.offload(content.drop, name, descriptor)
                return False
            content.know(digest, identity)
        return True

    async def _feed(self, running: Hasher, descriptor: int, size: int) -> None:
        """Hash the first `size` bytes of a file."""
        for at in range(0, size, _SLICE):
            if self._runtime.cancelled():
                raise Cancelled
            await self._runtime.offload(
                _hash, running, descriptor, at, min(at + _SLICE, size), self.place
            )

    async def blob_put(self, descriptor: Descriptor, source: BlobSource) -> None:
        content, runtime, digest = self._content, self._runtime, descriptor.digest
        if not content.takes(descriptor.size):
            return
        await self._begin()
        part = await self._turn(descriptor)
        if part is None:
            return
        try:
            await self._fill(part, descriptor, source)
            await runtime.offload(part.place, blob_name(digest), runtime.now())
            content.know(digest, identity_of(part.descriptor))
        finally:
            part.close()
        await runtime.offload(content.wrote, descriptor.size, digest)

    async def _begin(self) -> None:
        if not self._is_begun:
            await self._runtime.offload(self._content.sweep, self._runtime.now())
            self._is_begun = True

    async def _turn(self, descriptor: Descriptor) -> Part | None:
        """What we may write; None once the blob is there.  Raises SizeInvalid."""
        digest = descriptor.digest
        while True:
            found: Part | int = await wait_for(
                lambda: self._attempt(digest), self._runtime, _release
            )
            if isinstance(found, Part):
                return found
            if found == descriptor.size:
                return None
            # Either the file is damaged, or the descriptor lies.
            right = await self._open_right(blob_name(digest), digest)
            if right is not None:
                os.close(right)
                raise SizeInvalid(descriptor.size, found)

    def _attempt(self, digest: Digest) -> Part | int | None:
        """The size of the blob that is there, what we may write, or None: somebody else does."""
        name = blob_name(digest)
        if (size := self._content.size(name)) is not None:
            return size
        part = Part.take(self._content.path, digest)
        if part is None:
            return None
        with ExitStack() as unless_ours:
            unless_ours.callback(part.close)
            if (size := self._content.size(name)) is not None:  # in between it has come
                part.drop()
                return size
            unless_ours.pop_all()
        return part

    async def _fill(self, part: Part, descriptor: Descriptor, source: BlobSource) -> None:
        """Write the whole blob, from where the last writer stopped."""
        while True:
            begun = part.size if part.size <= descriptor.size else 0
            await self._runtime.offload(part.seek, begun)
            try:
                await self._go_on(part, descriptor, source)
                return
            except (DigestMismatch, SizeInvalid):
                await self._runtime.offload(part.seek, 0)
                if not begun:
                    raise
                # What the last writer left may have been damaged.

    async def _go_on(self, part: Part, descriptor: Descriptor, source: BlobSource) -> None:
        running = hasher(descriptor.digest.algorithm)
        await self._feed(running, part.descriptor, part.size)
        if part.size and part.size == descriptor.size:
            if running.hexdigest() != descriptor.digest.encoded:
                raise DigestMismatch(str(descriptor.digest), running.hexdigest())
            return

        def write(chunk: bytes) -> None:
            self._write(part, descriptor, chunk)

        await pour(source, descriptor, self._runtime, write, (running, part.size))

    def _write(self, part: Part, descriptor: Descriptor, chunk: bytes) -> None:
        try:
            try:
                part.write(chunk)
            except OutOfSpace:
                # The limit may be more than the disk has: what is old goes then.
                left = descriptor.size - part.size
                if not self._content.give_back(left, descriptor.digest):
                    raise
                part.seek(part.size)
                part.write(chunk)
        except BaseException:
            part.drop()  # others need the room
            raise

    async def blob_delete(self, digest: Digest) -> None:
        await self._runtime.offload(self._content.remove, blob_name(digest))

    async def blobs(self) -> AsyncIterator[Kept]:
        for _, kept in await self._runtime.offload(self._content.listed, BLOBS):
            yield kept

    # ---- all of it

    async def check(self) -> list[tuple[Kept, bool]]:
        """`caches.port.OfThisMachine`."""
        found = []
        self._content.forget()
        for name, kept in await self._runtime.offload(self._content.listed, BLOBS):
            if not self._is_there(name):
                continue
            descriptor = await self._open_right(name, kept.digest)
            if descriptor is not None:
                os.close(descriptor)
            found.append((kept, descriptor is not None))
        for name, kept in await self._runtime.offload(self._content.listed, MANIFESTS):
            if self._is_there(name):
                found.append((kept, await self.manifest_get(kept.digest) is not None))
        return found

    def _is_there(self, name: str) -> bool:
        """What others have removed since it was listed is not damaged."""
        return os.path.lexists(f"{self.place}/{name}")

    async def clear(self) -> None:
        await self._runtime.offload(self._content.clear)

    # ---- manifests

    async def manifest_get(self, digest: Digest) -> StoredManifest | None:
        return await self._runtime.offload(self._read_manifest, digest)

    def _read_manifest(self, digest: Digest) -> StoredManifest | None:
        content, name = self._content, manifest_name(digest)
        descriptor = content.open(name)
        if descriptor is None:
            return None
        try:
            size = min(os.fstat(descriptor).st_size, limits.MANIFEST)
            with translated(f"{self.place}/{name}"):
                found = os.pread(descriptor, size, 0)
            if Digest.of(found, digest.algorithm) == digest:
                with suppress(ManifestInvalid):
                    media_type = parse_manifest(found).media_type
                    return StoredManifest(digest, media_type, found)
            content.drop(name, descriptor)
            return None
        finally:
            os.close(descriptor)

    async def manifest_put(self, stored: StoredManifest) -> None:
        checked(stored)
        if not self._content.takes(len(stored.content)):
            return
        await self._begin()
        await self._runtime.offload(self._write_manifest, stored, self._runtime.now())

    def _write_manifest(self, stored: StoredManifest, now: float) -> None:
        if self._read_manifest(stored.digest) is not None:
            return
        self._content.write(manifest_name(stored.digest), stored.content, now)
        self._content.wrote(len(stored.content), stored.digest)

    async def manifest_delete(self, digest: Digest) -> None:
        await self._runtime.offload(self._content.remove, manifest_name(digest))

    async def manifests(self) -> AsyncIterator[Kept]:
        for _, kept in await self._runtime.offload(self._content.listed, MANIFESTS):
            yield kept

    # ---- records

    async def record_get(self, key: RecordKey) -> Record | None:
        return await self._runtime.offload(self._content.read_record, key)

    async def record_put(self, record: Record) -> None:
        await self._begin()
        await self._runtime.offload(
            self._content.write,
            record_path(record.key),
            dump_record(record),
            self._runtime.now(),
        )

    async def record_delete(self, key: RecordKey) -> None:
        await self._runtime.offload(self._content.remove, record_path(key))

    async def records(self, prefix: str = "") -> AsyncIterator[Record]:
        for record in await self._runtime.offload(self._content.records, prefix):
            yield record


def _share(descriptor: int) -> None:
    """Say that it is read; nothing hangs on it where somebody else has the lock."""
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)


def _hash(running: Hasher, descriptor: int, start: int, stop: int, path: str) -> None:
    with translated(path):
        for at in range(start, stop, _READ):
            running.update(os.pread(descriptor, min(_READ, stop - at), at))


def _close(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)


def _release(found: Part | int) -> None:
    if isinstance(found, Part):
        found.close()


class _Unchanged:
    """A file that was right when it was opened: its last bytes come only if it is so still."""

    file = None

    def __init__(self, body: Body, is_right: Callable[[], Awaitable[bool]], name: str) -> None:
        self.size = body.size
        self._body, self._is_right, self._name = body, is_right, name
        self._chunks = aiter(body)
        self._left = body.size or 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        chunk = await anext(self._chunks, b"")
        self._left -= len(chunk)
        is_last = chunk and not self._left
        if (is_last and not await self._is_right()) or (not chunk and self._left):
            raise ContentDamaged(f"{self._name} was changed while it was read: get it anew")
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        await self._body.aclose()
