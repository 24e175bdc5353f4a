"""``store:DIR//NAME[:TAG]``: a repository in a registry's directory, without a server.

Servers may use the directory at the same time: the store's own rules hold, so what this puts is
as durable, and as safe from a collection, as what a client pushes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass

from ...oci.descriptor import Descriptor
from ...oci.digest import Digest
from ...oci.errors import ManifestUnknown, NameUnknown, UploadUnknown, WasmholdError
from ...oci.reference import parse_name
from ...ports.body import Body
from ...ports.repository import BlobSource, Repository
from ...ports.runtime import Randomness, Runtime
from ...ports.store import Collected, StoredManifest
from ...protocol.operations import CommitUpload, StartUpload, UploadLocation
from ...registry.manifests import resolve
from ...registry.uploads import commit_upload, start_upload
from ...stores.directory import paths
from ...stores.directory.flock import flock
from ...stores.directory.native import NativeFiles
from ...stores.directory.root import Root, enter, leave
from ...stores.directory.store import DirectoryStore
from ..verify import checked
from .files import translated
from .turns import Turns

_PAGE = 1000  # things that are asked for at once


def _allow(tag: str, current: Digest | None) -> None:
    """The guard that lets a tag move: what forbids it belongs to a server."""


async def open_store(
    directory: str, name: str, runtime: Runtime, randomness: Randomness, *, create: bool = False
) -> StoreRepository:
    """The repository `name` in a directory that is served, or was.

    With `create` the directory is made one.  Raises NameInvalid; NameUnknown where it is none;
    StoreUnavailable when its format is not known here.
    """
    parse_name(name)
    opened = await open_directory(directory, runtime, randomness, create=create)
    return opened.repository(name)


async def open_directory(
    directory: str, runtime: Runtime, randomness: Randomness, *, create: bool = False
) -> OpenDirectory:
    """All that is in a directory that is served, or was.  Raises as `open_store`."""
    real = await runtime.offload(_found, directory, create)
    turns = Turns(runtime)
    files = NativeFiles(directory, turns, locks=flock)
    try:
        with turns.inside():
            root = await enter(files, randomness)
    except BaseException:
        files.close()
        raise
    store = DirectoryStore(files, turns, randomness, root)
    return OpenDirectory(directory, real, store, files, root, turns)


def _found(directory: str, create: bool) -> str:
    """The directory without links, so that two repositories know that they lie in one."""
    with translated(directory):
        if create:
            os.makedirs(directory, exist_ok=True)
        elif not os.path.exists(os.path.join(directory, paths.FORMAT)):
            raise NameUnknown(f"store:{directory}")
        return os.path.realpath(directory)


@dataclass(frozen=True, slots=True)
class OpenDirectory:
    """A directory store that is open here; `real` is the directory without links."""

    directory: str
    real: str
    store: DirectoryStore
    files: NativeFiles
    root: Root
    turns: Turns

    def repository(self, name: str, *, sparse: bool = False) -> StoreRepository:
        """The repository, which closes all this when it is closed.

        `sparse`: it takes manifests also without what they refer to.  Raises NameInvalid.
        """
        return StoreRepository(self, parse_name(name), sparse=sparse)

    async def names(self, after: str = "", limit: int = _PAGE) -> list[str]:
        """Repositories that hold a manifest, behind `after`, in byte order."""
        with self.turns.inside():
            return await self.store.repositories(after, limit)

    async def manifests(self, name: str) -> list[Digest]:
        """Of all manifests of a repository, with and without tags."""
        with self.turns.inside():
            return await self.store.manifests(name)

    async def size(self) -> int:
        """Bytes of all blobs and manifests; what several repositories share counts once."""
        with self.turns.inside():
            return await self.store.size()

    async def mend(self, name: str, digest: Digest) -> list[str]:
        """Look at a blob that is said to be damaged; what was done, as lines for people."""
        told: list[str] = []
        with self.turns.inside():
            await self.store.mend(name, digest, lambda finding: told.append(finding.line))
        return told

    async def collect(self, grace_s: float, dry_run: bool) -> Collected:
        """One round: also manifests go that no tag, no index and no subject keeps."""
        with self.turns.inside():
            return await self.store.clean(
                grace_s, untagged=True, dry_run=dry_run, told=lambda removal: None
            )

    async def settle(self) -> None:
        """Write what other tools read, ``index.json``."""
        with self.turns.inside():
            await self.store.settle()

    async def aclose(self) -> None:
        try:
            with suppress(WasmholdError):
                await self.settle()
            with self.turns.inside():
                await leave(self.files, self.root)
        finally:
            self.files.close()


class StoreRepository:
    """`ports.repository.Repository` over a directory store."""

    def __init__(self, opened: OpenDirectory, name: str, *, sparse: bool = False) -> None:
        self.place = f"store:{opened.directory}//{name}"
        self._opened, self._name, self._sparse = opened, name, sparse
        self._store, self._turns = opened.store, opened.turns

    # ---- blobs

    async def blob_size(self, digest: Digest) -> int | None:
        with self._turns.inside():
            return await self._store.blob_stat(self._name, digest)

    async def blob_open(self, digest: Digest, start: int = 0) -> Body:
        with self._turns.inside():
            body = await self._store.blob_open(self._name, digest, start)
        return self._turns.handed_out(body)

    async def blob_put(self, descriptor: Descriptor, source: BlobSource) -> None:
        digest, store = descriptor.digest, self._store
        async with aclosing(await source.open(0)) as outside:
            body = self._turns.given(outside)
            with self._turns.inside():
                started = await start_upload(store, StartUpload(self._name, digest.algorithm))
                at = started.at
                assert isinstance(at, UploadLocation)
                try:
                    await commit_upload(store, CommitUpload(at, digest, 0, descriptor.size), body)
                except BaseException:
                    with suppress(UploadUnknown):
                        await store.upload_cancel(at.name, at.session)
                    raise

    async def blob_mount(self, digest: Digest, source: Repository) -> bool:
        if not isinstance(source, StoreRepository) or source._opened.real != self._opened.real:
            return False
        with self._turns.inside():
            return await self._store.blob_mount(self._name, digest, source._name) is not None

    # ---- manifests

    async def resolve(self, reference: str | Digest) -> Descriptor | None:
        try:
            stored = await self.manifest_get(reference)
        except ManifestUnknown:
            return None
        return stored.descriptor

    async def manifest_get(self, reference: str | Digest) -> StoredManifest:
        with self._turns.inside():
            return await resolve(self._store, self._name, reference)

    async def manifest_put(self, stored: StoredManifest, tags: Sequence[str] = ()) -> None:
        manifest = checked(stored)
        with self._turns.inside():
            await self._store.manifest_put(
                self._name, stored, manifest, tags=tags, guard=_allow, sparse=self._sparse
            )

    async def manifest_delete(self, digest: Digest) -> None:
        with self._turns.inside():
            await self._store.manifest_delete(self._name, digest, _allow)

    async def referrers(
        self, subject: Digest, artifact_type: str | None = None
    ) -> list[Descriptor]:
        found: list[Descriptor] = []
        with self._turns.inside():
            while True:
                after = found[-1].digest if found else None
                page = await self._store.referrers(self._name, subject, after, _PAGE)
                found += page
                if len(page) < _PAGE:
                    break
        return [d for d in found if artifact_type in (None, d.artifact_type)]

    # ---- tags

    async def tags(self, after: str = "", limit: int = 1000) -> list[str]:
        with self._turns.inside():
            found = await self._store.tags(self._name, after, limit)
        if found is None:
            raise NameUnknown(self.place)
        return found

    async def tag_delete(self, tag: str) -> None:
        with self._turns.inside():
            await self._store.tag_delete(self._name, tag, _allow)

    async def flush(self) -> None:
        """Everything is there already but ``index.json``."""
        await self._opened.settle()

    async def aclose(self) -> None:
        await self._opened.aclose()
