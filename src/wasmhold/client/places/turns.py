"""Taking turns: code that was written for one thread, used by several.

A store expects that nobody else runs between two of its awaits, as under an event loop.  Here one
thread at a time is inside of it, and leaves it where a loop would switch: when it blocks, sleeps,
waits, or reads what comes from outside.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

from ...ports.body import Body
from ...ports.runtime import Gate, Runtime

T = TypeVar("T")
R = TypeVar("R")


class Turns:
    """`ports.runtime.Runtime` for what is used inside of ``with turns.inside()``."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._lock = threading.Lock()

    @contextmanager
    def inside(self) -> Iterator[None]:
        # Under a loop this never blocks: whoever has it does not let go of the loop with it.
        with self._lock:
            yield

    @contextmanager
    def outside(self) -> Iterator[None]:
        self._lock.release()
        try:
            yield
        finally:
            self._lock.acquire()

    async def map(
        self, function: Callable[[T], Awaitable[R]], items: Sequence[T], limit: int
    ) -> list[R]:
        return [await function(item) for item in items]

    async def offload(self, function: Callable[..., R], /, *arguments: object) -> R:
        with self.outside():
            return await self._runtime.offload(function, *arguments)

    def gate(self) -> Gate:
        return _Gate(self, self._runtime.gate())

    async def sleep(self, seconds: float) -> None:
        with self.outside():
            await self._runtime.sleep(seconds)

    def now(self) -> float:
        return self._runtime.now()

    # ---- bodies

    def given(self, body: Body) -> Body:
        """A body from outside, for use inside."""
        return _Crossing(body, self.outside)

    def handed_out(self, body: Body) -> Body:
        """A body from inside, for use outside."""
        return _Crossing(body, self.inside)


class _Gate:
    def __init__(self, turns: Turns, gate: Gate) -> None:
        self._turns, self._gate = turns, gate

    async def wait(self) -> None:
        with self._turns.outside():
            await self._gate.wait()

    def open(self) -> None:
        self._gate.open()


class _Crossing:
    """A body whose every step happens on the other side."""

    file = None

    def __init__(self, body: Body, across: Callable[[], AbstractContextManager[None]]) -> None:
        self.size = body.size
        self._body, self._across = body, across
        self._chunks: AsyncIterator[bytes] | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        with self._across():
            if self._chunks is None:
                self._chunks = aiter(self._body)
            chunk = await anext(self._chunks, b"")
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        with self._across():
            await self._body.aclose()
