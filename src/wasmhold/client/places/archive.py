"""``oci-archive:FILE[:TAG]``: an image layout in a tar archive, plain or compressed.

A plain archive is read in place: its headers say where the blobs lie.  A compressed one is unpacked
once into a file without a name.  What is put goes to such a file too, and `flush` writes the
whole archive anew, beside the old one, and then gives it the name: the order of its members and
every byte of their headers follow from what it holds, so equal content is an equal archive.

What of an archive is a layout, a `Form` says: here that is what its names say, and in `docker.py`
what a ``manifest.json`` leads to.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from ...oci import limits
from ...oci.descriptor import Descriptor
from ...oci.digest import Digest
from ...oci.errors import ContentDamaged, DigestInvalid, StoreUnavailable
from ...oci.layout import INDEX_FILE, LAYOUT, LAYOUT_FILE, LayoutIndex, Naming, blob_name
from ...ports.repository import BlobSource
from ...ports.runtime import Runtime
from ..verify import pour
from . import compression
from .files import FileBody, Folder, Staged, translated
from .indexed import Change, IndexedRepository, read_index
from .spool import FILE_MAX, Spool
from .tar import END, Members, Region, find_members, member_header, padding


@dataclass(frozen=True, slots=True)
class ImportLimits:
    """What an archive may be that is read.

    size     bytes, without compression
    entries  of the archive; they are remembered
    ratio    what is larger than `free` bytes may be so many times what it is compressed
    """

    size: int = FILE_MAX
    entries: int = limits.ARCHIVE_MEMBERS
    ratio: int = limits.ARCHIVE_RATIO
    free: int = limits.ARCHIVE_UNPACKED

    def unpacked(self, compressed: int) -> int:
        """Bytes that so many may become."""
        return min(self.size, max(self.free, self.ratio * compressed))


@dataclass(frozen=True, slots=True)
class Output:
    """How an archive is written.

    compression  ``gzip``, ``zstd``, ``none``; None: as its name ends
    is_new       what had the name before is replaced, not added to
    """

    compression: str | None = None
    is_new: bool = False


class Form(Protocol):
    """What of a tar archive is a layout."""

    def layout(
        self, members: Members, archive: str, keep: Callable[[bytes], Region]
    ) -> dict[str, Region]:
        """Files of a layout by their names there, index and blobs; `keep` is for those that no
        member has.  Blocks.  Raises ContentDamaged, DigestMismatch.
        """
        ...

    def others(
        self, index: LayoutIndex, read: Callable[[Digest], bytes | None]
    ) -> Mapping[str, bytes]:
        """What else belongs into an archive with this index; `read` gives a manifest's bytes."""
        ...


class LayoutForm:
    """The members are those of a layout; others are passed over."""

    def layout(
        self, members: Members, archive: str, keep: Callable[[bytes], Region]
    ) -> dict[str, Region]:
        if INDEX_FILE not in members:
            raise ContentDamaged(f"{archive} is no archive of an image layout: no {INDEX_FILE}")
        return layout_files(members, archive)

    def others(
        self, index: LayoutIndex, read: Callable[[Digest], bytes | None]
    ) -> Mapping[str, bytes]:
        return {}


def layout_files(members: Members, archive: str) -> dict[str, Region]:
    """Those with names of a layout.  Raises ContentDamaged where one of them is no plain file."""
    for name in (*members.links, *members.others):
        if _is_of_layout(name):
            raise ContentDamaged(f"{archive} cannot be read: {name} is no plain file in it")
    return {name: region for name, region in members.files.items() if _is_of_layout(name)}


def _is_of_layout(name: str) -> bool:
    if name in (INDEX_FILE, LAYOUT_FILE):
        return True
    parts = name.split("/")
    if len(parts) != 3 or parts[0] != "blobs":
        return False
    try:
        return blob_name(Digest.parse(f"{parts[1]}:{parts[2]}")) == name
    except DigestInvalid:
        return False


def open_archive(
    path: str, runtime: Runtime, naming: Naming | None = None, output: Output | None = None
) -> IndexedRepository:
    """The archive `path`, which the first flush makes.  It touches nothing."""
    content = ArchiveContent(path, runtime, output=output)
    return IndexedRepository(f"oci-archive:{path}", content, runtime, naming)


class ArchiveContent:
    """`indexed.Content` in a tar archive."""

    def __init__(
        self,
        path: str,
        runtime: Runtime,
        form: Form | None = None,
        bounds: ImportLimits | None = None,
        output: Output | None = None,
    ) -> None:
        # The user may name a link: what it leads to is read, and replaced.
        folder, self._name = os.path.split(os.path.realpath(path))
        self._folder = Folder(folder)
        self._path, self._runtime = path, runtime
        self._form, self._bounds = form or LayoutForm(), bounds or ImportLimits()
        self._output = output or Output()
        self._lock = threading.Lock()
        self._files = ExitStack()
        self._members: dict[str, Region] | None = None  # of the archive, and what was put
        self._identity: object = None  # of the archive that was read; None: there was none
        self._spool: Spool | None = None  # of what was put
        self._version = 0

    # ---- reading

    def _opened(self) -> dict[str, Region]:
        with self._lock:
            if self._members is None:
                self._members = self._open()
            return self._members

    def _open(self) -> dict[str, Region]:
        self._identity = self._folder.identity(self._name)
        descriptor = None if self._output.is_new else self._folder.open(self._name)
        if descriptor is None:
            return {}
        file = self._files.enter_context(os.fdopen(descriptor, "rb"))
        with translated(self._path):
            kind = compression.of_content(os.pread(descriptor, 4, 0))
            if kind is not None:
                descriptor = self._unpack(kind, file)
            members = find_members(descriptor, self._path, self._bounds.entries)
            return self._form.layout(members, self._path, Spool(self._files, None).add)

    def _unpack(self, kind: str, file: BinaryIO) -> int:
        """The archive without its compression, in a file without a name.

        Raises ContentDamaged, LimitExceeded.
        """
        limit = self._bounds.unpacked(os.fstat(file.fileno()).st_size)
        unpacked = Spool(self._files, None)
        for piece in compression.pieces(kind, file, limit, self._path):
            unpacked.add(piece)
        return unpacked.descriptor

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
        with translated(self._path):
            return small(region, limit, f"{self._path}: {name}")

    def state(self) -> object:
        return (self._identity, self._version) if self._opened() else None

    def size(self, digest: Digest) -> int | None:
        region = self._opened().get(blob_name(digest))
        return None if region is None else region.size

    def read(self, digest: Digest, limit: int) -> bytes | None:
        return self._small(blob_name(digest), limit)

    def body(self, digest: Digest, start: int) -> FileBody | None:
        region = self._opened().get(blob_name(digest))
        if region is None:
            return None
        with translated(self._path):
            descriptor = os.dup(region.descriptor)
        stop = region.start + region.size
        return FileBody(descriptor, region.start + start, stop, self._path, self._runtime)

    # ---- writing

    def _put(self) -> Spool:
        self._opened()
        with self._lock:
            if self._spool is None:
                self._folder.make()
                self._spool = Spool(self._files, self._folder.path)
            return self._spool

    async def put_blob(self, descriptor: Descriptor, source: BlobSource) -> None:
        spool = await self._runtime.offload(self._put)
        region = spool.reserve(descriptor.size)
        at = region.start

        def write(chunk: bytes) -> None:
            nonlocal at
            at = spool.write(at, chunk)

        await pour(source, descriptor, self._runtime, write)
        self._opened()[blob_name(descriptor.digest)] = region
        self._version += 1

    def put(self, digest: Digest, content: bytes) -> None:
        self._opened()[blob_name(digest)] = self._put().add(content)
        self._version += 1

    def update(self, change: Change, removed: Collection[Digest]) -> None:
        members = self._opened()
        index = change(self.index() or LayoutIndex.empty())
        for digest in removed:
            members.pop(blob_name(digest), None)
        spool = self._put()
        members[LAYOUT_FILE] = spool.add(LAYOUT)
        members[INDEX_FILE] = spool.add(index.dump())
        self._version += 1
        others = self._form.others(index, lambda digest: self.read(digest, limits.MANIFEST))
        more = {name: spool.add(content) for name, content in others.items()}
        self._folder.sweep()
        staged = self._folder.stage()
        try:
            with translated(self._folder.path):
                self._write(staged, members, more)
            if self._folder.identity(self._name) != self._identity:
                raise StoreUnavailable(
                    f"{self._path} was changed by another program meanwhile: copy again"
                )
            staged.place(self._name)
        finally:
            staged.close()
        self._folder.sync("")
        self._identity = self._folder.identity(self._name)

    def _write(
        self, staged: Staged, members: Mapping[str, Region], more: Mapping[str, Region]
    ) -> None:
        """The archive: the files that lead to the rest first, then the blobs by name."""
        kind = compression.chosen(self._output.compression, self._name)
        with (
            os.fdopen(os.dup(staged.descriptor), "wb") as file,
            compression.writing(kind, file) as out,
        ):
            for name in (LAYOUT_FILE, INDEX_FILE):
                _write_member(out, name, members[name])
            for name, region in more.items():
                _write_member(out, name, region)
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


def small(region: Region, limit: int, name: str) -> bytes:
    """What should be small.  Raises ContentDamaged when it has more than `limit` bytes."""
    if region.size > limit:
        raise ContentDamaged(f"{name} has more than {limit} bytes")
    return region.read()


def _write_member(out: compression.Writer, name: str, region: Region) -> None:
    out.write(member_header(name, region.size))
    for piece in region.pieces():
        out.write(piece)
    out.write(padding(region.size))
