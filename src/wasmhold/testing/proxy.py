"""A proxy in front of any registry over plain HTTP, which breaks what a test tells it to break.

    with Registry() as registry, Proxy(registry.host) as proxy:
        proxy.simulate("blob-get", "cut=1000:2")   # the next two downloads break there
        ...
        assert [p.fields.get("range") for p in proxy.passed("blob-get")] == [None, "bytes=1000-"]

What is broken where is chosen by `seed` alone, so a test that failed fails again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Final

from ..auth.authenticator import challenge_for
from ..faults import Close, Rules, Status, Truncate, kind_of, parse_rule
from ..oci.digest import Digest
from ..oci.errors import WasmholdError
from ..protocol import Operation, Request, read
from ..protocol.errors import error_body
from ..protocol.messages import field
from ..servers.access_log import shown_target
from .background import Background
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
    parse_effect,
)
from .simulating import Simulating
from .wire import PIECE, Head, chunk, linger, read_body, read_head, request_line

Pieces = AsyncIterator[bytes]

_SIMULATED: Final = (b"wasmhold-simulated", b"1")
_BODILESS: Final = frozenset({204, 304})
_SLOW_S: Final = 0.02  # between two pieces of a slow body
_SECRET: Final = frozenset({"authorization", "proxy-authorization", "cookie"})


class _Broken(Exception):
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


class Proxy(Simulating[Effect]):
    """Passes everything on to a registry, and breaks what its rules meet.

    The effects of a rule are those of `wasmhold.testing.effects`.
    """

    def __init__(
        self, upstream: str, faults: Sequence[tuple[str, str]] = (), *, seed: int = 0
    ) -> None:
        """`upstream`: host and port of the registry.  `faults`: operation and error of each rule.

        Raises RequestInvalid, NameInvalid.
        """
        rules = Rules(*(parse_rule(kind, error, parse_effect) for kind, error in faults))
        host, _, port = upstream.rpartition(":")
        self._upstream = host.strip("[]"), int(port)
        self._random = random.Random(seed)  # noqa: S311
        self._passed: list[Passed] = []
        super().__init__(Background(), rules, parse_effect)
        self._background.serve(self._talk)

    def passed(self, kind: str | None = None) -> list[Passed]:
        """What has passed so far, in the order in which it came; that of one operation alone."""
        return [passed for passed in self._passed if kind in (None, passed.kind)]

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(_Broken):
            while (head := await read_head(reader)) is not None:
                await self._exchange(head, reader, writer)

    async def _exchange(
        self, head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        method, target, _ = (part.decode("latin-1") for part in request_line(head))
        path, _, query = target.partition("?")
        operation = _operation(Request(method, path, query, head.fields))
        rule = None if operation is None else self._rules.find(operation)
        passed = Passed(
            method,
            shown_target(path, query),
            "-" if operation is None else kind_of(operation),
            dict(_shown(head)),
            None if rule is None else rule.text,
        )
        self._passed.append(passed)
        effect = None if rule is None else rule.action
        match effect:
            case Close():
                raise _Broken
            case Silence():
                while await reader.read(PIECE):  # until the client leaves
                    pass
                raise _Broken
            case Status():
                fields = [(b"content-type", b"application/json")]
                if effect.status == 401:
                    fields.append((b"www-authenticate", challenge_for(operation).encode()))
                elif effect.status in (429, 503):
                    fields.append((b"retry-after", b"1"))
                answer = effect.status, fields, error_body([effect.entry])
            case Redirect() | RedirectLoop():
                host = field(head.fields, b"host") or self.host
                if isinstance(effect, Redirect):
                    host = "{}:{}".format(*self._upstream)
                answer = 307, [(b"location", f"http://{host}{target}".encode())], b""
            case _:
                await self._pass(head, effect, passed, reader, writer)
                return
        status, fields, content = answer
        passed.status = status
        fields = [*fields, (b"content-length", b"%d" % len(content)), _SIMULATED]
        is_last = head.is_chunked or bool(head.length)  # the request's body is not read
        if is_last:
            fields.append((b"connection", b"close"))
        first = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()
        if method == "HEAD":
            content = b""
        passed.received = len(content)
        writer.write(Head(first, fields).to_bytes() + content)
        await writer.drain()
        if is_last:
            await linger(reader, writer)
            raise _Broken

    async def _pass(
        self,
        head: Head,
        effect: Effect | None,
        passed: Passed,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """The request goes to the registry and its answer, which may be early, to the client."""
        up_reader, up_writer = await self._background.connect(*self._upstream)
        sending = asyncio.create_task(self._send(head, effect, passed, reader, up_writer))
        try:
            answer = asyncio.create_task(_final_head(up_reader, writer))
            done, _ = await asyncio.wait({sending, answer}, return_when=asyncio.FIRST_COMPLETED)
            # A registry that reads no further may have answered.
            if answer not in done and not isinstance(sending.exception(), OSError | None):
                answer.cancel()
                await asyncio.gather(answer, return_exceptions=True)
                raise _Broken
            found = await answer
            if found is None or isinstance(effect, Lost):
                raise _Broken
            # What is left of the request's body is not read, so nothing can follow it.
            is_last = not sending.done() or sending.exception() is not None
            fields = found.without(b"connection")
            if is_last:
                fields.append((b"connection", b"close"))
            found = replace(found, fields=fields)
            await self._answer(found, effect, passed, up_reader, writer)
            if is_last:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
                await linger(reader, writer)
                raise _Broken
        finally:
            sending.cancel()
            up_writer.close()
            await asyncio.gather(sending, return_exceptions=True)

    async def _send(
        self,
        head: Head,
        effect: Effect | None,
        passed: Passed,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        fields = [*head.without(b"connection"), (b"connection", b"close")]
        writer.write(Head(head.first, fields).to_bytes())
        pieces: Pieces = read_body(reader, head)
        if isinstance(effect, CorruptRequest):
            pieces = self._corrupted(pieces, head.length)
        elif isinstance(effect, CutRequest):
            pieces = _cut(pieces, effect.after)
        async for piece in pieces:
            passed.sent += len(piece)
            writer.write(chunk(piece) if head.is_chunked else piece)
            await writer.drain()
        if head.is_chunked:
            writer.write(chunk(b""))
        await writer.drain()

    async def _answer(
        self,
        head: Head,
        effect: Effect | None,
        passed: Passed,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        passed.status = int(head.first.split(b" ")[1])
        has_body = passed.method != "HEAD" and passed.status not in _BODILESS
        ends = has_body and not head.is_chunked and head.length is None
        pieces: Pieces = _none()
        if has_body:
            pieces = read_body(reader, head, to_the_end=True)
        fields = [*head.fields]
        if effect is not None:
            fields.append(_SIMULATED)
        match effect:
            case Corrupt():
                pieces = self._corrupted(pieces, head.length)
            case Truncate():
                pieces = _cut(pieces, (head.length or 0) // 2)
            case Cut():
                pieces = _cut(pieces, effect.after)
            case Slow():
                pieces = _slowly(pieces, effect.rate)
            case WrongDigest():
                other = str(Digest.of(self._random.randbytes(8))).encode()
                fields = [*_without(fields, b"docker-content-digest")]
                fields.append((b"docker-content-digest", other))
            case WrongLength() if head.length is not None:
                ends = True
                wrong = max(0, head.length + effect.by)
                fields = [*_without(fields, b"content-length")]
                fields.append((b"content-length", b"%d" % wrong))
        writer.write(replace(head, fields=fields).to_bytes())
        async for piece in pieces:
            passed.received += len(piece)
            writer.write(chunk(piece) if head.is_chunked else piece)
            await writer.drain()
        if head.is_chunked and has_body:
            writer.write(chunk(b""))
        await writer.drain()
        if ends:
            raise _Broken

    async def _corrupted(self, pieces: Pieces, size: int | None) -> Pieces:
        at = self._random.randrange(size) if size else 0
        async for piece in pieces:
            if 0 <= at < len(piece):
                changed = bytearray(piece)
                changed[at] ^= self._random.randrange(1, 256)
                piece = bytes(changed)
            at -= len(piece)
            yield piece


def _operation(request: Request) -> Operation | None:
    try:
        return read(request)
    except WasmholdError:
        return None


def _shown(head: Head) -> Iterator[tuple[str, str]]:
    """The fields of a request; of credentials the scheme alone."""
    for key, value in head.fields:
        name, text = key.decode("latin-1"), value.decode("latin-1")
        yield name, text.partition(" ")[0] if name in _SECRET else text


def _without(fields: Sequence[tuple[bytes, bytes]], name: bytes) -> Iterator[tuple[bytes, bytes]]:
    return (pair for pair in fields if pair[0] != name)


async def _final_head(reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> Head | None:
    """The answer's head; what comes before it, such as 100, goes to the client at once."""
    while (head := await read_head(reader)) is not None and head.first.split(b" ")[1][:1] == b"1":
        client.write(head.to_bytes())
    return head


async def _none() -> Pieces:
    return
    yield b""


async def _cut(pieces: Pieces, after: int) -> Pieces:
    if not after:
        raise _Broken
    async for piece in pieces:
        yield piece[:after]
        after -= len(piece)
        if after <= 0:
            raise _Broken


async def _slowly(pieces: Pieces, rate: int) -> Pieces:
    step = max(1, int(rate * _SLOW_S))
    async for piece in pieces:
        for at in range(0, len(piece), step):
            await asyncio.sleep(_SLOW_S)
            yield piece[at : at + step]
