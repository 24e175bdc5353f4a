"""`ports.store.Store` over a directory: the nouns, put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Final

from ...oci.descriptor import Descriptor
from ...oci.digest import Digest
from ...oci.manifest import Manifest
from ...ports.body import Body
from ...ports.runtime import Randomness, Runtime
from ...ports.store import Collected, Space, StoredManifest, TagGuard
from . import paths
from .adopt import Adoption
from .blobs import DirectoryBlobs
from .catalog import Catalog
from .check import Checker
from .collect import Collector, Told
from .disk import Disk
from .explain import Held, explain
from .files import Files
from .findings import Checked, Found, Rules
from .index import Indexes, Tell
from .manifests import DirectoryManifests
from .referrers import DirectoryReferrers
from .root import Root
from .space import Reserve, bytes_used
from .tags import DirectoryTags
from .uploads import DirectoryUploads

COLLECTION_EVERY_S: Final = 3600.0
COLLECTION_GRACE_S: Final = 3600.0  # so long a push may take from its first blob to its manifest


class DirectoryStore:
    """A store in `files`, as `root.enter` opened it; any number of processes may share it."""

    def __init__(
        self,
        files: Files,
        runtime: Runtime,
        randomness: Randomness,
        root: Root,
        tell: Tell = lambda line: None,
        *,
        min_free: int | None = 0,
    ) -> None:
        """`tell` hears of layouts that other tools wrote: what was taken, what was left out.

        Pushes are refused while fewer than `min_free` bytes are free; None: as `space.py` says.
        """
        self._space = Reserve(files, min_free)
        self._runtime = runtime
        self._disk = Disk(files, runtime, randomness, root.tmp)
        self._look = Adoption(self._disk, tell).look
        self._indexes = Indexes(self._disk, partial(self._look, at_once=True), tell)
        self._tags = DirectoryTags(self._disk)
        self._manifests = DirectoryManifests(self._disk, self._tags)
        self._referrers = DirectoryReferrers(self._disk, self._manifests)
        self._blobs = DirectoryBlobs(self._disk, self._manifests)
        self._uploads = DirectoryUploads(self._disk, self._blobs, randomness)
        self._catalog = Catalog(files, self._look)
        self._collector = Collector(
            self._disk,
            self._catalog,
            self._manifests,
            self._uploads,
            root.tmp,
            partial(self._look, at_once=True),
        )
        self._collection_due: float | None = None

    # ---- blobs

    async def blob_stat(self, name: str, digest: Digest) -> int | None:
        await self._look(name)
        return await self._blobs.stat(name, digest)

    async def blob_open(
        self, name: str, digest: Digest, start: int = 0, stop: int | None = None
    ) -> Body:
        await self._look(name)
        return await self._blobs.open(name, digest, start, stop)

    async def blob_mount(self, name: str, digest: Digest, source: str | None) -> int | None:
        await self._look(name)
        if source is not None:
            await self._look(source)
        return await self._blobs.mount(name, digest, source)

    async def blob_delete(self, name: str, digest: Digest) -> None:
        await self._look(name)
        await self._blobs.delete(name, digest)

    # ---- uploads

    async def upload_open(self, name: str, algorithm: str) -> str:
        await self._space.check()
        await self._look(name)
        return await self._uploads.open(name, algorithm)

    async def upload_status(self, name: str, session: str) -> int:
        return await self._uploads.status(name, session)

    async def upload_append(self, name: str, session: str, offset: int | None, body: Body) -> int:
        async with aclosing(body):
            await self._space.check()
            return await self._uploads.append(name, session, offset, body)

    async def upload_commit(
        self, name: str, session: str, offset: int | None, body: Body, digest: Digest
    ) -> int:
        async with aclosing(body):
            await self._space.check()
            return await self._uploads.commit(name, session, offset, body, digest)

    async def upload_cancel(self, name: str, session: str) -> None:
        await self._uploads.cancel(name, session)

    # ---- manifests

    async def manifest_get(self, name: str, digest: Digest) -> StoredManifest | None:
        await self._look(name)
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
        await self._space.check()
        await self._look(name)
        await self._manifests.put(name, stored, manifest, tags=tags, guard=guard, sparse=sparse)

    async def manifest_delete(self, name: str, digest: Digest, guard: TagGuard) -> None:
        await self._look(name)
        await self._manifests.delete(name, digest, guard)

    async def referrers(
        self, name: str, subject: Digest, after: Digest | None, limit: int
    ) -> list[Descriptor]:
        await self._look(name)
        return await self._referrers.page(name, subject, after, limit)

    # ---- tags

    async def tag_get(self, name: str, tag: str) -> Digest | None:
        await self._look(name)
        return await self._tags.get(name, tag)

    async def tag_delete(self, name: str, tag: str, guard: TagGuard) -> None:
        await self._look(name)
        await self._tags.delete(name, tag, guard)

    async def tags(self, name: str, after: str, limit: int) -> list[str] | None:
        await self._look(name)
        return await self._tags.page(name, after, limit)

    # ---- the whole store

    async def repositories(self, after: str, limit: int) -> list[str]:
        return await self._catalog.page(after, limit)

    async def collect(self, grace_s: float, *, untagged: bool = False) -> Collected:
        return await self._collector.collect(grace_s, untagged=untagged)

    async def maintain(self, told: Callable[[Collected], None] = lambda collected: None) -> float:
        index_s = await self._indexes.work_off()
        now = self._runtime.now()
        if self._collection_due is None:  # nothing that depends on what is stored, at the start
            await self._collector.sweep()
            self._collection_due = now + COLLECTION_EVERY_S
        elif now >= self._collection_due:
            told(await self.collect(COLLECTION_GRACE_S))
            self._collection_due = self._runtime.now() + COLLECTION_EVERY_S
        return max(0.0, min(index_s, self._collection_due - now))

    async def space(self) -> Space | None:
        return await self._space.left()

    # ---- what operators ask

    async def clean(
        self, grace_s: float, *, untagged: bool, dry_run: bool, told: Told
    ) -> Collected:
        """A round as `collect` does it, which says what it removes, or would."""
        return await self._collector.collect(grace_s, untagged=untagged, dry_run=dry_run, told=told)

    async def explain(self, digest: Digest) -> list[Held]:
        """Why the digest is kept: what of each repository holds it."""
        look = partial(self._look, at_once=True)
        return await explain(self._disk.files, self._catalog, self._manifests, look, digest)

    async def check(self, rules: Rules, found: Found) -> Checked:
        """Check every byte and every reference, and call `found` with each thing that is wrong."""
        return await self._checker.check(rules, found)

    async def mend(self, name: str, digest: Digest, found: Found) -> None:
        """Check one blob; wrong bytes are moved away, and `found` is told."""
        await self._checker.mend(name, digest, found)

    @property
    def _checker(self) -> Checker:
        look = partial(self._look, at_once=True)
        return Checker(self._disk, self._catalog, self._manifests, self._indexes, look)

    async def manifests(self, name: str) -> list[Digest]:
        """Of all manifests of a repository, with and without tags."""
        await self._look(name)
        return sorted(await self._manifests.entries(paths.repository(name)))

    async def size(self) -> int:
        """Bytes of all blobs and manifests; what several repositories share counts once."""
        return await bytes_used(self._disk.files, self._catalog)

    async def settle(self) -> None:
        await self._indexes.work_off(at_once=True)
