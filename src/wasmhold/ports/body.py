"""Bodies: bytes that stream.

**A body has one owner: whoever receives it closes it**, with ``contextlib.aclosing``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Final, Protocol

from ..oci.limits import KIB

PIECE: Final = 256 * KIB  # bytes that are sent at once: what waits for a reader is a few of them


@dataclass(frozen=True, slots=True)
class FileRange:
    """Bytes `start` to `stop` (one past the last) of the open file `descriptor`.

    The descriptor belongs to the body: it is closed when the body is.
    """

    descriptor: int
    start: int
    stop: int


class Body(Protocol):
    """Bytes in chunks; each chunk is bytes-like and not empty.

    `size` is the whole in bytes, None when it is not known before the end.  `file` is set when
    the bytes are those of a file, so that a server may use the fastest way its host has.
    Iterating raises BodyCut, BodyStalled or TooLarge when the peer breaks its side.
    """

    @property
    def size(self) -> int | None: ...
    @property
    def file(self) -> FileRange | None: ...
    def __aiter__(self) -> AsyncIterator[bytes]: ...
    async def aclose(self) -> None: ...


class BytesBody:
    """A body that is in memory already, iterated once; `content` is all of it."""

    file = None

    def __init__(self, content: bytes = b"") -> None:
        self.size: int | None = len(content)
        self.content = content
        self._at = 0

    # No generator: one that is not run to its end costs a task under an event loop.
    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        piece = self.content[self._at : self._at + PIECE]
        if not piece:
            raise StopAsyncIteration
        self._at += len(piece)
        return piece

    async def aclose(self) -> None:
        return


class BytesSource:
    """`ports.repository.BlobSource` of bytes that are in memory already."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def open(self, start: int) -> Body:
        return BytesBody(self._content[start:])


class ChunksBody:
    """A body of what a generator gives; `size` in bytes, None when it is not known."""

    file = None

    def __init__(self, size: int | None, chunks: AsyncGenerator[bytes, None]) -> None:
        self.size = size
        self._chunks = chunks

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._chunks

    async def aclose(self) -> None:
        await self._chunks.aclose()


async def read_all(body: Body) -> bytes:
    """All bytes of a body that is known to be small."""
    return b"".join([bytes(chunk) async for chunk in body])


async def read_start(body: Body, size: int) -> bytes:
    """Its first `size` bytes, fewer when it has no more; the rest is not asked for."""
    content = b""
    async for chunk in body:
        content += chunk
        if len(content) >= size:
            break
    return content[:size]
