"""The client under asyncio."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from .aio import AsyncioRuntime
from .events import Listener, nobody
from .settings import Settings
from .verbs import Verbs, warn_user


class Client(Verbs):
    """Copies, pushes, pulls and lists: ``async with Client() as client: …``

    It belongs to the event loop in which it was made.  `warn` is told what a user should know,
    `listener` what happens in copies.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        warn: Callable[[str], None] = warn_user,
        listener: Listener = nobody,
    ) -> None:
        self._loop_runtime = AsyncioRuntime()
        super().__init__(settings, self._loop_runtime, warn, listener)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        super().close()
        self._loop_runtime.close()
