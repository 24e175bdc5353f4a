"""`LocalRegistry` for programs without an event loop: every method of the other, blocking."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from ..ports.runtime import ClientRuntime, run
from .local_images import LocalImages, LocalMethods
from .runtime import ThreadRuntime

P = ParamSpec("P")
R = TypeVar("R")


class _InThreads(LocalMethods):
    """Images whose methods run where they are called."""

    @contextmanager
    def runtime(self) -> Iterator[ClientRuntime]:
        yield ThreadRuntime()


def _blocking(
    method: Callable[Concatenate[LocalMethods, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[LocalRegistry, P], R]:
    @wraps(method)
    def call(self: LocalRegistry, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return run(method(self._images, *args, **kwargs))

    return call


class LocalRegistry:
    """Images in the folder `root`, which the first of them makes a store.

    Every method may raise NameInvalid, TagInvalid, DigestInvalid before anything is touched, and
    StoreUnavailable, Denied, OutOfSpace of the disk.  Any number of threads may use it.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._images = _InThreads(root)
        self.root = self._images.root

    def engine(self, runtime: ClientRuntime) -> LocalImages:
        """What does the work under `runtime`."""
        return self._images.engine(runtime)

    put_blob = _blocking(LocalMethods.put_blob)
    get_blob = _blocking(LocalMethods.get_blob)
    has_blob = _blocking(LocalMethods.has_blob)
    put_manifest = _blocking(LocalMethods.put_manifest)
    get_manifest = _blocking(LocalMethods.get_manifest)
    has_manifest = _blocking(LocalMethods.has_manifest)
    images = _blocking(LocalMethods.images)
    tags = _blocking(LocalMethods.tags)
    size = _blocking(LocalMethods.size)
    delete_tag = _blocking(LocalMethods.delete_tag)
    delete_image = _blocking(LocalMethods.delete_image)
    collect = _blocking(LocalMethods.collect)
    import_zlayer = _blocking(LocalMethods.import_zlayer)
