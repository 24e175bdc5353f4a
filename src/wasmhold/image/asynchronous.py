"""The puller under asyncio."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Self, Unpack

from ..client.aio import AsyncioRuntime
from ..client.caches.port import CacheHandle
from .connections import Connections
from .environment import surroundings
from .options import Changes, Configuration, Options
from .puller import Puller


class ImagePuller(Puller):
    """Pulls images and artifacts: ``async with ImagePuller(cache) as puller: …``

    `cache` None is one in memory; `wasmhold.image.options.Configuration` says what may be told
    beside it.  It may be made outside of the event loop in which it is used, which is one.
    """

    def __init__(self, cache: CacheHandle | None = None, **options: Unpack[Options]) -> None:
        """Raises ValueError, PlaceInvalid, PlatformInvalid."""
        configuration = Configuration(**options)
        super().__init__(
            cache, configuration, Connections(configuration.settings(), AsyncioRuntime)
        )

    @classmethod
    async def from_env(
        cls,
        environ: Mapping[str, str],
        /,
        *,
        optional_tiers: bool = False,
        **options: Unpack[Options],
    ) -> Self:
        """With caches, default registry, logins and proxies as `environ` says.

        `options` go before that.  `optional_tiers`: a cache that cannot be used is a warning.
        Raises CacheInvalid for a variable that cannot be taken; what building a cache does; as the
        constructor.
        """
        found = surroundings(environ, optional_tiers=optional_tiers)
        given: Options = {**found.options, **options}
        puller = cls(found.cache, **given)
        await found.tell(puller.configuration.on_event)
        return puller

    def replace(self, cache: CacheHandle | None = None, **changes: Unpack[Changes]) -> Self:
        """A copy that does some things in another way, over the same connections and counts.

        It ends when this one is closed.  Raises as the constructor.
        """
        return self.copied(cache, changes)

    async def aclose(self) -> None:
        """Close all connections, also those that others wait for; those of a copy live on."""
        self.close()
        runtime = self.connections.__dict__.get("runtime")
        if isinstance(runtime, AsyncioRuntime) and not self.is_copy:
            runtime.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()
