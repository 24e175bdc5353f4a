"""`LocalRegistry` under asyncio."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from ..ports.runtime import ClientRuntime
from .aio import AsyncioRuntime
from .local_images import LocalMethods


class LocalRegistry(LocalMethods):
    """Images in the folder `root`, which the first of them makes a store.

    Every method may raise NameInvalid, TagInvalid, DigestInvalid before anything is touched, and
    StoreUnavailable, Denied, OutOfSpace of the disk.
    """

    @contextmanager
    def runtime(self) -> Iterator[ClientRuntime]:
        with closing(AsyncioRuntime()) as runtime:
            yield runtime
