"""The client under asyncio: the same coroutines; what blocks goes to threads.

Not the server's runtime: that runs one thing after the other, since its stores wait for no network,
and shares the loop's pool of few threads.  Here a thread that sends a blob waits for another one
that reads it, so a bounded pool could fill up with those who wait.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final, TypeVar

from ..oci.errors import Cancelled
from ..ports.runtime import Gate

T = TypeVar("T")
R = TypeVar("R")

# A thread is made only when none is idle; more than this many copies hardly run in one process.
_THREADS: Final = 1000

# Set once the call of `offload` that we are inside of was cancelled.
_STOP: Final[contextvars.ContextVar[threading.Event | None]] = contextvars.ContextVar(
    "stop", default=None
)


class AsyncioRuntime:
    """`ports.runtime.ClientRuntime` of one event loop; made inside of it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._threads = ThreadPoolExecutor(_THREADS, "wasmhold")

    def close(self) -> None:
        """Let idle threads go."""
        self._threads.shutdown(wait=False)

    async def map(
        self, function: Callable[[T], Awaitable[R]], items: Sequence[T], limit: int
    ) -> list[R]:
        todo = iter(enumerate(items))
        results: dict[int, R] = {}
        errors: list[BaseException] = []

        async def work() -> None:
            for number, item in todo:
                try:
                    results[number] = await function(item)
                except BaseException as error:
                    errors.append(error)
                    raise
                if errors:
                    return

        workers = [asyncio.ensure_future(work()) for _ in range(min(limit, len(items)))]
        try:
            await asyncio.gather(*workers, return_exceptions=True)
        except asyncio.CancelledError:
            # gather has cancelled them; they still hold files until they are done.
            for worker in workers:
                with suppress(BaseException):
                    await worker
            raise
        if errors:
            raise errors[0]
        return [results[number] for number in range(len(items))]

    async def offload(self, function: Callable[..., R], /, *arguments: object) -> R:
        if self._loop.is_closed():
            raise RuntimeError("it belongs to an event loop that has ended: make a new one in this")
        stop = threading.Event()
        context = contextvars.copy_context()
        context.run(_STOP.set, stop)
        running = self._loop.run_in_executor(
            self._threads, lambda: context.run(function, *arguments)
        )
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            # The thread goes on: what it works with must not be closed under it.
            stop.set()
            while not running.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([running])
            running.exception()  # nobody hears it
            raise

    def finish(self, coroutine: Coroutine[Any, Any, R]) -> R:
        if self.cancelled():
            coroutine.close()
            raise Cancelled
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def cancelled(self) -> bool:
        stop = _STOP.get()
        return stop is not None and stop.is_set()

    def gate(self) -> Gate:
        return _LoopGate()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def now(self) -> float:
        return time.time()


class _LoopGate:
    def __init__(self) -> None:
        self._event = asyncio.Event()

    async def wait(self) -> None:
        await self._event.wait()

    def open(self) -> None:
        self._event.set()
