"""HTTP/1.1 on a wire, as far as servers and proxies for tests need it.  Source: RFC 9112."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from ..oci.limits import KIB
from ..protocol.messages import Fields, field

PIECE: Final = 64 * KIB
LIMIT: Final = 128 * KIB  # bytes of one line
_MAX_FIELDS: Final = 200
_LINGER_S: Final = 1.0


class BadMessage(Exception):
    """What came is no HTTP/1.1."""


@dataclass(frozen=True, slots=True)
class Head:
    """The first line, and fields with names in lower case."""

    first: bytes
    fields: Fields

    @property
    def is_chunked(self) -> bool:
        return (field(self.fields, b"transfer-encoding") or "").lower() == "chunked"

    @property
    def length(self) -> int | None:
        """Content-Length in bytes, None where there is none.  Raises BadMessage."""
        text = field(self.fields, b"content-length")
        if text is not None and not text.isdecimal():
            raise BadMessage("Content-Length is no number")
        return None if text is None else int(text)

    def without(self, *names: bytes) -> list[tuple[bytes, bytes]]:
        return [(key, value) for key, value in self.fields if key not in names]

    def to_bytes(self) -> bytes:
        lines = [self.first, *(b"%s: %s" % pair for pair in self.fields)]
        return b"\r\n".join([*lines, b"", b""])


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """None where the connection ends instead.  Raises BadMessage."""
    try:
        first = (await reader.readline()).strip()
        fields: list[tuple[bytes, bytes]] = []
        while line := (await reader.readline()).strip() if first else b"":
            name, colon, value = line.partition(b":")
            if not colon or len(fields) == _MAX_FIELDS:
                raise BadMessage("a line is no field, or there are too many")
            fields.append((name.lower(), value.strip()))
    except ValueError:
        raise BadMessage(f"a line has more than {LIMIT} bytes") from None
    return Head(first, fields) if first else None


def request_line(head: Head) -> tuple[bytes, bytes, bytes]:
    """Method, target and version.  Raises BadMessage."""
    parts = head.first.split(b" ")
    if len(parts) != 3 or not all(parts):
        raise BadMessage("the first line is none of a request")
    return parts[0], parts[1], parts[2]


async def read_body(
    reader: asyncio.StreamReader, head: Head, *, to_the_end: bool = False
) -> AsyncIterator[bytes]:
    """The body in pieces.  `to_the_end`: without a length it ends with the connection.

    Raises asyncio.IncompleteReadError when it is cut; BadMessage.
    """
    if head.is_chunked:
        while size := await _chunk_size(reader):
            async for piece in _exactly(reader, size):
                yield piece
            await reader.readline()
        while (await reader.readline()).strip():  # trailers
            pass
    elif head.length is not None:
        async for piece in _exactly(reader, head.length):
            yield piece
    elif to_the_end:
        while piece := await reader.read(PIECE):
            yield piece


async def _chunk_size(reader: asyncio.StreamReader) -> int:
    line = await reader.readline()
    if not line:
        raise asyncio.IncompleteReadError(b"", None)
    try:
        return int(line.partition(b";")[0], 16)
    except ValueError:
        raise BadMessage("the size of a chunk is no number") from None


async def _exactly(reader: asyncio.StreamReader, size: int) -> AsyncIterator[bytes]:
    while size:
        piece = await reader.read(min(size, PIECE))
        if not piece:
            raise asyncio.IncompleteReadError(b"", size)
        size -= len(piece)
        yield piece


def chunk(piece: bytes) -> bytes:
    """`piece` as one chunk; an empty one ends the body."""
    return b"%x\r\n%s\r\n" % (len(piece), piece)


async def linger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read what still comes for a moment: a connection that is closed before takes the answer away
    from a client that was sending."""
    with suppress(OSError, TimeoutError):
        if writer.can_write_eof():
            writer.write_eof()
        async with asyncio.timeout(_LINGER_S):
            while await reader.read(PIECE):
                pass
