from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wasmhold.oci import limits
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import DigestInvalid, InputError, NameInvalid, TagInvalid
from wasmhold.oci.reference import Reference, parse_name, parse_tag, parse_tag_or_digest
from wasmhold.testing.covers import covers

DIGEST = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

NAMES = ["a", "a/b", "a.b/c_d/e__f/g-h/i--j", "0/1", "blobs/manifests/uploads", "a" * 255]

# fmt: off
BAD_NAMES = [
    # name,         why
    ("",            "empty"),
    ("A",           "upper case"),
    ("a//b",        "an empty part"),
    ("/a",          "begins with a slash"),
    ("a/",          "ends with a slash"),
    (".a",          "a part begins with a dot"),
    ("a/../b",      "a part of dots"),
    ("a..b",        "two dots"),
    ("a___b",       "three underscores"),
    ("_oci",        "begins with an underscore: that is where extensions live"),
    ("a-",          "ends with a dash"),
    ("a\n",         "a newline"),
    ("a\0",         "a NUL"),
    ("a\\b",        "a backslash"),
    ("ä",           "not ASCII"),
    ("a" * 256,     "too long"),
]
BAD_TAGS = ["", ".x", "-x", "a b", "a/b", "a:b", "x\n", "ä", "t" * 129]
BAD_REFERENCES = [
    # text,                        error,         span
    ("alpine",                     NameInvalid,   (0, 6)),
    ("/name",                      NameInvalid,   (0, 5)),
    ("host/Name:tag",              NameInvalid,   (5, 9)),
    ("host/name:.tag",             TagInvalid,    (10, 14)),
    ("host/name:",                 TagInvalid,    (10, 10)),
    ("host/name@sha256:1",         DigestInvalid, (7, 8)),
]
# fmt: on


@covers("DS-001", "DS-006")
@pytest.mark.parametrize("name", NAMES)
def test_names(name):
    assert parse_name(name) == name


@covers("DS-001", "DS-002", "BR-085", "BR-086")
@pytest.mark.parametrize(("name", "why"), BAD_NAMES, ids=[why for _, why in BAD_NAMES])
def test_bad_names(name, why):
    with pytest.raises(NameInvalid) as caught:
        parse_name(name)
    assert caught.value.code == "NAME_INVALID"


@covers("DS-003")
@pytest.mark.parametrize("tag", ["v1", "_", "A.b-c_D", "1" * limits.TAG])
def test_tags(tag):
    assert parse_tag(tag) == tag == parse_tag_or_digest(tag)


@covers("DS-003")
@pytest.mark.parametrize("tag", BAD_TAGS)
def test_bad_tags(tag):
    with pytest.raises(TagInvalid):
        parse_tag(tag)


@covers("DS-004")
def test_what_holds_a_colon_is_a_digest():
    assert parse_tag_or_digest(DIGEST) == Digest.parse(DIGEST)
    with pytest.raises(DigestInvalid):
        parse_tag_or_digest("v1:2")


@pytest.mark.parametrize(("text", "error", "span"), BAD_REFERENCES)
def test_bad_references_say_where(text, error, span):
    with pytest.raises(error) as caught:
        Reference.parse(text)
    assert caught.value.span == span


names = st.from_regex(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+){0,3}", fullmatch=True)
tags = st.from_regex(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", fullmatch=True)


@given(
    st.from_regex(r"[a-z0-9.]+(:[0-9]{1,5})?", fullmatch=True),
    names.filter(lambda name: len(name) <= limits.NAME),
    st.none() | tags,
    st.none() | st.binary().map(Digest.of),
)
def test_round_trip(registry, name, tag, digest):
    reference = Reference(registry, name, tag, digest)
    assert Reference.parse(str(reference)) == reference


@given(st.text(alphabet="ab/:@.-_A0\n\0ä%", max_size=40))
def test_any_text_is_a_reference_or_refused(text):
    try:
        assert str(Reference.parse(text)) == text
    except InputError as error:
        start, end = error.span
        assert 0 <= start <= end
