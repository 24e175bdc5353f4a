"""What "at the same time", "later" and "by chance" mean; the core imports no event loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Gate(Protocol):
    """Shut until it is opened, once; any number may wait before it."""

    async def wait(self) -> None: ...
    def open(self) -> None: ...


class Runtime(Protocol):
    """How a host runs the core."""

    async def map(
        self, function: Callable[[T], Awaitable[R]], items: Sequence[T], limit: int
    ) -> list[R]:
        """`function` of each item, at most `limit` side by side; results in the order of items.

        The first error stops what has not begun, waits for the rest, and is raised alone.
        """
        ...

    async def offload(self, function: Callable[..., R], /, *arguments: object) -> R:
        """Call what blocks or computes for long (hash, read, write) where it disturbs nobody.

        It does not return before `function` has, even when the caller is cancelled.
        """
        ...

    def gate(self) -> Gate:
        """A new gate, for those who wait for what another does."""
        ...

    async def sleep(self, seconds: float) -> None: ...

    def now(self) -> float:
        """Seconds since 1970; for ages and log lines, never for safety."""
        ...


class ClientRuntime(Runtime, Protocol):
    """How a client's host runs it."""

    def cancelled(self) -> bool:
        """Whether it shall end.  Asked before each chunk, which then raises Cancelled."""
        ...

    def finish(self, coroutine: Coroutine[Any, Any, R]) -> R:
        """Run `coroutine` to its end from inside a function that `offload` runs.

        For what blocks and yet reads a Body: an upload by a transport that wants an iterator.
        """
        ...


async def obtained(runtime: Runtime, get: Callable[[], R], release: Callable[[R], object]) -> R:
    """What `get` gives, called by `offload`; `release` takes it back from who is cancelled then.

    Who is cancelled while a thread opens a file for it never gets that file.
    """
    got: list[R] = []

    def call() -> R:
        found = get()
        got.append(found)
        return found

    try:
        return await runtime.offload(call)
    except BaseException:
        for one in got:
            release(one)
        raise


class Randomness(Protocol):
    def token(self, size: int) -> bytes:
        """`size` bytes that nobody can guess; 16 never come twice."""
        ...


class _NobodyElse:
    """A gate where one thing is done after the other: who waited would wait for ever."""

    _is_open = False

    async def wait(self) -> None:
        assert self._is_open, "nobody is there to open the gate"

    def open(self) -> None:
        self._is_open = True


class Inline:
    """The runtime without a loop: one thing after the other, all of it here."""

    def __init__(self, now: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self.now = now
        self._sleep = sleep

    async def map(
        self, function: Callable[[T], Awaitable[R]], items: Sequence[T], limit: int
    ) -> list[R]:
        return [await function(item) for item in items]

    async def offload(self, function: Callable[..., R], /, *arguments: object) -> R:
        return function(*arguments)

    def gate(self) -> Gate:
        return _NobodyElse()

    async def sleep(self, seconds: float) -> None:
        self._sleep(seconds)


def run(operation: Coroutine[Any, Any, R]) -> R:
    """Run an operation of the core to its end, with no event loop.

    The core awaits only what its ports give it.  When the ports never suspend, one `send` is
    enough; anything else is a fault of the core, and this finds it.
    """
    try:
        operation.send(None)
    except StopIteration as finished:
        result: R = finished.value
        return result
    operation.close()
    raise AssertionError("the core awaited something that no port gave it")
