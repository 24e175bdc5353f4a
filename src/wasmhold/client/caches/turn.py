"""Waiting for one's turn: by asking again, since who has it may be another process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from ...ports.runtime import Runtime, obtained

T = TypeVar("T")

_PAUSE_S: Final = 0.002  # then twice that, and so on
_PAUSE_MAX_S: Final = 0.1


async def wait_for(
    attempt: Callable[[], T | None], runtime: Runtime, release: Callable[[T], object]
) -> T:
    """What `attempt`, which may block for a moment, gives in the end; None: not yet.

    `release` takes back what it gave to who was cancelled in that moment, and never gets it.
    """

    def take_back(found: T | None) -> None:
        if found is not None:
            release(found)

    pause = _PAUSE_S
    while (found := await obtained(runtime, attempt, take_back)) is None:
        await runtime.sleep(pause)
        pause = min(2 * pause, _PAUSE_MAX_S)
    return found
