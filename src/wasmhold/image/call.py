"""One operation of a puller: what was asked for, as whom, by which rules, and who hears of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

from ..client.credentials import Auth
from ..oci.errors import WasmholdError
from .connections import Connections
from .events import PullEvent, Retry, Teller, Warned
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

    async def tell(self, event: PullEvent) -> None:
        """Raises what the listener does."""
        said = self.connections.warnings
        while said:
            await self._tell(said.popleft())
        await self._tell(event)

    async def _tell(self, event: PullEvent) -> None:
        if isinstance(event, Warned) and not self.teller.is_heard:
            warnings.warn(event.text, stacklevel=2)
        await self.teller.tell(event)

    async def warn(self, code: str, text: str) -> None:
        await self.tell(Warned(code, text))

    async def retry(self, url: str, attempt: int, wait: float, error: WasmholdError) -> None:
        """`client.network.OnRetry`."""
        self.connections.stats.count(retries=1)
        await self.tell(Retry(url, attempt, wait, str(error)))
