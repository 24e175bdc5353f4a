"""What one can do with a cache besides passing it on: every method once, as a coroutine.

`wasmhold.client` has it for asyncio, `wasmhold.sync` without a loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import aclosing, closing, contextmanager
from dataclasses import dataclass
from typing import Final

from ...oci.descriptor import Descriptor
from ...oci.digest import Digest
from ...oci.errors import BlobUnknown, ContentDamaged, TooLarge
from ...oci.limits import MIB
from ...ports.body import BytesSource, read_all
from ...ports.runtime import ClientRuntime
from . import images, prune
from .images import CachedImage
from .port import Cache, Kept, OfThisMachine, Record, RecordKey
from .prune import GRACE_S, PruneReport

_OCTETS: Final = "application/octet-stream"
_IN_MEMORY: Final = 256 * MIB


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """What a cache holds; `size` and `max_size` in bytes, None for no limit."""

    place: str
    max_size: int | None
    size: int
    blobs: int
    manifests: int
    images: int


@dataclass(frozen=True, slots=True)
class CacheChecked:
    """`count` blobs and manifests of `size` bytes were read; those that were `damaged` are gone."""

    count: int
    size: int
    damaged: tuple[Digest, ...]


class CacheMethods:
    """A cache by its engines; `place` for messages, `max_size` in bytes or None."""

    place: str
    max_size: int | None

    def engine(self, runtime: ClientRuntime) -> Cache:
        """What does the work under `runtime`; engines of one cache share its content."""
        raise NotImplementedError

    @contextmanager
    def runtime(self) -> Iterator[ClientRuntime]:
        """What one call of a method runs under: the event loop that is running."""
        from ..aio import AsyncioRuntime  # noqa: PLC0415

        with closing(AsyncioRuntime()) as runtime:
            yield runtime

    @contextmanager
    def _opened(self) -> Iterator[Cache]:
        with self.runtime() as runtime:
            yield self.engine(runtime)

    # ---- blobs

    async def stat(self, digest: Digest | str) -> int | None:
        """Bytes of a blob, None when it is not cached.  Raises DigestInvalid."""
        with self._opened() as cache:
            return await cache.blob_size(_digest(digest))

    async def get(self, digest: Digest | str, *, limit: int = _IN_MEMORY) -> bytes | None:
        """A blob, None when it is not cached.

        Raises TooLarge beyond `limit` bytes; DigestInvalid.
        """
        wanted = _digest(digest)
        with self._opened() as cache:
            try:
                async with aclosing(await cache.blob_open(wanted)) as body:
                    if body.size is not None and body.size > limit:
                        raise TooLarge(limit)
                    return await read_all(body)
            except BlobUnknown:
                return None

    async def put(self, content: bytes, digest: Digest | str | None = None) -> Digest:
        """Keep a blob; its digest.  Raises DigestMismatch where it is not `digest`."""
        named = Digest.of(content) if digest is None else _digest(digest)
        with self._opened() as cache:
            await cache.blob_put(Descriptor(_OCTETS, named, len(content)), BytesSource(content))
        return named

    async def delete(self, digest: Digest | str) -> None:
        """Forget a blob; it was not there: no error."""
        with self._opened() as cache:
            await cache.blob_delete(_digest(digest))

    async def digests(self) -> list[Digest]:
        """Those of all blobs, in order."""
        with self._opened() as cache:
            return sorted([kept.digest async for kept in cache.blobs()])

    # ---- all of it

    async def info(self) -> CacheInfo:
        with self._opened() as cache:
            blobs = [kept.size async for kept in cache.blobs()]
            manifests = [kept.size async for kept in cache.manifests()]
            records = [None async for _ in cache.records()]
        size = sum(blobs) + sum(manifests)
        return CacheInfo(self.place, self.max_size, size, len(blobs), len(manifests), len(records))

    async def size(self) -> int:
        """Bytes of all blobs and manifests."""
        return (await self.info()).size

    async def count(self) -> int:
        """How many blobs and manifests there are."""
        found = await self.info()
        return found.blobs + found.manifests

    async def verify(self) -> CacheChecked:
        """Read all of it; what is damaged is removed, so that it comes anew."""
        with self._opened() as cache:
            found = await (cache.check() if isinstance(cache, OfThisMachine) else _check(cache))
        damaged = tuple(kept.digest for kept, is_right in found if not is_right)
        return CacheChecked(len(found), sum(kept.size for kept, _ in found), damaged)

    async def clear(self) -> None:
        """Forget everything, also what was begun."""
        with self._opened() as cache:
            if isinstance(cache, OfThisMachine):
                await cache.clear()
                return
            for kept in [kept async for kept in cache.blobs()]:
                await cache.blob_delete(kept.digest)
            for kept in [kept async for kept in cache.manifests()]:
                await cache.manifest_delete(kept.digest)
            for record in [record async for record in cache.records()]:
                await cache.record_delete(record.key)

    async def prune(
        self,
        *,
        older_than_s: float = GRACE_S,
        dry_run: bool = False,
        keep: Iterable[Digest] = (),
    ) -> PruneReport:
        """Remove what no image leads to: through indexes, subjects, and what refers to either.

        What was put or used in the last `older_than_s` seconds stays, and so does what `keep`
        leads to.  A manifest that cannot be read ends it before anything is removed.
        """
        with self.runtime() as runtime:
            return await prune.prune(
                self.engine(runtime),
                runtime.now(),
                older_than_s=older_than_s,
                dry_run=dry_run,
                keep=keep,
            )

    # ---- images

    async def images(self) -> list[CachedImage]:
        """What was pulled by a name, in the order of names."""
        with self._opened() as cache:
            return await images.images(cache)

    async def records(self, prefix: str = "") -> list[Record]:
        """Those whose name, ``HOST/NAME:TAG``, begins with exactly `prefix`, in order."""
        with self._opened() as cache:
            return [record async for record in cache.records(prefix)]

    async def remove(self, reference: str) -> list[RecordKey]:
        """Forget the name of an image, as it is listed or as it was once written.

        What it led to is removed by `prune`, unless another name leads there.
        Raises ManifestUnknown.
        """
        with self._opened() as cache:
            return await images.remove(cache, reference)

    async def tag(self, source: str, target: str) -> Record:
        """Give an image the further name `target`, ``HOST/NAME:TAG``.

        Raises ManifestUnknown; NameInvalid, TagInvalid, DigestInvalid.
        """
        with self._opened() as cache:
            return await images.tag(cache, source, target)


async def _check(cache: Cache) -> list[tuple[Kept, bool]]:
    """By reading all of it, which then counts as used."""
    found = []
    for kept in [kept async for kept in cache.blobs()]:
        try:
            async with aclosing(await cache.blob_open(kept.digest)) as body:
                async for _ in body:
                    pass
            found.append((kept, True))
        except (BlobUnknown, ContentDamaged):
            found.append((kept, False))
    for kept in [kept async for kept in cache.manifests()]:
        found.append((kept, await cache.manifest_get(kept.digest) is not None))
    return found


def _digest(given: Digest | str) -> Digest:
    return given if isinstance(given, Digest) else Digest.parse(given)
