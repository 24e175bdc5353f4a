"""One operation of a puller: what was asked for, as whom, by which rules, and who hears of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from ..client.credentials import Auth
from ..oci.errors import WasmholdError
from .connections import Connections
from .events import Done, PullEvent, Retry, Teller, Warned
from .policy import PullPolicy, SourcePolicy
from .reference import ImageReference


@dataclass(frozen=True, slots=True)
class Call:
    """`image` is resolved; `has_origin`: there is a registry that the user has named for it."""

    image: ImageReference
    has_origin: bool
    auth: Auth | None
    policy: PullPolicy
    sources: SourcePolicy
    teller: Teller
    connections: Connections
    stopped: Callable[[], bool]

    async def __aenter__(self) -> Call:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Its end is told when it comes to one; what was said before that in any case."""
        if error is None:
            await self.tell(Done(str(self.image)))
        elif isinstance(error, WasmholdError):
            await self._tell_what_was_said()

    async def tell(self, event: PullEvent) -> None:
        """Raises what the listener does."""
        await self._tell_what_was_said()
        await self.teller.tell(event)

    async def _tell_what_was_said(self) -> None:
        said = self.connections.warnings
        while said:
            await self.teller.tell(said.popleft())

    async def warn(self, code: str, text: str) -> None:
        await self.tell(Warned(code, text))

    async def retry(self, url: str, attempt: int, wait: float, error: WasmholdError) -> None:
        """`client.network.OnRetry`."""
        self.connections.stats.count(retries=1)
        await self.tell(Retry(url, attempt, wait, str(error)))
