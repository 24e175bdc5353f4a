"""zlayer-registry's rule: what it takes for WebAssembly, and of which version."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.artifact import manifests as m
from tests.wasm import binaries as b
from wasmhold.artifact import (
    ArtifactType,
    Format,
    WasiVersion,
    detect_artifact_type,
    extract_wasm_info,
    media_types,
    zlayer_kind,
)
from wasmhold.artifact.wasm_info import choose_layer, with_binary, with_config, with_start
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import Ambiguous, InputError, ManifestInvalid, NotWasm, NoWasmLayer
from wasmhold.testing.covers import covers
from wasmhold.wasm import read_binary

A = "application/"
COMPONENT = f"{A}vnd.wasm.component.v1+wasm"
MODULE = f"{A}vnd.wasm.module.v1+wasm"
CUSTOM = f"{A}vnd.custom.type+wasm"
ZSTD = f"{m.OLD_WASM}+zstd"
WIT = {"org.bytecodealliance.wit-component.version": "0.20"}
PREVIEW1, PREVIEW2, UNKNOWN = WasiVersion.Preview1, WasiVersion.Preview2, WasiVersion.Unknown

# fmt: off
RULE = [
    # artifact type,              config,  layers,                                    what it is,        told by
    (None,                        m.IMAGE, [m.TAR_GZIP],                              "container",       None),
    (COMPONENT,                   m.OLD,   [m.OLD_WASM],                              "wasm (wasip2)",   "artifact-type"),
    (MODULE,                      m.CNCF,  [m.WASM],                                  "wasm (wasip1)",   "artifact-type"),
    (None,                        m.CNCF,  [m.WASM],                                  "wasm (unknown)",  "config-media-type"),
    (None,                        m.OLD,   [m.OLD_WASM],                              "wasm (unknown)",  "config-media-type"),
    (None,                        m.IMAGE, [CUSTOM],                                  "wasm (unknown)",  "layer-media-type"),
    (None,                        m.IMAGE, [m.TAR_GZIP, CUSTOM],                      "wasm (unknown)",  "layer-media-type"),
    (f"{A}vnd.example.report",    m.EMPTY, [f"{A}vnd.example.component+json", m.WASM], "wasm (unknown)", "layer-media-type"),
    (MODULE,                      m.EMPTY, [],                                        "wasm (wasip1)",   "artifact-type"),
    (COMPONENT,                   m.EMPTY, [ZSTD],                                    "wasm (wasip2)",   "artifact-type"),
    (f"{A}vnd.custom.wasm",       m.UNKNOWN, ["text/plain"],                          "wasm (unknown)",  "artifact-type"),
    (f"{A}json",                  m.IMAGE, [m.TAR_GZIP],                              "container",       None),
    (f"{A}vnd.acme.component",    m.IMAGE, [m.TAR_GZIP],                              "container",       None),
    (m.CNCF,                      m.CNCF,  [m.WASM],                                  "wasm (unknown)",  "artifact-type"),
]
MORE = [
    # artifact type,              config,  layers,                                    what it is,        told by
    (f"{A}vnd.x.wasm.component",  m.EMPTY, [],                                        "wasm (wasip2)",   "artifact-type"),
    (f"{A}vnd.x.module+wasm",     m.EMPTY, [],                                        "wasm (wasip1)",   "artifact-type"),
    (f"{A}vnd.wasm",              m.EMPTY, [m.MODULE_WASM],                           "wasm (unknown)",  "artifact-type"),
    (m.CNCF,                      m.CNCF,  [m.MODULE_WASM],                           "wasm (wasip1)",   "layer-media-type"),
    (m.OLD,                       m.EMPTY, [],                                        "wasm (unknown)",  "artifact-type"),
    (None,                        f"{A}vnd.wasm.config.v9+yaml", [],                  "wasm (unknown)",  "config-media-type"),
    (None,                        m.CNCF,  ["text/component"],                        "wasm (unknown)",  "config-media-type"),
    (None,                        m.EMPTY, [f"{A}vnd.wasm.content.layer.v2"],         "wasm (unknown)",  "layer-media-type"),
    (None,                        m.EMPTY, ["a/component+wasm", "a/module+wasm"],     "wasm (wasip2)",   "layer-media-type"),
    (None,                        m.EMPTY, [m.WASM, "a/module+wasm"],                 "wasm (wasip1)",   "layer-media-type"),
    (None,                        m.UNKNOWN, [m.MODULE_WASM],                         "wasm (wasip1)",   "layer-media-type"),
    (None,                        m.EMPTY, ["text/plain"],                            "container",       None),
]
# fmt: on


def of(artifact_type, config, layers, **more):
    return m.manifest(config, *layers, artifact_type=artifact_type, **more)


@covers("ZL-600", "ZL-605", "ZL-610", "ZL-611", "ZL-612", "ZL-613", "ZL-614", "ZL-619", "CW-061")
@pytest.mark.parametrize(("artifact_type", "config", "layers", "what", "told"), [*RULE, *MORE])
def test_the_rule(artifact_type, config, layers, what, told):
    manifest = of(artifact_type, config, layers)
    found = detect_artifact_type(manifest)
    assert str(found) == what
    info = extract_wasm_info(manifest)
    assert (info and info.decided_by) == told
    assert zlayer_kind is detect_artifact_type


# fmt: off
SIGNALS = [
    # layers,                        annotations of the layers,                     version,  told by
    ([m.WASM],                       [{m.TITLE: "my-component.wasm"}],              PREVIEW2, "layer-annotation"),
    ([m.WASM],                       [WIT],                                         PREVIEW2, "layer-annotation"),
    ([m.WASM],                       [{m.TITLE: "module.wasm"}],                    UNKNOWN,  "config-media-type"),
    (["text/plain", m.WASM],         [{m.TITLE: "component.txt"}, {}],              UNKNOWN,  "config-media-type"),
    ([m.WASM, m.WASM],               [{}, WIT],                                     PREVIEW2, "layer-annotation"),
    (["a/module+wasm"],              [WIT],                                         PREVIEW1, "layer-media-type"),
]
# fmt: on


@covers("ZL-613")
@pytest.mark.parametrize(("layers", "annotations", "version", "told"), SIGNALS)
def test_a_version_by_wasm_layers_alone(layers, annotations, version, told):
    document = {
        "config": {"mediaType": m.CNCF},
        "layers": [
            {"mediaType": media_type, "annotations": of_layer}
            for media_type, of_layer in zip(layers, annotations, strict=True)
        ],
    }
    info = extract_wasm_info(document)
    assert info is not None
    assert (info.wasi_version, info.decided_by) == (version, told)


@covers("ZL-600", "ZL-601", "ZL-602", "ZL-603")
def test_the_values():
    wasm, container = ArtifactType.Wasm(PREVIEW2), ArtifactType.Container()
    assert (wasm, container) == (ArtifactType.Wasm(PREVIEW2), ArtifactType.Container())
    assert wasm != ArtifactType.Wasm(PREVIEW1)
    assert isinstance(wasm, ArtifactType)
    assert isinstance(container, ArtifactType)
    assert (wasm.is_wasm(), wasm.is_container(), wasm.wasi_version()) == (True, False, PREVIEW2)
    assert (container.is_wasm(), container.is_container()) == (False, True)
    assert container.wasi_version() is None
    assert [str(container), *(str(ArtifactType.Wasm(v)) for v in WasiVersion)] == [
        "container",
        "wasm (wasip1)",
        "wasm (wasip2)",
        "wasm (unknown)",
    ]
    with pytest.raises(FrozenInstanceError):
        wasm.version = PREVIEW1
    match wasm:
        case ArtifactType.Wasm(version):
            assert version is PREVIEW2
    assert ArtifactType.Wasm() == ArtifactType.Wasm(UNKNOWN)


# fmt: off
VERSIONS = [
    # version, text,      preview 1 and 2, target,           artifact type
    (PREVIEW1, "wasip1",  True,  False,    "wasm32-wasip1",  MODULE),
    (PREVIEW2, "wasip2",  False, True,     "wasm32-wasip2",  COMPONENT),
    (UNKNOWN,  "unknown", False, False,    "wasm32-wasi",    None),
]
# fmt: on


@covers("ZL-601", "ZL-602", "ZL-603")
@pytest.mark.parametrize(("version", "text", "is_1", "is_2", "target", "artifact_type"), VERSIONS)
def test_versions(version, text, is_1, is_2, target, artifact_type):
    assert (str(version), f"{version}", WasiVersion.parse(text)) == (text, text, version)
    assert repr(version) == f"WasiVersion.{version.name}"
    assert (version.is_preview1(), version.is_preview2()) == (is_1, is_2)
    assert version.target_triple_suffix() == target
    assert version.artifact_type() == artifact_type
    with pytest.raises(InputError):
        WasiVersion.parse(text.upper())


@covers("ZL-605")
def test_media_types_are_public():
    names = {
        "WASM_COMPONENT": COMPONENT,
        "WASM_MODULE": MODULE,
        "OLD_CONFIG": m.OLD,
        "CNCF_CONFIG": m.CNCF,
        "OLD_WASM": m.OLD_WASM,
        "WASM": m.WASM,
        "TITLE": m.TITLE,
    }
    assert {name: getattr(media_types, name) for name in names} == names


# ---- however a manifest is given


@covers("ZL-617")
@pytest.mark.parametrize(("artifact_type", "config", "layers", "what", "told"), RULE)
def test_a_manifest_may_be_given_as_text_or_members(artifact_type, config, layers, what, told):
    members = {
        "schemaVersion": 2,
        "artifactType": artifact_type,
        "config": m.descriptor(config),
        "layers": [m.descriptor(layer) for layer in layers],
    }
    content = json.dumps(members).encode()
    for given_as in (members, content, content.decode()):
        assert str(detect_artifact_type(given_as)) == what
    infos = [extract_wasm_info(given_as) for given_as in (members, content, content.decode())]
    assert [info is None for info in infos] == [what == "container"] * 3
    if infos[0] is not None:
        assert infos[1] == infos[2] == replace(infos[0], manifest_digest=str(Digest.of(content)))


# fmt: off
PARTIAL = [
    ({},                                                               "container"),
    ({"artifactType": COMPONENT},                                      "wasm (wasip2)"),
    ({"artifactType": 5, "config": [], "layers": {"mediaType": 1}},    "container"),
    ({"config": {"mediaType": m.CNCF}},                                "wasm (unknown)"),
    ({"config": None, "layers": None},                                 "container"),
    ({"layers": [{"mediaType": m.WASM}]},                              "wasm (unknown)"),
    ({"layers": [7, {"mediaType": None}, {"mediaType": m.WASM}]},      "wasm (unknown)"),
    ({"layers": [{"mediaType": m.WASM, "annotations": [1]}]},          "wasm (unknown)"),
]
# fmt: on


@covers("ZL-617")
@pytest.mark.parametrize(("members", "what"), PARTIAL)
def test_absent_parts_match_nothing(members, what):
    assert str(detect_artifact_type(members)) == what
    assert str(detect_artifact_type(json.dumps(members))) == what
    info = extract_wasm_info(members)
    assert (info is None) == (what == "container")
    if info is not None:
        assert (info.wasm_layer_digest, info.wasm_size, info.kind) == (None, None, None)


def test_text_that_is_no_object_is_refused():
    for content in ("", "[]", "nonsense", b"\xff", "\ud800"):
        with pytest.raises(ManifestInvalid):
            detect_artifact_type(content)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["artifactType", "config", "layers", "manifests", "mediaType", "annotations"]
)


@covers("ZL-617")
@given(st.dictionaries(KEYS, JSON | st.lists(st.dictionaries(KEYS, JSON))))
def test_no_document_is_too_strange(members):
    try:
        found = detect_artifact_type(members)
        assert (extract_wasm_info(members) is None) == found.is_container()
    except Ambiguous:
        assert "manifests" in members


# ---- indexes

# fmt: off
INDEXES = [
    # entries: (platform, artifact type),                                    what it is
    ([],                                                                     "container"),
    ([("linux/amd64", None), ("linux/arm64", None)],                         "container"),
    ([("wasip1/wasm", None)],                                                "wasm (wasip1)"),
    ([("WasiP2/Wasm", None)],                                                "wasm (wasip2)"),
    ([("wasi/wasm32", None)],                                                "wasm (unknown)"),
    ([("wasip1/wasm", None), ("wasip2/wasm", None)],                         "wasm (unknown)"),
    ([("wasip2/wasm", None), (None, COMPONENT)],                             "wasm (wasip2)"),
    ([(None, m.CNCF)],                                                       "wasm (unknown)"),
    ([("wasip1/wasm", f"{A}vnd.x+wasm")],                                    "wasm (wasip1)"),
    ([("wasip1/wasm", None), ("unknown/unknown", None)],                     "wasm (wasip1)"),
    ([("unknown/unknown", None), ("linux/amd64", None)],                     "container"),
    ([("linux/amd64", None), ("wasip1/wasm", None)],                         Ambiguous),
    ([(None, None), (None, MODULE)],                                         Ambiguous),
]
# fmt: on


@covers("ZL-616")
@pytest.mark.parametrize(("entries", "what"), INDEXES)
def test_an_index_is_what_all_its_entries_are(entries, what):
    children = []
    for number, (platform, artifact_type) in enumerate(entries):
        child = m.descriptor(f"{A}vnd.oci.image.manifest.v1+json", str(number).encode())
        if platform is not None:
            child["platform"] = dict(zip(("os", "architecture"), platform.split("/"), strict=True))
        if artifact_type is not None:
            child["artifactType"] = artifact_type
        children.append(child)
    index = {"schemaVersion": 2, "manifests": children}
    for given_as in (index, m.parse_manifest(json.dumps(index).encode())):
        if what is Ambiguous:
            with pytest.raises(Ambiguous) as raised:
                detect_artifact_type(given_as)
            assert len(raised.value.choices) == len(entries)
        else:
            assert str(detect_artifact_type(given_as)) == what


@covers("ZL-616")
def test_an_index_may_say_it_itself():
    index = {"artifactType": COMPONENT, "manifests": [{"platform": {"os": "linux"}}]}
    assert detect_artifact_type(index) == ArtifactType.Wasm(PREVIEW2)


# ---- what is known of it


@covers("ZL-604", "ZL-615", "ZL-619")
def test_what_a_manifest_says():
    manifest = of(MODULE, m.CNCF, ["text/plain", m.WASM], titles=["note", "app.wasm"])
    info = extract_wasm_info(manifest)
    assert info is not None
    assert info == replace(
        info,
        wasi_version=PREVIEW1,
        wasm_layer_digest=str(manifest.layers[1].digest),
        wasm_size=8,
        module_name="app.wasm",
        artifact_type=MODULE,
        manifest_digest=None,
        config_media_type=m.CNCF,
        layer_media_type=m.WASM,
        layer_index=1,
        conflicts=(),
        imports=None,
        exports=None,
        wasi_release=None,
    )
    assert info.is_component is False
    assert info.kind is not None
    assert str(info.kind) == "cncf (zlayer)"
    assert extract_wasm_info(of(None, m.IMAGE, [m.TAR_GZIP])) is None


@covers("ZL-615")
def test_the_name_of_a_module():
    both = of(None, m.CNCF, [m.WASM], titles=["a.wasm"], annotations={m.TITLE: "b"})
    one = of(None, m.CNCF, [m.WASM], annotations={m.TITLE: "b"})
    none = of(MODULE, m.EMPTY, [])
    infos = [extract_wasm_info(given_as) for given_as in (both, one, none)]
    assert [info and info.module_name for info in infos] == ["a.wasm", "b", None]
    assert (infos[2].wasm_layer_digest, infos[2].wasm_size, infos[2].layer_index) == (None,) * 3


@covers("ZL-612")
def test_a_container_around_webassembly_is_a_conflict():
    assert extract_wasm_info(of(None, m.IMAGE, [m.TAR_GZIP, CUSTOM])).conflicts == (
        "container-config",
    )
    assert extract_wasm_info(of(None, m.IMAGE, [CUSTOM])).conflicts == ()
    assert extract_wasm_info(of(None, m.EMPTY, [m.TAR_GZIP, CUSTOM])).conflicts == ()


def named(*names, exports=()):
    return json.dumps({"component": {"imports": names, "exports": exports}}).encode()


# fmt: off
CONFIGS = [
    # artifact type, config,                                        version,  told by,              conflicts
    (None,           b'{"os": "wasip1", "architecture": "wasm"}',   PREVIEW1, "config-blob",        ()),
    (None,           b'{"os": "wasip2"}',                           PREVIEW2, "config-blob",        ()),
    (None,           b'{"os": "wasip1", "component": {}}',          PREVIEW1, "config-blob",        ()),
    (None,           b'{"component": {}}',                          PREVIEW2, "config-blob",        ()),
    (None,           b'{"os": "wasip3", "component": {}}',          PREVIEW2, "config-blob",        ()),
    (None,           b'{"os": "linux"}',                            UNKNOWN,  "config-media-type",  ()),
    (None,           b"{}",                                         UNKNOWN,  "config-media-type",  ()),
    (None,           b"nonsense",                                   UNKNOWN,  "config-media-type",  ()),
    (MODULE,         b'{"os": "wasip1"}',                           PREVIEW1, "artifact-type",      ()),
    (MODULE,         b'{"os": "wasip2"}',                           PREVIEW1, "artifact-type",      ("config-blob",)),
]
# fmt: on


@covers("ZL-604", "ZL-618")
@pytest.mark.parametrize(("artifact_type", "config", "version", "told", "conflicts"), CONFIGS)
def test_what_a_config_adds(artifact_type, config, version, told, conflicts):
    info = with_config(extract_wasm_info(of(artifact_type, m.CNCF, [m.WASM])), config)
    assert (info.wasi_version, info.decided_by, info.conflicts) == (version, told, conflicts)


@covers("ZL-604")
def test_names_in_a_config():
    info = extract_wasm_info(of(None, m.CNCF, [m.WASM]))
    config = named(
        "wasi:io/streams@0.2.3",
        "wasi:cli/run@0.2.10",
        "a:b/c@9.0.0",
        "wasi:x/y@new",
        "wasi:z/z",
        exports=["wasi:http/handler@0.3.0-rc-2025-08-15"],
    )
    found = with_config(info, config)
    assert found.wasi_release == "0.3.0-rc-2025-08-15"
    assert found.imports is not None
    assert found.imports[0] == "wasi:io/streams@0.2.3"
    assert found.exports == ("wasi:http/handler@0.3.0-rc-2025-08-15",)
    assert with_config(info, named("wasi:a/b@0.2.3", "wasi:c/d@0.2.10")).wasi_release == "0.2.10"


# fmt: off
BYTES = [
    # artifact type, config,                            bytes,       version,  told by,         conflicts
    (None,           b"{}",                             b.MODULE,    PREVIEW1, "preamble",      ()),
    (None,           b"{}",                             b.COMPONENT, PREVIEW2, "preamble",      ()),
    (None,           b"{}",                             b"\0\0\0\0", UNKNOWN,  "config-media-type", ()),
    (MODULE,         b"{}",                             b.MODULE,    PREVIEW1, "artifact-type", ()),
    (MODULE,         b"{}",                             b.COMPONENT, PREVIEW2, "preamble",      ("artifact-type",)),
    (COMPONENT,      b"{}",                             b.MODULE,    PREVIEW1, "preamble",      ("artifact-type",)),
    (None,           b'{"os": "wasip1"}',               b.COMPONENT, PREVIEW2, "preamble",      ("config-blob",)),
    (MODULE,         b'{"os": "wasip2"}',               b.COMPONENT, PREVIEW2, "preamble",      ("artifact-type",)),
    (MODULE,         b'{"os": "wasip2"}',               b.MODULE,    PREVIEW1, "artifact-type", ("config-blob",)),
]
# fmt: on


@covers("ZL-618")
@pytest.mark.parametrize(
    ("artifact_type", "config", "content", "version", "told", "conflicts"), BYTES
)
def test_bytes_are_right(artifact_type, config, content, version, told, conflicts):
    info = with_config(extract_wasm_info(of(artifact_type, m.CNCF, [m.WASM])), config)
    found = with_start(info, content[:8])
    assert (found.wasi_version, found.decided_by, found.conflicts) == (version, told, conflicts)
    if version is not UNKNOWN:
        assert with_binary(info, read_binary(content)) == replace(found, imports=(), exports=())
        assert found.is_component == (version is PREVIEW2)


@covers("ZL-604")
def test_what_the_whole_binary_adds():
    info = with_binary(extract_wasm_info(of(None, m.CNCF, [m.WASM])), read_binary(b.EXTERNS))
    assert info.wasi_release == "0.2.0"
    assert info.imports is not None
    assert info.imports[0] == "wasi:io/streams@0.2.0"
    assert "wasi:cli/run@0.2.0" in (info.exports or ())


# ---- which layer

# fmt: off
LAYERS = [
    # config,   layers,                       titles,       wanted,  layer or error
    (m.CNCF,    [m.WASM],                     [],           None,    0),
    (m.CNCF,    ["text/plain", m.WASM],       [],           None,    1),
    (m.UNKNOWN, [f"{A}vnd.module.wasm.config.v1+json", m.MODULE_WASM], [], None, 1),
    (m.EMPTY,   [m.WASM, m.WASM],             ["a", "b"],   None,    Ambiguous),
    (m.EMPTY,   [m.WASM, m.WASM],             ["a", "b"],   1,       1),
    (m.EMPTY,   [m.WASM, m.WASM],             ["a", "b"],   "b",     1),
    (m.EMPTY,   [m.WASM, m.WASM],             ["a", "b"],   str(Digest.of(b"0")), 0),
    (m.EMPTY,   [m.WASM, m.WASM],             ["a", "a"],   "a",     Ambiguous),
    (m.EMPTY,   [m.WASM, m.WASM],             [],           "c",     Ambiguous),
    (m.EMPTY,   [m.WASM, "text/plain"],       [],           1,       Ambiguous),
    (m.EMPTY,   [ZSTD],                       [],           None,    0),
    (m.CNCF,    [m.TAR_GZIP],                 [],           None,    NoWasmLayer),
    (m.IMAGE,   [m.TAR_GZIP],                 [],           None,    NotWasm),
    (m.IMAGE,   [m.TAR_GZIP, m.WASM],         [],           None,    1),
]
# fmt: on


@covers("ZL-220", "ZL-224", "ZL-619")
@pytest.mark.parametrize(("config", "layers", "titles", "wanted", "found"), LAYERS)
def test_the_layer_that_a_pull_gives(config, layers, titles, wanted, found):
    manifest = of(None, config, layers, titles=titles)
    if isinstance(found, int):
        assert choose_layer(manifest, "x", wanted) == found
    else:
        with pytest.raises(found) as raised:
            choose_layer(manifest, "x", wanted)
        assert type(raised.value) is found


@covers("ZL-619")
def test_the_exact_format_is_told_beside_the_rule():
    spin = of(None, m.IMAGE, [m.OLD_WASM, f"{A}vnd.fermyon.spin.application.v1+config"])
    assert detect_artifact_type(spin) == ArtifactType.Wasm(UNKNOWN)
    info = extract_wasm_info(spin)
    assert info is not None
    assert info.kind is not None
    assert info.kind.format is Format.SPIN
