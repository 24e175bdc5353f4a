"""The two halves of a request are inverse, and anything at all can be read."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.protocol.operations import operations
from wasmhold.oci import limits
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import (
    DigestInvalid,
    EndpointUnknown,
    InputError,
    RequestInvalid,
    UploadInvalid,
    UploadUnknown,
    WasmholdError,
)
from wasmhold.protocol import Request, read, write_request
from wasmhold.protocol import operations as op
from wasmhold.protocol.messages import field_values
from wasmhold.testing.covers import covers

D = Digest.of(b"")


@covers("BR-002", "BR-015", "BR-016")
@given(operations)
def test_read_is_the_inverse_of_write_request(operation):
    assert read(write_request(operation)) == operation


def test_every_operation_is_generated():
    """The property above is worth what its strategy covers."""
    seen = set()

    @settings(max_examples=2000, database=None)
    @given(operations)
    def look(operation):
        seen.add(type(operation))

    look()
    assert seen == set(op.Operation.__args__)


@given(
    st.sampled_from(["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "X"]) | st.text(),
    st.lists(
        st.sampled_from(
            ["/v2", "/", "a", "blobs", "uploads", "manifests", "tags/list", "referrers", "%2f"]
            + ["_catalog", "..", f"{D}", "sha256:", "%ff", "é", "\0"]
        )
        | st.text(max_size=4)
    ).map("/".join),
    st.lists(
        st.sampled_from(["n=", "last=", "digest=", "mount=", "from=", "tag=", "artifactType="])
        | st.text(max_size=6)
    ).map("&".join),
    st.lists(
        st.tuples(
            st.sampled_from(
                [b"content-type", b"content-length", b"content-range", b"range", b"accept"]
                + [b"if-match", b"if-none-match", b"if-range"]
            ),
            st.binary(max_size=20) | st.sampled_from([b"0-4", b"bytes=1-", b'"x"', b"*", b"5"]),
        )
    ),
)
def test_any_request_is_an_operation_or_refused(method, path, query, fields):
    try:
        operation = read(Request(method, path, query, fields))
    except WasmholdError as error:
        assert 400 <= error.status < 500
        assert all(entry.code and entry.message for entry in error.entries())
    else:
        assert isinstance(operation, op.Operation.__args__)


# fmt: off
REFUSED = [
    # request,                                                             error
    (Request("GET", "/v2/" + "a/" * limits.PATH),                          RequestInvalid),
    (Request("GET", "/v2/a/tags/list", "x=" + "y" * limits.QUERY),         RequestInvalid),
    (Request("GET", "/v2/a/tags/list", "&".join(["x=1"] * 300)),           RequestInvalid),
    (Request("GET", "/v2/a/tags/list", "n=+1"),                            RequestInvalid),
    (Request("GET", "/v2/a/tags/list", "n=1e3"),                           RequestInvalid),
    (Request("GET", "/v2/a/tags/list", "n=%d9%a1"),                        RequestInvalid),
    (Request("GET", "/v2/a/tags/list", "n=" + "9" * 30),                   RequestInvalid),
    (Request("GET", "/v2/a/tags/list", "last=%ff"),                        RequestInvalid),
    (Request("PUT", f"/v2/a/manifests/{D}", "&".join(f"tag=t{i}" for i in range(101))),
                                                                           RequestInvalid),
    (Request("PUT", "/v2/a/manifests/v1", "", [(b"content-type", b"x")]),  RequestInvalid),
    (Request("POST", "/v2/a/blobs/uploads/", "digest="),                   DigestInvalid),
    (Request("PUT", "/v2/a/blobs/uploads/s"),                              DigestInvalid),
    (Request("PATCH", "/v2/a/blobs/uploads/s", "", [(b"content-range", b"0-")]), UploadInvalid),
    (Request("GET", "/v2/a/blobs/uploads/x.y"),                            UploadUnknown),
    (Request("GET", "/v2/a/blobs/uploads/..%2fb"),                         UploadUnknown),
    (Request("GET", "/v2/a/blobs/uploads/" + "x" * 65),                    UploadUnknown),
    (Request("GET", "/v2x/"),                                              EndpointUnknown),
    (Request("GET", "*"),                                                  EndpointUnknown),
]
# fmt: on


@covers("BR-085", "DS-012")
@pytest.mark.parametrize(("request_", "error"), REFUSED)
def test_refused(request_, error):
    with pytest.raises(error):
        read(request_)


@covers("DS-068")
def test_a_hundred_tags_are_taken():
    query = "&".join(f"tag=t{i}" for i in range(limits.TAGS_PER_PUSH))
    operation = read(Request("PUT", f"/v2/a/manifests/{D}", query))
    assert len(operation.tags) == limits.TAGS_PER_PUSH


@covers("DS-025")
def test_all_lines_of_accept_are_read():
    fields = [(b"accept", b"a/b, c/d"), (b"host", b"x"), (b"accept", b" e/f ,")]
    assert field_values(fields, b"accept") == ("a/b", "c/d", "e/f")
    assert read(Request("GET", "/v2/a/manifests/v1", "", fields)).accept == ("a/b", "c/d", "e/f")


@covers("DS-041")
def test_another_registrys_location_is_opaque():
    at = op.RemoteLocation("https://cdn.example/x/y?state=a%2Bb")
    request = write_request(op.CommitUpload(at, D, 5, 10))
    assert request.target == f"https://cdn.example/x/y?state=a%2Bb&digest={D}"
    assert (b"content-range", b"5-14") in request.fields
    assert write_request(op.GetUpload(op.RemoteLocation("/x?y=1"))).target == "/x?y=1"


def test_errors_show_the_place():
    with pytest.raises(InputError) as caught:
        read(Request("GET", "/v2/aB/tags/list"))
    assert caught.value.show().splitlines()[1:] == ["  aB", "  ^^"]
