"""Files become a layer, and the same files the same layer, on any machine.

The names are in order, everything belongs to 0:0 and is of one time; modes, links and bytes are
those of the files.  Without compression the bytes follow from that alone: the diff id is the same
everywhere.  With compression they also follow from the version of the library that compresses.

Source: image-spec layer.md, "Creating"; POSIX.1-2017, pax, "ustar Interchange Format".
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Final, cast

from ...client.output import new_file
from ...client.places import compression as packing
from ...client.places.entries import BLOCK, FILE, FOLDER, HARD_LINK, SYMBOLIC_LINK
from ...client.places.files import translated
from ...oci.descriptor import Descriptor
from ...oci.digest import Digest, hasher
from ...oci.errors import Cancelled, Fault, FileInvalid, InputError
from ...oci.limits import MIB
from ...ports.runtime import ClientRuntime
from .apply import WHITEOUT
from .kinds import Compression

_PIECE: Final = MIB
_END: Final = bytes(2 * BLOCK)
_NAME: Final = 100  # bytes of the header's fields
_PREFIX: Final = 155
_SIZE: Final = 8**11  # bytes that eleven octal digits do not say any more
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_ALGORITHM: Final = "sha256"
_MODE: Final = 0o644
_LEVELS: Final = {Compression.NONE: 0, Compression.GZIP: 9, Compression.ZSTD: 22}


@dataclass(frozen=True, slots=True)
class PackedLayer:
    """A layer in the file `path`, which belongs to whoever asked for it."""

    path: str
    descriptor: Descriptor
    diff_id: Digest


async def pack_layer(
    runtime: ClientRuntime,
    root: str | os.PathLike[str],
    paths: Sequence[str] | None = None,
    *,
    compression: Compression | str = Compression.GZIP,
    level: int | None = None,
    mtime: int = 0,
    output: str | os.PathLike[str] | None = None,
) -> PackedLayer:
    """Pack what lies in the folder `root`.

    paths   names below `root`, in this order, folders with all that is in them; None: everything,
            by name
    level   of compression; None: 6 of gzip, 3 of zstd
    mtime   seconds since 1970, of every entry: 0, or what SOURCE_DATE_EPOCH says
    output  the file to write, which has its name when it is whole; None: a new one where such
            files lie here

    Raises FileInvalid for what is missing, changes meanwhile or is no file, folder or link, and
    for names of whiteouts; InputError for a name that leads out, an output that would be packed
    itself, and other values that are none;
    MissingExtraError; Denied, OutOfSpace, StoreUnavailable where it cannot be written.
    """
    kind = _checked(compression, level, mtime)
    work = _Work(os.fsencode(root), paths, kind, level, mtime, runtime.cancelled)
    if output is not None:
        path = os.fspath(output)
        _check_output(path, os.fspath(root), paths)
        async with new_file(path, _MODE, runtime) as write:
            return await runtime.offload(_pack, work, write, path)
    descriptor, path = tempfile.mkstemp(prefix="wasmhold-", suffix=".layer")
    try:
        # The last bytes are written as it is closed.
        with translated(path), os.fdopen(descriptor, "wb") as file:
            return await runtime.offload(_pack, work, file.write, path)
    except BaseException:
        os.unlink(path)
        raise


@dataclass(frozen=True, slots=True)
class _Work:
    root: bytes
    paths: Sequence[str] | None
    kind: Compression
    level: int | None
    mtime: int
    cancelled: Callable[[], bool]


def _checked(given: Compression | str, level: int | None, mtime: int) -> Compression:
    try:
        kind = Compression(given)
    except ValueError:
        raise InputError("want gzip, zstd or none", str(given)) from None
    most = _LEVELS[kind]
    if level is not None and not 1 <= level <= most:
        raise InputError(f"the levels of {kind.value} are 1 to {most}", str(level))
    if not 0 <= mtime < _SIZE:
        raise InputError("a time is seconds since 1970", str(mtime))
    if kind is Compression.ZSTD:
        packing.check_zstd()
    return kind


def _check_output(output: str, root: str, paths: Sequence[str] | None) -> None:
    """What is written must not be among what is read.  Raises InputError."""
    target = os.path.realpath(output)
    for one in [root] if paths is None else [os.path.join(root, path) for path in paths]:
        packed = os.path.realpath(one)
        if os.path.commonpath([packed, target]) == packed:
            raise InputError(f"the output would be packed with {one}: write it elsewhere", output)


def _pack(work: _Work, write: Callable[[bytes], object], path: str) -> PackedLayer:
    plain, out = hasher(_ALGORITHM), _Hashed(write)
    kind = None if work.kind is Compression.NONE else work.kind.value
    with translated(path), packing.writing(kind, cast(IO[bytes], out), work.level) as compressed:
        for piece in _archive(work.root, work.paths, work.mtime):
            if work.cancelled():
                raise Cancelled
            plain.update(piece)
            compressed.write(piece)
    descriptor = Descriptor(work.kind.media_type, out.digest(), out.size)
    return PackedLayer(path, descriptor, Digest(_ALGORITHM, plain.hexdigest()))


class _Hashed:
    """A file that is only written to: what goes in is hashed and counted."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write, self._running = write, hasher(_ALGORITHM)
        self.size = 0

    def write(self, content: bytes) -> int:
        self._running.update(content)
        self.size += len(content)
        self._write(content)
        return len(content)

    def digest(self) -> Digest:
        return Digest(_ALGORITHM, self._running.hexdigest())


def _archive(root: bytes, paths: Sequence[str] | None, mtime: int) -> Iterator[bytes]:
    try:
        top = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _invalid(root, error.strerror or "cannot be read") from None
    first: dict[tuple[int, int], bytes] = {}
    try:
        for name in _names(top, root, paths):
            yield from _entry(top, root, name, mtime, first)
    finally:
        os.close(top)
    yield _END


def _invalid(path: bytes, reason: str) -> FileInvalid:
    return FileInvalid(os.fsdecode(path), Fault("", reason))


def _names(top: int, root: bytes, paths: Sequence[str] | None) -> Iterator[bytes]:
    """Every name once: a folder before what is in it."""
    if paths is None:
        yield from _below(top, root, b"")
        return
    seen: set[bytes] = set()
    for given in paths:
        path = os.fsencode(given)
        parts = [part for part in path.split(b"/") if part not in (b"", b".")]
        if path.startswith(b"/") or b".." in parts or not parts:
            raise InputError("want names below the folder that is packed", given)
        for name in (b"/".join(parts), *_below(top, root, b"/".join(parts))):
            if name not in seen:
                seen.add(name)
                yield name


def _below(top: int, root: bytes, folder: bytes) -> Iterator[bytes]:
    """What is in a folder, with what is in that; nothing where it is none."""
    try:
        descriptor = os.open(folder or b".", _READ | os.O_DIRECTORY, dir_fd=top)
    except NotADirectoryError:
        return
    except OSError as error:
        raise _invalid(os.path.join(root, folder), error.strerror or "cannot be read") from None
    try:
        with os.scandir(descriptor) as found:
            names = [(os.fsencode(one.name), one.is_dir(follow_symlinks=False)) for one in found]
    finally:
        os.close(descriptor)
    # As paths sort: "a/b" stands behind "a-b", since a folder's name ends with a slash.
    for name, is_folder in sorted(names, key=lambda one: one[0] + b"/" * one[1]):
        path = folder + b"/" + name if folder else name
        yield path
        if is_folder:
            yield from _below(top, root, path)


def _entry(
    top: int, root: bytes, name: bytes, mtime: int, first: dict[tuple[int, int], bytes]
) -> Iterator[bytes]:
    path = os.path.join(root, name)
    if name.rpartition(b"/")[2].startswith(WHITEOUT):
        raise _invalid(path, "a layer takes this name for one that removes something")
    try:
        about = os.stat(name, dir_fd=top, follow_symlinks=False)
        mode = stat.S_IMODE(about.st_mode)
        inode = about.st_dev, about.st_ino
        if stat.S_ISDIR(about.st_mode):
            yield header(FOLDER, name + b"/", mode, mtime)
        elif about.st_nlink > 1 and inode in first:
            yield header(HARD_LINK, name, mode, mtime, link=first[inode])
        elif stat.S_ISLNK(about.st_mode):
            first[inode] = name
            target = os.readlink(name, dir_fd=top)
            yield header(SYMBOLIC_LINK, name, 0o777, mtime, link=target)
        elif stat.S_ISREG(about.st_mode):
            first[inode] = name
            descriptor = os.open(name, _READ, dir_fd=top)
            with os.fdopen(descriptor, "rb", buffering=0) as file:
                yield header(FILE, name, mode, mtime, size=about.st_size)
                yield from _content(file, about.st_size, path)
        else:
            raise _invalid(path, "is no file, folder or link")
    except OSError as error:
        raise _invalid(path, error.strerror or "cannot be read") from None


def _content(file: IO[bytes], size: int, path: bytes) -> Iterator[bytes]:
    left = size
    while left:
        piece = file.read(min(_PIECE, left))
        if not piece:
            raise _invalid(path, "became shorter while it was packed")
        left -= len(piece)
        yield piece
    if file.read(1):
        raise _invalid(path, "became longer while it was packed")
    yield bytes(-size % BLOCK)


def header(
    kind: bytes, name: bytes, mode: int, mtime: int, *, size: int = 0, link: bytes = b""
) -> bytes:
    """A header of POSIX's ustar, behind one of pax for what it has no room for."""
    records: list[tuple[bytes, bytes]] = []
    prefix, field = b"", name
    if len(name) > _NAME:
        prefix, field = _split(name)
        if not field:
            records.append((b"path", name))
            prefix, field = b"", name[:_NAME]
    if len(link) > _NAME:
        records.append((b"linkpath", link))
    if size >= _SIZE:
        records.append((b"size", b"%d" % size))
    before = b""
    if records:
        content = b"".join(_record(*one) for one in records)
        before = header(b"x", b"PaxHeaders", 0o644, mtime, size=len(content))
        before += content + bytes(-len(content) % BLOCK)
    fields = (
        (field, 100),
        (b"%07o" % mode, 8),
        (b"%07o" % 0, 8),
        (b"%07o" % 0, 8),
        (b"%011o" % (size if size < _SIZE else 0), 12),
        (b"%011o" % mtime, 12),
        (b" " * 8, 8),
        (kind, 1),
        (link[:_NAME], 100),
        (b"ustar\x0000", 8),
        (b"", 80),  # no names of owners, no device
        (prefix, 167),
    )
    block = b"".join(value.ljust(width, b"\0") for value, width in fields)
    return before + block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _split(name: bytes) -> tuple[bytes, bytes]:
    """Prefix and name, where a slash is at the right place; else both are empty."""
    cut = name.find(b"/", len(name) - _NAME - 1)
    if 0 < cut <= _PREFIX and cut < len(name) - 1:
        return name[:cut], name[cut + 1 :]
    return b"", b""


def _record(key: bytes, value: bytes) -> bytes:
    rest = b" %s=%s\n" % (key, value)
    size = len(rest) + len(b"%d" % len(rest))
    size = len(rest) + len(b"%d" % size)
    return b"%d" % size + rest


def epoch(environ: Mapping[str, str]) -> int:
    """The time that SOURCE_DATE_EPOCH says, else 0.  Raises InputError."""
    text = environ.get("SOURCE_DATE_EPOCH") or "0"
    if not (text.isascii() and text.isdigit()):
        raise InputError("SOURCE_DATE_EPOCH is a number of seconds", text)
    return int(text)
