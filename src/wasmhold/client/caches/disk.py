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
import math
import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Final

from ...oci import limits
from ...oci.descriptor import Descriptor
from ...oci.digest import HEX_LENGTH, Digest, Hasher, hasher
from ...oci.errors import (
    BlobUnknown,
    Cancelled,
    ContentDamaged,
    DigestInvalid,
    DigestMismatch,
    ManifestInvalid,
    SizeInvalid,
    StoreUnavailable,
    WasmholdError,
)
from ...oci.limits import MIB
from ...oci.manifest import parse_manifest
from ...ports.body import Body
from ...ports.repository import BlobSource
from ...ports.runtime import ClientRuntime, obtained
from ...ports.store import StoredManifest
from ..places.files import FileBody, Folder, translated, try_lock, write_all
from ..verify import checked, pour
from .format import prepare
from .port import Kept, Record, RecordKey
from .records import FOLDER, dump_record, host_folder, parse_record, record_path
from .turn import wait_for

TMP: Final = "tmp"
_BLOBS: Final = "blobs"
_MANIFESTS: Final = "manifests"
_LOCK: Final = "lock"
_WRITE: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_RECORD: Final = MIB
_SLICE: Final = 4 * MIB  # bytes that are hashed before it is asked whether we shall end
_READ: Final = MIB
_STAMP_S: Final = 60  # how often it is noted that something was used
_LEFT_S: Final = 3600  # a blob whose writer died so long ago is not waited for
_LOW: Final = 0.9  # of the limit: down to this room is made
_SHARE: Final = 64  # the part of the limit that a process writes without looking again
_MAX_KNOWN: Final = 10_000  # files that a process remembers as right

_Identity = tuple[int, int, int, int, int]


class DiskContent:
    """What the engines of one cache share.  `max_size`: bytes of blobs and manifests, or None.

    All of it may be called from several threads.  Folders are opened for each call, since the
    user may remove them at any time.
    """

    def __init__(self, path: str, max_size: int | None) -> None:
        self.path, self.max_size = path, max_size
        self._known: dict[Digest, _Identity] = {}
        self._lock = threading.Lock()
        self._total: int | None = None  # bytes, as far as we know; None: we have not looked
        self._written = 0  # since then

    @contextmanager
    def reading(self) -> Iterator[Folder]:
        with closing(Folder(self.path)) as folder:
            yield folder

    @contextmanager
    def writing(self) -> Iterator[Folder]:
        with closing(Folder(self.path)) as folder:
            prepare(folder)
            yield folder

    # ---- what is right

    def is_known(self, digest: Digest, descriptor: int) -> bool:
        """Whether this very file was found right, and has not changed since."""
        return self._known.get(digest) == _identity(descriptor)

    def know(self, digest: Digest, descriptor: int) -> None:
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        self._known[digest] = _identity(descriptor)

    def forget(self) -> None:
        """All that was found right is to be read again."""
        self._known.clear()

    def open(self, name: str) -> int | None:
        """The file, which the caller closes; what is a link or a pipe is none, and goes."""
        with self.reading() as folder:
            return _open(folder, name)

    def drop(self, name: str, descriptor: int) -> None:
        """Remove a file that is damaged, unless another one has its name by now."""
        with self.reading() as folder:
            if folder.is_at(name, descriptor):
                folder.unlink(name)

    def remove(self, name: str) -> None:
        with self.reading() as folder:
            folder.unlink(name)

    def size(self, name: str) -> int | None:
        descriptor = self.open(name)
        if descriptor is None:
            return None
        try:
            return os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)

    def stamp(self, digest: Digest, descriptor: int, now: float) -> None:
        """Note that a file is used, where that was not noted lately."""
        if abs(now - os.fstat(descriptor).st_mtime) < _STAMP_S:
            return
        is_known = self.is_known(digest, descriptor)
        with suppress(OSError):  # somebody else's cache, which we may read
            os.utime(descriptor, (now, now))
        if is_known:
            self.know(digest, descriptor)

    # ---- room

    def takes(self, size: int) -> bool:
        """What is larger than the whole cache may be is not kept."""
        return self.max_size is None or size <= self.max_size

    def listed(self, kind: str) -> list[tuple[str, Kept]]:
        """What lies in ``blobs`` or ``manifests``, with the name of its file."""
        with self.reading() as folder:
            return list(_listed(folder, kind))

    def wrote(self, size: int, digest: Digest) -> None:
        """So many bytes more are there now, as `digest`: make room where it is needed."""
        limit = self.max_size
        if limit is None:
            return
        with self._lock:
            self._written += size
            if (
                self._total is not None
                and self._written <= limit // _SHARE
                and self._total + self._written <= limit
            ):
                return
            self._total, self._written = self._make_room(limit, digest), 0

    def _make_room(self, limit: int, spared: Digest) -> int:
        """Bytes that are there afterwards."""
        found = sorted(
            (kind == _MANIFESTS, kept.used_s, name, kept)
            for kind in (_BLOBS, _MANIFESTS)
            for name, kept in self.listed(kind)
        )
        total = sum(kept.size for *_, kept in found)
        if total <= limit:
            return total
        lost = set()
        with self.writing() as folder, _alone(folder) as is_ours:
            for is_manifest, _, name, kept in found:
                if not is_ours or total <= limit * _LOW:
                    break
                if kept.digest != spared and _remove_unused(folder, name):
                    total -= kept.size
                    if is_manifest:
                        lost.add(kept.digest)
        if lost:
            for record in self.records(""):
                if record.top.digest in lost:
                    self.remove(record_path(record.key))
        return total

    # ---- records

    def read_record(self, key: RecordKey) -> Record | None:
        with self.reading() as folder:
            record = _record(folder, record_path(key))
        return record if record is not None and record.key == key else None

    def write(self, name: str, content: bytes, now: float) -> None:
        """A small file, in one step."""
        with self.writing() as folder:
            staged = folder.stage()
            try:
                staged.write(content)
                with translated(f"{self.path}/{name}"):
                    os.utime(staged.descriptor, (now, now))
                staged.place(name, durable=False)
            finally:
                staged.close()

    def records(self, prefix: str) -> list[Record]:
        host, slash, _ = prefix.partition("/")
        top = host_folder(host) if slash else FOLDER
        found = []
        for above, _, names in os.walk(f"{self.path}/{top}"):
            with closing(Folder(above)) as folder:
                for name in names:
                    record = _record(folder, name)
                    # One that was copied to another name by hand would be there twice.
                    if record and f"{self.path}/{record_path(record.key)}" == f"{above}/{name}":
                        found.append(record)
        matching = [record for record in found if str(record.key).startswith(prefix)]
        return sorted(matching, key=lambda record: record.key)

    def clear(self) -> None:
        for kind in (_BLOBS, _MANIFESTS):
            for name, _ in self.listed(kind):
                self.remove(name)
        for record in self.records(""):
            self.remove(record_path(record.key))
        self.sweep(math.inf)

    # ---- what dead writers left

    def sweep(self, now: float) -> None:
        with self.reading() as folder:
            folder.sweep()
            for name, status in folder.listed(TMP):
                is_old = now - status.st_mtime >= _LEFT_S
                # Its writer died between its last two steps, or before its first.
                is_done = folder.size(f"{_BLOBS}/{name.replace('-', '/')}") is not None
                if is_old or is_done:
                    _remove_unused(folder, f"{TMP}/{name}")


@contextmanager
def _alone(folder: Folder) -> Iterator[bool]:
    """Whether nobody else makes room meanwhile."""
    descriptor = _created(folder, _LOCK)
    try:
        yield try_lock(descriptor)
    finally:
        os.close(descriptor)


def _open(folder: Folder, name: str) -> int | None:
    try:
        return folder.open(name)
    except ContentDamaged:
        folder.unlink(name)
        return None


def _created(folder: Folder, name: str) -> int:
    descriptor = folder.open(name, _WRITE)
    if descriptor is None:
        raise StoreUnavailable(f"{folder.path} was removed while it was written to")
    return descriptor


def _listed(folder: Folder, kind: str) -> Iterator[tuple[str, Kept]]:
    for algorithm in HEX_LENGTH:
        for encoded, status in folder.listed(f"{kind}/{algorithm}"):
            with suppress(DigestInvalid):
                digest = Digest.parse(f"{algorithm}:{encoded}")
                kept = Kept(digest, status.st_size, status.st_mtime)
                yield f"{kind}/{algorithm}/{encoded}", kept


def _record(folder: Folder, name: str) -> Record | None:
    try:
        content = folder.read(name, _MAX_RECORD)
    except ContentDamaged:
        return None
    return None if content is None else parse_record(content)


def _remove_unused(folder: Folder, name: str) -> bool:
    """Whether it is gone; what somebody reads or writes stays."""
    descriptor = _open(folder, name)
    if descriptor is None:
        return True
    try:
        if not (try_lock(descriptor) and folder.is_at(name, descriptor)):
            return False
        folder.unlink(name)
        return True
    finally:
        os.close(descriptor)


def _identity(descriptor: int) -> _Identity:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _blob_name(digest: Digest) -> str:
    return f"{_BLOBS}/{digest.algorithm}/{digest.encoded}"


def _manifest_name(digest: Digest) -> str:
    return f"{_MANIFESTS}/{digest.algorithm}/{digest.encoded}"


class _Part:
    """A blob on its way, whose lock we have; it stays for the next one, unless it is of no use."""

    def __init__(self, folder: Folder, name: str, descriptor: int) -> None:
        self.descriptor, self.size = descriptor, os.fstat(descriptor).st_size
        self._folder, self._name = folder, name
        self._is_kept = True

    @classmethod
    def take(cls, folder: Folder, digest: Digest) -> _Part | None:
        """None when somebody else has it; `folder` is closed with the part."""
        name = f"{TMP}/{digest.algorithm}-{digest.encoded}"
        folder.make(TMP)
        try:
            descriptor = _created(folder, name)
        except ContentDamaged:
            folder.unlink(name)
            return None
        with ExitStack() as unless_ours:
            unless_ours.callback(os.close, descriptor)
            if not (try_lock(descriptor) and folder.is_at(name, descriptor)):
                return None
            part = cls(folder, name, descriptor)
            unless_ours.pop_all()
        return part

    def seek(self, size: int) -> None:
        """Keep the first `size` bytes; the next ones come behind them."""
        with translated(self._folder.path):
            os.ftruncate(self.descriptor, size)
            os.lseek(self.descriptor, size, os.SEEK_SET)
        self.size = size

    def write(self, chunk: bytes) -> None:
        try:
            with translated(self._folder.path):
                write_all(self.descriptor, chunk)
        except BaseException:
            self.drop()  # a full disk needs the room
            raise
        self.size += len(chunk)

    def drop(self) -> None:
        self._is_kept = False

    def place(self, name: str, now: float) -> None:
        """Its bytes are right: they become the blob."""
        with translated(f"{self._folder.path}/{name}"):
            os.utime(self.descriptor, (now, now))
        self._folder.rename(self._name, name)

    def close(self) -> None:
        folder = self._folder
        try:
            if not (self._is_kept and self.size) and folder.is_at(self._name, self.descriptor):
                with suppress(WasmholdError):  # the next one, or a sweep, removes it
                    folder.unlink(self._name)
        finally:
            os.close(self.descriptor)
            folder.close()


def _close(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)


def _release(found: _Part | int) -> None:
    if isinstance(found, _Part):
        found.close()


class DiskCache:
    """`caches.port.Cache` in a folder."""

    def __init__(self, content: DiskContent, runtime: ClientRuntime) -> None:
        self.place = content.path
        self._content, self._runtime = content, runtime
        self._is_begun = False

    # ---- blobs

    async def blob_size(self, digest: Digest) -> int | None:
        return await self._runtime.offload(self._content.size, _blob_name(digest))

    def blob_path(self, digest: Digest) -> str | None:
        """`caches.port.InFiles`."""
        path = f"{self.place}/{_blob_name(digest)}"
        return path if os.path.isfile(path) else None

    async def blob_open(self, digest: Digest, start: int = 0) -> Body:
        """It is verified before the first byte, once, as long as the file does not change.

        So its body never raises ContentDamaged: what is damaged is removed, and not there.
        """
        name = _blob_name(digest)
        descriptor = await self._open_right(name, digest)
        if descriptor is None:
            raise BlobUnknown(self.place, str(digest))
        try:
            now = self._runtime.now()
            await self._runtime.offload(self._content.stamp, digest, descriptor, now)
        except BaseException:
            os.close(descriptor)
            raise
        return FileBody(descriptor, start, None, f"{self.place}/{name}", self._runtime)

    async def _open_right(self, name: str, digest: Digest) -> int | None:
        """The open file, which the caller closes; None when it is not there, or was not right."""
        content, runtime = self._content, self._runtime
        descriptor = await obtained(runtime, lambda: content.open(name), _close)
        if descriptor is None:
            return None
        try:
            await runtime.offload(_share, descriptor)
            if not content.is_known(digest, descriptor):
                running = hasher(digest.algorithm)
                await self._feed(running, descriptor, os.fstat(descriptor).st_size)
                if running.hexdigest() != digest.encoded:
                    await runtime.offload(content.drop, name, descriptor)
                    os.close(descriptor)
                    return None
                content.know(digest, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

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
            await runtime.offload(part.place, _blob_name(digest), runtime.now())
            content.know(digest, part.descriptor)
        finally:
            part.close()
        await runtime.offload(content.wrote, descriptor.size, digest)

    async def _begin(self) -> None:
        if not self._is_begun:
            await self._runtime.offload(self._content.sweep, self._runtime.now())
            self._is_begun = True

    async def _turn(self, descriptor: Descriptor) -> _Part | None:
        """What we may write; None once the blob is there.  Raises SizeInvalid."""
        digest = descriptor.digest
        while True:
            found: _Part | int = await wait_for(
                lambda: self._attempt(digest), self._runtime, _release
            )
            if isinstance(found, _Part):
                return found
            if found == descriptor.size:
                return None
            # Either the file is damaged, or the descriptor lies.
            right = await self._open_right(_blob_name(digest), digest)
            if right is not None:
                os.close(right)
                raise SizeInvalid(descriptor.size, found)

    def _attempt(self, digest: Digest) -> _Part | int | None:
        """The size of the blob that is there, what we may write, or None: somebody else does."""
        name = _blob_name(digest)
        if (size := self._content.size(name)) is not None:
            return size
        with ExitStack() as unless_ours:
            folder = unless_ours.enter_context(self._content.writing())
            part = _Part.take(folder, digest)
            if part is None:
                return None
            unless_ours.callback(part.close)
            if (size := self._content.size(name)) is not None:  # in between it has come
                part.drop()
                return size
            unless_ours.pop_all()
        return part

    async def _fill(self, part: _Part, descriptor: Descriptor, source: BlobSource) -> None:
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

    async def _go_on(self, part: _Part, descriptor: Descriptor, source: BlobSource) -> None:
        running = hasher(descriptor.digest.algorithm)
        await self._feed(running, part.descriptor, part.size)
        if part.size and part.size == descriptor.size:
            if running.hexdigest() != descriptor.digest.encoded:
                raise DigestMismatch(str(descriptor.digest), running.hexdigest())
            return
        await pour(source, descriptor, self._runtime, part.write, (running, part.size))

    async def blob_delete(self, digest: Digest) -> None:
        await self._runtime.offload(self._content.remove, _blob_name(digest))

    async def blobs(self) -> AsyncIterator[Kept]:
        for _, kept in await self._runtime.offload(self._content.listed, _BLOBS):
            yield kept

    # ---- all of it

    async def check(self) -> list[tuple[Kept, bool]]:
        """`caches.port.OfThisMachine`."""
        found = []
        self._content.forget()
        for name, kept in await self._runtime.offload(self._content.listed, _BLOBS):
            descriptor = await self._open_right(name, kept.digest)
            if descriptor is not None:
                os.close(descriptor)
            found.append((kept, descriptor is not None))
        async for kept in self.manifests():
            found.append((kept, await self.manifest_get(kept.digest) is not None))
        return found

    async def clear(self) -> None:
        await self._runtime.offload(self._content.clear)

    # ---- manifests

    async def manifest_get(self, digest: Digest) -> StoredManifest | None:
        return await self._runtime.offload(self._read_manifest, digest)

    def _read_manifest(self, digest: Digest) -> StoredManifest | None:
        content, name = self._content, _manifest_name(digest)
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
        self._content.write(_manifest_name(stored.digest), stored.content, now)
        self._content.wrote(len(stored.content), stored.digest)

    async def manifest_delete(self, digest: Digest) -> None:
        await self._runtime.offload(self._content.remove, _manifest_name(digest))

    async def manifests(self) -> AsyncIterator[Kept]:
        for _, kept in await self._runtime.offload(self._content.listed, _MANIFESTS):
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
