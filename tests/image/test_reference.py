"""References as docker reads them: tables."""

from __future__ import annotations

import pytest

from wasmhold.client.place import PlaceInvalid
from wasmhold.image.errors import InvalidReference
from wasmhold.image.reference import ImageReference, ends_with, is_mutable_tag
from wasmhold.oci.errors import DigestInvalid
from wasmhold.testing.covers import covers

HEX = "0123456789abcdef" * 4
SHA256 = f"sha256:{HEX}"
SHA512 = f"sha512:{HEX}{HEX}"

# fmt: off
PARSED = [
    # as written,                        in full,                                   qualified
    ("alpine",                           "docker.io/library/alpine:latest",         False),
    ("alpine:3",                         "docker.io/library/alpine:3",              False),
    ("library/alpine",                   "docker.io/library/alpine:latest",         False),
    ("team/app:1",                       "docker.io/team/app:1",                    False),
    ("docker.io/alpine",                 "docker.io/library/alpine:latest",         True),
    ("index.docker.io/alpine",           "docker.io/library/alpine:latest",         True),
    ("registry-1.docker.io/team/app",    "docker.io/team/app:latest",               True),
    ("docker.io/team/app",               "docker.io/team/app:latest",               True),
    ("ghcr.io/app",                      "ghcr.io/app:latest",                      True),
    ("ghcr.io/team/app:v1.2",            "ghcr.io/team/app:v1.2",                   True),
    ("localhost/foo",                    "localhost/foo:latest",                    True),
    ("localhost:5000/foo",               "localhost:5000/foo:latest",               True),
    ("registry:5000/foo:1",              "registry:5000/foo:1",                     True),
    ("[::1]:5000/foo/bar:1",             "[::1]:5000/foo/bar:1",                    True),
    (f"alpine@{SHA256}",                 f"docker.io/library/alpine@{SHA256}",      False),
    (f"alpine:3@{SHA256}",               f"docker.io/library/alpine:3@{SHA256}",    False),
    (f"ghcr.io/app:1@{SHA512}",          f"ghcr.io/app:1@{SHA512}",                 True),
]
REFUSED = [
    # as written,              what is said,                               where
    ("",                       "at least a name",                          (0, 0)),
    ("Alpine",                 "must be lower case",                       (0, 6)),
    ("ghcr.io/Team/app:1",     "must be lower case",                       (8, 16)),
    ("ghcr.io/",               "not a repository name",                    (8, 8)),
    ("../x",                   "not a repository name",                    (0, 4)),
    ("./x",                    "not a repository name",                    (0, 3)),
    ("ghcr.io/a b",            "not a repository name",                    (8, 11)),
    ("https://ghcr.io/app",    "not a repository name",                    (0, 19)),
    ("ghcr.io/app:-x",         "not a tag",                                (12, 14)),
    ("a" * 256,                "at most 255 characters",                   (0, 256)),
    (f"a@sha256:{HEX.upper()}", "64 lower-case hex digits",                (7, 71)),
    (f"a@sha384:{HEX}{HEX[:32]}", "unknown digest algorithm",              (0, 6)),
    ("a@sha256:abc",           "64 lower-case hex digits",                 (7, 10)),
    ("a@",                     "not a digest",                             (0, 0)),
]
# fmt: on


@covers("ZL-050", "ZL-052", "ZL-057")
@pytest.mark.parametrize(("text", "whole", "qualified"), PARSED)
def test_what_a_reference_means(text, whole, qualified):
    image = ImageReference.parse(text)
    assert str(image) == whole
    assert image.qualified is qualified
    assert image.original == text
    assert str(ImageReference.parse(whole)) == whole


@covers("ZL-050", "ZL-008")
@pytest.mark.parametrize(("text", "said", "span"), REFUSED)
def test_what_is_no_reference(text, said, span):
    with pytest.raises(InvalidReference, match=said) as caught:
        ImageReference.parse(text)
    assert caught.value.span == span
    assert caught.value.reason
    if "@" not in text:
        assert caught.value.text == text


def test_a_digest_is_refused_as_a_digest():
    with pytest.raises(DigestInvalid):
        ImageReference.parse("alpine@md5:abc")


# fmt: off
WITHIN = [
    # as written,          default,                  means
    ("alpine",             "registry.example.com",   "registry.example.com/alpine:latest"),
    ("team/app:1",         "localhost:5000",         "localhost:5000/team/app:1"),
    (f"app@{SHA256}",      "localhost:5000",         f"localhost:5000/app@{SHA256}"),
    ("library/app",        "localhost:5000",         "localhost:5000/library/app:latest"),
    ("alpine",             "docker.io",              "docker.io/library/alpine:latest"),
    ("alpine",             "index.docker.io",        "docker.io/library/alpine:latest"),
    ("ghcr.io/app",        "localhost:5000",         "ghcr.io/app:latest"),
    ("alpine",             None,                     "docker.io/library/alpine:latest"),
]
# fmt: on


@covers("ZL-059")
@pytest.mark.parametrize(("text", "default", "means"), WITHIN)
def test_a_bare_name_within_a_default_registry(text, default, means):
    assert str(ImageReference.parse(text).within(default)) == means


@pytest.mark.parametrize("default", ["registry", "https://ghcr.io", "ghcr.io/team", ""])
def test_a_default_registry_is_a_host(default):
    with pytest.raises(PlaceInvalid, match="want the host of a registry"):
        ImageReference.parse("alpine").within(default)


# fmt: off
MUTABLE = [
    ("alpine", True), ("alpine:", True), ("alpine:latest", True), ("ghcr.io/a/b", True),
    ("localhost:5000/app", True), ("app:dev", True), ("app:edge", True), ("app:main", True),
    ("app:master", True), ("app:v1", False), ("app:1.25", False), ("app:stable", False),
    ("app:nightly", False), (f"app@{SHA256}", False), (f"app:latest@{SHA256}", False),
    ("localhost:5000/app:latest", True), ("localhost:5000/app:1", False),
]
LOCAL = [
    # as written,                    names that are looked for here, in order
    ("alpine",                       ["alpine", "library/alpine"]),
    ("alpine:3",                     ["alpine", "library/alpine"]),
    ("library/alpine",               ["library/alpine", "alpine"]),
    ("team/app",                     ["team/app"]),
    ("docker.io/library/alpine:3",   ["docker.io/library/alpine", "library/alpine", "alpine"]),
    ("docker.io/alpine",             ["docker.io/alpine", "alpine"]),
    ("docker.io/team/app",           ["docker.io/team/app", "team/app"]),
    ("ghcr.io/team/app:1",           ["ghcr.io/team/app"]),
    ("ghcr.io/library/app",          ["ghcr.io/library/app"]),
    (f"alpine:3@{SHA256}",           ["alpine", "library/alpine"]),
]
ENDS = [
    ("ghcr.io/team/app", "app", True), ("ghcr.io/team/app", "team/app", True),
    ("ghcr.io/team/app", "m/app", False), ("app", "app", True), ("x/myapp", "app", False),
]
# fmt: on


@covers("ZL-053")
@pytest.mark.parametrize(("text", "moves"), MUTABLE)
def test_which_tags_are_known_to_move(text, moves):
    assert is_mutable_tag(text) is moves


@covers("ZL-054", "ZL-055")
@pytest.mark.parametrize(("text", "names"), LOCAL)
def test_the_names_that_are_looked_for_here(text, names):
    assert list(ImageReference.parse(text).local_names) == names


@covers("ZL-054")
def test_a_digest_counts_before_a_tag():
    image = ImageReference.parse(f"alpine:3@{SHA256}")
    assert str(image.reference) == SHA256
    assert ImageReference.parse("alpine:3").reference == "3"
    assert ImageReference.parse("alpine").reference == "latest"


@pytest.mark.parametrize(("name", "wanted", "does"), ENDS)
def test_which_names_a_short_one_may_stand_for(name, wanted, does):
    assert ends_with(name, wanted) is does
