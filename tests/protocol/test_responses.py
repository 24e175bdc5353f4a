"""The two halves of a response are inverse as far as HTTP carries them; peers differ, and we read it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.operations import digests, media_types, names, references, tags
from wasmhold.oci import errors
from wasmhold.oci.descriptor import Descriptor
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import Fault, WasmholdError
from wasmhold.ports.body import read_all
from wasmhold.ports.runtime import run
from wasmhold.protocol import Response, read_error, read_response, write, write_error
from wasmhold.protocol import operations as op
from wasmhold.protocol import results as res
from wasmhold.protocol.errors import RemoteError
from wasmhold.protocol.messages import field
from wasmhold.protocol.read_response import ResponseInvalid
from wasmhold.testing.covers import covers

D = Digest.of(b"hello")
AT = op.UploadLocation("a", "s")
REMOTE = op.RemoteLocation(AT.target)


def content(response):
    return b"" if response.body is None else run(read_all(response.body))


def there_and_back(operation, result):
    response = write(operation, result)
    return read_response(operation, response, content(response))


# fmt: off
SAME = [
    # operation,                                   result
    (op.Ping(),                                    res.Pong()),
    (op.Redirect("/v2/"),                          res.Moved("/v2/")),
    (op.GetManifest("a", "v1"),                    res.ManifestFound(D, "x/y", 5, b"hello")),
    (op.GetManifest("a", D, False),                res.ManifestFound(D, "x/y", 5)),
    (op.GetManifest("a", "v1"),                    res.NotModified(D)),
    (op.GetBlob("a", D),                           res.NotModified(D)),
    (op.GetBlob("a", D, False),                    res.BlobFound(D, 5)),
    (op.GetBlob("a", D),                           res.BlobFound(D, 9, None, (2, 5))),
    (op.PushBlob("a", D),                          res.BlobStored("a", D)),
    (op.MountBlob("a", D, "b"),                    res.BlobStored("a", D)),
    (op.CommitUpload(AT, D),                       res.BlobStored("a", D)),
    (op.CancelUpload(AT),                          res.UploadCancelled()),
    (op.DeleteBlob("a", D),                        res.Deleted()),
    (op.DeleteManifest("a", D),                    res.Deleted()),
    (op.ListTags("a"),                             res.TagsPage("a", ("x", "y"))),
    (op.ListTags("a", 2),                          res.TagsPage("a", ("x", "y"), more=True)),
    (op.ListRepositories(1),                       res.RepositoriesPage(("a/b",), more=True)),
    (op.ListRepositories(),                        res.RepositoriesPage(())),
]
# fmt: on


@pytest.mark.parametrize(("operation", "result"), SAME)
def test_results_come_back(operation, result):
    assert there_and_back(operation, result) == result


@given(names, references, digests, st.none() | digests, st.lists(tags, max_size=3).map(tuple))
def test_stored_manifests_come_back(name, reference, digest, subject, stored):
    result = res.ManifestStored(name, reference, digest, subject, stored)
    assert there_and_back(op.PutManifest(name, reference), result) == result


@given(
    st.lists(st.builds(Descriptor, media_types, digests, st.integers(0, 9)), max_size=3),
    st.none() | media_types,
    st.none() | digests,
)
def test_referrers_come_back(found, artifact_type, following):
    result = res.ReferrersPage(tuple(found), artifact_type is not None, following)
    operation = op.ListReferrers("a", D, artifact_type, 3)
    assert there_and_back(operation, result) == result


@covers("DS-048", "OW-138")
@pytest.mark.parametrize("offset", [0, 2, 1000])
def test_offsets_come_back(offset):
    stands = res.UploadStands(REMOTE, offset)
    assert there_and_back(op.GetUpload(AT), res.UploadStands(AT, offset)) == stands
    if offset:
        assert there_and_back(op.AppendChunk(AT), res.UploadStands(AT, offset)) == stands
    assert there_and_back(op.StartUpload("a"), res.UploadStarted(AT)) == res.UploadStarted(REMOTE)


@covers("DS-040", "DS-050")
def test_what_peers_say_is_read():
    """Of the table of peers in the specification's notes: forms that differ from ours."""
    fresh = Response(204, [(b"location", b"/x"), (b"range", b"0--1")])
    assert read_response(op.GetUpload(AT), fresh).offset == 0
    started = Response(202, [(b"location", b"https://h/x?y"), (b"oci-chunk-min-length", b"9")])
    expected = res.UploadStarted(op.RemoteLocation("https://h/x?y"), 9)
    assert read_response(op.StartUpload("a"), started) == expected
    page = Response(200, [(b"link", b"</v2/a/tags/list?last=a&n=1>; rel=next")])
    assert read_response(op.ListTags("a"), page, b'{"name":"a","tags":["a"]}').more
    assert read_response(op.ListTags("a"), Response(200, []), b'{"tags":null}').tags == ()
    untyped = Response(200, [(b"content-type", b"X/Y; charset=utf-8")])
    found = read_response(op.GetManifest("a", "v1"), untyped, b"hello")
    assert (found.digest, found.media_type) == (D, "x/y")
    assert read_response(op.GetManifest("a", D), untyped, b"hello").digest == D
    old = Response(304, [(b"etag", f'"{D}"'.encode())])
    assert read_response(op.GetManifest("a", "v1"), old) == res.NotModified(D)
    stored = read_response(op.PutManifest("a", "v1", digest=D), Response(201, []))
    assert stored == res.ManifestStored("a", "v1", D)
    many = Response(201, [(b"oci-tag", b"a, b"), (b"oci-tag", b"c")])
    assert read_response(op.PutManifest("a", D), many).tags == ("a", "b", "c")
    open_end = Response(206, [(b"content-range", b"bytes 0-1/*"), (b"content-length", b"2")])
    assert read_response(op.GetBlob("a", D), open_end).part == (0, 2)


# fmt: off
INVALID = [
    # operation,                       response,                                    content
    (op.Ping(),                        Response(204, []),                           b""),
    (op.StartUpload("a"),              Response(202, []),                           b""),
    (op.GetUpload(AT),                 Response(204, [(b"location", b"/x")]),       b""),
    (op.GetUpload(AT),                 Response(204, [(b"location", b"/x"), (b"range", b"5-9")]), b""),
    (op.GetManifest("a", "v1", False), Response(200, [(b"content-length", b"5")]),  b""),
    (op.GetManifest("a", D, False),    Response(200, [(b"content-length", b"x")]),  b""),
    (op.GetBlob("a", D),               Response(206, []),                           b""),
    (op.PutManifest("a", "v1"),        Response(201, []),                           b""),
    (op.ListTags("a"),                 Response(200, []),                           b"[]"),
    (op.ListTags("a"),                 Response(200, []),                           b'{"tags":[1]}'),
    (op.ListReferrers("a", D),         Response(200, []),                           b'{"manifests":7}'),
    (op.ListReferrers("a", D),         Response(200, []),                           b'{"manifests":[7]}'),
    (op.GetManifest("a", "v1"), Response(200, [(b"docker-content-digest", b"x")]),  b""),
]
# fmt: on


@pytest.mark.parametrize(("operation", "response", "body"), INVALID)
def test_what_is_no_answer_is_an_error(operation, response, body):
    with pytest.raises(WasmholdError):
        read_response(operation, response, body)


def test_an_unexpected_status_is_named():
    with pytest.raises(ResponseInvalid, match="Ping was answered with the status 302"):
        read_response(op.Ping(), Response(302, []))


def test_our_refusals_come_back():
    error = errors.ManifestInvalid(Fault("layers[0].size", "want"), Fault("", "more"))
    response = write_error(error)
    with pytest.raises(RemoteError) as caught:
        read_response(op.Ping(), response, content(response))
    assert caught.value.answer_status == 400
    assert caught.value.answers == error.entries()
    assert "MANIFEST_INVALID: layers[0].size: want" in str(caught.value)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"errors":1}', b'{"errors":[1]}', b'{"errors":[{}]}']
)
def test_refusals_in_any_form_are_read(body):
    assert read_error(Response(502, [(b"retry-after", b"soon")]), body).answers == []


def test_what_a_stranger_says_is_fit_for_a_terminal():
    body = json.dumps(
        {"errors": [{"code": "X\x1b[31m", "message": "a\nb\0" + "c" * 9999}]}
    ).encode()
    (entry,) = read_error(Response(400, []), body).answers
    assert entry.code == "X[31m"
    assert entry.message.startswith("a bccc")
    assert len(entry.message) <= 500


@given(st.binary())
def test_any_refusal_is_read(body):
    assert read_error(Response(429, [(b"retry-after", b"7")]), body).retry_after_s == 7


# Those of the tree: other modules have further ones below it, where they have been imported.
INPUTS = [c for c in errors.InputError.__subclasses__() if c.__module__ == errors.__name__]
ERRORS = [
    errors.ManifestInvalid(Fault("a", "b")),
    errors.ManifestBlobUnknown([str(D)]),
    errors.DigestMismatch(str(D), str(D)),
    errors.SizeInvalid(1, 2),
    errors.UploadInvalid("x"),
    errors.BlobUnknown("a", str(D)),
    errors.ManifestUnknown("a", "v1"),
    errors.NameUnknown("a"),
    errors.UploadUnknown("a", "s"),
    errors.EndpointUnknown("x"),
    errors.Unauthorized('Basic realm="x"'),
    errors.Denied("x"),
    errors.Unsupported("x", ("GET",)),
    errors.BlobInUse("a", str(D)),
    errors.BodyStalled(30),
    errors.BodyCut(),
    errors.PreconditionFailed("v1", None),
    errors.TooLarge(5),
    errors.ManifestTooLarge(5),
    errors.RangeInvalid(5, 6),
    errors.RangeNotSatisfiable(5),
    errors.TooManyRequests(3),
    errors.StoreUnavailable("x"),
    errors.OutOfSpace("x"),
    errors.ContentDamaged("x"),
    errors.FileInvalid("x", errors.Fault("line 1", "y")),
    errors.Cancelled(),
    errors.CannotList("x", "y"),
    errors.Unreachable("registry.example", "x"),
    errors.AuthFailed("registry.example", "x", 401),
    errors.WasmInvalid("x", "y", 8),
    errors.ArtifactInvalid("x"),
    errors.NotWasm("x", "a/b", ()),
    errors.Ambiguous("x", ("y", "z")),
    errors.ArchiveInvalid("x"),
    errors.UnsafeEntry("x", "y"),
    errors.LimitExceeded("entries", 5),
    errors.ForeignLayerError("a/b"),
    errors.MissingExtraError("zstd"),
    errors.NoWasmLayer("x", "a/b", ()),
    errors.UnsupportedManifest("x", "a/b"),
    *(kind("x", "y") for kind in INPUTS),
]
NEEDS = {401: b"www-authenticate", 405: b"allow", 429: b"retry-after", 503: b"retry-after"}


@covers("DS-120", "DS-014", "BR-009", "BR-065", "BR-066", "BR-067", "BR-070", "BR-072", "BR-100")
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_every_error_has_its_response(error):
    response = write_error(error, op.AppendChunk(AT))
    document = json.loads(content(response))
    assert response.status == error.status
    assert field(response.fields, b"content-type") == "application/json"
    assert document["errors"][0]["code"] == error.code
    assert document["errors"][0]["message"]
    assert error.code.replace("_", "").isupper()
    if error.status in NEEDS:
        assert field(response.fields, NEEDS[error.status]) is not None
    if error.status == 416:
        assert field(response.fields, b"range") or field(response.fields, b"content-range")


def test_every_error_is_in_the_table():
    def below(base):
        for child in base.__subclasses__():
            if child.__module__ == errors.__name__:
                yield child
                yield from below(child)

    abstract = {errors.InputError, errors.NotFound}
    assert {type(error) for error in ERRORS} == set(below(WasmholdError)) - abstract


LOCATION = (b"location", b"/v2/a/blobs/uploads/x")
STORED = (b"docker-content-digest", str(D).encode())


@covers("WO-137")
@pytest.mark.parametrize(
    ("operation", "response", "kind"),
    [
        (op.StartUpload("a"), Response(200, [LOCATION]), res.UploadStarted),
        (op.StartUpload("a"), Response(204, [LOCATION]), res.UploadStarted),
        (op.CommitUpload(AT, D), Response(204, []), res.BlobStored),
        (op.PutManifest("a", D, "a/b"), Response(204, [STORED]), res.ManifestStored),
    ],
)
def test_other_statuses_that_registries_use(operation, response, kind):
    assert isinstance(read_response(operation, response), kind)
