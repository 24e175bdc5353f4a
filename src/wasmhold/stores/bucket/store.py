"""`ports.store.Store` over a bucket: the nouns, put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from ...oci.descriptor import Descriptor
from ...oci.digest import Digest
from ...oci.manifest import Manifest
from ...ports.body import Body
from ...ports.runtime import Randomness, Runtime
from ...ports.store import Collected, StoredManifest, TagGuard
from . import keys
from .blobs import BucketBlobs
from .cells import THERE, Cells, state_of
from .collect import Collector
from .manifests import BucketManifests
from .port import PAGE, Bucket
from .referrers import BucketReferrers
from .tags import BucketTags
from .uploads import BucketUploads

COLLECTION_EVERY_S: Final = 3600.0
COLLECTION_GRACE_S: Final = 3600.0  # so long a push may take from its first blob to its manifest


class BucketStore:
    """A store in `bucket`; any number of them, in any number of processes, may share it."""

    def __init__(self, bucket: Bucket, runtime: Runtime, randomness: Randomness) -> None:
        self._runtime = runtime
        self._cells = Cells(bucket, runtime, randomness)
        self._tags = BucketTags(self._cells)
        self._referrers = BucketReferrers(self._cells)
        self._manifests = BucketManifests(self._cells, self._tags, self._referrers)
        self._blobs = BucketBlobs(self._cells, self._manifests)
        self._uploads = BucketUploads(self._cells, randomness)
        self._collector = Collector(
            self._cells, self._uploads, self._manifests, self._tags, self._referrers
        )
        self._collection_due: float | None = None

    # ---- blobs

    async def blob_stat(self, name: str, digest: Digest) -> int | None:
        return await self._blobs.stat(name, digest)

    async def blob_open(
        self, name: str, digest: Digest, start: int = 0, stop: int | None = None
    ) -> Body:
        return await self._blobs.open(name, digest, start, stop)

    async def blob_mount(self, name: str, digest: Digest, source: str | None) -> int | None:
        return await self._blobs.mount(name, digest, source)

    async def blob_delete(self, name: str, digest: Digest) -> None:
        await self._blobs.delete(name, digest)

    # ---- uploads

    async def upload_open(self, name: str, algorithm: str) -> str:
        return await self._uploads.open(name, algorithm)

    async def upload_status(self, name: str, session: str) -> int:
        return await self._uploads.status(name, session)

    async def upload_append(self, name: str, session: str, offset: int | None, body: Body) -> int:
        return await self._uploads.append(name, session, offset, body)

    async def upload_commit(
        self, name: str, session: str, offset: int | None, body: Body, digest: Digest
    ) -> int:
        return await self._uploads.commit(name, session, offset, body, digest)

    async def upload_cancel(self, name: str, session: str) -> None:
        await self._uploads.cancel(name, session)

    # ---- manifests

    async def manifest_get(self, name: str, digest: Digest) -> StoredManifest | None:
        return await self._manifests.get(name, digest)

    async def manifest_put(
        self,
        name: str,
        stored: StoredManifest,
        manifest: Manifest,
        *,
        tags: Sequence[str],
        guard: TagGuard,
        sparse: bool,
    ) -> None:
        await self._manifests.put(name, stored, manifest, tags=tags, guard=guard, sparse=sparse)

    async def manifest_delete(self, name: str, digest: Digest, guard: TagGuard) -> None:
        await self._manifests.delete(name, digest, guard)

    async def referrers(
        self, name: str, subject: Digest, after: Digest | None, limit: int
    ) -> list[Descriptor]:
        return await self._referrers.page(name, subject, after, limit)

    # ---- tags

    async def tag_get(self, name: str, tag: str) -> Digest | None:
        return await self._tags.get(name, tag)

    async def tag_delete(self, name: str, tag: str, guard: TagGuard) -> None:
        await self._tags.delete(name, tag, guard)

    async def tags(self, name: str, after: str, limit: int) -> list[str] | None:
        return await self._tags.page(name, after, limit)

    # ---- the whole store

    async def repositories(self, after: str, limit: int) -> list[str]:
        found: list[str] = []
        behind, more = keys.name(after) if after else "", True
        while more and len(found) < limit:
            page, more = await self._cells.bucket.list(keys.NAMES, behind, min(limit, PAGE))
            if page:
                behind = page[-1].key
            found += [keys.repository_of_name(e.key) for e in page if state_of(e) in THERE]
        return found[:limit]

    async def collect(self, grace_s: float, *, untagged: bool = False) -> Collected:
        return await self._collector.collect(grace_s, untagged=untagged)

    async def maintain(self, told: Callable[[Collected], None] = lambda collected: None) -> float:
        now = self._runtime.now()
        if self._collection_due is None:  # nothing is ever done because a process starts
            self._collection_due = now + COLLECTION_EVERY_S
        elif now >= self._collection_due:
            told(await self.collect(COLLECTION_GRACE_S))
            self._collection_due = self._runtime.now() + COLLECTION_EVERY_S
        return max(0.0, self._collection_due - now)

    async def space(self) -> None:
        return

    async def settle(self) -> None:
        return
