"""`BlobCache`: a cache in memory or on disk, which programs make and pass on."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final, Self

from ...oci.limits import MIB
from ...ports.runtime import ClientRuntime
from ..sizes import parse_size
from .disk import DiskCache
from .folder import DiskContent
from .format import open_folder
from .memory import MemoryCache, MemoryContent
from .methods import CacheMethods
from .port import Cache

MEMORY_SIZE: Final = 256 * MIB
DISK_SIZE: Final = 10 * 1024 * MIB


class BlobCache(CacheMethods):
    """In memory, or, by `open`, on disk; ``BlobCache()`` is ``BlobCache.memory()``.

    Sizes are bytes, or text such as ``10GiB``.  It needs no event loop to be made, and any number
    of pullers may share one.
    """

    def __init__(self, max_size: int | str = MEMORY_SIZE) -> None:
        content = MemoryContent(_size(max_size))
        self._make: Callable[[ClientRuntime], Cache] = lambda runtime: MemoryCache(content, runtime)
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


def _size(given: int | str) -> int:
    return parse_size(given) if isinstance(given, str) else given
