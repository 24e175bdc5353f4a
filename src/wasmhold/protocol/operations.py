"""What a client can ask for: one class per line of the specification's endpoint table.

Both sides use them: the server reads one from a request, the client writes one into a request.
An operation holds only what is in the request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from ..oci.digest import Digest
from .conditions import UNCONDITIONAL, Precondition
from .ranges import ByteRange


@dataclass(frozen=True, slots=True)
class UploadLocation:
    """Where an upload session of ours lives."""

    name: str
    session: str

    @property
    def target(self) -> str:
        return f"/v2/{self.name}/blobs/uploads/{self.session}"


@dataclass(frozen=True, slots=True)
class RemoteLocation:
    """Where an upload session of another registry lives: opaque, used as it was given."""

    target: str


Location: TypeAlias = UploadLocation | RemoteLocation


@dataclass(frozen=True, slots=True)
class Ping:
    """``GET|HEAD /v2/`` (end-1)"""


@dataclass(frozen=True, slots=True)
class GetBlob:
    """``GET|HEAD /v2/<name>/blobs/<digest>`` (end-2)"""

    name: str
    digest: Digest
    with_body: bool = True
    range: ByteRange | None = None
    none_match: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GetManifest:
    """``GET|HEAD /v2/<name>/manifests/<tag or digest>`` (end-3)

    `accept`: media ranges that the client takes, in its order; empty: anything.
    """

    name: str
    reference: str | Digest
    with_body: bool = True
    accept: tuple[str, ...] = ()
    range: ByteRange | None = None
    none_match: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StartUpload:
    """``POST /v2/<name>/blobs/uploads/`` (end-4a, end-4c)"""

    name: str
    algorithm: str | None = None


@dataclass(frozen=True, slots=True)
class PushBlob:
    """``POST /v2/<name>/blobs/uploads/?digest=<digest>`` with the whole blob (end-4b)"""

    name: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class MountBlob:
    """``POST /v2/<name>/blobs/uploads/?mount=<digest>[&from=<source>]`` (end-11)

    Where it cannot be done it is a StartUpload.
    """

    name: str
    digest: Digest
    source: str | None = None


@dataclass(frozen=True, slots=True)
class AppendChunk:
    """``PATCH <location>`` (end-5)

    `start`: the first byte that the client says it sends; None: where the session stands.
    `size`: bytes that it says it sends, None: until the body ends.
    """

    at: Location
    start: int | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class CommitUpload:
    """``PUT <location>?digest=<digest>`` (end-6); `start` and `size` as in AppendChunk."""

    at: Location
    digest: Digest
    start: int | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class GetUpload:
    """``GET <location>`` (end-13)"""

    at: Location


@dataclass(frozen=True, slots=True)
class CancelUpload:
    """``DELETE <location>`` (end-14)"""

    at: Location


@dataclass(frozen=True, slots=True)
class PutManifest:
    """``PUT /v2/<name>/manifests/<tag or digest>[?tag=…]`` (end-7a, end-7b)

    `tags` are those of the query, for a push by digest.  `digest`: what a push by tag says that
    its bytes are (``?digest=``, for older clients).  `media_type` without parameters.
    """

    name: str
    reference: str | Digest
    media_type: str | None = None
    tags: tuple[str, ...] = ()
    digest: Digest | None = None
    condition: Precondition = UNCONDITIONAL


@dataclass(frozen=True, slots=True)
class ListTags:
    """``GET /v2/<name>/tags/list?n=<limit>&last=<after>`` (end-8)"""

    name: str
    limit: int | None = None
    after: str = ""


@dataclass(frozen=True, slots=True)
class DeleteManifest:
    """``DELETE /v2/<name>/manifests/<tag or digest>`` (end-9)"""

    name: str
    reference: str | Digest
    condition: Precondition = UNCONDITIONAL


@dataclass(frozen=True, slots=True)
class DeleteBlob:
    """``DELETE /v2/<name>/blobs/<digest>`` (end-10)"""

    name: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class ListReferrers:
    """``GET /v2/<name>/referrers/<digest>?artifactType=<type>`` (end-12)

    `limit` and `after` are ours, for the pages behind ``Link``.
    """

    name: str
    digest: Digest
    artifact_type: str | None = None
    limit: int | None = None
    after: Digest | None = None


@dataclass(frozen=True, slots=True)
class ListRepositories:
    """``GET /v2/_catalog?n=<limit>&last=<after>``: of the old Docker API, still used by all."""

    limit: int | None = None
    after: str = ""


@dataclass(frozen=True, slots=True)
class Redirect:
    """``GET|HEAD /v2``: the API lives under ``/v2/``."""

    target: str


Operation: TypeAlias = (
    Ping
    | GetBlob
    | GetManifest
    | StartUpload
    | PushBlob
    | MountBlob
    | AppendChunk
    | CommitUpload
    | GetUpload
    | CancelUpload
    | PutManifest
    | ListTags
    | DeleteManifest
    | DeleteBlob
    | ListReferrers
    | ListRepositories
    | Redirect
)


def repository_of(operation: Operation) -> str | None:
    """The repository that `operation` is about; None: all of them, or one of another registry."""
    at = getattr(operation, "at", operation)
    name: str | None = getattr(at, "name", None)
    return name
