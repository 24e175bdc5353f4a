"""``cache:HOST/NAME[:TAG][@DIGEST]``: what a cache holds of a repository.

Content has no repository there: a digest names it, wherever it came from.  Tags are the records.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...oci.children import is_manifest, is_required
from ...oci.descriptor import Descriptor
from ...oci.digest import Digest
from ...oci.errors import ManifestBlobUnknown, ManifestUnknown, OutOfSpace
from ...oci.manifest import parse_manifest
from ...ports.body import Body
from ...ports.repository import BlobSource, Repository
from ...ports.runtime import Runtime
from ...ports.store import StoredManifest
from ..caches.port import Cache, Record, RecordKey
from ..reader import Direct, Reader
from ..verify import checked


class CacheRepository:
    """`ports.repository.Repository` over a cache.

    `to_write`: a manifest whose content has gone, or never came, is not there by its digest, so
    that a copy brings all of it.
    """

    def __init__(
        self, cache: Cache, host: str, name: str, runtime: Runtime, *, to_write: bool = False
    ) -> None:
        self.place = f"cache:{host}/{name}"
        self._cache, self._host, self._name = cache, host, name
        self._runtime, self._to_write = runtime, to_write
        self._subjects: dict[Digest, list[Descriptor]] | None = None

    def _key(self, tag: str) -> RecordKey:
        return RecordKey(self._host, self._name, tag)

    # ---- blobs

    async def blob_size(self, digest: Digest) -> int | None:
        return await self._cache.blob_size(digest)

    async def blob_open(self, digest: Digest, start: int = 0) -> Body:
        return await self._cache.blob_open(digest, start)

    async def blob_put(self, descriptor: Descriptor, source: BlobSource) -> None:
        past_it = Direct(source) if isinstance(source, Reader) else source
        await self._cache.blob_put(descriptor, past_it)
        if await self._cache.blob_size(descriptor.digest) is None:
            raise OutOfSpace(
                f"{self.place}: {descriptor.size} bytes are more than the cache may take"
            )

    async def blob_mount(self, digest: Digest, source: Repository) -> bool:
        return False  # the cache has it already, or nobody here has

    # ---- manifests

    async def resolve(self, reference: str | Digest) -> Descriptor | None:
        stored = await self._get(reference)
        if stored is None:
            return None
        wants_all = self._to_write and isinstance(reference, Digest)
        if wants_all and not await self._is_whole(stored):
            return None
        return stored.descriptor

    async def _is_whole(self, top: StoredManifest) -> bool:
        todo, seen = [top], {top.digest}
        while todo:
            for child in parse_manifest(todo.pop().content).children:
                if child.digest in seen or not is_required(child):
                    continue
                seen.add(child.digest)
                stored = None
                if is_manifest(child):
                    stored = await self._cache.manifest_get(child.digest)
                if stored is not None:
                    todo.append(stored)
                elif await self._cache.blob_size(child.digest) is None:
                    return False
        return True

    async def manifest_get(self, reference: str | Digest) -> StoredManifest:
        stored = await self._get(reference)
        if stored is None:
            raise ManifestUnknown(self.place, str(reference))
        return stored

    async def _get(self, reference: str | Digest) -> StoredManifest | None:
        if isinstance(reference, Digest):
            return await self._cache.manifest_get(reference)
        record = await self._cache.record_get(self._key(reference))
        return None if record is None else await self._cache.manifest_get(record.top.digest)

    async def manifest_put(self, stored: StoredManifest, tags: Sequence[str] = ()) -> None:
        absent = [
            str(child.digest)
            for child in checked(stored).children
            if is_required(child) and not await self._has(child)
        ]
        if absent:
            raise ManifestBlobUnknown(absent)
        await self._cache.manifest_put(stored)
        top = stored.descriptor
        for tag in tags:
            key = self._key(tag)
            await self._cache.record_put(Record(key, top, str(key), self._runtime.now()))
        self._subjects = None

    async def _has(self, child: Descriptor) -> bool:
        if is_manifest(child) and await self._cache.manifest_get(child.digest) is not None:
            return True
        return await self._cache.blob_size(child.digest) is not None

    async def manifest_delete(self, digest: Digest) -> None:
        """Other names that lead to it lead nowhere then."""
        await self.manifest_get(digest)
        for record in await self._records():
            if record.top.digest == digest:
                await self._cache.record_delete(record.key)
        await self._cache.manifest_delete(digest)
        self._subjects = None

    async def referrers(
        self, subject: Digest, artifact_type: str | None = None
    ) -> list[Descriptor]:
        """Of what the cache holds."""
        if self._subjects is None:
            self._subjects = await self._find_referrers()
        found = self._subjects.get(subject, [])
        return [d for d in found if artifact_type in (None, d.artifact_type)]

    async def _find_referrers(self) -> dict[Digest, list[Descriptor]]:
        subjects: dict[Digest, list[Descriptor]] = {}
        async for kept in self._cache.manifests():
            stored = await self._cache.manifest_get(kept.digest)
            if stored is None:
                continue
            manifest = parse_manifest(stored.content, stored.media_type)
            if manifest.subject is not None:
                descriptor = manifest.descriptor(kept.digest, len(stored.content))
                subjects.setdefault(manifest.subject.digest, []).append(descriptor)
        for found in subjects.values():
            found.sort(key=lambda descriptor: descriptor.digest)
        return subjects

    # ---- tags

    async def _records(self) -> list[Record]:
        """Those of this repository, by their tags."""
        prefix = str(self._key(""))
        return [record async for record in self._cache.records(prefix)]

    async def tags(self, after: str = "", limit: int = 1000) -> list[str]:
        tags = (record.key.tag for record in await self._records())
        return [tag for tag in tags if tag > after][:limit]

    async def tag_delete(self, tag: str) -> None:
        if await self._cache.record_get(self._key(tag)) is None:
            raise ManifestUnknown(self.place, tag)
        await self._cache.record_delete(self._key(tag))

    async def flush(self) -> None:
        return

    async def aclose(self) -> None:
        return
