"""Names of packages, versions, and what a domain says about its packages: tables."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.artifact.manifests import CNCF, OLD_WASM, UNKNOWN, WASM, manifest
from wasmhold.oci.errors import ArtifactInvalid, ManifestInvalid
from wasmhold.package import (
    PackageInvalid,
    PackageName,
    PackageSpec,
    RegistryMetadata,
    newest,
    version_of,
    wasm_layer,
)
from wasmhold.semver import Version, VersionInvalid
from wasmhold.testing.covers import covers

# fmt: off
NAMES = ["a:b", "wasi:http", "my-org:my-lib2", "a1:b-2c", "x:a-b-c"]
NO_NAMES = [
    # text,             what is said
    ("",                "want namespace:name"),
    ("wasi",            "want namespace:name"),
    (":b",              "words of lower-case letters"),
    ("a:",              "words of lower-case letters"),
    ("a:b:c",           "words of lower-case letters"),
    ("a:1b",            "words of lower-case letters"),
    ("a:b-",            "words of lower-case letters"),
    ("a:b--c",          "words of lower-case letters"),
    ("a:b_c",           "words of lower-case letters"),
    ("a:b/c",           "words of lower-case letters"),
    ("h.example:a",     "words of lower-case letters"),
    ("Wasi:http",       "did you mean wasi?"),
    ("wasi:HTTP",       "did you mean http?"),
    ("a:b\n",           "words of lower-case letters"),
]
ORDER = [  # semver.org, 11, and builds behind it
    "0.0.1", "0.1.0", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta",
    "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.0.0+1", "1.0.0+2", "1.0.0+11",
    "1.0.0+a", "1.0.1-0", "1.0.1-9", "1.0.1-10", "1.0.1--", "1.0.1", "2.0.0", "10.0.0",
    "18446744073709551615.0.0",
]
NO_VERSIONS = [
    "", "1", "1.2", "1.2.3.4", "v1.2.3", "01.2.3", "1.02.3", "1.2.03", "1.2.3-", "1.2.3-01",
    "1.2.3-a..b", "1.2.3+", "1.2.3+a+b", "1.2.3-a_b", " 1.2.3", "1.2.3\n", "1.2.-3", "latest",
    "18446744073709551616.0.0", "1" * 5000 + ".0.0", "1.2.3-" + "a" * 5000,
]
# fmt: on


@covers("WL-002", "WL-057")
@pytest.mark.parametrize("text", NAMES)
def test_names(text):
    name = PackageName.parse(text)
    assert str(name) == text
    assert PackageSpec.parse(f"{text}@1.2.3-a+b").version == Version(1, 2, 3, ("a",), ("b",))
    assert str(PackageSpec.parse(f"{text}@1.2.3")) == f"{text}@1.2.3"
    assert PackageSpec.parse(text) == PackageSpec(name)


@covers("WL-002", "WL-038", "WL-057")
@pytest.mark.parametrize(("text", "said"), NO_NAMES)
def test_what_is_no_name_is_told(text, said):
    with pytest.raises(PackageInvalid, match=said.replace("?", r"\?")) as caught:
        PackageName.parse(text)
    start, end = caught.value.span
    assert 0 <= start <= end <= len(text)


@covers("WL-032")
def test_versions_have_one_order():
    versions = [Version.parse(text) for text in ORDER]
    assert [str(version) for version in versions] == ORDER
    shuffled = versions[:]
    random.Random(1).shuffle(shuffled)
    assert sorted(shuffled) == versions


@covers("WL-038")
@pytest.mark.parametrize("text", NO_VERSIONS, ids=range(len(NO_VERSIONS)))
def test_what_is_no_version_is_told(text):
    with pytest.raises(VersionInvalid):
        Version.parse(text)


@given(st.text(alphabet="0123456789.-+abZ", max_size=20))
def test_what_is_read_is_written_as_it_was(text):
    try:
        version = Version.parse(text)
    except VersionInvalid:
        return
    assert str(version) == text


@covers("WL-011", "WL-053", "WL-054")
@pytest.mark.parametrize(
    ("tag", "version"),
    [
        ("1.0.0", "1.0.0"),
        ("0.3.0-rc-2025-09-16", "0.3.0-rc-2025-09-16"),
        ("1.0.0_b", "1.0.0+b"),
        ("1.0.0-a_b", "1.0.0-a+b"),
        ("1.0.0_b_c", None),
        ("latest", None),
        ("v1.0.0", None),
        ("sha256-00", None),
    ],
)
def test_a_tag_is_a_version_or_passed_over(tag, version):
    assert version_of(tag) == (None if version is None else Version.parse(version))


@covers("WL-034")
@pytest.mark.parametrize(
    ("versions", "prereleases", "chosen"),
    [
        (["1.0.0", "2.0.0", "1.5.0"], False, "2.0.0"),
        (["1.0.0", "2.0.0-rc.1"], False, "1.0.0"),
        (["1.0.0", "2.0.0-rc.1"], True, "2.0.0-rc.1"),
        (["2.0.0-rc.1", "2.0.0-rc.2"], False, "2.0.0-rc.2"),
        ([], False, None),
    ],
)
def test_the_newest(versions, prereleases, chosen):
    found = newest(map(Version.parse, versions), prereleases=prereleases)
    assert found == (None if chosen is None else Version.parse(chosen))


NAME = PackageName("test", "pkg")
# fmt: off
METADATA = [
    # document,                                                         registry,   repository
    (b"{}",                                                             None,       "test/pkg"),
    (b'{"oci": {"registry": "h", "namespacePrefix": "a/"}}',            "h",        "a/test/pkg"),
    (b'{"ociRegistry": "h", "ociNamespacePrefix": "a/"}',               "h",        "a/test/pkg"),
    (b'{"oci": {"registry": "h"}, "ociRegistry": "i"}',                 "i",        "test/pkg"),
    (b'{"oci": {"namespacePrefix": "a"}}',                              None,       "a/test/pkg"),
    (b'{"oci": {}, "wargUrl": "https://w", "version": 1, "x": null}',   None,       "test/pkg"),
    (b'{"preferredProtocol": "oci", "oci": {"registry": ""}}',          None,       "test/pkg"),
]
# fmt: on


@covers("WL-004", "WL-053")
@pytest.mark.parametrize(("document", "registry", "repository"), METADATA)
def test_metadata(document, registry, repository):
    found = RegistryMetadata.parse(document)
    assert (found.registry, found.repository(NAME)) == (registry, repository)
    assert not found.is_warg_alone


@covers("WL-061")
@pytest.mark.parametrize("document", [b'{"wargUrl": "https://w"}', b'{"warg": {"url": "w"}}'])
def test_the_old_protocol_alone_is_known(document):
    assert RegistryMetadata.parse(document).is_warg_alone


@covers("WL-050")
@pytest.mark.parametrize(
    "document",
    [b"", b"[]", b"{", b'{"oci": 5}', b'{"oci": {"registry": 5}}', b'{"ociRegistry": 5}'],
)
def test_metadata_that_is_none(document):
    with pytest.raises(ManifestInvalid):
        RegistryMetadata.parse(document)


@covers("WL-012", "WL-051", "WL-052")
@pytest.mark.parametrize(
    ("config", "layers", "number"),
    [
        (CNCF, [WASM], 0),
        (UNKNOWN, [OLD_WASM], 0),
        (UNKNOWN, ["text/plain", WASM, "a/b"], 1),
        (UNKNOWN, [], None),
        (CNCF, [WASM, WASM], None),
        (CNCF, [WASM, OLD_WASM], None),
        (CNCF, ["application/wasm+x"], None),
    ],
)
def test_one_wasm_layer_is_the_content(config, layers, number):
    found = manifest(config, *layers)
    if number is not None:
        assert wasm_layer(found) == found.layers[number]
        return
    with pytest.raises(ArtifactInvalid) as caught:
        wasm_layer(found)
    wasm = sum(one in (WASM, OLD_WASM) for one in layers)
    assert str(caught.value) == f"invalid package manifest: expected 1 wasm layer; got {wasm}"
