"""Ways to have a conversation with a registry: without a socket, over ASGI, over HTTP."""

from __future__ import annotations

import asyncio
import http.client
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from ..ports.body import Body, BytesBody, read_all
from ..ports.runtime import run
from ..protocol import Request
from ..servers.application import Application
from .transcript import Answer, Exchange, Send

AsgiApplication = Callable[..., Awaitable[None]]


class Watched:
    """A body that knows whether its owner has closed it."""

    file = None

    def __init__(self, body: Body, size: int | None) -> None:
        self.size = size
        self.is_open = True
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._body:
            yield chunk

    async def aclose(self) -> None:
        self.is_open = False
        await self._body.aclose()


def _fields(exchange: Exchange) -> list[tuple[bytes, bytes]]:
    fields = [(key.lower().encode(), value.encode("latin-1")) for key, value in exchange.headers]
    if exchange.is_chunked:
        fields.append((b"transfer-encoding", b"chunked"))
    elif exchange.chunks is not None and not any(key == b"content-length" for key, _ in fields):
        fields.append((b"content-length", b"%d" % len(b"".join(exchange.chunks))))
    return fields


def to_application(application: Application) -> Send:
    """Straight into the application: no socket, no loop; asserts that every body is closed."""

    def send(exchange: Exchange) -> Answer:
        path, _, query = exchange.target.partition("?")
        content = b"".join(exchange.chunks or ())
        body = Watched(BytesBody(content), None if exchange.is_chunked else len(content))

        async def talk() -> Answer:
            request = Request(exchange.method, path, query, _fields(exchange))
            response, _, _ = await application.handle(request, body)
            answered = b""
            if response.body is not None:
                answered = await read_all(response.body)
                await response.body.aclose()
            headers = [(key.decode(), value.decode("latin-1")) for key, value in response.fields]
            return Answer(response.status, headers, answered)

        answer = run(talk())
        assert not body.is_open, "the request's body was left open"
        return answer

    return send


def to_asgi(application: AsgiApplication) -> Send:
    """Into an ASGI application, each exchange under a loop of its own."""

    def send(exchange: Exchange) -> Answer:
        path, _, query = exchange.target.partition("?")
        pieces = list(exchange.chunks or [b""])
        scope: dict[str, Any] = {
            "type": "http",
            "http_version": "1.1",
            "method": exchange.method,
            "path": path,
            "raw_path": path.encode("latin-1"),
            "query_string": query.encode("latin-1"),
            "headers": [(b"host", b"localhost"), *_fields(exchange)],
            "client": ("127.0.0.1", 1),
        }
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            piece = pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

        async def keep(message: dict[str, Any]) -> None:
            sent.append(message)

        async def talk() -> None:
            await application(scope, receive, keep)

        asyncio.run(talk())
        start = sent[0]
        assert not sent[-1]["more_body"], "the answer was not ended"
        return Answer(
            start["status"],
            [(key.decode(), value.decode("latin-1")) for key, value in start["headers"]],
            b"".join(bytes(message["body"]) for message in sent[1:]),
        )

    return send


@contextmanager
def to_url(
    url: str, *, timeout_s: float = 30, trust: ssl.SSLContext | None = None
) -> Iterator[Send]:
    """Over a real connection, kept alive as long as the server likes, and closed at the end.

    `trust`: whom to believe over HTTPS; None: whom the system believes.
    """
    parts = urlsplit(url)
    where = parts.hostname or "", parts.port
    connection = http.client.HTTPConnection(*where, timeout=timeout_s)
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(*where, timeout=timeout_s, context=trust)

    def send(exchange: Exchange) -> Answer:
        target = exchange.target
        if "://" in target:  # a Location may be a whole URL
            there = urlsplit(target)
            target = f"{there.path}?{there.query}" if there.query else there.path
        body: object = None
        if exchange.chunks is not None:
            body = iter(exchange.chunks) if exchange.is_chunked else b"".join(exchange.chunks)
        connection.putrequest(exchange.method, target, skip_accept_encoding=True)
        for key, value in _fields(exchange):
            connection.putheader(key.decode(), value)
        connection.endheaders(body, encode_chunked=exchange.is_chunked)  # type: ignore[arg-type]
        response = connection.getresponse()
        answered = response.read()
        headers = [(key.lower(), value) for key, value in response.getheaders()]
        if exchange.chunks is not None and response.status >= 400:
            # Who refuses need not have read the body, and a proxy then ends the connection without
            # having said so; the next request opens another one.
            connection.close()
        return Answer(response.status, headers, answered)

    try:
        yield send
    finally:
        connection.close()
