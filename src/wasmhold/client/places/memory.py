"""Repositories in this process's memory: for programs and tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from ...oci.children import is_manifest, is_required
from ...oci.descriptor import Descriptor
from ...oci.digest import Digest
from ...oci.errors import BlobUnknown, ManifestBlobUnknown, ManifestUnknown
from ...oci.manifest import parse_manifest
from ...ports.body import Body
from ...ports.repository import BlobSource, Repository
from ...ports.runtime import Runtime
from ...ports.store import StoredManifest
from ..verify import checked, pour

_Pieces = tuple[bytes, ...]


class MemoryRepository:
    """`ports.repository.Repository` in dictionaries; bytes stay in the pieces that came."""

    def __init__(self, runtime: Runtime, name: str = "memory") -> None:
        self.place = name
        self._runtime = runtime
        self._blobs: dict[Digest, tuple[_Pieces, int]] = {}
        self._manifests: dict[Digest, StoredManifest] = {}
        self._tags: dict[str, Digest] = {}

    # ---- blobs

    async def blob_size(self, digest: Digest) -> int | None:
        found = self._blobs.get(digest)
        return None if found is None else found[1]

    async def blob_open(self, digest: Digest, start: int = 0) -> Body:
        found = self._blobs.get(digest)
        if found is None:
            raise BlobUnknown(self.place, str(digest))
        return PiecesBody(*found, start)

    async def blob_put(self, descriptor: Descriptor, source: BlobSource) -> None:
        pieces: list[bytes] = []
        await pour(source, descriptor, self._runtime, lambda chunk: pieces.append(bytes(chunk)))
        self._blobs[descriptor.digest] = tuple(pieces), descriptor.size

    async def blob_mount(self, digest: Digest, source: Repository) -> bool:
        found = source._blobs.get(digest) if isinstance(source, MemoryRepository) else None
        if found is None:
            return False
        self._blobs[digest] = found
        return True

    # ---- manifests

    async def resolve(self, reference: str | Digest) -> Descriptor | None:
        digest = self._tags.get(reference) if isinstance(reference, str) else reference
        stored = None if digest is None else self._manifests.get(digest)
        if stored is None:
            return None
        return stored.descriptor

    async def manifest_get(self, reference: str | Digest) -> StoredManifest:
        found = await self.resolve(reference)
        if found is None:
            raise ManifestUnknown(self.place, str(reference))
        return self._manifests[found.digest]

    async def manifest_put(self, stored: StoredManifest, tags: Sequence[str] = ()) -> None:
        manifest = checked(stored)
        absent = [
            str(child.digest)
            for child in manifest.children
            if is_required(child)
            and child.digest not in (self._manifests if is_manifest(child) else self._blobs)
        ]
        if absent:
            raise ManifestBlobUnknown(absent)
        self._manifests[stored.digest] = stored
        self._tags.update(dict.fromkeys(tags, stored.digest))

    async def manifest_delete(self, digest: Digest) -> None:
        if self._manifests.pop(digest, None) is None:
            raise ManifestUnknown(self.place, str(digest))
        self._tags = {tag: at for tag, at in self._tags.items() if at != digest}

    async def referrers(
        self, subject: Digest, artifact_type: str | None = None
    ) -> list[Descriptor]:
        found = []
        for digest, stored in sorted(self._manifests.items()):
            manifest = parse_manifest(stored.content, stored.media_type)
            if manifest.subject is not None and manifest.subject.digest == subject:
                found.append(manifest.descriptor(digest, len(stored.content)))
        return [d for d in found if artifact_type in (None, d.artifact_type)]

    # ---- tags

    async def tags(self, after: str = "", limit: int = 1000) -> list[str]:
        return sorted(tag for tag in self._tags if tag > after)[:limit]

    async def tag_delete(self, tag: str) -> None:
        if self._tags.pop(tag, None) is None:
            raise ManifestUnknown(self.place, tag)

    async def flush(self) -> None:
        return

    async def aclose(self) -> None:
        return


class PiecesBody:
    """Bytes that stay in the pieces in which they came, `size` in all, from `start` on."""

    file = None

    def __init__(self, pieces: _Pieces, size: int, start: int) -> None:
        self.size: int | None = size - start
        self._pieces, self._start = pieces, start

    async def __aiter__(self) -> AsyncIterator[bytes]:
        skip = self._start
        for piece in self._pieces:
            if skip < len(piece):
                yield piece[skip:] if skip else piece
            skip = max(0, skip - len(piece))

    async def aclose(self) -> None:
        return
