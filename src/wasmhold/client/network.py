"""What all conversations share: the transport, tokens, patience, and who is told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container
from typing import Final, TypeAlias

from ..oci.errors import WasmholdError
from ..ports.runtime import ClientRuntime, Randomness
from .hosts import contact, is_loopback, split_host
from .tokens import Tokens
from .transport import Transport

MAX_WAIT_S: Final = 60.0  # longer than this a registry's Retry-After is not waited for
_FIRST_WAIT_S: Final = 0.2

# Called before a wait: the URL that was asked, failures so far, seconds to wait, and why.
OnRetry: TypeAlias = Callable[[str, int, float, WasmholdError], Awaitable[object]]


class Network:
    """`plain_http`: hosts, as the user writes them, that are spoken to without TLS.

    `retries`: how often what may heal is tried again.  `warn` is told what a user should know,
    each text once.
    """

    def __init__(
        self,
        transport: Transport,
        runtime: ClientRuntime,
        randomness: Randomness,
        warn: Callable[[str], None],
        *,
        plain_http: Container[str] = (),
        retries: int = 3,
    ) -> None:
        self.transport, self.runtime, self.retries = transport, runtime, retries
        self.tokens = Tokens(transport, runtime.now)
        self._randomness, self._warn, self._plain_http = randomness, warn, plain_http
        self._warned: set[str] = set()
        self._bases: dict[str, str] = {}

    def warn(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            self._warn(text)

    async def pause(
        self, failures: int, error: WasmholdError, url: str = "", told: OnRetry | None = None
    ) -> None:
        """Wait before the next try, after `failures`; raises `error` where none follows."""
        if not error.retryable or failures > self.retries:
            raise error
        wished = getattr(error, "retry_after_s", None) or 0
        if wished > MAX_WAIT_S:
            raise error
        chance = 0.5 + self._randomness.token(1)[0] / 255
        wait = max(wished, _FIRST_WAIT_S * 2 ** (failures - 1) * chance)
        if told is not None:
            await told(url, failures, wait, error)
        await self.runtime.sleep(wait)

    def base(self, host: str) -> str:
        """Scheme and host to speak to.  Blocks: on loopback it is tried whether TLS is spoken."""
        if host not in self._bases:
            self._bases[host] = self._find_base(host)
        return self._bases[host]

    def _find_base(self, host: str) -> str:
        there = contact(host)
        if host in self._plain_http:
            return f"http://{there}"
        if is_loopback(there):
            name, port = split_host(there)
            if not self.transport.speaks_tls(name, port or 443):
                return f"http://{there}"
        return f"https://{there}"
