"""One repository in one place: a registry, a store, a layout, an archive, memory.

A copy needs no more of a place than this, and every place gives all of it
(`wasmhold.testing.check_repository`).

- Names, tags and digests are checked before they come here.
- **What is read is not verified, what is written is.**  Whoever writes a blob hashes its bytes, so
  that each byte of a copy is hashed once.  Manifests are small and verified on both ways.
- The methods of `Blobs`, and what reads manifests, may run side by side, also in several threads.
  What writes manifests and tags, and lists tags, is called one after the other.
- Every method may raise, besides what it says, Unauthorized and Denied; StoreUnavailable and what
  else of the tree comes from a place that does not answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from ..oci.descriptor import Descriptor
from ..oci.digest import Digest
from ..oci.manifest import Manifest
from .body import Body
from .store import StoredManifest


class BlobSource(Protocol):
    """The bytes of one blob, which can be read again from any point."""

    async def open(self, start: int) -> Body:
        """Bytes `start` to the end, ``0 <= start <= size``; the caller closes the body.

        Raises BlobUnknown; what the body raises when it breaks for good.
        """
        ...


class Blobs(Protocol):
    async def blob_size(self, digest: Digest) -> int | None:
        """Bytes of the blob in this repository, None when it is not in it."""
        ...

    async def blob_open(self, digest: Digest, start: int = 0) -> Body:
        """Bytes `start` to the end, ``0 <= start <= size``; the caller closes it.

        A body that raises, or ends before its size, may be opened again where it broke.
        Raises BlobUnknown.
        """
        ...

    async def blob_put(self, descriptor: Descriptor, source: BlobSource) -> None:
        """Make the bytes of `source` a blob of this repository; it is there already: no error.

        They are hashed and counted before anybody can see them as a blob.  When something
        breaks, nothing is there that was not before.  Raises DigestMismatch, SizeInvalid when
        `source` has other bytes; what `source` raises; OutOfSpace.
        """
        ...

    async def blob_mount(self, digest: Digest, source: Repository) -> bool:
        """Take the blob from another repository of the same place, without moving its bytes.

        False where that cannot be done: then nothing has changed.
        """
        ...


class Manifests(Protocol):
    async def resolve(self, reference: str | Digest) -> Descriptor | None:
        """Media type, digest and size of what a tag or digest names; None when it is not there."""
        ...

    async def manifest_get(self, reference: str | Digest) -> StoredManifest:
        """The bytes as they were pushed, which hash to their digest.

        Raises ManifestUnknown; ContentDamaged, DigestMismatch; ManifestTooLarge.
        """
        ...

    async def manifest_put(self, stored: StoredManifest, tags: Sequence[str] = ()) -> None:
        """Store a manifest, byte for byte, and then point `tags` at it.

        What it refers to is there already.  With tags for a manifest that is there, only the
        tags change.  Raises ManifestInvalid; ManifestBlobUnknown; DigestMismatch.
        """
        ...

    async def manifest_delete(self, digest: Digest) -> None:
        """Remove the manifest and the tags that point to it.

        Raises ManifestUnknown; Unsupported where the place cannot.
        """
        ...

    async def referrers(
        self, subject: Digest, artifact_type: str | None = None
    ) -> list[Descriptor]:
        """The manifests whose subject this is, by digest, those of `artifact_type` alone if given.

        Raises CannotList when it could not be asked: an empty list says that there are none.
        """
        ...


class Tags(Protocol):
    async def tags(self, after: str = "", limit: int = 1000) -> list[str]:
        """At most `limit` tags, strictly behind `after`, in byte order; fewer: these are the last.

        A repository that was never written to has none, or raises NameUnknown.
        """
        ...

    async def tag_delete(self, tag: str) -> None:
        """Remove the tag, not the manifest.  Raises ManifestUnknown; Unsupported."""
        ...


class Repository(Blobs, Manifests, Tags, Protocol):
    @property
    def place(self) -> str:
        """As people write it: ``localhost:5000/demo/app``, ``oci:DIR``; for messages."""
        ...

    async def flush(self) -> None:
        """Everything that was put is where others see it when this returns.

        An archive is written now; a place that writes at once has nothing to do.
        """
        ...

    async def aclose(self) -> None:
        """Let go of files, connections, and of what was put and not flushed."""
        ...


@runtime_checkable
class Particular(Protocol):
    """What a place has besides that does not take every manifest: it is asked before a copy."""

    def refuse(self, descriptor: Descriptor, manifest: Manifest) -> None:
        """Raises Unsupported, with the reason and what to do, for what will never be taken."""
        ...
