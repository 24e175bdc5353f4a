"""What the registry needs from a store.  Small on purpose: every store implements all of it.

Names, tags and digests are checked before they come here.  Every method may raise
StoreUnavailable (the outcome is not known: ask again) and, when it writes, OutOfSpace.  What a
method has done when it returns is durable, as far as the store is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from ..oci.descriptor import Descriptor
from ..oci.digest import Digest
from ..oci.manifest import Manifest
from .body import Body

# Called with a tag and what it points to now (None: no such tag) each time that a store is about
# to change it; what the guard raises ends the operation.  The change that follows is atomic: it
# fails, and the guard is asked again, when somebody else was faster.
TagGuard: TypeAlias = Callable[[str, Digest | None], None]


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A manifest as it was pushed; `content` is at most the limit for manifests."""

    digest: Digest
    media_type: str
    content: bytes

    @property
    def descriptor(self) -> Descriptor:
        """How others refer to it, as far as the bytes need not be read for that."""
        return Descriptor(self.media_type, self.digest, len(self.content))


@dataclass(frozen=True, slots=True)
class Space:
    """Bytes of a disk: those that are free, and how many of them pushes leave alone."""

    free: int
    kept: int


@dataclass(frozen=True, slots=True)
class Collected:
    """What one round of a collection did: counts of things, bytes of data, and the rest."""

    removed: int
    freed: int  # bytes
    changed: bool  # False: nothing was left to do, further rounds change nothing


class Blobs(Protocol):
    async def blob_stat(self, name: str, digest: Digest) -> int | None:
        """Bytes of the blob in this repository, or None when it is not in it."""
        ...

    async def blob_open(
        self, name: str, digest: Digest, start: int = 0, stop: int | None = None
    ) -> Body:
        """Bytes `start` to `stop` (one past the last; None: to the end).  Raises BlobUnknown.

        ``0 <= start <= stop <= size`` is the caller's duty.
        """
        ...

    async def blob_mount(self, name: str, digest: Digest, source: str | None) -> int | None:
        """Put a blob of the repository `source` (None: of any) into `name`; its size, or None.

        None when the source has no such blob: then nothing has changed.
        """
        ...

    async def blob_delete(self, name: str, digest: Digest) -> None:
        """Take the blob out of this repository.  Raises BlobUnknown; BlobInUse."""
        ...


class Uploads(Protocol):
    """Bytes that have no digest yet. A session belongs to the repository that opened it."""

    async def upload_open(self, name: str, algorithm: str) -> str:
        """A new session, a UUID.  `algorithm` is what the digest is expected to be of."""
        ...

    async def upload_status(self, name: str, session: str) -> int:
        """Bytes that the session holds.  Raises UploadUnknown."""
        ...

    async def upload_append(self, name: str, session: str, offset: int | None, body: Body) -> int:
        """Add `body` at `offset` (None: where the session stands); the new offset.

        Of two writers at one offset one wins.  When the body breaks, the session is as before.
        Raises UploadUnknown; RangeInvalid; what the body raises.
        """
        ...

    async def upload_commit(
        self, name: str, session: str, offset: int | None, body: Body, digest: Digest
    ) -> int:
        """Add `body` at `offset`, then make the session a blob of the repository; its size.

        A reader sees the whole blob or none.  Repeating a commit that succeeded succeeds.
        Raises UploadUnknown; RangeInvalid (the session lives on); what the body raises (the same);
        DigestMismatch (the session is dropped: its bytes are of no use).
        """
        ...

    async def upload_cancel(self, name: str, session: str) -> None:
        """Drop the session and its bytes.  Raises UploadUnknown."""
        ...


class Manifests(Protocol):
    async def manifest_get(self, name: str, digest: Digest) -> StoredManifest | None: ...

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
        """Store a manifest and point `tags` at it.

        `manifest` is what `stored.content` says.  Its children must be in the repository, unless
        `sparse`; present or not they count as referenced.  Raises ManifestBlobUnknown with all
        absent children; what the guard raises; then no tag has changed.
        """
        ...

    async def manifest_delete(self, name: str, digest: Digest, guard: TagGuard) -> None:
        """Remove the manifest, the tags that point to it and its place among the referrers.

        Raises ManifestUnknown; what the guard raises.
        """
        ...

    async def referrers(
        self, name: str, subject: Digest, after: Digest | None, limit: int
    ) -> list[Descriptor]:
        """At most `limit` manifests whose subject this is, by digest, behind `after`."""
        ...


class Tags(Protocol):
    async def tag_get(self, name: str, tag: str) -> Digest | None:
        """What the tag points to.  A tag whose manifest is gone is absent to the caller too."""
        ...

    async def tag_delete(self, name: str, tag: str, guard: TagGuard) -> None:
        """Remove the tag, not the manifest.  Raises ManifestUnknown; what the guard raises."""
        ...

    async def tags(self, name: str, after: str, limit: int) -> list[str] | None:
        """At most `limit` tags behind `after`, in byte order; None: no such repository."""
        ...


class Store(Blobs, Uploads, Manifests, Tags, Protocol):
    async def repositories(self, after: str, limit: int) -> list[str]:
        """At most `limit` names behind `after`, in byte order."""
        ...

    async def collect(self, grace_s: float, *, untagged: bool = False) -> Collected:
        """One round of removing what nothing refers to and what is older than `grace_s` seconds.

        Safe beside any writer and any other collector; may die anywhere.  `untagged` also removes
        manifests that no tag, no index and no subject keeps.
        """
        ...

    async def maintain(self, told: Callable[[Collected], None] = lambda collected: None) -> float:
        """Do what time brings about; returns after how many seconds it wants to be called again.

        `told` hears of each round of a collection.
        """
        ...

    async def space(self) -> Space | None:
        """What the disk has left; None: there is no disk, or its host cannot tell."""
        ...

    async def settle(self) -> None:
        """Do at once what `maintain` would do soon: the process ends.  Nothing is lost without."""
        ...
