"""Response to result: the client's half of `write`, and lenient where peers differ."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qs, urlsplit

from ..oci.descriptor import Descriptor, read_descriptor
from ..oci.digest import Digest
from ..oci.document import parse_object
from ..oci.errors import DigestInvalid, Fault, ManifestInvalid, WasmholdError
from ..oci.media_types import without_parameters
from . import operations as op
from . import results as res
from .errors import read_error
from .messages import Fields, Response, field, field_values
from .ranges import parse_held

# ``rel=next`` comes with and without quotes.
_NEXT: Final = re.compile(r'<([^>]*)>\s*;[^,]*?\brel="?next"?', re.IGNORECASE)
_PART: Final = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)")


class ResponseInvalid(WasmholdError):
    """Another registry's answer is none that the specification has."""


def read_response(operation: op.Operation, response: Response, content: bytes = b"") -> res.Result:
    """The result that `response` tells of `operation`.

    `content` is the whole body, read by the caller within a limit; the body of a blob alone stays
    in the response and is handed on.

    Raises RemoteError for every refusal; ResponseInvalid; DigestInvalid; UploadInvalid.
    """
    status = response.status
    if status >= 400:
        raise read_error(response, content)
    match operation:
        case op.Ping() if status == 200:
            return res.Pong()
        case op.Redirect() if status in (200, 301, 308):
            return res.Moved(field(response.fields, b"location") or "/v2/")
        case op.GetManifest() | op.GetBlob() if status == 304:
            return res.NotModified(_not_modified(operation, response))
        case op.GetManifest() if status in (200, 206):
            return _manifest(operation, response, content)
        case op.GetBlob() if status in (200, 206):
            return _blob(operation, response)
        # Some registries answer 200 or 204 to the start, and 204 to the end of an upload (WO-137).
        case op.StartUpload() | op.PushBlob() | op.MountBlob() if status == 202 or (
            status in (200, 204) and isinstance(operation, op.StartUpload)
        ):
            chunk = field(response.fields, b"oci-chunk-min-length")
            return res.UploadStarted(
                _location(response), int(chunk) if chunk and chunk.isdecimal() else None
            )
        case op.PushBlob() | op.MountBlob() if status == 201:
            return res.BlobStored(operation.name, _digest(response) or operation.digest)
        case op.CommitUpload() if status in (201, 204):
            at = operation.at
            name = at.name if isinstance(at, op.UploadLocation) else ""
            return res.BlobStored(name, _digest(response) or operation.digest)
        case op.AppendChunk() if status == 202:
            return res.UploadStands(_location(response), _held(response, fresh=False))
        case op.GetUpload() if status == 204:
            return res.UploadStands(_location(response), _held(response, fresh=True))
        case op.CancelUpload() if status == 204:
            return res.UploadCancelled()
        case op.PutManifest() if status in (201, 204):
            return _manifest_stored(operation, response)
        case op.DeleteManifest() | op.DeleteBlob() if status in (200, 202, 204):
            return res.Deleted()
        case op.ListTags() if status == 200:
            tags = _texts(parse_object(content), "tags")
            return res.TagsPage(operation.name, tags, next_page(response.fields) is not None)
        case op.ListRepositories() if status == 200:
            names = _texts(parse_object(content), "repositories")
            return res.RepositoriesPage(names, next_page(response.fields) is not None)
        case op.ListReferrers() if status == 200:
            return _referrers(response, content)
    raise ResponseInvalid(f"{type(operation).__name__} was answered with the status {status}")


def _digest(response: Response) -> Digest | None:
    text = field(response.fields, b"docker-content-digest")
    return None if text is None else Digest.parse(text)


def _not_modified(operation: op.GetManifest | op.GetBlob, response: Response) -> Digest:
    if isinstance(operation, op.GetBlob):
        return operation.digest
    tag = field(response.fields, b"etag") or (operation.none_match or ("",))[0]
    return _digest(response) or Digest.parse(tag.removeprefix("W/").strip('"'))


def _length(response: Response) -> int:
    text = field(response.fields, b"content-length") or ""
    if not (text.isascii() and text.isdecimal()):
        raise ResponseInvalid(f"Content-Length {text[:40]!r} is no number of bytes")
    return int(text)


def _part(response: Response) -> tuple[tuple[int, int] | None, int | None]:
    """Which part of how many bytes this is; (None, None) where it is the whole."""
    if response.status != 206:
        return None, None
    match = _PART.fullmatch(field(response.fields, b"content-range") or "")
    if match is None or int(match[2]) < int(match[1]):
        raise ResponseInvalid("206 without a Content-Range that says which part it is")
    size = None if match[3] == "*" else int(match[3])
    return (int(match[1]), int(match[2]) + 1), size


def _manifest(operation: op.GetManifest, response: Response, content: bytes) -> res.ManifestFound:
    digest = _digest(response)
    if digest is None:
        if isinstance(operation.reference, Digest):
            digest = operation.reference
        elif operation.with_body:
            digest = Digest.of(content)
        else:
            raise ResponseInvalid("no Docker-Content-Digest: ask with GET for the digest of a tag")
    media_type = without_parameters(field(response.fields, b"content-type") or "")
    part, size = _part(response)
    if size is None:
        size = len(content) if operation.with_body else _length(response)
    return res.ManifestFound(
        digest, media_type, size, content if operation.with_body else None, part
    )


def _blob(operation: op.GetBlob, response: Response) -> res.BlobFound:
    part, size = _part(response)
    if size is None:
        size = _length(response)
    return res.BlobFound(operation.digest, size, response.body, part)


def _location(response: Response) -> op.RemoteLocation:
    target = field(response.fields, b"location")
    if not target:
        raise ResponseInvalid("no Location of the upload session")
    return op.RemoteLocation(target)


def _held(response: Response, fresh: bool) -> int:
    return parse_held(field(response.fields, b"range") or "", fresh)


def _manifest_stored(operation: op.PutManifest, response: Response) -> res.ManifestStored:
    digest = _digest(response)
    if digest is None:
        digest = (
            operation.reference if isinstance(operation.reference, Digest) else operation.digest
        )
    if digest is None:
        raise ResponseInvalid("no Docker-Content-Digest for a push by tag")
    subject = field(response.fields, b"oci-subject")
    return res.ManifestStored(
        operation.name,
        operation.reference,
        digest,
        None if subject is None else Digest.parse(subject),
        field_values(response.fields, b"oci-tag"),
    )


def _texts(document: Mapping[str, object], key: str) -> tuple[str, ...]:
    """A list of text; ``null`` is what some registries say for an empty one."""
    items = document.get(key) or []
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise ResponseInvalid(f"{key} is no list of text")
    return tuple(items)


def next_page(fields: Fields) -> str | None:
    """Where a list goes on, None on its last page: opaque, a path or URL to be used as it is."""
    for key, value in fields:
        if key == b"link" and (match := _NEXT.search(value.decode("latin-1"))):
            return match[1]
    return None


def _next_digest(response: Response) -> Digest | None:
    """``last`` of the next page, where it has one; others page by something of their own."""
    last = parse_qs(urlsplit(next_page(response.fields) or "").query).get("last", [""])[0]
    try:
        return Digest.parse(last)
    except DigestInvalid:
        return None


def _referrers(response: Response, content: bytes) -> res.ReferrersPage:
    items = parse_object(content).get("manifests") or []
    if not isinstance(items, list):
        raise ManifestInvalid(Fault("manifests", "want a list of descriptors"))
    faults: list[Fault] = []
    found: list[Descriptor] = []
    for i, item in enumerate(items):
        descriptor = read_descriptor(item, f"manifests[{i}]", faults)
        if descriptor is not None:
            found.append(descriptor)
    if faults:
        raise ManifestInvalid(*faults)
    filtered = "artifactType" in field_values(response.fields, b"oci-filters-applied")
    return res.ReferrersPage(tuple(found), filtered, _next_digest(response))
