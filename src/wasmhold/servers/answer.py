"""An answer on its way: a slow reader is dropped, and the exact number of bytes is known."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn, TypeAlias

from ..ports.body import PIECE, BytesBody
from ..protocol import Response, write_error
from .application import Unexpected
from .file_pieces import file_pieces

Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]

_LOG = logging.getLogger("wasmhold")


async def cut(send: Send) -> NoReturn:
    """End the connection inside an answer: no ASGI server lets one end it before."""
    head = [(b"content-length", b"1"), (b"wasmhold-simulated", b"1")]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": b"", "more_body": True})
    raise ConnectionAbortedError("simulated")


class Answer:
    """A response on its way: the status that went out, and the bytes of its body so far.

    An exception that leaves `send` makes the server cut the connection, so that a short body is
    never taken for a whole one.
    """

    def __init__(
        self, response: Response, send: Send, idle_s: float, request_id: bytes = b"-"
    ) -> None:
        self.status = response.status
        self.sent = 0
        self.is_last = False
        self._response, self._send, self._idle_s = response, send, idle_s
        self._id = (b"x-request-id", request_id)

    async def send(self) -> None:
        """Raises ConnectionAbortedError when the reader is too slow; what the body raises."""
        body = self._response.body
        if body is None:
            await self._whole(b"")
            return
        if isinstance(body, BytesBody) and len(body.content) <= PIECE:
            await self._whole(body.content)
            return
        try:
            chunks: AsyncIterator[bytes | bytearray]
            chunks = aiter(body) if body.file is None else file_pieces(body.file)
            # The first bytes come before the head: what fails until then has its own answer.
            try:
                if body.size is not None and body.size <= PIECE:
                    chunk: bytes | bytearray = b"".join([chunk async for chunk in chunks])
                else:
                    chunk = await anext(chunks, b"")
            except Exception:
                _LOG.exception("a body broke before its first byte")
                self._response = write_error(Unexpected())
                self.status = self._response.status
                await self.send()
                return
            if len(chunk) == body.size:
                await self._whole(chunk)
                return
            await self._head()
            while chunk:
                self.sent += len(chunk)
                await self._piece(chunk, more=self.sent != body.size)
                chunk = await anext(chunks, b"")
            if body.size is not None and self.sent != body.size:
                raise ConnectionAbortedError(f"{self.sent} of {body.size} bytes were to be had")
            if not self.sent or body.size is None:
                await self._piece(b"", more=False)
        finally:
            await body.aclose()

    async def _whole(self, content: bytes | bytearray) -> None:
        """A body in one message: it fits into the server's queue, so nothing waits."""
        self.sent = len(content)
        await self._head()
        await self._send({"type": "http.response.body", "body": content, "more_body": False})

    async def _head(self) -> None:
        fields = [*self._response.fields, self._id]
        if self.is_last:
            fields.append((b"connection", b"close"))
        await self._send({"type": "http.response.start", "status": self.status, "headers": fields})

    async def _piece(self, chunk: bytes | bytearray, *, more: bool) -> None:
        message = {"type": "http.response.body", "body": chunk, "more_body": more}
        try:
            async with asyncio.timeout(self._idle_s):
                await self._send(message)
        except TimeoutError:
            raise ConnectionAbortedError(f"a reader took nothing for {self._idle_s:g} s") from None
        # A reader whose buffers have room never makes `send` wait: others have their turn all the
        # same, or a thousand downloads that begin stop everybody for seconds.
        await asyncio.sleep(0)
