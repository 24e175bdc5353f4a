"""One exchange through a proxy, broken as an effect says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from http import HTTPStatus
from random import Random
from typing import Final, TypeAlias

from ..auth.authenticator import challenge_for
from ..faults import Close, Status, Truncate
from ..oci.digest import Digest
from ..protocol import Operation
from ..protocol.errors import JSON, error_body
from ..protocol.messages import Fields
from .effects import (
    Corrupt,
    CorruptRequest,
    Cut,
    CutRequest,
    Effect,
    Lost,
    Redirect,
    RedirectLoop,
    Silence,
    Slow,
    WrongDigest,
    WrongLength,
)
from .wire import PIECE, Head, chunk, linger, read_body, read_head, request_line

Pieces: TypeAlias = AsyncIterator[bytes]

_SIMULATED: Final = (b"wasmhold-simulated", b"1")
_BODILESS: Final = frozenset({204, 304})
_SLOW_S: Final = 0.02  # between two pieces of a slow body


class Broken(Exception):
    """Both connections end here."""


@dataclass(slots=True)
class Passed:
    """One exchange, without credentials.  Names of `fields` are lower case.

    `kind` is the operation as rules name it, ``-`` for none.  `sent` are bytes of the request's
    body that the registry got, `received` those of the answer's that the client got; `status` is
    None where there was no answer, and `error` the rule that was met.
    """

    method: str
    target: str
    kind: str
    fields: dict[str, str]
    error: str | None
    sent: int = 0
    status: int | None = None
    received: int = 0


class Exchange:
    """A request whose head has been read from `reader`; what happens to it goes into `passed`.

    Both ways raise Broken where nothing can follow on the client's connection.
    """

    def __init__(
        self,
        head: Head,
        effect: Effect | None,
        passed: Passed,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        chance: Random,
    ) -> None:
        self._head, self._effect, self._passed = head, effect, passed
        self._reader, self._writer, self._chance = reader, writer, chance

    async def break_off(self, operation: Operation | None, host: str, upstream: str) -> bool:
        """Answer without the registry, if that is the effect; whether it was.

        `host` is the proxy's, as the client knows it, `upstream` the registry's.
        """
        match self._effect:
            case Close():
                raise Broken
            case Silence():
                while await self._reader.read(PIECE):  # until the client leaves
                    pass
                raise Broken
            case Status(status, entry):
                fields = [JSON]
                if status == 401:
                    fields.append((b"www-authenticate", challenge_for(operation).encode()))
                elif status in (429, 503):
                    fields.append((b"retry-after", b"1"))
                await self._answer(status, fields, error_body([entry]))
            case Redirect():
                await self._redirect(upstream)
            case RedirectLoop():
                await self._redirect(host)
            case _:
                return False
        return True

    async def _redirect(self, host: str) -> None:
        target = request_line(self._head)[1]
        await self._answer(307, [(b"location", b"http://%s%s" % (host.encode(), target))], b"")

    async def _answer(self, status: int, fields: Fields, content: bytes) -> None:
        is_last = self._head.is_chunked or bool(self._head.length)  # the body is not read
        fields = [*fields, (b"content-length", b"%d" % len(content)), _SIMULATED]
        if is_last:
            fields.append((b"connection", b"close"))
        if self._passed.method == "HEAD":
            content = b""
        self._passed.status, self._passed.received = status, len(content)
        first = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()
        self._writer.write(Head(first, fields).to_bytes() + content)
        await self._writer.drain()
        if is_last:
            await linger(self._reader, self._writer)
            raise Broken

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The request goes to the registry and its answer, which may be early, to the client.

        `reader` and `writer` are the registry's; they are closed here.
        """
        sending = asyncio.create_task(self._send(writer))
        heard = asyncio.create_task(self._final_head(reader))
        try:
            await asyncio.wait({sending, heard}, return_when=asyncio.FIRST_COMPLETED)
            # A registry that reads no further may have answered.
            if not heard.done() and not isinstance(sending.exception(), OSError | None):
                raise Broken
            head = await heard
            if head is None or isinstance(self._effect, Lost):
                raise Broken
            # What is left of the request's body is not read, so nothing can follow it.
            is_last = not sending.done() or sending.exception() is not None
            fields = head.without(b"connection")
            if is_last:
                fields.append((b"connection", b"close"))
            await self._receive(replace(head, fields=fields), reader)
            if is_last:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
                await linger(self._reader, self._writer)
                raise Broken
        finally:
            sending.cancel()
            heard.cancel()
            writer.close()
            await asyncio.gather(sending, heard, return_exceptions=True)

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        head = self._head
        fields = [*head.without(b"connection"), (b"connection", b"close")]
        writer.write(replace(head, fields=fields).to_bytes())
        pieces: Pieces = read_body(self._reader, head)
        if isinstance(self._effect, CorruptRequest):
            pieces = self._corrupted(pieces, head.length)
        elif isinstance(self._effect, CutRequest):
            pieces = _cut(pieces, self._effect.after)
        async for piece in pieces:
            self._passed.sent += len(piece)
            await _write(writer, piece, head)
        await _end(writer, head)

    async def _final_head(self, reader: asyncio.StreamReader) -> Head | None:
        """The answer's head; what comes before it, such as 100, goes to the client at once."""
        while (head := await read_head(reader)) is not None and _status(head) < 200:
            self._writer.write(head.to_bytes())
        return head

    async def _receive(self, head: Head, reader: asyncio.StreamReader) -> None:
        self._passed.status = _status(head)
        has_body = self._passed.method != "HEAD" and _status(head) not in _BODILESS
        pieces: Pieces = read_body(reader, head, to_the_end=True) if has_body else _nothing()
        changed, pieces = self._changed(head, pieces)
        self._writer.write(changed.to_bytes())
        async for piece in pieces:
            self._passed.received += len(piece)
            await _write(self._writer, piece, head)
        if has_body:
            await _end(self._writer, head)
        await self._writer.drain()
        has_end = head.is_chunked or head.length is not None
        if (has_body and not has_end) or changed.length != head.length:
            raise Broken

    def _changed(self, head: Head, pieces: Pieces) -> tuple[Head, Pieces]:
        """The answer as the effect makes it."""
        if self._effect is None:
            return head, pieces
        head = replace(head, fields=[*head.fields, _SIMULATED])
        match self._effect:
            case Corrupt():
                pieces = self._corrupted(pieces, head.length)
            case Truncate():
                pieces = _cut(pieces, (head.length or 0) // 2)
            case Cut(after):
                pieces = _cut(pieces, after)
            case Slow(rate):
                pieces = _slowly(pieces, rate)
            case WrongDigest():
                other = str(Digest.of(self._chance.randbytes(8)))
                head = _with(head, b"docker-content-digest", other)
            case WrongLength(by) if head.length is not None:
                head = _with(head, b"content-length", str(max(0, head.length + by)))
        return head, pieces

    async def _corrupted(self, pieces: Pieces, size: int | None) -> Pieces:
        at = self._chance.randrange(size) if size else 0
        async for piece in pieces:
            if 0 <= at < len(piece):
                changed = bytearray(piece)
                changed[at] ^= self._chance.randrange(1, 256)
                piece = bytes(changed)
            at -= len(piece)
            yield piece


def _status(head: Head) -> int:
    return int(head.first.split(b" ")[1])


def _with(head: Head, name: bytes, value: str) -> Head:
    return replace(head, fields=[*head.without(name), (name, value.encode())])


async def _write(writer: asyncio.StreamWriter, piece: bytes, head: Head) -> None:
    writer.write(chunk(piece) if head.is_chunked else piece)
    await writer.drain()


async def _end(writer: asyncio.StreamWriter, head: Head) -> None:
    if head.is_chunked:
        writer.write(chunk(b""))
    await writer.drain()


async def _nothing() -> Pieces:
    return
    yield b""


async def _cut(pieces: Pieces, after: int) -> Pieces:
    if not after:
        raise Broken
    async for piece in pieces:
        yield piece[:after]
        after -= len(piece)
        if after <= 0:
            raise Broken


async def _slowly(pieces: Pieces, rate: int) -> Pieces:
    step = max(1, int(rate * _SLOW_S))
    async for piece in pieces:
        for at in range(0, len(piece), step):
            await asyncio.sleep(_SLOW_S)
            yield piece[at : at + step]
