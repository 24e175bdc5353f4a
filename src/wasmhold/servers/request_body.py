"""The body of a request, and what its head says of it.

A body has an idle limit, and one that is cut is an error, never a short success.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeAlias

from ..oci.errors import BodyCut, BodyStalled
from ..oci.limits import MIB
from ..protocol.messages import Fields

Scope: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[dict[str, Any]]]

SKIPPED: Final = MIB  # bytes, what HTTP/2 lets a client send before it hears anything
SKIP_S: Final = 1.0


class RequestBody:
    """The body of an ASGI request; `size` is its Content-Length, None when it has none.

    `complete`: its last byte has come.  `received`: bytes so far.
    """

    file = None

    def __init__(self, receive: Receive, size: int | None, idle_s: float) -> None:
        self.size = size
        self.complete = size == 0
        self.received = 0
        self._receive = receive
        self._idle_s = idle_s

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while not self.complete:
            try:
                async with asyncio.timeout(self._idle_s):
                    message = await self._receive()
            except TimeoutError:
                raise BodyStalled(self._idle_s) from None
            if message["type"] == "http.disconnect":
                raise BodyCut
            chunk = message.get("body", b"")
            self.received += len(chunk)
            self.complete = not message.get("more_body")
            if self.complete and self.size is not None and self.received != self.size:
                raise BodyCut
            if chunk:
                yield chunk

    async def skip(self) -> None:
        """Read what is left of a short body, as far as it comes at once."""
        if self.size is not None and self.size > SKIPPED:
            return
        with suppress(TimeoutError, BodyCut, BodyStalled):
            async with asyncio.timeout(SKIP_S):
                async for _ in self:
                    if self.received > SKIPPED:
                        return

    async def aclose(self) -> None:
        return


def framing(scope: Scope, fields: Fields) -> tuple[str | None, int | None]:
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
