"""Tar as a stream: what each entry says, in order, wherever the bytes come from.

It is strict where readers differ, since what two of them see differently can hide something: a
broken header ends it with an error, and so does anything between the blocks of zeros.  Else the
rules are those of Go's archive/tar, which reads most layers of the field: a pax record beats the
field of the header, GNU's long names beat both, and global headers say nothing of an entry.

Nothing is kept beyond one entry, and no header is larger than `limits.TAR_HEADER`.

Source: POSIX.1-2017, pax, "ustar Interchange Format", "pax Header Block"; GNU tar, "Basic Tar
Format", "Storing Sparse Files".
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Final, NamedTuple, NoReturn

from ...oci import limits
from ...oci.errors import ArchiveInvalid
from ...oci.limits import KIB
from .compression import Reader

BLOCK: Final = 512  # bytes

# The kinds of entries; any other is data that nobody here knows.
FILE: Final = b"0"
HARD_LINK: Final = b"1"
SYMBOLIC_LINK: Final = b"2"
CHARACTER_DEVICE: Final = b"3"
BLOCK_DEVICE: Final = b"4"
FOLDER: Final = b"5"
PIPE: Final = b"6"

XATTR: Final = b"SCHILY.xattr."  # before the name of an extended attribute, in a pax record

_ZEROS: Final = bytes(BLOCK)
_PIECE: Final = 256 * KIB
_MAX_HEADERS: Final = 16  # that say more of one entry, itself among them
# name mode uid gid size mtime checksum kind link magic+version user group major minor prefix
_HEADER: Final = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
_USTAR: Final = b"ustar\x00"
_STAR_AT: Final = slice(508, 512)  # in whose headers the prefix is shorter
_STAR: Final = b"tar\0"
_STAR_PREFIX: Final = 131
_WITHOUT_DATA: Final = frozenset(
    {HARD_LINK, SYMBOLIC_LINK, CHARACTER_DEVICE, BLOCK_DEVICE, FOLDER, PIPE}
)
_CONTIGUOUS: Final = b"7"
_OLD_FILE: Final = b"\0"
_OLD_SPARSE: Final = b"S"
_PAX: Final = frozenset({b"x", b"X"})
_GLOBAL_PAX: Final = b"g"
_LONG_NAME: Final = b"L"
_LONG_LINK: Final = b"K"

_SPARSE: Final = b"GNU.sparse."
_SPARSE_AT: Final = 386  # in the header of GNU's old format: four segments, then two fields
_SPARSE_MORE: Final = 482
_SPARSE_SIZE: Final = slice(483, 495)
_SPARSE_NEXT: Final = 504  # in the blocks behind it: 21 segments, then whether there are more
_SEGMENT: Final = struct.Struct("12s12s")

_NANO: Final = 10**9
_MAX: Final = (1 << 63) - 1


class Segment(NamedTuple):
    """Bytes of a sparse file that are in the archive: where they belong, and how many."""

    offset: int
    length: int


class Entry(NamedTuple):
    """What an archive says about a file, a folder, a link or something else.

    name, link  bytes as they are in the archive
    size        of the file, in bytes; `stored` of them are in the archive, from byte `at` on
    mtime_ns    since 1970; may be negative
    segments    of a sparse file, in order; None for a plain one
    xattrs      extended attributes, as records of its pax header
    """

    name: bytes
    kind: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    link: bytes
    device: tuple[int, int]
    xattrs: tuple[tuple[bytes, bytes], ...]
    segments: tuple[Segment, ...] | None
    stored: int
    at: int


class Stream:
    """Exact reads from what gives bytes as it likes; `position` is that of the next byte."""

    def __init__(
        self,
        source: Reader,
        piece: int = _PIECE,
        pass_over: Callable[[int], object] | None = None,
    ) -> None:
        """`pass_over` skips so many bytes of `source` without reading them, where it can."""
        self._source, self._size, self._pass_over = source, piece, pass_over
        self._piece = b""
        self._at = 0
        self.position = 0

    def read(self, size: int) -> bytes:
        """`size` bytes, fewer at the end."""
        end = self._at + size
        if end <= len(self._piece):
            found = self._piece[self._at : end]
            self._at = end
            self.position += size
            return found
        pieces = []
        while size and (piece := self._next(size)):
            pieces.append(bytes(piece))
            size -= len(piece)
        return b"".join(pieces)

    def pieces(self, size: int) -> Iterator[memoryview]:
        """`size` bytes in pieces.  Raises ArchiveInvalid where there are fewer."""
        while size:
            piece = self._next(size)
            if not piece:
                raise ArchiveInvalid(f"the archive is cut off at byte {self.position}")
            size -= len(piece)
            yield piece

    def skip(self, size: int) -> None:
        """Raises ArchiveInvalid where there are fewer."""
        end = self._at + size
        if end <= len(self._piece):
            self._at = end
            self.position += size
            return
        if self._pass_over is not None:
            self._pass_over(size - (len(self._piece) - self._at))
            self.position += size
            self._piece, self._at = b"", 0
            return
        for _ in self.pieces(size):
            pass

    def drain(self) -> None:
        """Read to the end."""
        while self._next(self._size):
            pass

    def _next(self, most: int) -> memoryview:
        if self._at == len(self._piece):
            self._piece, self._at = self._source.read(self._size), 0
        found = memoryview(self._piece)[self._at : self._at + most]
        self._at += len(found)
        self.position += len(found)
        return found


def read_entries(stream: Stream) -> Iterator[Entry]:
    """Every entry; what of its data is not read is passed over.

    It ends at two blocks of zeros, or where the stream does.  Raises ArchiveInvalid.
    """
    records: list[tuple[bytes, bytes]] = []
    long_name = long_link = None
    headers = 0  # of this entry
    while True:
        start = stream.position
        block = stream.read(BLOCK)
        if not block or block == _ZEROS:
            if block and stream.read(BLOCK) not in (b"", _ZEROS):
                _wrong("something stands behind a block of zeros", start)
            if records or long_name is not None or long_link is not None:
                _wrong("the archive ends behind a header that says more of an entry", start)
            return
        if len(block) < BLOCK:
            _wrong("the archive is cut off in a header", start)
        kind, size = _kind_and_size(block, start)
        headers += 1
        if headers > _MAX_HEADERS:
            _wrong(f"more than {_MAX_HEADERS} headers for one entry", start)
        if kind in _PAX:
            records = _records(_extended(stream, size, start), start)
        elif kind == _GLOBAL_PAX:
            _records(_extended(stream, size, start), start)
        elif kind == _LONG_NAME:
            long_name = _extended(stream, size, start).partition(b"\0")[0]
        elif kind == _LONG_LINK:
            long_link = _extended(stream, size, start).partition(b"\0")[0]
        else:
            try:
                entry = _entry(stream, block, dict(records), records)
            except ValueError as error:
                _wrong(str(error), start)
            end = entry.at + entry.stored
            if long_name is not None:
                entry = entry._replace(name=long_name)
            if long_link is not None:
                entry = entry._replace(link=long_link)
            yield entry
            stream.skip(end + -end % BLOCK - stream.position)
            records, long_name, long_link = [], None, None
            headers = 0


def _wrong(what: str, at: int) -> NoReturn:
    raise ArchiveInvalid(f"the archive is broken at byte {at}: {what}") from None


def _kind_and_size(block: bytes, start: int) -> tuple[bytes, int]:
    """Of a header whose checksum is right."""
    rest = block[:148] + b"        " + block[156:]
    try:
        checksum = _number(block[148:156])
    except ValueError:
        checksum = -1
    try:
        # The lower half of an Adler-32 is the sum of the bytes and 1, modulo 65521: what takes
        # Python microseconds for each header takes the library a fraction of one.
        is_sum = zlib.adler32(rest) & 0xFFFF == (1 + checksum) % 65521
        if not is_sum and checksum not in _sums(rest):
            _wrong("the checksum of a header is wrong", start)
        size = _number(block[124:136])
    except ValueError as error:
        _wrong(str(error), start)
    return block[156:157], size


def _sums(block: bytes) -> tuple[int, int]:
    """Of unsigned bytes, and of signed ones, as some old programs added them."""
    plain = sum(block)
    return plain, plain - 256 * sum(byte >> 7 for byte in block)


@lru_cache(maxsize=4096)
def _number(field: bytes) -> int:
    """Octal digits, or base 256 where the first bit is set.  Raises ValueError."""
    if field[0] & 0x80:
        number = int.from_bytes(field, "big") - (0x80 << 8 * (len(field) - 1))
        if field[0] & 0x40:
            number -= 0x80 << 8 * (len(field) - 1)
        if not -_MAX <= number <= _MAX:
            raise ValueError("a number has more than 63 bits")
        return number
    digits = field.strip(b" \0").partition(b"\0")[0]
    if digits.strip(b"01234567"):
        raise ValueError(f"{digits!r} is no number")
    return int(digits or b"0", 8)


def _extended(stream: Stream, size: int, start: int) -> bytes:
    """The data of a header that says more of the next entry."""
    if not 0 <= size <= limits.TAR_HEADER:
        _wrong(f"a header of {size} bytes; {limits.TAR_HEADER} are taken", start)
    content = stream.read(size)
    if len(content) < size or len(stream.read(-size % BLOCK)) < -size % BLOCK:
        _wrong("the archive is cut off in a header", start)
    return content


def _records(content: bytes, start: int) -> list[tuple[bytes, bytes]]:
    """The records of a pax header, ``LENGTH KEY=VALUE`` and a newline, in order."""
    records = []
    content = content.rstrip(b"\0")
    at = 0
    while at < len(content):
        space = content.find(b" ", at, at + 8)
        digits = content[at : max(at, space)]
        end = at + int(digits) if digits.isdigit() else at
        key, equals, value = content[space + 1 : end - 1].partition(b"=")
        if not (at < space < end <= len(content) and content[end - 1] == 10 and key and equals):
            _wrong("a pax record that cannot be read", start)
        if b"\0" in key or (b"\0" in value and not key.startswith(XATTR)):
            _wrong("a NUL in a pax record", start)
        records.append((key, value))
        at = end
    return records


def _entry(
    stream: Stream, block: bytes, pax: dict[bytes, bytes], records: list[tuple[bytes, bytes]]
) -> Entry:
    """Raises ValueError."""
    name, mode, uid, gid, size, mtime, _, kind, link, magic, _, _, major, minor, prefix = (
        _HEADER.unpack(block)
    )
    name = name.partition(b"\0")[0]
    if magic[:6] == _USTAR:
        if block[_STAR_AT] == _STAR:
            prefix = prefix[:_STAR_PREFIX]
        prefix = prefix.partition(b"\0")[0]
        if prefix:
            name = prefix + b"/" + name
    link = link.partition(b"\0")[0]
    stored = _number(size)
    owner, group, mtime_ns = _number(uid), _number(gid), _number(mtime) * _NANO
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    if pax:
        name, link = pax.get(b"path") or name, pax.get(b"linkpath") or link
        stored = _decimal(pax.get(b"size"), stored)
        owner, group = _decimal(pax.get(b"uid"), owner), _decimal(pax.get(b"gid"), group)
        mtime_ns = _nanoseconds(pax.get(b"mtime"), mtime_ns)
        xattrs = tuple(one for one in pax.items() if one[0].startswith(XATTR))
    if stored < 0 or min(owner, group) < 0:
        raise ValueError("a size or an owner is negative")
    segments: tuple[Segment, ...] | None = None
    real = stored
    if kind == _OLD_SPARSE:
        kind = FILE
        real, segments = _number(block[_SPARSE_SIZE]), _old_segments(stream, block)
    elif kind in (FILE, _OLD_FILE, _CONTIGUOUS):
        # Before there was a kind for folders, their names ended with a slash.
        kind = FOLDER if kind == _OLD_FILE and name.endswith(b"/") else FILE
        if pax and kind == FILE and any(key.startswith(_SPARSE) for key in pax):
            name = pax.get(_SPARSE + b"name") or name
            before = stream.position
            real, segments = _segments(stream, pax, records, stored)
            stored -= stream.position - before
    if kind in _WITHOUT_DATA:
        real = stored = 0
    if segments is not None:
        _check(segments, real, stored)
    return Entry(
        name,
        kind,
        _number(mode) & 0o7777,
        owner,
        group,
        real,
        mtime_ns,
        link,
        (_number(major), _number(minor)) if kind in (CHARACTER_DEVICE, BLOCK_DEVICE) else (0, 0),
        xattrs,
        segments,
        stored,
        stream.position,
    )


def _decimal(text: bytes | None, default: int) -> int:
    if not text:
        return default
    if not text.isdigit() or len(text) > 19 or int(text) > _MAX:
        raise ValueError(f"{text[:40]!r} is no number")
    return int(text)


def _nanoseconds(text: bytes | None, default: int) -> int:
    """``-1.5``: seconds since 1970."""
    if not text:
        return default
    whole, _, part = text.removeprefix(b"-").partition(b".")
    if not whole.isdigit() or len(whole) > 18 or (part and not part.isdigit()):
        raise ValueError(f"{text[:40]!r} is no time")
    found = int(whole) * _NANO + int((part + b"0" * 9)[:9])
    return -found if text.startswith(b"-") else found


def _old_segments(stream: Stream, block: bytes) -> tuple[Segment, ...]:
    """Of GNU's old format: four in the header, more in blocks behind it."""
    found: list[Segment] = []
    area, goes_on = block[_SPARSE_AT:_SPARSE_MORE], block[_SPARSE_MORE]
    while True:
        for offset, length in _SEGMENT.iter_unpack(area):
            if offset[0] == 0 or length[0] == 0:
                break
            _add(found, _number(offset), _number(length))
        if not goes_on:
            return tuple(found)
        block = stream.read(BLOCK)
        if len(block) < BLOCK:
            raise ValueError("the archive is cut off in the map of a sparse file")
        area, goes_on = block[:_SPARSE_NEXT], block[_SPARSE_NEXT]


def _segments(
    stream: Stream, pax: dict[bytes, bytes], records: list[tuple[bytes, bytes]], stored: int
) -> tuple[int, tuple[Segment, ...]]:
    """The size and the segments of a sparse file as pax has them: formats 0.0, 0.1 and 1.0."""
    said = pax.get(_SPARSE + b"realsize") or pax.get(_SPARSE + b"size")
    real = _decimal(said, -1)
    version = pax.get(_SPARSE + b"major"), pax.get(_SPARSE + b"minor")
    if version == (b"1", b"0"):
        numbers = _map_in_data(stream, stored)
    elif version not in ((None, None), (b"0", b"0"), (b"0", b"1")):
        raise ValueError("a sparse file in a format that is not known")
    elif _SPARSE + b"map" in pax:
        numbers = iter(pax[_SPARSE + b"map"].split(b","))
    else:
        pair = (_SPARSE + b"offset", _SPARSE + b"numbytes")
        given = [one for one in records if one[0] in pair]
        if [key for key, _ in given] != [*pair] * (len(given) // 2):
            raise ValueError("the map of a sparse file has no pairs")
        numbers = (value for _, value in given)
    if real < 0:
        raise ValueError("a sparse file without a size")
    found: list[Segment] = []
    for offset in numbers:
        _add(found, _decimal(offset, -1), _decimal(next(numbers, None), -1))
    return real, tuple(found)


def _map_in_data(stream: Stream, stored: int) -> Iterator[bytes]:
    """Format 1.0: how many segments, then their numbers, one a line, in whole blocks."""
    content, wanted = b"", 1
    lines: list[bytes] = []
    while len(lines) < wanted:
        if stored < BLOCK:
            raise ValueError("the map of a sparse file is cut off")
        stored -= BLOCK
        *more, content = (content + stream.read(BLOCK)).split(b"\n")
        lines += more
        if wanted == 1 and lines:
            wanted += 2 * _decimal(lines[0], -1)
            if not 0 < wanted <= 2 * limits.TAR_SEGMENTS + 1:
                raise ValueError("the map of a sparse file has too many segments")
        if len(content) > 20 and len(lines) < wanted:
            raise ValueError("the map of a sparse file is broken")
    return iter(lines[1:wanted])


def _add(found: list[Segment], offset: int, length: int) -> None:
    if len(found) >= limits.TAR_SEGMENTS:
        raise ValueError("the map of a sparse file has too many segments")
    found.append(Segment(offset, length))


def _check(segments: tuple[Segment, ...], size: int, stored: int) -> None:
    """They are in order, lie in the file, and are what is stored."""
    end = 0
    for offset, length in segments:
        if offset < end or length < 0 or offset + length > size:
            raise ValueError("the map of a sparse file does not fit it")
        end = offset + length
    if sum(length for _, length in segments) != stored:
        raise ValueError("the map of a sparse file does not fit its data")
