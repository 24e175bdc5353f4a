"""The store in memory: the bucket's protocol over a dictionary, gone with the process."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import AsyncIterator, Iterator
from typing import Final

from ..ports.body import PIECE
from ..ports.runtime import Randomness, Runtime
from .bucket.port import PAGE, Absent, Conflict, Entry, Page
from .bucket.store import BucketStore

_BLOCK: Final = 1024  # keys of a block, then it is split


class SortedKeys:
    """Strings in byte order, in blocks, so that adding one moves few others."""

    def __init__(self) -> None:
        self._blocks: list[list[str]] = [[]]
        self._lasts: list[str] = []  # of all blocks but the last

    def add(self, key: str) -> None:
        at = bisect_left(self._lasts, key)
        block = self._blocks[at]
        insort(block, key)
        if len(block) > _BLOCK:
            self._blocks.insert(at + 1, block[_BLOCK // 2 :])
            del block[_BLOCK // 2 :]
            self._lasts.insert(at, block[-1])

    def remove(self, key: str) -> None:
        at = bisect_left(self._lasts, key)
        block = self._blocks[at]
        del block[bisect_left(block, key)]
        if not block and at < len(self._lasts):
            del self._blocks[at], self._lasts[at]

    def behind(self, key: str) -> Iterator[str]:
        """All that are greater than `key`."""
        at = bisect_left(self._lasts, key)
        yield from self._blocks[at][bisect_right(self._blocks[at], key) :]
        for block in self._blocks[at + 1 :]:
            yield from block


class MemoryBucket:
    """`stores.bucket.port.Bucket` in a dictionary.  It never waits.

    Bytes are kept in the pieces in which they came, never joined.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._now = runtime.now
        self._count = 0  # every write has its own ETag
        self._cells: dict[str, tuple[tuple[bytes, str], float]] = {}
        self._data: dict[str, tuple[tuple[bytes, ...], int, float]] = {}
        self._keys = SortedKeys()

    async def get(self, key: str) -> tuple[bytes, str] | None:
        found = self._cells.get(key)
        return None if found is None else found[0]

    async def create(self, key: str, body: bytes) -> str:
        if key in self._cells:
            raise Conflict(key)
        self._keys.add(key)
        return self._set(key, body)

    async def replace(self, key: str, body: bytes, etag: str) -> str:
        found = self._cells.get(key)
        if found is None or found[0][1] != etag:
            raise Conflict(key)
        return self._set(key, body)

    def _set(self, key: str, body: bytes) -> str:
        self._count += 1
        etag = str(self._count)
        self._cells[key] = (body, etag), self._now()
        return etag

    async def remove(self, key: str, etag: str) -> None:
        found = self._cells.get(key)
        if found is not None:
            if found[0][1] != etag:
                raise Conflict(key)
            del self._cells[key]
            self._keys.remove(key)

    async def delete(self, key: str) -> None:
        if self._data.pop(key, None) is not None:
            self._keys.remove(key)

    async def put_data(self, key: str, chunks: AsyncIterator[bytes]) -> int:
        pieces = tuple([chunk async for chunk in chunks])
        size = sum(map(len, pieces))
        if key not in self._data:
            self._keys.add(key)
        self._data[key] = pieces, size, self._now()
        return size

    async def has(self, key: str) -> bool:
        return key in self._data or key in self._cells

    async def read_data(self, key: str, start: int, stop: int) -> AsyncIterator[bytes]:
        found = self._data.get(key)
        if found is None:
            raise Absent(key)
        begin = 0
        for piece in found[0]:
            first, last = max(start - begin, 0), min(stop - begin, len(piece))
            for at in range(first, last, PIECE):
                # A slice of all of it is no copy.
                yield piece[at : min(at + PIECE, last)]
            begin += len(piece)

    async def list(self, prefix: str, after: str, limit: int = PAGE) -> Page:
        entries: list[Entry] = []
        # The prefix itself is never a key, so what is behind it begins with it or is greater.
        for key in self._keys.behind(max(prefix, after)):
            if not key.startswith(prefix):
                break
            if len(entries) == limit:
                return Page(entries, True)
            entries.append(self._entry(key))
        return Page(entries, False)

    def _entry(self, key: str) -> Entry:
        cell = self._cells.get(key)
        if cell is not None:
            (body, etag), modified = cell
            return Entry(key, len(body), etag, modified)
        _, size, modified = self._data[key]
        return Entry(key, size, "", modified)


class MemoryStore(BucketStore):
    """A store in this process's memory."""

    def __init__(self, runtime: Runtime, randomness: Randomness) -> None:
        super().__init__(MemoryBucket(runtime), runtime, randomness)
