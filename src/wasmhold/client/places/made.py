"""What is about to be pushed: files that stay where they are, and small things in memory.

So a push is a copy from here, with all that a copy does: what is there is not sent again, what
broke goes on, and tags come last.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from ...oci.digest import Digest
from ...oci.errors import BlobUnknown, ManifestUnknown
from ...ports.body import Body, BytesBody
from ...ports.runtime import Runtime
from ...ports.store import StoredManifest
from .files import FileBody, translated
from .read_only import ReadOnly


@dataclass(slots=True)
class Made(ReadOnly):
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

    async def manifest_get(self, reference: str | Digest) -> StoredManifest:
        stored = self.manifests.get(reference) if isinstance(reference, Digest) else None
        if stored is None:
            raise ManifestUnknown(self.place, str(reference))
        return stored
