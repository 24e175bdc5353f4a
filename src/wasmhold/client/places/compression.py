"""What an archive is compressed with: gzip, zstd where there is a library, or nothing."""

from __future__ import annotations

import gzip
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Final, Protocol

from ...oci.errors import ContentDamaged, LimitExceeded, MissingExtraError, Unsupported
from ...oci.limits import MIB

GZIP: Final = "gzip"
ZSTD: Final = "zstd"
NONE: Final = "none"

_PIECE: Final = MIB  # bytes that are unpacked at once

_MAGIC: Final = {b"\x1f\x8b": GZIP, b"\x28\xb5\x2f\xfd": ZSTD}
_SKIPPABLE: Final = b"\x2a\x4d\x18"  # behind 50 to 5f: a frame of zstd that holds no content
_MODULES: Final = ("compression.zstd", "backports.zstd")
_SUFFIXES: Final = {".gz": GZIP, ".tgz": GZIP, ".zst": ZSTD, ".tzst": ZSTD}
_LEVEL: Final = {GZIP: 6, ZSTD: 3}


class Reader(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Writer(Protocol):
    def write(self, content: bytes, /) -> object: ...


def of_content(start: bytes) -> str | None:
    """By its first four bytes; None: not compressed."""
    if start[1:4] == _SKIPPABLE and start[0] >> 4 == 5:
        return ZSTD
    return next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), None)


def of_name(path: str) -> str | None:
    """By how its name ends."""
    return next((kind for suffix, kind in _SUFFIXES.items() if path.endswith(suffix)), None)


def chosen(kind: str | None, path: str) -> str | None:
    """`kind`, one of the three, or as `path` ends; None: not to be compressed.

    Raises Unsupported for another one.
    """
    if kind is None:
        return of_name(path)
    if kind not in (GZIP, ZSTD, NONE):
        raise Unsupported(f"{kind!r} is no compression of archives: want gzip, zstd or none")
    return None if kind == NONE else kind


def _zstd() -> Any:
    """The module of the standard library since 3.14, else the package that is the same.

    It is looked for when it is needed: most archives need none.  Raises MissingExtraError.
    """
    for name in _MODULES:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise MissingExtraError("zstd")


def check_zstd() -> None:
    """Raises MissingExtraError where there is none."""
    _zstd()


@contextmanager
def reading(kind: str, file: IO[bytes]) -> Iterator[Reader]:
    """What `file` holds, uncompressed: all members of a gzip, all frames of zstd.

    A read raises what `broken` knows, also for what stands behind the last of them.
    Raises MissingExtraError.
    """
    opened = gzip.GzipFile(fileobj=file) if kind == GZIP else _zstd().ZstdFile(file)
    with opened:
        yield opened


@contextmanager
def writing(kind: str | None, file: IO[bytes], level: int | None = None) -> Iterator[Writer]:
    """Compress into `file`, which stays open; the same bytes for the same bytes.

    That holds for one version of the library: another one may find a shorter way to write them.
    Raises MissingExtraError.
    """
    if kind is None:
        yield file
        return
    level = _LEVEL[kind] if level is None else level
    if kind == GZIP:
        opened = gzip.GzipFile("", "wb", level, file, mtime=0)
    else:
        opened = _zstd().ZstdFile(file, "wb", level=level)
    with opened:
        yield opened


def pieces(kind: str, file: IO[bytes], limit: int, name: str) -> Iterator[bytes]:
    """What `file` holds, uncompressed, piece by piece.

    Raises ContentDamaged for what is broken, LimitExceeded for more than `limit` bytes.
    """
    size = 0
    try:
        with reading(kind, file) as content:
            while piece := content.read(_PIECE):
                size += len(piece)
                if size > limit:
                    raise LimitExceeded("bytes without compression", limit)
                yield piece
    except Exception as error:
        if not broken(error):
            raise
        raise ContentDamaged(f"{name} is damaged: {error}") from None


def broken(error: Exception) -> bool:
    """Whether it is what one of them raises for bytes that are not its own."""
    return isinstance(error, (EOFError, gzip.BadGzipFile)) or type(error).__name__ in (
        "error",  # zlib's
        "ZstdError",
    )
