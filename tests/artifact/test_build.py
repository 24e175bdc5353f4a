from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wasm import binaries
from wasmhold.artifact import Format, Variant, cncf, detect, wasm_to_oci, zlayer
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import ArtifactInvalid, InputError
from wasmhold.oci.manifest import parse_manifest
from wasmhold.testing.covers import covers
from wasmhold.wasm import Binary, BinaryKind, Extern, read_binary

MODULE, COMPONENT = read_binary(binaries.MODULE), read_binary(binaries.COMPONENT)
MODULE_DIGEST, COMPONENT_DIGEST = Digest.of(binaries.MODULE), Digest.of(binaries.COMPONENT)
CREATED = "2024-01-02T03:04:05Z"
HELLO = Digest.parse("sha256:4c7915b4c1f9b0c13f962998e4199ceb00db39a4a7fa4554f40ae0bed83d9510")
HTTP = Binary(
    BinaryKind.COMPONENT,
    8,
    (Extern("instance", "wasi:io/streams@0.2.0"),),
    (Extern("instance", "wasi:http/incoming-handler@0.2.0"),),
)
T = {"author": "Alyssa P. Hacker <a@example.com>", "target": "wasi:http/proxy@0.2.0"}


def cncf_of(binary, digest, **more):
    return cncf.build(binary, digest, created=CREATED, **more)


# fmt: off
OLD = [
    # digest, size, title,                               manifest's size and sha256
    (MODULE_DIGEST, 8, "tiny.wasm",                      395, "991378d850a97babc9643914fb6db5f3fad0156181739b843999eeb444000f97"),
    (MODULE_DIGEST, 8, "testdata/tiny.wasm",             404, "6fa25b1d402caada0a899f4c2e6ee9330fda79b8076460e0106868f8ecfe99ab"),
    (Digest.of(b""), 0, "empty.wasm",                    396, "d0bdb99b72590f43078450c87fa2038461d15c32bfdc475a5f89619156216852"),
    (MODULE_DIGEST, 8, None,                             334, "897effa973a4e6455cba78cfd94f95fedfd7c435be3c9348e22216f5e1eed3de"),
    (HELLO, 1624962, "testdata/hello.wasm",              411, "9c82cbe576ee947c00435ac8053a800a1969f4757ae4a81f870f714674afc91a"),
    (MODULE_DIGEST, 8, 'a<&>é "b.wasm',                  416, "6238509625cc309b977aa3a5f8f0d5c46fd40c2aad117cc49f00687b738cf2a1"),
]
# fmt: on


@covers("WO-001", "WO-002", "WO-003", "WO-004", "WO-005", "WO-007", "WO-008")
@pytest.mark.parametrize(("digest", "size", "title", "length", "sha256"), OLD)
def test_what_wasm_to_oci_writes_byte_for_byte(digest, size, title, length, sha256):
    built = wasm_to_oci.build(digest, size, title=title)
    assert (len(built.manifest), str(built.descriptor.digest)) == (length, f"sha256:{sha256}")
    assert built.config == b"{}"
    assert str(built.config_descriptor.digest) == (
        "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    )
    assert [(layer.digest, layer.size) for layer in built.layers] == [(digest, size)]
    assert "mediaType" not in json.loads(built.manifest)


# fmt: off
TITLES = [
    # title,              how Go writes it
    ("a\u2028b\u2029c",   rb"a\u2028b\u2029c"),
    ("<script>&amp;",     rb"\u003cscript\u003e\u0026amp;"),
    ("名前 🦀.wasm",        "名前 🦀.wasm".encode()),
    ("tab\tquote\"\\",    rb"tab\tquote\"\\"),
    ("nul\0",             rb"nul\u0000"),
    ("bad \udce9\udcff",  rb"bad \ufffd\ufffd"),   # a file name that is not UTF-8
]
# fmt: on


@covers("WO-008")
@pytest.mark.parametrize(("title", "written"), TITLES)
def test_titles_are_written_as_go_does(title, written):
    built = wasm_to_oci.build(MODULE_DIGEST, 8, title=title)
    assert b'title":"' + written + b'"}' in built.manifest


# fmt: off
PATHS = [
    # as typed,               title
    ("tiny.wasm",             "tiny.wasm"),
    ("testdata/tiny.wasm",    "testdata/tiny.wasm"),
    ("./tiny.wasm",           "./tiny.wasm"),
    ("a..b/c.wasm",           "a..b/c.wasm"),
    ("/home/me/x/tiny.wasm",  "tiny.wasm"),
    ("../x/tiny.wasm",        "tiny.wasm"),
    ("a/../tiny.wasm",        "tiny.wasm"),
    ("/tiny.wasm/",           "tiny.wasm"),
]
# fmt: on


@covers("WO-006")
@pytest.mark.parametrize(("path", "title"), PATHS)
def test_a_title_tells_no_folders_of_the_user(path, title):
    assert wasm_to_oci.title_of(path) == title


@covers("WO-007")
def test_annotations_have_one_order():
    some = {"b": "2", "a": "1"}
    one = wasm_to_oci.build(MODULE_DIGEST, 8, title="a", annotations=some)
    assert one == wasm_to_oci.build(
        MODULE_DIGEST, 8, title="a", annotations=dict(sorted(some.items()))
    )
    assert one.manifest.endswith(b'],"annotations":{"a":"1","b":"2"}}')


# fmt: off
CNCF = [
    # built,                                                       config's size and sha256, manifest's sha256
    (cncf_of(MODULE, MODULE_DIGEST),                               161, "ba21c00abb99e09b6e5eab97f26cd4eb9feb375d27bd02f2536b081e0e06bb11",
                                                                        "9d5512f60176e01268551e6d5cde10918b0a0446eee4466279db4b4e43fea9d8"),
    (cncf_of(COMPONENT, COMPONENT_DIGEST),                         201, "22fa5eb877549193c404a38227ee0580c407205a641e3226e5e6acf93bf30f9b",
                                                                        "1d885661ee41a1a3f508426bbca474dda1d12287c2d379e3d4ab632b9eb9b7ba"),
    (cncf_of(HTTP, COMPONENT_DIGEST, **T),                         335, "1ecf683eca1cab9d10e7e2b6b8e06e792ae1c9147202311e95fd0ff15de2b711",
                                                                        "f6b76613ee723b88d63faecc971785ceffcedfdcf6c4160fde61ce84372e8712"),
]
# fmt: on


@covers("CW-001", "CW-002", "CW-003", "CW-005", "CW-011", "CW-012", "CW-013", "CW-014", "CW-015")
@covers("CW-016", "CW-017", "CW-018", "CW-019")
@pytest.mark.parametrize(("built", "size", "config", "manifest"), CNCF)
def test_the_cncf_format_byte_for_byte(built, size, config, manifest):
    assert (len(built.config), str(Digest.of(built.config))) == (size, f"sha256:{config}")
    assert built.config_descriptor.digest == Digest.of(built.config)
    assert (built.descriptor.size, str(built.descriptor.digest)) == (367, f"sha256:{manifest}")
    assert built.descriptor.digest == Digest.of(built.manifest)


@covers("CW-025")
def test_the_style_of_wkg():
    """Vector R has the config's nulls; its manifest stands in our order."""
    built = cncf_of(COMPONENT, COMPONENT_DIGEST, style=cncf.Style.WKG)
    assert str(built.config_descriptor.digest) == (
        "sha256:2a2030ac458c420b6b47044f00f5bf45d8c5518249d592e4952136fa451e8077"
    )
    ours = cncf_of(COMPONENT, COMPONENT_DIGEST).manifest.replace(
        str(cncf_of(COMPONENT, COMPONENT_DIGEST).config_descriptor.digest).encode(),
        str(built.config_descriptor.digest).encode(),
    )
    ours = ours.replace(b'"size":201', b'"size":229')
    assert str(Digest.of(ours)) == (
        "sha256:5e5003f89f891b8d653f7ee20a76cc35fcafe9d4e4bb740e1004f0ed08c63104"
    )
    assert json.loads(ours) == json.loads(built.manifest)
    module = cncf_of(MODULE, MODULE_DIGEST, style=cncf.Style.WKG, title="tiny.wasm")
    assert json.loads(module.config)["component"] is None
    assert module.manifest == (
        b'{"config":{"digest":"%s","mediaType":"application/vnd.wasm.config.v0+json","size":%d},'
        b'"layers":[{"annotations":{"org.opencontainers.image.title":"tiny.wasm"},'
        b'"digest":"%s","mediaType":"application/wasm","size":8}],'
        b'"mediaType":"application/vnd.oci.image.manifest.v1+json","schemaVersion":2}'
    ) % (
        str(module.config_descriptor.digest).encode(),
        len(module.config),
        str(MODULE_DIGEST).encode(),
    )


@covers("CW-013", "CW-015", "CW-016")
def test_the_bytes_decide_what_the_config_says():
    wit = read_binary(binaries.WIT)
    config = json.loads(cncf_of(wit, Digest.of(binaries.WIT)).config)
    assert config["os"] == "wasip2"
    assert config["component"] == {"exports": ["e:e/i", "run", "e:e/w"], "imports": []}
    externs = read_binary(binaries.EXTERNS)
    config = json.loads(cncf_of(externs, COMPONENT_DIGEST).config)
    assert config["component"]["exports"] == ["wasi:cli/run@0.2.0", "é", "core"]
    assert config["component"]["imports"][:2] == ["wasi:io/streams@0.2.0", "run"]
    config = json.loads(cncf_of(read_binary(binaries.ALL_IMPORTS), MODULE_DIGEST).config)
    assert (config["os"], "component" in config) == ("wasip1", False)


@pytest.mark.parametrize(
    "created",
    ["", "2024-01-02", "2024-01-02T03:04:05+00:00", "2024-13-02T03:04:05Z", "2024-01-02T03:04:05Z\n",
     "2024-01-02T24:04:05Z", "2024-01-02T03:04:05.1Z", "٢٠٢٤-01-02T03:04:05Z"],
)  # fmt: skip
def test_created_has_one_form(created):
    with pytest.raises(InputError, match="not a time"):
        cncf.build(MODULE, MODULE_DIGEST, created=created)


def test_text_that_is_none():
    with pytest.raises(ArtifactInvalid, match="not Unicode text"):
        cncf_of(MODULE, MODULE_DIGEST, title="bad \udce9")


ZLAYER = (
    '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",'
    '"artifactType":"application/vnd.wasm.%s.v1+wasm",'
    '"config":{"mediaType":"application/vnd.wasm.config.v0+json","digest":"sha256:'
    '44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},'
    '"layers":[{"mediaType":"application/wasm","digest":"%s","size":8,'
    '"annotations":{"org.opencontainers.image.title":"app.wasm"}}],'
    '"annotations":{"k":"v","org.opencontainers.image.title":"%s"}}'
)


@covers("CW-048z")
@pytest.mark.parametrize(
    ("binary", "digest", "kind", "annotations", "title"),
    [
        (MODULE, MODULE_DIGEST, "module", {"k": "v"}, "app"),
        (COMPONENT, COMPONENT_DIGEST, "component", {"k": "v"}, "app"),
        (MODULE, MODULE_DIGEST, "module", {"org.opencontainers.image.title": "x", "k": "v"}, "x"),
    ],
)
def test_what_zlayer_writes(binary, digest, kind, annotations, title):
    built = zlayer.build(binary, digest, name="app", annotations=annotations)
    assert built.manifest.decode() == ZLAYER % (kind, digest, title)
    assert built.config == b"{}"


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
BUILDERS = {
    "cncf": lambda binary, digest, title, notes: cncf_of(binary, digest, title=title, annotations=notes),
    "cncf, as wkg": lambda binary, digest, title, notes: cncf_of(
        binary, digest, title=title, annotations=notes, style=cncf.Style.WKG
    ),
    "wasm-to-oci": lambda binary, digest, title, notes: wasm_to_oci.build(
        digest, binary.size, title=title, annotations=notes
    ),
    "zlayer": lambda binary, digest, title, notes: zlayer.build(
        binary, digest, name=title, annotations=notes
    ),
}  # fmt: skip


@covers("CW-001", "CW-007", "WO-005")
@pytest.mark.parametrize("builder", BUILDERS)
@given(
    binary=st.sampled_from([MODULE, COMPONENT, HTTP]), title=TEXT, notes=st.dictionaries(TEXT, TEXT)
)
def test_what_is_built_is_found_to_be_it(builder, binary, title, notes):
    built = BUILDERS[builder](binary, MODULE_DIGEST, title, notes)
    manifest = parse_manifest(built.manifest)
    assert manifest.config == built.config_descriptor
    assert manifest.layers == built.layers
    assert built.config_descriptor.digest == Digest.of(built.config)
    assert built.config_descriptor.size == len(built.config)
    kind = detect(manifest)
    assert kind.wasm_layers == (0,)
    assert kind.format.value == builder.partition(",")[0].replace("zlayer", "cncf")
    if kind.format is Format.WASM_TO_OCI and not notes:
        assert kind.variant is Variant.PLAIN
    assert (kind.variant is Variant.ZLAYER) == (builder == "zlayer")
    assert manifest.layers[0].annotations == {
        "org.opencontainers.image.title": f"{title}.wasm" if builder == "zlayer" else title
    }
    assert notes.items() <= manifest.annotations.items()
