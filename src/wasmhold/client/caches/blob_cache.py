"""`BlobCache`: a cache in memory or on disk, which programs make and pass on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Final, Protocol, Self

from ...oci.limits import MIB
from ...ports.runtime import ClientRuntime
from ..aio import AsyncioRuntime
from ..sizes import parse_size
from .disk import DiskCache, DiskContent
from .format import open_folder
from .memory import MemoryCache, MemoryContent
from .methods import CacheChecked, CacheMethods
from .port import Cache, Kept

MEMORY_SIZE: Final = 256 * MIB
DISK_SIZE: Final = 10 * 1024 * MIB


class _Own(Cache, Protocol):
    """What caches of this machine can do beside the rest."""

    async def check(self) -> list[tuple[Kept, bool]]:
        """Each blob and manifest, and whether it was right; what was not is gone.

        Nothing counts as used by it.
        """
        ...

    async def clear(self) -> None:
        """Forget everything, also what was begun."""
        ...


class BlobCache(CacheMethods):
    """In memory, or, by `open`, on disk; ``BlobCache()`` is ``BlobCache.memory()``.

    Sizes are bytes, or text such as ``10GiB``.  It needs no event loop to be made, and any number
    of pullers may share one.
    """

    def __init__(self, max_size: int | str = MEMORY_SIZE) -> None:
        content = MemoryContent(_size(max_size))
        self._make: Callable[[ClientRuntime], _Own] = lambda runtime: MemoryCache(content, runtime)
        self.place, self.max_size = "memory", content.max_size

    @classmethod
    def memory(cls, max_size: int | str = MEMORY_SIZE) -> Self:
        """A cache that ends with the process, within `max_size`.  Raises ValueError."""
        return cls(max_size)

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, max_size: int | str | None = DISK_SIZE) -> Self:
        """The cache in the folder `path`, of any name, which is made where it is not there.

        `max_size` of None: as large as it becomes.  Raises CacheFormatError for a file, or a
        folder of something else, which stays as it is; Denied, OutOfSpace, StoreUnavailable;
        ValueError for a size that is none.
        """
        where = os.path.abspath(path)
        content = DiskContent(where, None if max_size is None else _size(max_size))
        open_folder(where)
        self = cls()
        self._make = lambda runtime: DiskCache(content, runtime)
        self.place, self.max_size = where, content.max_size
        return self

    def engine(self, runtime: ClientRuntime) -> Cache:
        return self._make(runtime)

    @contextmanager
    def runtime(self) -> Iterator[ClientRuntime]:
        with closing(AsyncioRuntime()) as runtime:
            yield runtime

    async def clear(self) -> None:
        """Forget everything, also what was begun."""
        with self.runtime() as runtime:
            await self._make(runtime).clear()

    async def verify(self) -> CacheChecked:
        """Read all of it; what is damaged is removed, so that it comes anew."""
        with self.runtime() as runtime:
            found = await self._make(runtime).check()
        damaged = tuple(kept.digest for kept, is_right in found if not is_right)
        return CacheChecked(len(found), sum(kept.size for kept, _ in found), damaged)


def _size(given: int | str) -> int:
    return parse_size(given) if isinstance(given, str) else given
