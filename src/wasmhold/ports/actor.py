"""Who asks.  Rules, events and logs need it, so it goes beside every operation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody who may do what they ask for: that has been decided before the registry hears of it.

    name     who has logged in, None: nobody
    address  the client's, as text; ``-`` where there is no network
    reads    whether a repository may be read, for what lists several; None: all may be
    """

    name: str | None = None
    address: str = "-"
    reads: Callable[[str], bool] | None = None


ANYBODY: Final = Actor()
