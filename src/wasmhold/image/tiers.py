"""The places that may have an image: this machine's registry, caches, mirrors and the origin.

Caches and mirrors are there for speed: what they cannot do is told as a warning, and the next place
is asked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from ..client.caches.port import Cache, Record, RecordKey
from ..client.credentials import Auth
from ..client.places.remote import RemoteRepository
from ..oci.descriptor import Descriptor
from ..oci.digest import Digest
from ..oci.errors import Cancelled, NameInvalid, NotFound, WasmholdError
from ..oci.reference import parse_name
from ..ports.repository import Repository
from ..ports.store import StoredManifest
from .call import Call
from .errors import AmbiguousReference
from .options import LocalImages
from .policy import Source, is_outage
from .reference import ends_with

R = TypeVar("R")


class CacheTier:
    """The own cache, or the one that several machines share."""

    def __init__(self, source: Source, cache: Cache) -> None:
        self.source, self.cache = source, cache

    async def find(self, call: Call, reference: str | Digest) -> StoredManifest | None:
        """A manifest by its digest, or by what a tag of the call's repository last led to."""
        try:
            if isinstance(reference, Digest):
                return await self.cache.manifest_get(reference)
            record = await self.cache.record_get(key_of(call, reference))
            return None if record is None else await self.cache.manifest_get(record.top.digest)
        except Cancelled:
            raise
        except WasmholdError as error:
            await self.unreadable(call, error)
            return None

    async def keep(self, call: Call, stored: StoredManifest, tag: str | None) -> None:
        """Keep a manifest and, with a `tag`, that it led there."""
        try:
            await self.cache.manifest_put(stored)
            if tag is not None:
                top = stored.descriptor
                now = call.connections.runtime.now()
                record = Record(key_of(call, tag), top, call.image.original, now)
                await self.cache.record_put(record)
        except Cancelled:
            raise
        except WasmholdError as error:
            await self.unwritable(call, error)

    async def blob_size(self, call: Call, digest: Digest) -> int | None:
        try:
            return await self.cache.blob_size(digest)
        except Cancelled:
            raise
        except WasmholdError as error:
            await self.unreadable(call, error)
            return None

    async def unreadable(self, call: Call, error: WasmholdError) -> None:
        await call.warn("cache-read", f"{self.cache.place} cannot be read: {error}")

    async def unwritable(self, call: Call, error: WasmholdError) -> None:
        await call.warn("cache-write", f"{self.cache.place} cannot be written: {error}")


def key_of(call: Call, tag: str) -> RecordKey:
    return RecordKey(call.image.registry, call.image.name, tag)


class LocalTier:
    """Images of this machine.  A bare name may be short for one of another registry."""

    source = Source.LOCAL

    def __init__(self, images: LocalImages) -> None:
        self._images = images

    async def find(self, call: Call, reference: str | Digest) -> StoredManifest | None:
        """Raises AmbiguousReference where a bare name may be several images."""
        for name in call.image.local_names:
            async with self._opened(name) as repository:
                if repository is not None and (found := await _get(repository, reference)):
                    return found
        found_at: dict[Digest, tuple[str, StoredManifest]] = {}
        for name in await self._longer_names(call):
            async with self._opened(name) as repository:
                if repository is not None and (found := await _get(repository, reference)):
                    found_at.setdefault(found.digest, (name, found))
        if len(found_at) > 1:
            names = [f"{name}@{digest}" for digest, (name, _) in found_at.items()]
            raise AmbiguousReference(call.image.original, names)
        return next((stored for _, stored in found_at.values()), None)

    @asynccontextmanager
    async def blob(self, call: Call, digest: Digest) -> AsyncIterator[Repository | None]:
        """The repository of the image that has the blob, until the block ends."""
        for name in (*call.image.local_names, *await self._longer_names(call)):
            async with self._opened(name) as repository:
                if repository is not None and await repository.blob_size(digest) is not None:
                    yield repository
                    return
        yield None

    async def _longer_names(self, call: Call) -> Sequence[str]:
        """Those whose last parts are the bare name that was given."""
        if call.image.qualified:
            return ()
        given, short = call.image.local_names, call.image.local_names[0]
        names = await self._images.names()
        return [name for name in names if name not in given and ends_with(name, short)]

    @asynccontextmanager
    async def _opened(self, name: str) -> AsyncIterator[Repository | None]:
        try:
            # A host with a port is no part of a repository's name.
            repository = await self._images.repository(parse_name(name))
        except (NotFound, NameInvalid):
            yield None
            return
        try:
            yield repository
        finally:
            await repository.aclose()


async def _get(repository: Repository, reference: str | Digest) -> StoredManifest | None:
    try:
        return await repository.manifest_get(reference)
    except NotFound:
        return None


class Remotes:
    """The registries that may be asked for an image: mirrors, then its own."""

    def __init__(self, call: Call, mirrors: Sequence[str]) -> None:
        self._call = call
        self._mirrors = mirrors

    def all(self) -> list[tuple[Source, RemoteRepository]]:
        """In the order in which they are asked.

        The credentials of a call are for the registry that it names: a mirror has its own.
        """
        image = self._call.image
        found = []
        for mirror in self._mirrors:
            host, _, prefix = mirror.partition("/")
            name = f"{prefix}/{image.name}" if prefix else image.name
            if not self._call.connections.is_resting(host):
                found.append((Source.MIRROR, self._open(host, name, None)))
        return [*found, (Source.ORIGIN, self._open(image.registry, image.name, self._call.auth))]

    def _open(self, host: str, name: str, auth: Auth | None) -> RemoteRepository:
        repository = self._call.connections.repository(host, name, auth)
        return repository.heard_by(self._call.retry)

    async def passed_over(self, repository: RemoteRepository, error: WasmholdError) -> None:
        """Another is asked; one that does not answer has a rest."""
        if is_outage(error):
            self._call.connections.rest(repository.host)
        await self._call.warn("mirror", f"mirror {repository.place} is passed over: {error}")

    async def first(
        self, ask: Callable[[RemoteRepository, Source], Awaitable[R | None]]
    ) -> R | None:
        """What the first that has an answer says; the origin's may be None.

        What a mirror lacks or refuses another may have.  Raises what the origin does.
        """
        stats = self._call.connections.stats
        *mirrors, (_, origin) = self.all()
        for source, mirror in mirrors:
            try:
                if (found := await ask(mirror, source)) is not None:
                    stats.asked(source, hit=True)
                    return found
            except Cancelled:
                raise
            except NotFound:
                pass
            except WasmholdError as error:
                await self.passed_over(mirror, error)
            stats.asked(source, hit=False)
        try:
            found = await ask(origin, Source.ORIGIN)
        except NotFound:
            stats.asked(Source.ORIGIN, hit=False)
            raise
        stats.asked(Source.ORIGIN, hit=found is not None)
        return found

    async def resolve(self, reference: str | Digest) -> Descriptor | None:
        return await self.first(lambda registry, _: registry.resolve(reference))

    async def manifest(self, reference: str | Digest) -> tuple[Source, StoredManifest]:
        async def get(registry: RemoteRepository, source: Source) -> tuple[Source, StoredManifest]:
            return source, await registry.manifest_get(reference)

        found = await self.first(get)
        assert found is not None, "who has it not raises"
        return found

    async def blob_size(self, digest: Digest) -> int | None:
        return await self.first(lambda registry, _: registry.blob_size(digest))

    async def blob_start(self, digest: Digest, size: int) -> bytes:
        """The first bytes, not verified."""
        found = await self.first(lambda registry, _: registry.blob_start(digest, size))
        assert found is not None, "who has it not raises"
        return found
