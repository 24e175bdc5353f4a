"""A puller as the environment says: its caches, its default registry, the user's logins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from ..client.caches.blob_cache import BlobCache
from ..client.caches.config import CacheConfig
from ..client.caches.port import CacheHandle
from ..oci.errors import WasmholdError
from .events import OnEvent, Teller, Warned
from .options import Options

H = TypeVar("H")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """`options` are those that nobody has given; `warnings` say what goes on without."""

    cache: CacheHandle
    options: Options
    warnings: list[Warned]

    async def tell(self, listener: OnEvent | None) -> None:
        """Tell the warnings."""
        teller = Teller(listener)
        for warned in self.warnings:
            await teller.tell(warned)


def surroundings(environ: Mapping[str, str], *, optional_tiers: bool) -> Surroundings:
    """What `client.caches.config` reads of `environ`, built.

    `optional_tiers`: a cache that cannot be used is a warning, else its error is raised.  Raises
    CacheInvalid for a variable that says no cache, in any case.
    """
    config = CacheConfig.from_env(environ)
    warnings: list[Warned] = []

    def tier(build: Callable[[], H], instead: H) -> H:
        try:
            return build()
        except WasmholdError as error:
            if not optional_tiers:
                raise
            warnings.append(Warned("cache-start", f"going on without a cache: {error}"))
            return instead

    in_memory: CacheHandle = BlobCache.memory()
    cache = tier(config.build, in_memory)
    shared = tier(config.build_shared, None)
    options = Options(
        environ=environ,
        user_logins=True,
        shared_cache=shared,
        default_registry=config.default_registry,
    )
    return Surroundings(cache, options, warnings)
