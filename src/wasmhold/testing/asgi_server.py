"""An ASGI application on connections of HTTP/1.1, for tests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any

from ..protocol.messages import field
from .senders import AsgiApplication
from .wire import Head, chunk, linger, read_body, read_head, request_line

_LOG = logging.getLogger("wasmhold")
_BODILESS = frozenset({204, 304})


class AsgiServer:
    """`start` before the first connection, `stop` behind the last, `talk` for each of them."""

    def __init__(self, application: AsgiApplication) -> None:
        self._application = application
        self._told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._life: asyncio.Future[None] | None = None

    async def start(self) -> None:
        life = self._application({"type": "lifespan"}, self._told.get, self._heard.put)
        self._life = asyncio.ensure_future(life)
        await self._tell("startup")

    async def stop(self) -> None:
        await self._tell("shutdown")
        if self._life is not None:
            await self._life

    async def _tell(self, what: str) -> None:
        await self._told.put({"type": f"lifespan.{what}"})
        await self._heard.get()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (head := await read_head(reader)) is not None:
            exchange = _Exchange(head, reader, writer)
            try:
                await self._application(exchange.scope(), exchange.receive, exchange.send)
            except OSError:
                return  # the client has left, or the answer was cut on purpose
            except Exception:
                _LOG.exception("an application failed")
                return
            if exchange.is_last:
                await linger(reader, writer)
                return


class _Exchange:
    def __init__(
        self, head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._head, self._writer = head, writer
        method, self._target, version = request_line(head)
        self._method = method.decode("latin-1")
        self._pieces: AsyncIterator[bytes] = read_body(reader, head)
        self._all_read = not (head.is_chunked or head.length)
        self._is_waited_for = (b"expect", b"100-continue") in head.fields
        self._start: dict[str, Any] | None = None
        self._in_chunks = False
        self._wants_close = version != b"HTTP/1.1"

    @property
    def is_last(self) -> bool:
        """Whether no further request can follow on this connection."""
        return self._wants_close or not self._all_read

    def scope(self) -> dict[str, Any]:
        path, _, query = self._target.partition(b"?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": self._method,
            "path": path.decode("latin-1"),
            "raw_path": path,
            "query_string": query,
            "headers": self._head.fields,
            "client": (self._writer.get_extra_info("peername") or ("-", 0))[:2],
        }

    async def receive(self) -> dict[str, Any]:
        if self._all_read:
            return {"type": "http.request", "body": b"", "more_body": False}
        if self._is_waited_for:
            self._is_waited_for = False
            self._writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            piece = await anext(self._pieces, b"")
        except (asyncio.IncompleteReadError, OSError):
            return {"type": "http.disconnect"}
        self._all_read = not piece
        return {"type": "http.request", "body": piece, "more_body": bool(piece)}

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        content, more = bytes(message["body"]), message.get("more_body", False)
        if self._start is not None:
            self._write_head(self._start, content, more=more)
            self._start = None
        if self._in_chunks:
            content = (chunk(content) if content else b"") + (b"" if more else chunk(b""))
        self._writer.write(content)
        await self._writer.drain()

    def _write_head(self, start: dict[str, Any], content: bytes, *, more: bool) -> None:
        status, fields = start["status"], list(start["headers"])
        has_body = self._method != "HEAD" and status not in _BODILESS
        if has_body and field(fields, b"content-length") is None:
            self._in_chunks = more
            length = (b"content-length", b"%d" % len(content))
            fields.append((b"transfer-encoding", b"chunked") if more else length)
        if self._wants_close:
            fields.append((b"connection", b"close"))
        self._wants_close = field(fields, b"connection") == "close"
        first = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"
        self._writer.write(Head(first.encode(), fields).to_bytes())
