"""The folder of a cache on disk: its files, what is known of them, and room for more.

All calls block.  A file that is no regular one, a link or a pipe, is taken for damage: it goes.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Final

from ...oci.digest import HEX_LENGTH, Digest
from ...oci.errors import ContentDamaged, DigestInvalid, OutOfSpace, StoreUnavailable, WasmholdError
from ...oci.limits import MIB
from ..places.files import Folder, translated, try_lock
from .format import prepare
from .port import Kept, Record, RecordKey
from .records import FOLDER, host_folder, parse_record, record_path

TMP: Final = "tmp"
BLOBS: Final = "blobs"
MANIFESTS: Final = "manifests"
_LOCK: Final = "lock"
_WRITE: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_RECORD: Final = MIB
_STAMP_S: Final = 60  # how often it is noted that something was used
_LEFT_S: Final = 3600  # a blob whose writer died so long ago is not waited for
_LOW: Final = 0.9  # of the limit: down to this room is made
_SHARE: Final = 64  # the part of the limit that a process writes without looking again
_MAX_KNOWN: Final = 10_000  # files that a process remembers as right

Identity = tuple[int, int, int, int, int]
_Used = tuple[bool, float, str, Kept]  # whether it is a manifest, when it was used, its file


class DiskContent:
    """What the engines of one cache share.  `max_size`: bytes of blobs and manifests, or None.

    All of it may be called from several threads.  Folders are opened for each call, since the
    user may remove them at any time.
    """

    def __init__(self, path: str, max_size: int | None) -> None:
        self.path, self.max_size = path, max_size
        self._known: dict[Digest, Identity] = {}
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
        return self._known.get(digest) == identity_of(descriptor)

    def know(self, digest: Digest, identity: Identity) -> None:
        """`identity` is that of the file before it was found right."""
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        self._known[digest] = identity

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
            self.know(digest, identity_of(descriptor))

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
        found = self._by_use()
        total = sum(kept.size for *_, kept in found)
        if total <= limit:
            return total
        return total - self._evict(found, total - limit * _LOW, spared)

    def give_back(self, size: int, spared: Digest) -> bool:
        """The disk is full: let so many bytes go, whatever the limit; False where none went."""
        with self._lock:
            self._total = None
            return self._evict(self._by_use(), size, spared) > 0

    def _by_use(self) -> list[_Used]:
        """Blobs, then manifests, each with what was used longest ago first."""
        return sorted(
            (kind == MANIFESTS, kept.used_s, name, kept)
            for kind in (BLOBS, MANIFESTS)
            for name, kept in self.listed(kind)
        )

    def _evict(self, found: list[_Used], enough: float, spared: Digest) -> int:
        """Bytes that went, `enough` of them where that can be."""
        freed, lost = 0, set()
        with self.writing() as folder, _alone(folder) as is_ours:
            for is_manifest, _, name, kept in found:
                if not is_ours or freed >= enough:
                    break
                if kept.digest != spared and _remove_unused(folder, name):
                    freed += kept.size
                    if is_manifest:
                        lost.add(kept.digest)
        if lost:
            for record in self.records(""):
                if record.top.digest in lost:
                    self.remove(record_path(record.key))
        return freed

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
        for kind in (BLOBS, MANIFESTS):
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
                is_done = folder.size(f"{BLOBS}/{name.replace('-', '/')}") is not None
                if is_old or is_done:
                    _remove_unused(folder, f"{TMP}/{name}")


@contextmanager
def _alone(folder: Folder) -> Iterator[bool]:
    """Whether nobody else makes room meanwhile."""
    try:
        descriptor = created(folder, _LOCK)
    except ContentDamaged:  # what has its name is no file: the next one makes room
        folder.unlink(_LOCK)
        yield False
        return
    except OutOfSpace:  # that is why room is made: better twice than never
        yield True
        return
    try:
        yield try_lock(descriptor)
    finally:
        os.close(descriptor)


def _open(folder: Folder, name: str) -> int | None:
    try:
        return folder.open(name)
    except ContentDamaged:
        with suppress(WasmholdError):  # a folder, say: what cannot be removed is not there either
            folder.unlink(name)
        return None


def created(folder: Folder, name: str) -> int:
    """An open file that may be written to, made where it is not there."""
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


def identity_of(descriptor: int) -> Identity:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def blob_name(digest: Digest) -> str:
    return f"{BLOBS}/{digest.algorithm}/{digest.encoded}"


def manifest_name(digest: Digest) -> str:
    return f"{MANIFESTS}/{digest.algorithm}/{digest.encoded}"
