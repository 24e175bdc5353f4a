"""``python -m tests.servers.impatient READY_FILE [spill|DIR]``: a server with limits of a second.

With `spill` its data lies in a file that is nowhere: what memory it takes is the server's own.
With a directory its store is there.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from tests.registries import plan
from wasmhold.cli.commands.serve import when_ready
from wasmhold.cli.wiring import edge
from wasmhold.servers import granian, sockets
from wasmhold.stores import memory

LIMIT_S = 1.0


class Spilling(memory.MemoryBucket):
    """Cells in memory, data in one unlinked file."""

    def __init__(self, runtime) -> None:
        super().__init__(runtime)
        # Open for as long as the process lives.
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._places: dict[str, tuple[int, int]] = {}

    async def put_data(self, key: str, chunks) -> int:
        start = end = os.lseek(self._file.fileno(), 0, os.SEEK_END)
        async for chunk in chunks:
            end += os.pwrite(self._file.fileno(), chunk, end)
        await super().put_data(key, nothing())
        self._places[key] = (start, end - start)
        return end - start

    async def read_data(self, key: str, start: int, stop: int) -> AsyncIterator[bytes]:
        place, _ = self._places[key]
        while start < stop:
            piece = os.pread(self._file.fileno(), min(1 << 18, stop - start), place + start)
            yield piece
            start += len(piece)


async def nothing() -> AsyncIterator[bytes]:
    return
    yield b""


def spilling_edge(made):
    memory.MemoryBucket = Spilling
    return edge(made)


def main() -> None:
    ready, where = (*sys.argv[1:], "")[:2]
    made = replace(plan(), body_idle_s=LIMIT_S, send_idle_s=LIMIT_S)
    if os.path.isabs(where):
        made = replace(made, root=where, min_free=0)
    granian.serve(
        partial(spilling_edge if where == "spill" else edge, made),
        sockets.reserve("127.0.0.1", 0),
        shutdown_timeout_s=3,
        head_timeout_ms=int(LIMIT_S * 1000),
        reader_timeout_ms=int(2 * LIMIT_S * 1000),
        when_ready=partial(when_ready, Path(ready), "test"),
    )


if __name__ == "__main__":
    main()
