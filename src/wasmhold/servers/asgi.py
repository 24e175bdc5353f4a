"""The edge: what no server does for us.

- a request's body: idle limit, and a cut body is an error, never a short success
- a response's body: a slow reader is dropped, and the exact number of bytes is known
- the head: what is ambiguous (no Host, two, two lengths) is refused
- the access log, and the store's upkeep while the server lives
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final, NoReturn, TypeAlias, TypeVar

from ..faults import kind_of
from ..oci.errors import BodyCut, BodyStalled, RequestInvalid
from ..ports.body import PIECE, BytesBody
from ..ports.runtime import Gate, Inline
from ..protocol import Request, Response, write_error
from ..protocol.messages import Fields
from .access_log import AccessLog
from .application import Application, ConnectionCut, Unexpected
from .file_pieces import file_pieces

T = TypeVar("T")
R = TypeVar("R")
Scope: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[dict[str, Any]]]
Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]

BODY_IDLE_S: Final = 30.0  # without a byte of the request's body
SEND_IDLE_S: Final = 30.0  # in which a reader takes no chunk
LOG_EVERY_S: Final = 0.2
UPKEEP_RETRY_S: Final = 60.0
_LET_PASS_AFTER: Final = 100  # items of a map

_LOG = logging.getLogger("wasmhold")


class AsyncioRuntime(Inline):
    """The core under an event loop: what computes or blocks goes to a thread.

    `map` stays one after the other: the stores so far never wait for a network, and tasks would
    cost more than they bring.  But it lets others pass now and then.
    """

    def __init__(self) -> None:
        super().__init__(time.time, time.sleep)

    async def map(
        self, function: Callable[[T], Awaitable[R]], items: Sequence[T], limit: int
    ) -> list[R]:
        results = []
        for done, item in enumerate(items, 1):
            results.append(await function(item))
            if not done % _LET_PASS_AFTER:
                await asyncio.sleep(0)
        return results

    async def offload(self, function: Callable[..., R], /, *arguments: object) -> R:
        running = asyncio.get_running_loop().run_in_executor(None, function, *arguments)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            # The thread goes on: what it works with must not be closed under it.
            while not running.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([running])
            running.exception()  # nobody hears it
            raise

    def gate(self) -> Gate:
        return _Gate()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Gate:
    def __init__(self) -> None:
        self._event = asyncio.Event()

    async def wait(self) -> None:
        await self._event.wait()

    def open(self) -> None:
        self._event.set()


class SystemRandomness:
    """`ports.runtime.Randomness` of the operating system."""

    def token(self, size: int) -> bytes:
        return os.urandom(size)


class RequestBody:
    """The body of an ASGI request; `size` is its Content-Length, None when it has none.

    `complete`: its last byte has come.
    """

    file = None

    def __init__(self, receive: Receive, size: int | None, idle_s: float) -> None:
        self.size = size
        self.complete = size == 0
        self._receive = receive
        self._idle_s = idle_s

    async def __aiter__(self) -> AsyncIterator[bytes]:
        seen = 0
        while not self.complete:
            try:
                async with asyncio.timeout(self._idle_s):
                    message = await self._receive()
            except TimeoutError:
                raise BodyStalled(self._idle_s) from None
            if message["type"] == "http.disconnect":
                raise BodyCut
            chunk = message.get("body", b"")
            seen += len(chunk)
            self.complete = not message.get("more_body")
            if self.complete and self.size is not None and seen != self.size:
                raise BodyCut
            if chunk:
                yield chunk

    async def aclose(self) -> None:
        return


def _framing(scope: Scope, fields: Fields) -> tuple[str | None, int | None]:
    """Why two servers could read two requests in this one (None: they cannot), and its size.

    The size of the body is in bytes, None when it is known at its end.
    """
    hosts = lengths = 0
    # HTTP/1 without a length and without a coding has no body; HTTP/2 frames it.
    is_http_1 = scope["http_version"][0] == "1"
    size: int | None = 0 if is_http_1 else None
    coded = False
    for name, value in fields:
        if name == b"host":
            # Granian gives an empty one where there is none.
            hosts += 1 if value else 2
        elif name == b"content-length":
            lengths += 1
            size = int(value) if value.isdigit() else None
        elif name == b"transfer-encoding":
            coded, size = True, None
    if hosts != 1 and scope["http_version"] == "1.1":
        return "a request has exactly one Host", size
    if lengths > 1 or (lengths and coded):
        return "a request has one length: Content-Length or Transfer-Encoding", size
    return None, size


async def _cut(send: Send) -> NoReturn:
    """End the connection inside an answer: no ASGI server lets one end it before."""
    head = [(b"content-length", b"1"), (b"wasmhold-simulated", b"1")]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": b"", "more_body": True})
    raise ConnectionAbortedError("simulated")


class _Answer:
    """A response on its way: the status that went out, and the bytes of its body so far.

    An exception that leaves `send` makes the server cut the connection, so that a short body is
    never taken for a whole one.
    """

    def __init__(self, response: Response, send: Send, idle_s: float) -> None:
        self.status = response.status
        self.sent = 0
        self.is_last = False
        self._response, self._send, self._idle_s = response, send, idle_s

    async def send(self) -> None:
        """Raises ConnectionAbortedError when the reader is too slow; what the body raises."""
        body = self._response.body
        if body is None or (isinstance(body, BytesBody) and len(body.content) <= PIECE):
            # The short way for short answers: they fit into the server's queue, so nothing waits.
            content = b"" if body is None else body.content
            self.sent = len(content)
            await self._head(self._response)
            await self._send({"type": "http.response.body", "body": content, "more_body": False})
            return
        try:
            chunks: AsyncIterator[bytes | bytearray]
            chunks = aiter(body) if body.file is None else file_pieces(body.file)
            # The first bytes come before the head: what fails until then has its own answer.
            try:
                chunk = await anext(chunks, b"")
            except Exception:
                _LOG.exception("a body broke before its first byte")
                self._response = write_error(Unexpected())
                self.status = self._response.status
                await self.send()
                return
            await self._head(self._response)
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

    async def _head(self, response: Response) -> None:
        fields = list(response.fields)
        if self.is_last:
            fields.append((b"connection", b"close"))
        await self._send(
            {"type": "http.response.start", "status": response.status, "headers": fields}
        )

    async def _piece(self, chunk: bytes | bytearray, *, more: bool) -> None:
        message = {"type": "http.response.body", "body": chunk, "more_body": more}
        try:
            async with asyncio.timeout(self._idle_s):
                await self._send(message)
        except TimeoutError:
            raise ConnectionAbortedError(f"a reader took nothing for {self._idle_s:g} s") from None


class Edge:
    """The ASGI application of one registry."""

    def __init__(
        self,
        application: Application,
        *,
        log: AccessLog | None = None,
        body_idle_s: float = BODY_IDLE_S,
        send_idle_s: float = SEND_IDLE_S,
    ) -> None:
        self._application = application
        self._log = log
        self._body_idle_s, self._send_idle_s = body_idle_s, send_idle_s
        self._flush_due = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = time.perf_counter()
        client = (scope.get("client") or ("-",))[0]
        fields: Fields = scope["headers"]
        request = Request(
            scope["method"],
            scope["raw_path"].decode("latin-1"),
            scope["query_string"].decode("latin-1"),
            fields,
        )
        reason, size = _framing(scope, fields)
        body = RequestBody(receive, size, self._body_idle_s)
        if reason is not None:
            response, operation = write_error(RequestInvalid(reason, request.path)), None
        else:
            try:
                response, operation, _ = await self._application.handle(request, body, client)
            except ConnectionCut:
                await _cut(send)
        answer = _Answer(response, send, self._send_idle_s)
        # What is left of a body is not read, so nothing can follow it on this connection.
        answer.is_last = reason is not None or not body.complete
        try:
            await answer.send()
        finally:
            if self._log is not None:
                took_ms = (time.perf_counter() - start) * 1000
                kind = "-" if operation is None else kind_of(operation)
                self._log.add(
                    client,
                    request.method,
                    request.target,
                    kind,
                    answer.status,
                    answer.sent,
                    took_ms,
                )
                self._flush_later()

    def _flush_later(self) -> None:
        """One timer at a time: lines of a quiet server are not kept back for long."""
        if not self._flush_due:
            self._flush_due = True
            asyncio.get_running_loop().call_later(LOG_EVERY_S, self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        if self._log is not None and self._log.waiting:
            self._log.flush()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        upkeep = None
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                upkeep = asyncio.create_task(self._maintain())
            elif upkeep is not None:
                upkeep.cancel()
                await asyncio.gather(upkeep, return_exceptions=True)
                await self._settle()
                self._flush()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

    async def _settle(self) -> None:
        try:
            await self._application.registry.store.settle()
        except Exception:
            _LOG.exception("the store did not settle; what is open is done at the next start")

    async def _maintain(self) -> None:
        """The store's work that time brings about, for as long as the server lives."""
        store = self._application.registry.store
        wait_s = 0.0
        while True:
            await asyncio.sleep(wait_s)
            try:
                wait_s = await store.maintain()
            except Exception:
                _LOG.exception("upkeep of the store failed; again in %g s", UPKEEP_RETRY_S)
                wait_s = UPKEEP_RETRY_S
