"""Bodies become parts: bytes stream into the bucket, and are hashed on their way."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final, TypeVar

from ...oci.digest import Hasher
from ...oci.errors import StoreUnavailable
from ...oci.limits import KIB, MIB
from ...ports.body import Body
from . import keys
from .cells import Cells
from .content import Content, Part, read_content
from .port import Ambiguous

PART: Final = 64 * MIB  # bytes that fill a part: a plain PUT takes that everywhere
PIECE: Final = 1 * MIB  # bytes that are hashed and written at once
SMALL_PIECE: Final = 128 * KIB  # the same, when the buffers are spent
BUFFERS: Final = 32 * MIB  # bytes of all pieces of this store that are in memory at once
_OFFLOAD: Final = 64 * KIB  # hashing less takes less time than handing it to somebody else

T = TypeVar("T")


async def next_or_none(iterator: AsyncIterator[T]) -> T | None:
    """The next item, or None at the end.

    Not ``anext(iterator, None)``: in Python 3.11 that breaks when the driver of a coroutine sends
    a tuple into it.
    """
    async for item in iterator:
        return item
    return None


class Staging:
    """Writes and deletes what lies under ``data/``."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self._buffered = 0

    async def stage(self, upload: str, body: Body, hasher: Hasher | None) -> tuple[Part, ...]:
        """Write `body` as parts of `upload`, feeding `hasher`; no part for a body without bytes.

        Raises what the body raises, StoreUnavailable, OutOfSpace: then the parts are deleted.
        """
        parts: list[Part] = []
        try:
            async with aclosing(self._pieces(body)) as pieces:
                piece = await next_or_none(pieces)
                while piece is not None:
                    chunks = _PartChunks(self, piece, pieces, hasher)
                    parts.append(Part(self._cells.nonce(), 0))  # named first: it may break off
                    await self._put(keys.data(upload, parts[-1].name), chunks)
                    parts[-1] = parts[-1]._replace(size=chunks.size)
                    piece = await next_or_none(pieces)
        except Exception:
            await self.unstage(upload, parts)
            raise
        return tuple(parts)

    async def unstage(self, upload: str, parts: list[Part] | tuple[Part, ...]) -> None:
        """Delete parts that no session names, and that no write under way could make it name."""
        for part in parts:
            await self.delete(keys.data(upload, part.name))

    async def delete(self, key: str) -> None:
        """Plain DELETE: for data alone, whose keys never come back.

        What an unclear answer leaves behind is swept by the collector.
        """
        try:
            await self._cells.bucket.delete(key)
        except (Ambiguous, StoreUnavailable):
            pass

    async def wipe(self, upload: str) -> int:
        """Delete everything that the session has staged; the bytes that it was."""
        freed = 0
        for entry in await self._cells.listed(keys.data_of(upload)):
            await self.delete(entry.key)
            freed += entry.size
        return freed

    async def feed(self, hasher: Hasher, content: Content) -> None:
        """Hash what is stored already."""
        chunks = read_content(self._cells.bucket, content, 0, content.size)
        async with aclosing(chunks):
            async for chunk in chunks:
                await self.hash(hasher, chunk)

    async def hash(self, hasher: Hasher, piece: bytes) -> None:
        if len(piece) < _OFFLOAD:
            hasher.update(piece)
        else:
            await self._cells.runtime.offload(hasher.update, piece)

    async def _put(self, key: str, chunks: AsyncIterator[bytes]) -> None:
        try:
            await self._cells.bucket.put_data(key, chunks)
        except Ambiguous as error:
            # The bytes have passed and cannot be sent again.  The key is ours alone, so what is
            # there can be nothing else.
            if not await self._cells.bucket.has(key):
                raise StoreUnavailable("the object store lost a body: send it again") from error

    async def _pieces(self, body: Body) -> AsyncGenerator[bytes, None]:
        """The body in pieces of a size that is worth a call; a chunk that is larger stays whole."""
        chunks: list[bytes] = []
        size, want = 0, self._take()
        try:
            async for chunk in body:
                chunks.append(bytes(chunk))  # no copy, unless it lies in somebody's buffer
                size += len(chunk)
                if size >= want:
                    yield b"".join(chunks) if len(chunks) > 1 else chunks[0]
                    chunks.clear()
                    self._buffered -= want
                    size, want = 0, self._take()
            if size:
                yield b"".join(chunks) if len(chunks) > 1 else chunks[0]
        finally:
            self._buffered -= want

    def _take(self) -> int:
        want = PIECE if self._buffered + PIECE <= BUFFERS else SMALL_PIECE
        self._buffered += want
        return want


class _PartChunks:
    """Pieces, beginning with `piece`, up to the one that fills a part."""

    def __init__(
        self, staging: Staging, piece: bytes, pieces: AsyncIterator[bytes], hasher: Hasher | None
    ) -> None:
        self.size = 0
        self._first: bytes | None = piece
        self._staging, self._pieces, self._hasher = staging, pieces, hasher

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        piece, self._first = self._first, None
        if piece is None and self.size < PART:
            piece = await next_or_none(self._pieces)
        if piece is None:
            raise StopAsyncIteration
        if self._hasher is not None:
            await self._staging.hash(self._hasher, piece)
        self.size += len(piece)
        return piece
