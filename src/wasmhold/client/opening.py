"""Opens places: one network and one set of credentials for all of them.

What a kind of place needs is imported when one is opened: a layout needs no network.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from ..ports.repository import Repository
from ..ports.runtime import ClientRuntime
from .place import Place, PlaceKind
from .settings import Settings

if TYPE_CHECKING:
    from .caches.port import Cache
    from .credentials import Credentials, UserCredentials
    from .network import Network
    from .transport import Options, Transport


class SystemRandomness:
    """`ports.runtime.Randomness` of the operating system."""

    def token(self, size: int) -> bytes:
        return os.urandom(size)


class Opener:
    """Everything that it opened shares connections, tokens and logins."""

    def __init__(
        self, settings: Settings, runtime: ClientRuntime, warn: Callable[[str], None]
    ) -> None:
        self.settings, self.runtime, self.warn = settings, runtime, warn
        self.randomness = SystemRandomness()

    @cached_property
    def user(self) -> UserCredentials:
        from .credentials import UserCredentials

        settings = self.settings
        return UserCredentials.load(
            settings.environ, self.runtime, self.warn, settings.credentials_file
        )

    @cached_property
    def credentials(self) -> Credentials:
        from .credentials import Chain, GitHubToken

        given = self.settings.credentials
        return given or Chain(self.user, GitHubToken(self.settings.environ))

    @cached_property
    def cache(self) -> Cache:
        """That of the settings, else the one of this machine."""
        from .caches.config import CacheConfig, CacheKind

        environ = self.settings.environ
        if self.settings.cache is not None:
            return self.settings.cache.engine(self.runtime)
        named = CacheConfig.from_env(environ)
        if named.kind is CacheKind.MEMORY:  # which others have not filled
            named = CacheConfig.parse("disk", environ)
        return named.build().engine(self.runtime)

    @cached_property
    def transport(self) -> Transport:
        from .transport import HttpTransport

        certificate = self.settings.client_certificate
        return HttpTransport(replace(self._options, client_certificate=certificate))

    @cached_property
    def outside(self) -> Transport:
        """For URLs that others have written: it leads to fewer hosts, and shows no certificate."""
        from .transport import HttpTransport, Reach

        settings = self.settings
        reach = Reach(settings.plain_http, settings.allow_private_urls)
        return HttpTransport(replace(self._options, reach=reach))

    @property
    def _options(self) -> Options:
        from .transport import Options

        settings = self.settings
        options = Options(
            environ=settings.environ,
            ca_file=settings.ca_file,
            insecure=settings.insecure,
            connect_timeout_s=settings.connect_timeout_s,
            read_timeout_s=settings.read_timeout_s,
        )
        if settings.user_agent is not None:
            options = replace(options, user_agent=settings.user_agent)
        return options

    @cached_property
    def network(self) -> Network:
        from .network import Network

        settings = self.settings
        return Network(
            self.transport,
            self.runtime,
            self.randomness,
            self.warn,
            plain_http=settings.plain_http,
            retries=settings.retries,
        )

    async def open(self, place: Place, *, create: bool = False) -> Repository:
        """The repository of a place; whoever gets it closes it.

        `create`: it will be written to.  A store's directory is made where it is missing, layouts
        and archives are made by the first write, and a registry is asked with the right to push.
        Raises NameUnknown, StoreUnavailable for a store.
        """
        if place.kind is PlaceKind.LAYOUT:
            from .places.layout import open_layout

            return open_layout(place.where, self.runtime)
        if place.kind is PlaceKind.ARCHIVE:
            from .places.archive import open_archive

            return open_archive(place.where, self.runtime)
        if place.kind is PlaceKind.DOCKER:
            from .places.docker import open_docker_archive

            return open_docker_archive(place.where, place.name, self.runtime)
        if place.kind is PlaceKind.STORE:
            from .places.store import open_store

            return await open_store(
                place.where, place.name, self.runtime, self.randomness, create=create
            )
        if place.kind is PlaceKind.PACKAGES:
            from .places.packages import PackageFolder

            return PackageFolder(place.where, place.name, self.runtime)
        if place.kind is PlaceKind.CACHE:
            from .places.cache import CacheRepository

            return CacheRepository(
                self.cache, place.where, place.name, self.runtime, to_write=create
            )
        if self.settings.cache is not None and not create:
            from .places.cached import CachedRemote

            return CachedRemote(
                self.network,
                place.where,
                place.name,
                self.credentials,
                self.cache,
                self.runtime,
                self.warn,
            )
        from .places.remote import RemoteRepository

        return RemoteRepository(
            self.network, place.where, place.name, self.credentials, to_write=create
        )

    def close(self) -> None:
        for name in {"transport", "outside"} & self.__dict__.keys():
            getattr(self, name).close()
