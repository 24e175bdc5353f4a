"""The bytes of a layer on their way into a tree: hashed, counted and unpacked, piece by piece.

All of it blocks: it runs where the host of the core lets things block.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from io import BytesIO
from typing import BinaryIO, Final, TypeAlias, cast

from ...client.places import compression
from ...client.places.compression import Reader
from ...oci.digest import Digest, hasher
from ...oci.errors import ArchiveInvalid, Cancelled, LimitExceeded
from ...oci.limits import KIB
from ...ports.runtime import ClientRuntime
from .options import LayerLimits

PIECE: Final = 256 * KIB  # bytes

LayerStream: TypeAlias = bytes | BinaryIO | AsyncIterable[bytes] | Iterable[bytes]


def reader_of(stream: LayerStream, runtime: ClientRuntime) -> Reader:
    """What reads `stream`, whichever of the four it is."""
    if isinstance(stream, bytes | bytearray | memoryview):
        return BytesIO(stream)
    if isinstance(stream, AsyncIterable):
        chunks = aiter(stream)
        return _Chunks(lambda: runtime.finish(_next(chunks)))
    if hasattr(stream, "read"):
        return cast(Reader, stream)
    pieces = iter(stream)
    return _Chunks(lambda: next(pieces, b""))


async def _next(chunks: AsyncIterator[bytes]) -> bytes:
    return await anext(chunks, b"")


class _Chunks:
    """Reads what comes in chunks of any size."""

    def __init__(self, more: Callable[[], bytes]) -> None:
        self._more = more
        self._left = memoryview(b"")

    def read(self, size: int, /) -> bytes:
        if not self._left:
            self._left = memoryview(self._more())
        piece, self._left = self._left[:size], self._left[size:]
        return bytes(piece)


class Packed:
    """A layer as it is stored: its `size` so far, its digest, and what it is compressed with."""

    def __init__(self, source: Reader, algorithm: str, cancelled: Callable[[], bool]) -> None:
        self._source, self.algorithm, self._cancelled = source, algorithm, cancelled
        self._hash = hasher(algorithm)
        self._start = b""
        self.size = 0

    def start(self) -> bytes:
        """The first bytes, at least four of them where there are so many; they are read again."""
        while len(self._start) < 4 and (piece := self._read(PIECE)):
            self._start += piece
        return self._start

    def read(self, size: int, /) -> bytes:
        if self._start:
            piece, self._start = self._start[:size], self._start[size:]
            return piece
        return self._read(size)

    def _read(self, size: int) -> bytes:
        if self._cancelled():
            raise Cancelled
        piece = self._source.read(size)
        self._hash.update(piece)
        self.size += len(piece)
        return piece

    def digest(self) -> Digest:
        return Digest(self.algorithm, self._hash.hexdigest())


class Plain:
    """The same without its compression, within bounds.  Reading raises ArchiveInvalid too."""

    def __init__(self, opened: Reader, packed: Packed, limits: LayerLimits, algorithm: str) -> None:
        self._opened, self._packed, self._limits = opened, packed, limits
        self._algorithm = algorithm
        # What is not compressed is hashed already.
        is_same = opened is packed and algorithm == packed.algorithm
        self._hash = None if is_same else hasher(algorithm)
        self.size = 0

    def read(self, size: int, /) -> bytes:
        try:
            piece = self._opened.read(size)
        except Exception as error:
            if not compression.broken(error):
                raise
            raise ArchiveInvalid(f"the layer's compression is broken: {error}") from None
        if self._hash is not None:
            self._hash.update(piece)
        self.size = total = self.size + len(piece)
        limits = self._limits
        if total > limits.size:
            raise LimitExceeded("bytes when it is unpacked", limits.size)
        if total > limits.free and total > limits.ratio * self._packed.size:
            raise LimitExceeded("times its own size when it is unpacked", limits.ratio)
        return piece

    def digest(self) -> Digest:
        if self._hash is None:
            return self._packed.digest()
        return Digest(self._algorithm, self._hash.hexdigest())


def as_file(reader: Reader) -> BinaryIO:
    """For libraries that want a file and only read it."""
    return cast(BinaryIO, reader)
