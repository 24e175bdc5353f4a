"""WebAssembly by way of a puller: which manifest, which layer, what is asked, what is known then."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from dataclasses import replace

import pytest

from tests.artifact import manifests as m
from tests.image.artifacts import Part, put_artifact, titled
from tests.image.hub import Hub, hub, index_of
from tests.wasm import binaries as b
from wasmhold.artifact import ArtifactType, Evidence, WasiVersion
from wasmhold.client.caches.blob_cache import BlobCache
from wasmhold.client.platforms import NoMatchingPlatform
from wasmhold.image import ImagePuller
from wasmhold.image.blocking import ImagePuller as BlockingPuller
from wasmhold.oci.errors import (
    Ambiguous,
    ArtifactInvalid,
    NotFound,
    NotWasm,
    NoWasmLayer,
    TooLarge,
    WasmInvalid,
)
from wasmhold.ports.runtime import run
from wasmhold.testing.covers import covers
from wasmhold.testing.repository_suite import named

A = "application/"
COMPONENT = f"{A}vnd.wasm.component.v1+wasm"
MODULE = f"{A}vnd.wasm.module.v1+wasm"
CUSTOM = f"{A}vnd.custom.type+wasm"
ZSTD = f"{m.OLD_WASM}+zstd"
PACKED = b"(\xb5/\xfd" + b"packed"
OS_2 = b'{"os":"wasip2","architecture":"wasm"}'
LINUX = b'{"os":"linux","architecture":"amd64"}'
EMPTY = b"{}"
PREVIEW1, PREVIEW2, UNKNOWN = WasiVersion.Preview1, WasiVersion.Preview2, WasiVersion.Unknown


@pytest.fixture(name="hub", scope="module")
def a_hub():
    with hub() as made:
        yield made


@pytest.fixture(name="puller")
def a_puller():
    with BlockingPuller(platform="linux/amd64") as made:
        yield made


# fmt: off
KNOWN = [
    # artifact type, config (type, content),    layers,                                        what is known,        told by, and conflicts
    (None,           (m.IMAGE, LINUX),          [(m.TAR_GZIP, b"tar")],                        None,                 None, ()),
    (COMPONENT,      (m.OLD, EMPTY),            [(m.OLD_WASM, b.COMPONENT)],                   PREVIEW2,             "artifact-type", ()),
    (MODULE,         (m.CNCF, EMPTY),           [(m.WASM, b.MODULE)],                          PREVIEW1,             "artifact-type", ()),
    (None,           (m.CNCF, OS_2),            [(m.WASM, b.COMPONENT)],                       PREVIEW2,             "config-blob", ()),
    (None,           (m.CNCF, EMPTY),           [(m.WASM, b.COMPONENT)],                       PREVIEW2,             "preamble", ()),
    (None,           (m.CNCF, b'{"os":1}'),     [(m.WASM, b.MODULE)],                          PREVIEW1,             "preamble", ()),
    (None,           (m.OLD, EMPTY),            [(m.OLD_WASM, b.MODULE)],                      PREVIEW1,             "preamble", ()),
    (None,           (m.IMAGE, LINUX),          [(CUSTOM, b.MODULE)],                          PREVIEW1,             "preamble", ()),
    (None,           (m.IMAGE, LINUX),          [(m.TAR_GZIP, b"tar"), (CUSTOM, b.COMPONENT)], PREVIEW2,             "preamble", ("container-config",)),
    (f"{A}vnd.example.report", (m.EMPTY, EMPTY), [(f"{A}vnd.example.component+json", b"{}"), (m.WASM, b.MODULE)], PREVIEW1, "preamble", ()),
    (MODULE,         (m.EMPTY, EMPTY),          [],                                            PREVIEW1,             "artifact-type", ()),
    (COMPONENT,      (m.EMPTY, EMPTY),          [(ZSTD, PACKED)],                              PREVIEW2,             "artifact-type", ()),
    (f"{A}vnd.custom.wasm", (m.IMAGE, OS_2),    [(CUSTOM, b.COMPONENT)],                       PREVIEW2,             "config-blob", ()),
    (f"{A}vnd.custom.wasm", (m.UNKNOWN, OS_2),  [(CUSTOM, b.COMPONENT)],                       PREVIEW2,             "config-blob", ()),
    (f"{A}vnd.custom.wasm", (m.UNKNOWN, b"no"), [(CUSTOM, b.MODULE)],                          PREVIEW1,             "preamble", ()),
    (f"{A}vnd.custom.wasm", (m.UNKNOWN, EMPTY), [("text/plain", b"x")],                        UNKNOWN,              "artifact-type", ()),
    (f"{A}json",     (m.IMAGE, LINUX),          [(m.TAR_GZIP, b"tar")],                        None,                 None, ()),
    (f"{A}vnd.acme.component", (m.IMAGE, LINUX), [(m.TAR_GZIP, b"tar")],                       None,                 None, ()),
    (m.CNCF,         (m.CNCF, OS_2),            [(m.WASM, b.COMPONENT)],                       PREVIEW2,             "config-blob", ()),
    (None,           (m.EMPTY, EMPTY),          [(m.WASM, b"text")],                           UNKNOWN,              "layer-media-type", ()),
]
# fmt: on


@covers("ZL-222", "ZL-223", "ZL-614", "ZL-618")
@pytest.mark.parametrize(
    ("artifact_type", "config", "layers", "version", "told", "conflicts"), KNOWN
)
def test_what_is_known_without_the_layer(
    hub: Hub, puller, artifact_type, config, layers, version, told, conflicts
):
    more = {} if artifact_type is None else {"artifactType": artifact_type}
    parts = [Part(*layer) for layer in layers]
    stored = put_artifact(hub.at("known"), Part(*config), parts, **more)
    before = len(hub.proxy.passed("blob-get"))
    info = puller.get_wasm_info(f"{hub.host}/known:v1")
    found, manifest, digest = puller.detect_artifact_type(f"{hub.host}/known:v1")
    assert digest == str(manifest.digest) == str(stored.digest)
    assert found == (ArtifactType.Container() if version is None else ArtifactType.Wasm(version))
    if version is None:
        assert info is None
    else:
        assert info is not None
        assert (info.wasi_version, info.decided_by, info.conflicts) == (version, told, conflicts)
        assert info.manifest_digest == digest
    asked = [one.fields.get("range") for one in hub.proxy.passed("blob-get")[before:]]
    # A config whole and once, of a layer eight bytes.
    assert [one for one in asked if one is not None] == ["bytes=0-7"] * (
        2 * (told == "preamble" or (version is UNKNOWN and layers[0][0] == m.WASM))
    )
    assert asked.count(None) <= 1


@covers("ZL-618")
def test_what_a_config_says_is_told_also_where_the_type_says_the_version(hub: Hub, puller):
    component = {"imports": ["wasi:io/streams@0.2.3"], "exports": ["a:b/c"]}
    config = json.dumps({"os": "wasip1", "component": component}).encode()
    put_artifact(
        hub.at("told"), Part(m.CNCF, config), [Part(m.WASM, b.COMPONENT)], artifactType=COMPONENT
    )
    info = puller.get_wasm_info(f"{hub.host}/told:v1")
    assert (info.wasi_release, info.exports) == ("0.2.3", ("a:b/c",))
    assert (info.wasi_version, info.conflicts) == (PREVIEW2, ("config-blob",))


@covers("ZL-220", "ZL-604", "ZL-615")
def test_the_bytes_in_two_requests(hub: Hub, puller):
    put_artifact(hub.at("pulled"), Part(m.CNCF, OS_2), [titled(m.WASM, b.EXTERNS, "app.wasm")])
    hub.asked()
    content, info = puller.pull_wasm(f"{hub.host}/pulled:v1")
    assert hub.asked() == ["GET manifests", "GET blobs"]
    assert content == b.EXTERNS
    assert (info.wasi_version, info.decided_by) == (PREVIEW2, Evidence.PREAMBLE)
    assert (info.wasm_size, info.module_name) == (len(b.EXTERNS), "app.wasm")
    assert (info.wasi_release, info.is_component) == ("0.2.0", True)
    assert info.imports is not None
    assert "wasi:io/streams@0.2.0" in info.imports
    assert puller.pull_wasm(f"{hub.host}/pulled:v1") == (content, info)
    assert hub.asked() == ["HEAD manifests"]
    assert puller.pull_wasm(f"{hub.host}/pulled@{info.manifest_digest}") == (content, info)
    assert hub.asked() == []


@covers("ZL-618")
@pytest.mark.parametrize("artifact_type", [MODULE, COMPONENT])
def test_the_bytes_have_the_last_word(hub: Hub, puller, artifact_type):
    put_artifact(
        hub.at("said"), Part(m.CNCF), [Part(m.WASM, b.COMPONENT)], artifactType=artifact_type
    )
    _, info = puller.pull_wasm(f"{hub.host}/said:v1")
    if artifact_type == COMPONENT:
        assert (info.decided_by, info.conflicts) == ("artifact-type", ())
    else:
        assert (info.decided_by, info.conflicts) == ("preamble", ("artifact-type",))
    assert info.wasi_version is PREVIEW2


# fmt: off
REFUSED = [
    # config,               layers,                                         artifact type, what comes of it, what it says
    ((m.IMAGE, LINUX),      [(m.TAR_GZIP, b"tar")],                         None,          NotWasm,      m.TAR_GZIP),
    ((m.EMPTY, EMPTY),      [],                                             MODULE,        NoWasmLayer,  "no layer of it"),
    ((m.EMPTY, EMPTY),      [("text/plain", b"x")],                         COMPONENT,     NoWasmLayer,  "text/plain"),
    ((m.EMPTY, EMPTY),      [(ZSTD, PACKED)],                               COMPONENT,     WasmInvalid,  ZSTD),
    ((m.CNCF, EMPTY),       [(m.WASM, b"a text file")],                     None,          WasmInvalid,  "starts with 61 20"),
    ((m.CNCF, EMPTY),       [(m.WASM, b"\0asm")],                           None,          WasmInvalid,  "only 4 bytes"),
    ((m.CNCF, EMPTY),       [(m.WASM, b"")],                                None,          WasmInvalid,  "only 0 bytes"),
    ((m.CNCF, EMPTY),       [(m.WASM, b"\0asm\x0d\0\0\0")],                 None,          WasmInvalid,  "version 13 of layer 0"),
    ((m.EMPTY, EMPTY),      [(m.WASM, b.MODULE), (m.WASM, b.COMPONENT)],    None,          Ambiguous,    "2 Wasm layers"),
    ((m.IMAGE, LINUX),      [(m.TAR_GZIP, b"tar"), (m.TAR_GZIP, b"more")],  MODULE,        NoWasmLayer,  m.TAR_GZIP),
]
# fmt: on


@covers("ZL-008", "ZL-220", "ZL-221", "ZL-224")
@pytest.mark.parametrize(("config", "layers", "artifact_type", "error", "said"), REFUSED)
def test_what_is_no_webassembly(
    hub: Hub, puller, tmp_path, config, layers, artifact_type, error, said
):
    more = {} if artifact_type is None else {"artifactType": artifact_type}
    put_artifact(hub.at("refused"), Part(*config), [Part(*one) for one in layers], **more)
    image = f"{hub.host}/refused:v1"
    with pytest.raises(error) as raised:
        puller.pull_wasm(image)
    assert type(raised.value) is error
    assert said in str(raised.value)
    assert image in str(raised.value)
    with pytest.raises(error):
        puller.pull_wasm_to(image, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@covers("ZL-221")
def test_bytes_need_not_be_checked(hub: Hub, puller, tmp_path):
    put_artifact(hub.at("any"), Part(m.CNCF), [Part(m.WASM, b"text")])
    content, info = puller.pull_wasm(f"{hub.host}/any:v1", check=False)
    assert (content, info.wasi_version) == (b"text", UNKNOWN)
    puller.pull_wasm_to(f"{hub.host}/any:v1", tmp_path / "out", check=False)
    assert (tmp_path / "out").read_bytes() == b"text"


@covers("ZL-221")
@pytest.mark.parametrize("sections", [b"\x01\x10\x01", b"\x7f\x01\x01"], ids=["cut", "unknown"])
def test_sections_are_not_for_us_to_judge(hub: Hub, puller, sections):
    strange = b.MODULE + sections
    put_artifact(hub.at("strange"), Part(m.CNCF), [Part(m.WASM, strange)])
    content, info = puller.pull_wasm(f"{hub.host}/strange:v1")
    assert (content, info.wasi_version, info.imports) == (strange, PREVIEW1, None)


@covers("ZL-220")
def test_a_layer_is_chosen_by_place_digest_or_title(hub: Hub, puller):
    layers = [
        titled("text/plain", b"notes", "notes"),
        titled(m.WASM, b.MODULE, "a.wasm"),
        titled(m.WASM, b.COMPONENT, "b.wasm"),
    ]
    put_artifact(hub.at("several"), Part(m.EMPTY), layers)
    image = f"{hub.host}/several:v1"
    digest = puller.fetch_manifest(image).layers[2].digest
    for wanted in (2, str(digest), "b.wasm"):
        content, info = puller.pull_wasm(image, layer=wanted)
        assert (content, info.layer_index, info.module_name) == (b.COMPONENT, 2, "b.wasm")
        assert info.wasm_layer_digest == str(digest)
    for wanted in (0, 3, "notes", "c.wasm"):
        with pytest.raises(Ambiguous, match=r"0 Wasm layers .*1: sha256:.*2: sha256:"):
            puller.pull_wasm(image, layer=wanted)


@covers("ZL-220")
def test_more_than_is_wanted_is_not_fetched(hub: Hub, puller):
    put_artifact(hub.at("large"), Part(m.CNCF), [Part(m.WASM, b.MODULE + b.custom("a", bytes(99)))])
    hub.asked()
    with pytest.raises(TooLarge):
        puller.pull_wasm(f"{hub.host}/large:v1", max_size=100)
    assert hub.asked() == ["GET manifests"]


@covers("ZL-220")
def test_a_file_is_written_whole_or_not_at_all(hub: Hub, puller, tmp_path):
    content = b.MODULE + b.custom("a", bytes(3_000_000))
    put_artifact(hub.at("file"), Part(m.CNCF), [Part(m.WASM, content)])
    out = tmp_path / "app.wasm"
    info = puller.pull_wasm_to(f"{hub.host}/file:v1", out)
    assert out.read_bytes() == content
    assert (info.wasm_size, info.wasi_version) == (len(content), PREVIEW1)
    with pytest.raises(ArtifactInvalid):
        puller.pull_wasm_to(f"{hub.host}/file:v1", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["app.wasm"]


@covers("ZL-220")
def test_a_file_is_never_in_memory_as_a_whole(hub: Hub, tmp_path):
    content = b.MODULE + b.custom("a", bytes(32 << 20))
    put_artifact(hub.at("huge"), Part(m.CNCF), [Part(m.WASM, content)])
    with BlockingPuller(BlobCache.open(tmp_path / "cache")) as puller:
        tracemalloc.start()
        try:
            puller.pull_wasm_to(f"{hub.host}/huge:v1", tmp_path / "app.wasm")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert (tmp_path / "app.wasm").stat().st_size == len(content)
    assert peak < 8 << 20


# ---- of an index


def put_index(hub: Hub, *entries):
    """Each is a platform, an artifact type and the bytes of its layer; None: a container."""
    at, children = hub.at("index"), []
    for number, (platform, artifact_type, content) in enumerate(entries):
        tag = {"annotations": {"number": str(number)}}
        if content is None:
            stored = put_artifact(at, Part(m.IMAGE, LINUX), [Part(m.TAR_GZIP, b"tar")], None, **tag)
        else:
            stored = put_artifact(at, Part(m.CNCF), [Part(m.WASM, content)], None, **tag)
        system, architecture = platform.split("/") if platform else (None, None)
        of = {"os": system, "architecture": architecture} if platform else None
        children.append(replace(named(stored), artifact_type=artifact_type, platform=of))
    run(at.manifest_put(index_of(*children), ["v1"]))
    return children


# fmt: off
INDEXES = [
    # children: (platform, artifact type, layer),                                     asked for,      which, or error
    ([("linux/amd64", None, None), ("wasip1/wasm", None, b.MODULE)],                  None,           1),
    ([("wasip1/wasm", None, b.MODULE), ("wasip2/wasm", None, b.COMPONENT)],           None,           1),
    ([("wasi/wasm32", None, b.MODULE), ("wasi/wasm", None, b.MODULE)],                None,           1),
    ([("wasi/wasm32", None, b.MODULE), ("linux/amd64", None, None)],                  None,           0),
    ([("wasip1/wasm", None, b.MODULE), ("wasip2/wasm", None, b.COMPONENT)],           "wasip1/wasm",  0),
    ([("linux/amd64", None, None), (None, COMPONENT, b.COMPONENT)],                   None,           1),
    ([("linux/amd64", None, None), (None, m.CNCF, b.COMPONENT)],                      None,           1),
    ([("unknown/unknown", MODULE, b.MODULE), ("linux/amd64", None, b.COMPONENT)],     None,           1),
    ([("wasip1/wasm", None, b.MODULE), (None, COMPONENT, b.COMPONENT)],               None,           0),
    ([("linux/amd64", None, None), ("linux/arm64", None, None)],                      None,           NotWasm),
    ([("linux/amd64", None, None), ("wasip1/wasm", None, b.MODULE)],                  "linux/amd64",  NotWasm),
    ([("wasip1/wasm", None, b.MODULE), ("wasip1/wasm", None, b.COMPONENT)],           None,           Ambiguous),
    ([(None, COMPONENT, b.COMPONENT), (None, MODULE, b.MODULE)],                      None,           NoMatchingPlatform),
    ([("linux/arm64", None, None)],                                                   None,           NoMatchingPlatform),
]
# fmt: on


@covers("ZL-169", "ZL-616")
@pytest.mark.parametrize(("entries", "platform", "which"), INDEXES)
def test_of_an_index(hub: Hub, puller, entries, platform, which):
    children = put_index(hub, *entries)
    image = f"{hub.host}/index:v1"
    if isinstance(which, int):
        content, info = puller.pull_wasm(image, platform=platform)
        assert content == entries[which][2]
        assert info.manifest_digest == str(children[which].digest)
        assert puller.get_wasm_info(image, platform=platform).manifest_digest == (
            info.manifest_digest
        )
        found, manifest, digest = puller.detect_artifact_type(image, platform=platform)
        assert (found, digest) == (ArtifactType.Wasm(info.wasi_version), info.manifest_digest)
        assert manifest.index is not None
        return
    with pytest.raises(which):
        puller.pull_wasm(image, platform=platform)
    if which is NotWasm:
        assert puller.get_wasm_info(image, platform=platform) is None
        found, _, _ = puller.detect_artifact_type(image, platform=platform)
        assert found.is_container()


# ---- places


@covers("ZL-222", "ZL-618")
def test_what_is_here_is_enough(hub: Hub, tmp_path):
    """The start of a layer comes from the cache where it is; nothing else is asked."""
    put_artifact(hub.at("here"), Part(m.CNCF), [Part(m.WASM, b.COMPONENT)])
    image = f"{hub.host}/here:v1"
    with BlockingPuller(BlobCache.open(tmp_path / "cache")) as puller:
        puller.pull_wasm(image)
        hub.asked()
        info = puller.get_wasm_info(image, policy="never")
        assert (info.wasi_version, info.decided_by) == (PREVIEW2, Evidence.PREAMBLE)
        assert hub.asked() == []


@covers("ZL-222", "ZL-618")
def test_what_is_nowhere_says_nothing(hub: Hub):
    put_artifact(hub.at("nowhere"), Part(m.CNCF, OS_2), [Part(m.WASM, b.COMPONENT)])
    image = f"{hub.host}/nowhere:v1"
    with BlockingPuller() as puller:
        puller.fetch_manifest(image)
        info = puller.get_wasm_info(image, policy="never")
        assert (info.wasi_version, info.decided_by) == (UNKNOWN, Evidence.CONFIG_MEDIA_TYPE)
        with pytest.raises(NotFound):
            puller.pull_wasm(image, policy="never")


@covers("ZL-222")
def test_from_a_mirror(hub: Hub):
    put_artifact(hub.at("mirrored"), Part(m.CNCF), [Part(m.WASM, b.COMPONENT)])
    hub.asked()
    with BlockingPuller(mirrors={"example.test": [hub.host]}) as puller:
        info = puller.get_wasm_info("example.test/mirrored:v1")
        assert info.wasi_version is PREVIEW2
    assert hub.asked() == ["GET manifests", "GET blobs"]


@covers("ZL-220", "ZL-222", "ZL-223")
def test_under_asyncio(hub: Hub, tmp_path):
    put_artifact(hub.at("aio"), Part(m.CNCF), [Part(m.WASM, b.COMPONENT)])
    image = f"{hub.host}/aio:v1"

    async def work():
        async with ImagePuller() as puller:
            info = await puller.get_wasm_info(image)
            (content, known), found, told = await asyncio.gather(
                puller.pull_wasm(image),
                puller.detect_artifact_type(image),
                puller.pull_wasm_to(image, tmp_path / "out"),
            )
            assert content == b.COMPONENT == (tmp_path / "out").read_bytes()
            assert known == told == replace(info, imports=(), exports=())
            assert found[0] == ArtifactType.Wasm(PREVIEW2)

    asyncio.run(work())
