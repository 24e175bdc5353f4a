"""Scripts and the command line: no event loop; side by side means threads.

Every port blocks where it stands, so a coroutine runs to its end in the thread that began it
(`ports.runtime.run`).  `map` gives its items to worker threads, each with a `run` of its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any, TypeVar

from ..oci.errors import Cancelled
from ..ports.runtime import Gate, Inline, run

T = TypeVar("T")
R = TypeVar("R")


async def _awaited(function: Callable[[T], Awaitable[R]], item: T) -> R:
    return await function(item)


class ThreadRuntime(Inline):
    """`ports.runtime.ClientRuntime` for who has no loop; one for each command or call."""

    def __init__(self) -> None:
        super().__init__(time.time, time.sleep)
        self._ended = threading.Event()

    def cancel(self) -> None:
        """Let everything that runs end soon; from any thread, also from a signal's handler."""
        self._ended.set()

    def cancelled(self) -> bool:
        return self._ended.is_set()

    def finish(self, coroutine: Coroutine[Any, Any, R]) -> R:
        return run(coroutine)

    async def sleep(self, seconds: float) -> None:
        """Raises Cancelled at once when that comes first."""
        if self._ended.wait(seconds):
            raise Cancelled

    def gate(self) -> Gate:
        return _ThreadGate()

    async def map(
        self, function: Callable[[T], Awaitable[R]], items: Sequence[T], limit: int
    ) -> list[R]:
        if min(limit, len(items)) <= 1:
            return [await function(item) for item in items]
        work = _Work(function, items, self.cancelled)
        # Daemons: a second Ctrl-C ends the program although one of them waits for the network.
        threads = [
            threading.Thread(target=work.run, daemon=True) for _ in range(min(limit, len(items)))
        ]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        except BaseException:  # Ctrl-C comes here
            self.cancel()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
            raise
        return work.results()


class _Work:
    """Items that threads take one by one until one fails."""

    def __init__(
        self,
        function: Callable[[T], Awaitable[R]],
        items: Sequence[T],
        cancelled: Callable[[], bool],
    ) -> None:
        self._function = function
        self._todo: Iterator[tuple[int, T]] = iter(enumerate(items))
        self._count = len(items)
        self._cancelled = cancelled
        self._lock = threading.Lock()
        self._results: dict[int, Any] = {}
        self._error: BaseException | None = None

    def run(self) -> None:
        while True:
            with self._lock:
                taken = None
                if self._error is None and not self._cancelled():
                    taken = next(self._todo, None)
            if taken is None:
                return
            number, item = taken
            try:
                result = run(_awaited(self._function, item))
            except BaseException as error:
                with self._lock:
                    self._error = self._error or error
                return
            self._results[number] = result

    def results(self) -> list[Any]:
        if self._error is not None:
            raise self._error
        if len(self._results) < self._count:
            raise Cancelled
        return [self._results[number] for number in range(self._count)]


class _ThreadGate:
    def __init__(self) -> None:
        self._event = threading.Event()

    async def wait(self) -> None:
        self._event.wait()

    def open(self) -> None:
        self._event.set()
