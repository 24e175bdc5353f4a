"""Servers in a thread of their own, so that a test, which blocks, can talk to them."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar
from weakref import WeakSet

from .wire import LIMIT, BadMessage

T = TypeVar("T")

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Background:
    """An event loop in a thread, and one server on a free port of loopback.

    The socket listens as soon as this exists, so `port` and `host` are known before `serve`.
    """

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self._socket.getsockname()[1]
        self.host = f"127.0.0.1:{self.port}"
        self._talks: set[asyncio.Task[Any]] = set()
        self._writers: WeakSet[asyncio.StreamWriter] = WeakSet()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    @property
    def is_open(self) -> bool:
        return not self._loop.is_closed()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What `coroutine` gives, run in the loop; called from other threads."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def call(self, function: Callable[..., T], *arguments: object) -> T:
        """What `function` gives, called in the loop."""

        async def called() -> T:
            return function(*arguments)

        return self.run(called())

    def serve(self, talk: Talk) -> None:
        """Give each connection to `talk`; it is closed behind that."""

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._talks.add(task)
            self._writers.add(writer)
            try:
                with suppress(OSError, asyncio.IncompleteReadError, BadMessage):
                    await talk(reader, writer)
            except asyncio.CancelledError:
                pass  # the end of the server: nobody waits for this task
            finally:
                writer.close()
                self._talks.discard(task)

        async def start() -> asyncio.Server:
            return await asyncio.start_server(connected, sock=self._socket, limit=LIMIT)

        self._server = self.run(start())

    async def connect(
        self, host: str, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to another server; it ends with this one at the latest."""
        reader, writer = await asyncio.open_connection(host, port, limit=LIMIT)
        self._writers.add(writer)
        return reader, writer

    def close(self) -> None:
        """End all connections, the loop and its thread."""

        async def end() -> None:
            if self._server is not None:
                self._server.close()
            talks = list(self._talks)
            for talk in talks:
                talk.cancel()
            await asyncio.gather(*talks, return_exceptions=True)
            for writer in list(self._writers):
                writer.transport.abort()
            await asyncio.sleep(0)  # they end in the next turn
            await self._loop.shutdown_asyncgens()
            await self._loop.shutdown_default_executor()

        if not self.is_open:
            return
        self.run(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._socket.close()
