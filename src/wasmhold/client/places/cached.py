"""A repository in a registry that is read by way of a cache.

Tags are asked for at the registry every time; what has a digest comes from the cache where it is
there.  The cache is there for speed alone: what it cannot do is a warning.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

from ...oci.descriptor import Descriptor
from ...oci.digest import Digest
from ...oci.errors import (
    BlobUnknown,
    Cancelled,
    ContentDamaged,
    DigestMismatch,
    SizeInvalid,
    WasmholdError,
)
from ...ports.body import Body, ChunksBody
from ...ports.runtime import ClientRuntime
from ...ports.store import StoredManifest
from ..caches.port import Cache, Record, RecordKey
from ..credentials import Credentials
from ..network import Network
from ..reader import Direct, Reader
from .remote import RemoteRepository

T = TypeVar("T")


class CachedRemote(RemoteRepository):
    """`client.reader.KeepsBlobs`; `warn` is told once that the cache does not work."""

    def __init__(
        self,
        network: Network,
        host: str,
        name: str,
        credentials: Credentials | None,
        cache: Cache,
        runtime: ClientRuntime,
        warn: Callable[[str], None],
    ) -> None:
        super().__init__(network, host, name, credentials)
        self._cache, self._runtime, self._warn = cache, runtime, warn
        self._has_warned = False
        self._asked: dict[Digest, str] = {}  # tags that were resolved, by what they lead to

    async def _tried(self, attempt: Awaitable[T]) -> T | None:
        try:
            return await attempt
        except Cancelled:
            raise
        except WasmholdError as error:
            self._tell(error)
            return None

    def _tell(self, error: WasmholdError) -> None:
        if not self._has_warned:
            self._has_warned = True
            self._warn(f"cache {self._cache.place}: {error}; the registry is asked instead")

    # ---- manifests

    async def resolve(self, reference: str | Digest) -> Descriptor | None:
        if isinstance(reference, Digest):
            stored = await self._tried(self._cache.manifest_get(reference))
            if stored is not None:
                return Descriptor(stored.media_type, stored.digest, len(stored.content))
        found = await super().resolve(reference)
        if found is not None and isinstance(reference, str):
            self._asked[found.digest] = reference
        return found

    async def manifest_get(self, reference: str | Digest) -> StoredManifest:
        stored = None
        if isinstance(reference, Digest):
            stored = await self._tried(self._cache.manifest_get(reference))
        is_cached = stored is not None
        stored = stored or await super().manifest_get(reference)
        tag = self._asked.get(stored.digest) if isinstance(reference, Digest) else reference
        await self._tried(self._keep(stored, is_cached, tag))
        return stored

    async def _keep(self, stored: StoredManifest, is_cached: bool, tag: str | None) -> None:
        if not is_cached:
            await self._cache.manifest_put(stored)
        if tag is not None:
            top = Descriptor(stored.media_type, stored.digest, len(stored.content))
            key = RecordKey(self.host, self.name, tag)
            await self._cache.record_put(Record(key, top, str(key), self._runtime.now()))

    # ---- blobs

    async def blob_size(self, digest: Digest) -> int | None:
        size = await self._tried(self._cache.blob_size(digest))
        return await super().blob_size(digest) if size is None else size

    async def kept(self, reader: Reader, start: int) -> Body:
        """Raises what comes from the registry; ContentDamaged, of the cache, which has it no more;
        DigestMismatch, SizeInvalid; Cancelled.
        """
        body = await self._opened(reader.descriptor, start)
        if body is None:
            try:
                await self._cache.blob_put(reader.descriptor, Direct(reader))
            except (Cancelled, DigestMismatch, SizeInvalid):
                raise
            except WasmholdError as error:
                if reader.failed is not None:
                    raise
                self._tell(error)
            else:
                body = await self._opened(reader.descriptor, start)
        if body is None:
            return reader.direct(start)  # it is larger than the whole cache
        return ChunksBody(body.size, self._rescued(body, reader, start))

    async def _opened(self, descriptor: Descriptor, start: int) -> Body | None:
        async def open_it() -> Body | None:
            try:
                body = await self._cache.blob_open(descriptor.digest, start)
            except BlobUnknown:
                return None
            if body.size == descriptor.size - start:
                return body
            await body.aclose()  # others have been at a cache that several machines share
            return None

        return await self._tried(open_it())

    async def _rescued(self, body: Body, reader: Reader, start: int) -> AsyncGenerator[bytes, None]:
        """The bytes of the cache; where it breaks with them, the registry has the rest.

        Raises ContentDamaged where they were wrong, which leaves nothing to go on from.
        """
        at = start
        try:
            async with aclosing(body):
                async for chunk in body:
                    at += len(chunk)
                    yield chunk
        except (Cancelled, ContentDamaged):
            raise
        except WasmholdError as error:
            self._tell(error)
        if at < reader.descriptor.size:
            async with aclosing(reader.direct(at)) as rest:
                async for chunk in rest:
                    yield chunk
