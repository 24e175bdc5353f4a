"""Tar as far as an image layout needs it: where the bytes of its files lie, and headers.

Nothing is ever unpacked under a name from an archive.  A member that is no file of a layout is
passed over; one that is, and is a link, sparse, there twice or cut off, is an error.

Source: POSIX.1-2017, pax, "ustar Interchange Format", "pax Header Block"; GNU tar, "Basic Tar
Format".
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable
from typing import Final, NamedTuple

from ...oci import limits
from ...oci.digest import Digest
from ...oci.errors import ContentDamaged, DigestInvalid
from ...oci.layout import INDEX_FILE, LAYOUT_FILE, blob_name
from ...oci.limits import KIB

BLOCK: Final = 512  # bytes
END: Final = bytes(2 * BLOCK)

_EXTENDED: Final = 64 * KIB  # bytes of one pax header or long name; none of the field has a tenth


class Region(NamedTuple):
    """Bytes of an open file."""

    descriptor: int
    start: int
    size: int

    def read(self) -> bytes:
        return _read(self.descriptor, self.start, self.size)


def _read(descriptor: int, start: int, size: int) -> bytes:
    pieces = []
    while size and (piece := os.pread(descriptor, size, start)):
        pieces.append(piece)
        start, size = start + len(piece), size - len(piece)
    return b"".join(pieces)


def _ours(name: str) -> str | None:
    """The name as a layout has it, None for what is no file of one."""
    name = name.removeprefix("./")
    if name in (INDEX_FILE, LAYOUT_FILE):
        return name
    parts = name.split("/")
    if len(parts) != 3 or parts[0] != "blobs":
        return None
    try:
        return blob_name(Digest.parse(f"{parts[1]}:{parts[2]}"))
    except DigestInvalid:
        return None


def find_members(descriptor: int, path: str) -> dict[str, Region]:
    """Where the files of a layout lie in an uncompressed archive.

    Raises ContentDamaged for what is no archive, or a hostile one; `path` is for the message.
    """

    def damaged(reason: str) -> ContentDamaged:
        return ContentDamaged(f"{path} is no archive of an image layout: {reason}")

    end = os.fstat(descriptor).st_size
    found: dict[str, Region] = {}
    at = count = 0
    name: str | None = None  # what an extended header says of the member behind it
    size: int | None = None
    is_sparse = False
    while at < end:
        block = _read(descriptor, at, BLOCK)
        if block == bytes(BLOCK):
            break
        try:
            header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise damaged(f"at byte {at}: {error}") from None
        count += 1
        if count > limits.ARCHIVE_MEMBERS:
            raise damaged(f"it has more than {limits.ARCHIVE_MEMBERS} members")
        at += BLOCK
        is_extended = header.type in (b"x", b"X", b"g", b"L", b"K")
        length = header.size if size is None or is_extended else size
        has_data = header.type in tarfile.REGULAR_TYPES or is_extended or header.type in b"S"
        if not has_data and header.type in tarfile.SUPPORTED_TYPES:
            length = 0
        if length < 0 or at + length > end:
            raise damaged(f"the member at byte {at - BLOCK} is cut off")
        if is_extended:
            if length > _EXTENDED:
                raise damaged(f"the header at byte {at - BLOCK} has more than {_EXTENDED} bytes")
            content = _read(descriptor, at, length)
            if header.type == b"L":
                name = content.rstrip(b"\0").decode("utf-8", "surrogateescape")
            elif header.type in (b"x", b"X"):
                records = _records(content, damaged)
                name = records.get("path", name)
                is_sparse = any(key.startswith("GNU.sparse") for key in records)
                if "size" in records:
                    if not (records["size"].isascii() and records["size"].isdecimal()):
                        raise damaged(f"a size that is no number, at byte {at}")
                    size = int(records["size"])
        else:
            ours = _ours(name or header.name)
            if ours is not None:
                if header.type not in (b"0", b"\0", b"7") or is_sparse:
                    raise damaged(f"{ours} is no plain file in it")
                if ours in found:
                    raise damaged(f"{ours} is in it twice")
                found[ours] = Region(descriptor, at, length)
            name, size, is_sparse = None, None, False
        at += -(-length // BLOCK) * BLOCK
    return found


def _records(content: bytes, damaged: Callable[[str], ContentDamaged]) -> dict[str, str]:
    """The records of a pax header: ``LENGTH KEY=VALUE`` and a newline."""
    records: dict[str, str] = {}
    while content.rstrip(b"\0"):
        digits, space, _ = content.partition(b" ")
        length = int(digits) if digits.isdigit() and len(digits) < 6 else 0
        record = content[len(digits) + 1 : length]
        key, equals, value = record.partition(b"=")
        if not (space and equals and record.endswith(b"\n") and length <= len(content)):
            raise damaged("a pax header that cannot be read")
        records[key.decode("utf-8", "replace")] = value[:-1].decode("utf-8", "surrogateescape")
        content = content[length:]
    return records


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
