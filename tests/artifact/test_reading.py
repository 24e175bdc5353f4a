from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.artifact import manifests as m
from tests.artifact.test_detect import (
    ACTOR,
    COMPAT,
    MORE,
    PAR,
    PROVIDER,
    SAMPLES,
    SPIN,
    SPIN_DATA,
    A,
)
from tests.wasm import binaries
from wasmhold.artifact import (
    Component,
    Form,
    WasmConfig,
    detect,
    entrypoint,
    how_to_read,
    wasm_errors,
    wasm_file,
)
from wasmhold.oci.errors import Ambiguous, ArtifactInvalid, NotWasm, WasmholdError, WasmInvalid
from wasmhold.testing.covers import covers
from wasmhold.wasm import read_binary

POLICY = f"{A}vnd.wassette.policy+yaml"


def read(*arguments, how=None, **more):
    manifest = m.manifest(*arguments, **more)
    reading = how_to_read(manifest, detect(manifest), name="h/a:1", **(how or {}))
    return reading.form, tuple(manifest.layers.index(of) for of in reading.layers), reading.warnings


# fmt: off
READ = [
    # config, layers,                                     how,                      form, layers, warnings
    ((m.CNCF, m.WASM),                                    {},                       "blob", (0,), 0),
    ((m.CNCF, POLICY, m.WASM),                            {"extra_layers": True},   "blob", (1,), 1),
    ((m.CNCF, m.WASM, "text/yaml", f"{A}vnd.plecto.sbom"), {"extra_layers": True},  "blob", (0,), 2),
    ((m.CNCF, m.OLD_WASM),                                {},                       "blob", (0,), 1),
    ((m.OLD, m.OLD_WASM),                                 {},                       "blob", (0,), 0),
    ((m.OLD, m.WASM),                                     {},                       "blob", (0,), 0),
    ((m.OLD, "text/plain", m.OLD_WASM),                   {},                       "blob", (1,), 0),
    ((m.IMAGE, m.OLD_WASM),                               {},                       "blob", (0,), 0),
    ((m.OLD, m.OLD_WASM, m.OLD_WASM),                     {"layer": 0},             "blob", (0,), 0),
    ((m.UNKNOWN, m.OLD_WASM, "text/plain", m.OLD_WASM),   {"layer": 1},             "blob", (2,), 0),
    ((ACTOR, m.MODULE_WASM),                              {},                       "blob", (0,), 0),
    ((m.UNKNOWN, f"{A}vnd.module.wasm.config.v1+json", m.MODULE_WASM), {},          "blob", (1,), 0),
    ((m.IMAGE, f"{A}vnd.w3c.wasm.module.v1+wasm"),        {},                       "blob", (0,), 0),
    ((m.EMPTY, m.WASM, "text/plain"),                     {},                       "blob", (0,), 0),
    ((PROVIDER, PAR),                                     {},                       "blob", (0,), 1),
    ((PROVIDER, "a/b"),                                   {},                       "blob", (0,), 1),
    ((PROVIDER, "a/b", PAR),                              {},                       "blob", (1,), 1),
    ((m.UNKNOWN, f"{A}vnd.module.wasm.spec.v1+yaml", m.TAR_GZIP), {},               "file", (1,), 0),
    ((m.IMAGE, m.TAR_GZIP, m.TAR_GZIP),                   {},                       "file", (1,), 1),
    ((m.IMAGE, m.OLD_WASM, SPIN_DATA, SPIN),              {},                       "application", (0, 1), 0),
    ((m.IMAGE, m.OLD_WASM, SPIN_DATA, SPIN),              {"layer": 0},             "blob", (0,), 0),
    ((SPIN, m.OLD_WASM, SPIN_DATA),                       {},                       "application", (0, 1), 0),
]
REFUSED = [
    # config, layers,                                     how,                      error, its text
    ((m.CNCF, m.WASM, POLICY),                            {},                       ArtifactInvalid, f"{POLICY}; --allow-extra-layers"),
    ((m.CNCF, m.WASM, "text/plain"),                      {"extra_layers": True},   ArtifactInvalid, "beside the Wasm one: text/plain"),
    ((m.CNCF, m.WASM, m.WASM),                            {"extra_layers": True},   Ambiguous,       "2 Wasm layers, a CNCF artifact has one"),
    ((m.CNCF, m.WASM, m.OLD_WASM),                        {"layer": 0},             Ambiguous,       "2 Wasm layers"),
    ((m.CNCF, m.TAR_GZIP),                                {},                       ArtifactInvalid, f"config is {m.CNCF}, but no layer is {m.WASM}"),
    ((m.OLD, m.OLD_WASM, m.OLD_WASM),                     {},                       Ambiguous,       "2 Wasm layers; choose with --layer N or --title NAME"),
    ((m.UNKNOWN, m.OLD_WASM, m.OLD_WASM),                 {},                       Ambiguous,       "2 Wasm layers"),
    ((m.OLD, m.OLD_WASM, m.OLD_WASM),                     {"layer": 2},             ArtifactInvalid, "Wasm layers 0 to 1, no layer 2"),
    ((m.OLD, m.OLD_WASM),                                 {"layer": -1},            ArtifactInvalid, "no layer -1"),
    ((m.OLD, m.OLD_WASM, m.OLD_WASM),                     {"title": "x"},           Ambiguous,       "no layer with the title 'x'"),
    ((PROVIDER, "a/b", "c/d"),                            {},                       ArtifactInvalid, "2 layers, want one"),
    ((m.EMPTY, "text/plain", "a/b"),                      {},  NotWasm, f"h/a:1 is not a WebAssembly artifact: found config {m.EMPTY}, layers text/plain, a/b"),
    ((m.EMPTY,),                                          {},                       NotWasm, f"found config {m.EMPTY}, layers none"),
    ((m.EMPTY, m.WASM, SPIN_DATA),                        {"title": "x"},           Ambiguous, "no layer with"),
    ((m.OLD, "text/plain"),                               {},                       NotWasm, f"found config {m.OLD}, layers text/plain"),
    ((f"{A}vnd.cncf.notary.signature", m.WASM),           {},                       NotWasm, "is not a WebAssembly artifact"),
]
# fmt: on


@covers("CW-004", "CW-006", "CW-026", "CW-027", "CW-063", "CW-102", "WO-042", "WO-134")
@pytest.mark.parametrize(("given", "how", "form", "layers", "warnings"), READ)
def test_what_a_pull_gives(given, how, form, layers, warnings):
    found_form, found_layers, said = read(*given, how=how)
    assert (found_form, found_layers, len(said)) == (Form(form), layers, warnings)


@covers("CW-004", "CW-006", "CW-062", "WO-043", "WO-045")
@pytest.mark.parametrize(("given", "how", "error", "text"), REFUSED)
def test_what_a_pull_refuses(given, how, error, text):
    with pytest.raises(error) as refused:
        read(*given, how=how)
    assert type(refused.value) is error
    assert text in str(refused.value)
    assert refused.value.entries()[0].code == "MANIFEST_INVALID"


@covers("WO-043")
def test_a_title_chooses_a_layer():
    layers = (m.OLD, m.OLD_WASM, m.OLD_WASM, m.OLD_WASM)
    titles = ["a.wasm", "b.wasm", "b.wasm"]
    assert read(*layers, titles=titles, how={"title": "a.wasm"})[1] == (0,)
    assert read(*layers, titles=titles, how={"title": "b.wasm", "layer": 2})[1] == (2,)
    with pytest.raises(Ambiguous, match=r"several layers with the title 'b\.wasm'") as error:
        read(*layers, titles=titles, how={"title": "b.wasm"})
    assert len(error.value.choices) == 3
    assert error.value.choices[0].startswith("0: title 'a.wasm', sha256:")


def test_an_image_that_says_so_is_read_without_a_doubt():
    assert read(m.IMAGE, m.TAR_GZIP, annotations=COMPAT) == (Form.FILE, (0,), ())


def test_a_spin_application_has_its_lock():
    new = m.manifest(m.IMAGE, m.OLD_WASM, SPIN)
    assert how_to_read(new, detect(new)).lock == new.layers[1]
    old = m.manifest(SPIN, m.OLD_WASM)
    assert how_to_read(old, detect(old)).lock == old.config


@covers("CW-040")
def test_an_index_is_asked_for_a_child_first():
    index = m.index(("a", None))
    with pytest.raises(ArtifactInvalid, match="choose one of its children"):
        how_to_read(index, detect(index))


@given(
    st.sampled_from([manifest for (manifest, *_), *_ in SAMPLES + MORE]),
    st.none() | st.integers(0, 3),
)
def test_every_kind_is_read_or_refused_with_words(manifest, layer):
    try:
        reading = how_to_read(manifest, detect(manifest), layer=layer)
    except ArtifactInvalid as error:
        assert str(error)
    else:
        assert reading.layers


# fmt: off
FILES = [
    # names in the layer,                            entry point,     the program
    (["plugin.wasm"],                                None,            "plugin.wasm"),
    (["./a/b/plugin.wasm", "a/x.wasm"],              "/a/x.wasm",     "./a/b/plugin.wasm"),
    (["./app.wasm", "lib.wasm"],                     "/app.wasm",     "./app.wasm"),
    (["/app.wasm", "lib.wasm"],                      "app.wasm",      "/app.wasm"),
    (["etc/", "etc/passwd", "one.wasm"],             None,            "one.wasm"),
    (["one.wasm", "README"],                         "/gone.wasm",    "one.wasm"),
    (["a.wasm", "b.wasm"],                           None,            Ambiguous),
    (["a/plugin.wasm", "b/plugin.wasm"],             None,            Ambiguous),
    (["myplugin.wasm", "b.wasm"],                    None,            Ambiguous),
    (["bin/sh"],                                     "/bin/sh",       ArtifactInvalid),
    ([],                                             None,            ArtifactInvalid),
]
CONFIGS = [
    ({"config": {"Entrypoint": ["/app.wasm", "x"]}},                  "/app.wasm"),
    ({"config": {"Entrypoint": None, "Cmd": ["app.wasm"]}},           "app.wasm"),
    ({"config": {"Entrypoint": ["/bin/sh"], "Cmd": ["app.wasm"]}},    None),
    ({"config": {"Entrypoint": "app.wasm"}},                          None),
    ({"config": {"Entrypoint": [1]}},                                 None),
    ({"config": []},                                                  None),
    ({},                                                              None),
]
# fmt: on


@pytest.mark.parametrize(("names", "entry", "file"), FILES)
def test_the_program_in_an_image(names, entry, file):
    if isinstance(file, str):
        assert wasm_file(names, entry) == file
        return
    with pytest.raises(file) as error:
        wasm_file(names, entry)
    assert type(error.value) is file


@pytest.mark.parametrize(("config", "entry"), CONFIGS)
def test_the_entry_point_of_an_image(config, entry):
    assert entrypoint(config) == entry


FULL = {
    "created": "2024-01-02T03:04:05.123456789Z",
    "author": "A",
    "architecture": "wasm",
    "os": "wasip2",
    "layerDigests": ["sha256:a"],
    "component": {"exports": ["a:b/c"], "imports": ["d"], "target": "e:f/g", "optional_imports": 1},
    "module": {"later": []},
}

# fmt: off
WASM_CONFIGS = [
    ({},                                              WasmConfig()),
    ({"author": None, "component": None},             WasmConfig()),
    ({"component": {"target": None}},                 WasmConfig(component=Component())),
    (FULL, WasmConfig("2024-01-02T03:04:05.123456789Z", "A", "wasm", "wasip2", ("sha256:a",),
                      Component(("a:b/c",), ("d",), "e:f/g"))),
]
BROKEN = [
    (b"",                              "not JSON"),
    (b"[]",                            "not a JSON object"),
    (b'{"created":1}',                 "created: want text"),
    (b'{"layerDigests":"x"}',          "layerDigests: want a list of text"),
    (b'{"layerDigests":[1]}',          "layerDigests: want a list of text"),
    (b'{"component":[]}',              "component: want an object"),
    (b'{"component":{"exports":{}}}',  "exports: want a list of text"),
]
DOUBTS = [
    # architecture, os,      bytes,               doubts
    ("wasm",  "wasip1",      binaries.MODULE,     []),
    ("wasm",  "wasip2",      binaries.COMPONENT,  []),
    ("wasm",  "wasip2",      binaries.WIT,        []),
    ("wasm",  "wasip3",      binaries.COMPONENT,  []),
    (None,    None,          binaries.MODULE,     []),
    ("amd64", "wasip1",      binaries.MODULE,     ["the config's architecture is amd64, not wasm"]),
    ("wasm",  "wasip2",      binaries.MODULE,     ["the config says wasip2, the bytes are a module"]),
    ("wasm",  "wasip1",      binaries.WIT,        ["the config says wasip1, the bytes are a wit-package"]),
]
# fmt: on


@covers("CW-011", "CW-014", "CW-015", "CW-017", "CW-021")
@pytest.mark.parametrize(("members", "config"), WASM_CONFIGS)
def test_configs_of_others(members, config):
    assert WasmConfig.parse(json.dumps(members).encode()) == config


@pytest.mark.parametrize(("content", "text"), BROKEN)
def test_configs_that_are_none(content, text):
    with pytest.raises(ArtifactInvalid, match="the artifact's config: ") as error:
        WasmConfig.parse(content)
    assert text in str(error.value)


@covers("CW-012", "CW-013")
@pytest.mark.parametrize(("architecture", "os", "content", "doubts"), DOUBTS)
def test_the_bytes_are_right(architecture, os, content, doubts):
    config = WasmConfig(architecture=architecture, os=os)
    assert list(config.doubts(read_binary(content))) == doubts
    assert list(config.doubts()) == [doubt for doubt in doubts if "architecture" in doubt]


@covers("CW-014")
def test_a_config_of_other_layers_is_an_error():
    manifest = m.manifest(m.CNCF, m.WASM)
    digest = str(manifest.layers[0].digest)
    WasmConfig().check(manifest)
    WasmConfig(layer_digests=(digest,)).check(manifest)
    for other in ((), ("sha256:b",), (digest, digest)):
        with pytest.raises(ArtifactInvalid, match="the config belongs to other layers"):
            WasmConfig(layer_digests=other).check(manifest)


@covers("CW-064")
def test_bytes_that_are_no_wasm():
    with pytest.raises(WasmInvalid) as error, wasm_errors("hello.txt"):
        read_binary(b"hello, world")
    assert isinstance(error.value, WasmholdError)
    assert str(error.value) == (
        "hello.txt: not a WebAssembly binary: starts with 68 65 6c 6c 6f 2c 20 77 (byte 0)"
    )
