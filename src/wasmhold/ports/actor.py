"""Who asks.  Rules, events and logs need it, so it goes beside every operation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

# Whether a repository may be read, for what looks at several; None: all may be.
Reads: TypeAlias = Callable[[str], bool] | None


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody who may do what they ask for: that has been decided before the registry hears of it.

    name     who has logged in, None: nobody
    address  the client's, as text; ``-`` where there is no network
    reads    which repositories may be read
    """

    name: str | None = None
    address: str = "-"
    reads: Reads = None


ANYBODY: Final = Actor()
