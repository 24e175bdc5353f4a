"""The edge: what no server does for us.

- the head: what is ambiguous (no Host, two, two lengths) is refused
- bodies both ways (`request_body`, `answer`)
- who the client is, an id for each request, the access log, what is counted
- probes and metrics, which are not of the protocol
- the store's upkeep while the server lives
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, TypeVar

from ..faults import kind_of
from ..oci.errors import RequestInvalid
from ..ports.runtime import Gate, Inline
from ..ports.store import Collected
from ..protocol import Request, write_error
from ..protocol.messages import Fields, field_values
from . import event_log
from .access_log import AccessLog, Line, shown_target
from .answer import Answer, Send, cut
from .application import Application, ConnectionCut
from .metrics import (
    COLLECTED,
    COLLECTIONS,
    DRAINING,
    FREED,
    LAST_COLLECTION,
    UPKEEP_FAILURES,
    Counters,
)
from .probes import METRICS, PROBES, Metrics, Readiness
from .proxies import Networks, client_address, parse_address
from .request_body import Receive, RequestBody, Scope, framing

T = TypeVar("T")
R = TypeVar("R")

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


class Edge:
    """The ASGI application of one registry."""

    def __init__(
        self,
        application: Application,
        *,
        log: AccessLog | None = None,
        metrics: Metrics | None = None,
        trusted: Networks = (),
        body_idle_s: float = BODY_IDLE_S,
        send_idle_s: float = SEND_IDLE_S,
    ) -> None:
        """`metrics` None: nothing is counted.  `trusted`: proxies that say who the client is."""
        self._application = application
        self._log = log
        self._metrics = metrics
        self._counters = Counters() if metrics is None else metrics.counters
        self._readiness = Readiness(application.registry.store)
        self._trusted = trusted
        self._body_idle_s, self._send_idle_s = body_idle_s, send_idle_s
        self._flush_due = False
        self._traces = _LOG.isEnabledFor(event_log.TRACE)
        # Of this process, so that with a number behind it no two requests have one id.
        self._id_start = f"{os.urandom(4).hex()}-"
        self._requests = 0

    @property
    def draining(self) -> bool:
        """Whether the process ends, and a balancer should send it nothing more."""
        return self._readiness.draining

    @draining.setter
    def draining(self, draining: bool) -> None:
        self._readiness.draining = draining
        self._counters.set(DRAINING, draining)

    def refresh(self) -> None:
        """Read again what the operator may have changed: who may do what."""
        if self._application.guard is not None:
            self._application.guard.refresh()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = time.perf_counter()
        fields: Fields = scope["headers"]
        request = Request(
            scope["method"],
            scope["raw_path"].decode("latin-1"),
            scope["query_string"].decode("latin-1"),
            fields,
        )
        self._requests += 1
        request_id = f"{self._id_start}{self._requests:x}"
        client = self._client(scope, fields)
        if self._traces:
            event_log.trace(request_id, client, request)
        reason, size = framing(scope, fields)
        # HTTP/2 ends a stream alone, and its connections in its own way (RFC 9113, 8.2.2).
        is_http_1 = scope["http_version"] != "2"
        if reason is None and request.path in PROBES:
            is_last = size != 0 or self.draining
            await self._probe(request, send, request_id.encode(), is_last=is_last and is_http_1)
            return
        body = RequestBody(receive, size, self._body_idle_s)
        answer = None
        kind, who = "-", None
        self._counters.begin()
        try:
            if reason is not None:
                response = write_error(RequestInvalid(reason, request.path))
            elif request.path == METRICS and self._metrics is not None:
                kind = "metrics"
                response, who = await self._metrics.answer(self._application, request, client)
            else:
                try:
                    response, operation, actor = await self._application.handle(
                        request, body, client
                    )
                except ConnectionCut:
                    await cut(send)
                who = actor.name
                if operation is not None:
                    kind = kind_of(operation)
            answer = Answer(response, send, self._send_idle_s, request_id.encode())
            if not (is_http_1 or body.complete):
                # Else the stream is reset behind the answer, which curl may take for a failure.
                await body.skip()
            # What is left of a body is not read, so nothing can follow it on this connection.
            is_last = reason is not None or not body.complete or self.draining
            answer.is_last = is_last and is_http_1
            await answer.send()
        finally:
            took_s = time.perf_counter() - start
            status, sent = (0, 0) if answer is None else (answer.status, answer.sent)
            self._counters.end(kind, status, took_s, body.received, sent)
            if self._log is not None and answer is not None:
                # A method or target may be long: what is cut here is of no use to a reader.
                method, target = request.method[:20], shown_target(request.path, request.query)
                line = (method, target[:2048], kind, status, sent, took_s * 1000)
                self._log.add(Line(request_id, client, who, *line))
                self._flush_later()

    def _client(self, scope: Scope, fields: Fields) -> str:
        peer: str = (scope.get("client") or ("-",))[0]
        if self._trusted:
            return client_address(peer, field_values(fields, b"x-forwarded-for"), self._trusted)
        # An IPv4 address that came through a socket of IPv6.
        return str(parse_address(peer) or peer) if peer.startswith("::ffff:") else peer

    async def _probe(
        self, request: Request, send: Send, request_id: bytes, *, is_last: bool
    ) -> None:
        """Neither counted nor in the access log: probes come every few seconds."""
        answer = Answer(await self._readiness.answer(request), send, self._send_idle_s, request_id)
        answer.is_last = is_last
        await answer.send()

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
                self.draining = True
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
                wait_s = await store.maintain(self._collected)
            except Exception:
                _LOG.exception("upkeep of the store failed; again in %g s", UPKEEP_RETRY_S)
                self._counters.add(UPKEEP_FAILURES)
                wait_s = UPKEEP_RETRY_S

    def _collected(self, collected: Collected) -> None:
        self._counters.add(COLLECTIONS)
        self._counters.add(COLLECTED, collected.removed)
        self._counters.add(FREED, collected.freed)
        self._counters.set(LAST_COLLECTION, int(time.time()))
        _LOG.info("collection: %d removed, %d bytes freed", collected.removed, collected.freed)
