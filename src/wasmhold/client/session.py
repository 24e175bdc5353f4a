"""A conversation with one registry: operations go out with what they need, results come back.

What may heal is tried again, a few times, with growing pauses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from typing import Final
from urllib.parse import urljoin

from ..oci import limits
from ..oci.errors import ManifestTooLarge, TooLarge, Unreachable, WasmholdError
from ..ports.runtime import obtained
from ..protocol import (
    Operation,
    Request,
    Response,
    Result,
    read_error,
    read_response,
    write_request,
)
from ..protocol import operations as op
from ..protocol.errors import RemoteError, plain_words
from ..protocol.messages import Fields
from ..protocol.read_response import ResponseInvalid
from .challenges import Challenge, parse_challenges
from .credentials import Credentials
from .hosts import origin, without_query
from .login import Login
from .network import Network, OnRetry
from .scopes import Scopes
from .transport import Answer, Readable
from .transport.port import PIECE

_MAX_LIST: Final = 32 * limits.MIB  # bytes of one page: some registries send all tags in one
_MAX_REFUSAL: Final = 64 * limits.KIB  # bytes of a refusal that are read
_ROUNDS: Final = 3  # requests for one answer: as it is known, with a token, with a new one
_WARNING: Final = re.compile(r'299 - "((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class Reply:
    """`url` is what answered: a Location or Link is read against it.

    `body` is that of a blob; whoever gets the reply closes it.
    """

    result: Result
    url: str
    fields: Fields = field(repr=False)
    body: Readable | None = None

    def resolve(self, target: str) -> str:
        """A Location or Link as a whole URL.  Raises ResponseInvalid."""
        try:
            return urljoin(self.url, target)
        except ValueError:
            raise ResponseInvalid("its answer leads to what is no URL") from None

    def location(self, at: op.Location) -> op.RemoteLocation:
        """Where an upload goes on."""
        return op.RemoteLocation(self.resolve(at.target))


class Session:
    """With `host`, as the user writes it, about `path`; several threads may use it at once."""

    def __init__(
        self, network: Network, host: str, path: str, credentials: Credentials | None = None
    ) -> None:
        self.network, self.host, self.credentials = network, host, credentials
        self._login = Login(network, host, path, credentials)
        self._base: str | None = None
        self._on_retry: OnRetry | None = None

    def heard_by(self, on_retry: OnRetry) -> Session:
        """The same conversation with the same login, whose retries `on_retry` hears of."""
        other = copy(self)
        other._on_retry = on_retry
        return other

    async def pause(self, failures: int, error: WasmholdError, path: str = "") -> None:
        """Wait before the next try, after `failures`; raises `error` where none follows."""
        url = f"{self._base or self.host}{path}"
        await self.network.pause(failures, error, url, self._on_retry)

    async def ask(
        self,
        operation: Operation,
        scopes: Scopes,
        body: Callable[[], Iterable[bytes]] | None = None,
        *,
        fields: Fields = (),
        page: str | None = None,
        once: bool = False,
    ) -> Reply:
        """What the registry says to `operation`.

        `body` gives the bytes anew each time that they are sent; their number is in the operation
        or in `fields`.  `page` is a URL that is asked instead: where the same list goes on.
        `once`: nothing is sent a second time.

        Raises RemoteError; ResponseInvalid; Unreachable; AuthFailed; what `body` raises.
        """
        request = write_request(operation)
        if page is not None:
            path, _, query = page.partition("?")
            request = Request("GET", path, query, request.fields)
        request = Request(request.method, request.path, request.query, [*request.fields, *fields])
        failures = 0
        while True:
            try:
                return await self._ask(operation, request, scopes, body, once)
            except WasmholdError as error:
                if once:
                    raise
                failures += 1
                await self.pause(failures, error, request.path)

    async def _ask(
        self,
        operation: Operation,
        request: Request,
        scopes: Scopes,
        body: Callable[[], Iterable[bytes]] | None,
        once: bool,
    ) -> Reply:
        runtime = self.network.runtime
        if self._base is None:
            self._base = await runtime.offload(self.network.base, self.host)
        url, is_own = self._url(self._base, request)
        value = await self._login.authorization(self._base, scopes) if is_own else None
        for left in reversed(range(_ROUNDS)):
            send = partial(self._send, operation, request, url, value, body)
            answer = await obtained(runtime, send, lambda answer: answer.body.close())
            self._tell_warnings(answer.fields)
            if answer.status < 400:
                return await obtained(runtime, partial(_read, operation, answer), _let_go)
            refusal = await runtime.offload(_read_refusal, answer)
            challenges = _challenges(answer)
            if answer.status not in (401, 403):
                raise refusal
            if not challenges or not is_own or not left:
                raise self._login.failed(_words(refusal), answer.status)
            value = await self._login.answer(self._base, challenges, scopes, value, _words(refusal))
            if once and body is not None:
                # The next request will carry what was asked for.
                refusal.retryable = True
                raise refusal
        raise AssertionError("the last round raises")

    def _url(self, base: str, request: Request) -> tuple[str, bool]:
        """The whole URL, and whether it is the registry's own: credentials go nowhere else."""
        if request.path.startswith("/v2/"):  # all but what registries themselves name
            return f"{base}{request.target}", True
        own = origin(base)
        try:
            target = urljoin(base, request.target)
            there = origin(target)
        except ValueError:
            there = ("", "", None)
        if there[0] not in ("http", "https"):
            raise Unreachable(self.host, "it leads to what is no HTTP URL", retryable=False)
        if (own[0], there[0]) == ("https", "http"):
            raise Unreachable(
                self.host,
                f"it leads from https to plain {without_query(target)}: its address for clients "
                "is not set up",
                retryable=False,
            )
        return target, there == own

    def _send(
        self,
        operation: Operation,
        request: Request,
        url: str,
        value: str | None,
        body: Callable[[], Iterable[bytes]] | None,
    ) -> Answer:
        fields = [*request.fields]
        if value is not None:
            fields.append((b"authorization", value.encode("latin-1")))
        return self.network.transport.request(
            request.method,
            url,
            fields,
            None if body is None else body(),
            follow=isinstance(operation, op.GetBlob),
        )

    def _tell_warnings(self, fields: Fields) -> None:
        for key, value in fields:
            if key == b"warning":
                for said in _WARNING.findall(value.decode("latin-1")):
                    text = plain_words(re.sub(r"\\(.)", r"\1", said))
                    self.network.warn(f"{self.host} says: {text}")


def _read(operation: Operation, answer: Answer) -> Reply:
    if isinstance(operation, op.GetBlob) and operation.with_body:
        try:
            result = read_response(operation, Response(answer.status, answer.fields))
        except BaseException:
            answer.body.close()
            raise
        return Reply(result, answer.url, answer.fields, answer.body)
    is_manifest = isinstance(operation, op.GetManifest)
    limit = limits.MANIFEST if is_manifest else _MAX_LIST
    content, is_whole = _read_up_to(answer.body, limit)
    if not is_whole:
        raise ManifestTooLarge(limit) if is_manifest else TooLarge(limit)
    result = read_response(operation, Response(answer.status, answer.fields), content)
    return Reply(result, answer.url, answer.fields)


def _let_go(reply: Reply) -> None:
    if reply.body is not None:
        reply.body.close()


def _read_refusal(answer: Answer) -> RemoteError:
    try:
        content, _ = _read_up_to(answer.body, _MAX_REFUSAL)
    except Unreachable:
        content = b""  # the status is what counts
    return read_error(Response(answer.status, answer.fields), content)


def _read_up_to(body: Readable, limit: int) -> tuple[bytes, bool]:
    """At most `limit` bytes, and whether that is all; closes the body."""
    pieces: list[bytes] = []
    left = limit + 1
    try:
        while left and (piece := body.read(min(PIECE, left))):
            pieces.append(piece)
            left -= len(piece)
    finally:
        body.close()
    return b"".join(pieces)[:limit], left > 0


def _challenges(answer: Answer) -> list[Challenge]:
    """What to log in with; a 403 without a better scope to ask for is an answer."""
    found = parse_challenges(
        value.decode("latin-1") for key, value in answer.fields if key == b"www-authenticate"
    )
    if answer.status == 401:
        return found
    return [c for c in found if c.get("error") == "insufficient_scope"]


def _words(refusal: RemoteError) -> str:
    said = "; ".join(f"{e.code}: {e.message}" if e.message else e.code for e in refusal.answers)
    return said or f"status {refusal.answer_status}"
