"""Images of WebAssembly, and Solo's pair of layers: their bytes, and that they are found again."""

from __future__ import annotations

import gzip
import io
import json
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wasm import binaries
from wasmhold.artifact import ImageConfig, compat, detect, how_to_read, image, runwasi, solo
from wasmhold.artifact.packing import FilePacker
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import ArtifactInvalid, InputError
from wasmhold.oci.manifest import parse_manifest
from wasmhold.testing.covers import covers

MODULE = binaries.MODULE
DIGEST = Digest.of(MODULE)
CONFIG = ImageConfig("2024-01-02T03:04:05Z")
NAMED = ImageConfig("2024-01-02T03:04:05Z", "A <a@example.com>")
NOTED = {"b": "2", "a": "1"}


def packed(name, content, piece=3):
    """The bytes of a layer, and what its packer says of them."""
    packer = FilePacker(name, len(content))
    out = b"".join(packer.feed(content[at : at + piece]) for at in range(0, len(content), piece))
    last, layer = packer.finish()
    return out + last, layer


PLUGIN, PLUGIN_LAYER = packed("plugin.wasm", MODULE)
APP, APP_LAYER = packed("app.wasm", MODULE)


@covers("CW-072")
@given(
    st.text("abcé.-", max_size=150).map(lambda name: f"folder/{name}x"),
    st.binary(max_size=3000),
    st.integers(1, 700),
)
def test_a_packed_file_is_a_tar_with_nothing_else(name, content, piece):
    layer, said = packed(name, content, piece)
    assert layer == packed(name, content)[0]
    assert (said.descriptor.digest, said.descriptor.size) == (Digest.of(layer), len(layer))
    unpacked = gzip.decompress(layer)
    assert said.diff_id == Digest.of(unpacked)
    assert len(unpacked) % tarfile.BLOCKSIZE == 0
    with tarfile.open(fileobj=io.BytesIO(unpacked)) as archive:
        (member,) = archive.getmembers()
        assert archive.extractfile(member).read() == content
    assert (member.name, member.mode, member.uid, member.gid) == (name, 0o644, 0, 0)
    assert (member.mtime, member.uname, member.gname, member.type) == (0, "", "", b"0")
    # Deflate, no flags, no time, no system: nothing but the file makes the bytes.
    assert layer[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"


@pytest.mark.parametrize("pieces", [(b"123",), (b"123", b"45"), ()])
def test_a_file_that_has_changed_is_not_packed(pieces):
    packer = FilePacker("app.wasm", 4)
    with pytest.raises(ArtifactInvalid, match=r"the size of app\.wasm has changed"):
        for piece in pieces:
            packer.feed(piece)
        packer.finish()


# fmt: off
BUILT = [
    # The sha256 is that of the manifest, or, where zlib has a say in that, of the config.
    # built,                                                     kind,      form,   sha256
    (compat.build(PLUGIN_LAYER, config=CONFIG),                  "compat",  "file", "200f98f8caa4aba4"),
    (compat.build(PLUGIN_LAYER, config=NAMED, annotations=NOTED), "compat", "file", "065844e6bab3549d"),
    (image.build(APP_LAYER, path="app.wasm", config=CONFIG),     "image",   "file", "7edff462c6ef2d72"),
    (runwasi.build(DIGEST, 8, entry="app.wasm", config=CONFIG),  "runwasi", "blob", "7e87043a503df4ef"),
    (solo.build(DIGEST, 8),                                      "solo",    "blob", "f73f21d966c5bcbc"),
    (solo.build(DIGEST, 8, abi_versions=["v0.2.1"], root_ids=["a", "b"], title="filter.wasm"),
                                                                 "solo",    "blob", "58db7e1e93a30956"),
]
# fmt: on


@covers("CW-072", "CW-073", "CW-074", "CW-075")
@pytest.mark.parametrize(("built", "kind", "form", "sha256"), BUILT, ids=range(len(BUILT)))
def test_what_is_built_is_always_the_same_and_is_found_again(built, kind, form, sha256):
    pinned = built.config_descriptor if form == "file" else built.descriptor
    assert pinned.digest.encoded.startswith(sha256)
    manifest = parse_manifest(built.manifest)
    assert manifest.layers == built.layers
    assert manifest.config == built.config_descriptor
    assert Digest.of(built.config) == built.config_descriptor.digest
    config = json.loads(built.config)
    found = detect(manifest, config=config)
    assert (found.format.value, found.confidence.value) == (kind, "certain")
    reading = how_to_read(manifest, found)
    assert reading.form.value == form
    assert reading.layers[-1].digest in (DIGEST, PLUGIN_LAYER.descriptor.digest, APP_LAYER.descriptor.digest)  # fmt: skip
    # CW-110: none is so small that a registry may refuse it.
    assert all(len(one) >= 2 for one in (built.config, *built.contents))


@covers("CW-072")
def test_a_compat_image_is_marked_and_its_program_is_a_plugin():
    built = compat.build(PLUGIN_LAYER, config=NAMED, annotations=NOTED)
    manifest = json.loads(built.manifest)
    assert manifest["annotations"] == {"module.wasm.image/variant": "compat", **NOTED}
    assert [*manifest["annotations"]] == ["a", "b", "module.wasm.image/variant"]
    assert json.loads(built.config) == {
        "created": "2024-01-02T03:04:05Z",
        "author": "A <a@example.com>",
        "architecture": "wasm",
        "os": "wasip1",
        "config": {"Entrypoint": ["/plugin.wasm"]},
        "rootfs": {"type": "layers", "diff_ids": [str(Digest.of(gzip.decompress(PLUGIN)))]},
    }
    assert built.index is None


@covers("CW-073", "CW-108")
def test_an_image_stands_in_an_index_that_says_its_platform():
    built = image.build(APP_LAYER, path="app.wasm", config=CONFIG, annotations=NOTED)
    assert json.loads(built.config)["config"] == {"Entrypoint": ["/app.wasm"]}
    index = parse_manifest(built.index)
    (child,) = index.manifests
    assert child.platform == {"architecture": "wasm", "os": "wasip1"}
    (manifest, content), (top, whole) = built.manifests
    assert (child.digest, child.size) == (manifest.digest, len(content))
    assert (top.digest, whole) == (Digest.of(built.index), built.index)
    assert built.descriptor == top
    assert parse_manifest(content).annotations == NOTED


@covers("CW-074")
def test_solos_pair_has_its_runtime_first():
    built = solo.build(DIGEST, 8, abi_versions=["v0.2.1"], root_ids=["a"], title="filter.wasm")
    (content,) = built.contents
    assert content == (
        b'{"type":"envoy_proxy","abiVersions":["v0.2.1"],"config":{"root_ids":["a"]}}'
    )
    assert [layer.digest for layer in built.layers] == [Digest.of(content), DIGEST]
    titles = [layer.annotations["org.opencontainers.image.title"] for layer in built.layers]
    assert titles == ["runtime-config.json", "filter.wasm"]


@covers("CW-075")
def test_runwasis_config_differs_with_the_program():
    built = [
        runwasi.build(digest, 8, entry="app.wasm", config=CONFIG)
        for digest in (DIGEST, Digest.of(binaries.COMPONENT))
    ]
    configs = [json.loads(one.config) for one in built]
    assert [one["rootfs"] for one in configs] == [{"type": "layers", "diff_ids": []}] * 2
    assert [one["config"]["Entrypoint"] for one in configs] == [["app.wasm"]] * 2
    assert built[0].config_descriptor.digest != built[1].config_descriptor.digest
    types = [layer.media_type for layer in built[0].layers]
    assert types == ["application/vnd.bytecodealliance.wasm.component.layer.v0+wasm"]


def test_a_time_has_one_form():
    with pytest.raises(InputError, match="not a time"):
        compat.build(PLUGIN_LAYER, config=ImageConfig("yesterday"))
