"""Opens places: one network, one set of credentials, and what of it is needed when it is."""

from __future__ import annotations

import os
from collections.abc import Callable

from ..ports.repository import Repository
from ..ports.runtime import ClientRuntime
from .credentials import Chain, Credentials, GitHubToken, UserCredentials
from .network import Network
from .place import Place, PlaceKind
from .places.archive import open_archive
from .places.layout import open_layout
from .places.remote import RemoteRepository
from .settings import Settings
from .transport import HttpTransport, Options


class SystemRandomness:
    """`ports.runtime.Randomness` of the operating system."""

    def token(self, size: int) -> bytes:
        return os.urandom(size)


class Opener:
    """Everything that it opened shares connections, tokens and logins."""

    def __init__(
        self, settings: Settings, runtime: ClientRuntime, warn: Callable[[str], None]
    ) -> None:
        self.settings, self.runtime = settings, runtime
        self.randomness = SystemRandomness()
        self.transport = HttpTransport(
            Options(
                environ=settings.environ,
                ca_file=settings.ca_file,
                insecure=settings.insecure,
                connect_timeout_s=settings.connect_timeout_s,
                read_timeout_s=settings.read_timeout_s,
            )
        )
        self.user = UserCredentials.load(settings.environ, runtime, warn, settings.credentials_file)
        self.credentials: Credentials = settings.credentials or Chain(
            self.user, GitHubToken(settings.environ)
        )
        self.network = Network(
            self.transport,
            runtime,
            self.randomness,
            warn,
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
            return open_layout(place.where, self.runtime)
        if place.kind is PlaceKind.ARCHIVE:
            return open_archive(place.where, self.runtime)
        if place.kind is PlaceKind.STORE:
            # It brings the registry and its store along.
            from .places.store import open_store

            return await open_store(
                place.where, place.name, self.runtime, self.randomness, create=create
            )
        return RemoteRepository(
            self.network, place.where, place.name, self.credentials, to_write=create
        )

    def close(self) -> None:
        self.transport.close()
