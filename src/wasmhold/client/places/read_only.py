"""The half of a place that is only read."""

from __future__ import annotations

from collections.abc import Sequence

from ...oci.descriptor import Descriptor
from ...oci.digest import Digest
from ...oci.errors import ManifestUnknown, Unsupported
from ...ports.repository import BlobSource, Repository
from ...ports.store import StoredManifest


class ReadOnly:
    """What is there is said by `manifest_get`, by tag and by digest; nothing refers to it."""

    place: str

    async def manifest_get(self, reference: str | Digest) -> StoredManifest:
        raise NotImplementedError

    async def resolve(self, reference: str | Digest) -> Descriptor | None:
        try:
            stored = await self.manifest_get(reference)
        except ManifestUnknown:
            return None
        return stored.descriptor

    async def referrers(
        self, subject: Digest, artifact_type: str | None = None
    ) -> list[Descriptor]:
        return []

    async def tags(self, after: str = "", limit: int = 1000) -> list[str]:
        return []

    async def blob_put(self, descriptor: Descriptor, source: BlobSource) -> None:
        raise self._refusal()

    async def blob_mount(self, digest: Digest, source: Repository) -> bool:
        return False

    async def manifest_put(self, stored: StoredManifest, tags: Sequence[str] = ()) -> None:
        raise self._refusal()

    async def manifest_delete(self, digest: Digest) -> None:
        raise self._refusal()

    async def tag_delete(self, tag: str) -> None:
        raise self._refusal()

    def _refusal(self) -> Unsupported:
        return Unsupported(f"{self.place} cannot be written to")

    async def flush(self) -> None:
        return

    async def aclose(self) -> None:
        return
