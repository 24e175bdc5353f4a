"""Bodies become parts: bytes stream into the bucket, and are hashed on their way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Final, TypeVar

from ...oci.digest import Hasher
from ...oci.errors import StoreUnavailable
from ...oci.limits import MIB
from ...ports.body import Body
from ...ports.runtime import Runtime
from ..pieces import Buffers, feed
from . import keys
from .cells import Cells
from .content import Content, Part, read_content
from .port import Ambiguous

PART: Final = 64 * MIB  # bytes that fill a part: a plain PUT takes that everywhere

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
        self.buffers = Buffers()

    async def stage(self, upload: str, body: Body, hasher: Hasher | None) -> tuple[Part, ...]:
        """Write `body` as parts of `upload`, feeding `hasher`; no part for a body without bytes.

        Raises what the body raises, StoreUnavailable, OutOfSpace: then the parts are deleted.
        """
        parts: list[Part] = []
        try:
            async with aclosing(self.buffers.pieces(body)) as pieces:
                piece = await next_or_none(pieces)
                while piece is not None:
                    chunks = _PartChunks(piece, pieces, hasher, self._cells.runtime)
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
                await feed(hasher, self._cells.runtime, chunk)

    async def _put(self, key: str, chunks: AsyncIterator[bytes]) -> None:
        try:
            await self._cells.bucket.put_data(key, chunks)
        except Ambiguous as error:
            # The bytes have passed and cannot be sent again.  The key is ours alone, so what is
            # there can be nothing else.
            if not await self._cells.bucket.has(key):
                raise StoreUnavailable("the object store lost a body: send it again") from error


class _PartChunks:
    """Pieces, beginning with `piece`, up to the one that fills a part."""

    def __init__(
        self, piece: bytes, pieces: AsyncIterator[bytes], hasher: Hasher | None, runtime: Runtime
    ) -> None:
        self.size = 0
        self._first: bytes | None = piece
        self._pieces, self._hasher, self._runtime = pieces, hasher, runtime

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        piece, self._first = self._first, None
        if piece is None and self.size < PART:
            piece = await next_or_none(self._pieces)
        if piece is None:
            raise StopAsyncIteration
        if self._hasher is not None:
            await feed(self._hasher, self._runtime, piece)
        self.size += len(piece)
        return piece
