"""Request to operation: routing and checking, pure and total.

Whatever comes in becomes an operation or raises an error of the tree in `oci.errors`.
Source: distribution-spec, "Endpoints".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, unquote_to_bytes

from ..oci import limits
from ..oci.digest import HEX_LENGTH, Digest
from ..oci.errors import (
    DigestInvalid,
    EndpointUnknown,
    NameInvalid,
    RequestInvalid,
    SizeInvalid,
    Unsupported,
    UploadUnknown,
)
from ..oci.media_types import is_media_type, without_parameters
from ..oci.reference import parse_name, parse_tag, parse_tag_or_digest
from . import operations as op
from .conditions import UNCONDITIONAL, Precondition, entity_tag, parse_entity_tags
from .messages import Request, field, field_values
from .ranges import ByteRange, parse_content_range

_PREFIX: Final = "/v2/"
_SESSION: Final = re.compile(r"[0-9A-Za-z_-]{1,64}")
_MAX_PARAMETERS: Final = 200  # of a query: a push with 100 tags is far below


@dataclass(frozen=True, slots=True)
class _Query:
    """The parameters of a query; names that nobody knows are let be."""

    values: Mapping[str, list[str]]

    @classmethod
    def parse(cls, text: str) -> _Query:
        if not text:
            return _EMPTY_QUERY
        if len(text) > limits.QUERY:
            raise RequestInvalid(f"the query has more than {limits.QUERY} bytes", text)
        values: dict[str, list[str]] = {}
        try:
            for key, value in parse_qsl(
                text, keep_blank_values=True, errors="strict", max_num_fields=_MAX_PARAMETERS
            ):
                values.setdefault(key, []).append(value)
        except UnicodeDecodeError:
            raise RequestInvalid("the query is not UTF-8", text) from None
        except ValueError:
            raise RequestInvalid(
                f"the query has more than {_MAX_PARAMETERS} parameters", text
            ) from None
        return cls(values)

    def get(self, name: str) -> str | None:
        found = self.values.get(name)
        return found[0] if found else None

    def all(self, name: str) -> list[str]:
        return self.values.get(name, [])


_EMPTY_QUERY = _Query({})


def read(request: Request) -> op.Operation:
    """The operation that `request` asks for.

    The path is split from the right: ``blobs``, ``manifests``, ``tags`` and ``uploads`` are legal
    parts of a name (DS-006).

    Raises EndpointUnknown, Unsupported (with the methods of that path), NameInvalid, TagInvalid,
    DigestInvalid, RequestInvalid, SizeInvalid, UploadInvalid.
    """
    path = request.path
    if not path.startswith(_PREFIX):
        if path == "/v2":
            return _moved(request)
        raise EndpointUnknown(f"no such path: {path[:300]!r}; the API lives under {_PREFIX}")
    if len(path) > limits.PATH:
        raise RequestInvalid(f"the path has more than {limits.PATH} bytes", path)
    rest = path[len(_PREFIX) :].removesuffix("/")
    if not rest:
        return _ping(request)
    if rest == "_catalog":
        return _catalog(request)
    head, _, last = rest.rpartition("/")
    if head.endswith("/manifests"):
        return _manifest(request, head[:-10], last)
    if rest.endswith("/blobs/uploads"):
        return _uploads(request, rest[:-14])
    if head.endswith("/blobs/uploads"):
        return _upload(request, head[:-14], last)
    if head.endswith("/blobs"):
        return _blob(request, head[:-6], last)
    if rest.endswith("/tags/list"):
        return _tags(request, rest[:-10])
    if head.endswith("/referrers"):
        return _referrers(request, head[:-10], last)
    raise EndpointUnknown(f"no such path: {path[:300]!r}")


def _method(request: Request, *allowed: str) -> str:
    """The request's method.  Raises Unsupported where this path has it not."""
    if request.method not in allowed:
        raise Unsupported(f"no {request.method[:20]} here, only {', '.join(allowed)}", allowed)
    return request.method


def _decoded(text: str, path: str) -> str:
    """A last part of a path, decoded once; an encoded slash does not separate (BR-060)."""
    if "%" not in text:
        return text
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise RequestInvalid("the path is not UTF-8", path) from None


def _number(query: _Query, name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > 18:
        raise RequestInvalid(f"{name} must be a whole number, 0 or more", text)
    return int(text)


def _none_match(request: Request) -> tuple[str, ...]:
    value = field(request.fields, b"if-none-match")
    return () if value is None else parse_entity_tags(value)


def _range(request: Request, digest: str | Digest) -> ByteRange | None:
    value = field(request.fields, b"range")
    if value is None:
        return None
    # If-Range with another entity tag means: the whole, if it has changed (RFC 9110, 13.1.5).
    only_of = field(request.fields, b"if-range")
    if only_of is not None and only_of.strip() != entity_tag(digest):
        return None
    return ByteRange.parse(value)


def _precondition(request: Request) -> Precondition:
    match = field(request.fields, b"if-match")
    none_match = field(request.fields, b"if-none-match")
    if match is None and none_match is None:
        return UNCONDITIONAL
    return Precondition(
        None if match is None else parse_entity_tags(match),
        None if none_match is None else parse_entity_tags(none_match),
    )


def _chunk(request: Request) -> tuple[int | None, int | None]:
    """Start and size of an upload's chunk, as the request states them.  Raises SizeInvalid."""
    stated = field(request.fields, b"content-range")
    length = field(request.fields, b"content-length")
    size = int(length) if length is not None and length.isascii() and length.isdecimal() else None
    if stated is None:
        return None, size
    start, stop = parse_content_range(stated)
    if size is not None and size != stop - start:
        raise SizeInvalid(stop - start, size)
    return start, stop - start


# ---- endpoints, one function for each


def _moved(request: Request) -> op.Operation:
    _method(request, "GET", "HEAD")
    return op.Redirect(_PREFIX)


def _ping(request: Request) -> op.Operation:
    _method(request, "GET", "HEAD")
    return op.Ping()


def _catalog(request: Request) -> op.Operation:
    _method(request, "GET", "HEAD")
    query = _Query.parse(request.query)
    return op.ListRepositories(_number(query, "n"), query.get("last") or "")


def _manifest(request: Request, name: str, last: str) -> op.Operation:
    method = _method(request, "GET", "HEAD", "PUT", "DELETE")
    name = parse_name(name)
    reference = parse_tag_or_digest(_decoded(last, request.path))
    if method == "DELETE":
        return op.DeleteManifest(name, reference, _precondition(request))
    if method == "PUT":
        return _put_manifest(request, name, reference)
    return op.GetManifest(
        name,
        reference,
        method == "GET",
        field_values(request.fields, b"accept"),
        _range(request, reference),
        _none_match(request),
    )


def _put_manifest(request: Request, name: str, reference: str | Digest) -> op.PutManifest:
    declared = field(request.fields, b"content-type")
    media_type = None if declared is None else without_parameters(declared) or None
    if media_type is not None and not is_media_type(media_type):
        raise RequestInvalid("Content-Type is no media type", media_type)
    query = _Query.parse(request.query)
    tags = tuple(dict.fromkeys(parse_tag(tag) for tag in query.all("tag")))
    if len(tags) > limits.TAGS_PER_PUSH:
        raise RequestInvalid(f"more than {limits.TAGS_PER_PUSH} tags in one push", request.query)
    if tags and isinstance(reference, str):
        raise RequestInvalid("?tag= goes with a push by digest", request.query)
    digest = None
    if isinstance(reference, str) and (stated := query.get("digest")):
        digest = Digest.parse(stated)
    return op.PutManifest(name, reference, media_type, tags, digest, _precondition(request))


def _blob(request: Request, name: str, last: str) -> op.Operation:
    method = _method(request, "GET", "HEAD", "DELETE")
    name = parse_name(name)
    digest = Digest.parse(_decoded(last, request.path))
    if method == "DELETE":
        return op.DeleteBlob(name, digest)
    return op.GetBlob(name, digest, method == "GET", _range(request, digest), _none_match(request))


def _uploads(request: Request, name: str) -> op.Operation:
    _method(request, "POST")
    name = parse_name(name)
    query = _Query.parse(request.query)
    if mount := query.get("mount"):
        digest, source = Digest.parse(mount), query.get("from") or None
        try:
            return op.MountBlob(name, digest, None if source is None else parse_name(source))
        except NameInvalid:
            # A repository that cannot exist has no blob: what cannot be mounted is uploaded.
            return op.StartUpload(name)
    if (digest_text := query.get("digest")) is not None:
        return op.PushBlob(name, Digest.parse(digest_text))
    algorithm = query.get("digest-algorithm")
    if algorithm is not None and algorithm not in HEX_LENGTH:
        raise DigestInvalid("unknown digest algorithm", algorithm)
    return op.StartUpload(name, algorithm)


def _upload(request: Request, name: str, last: str) -> op.Operation:
    method = _method(request, "GET", "PATCH", "PUT", "DELETE")
    name, session = parse_name(name), _decoded(last, request.path)
    # A store makes keys and paths of it, so nothing else passes: no slash, no dot.
    if _SESSION.fullmatch(session) is None:
        raise UploadUnknown(name, session[:100])
    at = op.UploadLocation(name, session)
    if method == "GET":
        return op.GetUpload(at)
    if method == "DELETE":
        return op.CancelUpload(at)
    if method == "PATCH":
        return op.AppendChunk(at, *_chunk(request))
    digest = _Query.parse(request.query).get("digest")
    if not digest:
        raise DigestInvalid("the closing PUT needs ?digest=", digest or "")
    return op.CommitUpload(at, Digest.parse(digest), *_chunk(request))


def _tags(request: Request, name: str) -> op.Operation:
    _method(request, "GET", "HEAD")
    query = _Query.parse(request.query)
    return op.ListTags(parse_name(name), _number(query, "n"), query.get("last") or "")


def _referrers(request: Request, name: str, last: str) -> op.Operation:
    _method(request, "GET", "HEAD")
    query = _Query.parse(request.query)
    after = query.get("last")
    artifact_type = query.get("artifactType") or None
    if artifact_type is not None:
        # A bare + in a query means a space, and no media type holds a space (DS-096).
        artifact_type = artifact_type.replace(" ", "+")
    return op.ListReferrers(
        parse_name(name),
        Digest.parse(_decoded(last, request.path)),
        artifact_type,
        _number(query, "n"),
        Digest.parse(after) if after else None,
    )
