"""What came of an operation; `write` makes a response of it, `read_response` reads it from one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from ..oci.descriptor import Descriptor
from ..oci.digest import Digest
from ..ports.body import Body
from .operations import Location


@dataclass(frozen=True, slots=True)
class Pong:
    """The registry speaks this API."""


@dataclass(frozen=True, slots=True)
class Moved:
    target: str


@dataclass(frozen=True, slots=True)
class ManifestFound:
    """`content` is the whole manifest, None where only its head was asked for.

    `part`: start and one past the end of the bytes that were asked for, None: all.
    """

    digest: Digest
    media_type: str
    size: int
    content: bytes | None = None
    part: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class NotModified:
    """The client has it already, by If-None-Match."""

    digest: Digest


@dataclass(frozen=True, slots=True)
class ManifestStored:
    """`tags`: those of the query that now point to it; `subject`: what it refers to."""

    name: str
    reference: str | Digest
    digest: Digest
    subject: Digest | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BlobFound:
    """`size` is the whole blob's; `part` as in ManifestFound; who gets `body` closes it."""

    digest: Digest
    size: int
    body: Body | None = None
    part: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class BlobStored:
    name: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class UploadStarted:
    at: Location
    chunk_min: int | None = None  # bytes of the least chunk, where another registry has one


@dataclass(frozen=True, slots=True)
class UploadStands:
    """The session holds `offset` bytes."""

    at: Location
    offset: int


@dataclass(frozen=True, slots=True)
class UploadCancelled:
    pass


@dataclass(frozen=True, slots=True)
class Deleted:
    pass


@dataclass(frozen=True, slots=True)
class TagsPage:
    """`more`: there are further tags behind the last of these."""

    name: str
    tags: tuple[str, ...]
    more: bool = False


@dataclass(frozen=True, slots=True)
class ReferrersPage:
    """`filtered`: by the artifact type that was asked for. `next`: where the next page begins."""

    manifests: tuple[Descriptor, ...]
    filtered: bool = False
    next: Digest | None = None


@dataclass(frozen=True, slots=True)
class RepositoriesPage:
    names: tuple[str, ...]
    more: bool = False


Result: TypeAlias = (
    Pong
    | Moved
    | ManifestFound
    | NotModified
    | ManifestStored
    | BlobFound
    | BlobStored
    | UploadStarted
    | UploadStands
    | UploadCancelled
    | Deleted
    | TagsPage
    | ReferrersPage
    | RepositoriesPage
)
