"""Caches for programs without an event loop: every method of the others, blocking."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from ...ports.runtime import ClientRuntime, run
from ..runtime import ThreadRuntime
from . import blob_cache
from .blob_cache import DISK_SIZE, MEMORY_SIZE
from .methods import CacheMethods
from .port import Cache

P = ParamSpec("P")
R = TypeVar("R")


def _blocking(
    method: Callable[Concatenate[CacheMethods, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[BlockingCache, P], R]:
    @wraps(method)
    def call(self: BlockingCache, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return run(method(self._cache, *args, **kwargs))

    return call


class BlockingCache:
    """Any cache, `cache`, whose methods block; any number of threads may use it."""

    def __init__(self, cache: CacheMethods) -> None:
        self.place, self.max_size = cache.place, cache.max_size
        self._cache = _InThreads(cache)

    def engine(self, runtime: ClientRuntime) -> Cache:
        """What does the work under `runtime`; engines of one cache share its content."""
        return self._cache.engine(runtime)

    stat = _blocking(CacheMethods.stat)
    get = _blocking(CacheMethods.get)
    put = _blocking(CacheMethods.put)
    delete = _blocking(CacheMethods.delete)
    digests = _blocking(CacheMethods.digests)
    info = _blocking(CacheMethods.info)
    size = _blocking(CacheMethods.size)
    count = _blocking(CacheMethods.count)
    verify = _blocking(CacheMethods.verify)
    clear = _blocking(CacheMethods.clear)
    prune = _blocking(CacheMethods.prune)
    images = _blocking(CacheMethods.images)
    records = _blocking(CacheMethods.records)
    remove = _blocking(CacheMethods.remove)
    tag = _blocking(CacheMethods.tag)


class BlobCache(BlockingCache):
    """In memory, or, by `open`, on disk; ``BlobCache()`` is ``BlobCache.memory()``.

    Sizes are bytes, or text such as ``10GiB``.  Any number of pullers may share one.
    """

    def __init__(self, max_size: int | str = MEMORY_SIZE) -> None:
        super().__init__(blob_cache.BlobCache(max_size))

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
        self = cls.__new__(cls)
        BlockingCache.__init__(self, blob_cache.BlobCache.open(path, max_size=max_size))
        return self


class _InThreads(CacheMethods):
    """A cache whose methods run where they are called."""

    def __init__(self, cache: CacheMethods) -> None:
        self.place, self.max_size = cache.place, cache.max_size
        self._cache = cache

    def engine(self, runtime: ClientRuntime) -> Cache:
        return self._cache.engine(runtime)

    @contextmanager
    def runtime(self) -> Iterator[ClientRuntime]:
        yield ThreadRuntime()
