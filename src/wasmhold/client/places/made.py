"""What is about to be pushed: files that stay where they are, and small things in memory.

So a push is a copy from here, with all that a copy does: what is there is not sent again, what
broke goes on, and tags come last.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from ...oci.descriptor import Descriptor
from ...oci.digest import Digest
from ...oci.errors import BlobUnknown, ManifestUnknown, Unsupported
from ...ports.body import Body, BytesBody
from ...ports.repository import BlobSource, Repository
from ...ports.runtime import Runtime
from ...ports.store import StoredManifest
from .files import FileBody, translated


@dataclass(slots=True)
class Made:
    """`ports.repository.Repository` that can only be read."""

    runtime: Runtime
    place: str
    files: dict[Digest, tuple[str, int]] = field(default_factory=dict)  # path and bytes
    contents: dict[Digest, bytes] = field(default_factory=dict)
    manifests: dict[Digest, StoredManifest] = field(default_factory=dict)

    async def blob_size(self, digest: Digest) -> int | None:
        if digest in self.files:
            return self.files[digest][1]
        content = self.contents.get(digest)
        return None if content is None else len(content)

    async def blob_open(self, digest: Digest, start: int = 0) -> Body:
        if digest in self.files:
            path, size = self.files[digest]
            with translated(path):
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            return FileBody(descriptor, start, size, path, self.runtime)
        if digest in self.contents:
            return BytesBody(self.contents[digest][start:])
        raise BlobUnknown(self.place, str(digest))

    async def resolve(self, reference: str | Digest) -> Descriptor | None:
        stored = self.manifests.get(reference) if isinstance(reference, Digest) else None
        if stored is None:
            return None
        return Descriptor(stored.media_type, stored.digest, len(stored.content))

    async def manifest_get(self, reference: str | Digest) -> StoredManifest:
        stored = self.manifests.get(reference) if isinstance(reference, Digest) else None
        if stored is None:
            raise ManifestUnknown(self.place, str(reference))
        return stored

    async def referrers(
        self, subject: Digest, artifact_type: str | None = None
    ) -> list[Descriptor]:
        return []

    async def tags(self, after: str = "", limit: int = 1000) -> list[str]:
        return []

    async def blob_put(self, descriptor: Descriptor, source: BlobSource) -> None:
        raise Unsupported(f"{self.place} cannot be written to")

    async def blob_mount(self, digest: Digest, source: Repository) -> bool:
        return False

    async def manifest_put(self, stored: StoredManifest, tags: Sequence[str] = ()) -> None:
        raise Unsupported(f"{self.place} cannot be written to")

    async def manifest_delete(self, digest: Digest) -> None:
        raise Unsupported(f"{self.place} cannot be written to")

    async def tag_delete(self, tag: str) -> None:
        raise Unsupported(f"{self.place} cannot be written to")

    async def flush(self) -> None:
        return

    async def aclose(self) -> None:
        return
