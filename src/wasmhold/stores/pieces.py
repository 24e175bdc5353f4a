"""Bodies in pieces: what of all bodies that a store takes in is in memory at once."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from ..oci.digest import Hasher
from ..oci.limits import KIB, MIB
from ..ports.body import Body
from ..ports.runtime import Runtime

PIECE: Final = 1 * MIB  # bytes that are hashed and written at once
SMALL_PIECE: Final = 128 * KIB  # the same, when the buffers are spent
BUFFERS: Final = 32 * MIB  # bytes of all pieces of this store that are in memory at once
OFFLOAD: Final = 64 * KIB  # hashing less takes less time than handing it to somebody else


class Buffers:
    """The pieces of one store."""

    def __init__(self) -> None:
        self.buffered = 0

    async def pieces(self, body: Body) -> AsyncGenerator[bytes, None]:
        """The body in pieces of a size that is worth a call; a chunk that is larger stays whole."""
        async with aclosing(self.batches(body)) as batches:
            async for batch in batches:
                yield b"".join(batch) if len(batch) > 1 else batch[0]

    async def batches(self, body: Body) -> AsyncGenerator[list[bytes], None]:
        """The same, each piece in the chunks in which it came: for who need not copy them."""
        chunks: list[bytes] = []
        size, want = 0, self._take()
        try:
            async for chunk in body:
                chunks.append(bytes(chunk))  # no copy, unless it lies in somebody's buffer
                size += len(chunk)
                if size >= want:
                    yield chunks
                    self.buffered -= want
                    chunks, size, want = [], 0, self._take()
            if size:
                yield chunks
        finally:
            self.buffered -= want

    def _take(self) -> int:
        want = PIECE if self.buffered + PIECE <= BUFFERS else SMALL_PIECE
        self.buffered += want
        return want


async def feed(hasher: Hasher, runtime: Runtime, piece: bytes) -> None:
    """Hash where it disturbs nobody."""
    if len(piece) < OFFLOAD:
        hasher.update(piece)
    else:
        await runtime.offload(hasher.update, piece)
