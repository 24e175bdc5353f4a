"""What a cache is: content by digest, and records of what references led to.

Manifests and blobs are kept apart, since blobs go first where room is needed.  A cache is never the
truth: all of it may be deleted at any time, and what it cannot do is a miss, never a wrong byte.

- What goes in is verified, and what comes out is: a body that was read from its start to its end
  was right, or has raised ContentDamaged, and then the cache has it no longer.
- **One flight**: of those who put the same blob at the same time, in one process or in many where
  processes share the cache, one reads its source; the others wait, and find it there.  When that
  one fails, the next one goes on, from its bytes where the cache keeps them.
- Every method may be called side by side, also in several threads.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ...oci.descriptor import Descriptor
from ...oci.digest import Digest
from ...ports.body import Body
from ...ports.repository import BlobSource
from ...ports.runtime import ClientRuntime
from ...ports.store import StoredManifest


@dataclass(frozen=True, slots=True, order=True)
class RecordKey:
    """A tag of a repository, as it was resolved: `host` is the one that was asked."""

    host: str
    name: str
    tag: str

    def __str__(self) -> str:
        return f"{self.host}/{self.name}:{self.tag}"


@dataclass(frozen=True, slots=True)
class Record:
    """What a tag led to when it was last asked for.

    `top` has media type, digest and size of what the tag itself names, so that a HEAD can be
    compared with it; of an index, which manifest is meant follows from the index, which is cached.
    `original` is the text that the user wrote; `fetched_s` is in seconds since 1970.
    """

    key: RecordKey
    top: Descriptor
    original: str
    fetched_s: float


@dataclass(frozen=True, slots=True)
class Kept:
    """One line of a listing; `size` in bytes.

    `used_s`, in seconds since 1970: when a blob was put or last opened, and a manifest was put.
    """

    digest: Digest
    size: int
    used_s: float


class CachedBlobs(Protocol):
    async def blob_size(self, digest: Digest) -> int | None:
        """Bytes of the blob, None when it is not cached."""
        ...

    async def blob_open(self, digest: Digest, start: int = 0) -> Body:
        """Bytes `start` to the end, ``0 <= start <= size``; the caller closes it.

        Raises BlobUnknown; the body raises ContentDamaged.
        """
        ...

    async def blob_put(self, descriptor: Descriptor, source: BlobSource) -> None:
        """Keep the bytes of `source`, unless they are kept already; nothing is opened then.

        What is larger than the whole cache may be is not kept, which is no error, and `source`
        is not read.  Raises DigestMismatch, SizeInvalid; what `source` raises; OutOfSpace,
        Denied, StoreUnavailable where the cache cannot be written.
        """
        ...

    async def blob_delete(self, digest: Digest) -> None:
        """Forget the blob; it was not there: no error."""
        ...

    def blobs(self) -> AsyncIterator[Kept]: ...


class CachedManifests(Protocol):
    async def manifest_get(self, digest: Digest) -> StoredManifest | None:
        """The bytes as they came, verified; None when they are not cached."""
        ...

    async def manifest_put(self, stored: StoredManifest) -> None:
        """Raises DigestMismatch, ManifestInvalid; as `blob_put` where it cannot be written."""
        ...

    async def manifest_delete(self, digest: Digest) -> None: ...

    def manifests(self) -> AsyncIterator[Kept]: ...


class Records(Protocol):
    async def record_get(self, key: RecordKey) -> Record | None: ...

    async def record_put(self, record: Record) -> None:
        """What the tag led to before is forgotten."""
        ...

    async def record_delete(self, key: RecordKey) -> None: ...

    def records(self, prefix: str = "") -> AsyncIterator[Record]:
        """Those whose key, as text, begins with exactly `prefix`, in the order of keys."""
        ...


class Cache(CachedBlobs, CachedManifests, Records, Protocol):
    @property
    def place(self) -> str:
        """For messages: the memory, a folder, the URL of a bucket."""
        ...


class CacheHandle(Protocol):
    """A cache as a user holds it: cheap, and without a runtime until it is used."""

    def engine(self, runtime: ClientRuntime) -> Cache:
        """What does the work under `runtime`; engines of one cache share its content."""
        ...


@runtime_checkable
class InFiles(Protocol):
    """A cache whose blobs are files."""

    def blob_path(self, digest: Digest) -> str | None:
        """Where the blob lies, as long as the cache keeps it; None when it is not cached."""
        ...


@runtime_checkable
class OfThisMachine(Protocol):
    """A cache that can look at all that it holds without using it."""

    async def check(self) -> list[tuple[Kept, bool]]:
        """Each blob and manifest, and whether it was right; what was not is gone."""
        ...

    async def clear(self) -> None:
        """Forget everything, also what was begun."""
        ...
