"""``oci-archive:FILE[:TAG]``: an image layout in a tar archive, plain or compressed.

A plain archive is read in place: its headers say where the blobs lie.  A compressed one is unpacked
once into a file without a name.  What is put goes to such a file too, and `flush` writes the
whole archive anew, beside the old one, and then gives it the name: the order of its members and
every byte of their headers follow from what it holds, so equal content is an equal archive.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Collection
from contextlib import ExitStack
from typing import BinaryIO, Final

from ...oci import limits
from ...oci.descriptor import Descriptor
from ...oci.digest import Digest
from ...oci.errors import ContentDamaged, OutOfSpace, StoreUnavailable
from ...oci.layout import INDEX_FILE, LAYOUT, LAYOUT_FILE, LayoutIndex, blob_name
from ...oci.limits import MIB
from ...ports.body import Body
from ...ports.repository import BlobSource
from ...ports.runtime import Runtime
from ..verify import pour
from . import compression
from .files import FileBody, Folder, Staged, translated, write_all
from .indexed import Change, IndexedRepository, read_index
from .tar import END, Region, find_members, member_header, padding

_PIECE: Final = MIB  # bytes that are copied at once
_SPOOL_MAX: Final = 1 << 62  # bytes; where a file can be written to is a number of 63 bits


def open_archive(path: str, runtime: Runtime) -> IndexedRepository:
    """The archive `path`, which the first flush makes.  It touches nothing."""
    return IndexedRepository(f"oci-archive:{path}", ArchiveContent(path, runtime), runtime)


class ArchiveContent:
    """`indexed.Content` in a tar archive."""

    def __init__(self, path: str, runtime: Runtime) -> None:
        # The user may name a link: what it leads to is read, and replaced.
        folder, self._name = os.path.split(os.path.realpath(path))
        self._folder = Folder(folder)
        self._path, self._runtime = path, runtime
        self._lock = threading.Lock()
        self._files = ExitStack()
        self._members: dict[str, Region] | None = None  # of the archive, and what was put
        self._identity: object = None  # of the archive that was read; None: there was none
        self._spool: int | None = None
        self._spooled = 0  # bytes
        self._version = 0

    # ---- reading

    def _opened(self) -> dict[str, Region]:
        with self._lock:
            if self._members is None:
                self._members = self._open()
            return self._members

    def _open(self) -> dict[str, Region]:
        self._identity = self._folder.identity(self._name)
        descriptor = self._folder.open(self._name)
        if descriptor is None:
            return {}
        file = self._files.enter_context(os.fdopen(descriptor, "rb"))
        with translated(self._path):
            kind = compression.of_content(os.pread(descriptor, 4, 0))
            if kind is not None:
                descriptor = self._unpack(kind, file)
            members = find_members(descriptor, self._path)
        if INDEX_FILE not in members:
            raise ContentDamaged(f"{self._path} is no archive of an image layout: no {INDEX_FILE}")
        return members

    def _unpack(self, kind: str, file: BinaryIO) -> int:
        """The archive without its compression, in a file without a name.  Raises ContentDamaged."""
        limit = max(limits.ARCHIVE_UNPACKED, limits.ARCHIVE_RATIO * os.fstat(file.fileno()).st_size)
        unpacked = self._unnamed(None)
        size = 0
        try:
            with compression.reading(kind, file) as content:
                while piece := content.read(_PIECE):
                    size += len(piece)
                    if size > limit:
                        raise ContentDamaged(f"{self._path} unpacks to more than {limit} bytes")
                    write_all(unpacked, piece)
        except Exception as error:
            if not compression.broken(error):
                raise
            raise ContentDamaged(f"{self._path} is damaged: {error}") from None
        return unpacked

    def index(self) -> LayoutIndex | None:
        members = self._opened()
        if INDEX_FILE not in members:
            return None
        layout = self._small(LAYOUT_FILE, limits.MANIFEST)
        return read_index(self._path, layout, self._small(INDEX_FILE, limits.LAYOUT_INDEX) or b"")

    def _small(self, name: str, limit: int) -> bytes | None:
        region = self._opened().get(name)
        if region is None:
            return None
        if region.size > limit:
            raise ContentDamaged(f"{self._path}: {name} has more than {limit} bytes")
        with translated(self._path):
            return region.read()

    def state(self) -> object:
        return (self._identity, self._version) if self._opened() else None

    def size(self, digest: Digest) -> int | None:
        region = self._opened().get(blob_name(digest))
        return None if region is None else region.size

    def read(self, digest: Digest, limit: int) -> bytes | None:
        return self._small(blob_name(digest), limit)

    def body(self, digest: Digest, start: int) -> Body | None:
        region = self._opened().get(blob_name(digest))
        if region is None:
            return None
        with translated(self._path):
            descriptor = os.dup(region.descriptor)
        stop = region.start + region.size
        return FileBody(descriptor, region.start + start, stop, self._path, self._runtime)

    def _unnamed(self, folder: str | None) -> int:
        """A new file that nobody else sees, in `folder` or where such files lie here."""
        made = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
        return self._files.enter_context(made).fileno()

    # ---- writing

    def _reserve(self, size: int) -> Region:
        """Room for so many bytes in the file of what was put."""
        self._opened()
        with self._lock:
            if self._spooled + size > _SPOOL_MAX:
                raise OutOfSpace(f"no file has room for {size} bytes more")
            if self._spool is None:
                self._folder.make()
                with translated(self._folder.path):
                    self._spool = self._unnamed(self._folder.path)
            region = Region(self._spool, self._spooled, size)
            self._spooled += size
            return region

    def _write_at(self, descriptor: int, at: int, content: bytes) -> int:
        """Where it ends."""
        left = memoryview(content)
        with translated(self._folder.path):
            while left:
                written = os.pwrite(descriptor, left, at)
                at, left = at + written, left[written:]
        return at

    async def put_blob(self, descriptor: Descriptor, source: BlobSource) -> None:
        region = await self._runtime.offload(self._reserve, descriptor.size)
        at = region.start

        def write(chunk: bytes) -> None:
            nonlocal at
            at = self._write_at(region.descriptor, at, chunk)

        await pour(source, descriptor, self._runtime, write)
        self._opened()[blob_name(descriptor.digest)] = region
        self._version += 1

    def put(self, digest: Digest, content: bytes) -> None:
        region = self._reserve(len(content))
        self._write_at(region.descriptor, region.start, content)
        self._opened()[blob_name(digest)] = region
        self._version += 1

    def update(self, change: Change, removed: Collection[Digest]) -> None:
        members = self._opened()
        index = change(self.index() or LayoutIndex.empty())
        for digest in removed:
            members.pop(blob_name(digest), None)
        for name, content in ((LAYOUT_FILE, LAYOUT), (INDEX_FILE, index.dump())):
            region = self._reserve(len(content))
            self._write_at(region.descriptor, region.start, content)
            members[name] = region
        self._version += 1
        self._folder.sweep()
        staged = self._folder.stage()
        try:
            with translated(self._folder.path):
                self._write(staged, members)
            if self._folder.identity(self._name) != self._identity:
                raise StoreUnavailable(
                    f"{self._path} was changed by another program meanwhile: copy again"
                )
            staged.place(self._name)
        finally:
            staged.close()
        self._folder.sync("")
        self._identity = self._folder.identity(self._name)

    def _write(self, staged: Staged, members: dict[str, Region]) -> None:
        """The archive: the two files that lead to the rest first, then the blobs by name."""
        kind = compression.of_name(self._name)
        with (
            os.fdopen(os.dup(staged.descriptor), "wb") as file,
            compression.writing(kind, file) as out,
        ):
            for name in (LAYOUT_FILE, INDEX_FILE):
                _write_member(out, name, members[name])
            folder = ""
            for name in sorted(name for name in members if "/" in name):
                above = name.rpartition("/")[0]
                if above != folder:
                    if not folder:
                        out.write(member_header("blobs", None))
                    folder = above
                    out.write(member_header(folder, None))
                _write_member(out, name, members[name])
            out.write(END)

    def close(self) -> None:
        self._files.close()
        self._folder.close()
        self._members = self._spool = None
        self._spooled = 0


def _write_member(out: compression.Writer, name: str, region: Region) -> None:
    out.write(member_header(name, region.size))
    at, stop = region.start, region.start + region.size
    while at < stop:
        piece = os.pread(region.descriptor, min(_PIECE, stop - at), at)
        if not piece:
            raise ContentDamaged(f"{name} was cut off while it was read")
        out.write(piece)
        at += len(piece)
    out.write(padding(region.size))
