"""Operation to request: the client's half of `read`.

``read(write_request(operation)) == operation`` for every operation, and for every upload
location of ours; another registry's location is opaque and goes out as it came.
"""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from . import operations as op
from .conditions import UNCONDITIONAL, Precondition
from .messages import Request
from .ranges import ByteRange

_PLAIN_IN_QUERY = ":/@"  # what need not be escaped, and reads better so


def _query(*parameters: tuple[str, object]) -> str:
    return "&".join(
        f"{key}={quote(str(value), safe=_PLAIN_IN_QUERY)}"
        for key, value in parameters
        if value is not None
    )


def _fields(**values: str | None) -> list[tuple[bytes, bytes]]:
    """Fields of those `values` that are set; ``_`` in a name stands for ``-``."""
    return [
        (name.replace("_", "-").encode(), value.encode("latin-1"))
        for name, value in values.items()
        if value is not None
    ]


def _listed(values: tuple[str, ...] | None) -> str | None:
    return ", ".join(values) if values else None


def _get(
    path: str,
    with_body: bool,
    accept: tuple[str, ...],
    part: ByteRange | None,
    none_match: tuple[str, ...],
) -> Request:
    fields = _fields(
        accept=_listed(accept),
        range=None if part is None else str(part),
        if_none_match=_listed(none_match),
    )
    return Request("GET" if with_body else "HEAD", path, "", fields)


def _conditions(condition: Precondition) -> list[tuple[bytes, bytes]]:
    if condition == UNCONDITIONAL:
        return []
    # An empty list of entity tags is a condition that nothing meets: it must be sent as it is.
    return _fields(
        if_match=None if condition.match is None else ", ".join(condition.match),
        if_none_match=None if condition.none_match is None else ", ".join(condition.none_match),
    )


def _at(
    method: str, at: op.Location, chunk: tuple[int | None, int | None], *more: tuple[str, object]
) -> Request:
    """A request to an upload session; a query that the location has already stays first."""
    parts = urlsplit(at.target)
    path = f"{parts.scheme}://{parts.netloc}{parts.path}" if parts.scheme else parts.path
    query = "&".join(filter(None, (parts.query, _query(*more))))
    start, size = chunk
    fields = _fields(content_length=None if size is None else str(size))
    if start is not None and size:
        fields += _fields(content_range=f"{start}-{start + size - 1}")
    return Request(method, path, query, fields)


def write_request(operation: op.Operation) -> Request:
    """The request that asks for `operation`; whoever sends it adds Host, credentials and body.

    `path` of the answer is a whole URL where another registry's location is one.
    """
    match operation:
        case op.Ping():
            return Request("GET", "/v2/")
        case op.Redirect():
            return Request("GET", "/v2")
        case op.GetBlob():
            return _get(
                f"/v2/{operation.name}/blobs/{operation.digest}",
                operation.with_body,
                (),
                operation.range,
                operation.none_match,
            )
        case op.GetManifest():
            return _get(
                f"/v2/{operation.name}/manifests/{operation.reference}",
                operation.with_body,
                operation.accept,
                operation.range,
                operation.none_match,
            )
        case op.StartUpload():
            return _post(operation.name, ("digest-algorithm", operation.algorithm))
        case op.PushBlob():
            return _post(operation.name, ("digest", operation.digest))
        case op.MountBlob():
            return _post(operation.name, ("mount", operation.digest), ("from", operation.source))
        case op.AppendChunk():
            return _at("PATCH", operation.at, (operation.start, operation.size))
        case op.CommitUpload():
            return _at(
                "PUT",
                operation.at,
                (operation.start, operation.size),
                ("digest", operation.digest),
            )
        case op.GetUpload():
            return _at("GET", operation.at, (None, None))
        case op.CancelUpload():
            return _at("DELETE", operation.at, (None, None))
        case op.PutManifest():
            return Request(
                "PUT",
                f"/v2/{operation.name}/manifests/{operation.reference}",
                _query(*(("tag", tag) for tag in operation.tags), ("digest", operation.digest)),
                _fields(content_type=operation.media_type) + _conditions(operation.condition),
            )
        case op.DeleteManifest():
            return Request(
                "DELETE",
                f"/v2/{operation.name}/manifests/{operation.reference}",
                "",
                _conditions(operation.condition),
            )
        case op.DeleteBlob():
            return Request("DELETE", f"/v2/{operation.name}/blobs/{operation.digest}")
        case op.ListTags():
            return Request(
                "GET",
                f"/v2/{operation.name}/tags/list",
                _query(("n", operation.limit), ("last", operation.after or None)),
            )
        case op.ListReferrers():
            return Request(
                "GET",
                f"/v2/{operation.name}/referrers/{operation.digest}",
                _query(
                    ("artifactType", operation.artifact_type),
                    ("n", operation.limit),
                    ("last", operation.after),
                ),
            )
        case op.ListRepositories():
            return Request(
                "GET",
                "/v2/_catalog",
                _query(("n", operation.limit), ("last", operation.after or None)),
            )


def _post(name: str, *parameters: tuple[str, object]) -> Request:
    return Request("POST", f"/v2/{name}/blobs/uploads/", _query(*parameters))
