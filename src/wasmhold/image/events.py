"""What happens in a pull, as values: for progress bars, logs and tests.

A listener is a function or a coroutine function; one event at a time is told, where it happens.
What it raises ends the operation.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from inspect import isawaitable
from typing import Final, TypeAlias

from ..oci.digest import Digest
from .policy import Source

_STEP_S: Final = 0.1  # between two events of progress for one blob


@dataclass(frozen=True, slots=True)
class Resolved:
    """A reference leads to this manifest; `reference` is the resolved one, with its registry."""

    reference: str
    digest: Digest
    source: Source


@dataclass(frozen=True, slots=True)
class BlobStarted:
    """`size` in bytes."""

    digest: Digest
    size: int
    source: Source


@dataclass(frozen=True, slots=True)
class BlobProgress:
    """`done` of `total` bytes; at most ten of them in a second for each blob, and a last one."""

    digest: Digest
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class BlobDone:
    """All of it came, verified, in so many seconds."""

    digest: Digest
    source: Source
    seconds: float


@dataclass(frozen=True, slots=True)
class BlobSkipped:
    """It need not move: `why` says where it is."""

    digest: Digest
    why: str


@dataclass(frozen=True, slots=True)
class Retry:
    """The `attempt`-th try failed; the next follows after `wait` seconds."""

    url: str
    attempt: int
    wait: float
    reason: str


@dataclass(frozen=True, slots=True)
class Stale:
    """The registry could not say whether what is here is still what it has."""

    reference: str
    reason: str


@dataclass(frozen=True, slots=True)
class Warned:
    """What a user should know; `code` is one word for programs.

    cache-start, cache-read, cache-write: a cache that cannot be used, read or written
    mirror    one that is passed over
    client    what the client says: logins that cannot be read, what a registry warns of
    """

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Done:
    """The operation has come to its end."""

    reference: str


PullEvent: TypeAlias = (
    Resolved | BlobStarted | BlobProgress | BlobDone | BlobSkipped | Retry | Stale | Warned | Done
)
OnEvent: TypeAlias = Callable[[PullEvent], Awaitable[object] | object]


class Teller:
    """Tells the listener of one operation; of what other threads do, one thing at a time.

    Without a listener warnings are those of Python.
    """

    def __init__(self, listener: OnEvent | None) -> None:
        self._listener = listener
        self._lock = threading.Lock()

    async def tell(self, event: PullEvent) -> None:
        """Raises what the listener does."""
        if self._listener is None:
            if isinstance(event, Warned):
                warnings.warn(event.text, stacklevel=2)
            return
        with self._lock:
            told = self._listener(event)
        if isawaitable(told):
            await told


class Pace:
    """How often the progress of one blob is told."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._next = now() + _STEP_S

    def is_due(self) -> bool:
        if self._now() < self._next:
            return False
        self._next = self._now() + _STEP_S
        return True
