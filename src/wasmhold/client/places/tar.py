"""Tar as far as archives of images need it: where the bytes of files lie, links, and headers.

Nothing is ever unpacked under a name from an archive.  One that might be read in two ways, or that
names what lies outside of it, is an error as a whole.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ...oci import limits
from ...oci.errors import ArchiveInvalid, ContentDamaged, LimitExceeded
from ...oci.limits import MIB
from .entries import BLOCK, FILE, FOLDER, HARD_LINK, SYMBOLIC_LINK, Entry, Stream, read_entries

END: Final = bytes(2 * BLOCK)
_PIECE: Final = MIB  # bytes that are read at once
_MAX_LINKS: Final = 40  # on one way, as in the kernel (path_resolution(7))


class Region(NamedTuple):
    """Bytes of an open file."""

    descriptor: int
    start: int
    size: int

    def read(self) -> bytes:
        return _read(self.descriptor, self.start, self.size)

    def pieces(self) -> Iterator[bytes]:
        """All of it.  Raises ContentDamaged when the file has become shorter."""
        at, stop = self.start, self.start + self.size
        while at < stop:
            piece = os.pread(self.descriptor, min(_PIECE, stop - at), at)
            if not piece:
                raise ContentDamaged("an archive was cut off while it was read")
            yield piece
            at += len(piece)


@dataclass(slots=True)
class Members:
    """What an archive holds, by names without ``./``; folders are left out.

    `links` lead to other names of the archive, which may be there or not; `others` are devices,
    pipes, and files with holes.
    """

    files: dict[str, Region] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)

    def __contains__(self, name: str) -> bool:
        return name in self.files or name in self.links or name in self.others

    def follow(self, name: str) -> Region | None:
        """The file that has the name, through links; None where there is none."""
        for _ in range(_MAX_LINKS + 1):
            if name not in self.links:
                return self.files.get(name)
            name = self.links[name]
        return None  # they lead in a circle, or all but


def _read(descriptor: int, start: int, size: int) -> bytes:
    pieces = []
    while size and (piece := os.pread(descriptor, size, start)):
        pieces.append(piece)
        start, size = start + len(piece), size - len(piece)
    return b"".join(pieces)


def find_members(descriptor: int, path: str, limit: int) -> Members:
    """Where the files of an uncompressed archive lie; `limit` is how many entries it may have.

    Raises ContentDamaged for what is no archive, or a hostile one, LimitExceeded; `path` is for
    the message.
    """
    source, found, names = _File(descriptor), Members(), 0
    try:
        for count, entry in enumerate(read_entries(Stream(source, BLOCK, source.pass_over))):
            if count >= limit:
                raise LimitExceeded("entries", limit)
            names += len(entry.name) + len(entry.link)
            if names > limits.ARCHIVE_NAMES:
                raise LimitExceeded("bytes of names", limits.ARCHIVE_NAMES)
            _note(entry, found, descriptor)
    except ArchiveInvalid as error:
        raise ContentDamaged(f"{path} is no archive that can be read: {error}") from None
    return found


def _note(entry: Entry, found: Members, descriptor: int) -> None:
    """Raises ArchiveInvalid."""
    written = os.fsdecode(entry.name)
    name = _inside("", written)
    if name is None:
        raise ArchiveInvalid(f"{written[:300]!r} lies outside of it")
    if entry.kind == FOLDER:
        return
    if name in found:
        raise ArchiveInvalid(f"{name} is in it twice")
    if entry.kind in (HARD_LINK, SYMBOLIC_LINK):
        # A symbolic link is seen from its folder, a hard one from the top.
        folder = name.rpartition("/")[0] if entry.kind == SYMBOLIC_LINK else ""
        to = _inside(folder, os.fsdecode(entry.link))
        if to is None:
            raise ArchiveInvalid(f"{name} is a link that leads out of it")
        found.links[name] = to
    elif entry.kind == FILE and entry.segments is None:
        found.files[name] = Region(descriptor, entry.at, entry.size)
    else:
        found.others.add(name)


def _inside(folder: str, name: str) -> str | None:
    """`name`, seen from `folder`, as it is seen from the top; None where it leads out.

    A name without a folder has no way up: tools differ in what ``a/../b`` is.
    """
    if name.startswith("/") or "\0" in name:
        return None
    parts = [part for part in folder.split("/") if part]
    for part in name.split("/"):
        if part == "..":
            if not (folder and parts):
                return None
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


class _File:
    """Reads a file in order, from its start, and passes over what nobody wants."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._at = descriptor, 0
        self._end = os.fstat(descriptor).st_size

    def read(self, size: int) -> bytes:
        piece = os.pread(self._descriptor, size, self._at)
        self._at += len(piece)
        return piece

    def pass_over(self, size: int) -> None:
        self._at += size
        if self._at > self._end:
            raise ArchiveInvalid(f"it is cut off at byte {self._end}")


def member_header(name: str, size: int | None) -> bytes:
    """The header of a file of `size` bytes, or of a folder (None); the same for the same."""
    info = tarfile.TarInfo(name)
    if size is None:
        info.type, info.mode = tarfile.DIRTYPE, 0o755
    else:
        info.size = size
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def padding(size: int) -> bytes:
    """What follows `size` bytes of a file up to the next block."""
    return bytes(-size % BLOCK)
