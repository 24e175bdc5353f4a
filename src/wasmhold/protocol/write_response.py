"""Result to response: status and fields of every good answer, in one place."""

from __future__ import annotations

import json
from typing import Final
from urllib.parse import quote

from ..oci import media_types
from ..oci.digest import Digest
from ..ports.body import BytesBody
from . import operations as op
from . import results as res
from .conditions import entity_tag
from .errors import API_VERSION, JSON
from .messages import Response
from .ranges import format_held

_OCTETS: Final = (b"content-type", b"application/octet-stream")
_INDEX: Final = (b"content-type", media_types.IMAGE_INDEX.encode())
_RANGES: Final = (b"accept-ranges", b"bytes")
# What a digest names never changes.
_IMMUTABLE: Final = (b"cache-control", b"max-age=31536000, immutable")
_EMPTY: Final = (b"content-length", b"0")


def write(operation: op.Operation, result: res.Result) -> Response:
    """The response that tells `result` of `operation`; whoever serves HEAD leaves the body out."""
    match result:
        case res.ManifestFound():
            return _manifest(operation, result)
        case res.BlobFound():
            return _blob(result)
        case res.Pong():
            return _json({})
        case res.NotModified():
            return Response(304, [(b"etag", entity_tag(result.digest).encode()), API_VERSION])
        case res.UploadStarted():
            return _upload(202, result.at, 0)
        case res.UploadStands():
            return _upload(
                204 if isinstance(operation, op.GetUpload) else 202, result.at, result.offset
            )
        case res.BlobStored():
            return _stored(f"/v2/{result.name}/blobs/{result.digest}", result.digest)
        case res.ManifestStored():
            return _manifest_stored(result)
        case res.UploadCancelled():
            return Response(204, [API_VERSION])
        case res.Deleted():
            return Response(202, [_EMPTY, API_VERSION])
        case res.TagsPage():
            return _tags(operation, result)
        case res.ReferrersPage():
            return _referrers(operation, result)
        case res.RepositoriesPage():
            return _repositories(operation, result)
        case res.Moved():
            return Response(301, [(b"location", result.target.encode()), _EMPTY, API_VERSION])


def _manifest(operation: op.Operation, found: res.ManifestFound) -> Response:
    digest = str(found.digest)
    content, size, status = found.content, found.size, 200
    fields = [
        (b"content-type", found.media_type.encode()),
        (b"docker-content-digest", digest.encode()),
        (b"etag", entity_tag(digest).encode()),
        _RANGES,
        API_VERSION,
    ]
    if isinstance(operation, op.GetManifest) and isinstance(operation.reference, Digest):
        fields.append(_IMMUTABLE)
    if found.part is not None:
        status, content = 206, None if content is None else content[slice(*found.part)]
        size = _part(fields, found.part, size)
    fields.append((b"content-length", b"%d" % size))
    return Response(status, fields, None if content is None else BytesBody(content))


def _blob(found: res.BlobFound) -> Response:
    digest = str(found.digest)
    size, status = found.size, 200
    fields = [
        _OCTETS,
        (b"docker-content-digest", digest.encode()),
        (b"etag", entity_tag(digest).encode()),
        _RANGES,
        API_VERSION,
        _IMMUTABLE,
    ]
    if found.part is not None:
        status, size = 206, _part(fields, found.part, size)
    fields.append((b"content-length", b"%d" % size))
    return Response(status, fields, found.body)


def _part(fields: list[tuple[bytes, bytes]], part: tuple[int, int], size: int) -> int:
    """Say which part of `size` bytes is answered; its length in bytes."""
    start, stop = part
    fields.append((b"content-range", b"bytes %d-%d/%d" % (start, stop - 1, size)))
    return stop - start


def _upload(status: int, at: op.Location, offset: int) -> Response:
    fields = [
        (b"location", at.target.encode()),
        (b"range", format_held(offset).encode()),
        API_VERSION,
    ]
    if isinstance(at, op.UploadLocation):
        fields.append((b"docker-upload-uuid", at.session.encode()))
    if status != 204:
        fields.append(_EMPTY)
    return Response(status, fields)


def _stored(target: str, digest: Digest, *more: tuple[bytes, bytes]) -> Response:
    return Response(
        201,
        [
            (b"location", target.encode()),
            (b"docker-content-digest", str(digest).encode()),
            _EMPTY,
            API_VERSION,
            *more,
        ],
    )


def _manifest_stored(stored: res.ManifestStored) -> Response:
    more = [(b"oci-tag", tag.encode()) for tag in stored.tags]
    if stored.subject is not None:
        more.append((b"oci-subject", str(stored.subject).encode()))
    return _stored(f"/v2/{stored.name}/manifests/{stored.reference}", stored.digest, *more)


def _json(
    document: dict[str, object],
    *more: tuple[bytes, bytes],
    content_type: tuple[bytes, bytes] = JSON,
) -> Response:
    content = json.dumps(document, separators=(",", ":")).encode()
    fields = [content_type, (b"content-length", b"%d" % len(content)), API_VERSION, *more]
    return Response(200, fields, BytesBody(content))


def _next(path: str, **parameters: object) -> tuple[bytes, bytes]:
    query = "&".join(
        f"{k}={quote(str(v), safe='')}" for k, v in parameters.items() if v is not None
    )
    return b"link", f'<{path}?{query}>; rel="next"'.encode()


def _tags(operation: op.Operation, page: res.TagsPage) -> Response:
    assert isinstance(operation, op.ListTags)
    more = []
    if page.more:
        path = f"/v2/{page.name}/tags/list"
        more.append(_next(path, n=operation.limit, last=page.tags[-1]))
    return _json({"name": page.name, "tags": list(page.tags)}, *more)


def _repositories(operation: op.Operation, page: res.RepositoriesPage) -> Response:
    assert isinstance(operation, op.ListRepositories)
    more = [_next("/v2/_catalog", n=operation.limit, last=page.names[-1])] if page.more else []
    return _json({"repositories": list(page.names)}, *more)


def _referrers(operation: op.Operation, page: res.ReferrersPage) -> Response:
    assert isinstance(operation, op.ListReferrers)
    more = []
    if page.filtered:
        more.append((b"oci-filters-applied", b"artifactType"))
    if page.next is not None:
        more.append(
            _next(
                f"/v2/{operation.name}/referrers/{operation.digest}",
                artifactType=operation.artifact_type,
                n=operation.limit,
                last=page.next,
            )
        )
    return _json(
        {
            "schemaVersion": 2,
            "mediaType": media_types.IMAGE_INDEX,
            "manifests": [descriptor.to_json() for descriptor in page.manifests],
        },
        *more,
        content_type=_INDEX,
    )
