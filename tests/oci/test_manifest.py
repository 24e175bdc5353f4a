from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wasmhold.oci import media_types as mt
from wasmhold.oci.descriptor import Descriptor, read_descriptor
from wasmhold.oci.digest import Digest
from wasmhold.oci.document import parse_object
from wasmhold.oci.errors import ManifestInvalid
from wasmhold.oci.manifest import parse_manifest
from wasmhold.testing.covers import covers

D = Digest.of(b"")


def descriptor(**more):
    return {"mediaType": "a/b", "digest": str(D), "size": 0, **more}


def image(**more):
    return {"schemaVersion": 2, "config": descriptor(), "layers": [], **more}


def index(**more):
    return {"schemaVersion": 2, "manifests": [], **more}


def parse(document, declared=None):
    return parse_manifest(json.dumps(document).encode(), declared)


# fmt: off
BAD = [
    # document,                                              place that is told
    (image(schemaVersion=1),                                 "schemaVersion"),
    (image(schemaVersion=True),                              "schemaVersion"),
    (image(mediaType="text/plain"),                          "mediaType"),
    (image(mediaType=7),                                     "mediaType"),
    (image(config=None),                                     "config"),
    (image(config=[]),                                       "config"),
    (image(config=descriptor(size="1")),                     "config.size"),
    (image(config=descriptor(size=True)),                    "config.size"),
    (image(config=descriptor(size=-1)),                      "config.size"),
    (image(config=descriptor(size=1.5)),                     "config.size"),
    (image(config=descriptor(digest=1)),                     "config.digest"),
    (image(config=descriptor(mediaType="x")),                "config.mediaType"),
    (image(config=descriptor(mediaType="a/b;")),             "config.mediaType"),
    (image(config=descriptor(mediaType="a/b;c=d\r\nx: y")),  "config.mediaType"),
    (image(artifactType='a/b;c="d'),                         "artifactType"),
    (image(config=descriptor(urls="x")),                     "config.urls"),
    (image(config=descriptor(urls=[1])),                     "config.urls"),
    (image(config=descriptor(platform="linux")),             "config.platform"),
    (image(config=descriptor(annotations=[])),               "config.annotations"),
    (image(config=descriptor(annotations={"a": 1})),         "config.annotations.a"),
    (image(config=descriptor(artifactType="x y")),           "config.artifactType"),
    (image(layers=[descriptor(), descriptor(size=-1)]),      "layers[1].size"),
    (image(layers={}),                                       "layers"),
    (image(subject="x"),                                     "subject"),
    (image(annotations="x"),                                 "annotations"),
    (image(artifactType=1),                                  "artifactType"),
    (image(mediaType=mt.IMAGE_MANIFEST, manifests=[]),       "manifests"),
    (index(config=descriptor()),                             "config"),
    (index(mediaType=mt.IMAGE_INDEX, layers=[]),             "layers"),
    ({"schemaVersion": 2},                                   "mediaType"),
]
NOT_JSON = [
    (b"",                                   "not JSON"),
    (b"[]",                                 "not a JSON object"),
    (b"1",                                  "not a JSON object"),
    (b"{",                                  "not JSON"),
    (b'{"a":1} x',                          "not JSON"),
    (b'\xff{"a":1}',                        "not UTF-8 at byte 0"),
    (b'\xef\xbb\xbf{"a":1}',                "not JSON"),
    (b'{\x00"\x00a\x00"\x00:\x001\x00}\x00', "not JSON"),
    (b'{"a":NaN}',                          "NaN is not JSON"),
    (b'{"a":-Infinity}',                    "-Infinity is not JSON"),
    (b'{"a":1,"a":1}',                      "a: the member is there twice"),
    (b'{"x":{"b":1,"b":2}}',                "b: the member is there twice"),
    (b'{"a":' + b"[" * 40 + b"]" * 40 + b"}", "nested deeper than 32"),
    (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested deeper than 32"),
    (b'{"a":' + b"1" * 5000 + b"}",         "not JSON that we read"),
]
# fmt: on


@covers("BR-066", "BR-090", "BR-091")
@pytest.mark.parametrize(("document", "place"), BAD, ids=[place for _, place in BAD])
def test_faults_have_their_place(document, place):
    with pytest.raises(ManifestInvalid) as caught:
        parse(document)
    assert place in [fault.path for fault in caught.value.faults]


@covers("BR-090")
@pytest.mark.parametrize(("content", "said"), NOT_JSON)
def test_what_is_no_json_object(content, said):
    with pytest.raises(ManifestInvalid) as caught:
        parse_object(content)
    assert said in str(caught.value)


@pytest.mark.parametrize("parameters", ["", ";version=0.1", '; a=b ; c="d e"'])
def test_types_of_content_may_have_parameters(parameters):
    """Those of Sigstore's older bundles have: they are kept as they are."""
    kind = f"application/vnd.dev.sigstore.bundle+json{parameters}"
    parsed = parse(image(artifactType=kind, layers=[descriptor(mediaType=kind)]))
    assert parsed.artifact_type == kind
    assert parsed.layers[0].media_type == kind


def test_all_faults_are_told_together():
    with pytest.raises(ManifestInvalid) as caught:
        parse(image(schemaVersion=3, layers=[descriptor(size=-1)] * 30))
    assert len(caught.value.faults) == 20


@covers("DS-063")
def test_header_and_document_agree():
    assert parse(image(), mt.DOCKER_MANIFEST).media_type == mt.DOCKER_MANIFEST
    with pytest.raises(ManifestInvalid) as caught:
        parse(image(mediaType=mt.IMAGE_MANIFEST), mt.DOCKER_MANIFEST)
    assert "the header says" in str(caught.value)


@covers("OW-133")
def test_a_document_shows_what_it_is():
    assert parse(image()).media_type == mt.IMAGE_MANIFEST
    assert parse(index()).media_type == mt.IMAGE_INDEX
    assert parse(index()).is_index


@covers("DS-092", "OW-152")
@pytest.mark.parametrize(
    ("document", "artifact_type"),
    [
        (image(), "a/b"),
        (image(artifactType="c/d"), "c/d"),
        (index(), None),
        (index(artifactType="c/d"), "c/d"),
        (index(artifactType=""), None),
    ],
)
def test_how_referrers_name_a_manifest(document, artifact_type):
    manifest = parse({**document, "annotations": {"k": "v"}})
    named = manifest.descriptor(D, 5)
    assert named == Descriptor(manifest.media_type, D, 5, artifact_type, {"k": "v"})


# fmt: off
WRITTEN = [
    image(mediaType=mt.IMAGE_MANIFEST),
    image(mediaType=mt.DOCKER_MANIFEST, layers=[descriptor(), descriptor(urls=["https://x"])]),
    image(mediaType=mt.IMAGE_MANIFEST, artifactType="a/c", subject=descriptor(), annotations={"a": "b"}),
    index(mediaType=mt.IMAGE_INDEX, manifests=[descriptor(platform={"os": "linux"})], annotations={"a": "b"}),
    index(mediaType=mt.DOCKER_LIST),
]
# fmt: on


@covers("ZL-252")
@pytest.mark.parametrize("document", WRITTEN)
def test_manifest_round_trip(document):
    assert parse(document).to_json() == document


def test_children():
    manifest = parse(image(layers=[descriptor(size=1), descriptor(size=2)]))
    assert [child.size for child in manifest.children] == [0, 1, 2]
    assert [c.size for c in parse(index(manifests=[descriptor(size=3)])).children] == [3]


texts = st.text(alphabet="abc/+.", min_size=1, max_size=8)
media = st.builds("{}/{}".format, *[st.text("abc0+.-", min_size=1).map(lambda t: "x" + t)] * 2)
descriptors = st.builds(
    Descriptor,
    media,
    st.binary().map(Digest.of),
    st.integers(0, 2**63),
    st.none() | media,
    st.dictionaries(texts, st.text()),
    st.lists(texts).map(tuple),
    st.none() | st.dictionaries(texts, texts),
)


@given(descriptors)
def test_descriptor_round_trip(wanted):
    faults = []
    assert read_descriptor(json.loads(json.dumps(wanted.to_json())), "x", faults) == wanted
    assert not faults


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
keys = st.sampled_from(
    ["schemaVersion", "mediaType", "config", "layers", "manifests", "subject", "annotations"]
)
members = st.fixed_dictionaries({}, optional={"digest": st.just(str(D)) | json_values})


@given(st.dictionaries(keys, json_values | members | st.just(2) | st.lists(members)))
def test_any_document_is_a_manifest_or_refused(document):
    try:
        parse(document)
    except ManifestInvalid as error:
        assert error.faults


@given(st.binary())
def test_any_bytes_are_a_manifest_or_refused(content):
    with pytest.raises(ManifestInvalid):
        parse_manifest(content)


def test_the_names_of_the_vocabulary():
    import wasmhold.oci as oci

    assert oci.Index is oci.Manifest
    assert {getattr(oci, name).__module__ for name in oci.__all__} == {
        "wasmhold.oci.descriptor",
        "wasmhold.oci.digest",
        "wasmhold.oci.manifest",
    }
    with pytest.raises(AttributeError, match="has no attribute"):
        oci.nothing  # noqa: B018
