"""Binaries become artifacts, as bytes and as files."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
import tarfile

import pytest

import wasmhold
from tests.wasm import binaries as b
from wasmhold.artifact import WasiVersion, build_wasm_artifact, detect, extract_wasm_info
from wasmhold.client.exporting import build_wasm_artifact as build_of_file
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import (
    ArtifactInvalid,
    DigestMismatch,
    FileInvalid,
    InputError,
    WasmInvalid,
)
from wasmhold.oci.manifest import parse_manifest
from wasmhold.testing.covers import covers

MODULE = "application/vnd.wasm.module.v1+wasm"
COMPONENT = "application/vnd.wasm.component.v1+wasm"
CONFIG = "application/vnd.wasm.config.v0+json"
EMPTY = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
PREVIEW1, PREVIEW2, UNKNOWN = WasiVersion.Preview1, WasiVersion.Preview2, WasiVersion.Unknown

# fmt: off
FORMATS = [
    # format,         what is found in it,       config's type,                                  title
    ("cncf",          "cncf",                    CONFIG,                                         "app.wasm"),
    ("zlayer",        "cncf (zlayer)",           CONFIG,                                         "app.wasm"),
    ("wasm-to-oci",   "wasm-to-oci (plain)",     "application/vnd.wasm.config.v1+json",          "app.wasm"),
    ("solo",          "solo",                    "application/vnd.unknown.config.v1+json",       "app.wasm"),
    ("runwasi",       "runwasi",                 "application/vnd.oci.image.config.v1+json",     None),
    ("compat",        "compat",                  "application/vnd.oci.image.config.v1+json",     None),
    ("image",         "image",                   "application/vnd.oci.image.config.v1+json",     None),
]
# fmt: on


@covers("ZL-650", "ZL-652", "ZL-654")
@pytest.mark.parametrize(("format_", "kind", "config", "title"), FORMATS)
def test_formats(format_, kind, config, title, tmp_path):
    path = tmp_path / "some.wasm"
    path.write_bytes(b.MODULE)
    of_bytes = build_wasm_artifact(b.MODULE, name="app", format=format_)
    of_file = build_of_file(path, name="app", format=format_)
    assert of_bytes.artifact == of_file.artifact
    assert (of_bytes.wasm_binary, of_file.wasm_binary) == (b.MODULE, str(path))
    manifest = parse_manifest(of_bytes.manifest_json)
    assert str(detect(manifest)) == kind
    assert manifest.config is not None
    assert manifest.config.media_type == config
    assert of_bytes.wasi_version is PREVIEW1
    assert of_bytes.wasm_size == 8
    info = extract_wasm_info(manifest)
    assert (info and info.module_name) == title
    top = of_bytes.artifact.index or of_bytes.manifest_json
    assert (of_bytes.manifest_digest, of_bytes.manifest_size) == (str(Digest.of(top)), len(top))
    made = {Digest.of(one) for one in (of_bytes.config_blob, *of_bytes.artifact.contents, b.MODULE)}
    assert {one.digest for one in (manifest.config, *manifest.layers)} <= made
    assert (of_bytes.config_digest, of_bytes.config_size) == (
        str(manifest.config.digest),
        len(of_bytes.config_blob),
    )
    assert of_bytes.wasm_layer_digest == str(manifest.layers[-1].digest)


@covers("ZL-652")
@pytest.mark.parametrize(
    ("content", "artifact_type"), [(b.MODULE, MODULE), (b.COMPONENT, COMPONENT)]
)
def test_the_form_of_zlayer(content, artifact_type):
    made = build_wasm_artifact(
        content, name="NAME", format="zlayer", annotations={"k": "v", "a": "b"}
    )
    title = "org.opencontainers.image.title"
    layer = {
        "mediaType": "application/wasm",
        "digest": str(Digest.of(content)),
        "size": 8,
        "annotations": {title: "NAME.wasm"},
    }
    document = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": artifact_type,
        "config": {"mediaType": CONFIG, "digest": EMPTY, "size": 2},
        "layers": [layer],
        "annotations": {"a": "b", "k": "v", title: "NAME"},
    }
    assert made.manifest_json == json.dumps(document, separators=(",", ":")).encode()
    assert made.artifact_type == artifact_type
    assert made.config_blob == b"{}"


@covers("ZL-653")
def test_the_same_arguments_give_the_same_bytes():
    """Also in another process, whose hashes of text differ, and in another order."""
    code = (
        "from wasmhold.artifact import build_wasm_artifact as b\n"
        "a = {str(i): 'x' for i in %s}\n"
        "for f in ('cncf', 'zlayer', 'wasm-to-oci', 'solo', 'runwasi', 'compat', 'image'):\n"
        "    print(b(b'\\0asm\\1\\0\\0\\0', name='app', format=f, annotations=a).manifest_digest)\n"
    )
    outs = {
        subprocess.run(
            [sys.executable, "-c", code % numbers],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            check=True,
        ).stdout
        for numbers, seed in (("range(8)", "1"), ("reversed(range(8))", "2"))
    }
    (out,) = outs
    assert len(set(out.split())) == 7
    later = build_wasm_artifact(b.MODULE, created="2024-01-02T03:04:05Z")
    assert later.manifest_digest != build_wasm_artifact(b.MODULE).manifest_digest
    assert json.loads(later.config_blob)["created"] == "2024-01-02T03:04:05Z"


# fmt: off
CLAIMS = [
    # bytes,                                         claimed,   forced,  version or error
    (b.MODULE,                                       None,      False,   PREVIEW1),
    (b.COMPONENT,                                    None,      False,   PREVIEW2),
    (b.MODULE,                                       "wasip1",  False,   PREVIEW1),
    (b.COMPONENT,                                    PREVIEW2,  False,   PREVIEW2),
    (b.MODULE,                                       UNKNOWN,   False,   PREVIEW1),
    (b.MODULE,                                       PREVIEW2,  False,   ArtifactInvalid),
    (b.COMPONENT,                                    "wasip1",  False,   ArtifactInvalid),
    (b.MODULE,                                       PREVIEW2,  True,    PREVIEW2),
    (b.COMPONENT,                                    PREVIEW1,  True,    PREVIEW1),
    (b.MODULE + b.custom("component-type:foo"),      None,      False,   PREVIEW1),
    (b.MODULE + b.custom("wit-component"),           PREVIEW2,  False,   ArtifactInvalid),
    (b"text",                                        None,      False,   WasmInvalid),
    (b"text",                                        PREVIEW1,  False,   WasmInvalid),
    (b"text",                                        None,      True,    UNKNOWN),
    (b"text",                                        PREVIEW2,  True,    PREVIEW2),
    (b"\0asm\0\0\0\0",                               None,      False,   WasmInvalid),
    (b.MODULE[:7],                                   None,      False,   WasmInvalid),
    (b.MODULE + b"\x01\x10",                         None,      False,   WasmInvalid),
    (b.MODULE,                                       "wasip9",  True,    InputError),
]
# fmt: on


@covers("ZL-650", "ZL-651")
@pytest.mark.parametrize(("content", "claimed", "force", "found"), CLAIMS)
def test_a_version_that_is_claimed(content, claimed, force, found, tmp_path):
    (tmp_path / "a.wasm").write_bytes(content)
    for source, build in ((content, build_wasm_artifact), (tmp_path / "a.wasm", build_of_file)):
        arguments = {"format": "zlayer", "wasi_version": claimed, "force": force}
        if isinstance(found, WasiVersion):
            made = build(source, **arguments)
            assert made.wasi_version is found
            assert made.artifact_type == (found.artifact_type() or MODULE)
            assert made.wasm_size == len(content)
        else:
            with pytest.raises(found):
                build(source, **arguments)


@covers("ZL-650")
def test_what_cannot_be_built(tmp_path):
    with pytest.raises(InputError, match="cncf, wasm-to-oci"):
        build_wasm_artifact(b.MODULE, format="spin")
    with pytest.raises(InputError):
        build_wasm_artifact(b.MODULE, created="yesterday")
    with pytest.raises(ArtifactInvalid):
        build_wasm_artifact(b.MODULE, name="../up", format="image")
    with pytest.raises(FileInvalid):
        build_of_file(tmp_path / "nowhere.wasm")
    with pytest.raises(WasmInvalid, match=r"starts with 7f 45 4c 46"):
        build_wasm_artifact(b"\x7fELF\x02\x01\x01\0")


def test_what_an_image_holds():
    made = build_wasm_artifact(b.COMPONENT, name="app", format="image")
    (packed,) = made.artifact.contents
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(packed))) as tar:
        file = tar.extractfile("app.wasm")
        assert file is not None
        assert file.read() == b.COMPONENT


def test_names_without_a_name(tmp_path):
    path = tmp_path / "some.wasm"
    path.write_bytes(b.MODULE)
    names = [
        extract_wasm_info(made.manifest_json).module_name
        for made in (
            build_wasm_artifact(b.MODULE, format="zlayer"),
            build_of_file(path, format="zlayer"),
            build_of_file(b.MODULE, name="app.wasm", format="zlayer"),
        )
    ]
    assert names == ["module.wasm", "some.wasm", "app.wasm"]
    assert extract_wasm_info(build_wasm_artifact(b.MODULE).manifest_json).module_name is None


def test_a_file_that_changes_meanwhile(tmp_path, monkeypatch):
    path = tmp_path / "a.wasm"
    path.write_bytes(b.MODULE)
    from wasmhold.client import exporting

    read = exporting.read_file

    def read_then_change(name):
        found = read(name)
        path.write_bytes(b.COMPONENT)
        return found

    monkeypatch.setattr(exporting, "read_file", read_then_change)
    with pytest.raises(DigestMismatch):
        build_of_file(path, format="compat")
    made = build_of_file(path, format="cncf")  # its bytes are read again when they are sent
    assert made.wasm_size == 8


@covers("ZL-006")
def test_where_the_names_are():
    assert wasmhold.build_wasm_artifact is build_of_file
    assert wasmhold.WasmArtifact is type(build_wasm_artifact(b.MODULE))
