"""Request in, response out: everything between a socket and the registry, without the socket."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from ..auth.authenticator import challenge_for, parse_basic
from ..auth.guard import Guard
from ..auth.rights import Need, needs
from ..faults import Close, Faults, Status, Truncate
from ..oci import limits
from ..oci.errors import Denied, Unauthorized, WasmholdError
from ..ports.actor import Actor
from ..ports.body import Body, BytesBody
from ..protocol import Request, Response, read, write, write_error
from ..protocol.errors import API_VERSION, JSON, error_body
from ..protocol.messages import field
from ..protocol.operations import Operation
from ..registry import Registry
from .rate_limit import Limiter, by_address, by_user

_LOG = logging.getLogger("wasmhold")
_SIMULATED: Final = (b"wasmhold-simulated", b"1")
_ALWAYS_WITH: Final = {
    405: (b"allow", b""),
    429: (b"retry-after", b"1"),
    503: (b"retry-after", b"1"),
}


class Unexpected(WasmholdError):
    """A fault of ours.  The client learns that it is one, and nothing of where."""

    def __init__(self) -> None:
        super().__init__("internal error; the server's log says more")


class ConnectionCut(Exception):
    """Answer nothing more and close the connection."""


class Answered(NamedTuple):
    """A response, what it answers (None: no operation), and whom."""

    response: Response
    operation: Operation | None
    actor: Actor


@lru_cache(1024)
def _nobody(address: str) -> Actor:
    """Who asks from `address`, as long as that is all that is known."""
    return Actor(address=address)


class _Half:
    """The first half of a body, then a cut.

    It tells no size, or a short one would be waited for before anything is sent.
    """

    file = size = None

    def __init__(self, body: Body) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        room = (self._body.size or 0) // 2
        async for chunk in self._body:
            yield chunk[:room]
            room -= len(chunk)
            if room <= 0:
                break
        raise ConnectionCut

    async def aclose(self) -> None:
        await self._body.aclose()


def warning_field(text: str) -> tuple[bytes, bytes]:
    """``Warning: 299 - "text"``.  Raises ValueError for what a header cannot hold.

    Source: distribution-spec, "Warnings".
    """
    if not text.isprintable() or not text.isascii():
        raise ValueError(f"a warning must be printable ASCII: {text!r}")
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return b"warning", f'299 - "{quoted}"'.encode()


def warning_fields(texts: Sequence[str]) -> list[tuple[bytes, bytes]]:
    """Raises ValueError also when they are together more than an answer may carry."""
    fields = [warning_field(text) for text in texts]
    if sum(len(value) for _, value in fields) > limits.WARNINGS:
        raise ValueError(f"all warnings together have more than {limits.WARNINGS} bytes")
    return fields


class Application:
    """One registry, its guard and simulated faults, and the warnings that every answer carries."""

    def __init__(
        self,
        registry: Registry,
        *,
        guard: Guard | None = None,
        limiter: Limiter | None = None,
        faults: Faults | None = None,
        warnings: Sequence[str] = (),
    ) -> None:
        """`guard` None: everybody may do everything; `limiter` None: as often as they like.

        Raises ValueError when the warnings are more than an answer may carry.
        """
        self.registry = registry
        self.guard = guard
        self._limiter = limiter
        self.faults = faults
        self._warnings = warning_fields(warnings)

    async def handle(self, request: Request, body: Body, address: str = "-") -> Answered:
        """The response, whose body the caller closes, and what was asked for, if it was anything.

        `address` is the client's.  `body` is closed here.  Raises ConnectionCut where a fault
        wants it, and nothing else.
        """
        operation: Operation | None = None
        actor = _nobody(address)
        try:
            if self._limiter is not None:
                self._limiter.check(by_address(address))
            operation = read(request)
            if self.guard is not None:
                need = needs(operation)
                # Who asks is known before it is decided, so that a log tells who was refused.
                actor = await self._identify(self.guard, request, need, address)
                self.guard.check(actor, need)
            action = self.faults.meet(operation) if self.faults else None
            if action is not None:
                response = await self._simulate(action, actor, operation, body)
            else:
                response = write(operation, await self.registry.perform(actor, operation, body))
        except WasmholdError as error:
            if isinstance(error, Denied):
                _LOG.debug("refused to %s: %s", address, error)
            response = write_error(error, operation)
        except ConnectionCut:
            raise
        except Exception:
            _LOG.exception("unexpected error in %s %s", request.method, request.path[:300])
            response = write_error(Unexpected(), operation)
        finally:
            await body.aclose()
        if self._warnings:
            response = Response(response.status, [*response.fields, *self._warnings], response.body)
        if request.method == "HEAD" and response.body is not None:
            await response.body.aclose()
            response = Response(response.status, response.fields)
        return Answered(response, operation, actor)

    async def admit(self, request: Request, address: str) -> Actor:
        """Who asks for what is no operation and lies at the root of the API, if they may.

        Raises Unauthorized, Denied, TooManyRequests.
        """
        if self._limiter is not None:
            self._limiter.check(by_address(address))
        actor = _nobody(address)
        if self.guard is not None:
            actor = await self._identify(self.guard, request, needs(None), address)
            self.guard.check(actor, needs(None))
        return actor

    async def _identify(self, guard: Guard, request: Request, need: Need, address: str) -> Actor:
        authorization = field(request.fields, b"authorization")
        try:
            actor = await guard.identify(authorization, need, address)
        except Unauthorized:
            login = None if authorization is None else parse_basic(authorization)
            if login is not None:
                _LOG.info("failed login as %s from %s", json.dumps(login[0][:64]), address)
            raise
        if self._limiter is not None and actor.name is not None:
            self._limiter.check(by_user(actor.name))
        return actor

    async def _simulate(
        self, action: Status | Close | Truncate, actor: Actor, operation: Operation, body: Body
    ) -> Response:
        match action:
            case Close():
                raise ConnectionCut
            case Status():
                content = error_body([action.entry])
                fields = [JSON, (b"content-length", b"%d" % len(content)), API_VERSION, _SIMULATED]
                if action.status == 401:
                    challenge = challenge_for(operation).encode()
                    fields.append((b"www-authenticate", challenge))
                elif action.status in _ALWAYS_WITH:
                    fields.append(_ALWAYS_WITH[action.status])
                return Response(action.status, fields, BytesBody(content))
            case Truncate():
                response = write(operation, await self.registry.perform(actor, operation, body))
                half = None if response.body is None else _Half(response.body)
                return Response(response.status, [*response.fields, _SIMULATED], half)
