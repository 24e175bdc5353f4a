"""Blobs: moved into the cache from the nearest place that has them, and verified from anywhere.

The cache's `blob_put` is the single flight: of all who want a blob at one time, one fetches it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, replace

from ..client.events import nobody
from ..client.places.remote import RemoteRepository
from ..client.reader import Opens, Reader
from ..client.urls import foreign_blobs, is_elsewhere
from ..oci.descriptor import Descriptor
from ..oci.digest import Digest
from ..oci.errors import (
    BlobUnknown,
    Cancelled,
    ContentDamaged,
    DigestMismatch,
    SizeInvalid,
    WasmholdError,
)
from ..ports.body import Body, ChunksBody, read_start
from .call import Call
from .events import BlobSkipped
from .manifests import Manifests, not_found
from .moving import Moving, Stream, Verified
from .policy import Source, blob_order
from .tiers import CacheTier, LocalTier

_OCTETS = "application/octet-stream"
_TRIES = 5  # to open what is cached, while others remove things there
_HERE = (Source.LOCAL, Source.CACHE)  # where nothing is moved from


@dataclass(frozen=True, slots=True)
class _Near:
    """Where a blob can be read now; `source` is where it came from."""

    source: Source
    place: Opens
    is_cached: bool = False


class _Lost(BlobUnknown):
    """The cache had it a moment ago."""


class Blobs:
    """`caches` are the own one, then the shared one, where there is one."""

    def __init__(
        self, local: LocalTier | None, caches: Sequence[CacheTier], manifests: Manifests
    ) -> None:
        self._local, self._caches, self._manifests = local, caches, manifests
        self._own = caches[0]

    async def describe(self, call: Call, digest: Digest, size: int | None) -> Descriptor:
        """A blob of which the digest alone is known, or its size too.  Raises BlobUnknown."""
        if size is not None:
            return Descriptor(_OCTETS, digest, size)
        for source in blob_order(call.policy, call.sources):
            size = await self._size(call, source, digest)
            if size is not None:
                return Descriptor(_OCTETS, digest, size)
        raise BlobUnknown(call.image.repository, str(digest))

    async def _size(self, call: Call, source: Source, digest: Digest) -> int | None:
        if source is Source.LOCAL and self._local is not None:
            async with self._local.blob(call, digest) as repository:
                return None if repository is None else await repository.blob_size(digest)
        if source is Source.ORIGIN and call.has_origin:
            return await self._manifests.remotes(call).blob_size(digest)
        for tier in self._of(source):
            return await tier.blob_size(call, digest)
        return None

    def _of(self, source: Source) -> list[CacheTier]:
        return [tier for tier in self._caches if tier.source is source]

    async def fetch(self, call: Call, blobs: Sequence[Descriptor], limit: int) -> list[Source]:
        """Have all of them near, at most `limit` side by side; where each was.

        Raises BlobUnknown, ImageNotFound; DigestMismatch, SizeInvalid; what the origin does.
        """
        failed: list[BaseException] = []
        within = replace(call, stopped=lambda: bool(failed))

        async def one(descriptor: Descriptor) -> Source:
            try:
                async with self._located(within, descriptor) as near:
                    if near.source in _HERE:
                        await call.tell(BlobSkipped(descriptor.digest, near.source.value))
                    return near.source
            except BaseException as error:
                failed.append(error)  # the others end at their next chunk
                raise

        try:
            return await call.connections.runtime.map(one, blobs, limit)
        except Cancelled:
            if failed:
                # One that was stopped may have come to its end before the one that stopped it.
                raise failed[0] from None
            raise

    async def open(self, call: Call, descriptor: Descriptor) -> Stream:
        """Its bytes, verified when they have been read to the end.  Raises as `fetch`."""
        for _ in range(_TRIES - 1):
            # It was damaged, or room was needed: from farther away, then.
            with suppress(_Lost):
                return await self._opened(call, descriptor)
        return await self._opened(call, descriptor)

    async def _opened(self, call: Call, descriptor: Descriptor) -> Stream:
        async with AsyncExitStack() as held:
            near = await held.enter_async_context(self._located(call, descriptor))
            if near.is_cached:
                try:
                    body = await near.place.blob_open(descriptor.digest)
                except BlobUnknown as error:
                    raise _Lost(error.name, error.digest) from error
                return Stream(body, descriptor, held.pop_all())
            moving = self._moving(call, near, descriptor, silent=near.source is Source.LOCAL)
            body = await moving.open(0)
            if near.source is Source.SHARED and call.has_origin:
                body = ChunksBody(body.size, self._rescued(call, body, descriptor))
            return Stream(Verified(body, moving), descriptor, held.pop_all())
        raise AssertionError("the stack swallows nothing")

    async def _rescued(
        self, call: Call, body: Body, descriptor: Descriptor
    ) -> AsyncGenerator[bytes, None]:
        """The bytes of the shared cache; where it breaks with them, a registry has the rest."""
        at = 0
        try:
            async with aclosing(body):
                async for chunk in body:
                    at += len(chunk)
                    yield chunk
            return
        except (Cancelled, ContentDamaged):  # what was damaged leaves nothing to go on from
            raise
        except WasmholdError as error:
            for tier in self._of(Source.SHARED):
                await tier.unreadable(call, error)
        near = await self._from_remote(call, descriptor)
        if near.is_cached:
            opened = await near.place.blob_open(descriptor.digest, at)
        else:
            opened = await self._moving(call, near, descriptor, silent=True).open(at)
        async with aclosing(opened):
            async for chunk in opened:
                yield chunk

    async def start(self, call: Call, descriptor: Descriptor, size: int) -> bytes:
        """Its first `size` bytes, from the nearest place; they are not verified, and not kept.

        Raises as `fetch`.
        """
        digest = descriptor.digest
        for source in blob_order(call.policy, call.sources):
            if source is Source.LOCAL and self._local is not None:
                async with self._local.blob(call, digest) as repository:
                    if repository is not None:
                        return await _start(repository, digest, size)
            for tier in self._of(source):
                if await tier.blob_size(call, digest) is not None:
                    try:
                        return await _start(tier.cache, digest, size)
                    except Cancelled:
                        raise
                    except WasmholdError as error:
                        await tier.unreadable(call, error)
            if source is Source.ORIGIN and call.has_origin:
                return await self._manifests.remotes(call).blob_start(digest, size)
        raise not_found(call, digest)

    @asynccontextmanager
    async def _located(self, call: Call, descriptor: Descriptor) -> AsyncIterator[_Near]:
        """Where the blob can be read, nearer than it was if it was far."""
        digest, stats = descriptor.digest, call.connections.stats
        for source in blob_order(call.policy, call.sources):
            if source is Source.LOCAL and self._local is not None:
                async with self._local.blob(call, digest) as repository:
                    stats.asked(source, hit=repository is not None)
                    if repository is not None:
                        yield _Near(source, repository)
                        return
            for tier in self._of(source):
                near = await self._from_cache(call, tier, descriptor)
                stats.asked(source, hit=near is not None)
                if near is not None:
                    yield near
                    return
            if source is Source.ORIGIN and call.has_origin:
                yield await self._from_remote(call, descriptor)
                return
        raise not_found(call, digest)

    async def _from_cache(
        self, call: Call, tier: CacheTier, descriptor: Descriptor
    ) -> _Near | None:
        """None where the cache has it not, or a shared one gives other bytes, or fails with it.

        Raises SizeInvalid where the descriptor says another size than that of its digest.
        """
        size = await tier.blob_size(call, descriptor.digest)
        if size is None:
            return None
        if tier is self._own:
            if size != descriptor.size:
                if await self._is_right(descriptor.digest):
                    raise SizeInvalid(descriptor.size, size)
                return None
            return _Near(tier.source, tier.cache, is_cached=True)
        try:
            if size != descriptor.size:
                raise SizeInvalid(descriptor.size, size)
            return await self._moved(call, _Near(tier.source, tier.cache), descriptor)
        except Cancelled:
            raise
        except WasmholdError as error:
            await tier.unreadable(call, error)
            return None

    async def _is_right(self, digest: Digest) -> bool:
        """Whether it is the descriptor that lies; what is damaged is dropped as it is opened."""
        try:
            await (await self._own.cache.blob_open(digest)).aclose()
        except BlobUnknown:
            return False
        return True

    async def _from_remote(self, call: Call, descriptor: Descriptor) -> _Near:
        """From the first registry that has the right bytes, else from where its URLs lead.

        Raises what the origin does, or the last of the URLs.
        """
        try:
            return await self._from_registries(call, descriptor)
        except WasmholdError as error:
            if not (descriptor.urls and is_elsewhere(error)):
                raise
            return await self._from_urls(call, descriptor, error)

    async def _from_urls(self, call: Call, descriptor: Descriptor, last: WasmholdError) -> _Near:
        opener = call.connections.opener
        for blob in foreign_blobs(opener.outside, opener.runtime, descriptor):
            try:
                found = await self._moved(call, _Near(Source.URL, blob), descriptor)
            except Cancelled:
                raise
            except WasmholdError as error:
                last = error
            else:
                call.connections.stats.asked(Source.URL, hit=True)
                return found
        raise last

    async def _from_registries(self, call: Call, descriptor: Descriptor) -> _Near:
        async def move(registry: RemoteRepository, source: Source) -> _Near | None:
            found = await self._moved(call, _Near(source, registry), descriptor)
            if found.is_cached or (source is Source.ORIGIN and not descriptor.urls):
                return found
            # It is read where it is, if it is there.
            return found if await registry.blob_size(descriptor.digest) is not None else None

        found = await self._manifests.remotes(call).first(move)
        if found is None:
            raise BlobUnknown(call.image.repository, str(descriptor.digest))
        return found

    async def _moved(self, call: Call, far: _Near, descriptor: Descriptor) -> _Near:
        """Into the own cache, and what was far into the shared one; where it can be read then."""
        moving = self._moving(call, far, descriptor)
        if not await self._put(call, self._own, descriptor, moving):
            return far
        near = _Near(far.source, self._own.cache, is_cached=True)
        if far.source is not Source.SHARED:
            for tier in self._of(Source.SHARED):
                await self._share(call, tier, near, descriptor)
        return near

    async def _share(
        self, call: Call, tier: CacheTier, near: _Near, descriptor: Descriptor
    ) -> None:
        """What cannot be shared is here all the same."""
        try:
            await tier.cache.blob_put(descriptor, self._moving(call, near, descriptor, silent=True))
        except Cancelled:
            raise
        except WasmholdError as error:
            await tier.unwritable(call, error)

    async def _put(
        self, call: Call, tier: CacheTier, descriptor: Descriptor, moving: Moving
    ) -> bool:
        """Whether the cache has it then; one that cannot be written is a warning."""
        try:
            await tier.cache.blob_put(descriptor, moving)
        except (Cancelled, DigestMismatch, SizeInvalid):
            raise
        except WasmholdError as error:
            if moving.failed is not None:
                raise moving.failed from error
            await tier.unwritable(call, error)
            return False
        if await tier.blob_size(call, descriptor.digest) is None:
            return False  # it is larger than the whole cache
        await moving.done()
        return True

    def _moving(
        self, call: Call, at: _Near, descriptor: Descriptor, *, silent: bool = False
    ) -> Moving:
        reader = Reader(at.place, descriptor, call.connections.runtime, nobody, call.stopped)
        return Moving(call, reader, at.source, silent=silent)


async def _start(place: Opens, digest: Digest, size: int) -> bytes:
    async with aclosing(await place.blob_open(digest)) as body:
        return await read_start(body, size)
