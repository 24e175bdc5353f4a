"""What a puller is made of, once it is needed."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Self

from ..client.caches.blob_cache import BlobCache
from ..client.caches.port import CacheHandle, InFiles
from ..client.credentials import Auth
from ..client.platforms import Platform
from ..oci.descriptor import Descriptor
from ..oci.digest import Digest
from ..ports.runtime import ClientRuntime
from .blobs import Blobs
from .call import Call
from .connections import Connections
from .events import OnEvent, Teller
from .manifests import Manifests
from .moving import Stream
from .options import Changes, Configuration, as_platform
from .policy import PullPolicy, Source, SourcePolicy
from .reference import ImageReference
from .stats import Stats
from .tiers import CacheTier, LocalTier


def _never() -> bool:
    return False


class Parts:
    """A cache, a configuration and connections; `is_copy`: the connections are another's."""

    is_copy = False

    def __init__(
        self,
        cache: CacheHandle | None,
        configuration: Configuration,
        connections: Connections,
    ) -> None:
        self.cache = BlobCache.memory() if cache is None else cache
        self.configuration = configuration
        self.connections = connections

    def copied(self, cache: CacheHandle | None, changes: Changes) -> Self:
        """What does some things in another way, over the same connections."""
        other = type(self).__new__(type(self))
        other.is_copy = True
        Parts.__init__(
            other,
            self.cache if cache is None else cache,
            replace(self.configuration, **changes),
            self.connections,
        )
        return other

    @property
    def runtime(self) -> ClientRuntime:
        return self.connections.runtime

    @cached_property
    def _caches(self) -> list[CacheTier]:
        shared = self.configuration.shared_cache
        tiers = [CacheTier(Source.CACHE, self.cache.engine(self.runtime))]
        if shared is not None:
            tiers.append(CacheTier(Source.SHARED, shared.engine(self.runtime)))
        return tiers

    @cached_property
    def _local(self) -> LocalTier | None:
        registry = self.configuration.local_registry
        return None if registry is None else LocalTier(registry.engine(self.runtime))

    @cached_property
    def manifests(self) -> Manifests:
        configuration = self.configuration
        return Manifests(
            self._local,
            self._caches,
            configuration.mirrors_of,
            configuration.pinned_tags,
            configuration.stale_if_error,
        )

    @cached_property
    def blobs(self) -> Blobs:
        return Blobs(self._local, self._caches, self.manifests)

    def prepare(self) -> None:
        """Make all of it now, before several threads come to use it."""
        _ = self.blobs, self.connections.opener.network

    def call(
        self,
        image: str,
        auth: Auth | None = None,
        policy: PullPolicy | str | None = None,
        on_event: OnEvent | None = None,
    ) -> Call:
        """One operation, as its arguments and the configuration say.

        Raises NameInvalid, TagInvalid, DigestInvalid; ValueError for a policy.
        """
        configuration = self.configuration
        given = ImageReference.parse(image)
        return Call(
            given.within(configuration.registry),
            given.qualified or configuration.registry is not None,
            auth,
            PullPolicy(configuration.policy if policy is None else policy),
            SourcePolicy(configuration.source_policy),
            Teller(on_event or configuration.on_event),
            self.connections,
            _never,
        )

    def platform(self, platform: Platform | str | None = None) -> Platform:
        """The one that is asked for, else the configured one, else that of this machine.

        Raises PlatformInvalid.
        """
        wanted = as_platform(platform) or self.configuration.wanted_platform()
        return wanted or Platform.host()

    @property
    def stats(self) -> Stats:
        """What it, and its copies, have done so far."""
        return self.connections.stats

    def path(self, digest: Digest) -> str | None:
        """Where a blob lies, while the cache keeps it; None where that is on no disk."""
        cache = self._caches[0].cache
        return cache.blob_path(digest) if isinstance(cache, InFiles) else None

    def close(self) -> None:
        """Close all connections, also those that others wait for; those of a copy live on."""
        if not self.is_copy:
            self.connections.close()


class Again:
    """Opens the blobs of a pull by the rules of that pull."""

    def __init__(self, parts: Parts, call: Call) -> None:
        self._parts, self._call = parts, call

    async def open(self, descriptor: Descriptor) -> Stream:
        return await self._parts.blobs.open(self._call, descriptor)

    def path(self, digest: Digest) -> str | None:
        return self._parts.path(digest)
