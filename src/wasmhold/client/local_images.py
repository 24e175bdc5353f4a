"""The images of this machine, in a folder that servers may serve at the same time.

It is the directory store (`places.store`), with every repository of it in one handle: each method
once, as a coroutine; `wasmhold.client` has it for asyncio, `wasmhold.sync` without a loop.  A name
may begin with a host, ``ghcr.io/org/app``, but not with one that has a port: a store's names have
none.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from ..oci.descriptor import Descriptor
from ..oci.digest import Digest
from ..oci.errors import BlobUnknown, ContentDamaged, NameUnknown, TooLarge
from ..oci.limits import MIB
from ..oci.manifest import parse_manifest
from ..oci.reference import parse_name, parse_tag_or_digest
from ..ports.body import BytesSource, read_all
from ..ports.repository import Repository
from ..ports.runtime import ClientRuntime
from ..ports.store import Collected, StoredManifest
from .opening import SystemRandomness
from .places.store import OpenDirectory, open_directory
from .tags import all_tags
from .zlayer import Taken, take

GRACE_S: Final = 3600.0  # so long a push may take from its first blob to its manifest

_OCTETS: Final = "application/octet-stream"
_IN_MEMORY: Final = 256 * MIB
_PAGE: Final = 1000  # names that are asked for at once


@dataclass(frozen=True, slots=True)
class LocalImages:
    """The images below one folder, under one runtime."""

    root: str
    runtime: ClientRuntime

    async def repository(self, name: str, *, create: bool = False) -> Repository:
        """Whoever gets it closes it; with `create` the folder is made a store where it is none.

        Raises NameInvalid; NameUnknown; StoreUnavailable.
        """
        parse_name(name)
        return (await self.open(create=create)).repository(name)

    async def names(self) -> Sequence[str]:
        """All of them, sorted; none where the folder is no store."""
        try:
            return await self.listed()
        except NameUnknown:
            return ()

    async def listed(self) -> list[str]:
        """The same.  Raises NameUnknown where the folder is no store."""
        found: list[str] = []
        async with aclosing(await self.open()) as opened:
            while page := await opened.names(found[-1] if found else "", _PAGE):
                found += page
        return found

    async def open(self, *, create: bool = False) -> OpenDirectory:
        return await open_directory(self.root, self.runtime, SystemRandomness(), create=create)


class LocalMethods:
    """Images in the folder `root`, which the first of them makes a store.

    Every method may raise NameInvalid, TagInvalid, DigestInvalid before anything is touched, and
    StoreUnavailable, Denied, OutOfSpace of the disk.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = os.fspath(root)

    def engine(self, runtime: ClientRuntime) -> LocalImages:
        """What does the work under `runtime`."""
        return LocalImages(self.root, runtime)

    def runtime(self) -> AbstractContextManager[ClientRuntime]:
        """What one call of a method runs under."""
        raise NotImplementedError

    @asynccontextmanager
    async def _opened(self, *, create: bool = False) -> AsyncIterator[OpenDirectory]:
        with self.runtime() as runtime:
            async with aclosing(await self.engine(runtime).open(create=create)) as opened:
                yield opened

    @asynccontextmanager
    async def repository(self, name: str, *, create: bool = False) -> AsyncIterator[Repository]:
        """One image with all its tags, as copies use it; closed at the end of the block."""
        parse_name(name)
        async with self._opened(create=create) as opened:
            yield opened.repository(name)

    # ---- blobs

    async def put_blob(self, name: str, content: bytes) -> Digest:
        """Store bytes as a blob of the image `name`; what is there already stays."""
        digest = Digest.of(content)
        async with self.repository(name, create=True) as repository:
            source = BytesSource(content)
            await repository.blob_put(Descriptor(_OCTETS, digest, len(content)), source)
        return digest

    async def get_blob(self, name: str, digest: Digest | str, *, limit: int = _IN_MEMORY) -> bytes:
        """A blob, verified.  One that is damaged is set aside, so that it can be pushed again.

        Raises BlobUnknown; ContentDamaged; TooLarge beyond `limit` bytes.
        """
        parse_name(name)
        wanted = _digest(digest)
        async with self._opened() as opened:
            try:
                async with aclosing(await opened.repository(name).blob_open(wanted)) as body:
                    if body.size is not None and body.size > limit:
                        raise TooLarge(limit)
                    return await read_all(body)
            except ContentDamaged as error:
                told = await opened.mend(name, wanted)
                raise ContentDamaged("; ".join([str(error), *told])) from None

    async def has_blob(self, name: str, digest: Digest | str) -> bool:
        wanted = _digest(digest)
        return await self._is_there(name, lambda repository: repository.blob_size(wanted))

    # ---- manifests

    async def put_manifest(
        self,
        name: str,
        reference: str,
        content: bytes,
        *,
        media_type: str | None = None,
        allow_missing: bool = False,
    ) -> Digest:
        """Store a manifest under a tag, or under its digest alone.

        With `allow_missing` it may refer to what is not there.  Raises DigestMismatch,
        ManifestInvalid; ManifestBlobUnknown.
        """
        parse_name(name)
        wanted = parse_tag_or_digest(reference)
        manifest = parse_manifest(content, media_type)
        is_tag = isinstance(wanted, str)
        digest = Digest.of(content) if isinstance(wanted, str) else wanted
        async with self._opened(create=True) as opened:
            repository = opened.repository(name, sparse=allow_missing)
            stored = StoredManifest(digest, manifest.media_type, content)
            await repository.manifest_put(stored, (reference,) if is_tag else ())
        return digest

    async def get_manifest(self, name: str, reference: str) -> StoredManifest:
        """A manifest by tag or digest, byte for byte.  Raises ManifestUnknown, NameUnknown."""
        wanted = parse_tag_or_digest(reference)
        async with self.repository(name) as repository:
            return await repository.manifest_get(wanted)

    async def has_manifest(self, name: str, reference: str) -> bool:
        wanted = parse_tag_or_digest(reference)
        return await self._is_there(name, lambda repository: repository.resolve(wanted))

    async def _is_there(self, name: str, ask: Callable[[Repository], Awaitable[object]]) -> bool:
        try:
            async with self.repository(name) as repository:
                return await ask(repository) is not None
        except (NameUnknown, BlobUnknown):
            return False

    # ---- lists

    async def images(self, last: str = "", n: int | None = None) -> list[str]:
        """Names of images behind `last`, sorted; at most `n`."""
        with self.runtime() as runtime:
            found = await self.engine(runtime).names()
        return [name for name in found if name > last][:n]

    async def tags(self, name: str, last: str = "", n: int | None = None) -> list[str]:
        """Tags of an image behind `last`, sorted; at most `n`.  Raises NameUnknown."""
        async with self.repository(name) as repository:
            if n is None:
                return [tag for tag in await all_tags(repository) if tag > last]
            return await repository.tags(last, n)

    async def size(self) -> int:
        """Bytes of all blobs and manifests; what several images share counts once."""
        async with self._opened() as opened:
            return await opened.size()

    # ---- removing

    async def delete_tag(self, name: str, tag: str) -> None:
        """Remove a tag; the collector frees what it led to.  Raises ManifestUnknown."""
        async with self.repository(name) as repository:
            await repository.tag_delete(tag)

    async def delete_image(self, name: str) -> None:
        """Remove an image with all its tags; the collector frees its blobs.  Raises NameUnknown."""
        parse_name(name)
        async with self._opened() as opened:
            repository, manifests = opened.repository(name), await opened.manifests(name)
            if not manifests:
                raise NameUnknown(name)
            for digest in manifests:
                await repository.manifest_delete(digest)

    async def collect(self, *, grace_s: float = GRACE_S, dry_run: bool = False) -> Collected:
        """Remove what no tag leads to, through indexes and subjects, and nobody has put lately.

        Safe beside servers and pulls.  An image with a manifest that cannot be read keeps all that
        it has.  With `dry_run` nothing goes, and what would is counted.
        """
        removed = freed = 0
        changed = False
        async with self._opened() as opened:
            while True:
                done = await opened.collect(grace_s, dry_run)
                removed, freed = removed + done.removed, freed + done.freed
                changed |= done.changed
                if dry_run or not done.changed:
                    return Collected(removed, freed, changed)

    # ---- taking over

    async def import_zlayer(self, root: str | os.PathLike[str]) -> Taken:
        """Take over the images of zlayer's folder `root`, which stays as it is."""
        with self.runtime() as runtime:
            images = self.engine(runtime)
            return await take(os.fspath(root), images.repository, runtime)


def _digest(given: Digest | str) -> Digest:
    return given if isinstance(given, Digest) else Digest.parse(given)
