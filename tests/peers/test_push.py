"""What a puller pushes into registries of others, as other tools find it there."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from contextlib import contextmanager

import pytest

from tests.client.remotes import distribution, olareg
from tests.registries import serving
from tests.wasm.binaries import COMPONENT
from wasmhold import build_wasm_artifact
from wasmhold.client.places.remote import fallback_tag
from wasmhold.image.blocking import ImagePuller
from wasmhold.image.pushing import ArtifactLayer
from wasmhold.oci.descriptor import Descriptor
from wasmhold.oci.digest import Digest
from wasmhold.oci.media_types import IMAGE_INDEX, IMAGE_MANIFEST
from wasmhold.testing.covers import covers

pytestmark = pytest.mark.peer

EMPTY = "application/vnd.oci.empty.v1+json"
TEXT = [ArtifactLayer(b"hello", "text/plain", "hello.txt")]


@contextmanager
def ours(folder):
    with serving("--log", "off") as server:
        yield server


# It takes manifests with URLs where it is told to.
URLS = """validation:
  manifests:
    urls:
      allow:
        - ^https://example.com/
"""
# fmt: off
REGISTRIES = {
    "wasmhold":           ours,
    "olareg":             olareg,
    "olareg-no-referrer": lambda folder: olareg(folder, "--api-referrer=false"),
    "distribution":       lambda folder: distribution(folder, URLS),
}
# fmt: on


@pytest.fixture(scope="module", params=REGISTRIES)
def registry(request, tmp_path_factory):
    """The name of what serves, and its host."""
    program = request.param.partition("-")[0]
    if program != "wasmhold" and shutil.which(program) is None:
        pytest.skip(f"not on PATH: {program}")
    with REGISTRIES[request.param](tmp_path_factory.mktemp(request.param)) as server:
        yield request.param, server.host


@pytest.fixture
def host(registry):
    return registry[1]


@pytest.fixture
def puller():
    with ImagePuller() as made:
        yield made


def run(*command: str) -> bytes:
    if shutil.which(command[0]) is None:
        pytest.skip(f"not on PATH: {command[0]}")
    ran = subprocess.run(command, capture_output=True, timeout=120)
    assert ran.returncode == 0, (ran.stdout + ran.stderr).decode()
    return ran.stdout


def check(place: str, digest: str, content: bytes | None = None) -> None:
    """What other tools find under `place`, and under its digest."""
    assert run("crane", "digest", "--insecure", place).decode().strip() == digest
    name = place.rpartition(":")[0]
    for reference in (place, f"{name}@{digest}"):
        found = run("oras", "manifest", "fetch", "--plain-http", reference)
        assert content is None or found == content
        assert str(Digest.of(found)) == digest


@covers("ZL-250", "ZL-251", "ZL-252")
@pytest.mark.parametrize("source", ["bytes", "path", "stream"])
def test_blobs_and_manifests(puller, host, tmp_path, source):
    content = f"from {source}".encode() * 100_000
    (tmp_path / "file").write_bytes(content)
    given = {"bytes": content, "path": tmp_path / "file", "stream": io.BytesIO(content)}
    place = f"{host}/pushed/{source}:v1"
    layer = puller.push_blob(place, given[source])
    assert puller.push_blob(place, content) == layer
    assert run("oras", "blob", "fetch", "--plain-http", "-o", "-", f"{host}/pushed/{source}@{layer.digest}") == content  # fmt: skip
    puller.push_blob(place, b"{}")
    # Not as any program would write it.
    manifest = json.dumps(
        {
            "layers": [layer.to_json()],
            "config": Descriptor(EMPTY, Digest.of(b"{}"), 2).to_json(),
            "artifactType": "application/x",
            "mediaType": IMAGE_MANIFEST,
            "schemaVersion": 2,
        },
        indent=7,
    ).encode()
    digest = puller.push_manifest(place, manifest)
    check(place, digest, manifest)
    assert puller.fetch_manifest(f"{host}/pushed/{source}@{digest}").raw == manifest


@covers("ZL-250")
def test_mounts(puller, host):
    blob = puller.push_blob(f"{host}/mounts/one", b"to be mounted")
    puller.push_blob(f"{host}/mounts/two", b"to be mounted", mount_from="mounts/one")
    assert puller.pull_blob(f"{host}/mounts/two", blob) == b"to be mounted"


@covers("ZL-251", "ZL-253")
def test_indexes(puller, host):
    place = f"{host}/pushed/index:v1"
    child = puller.push_artifact(
        f"{host}/pushed/index:child", artifact_type="application/x", layers=TEXT
    )
    manifest = puller.fetch_manifest(f"{host}/pushed/index:child")
    other = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": IMAGE_MANIFEST,
            "config": Descriptor(EMPTY, Digest.of(b"{}"), 2).to_json(),
            "layers": [Descriptor("text/plain", Digest.of(b"other"), 5).to_json()],
        }
    ).encode()
    index = {
        "schemaVersion": 2,
        "mediaType": IMAGE_INDEX,
        "manifests": [
            manifest.here.to_json(),
            Descriptor(IMAGE_MANIFEST, Digest.of(other), len(other)).to_json(),
        ],
    }
    digest = puller.push_index(place, index, children=[other], blobs=[b"other"])
    check(place, digest)
    assert str(puller.fetch_root(place).manifests[0].digest) == child.manifest_digest


@covers("ZL-251", "ZL-254")
def test_wasm(puller, host):
    built = build_wasm_artifact(COMPONENT, name="app", annotations={"a": "b"})
    place = f"{host}/pushed/wasm:v1"
    done = puller.push_wasm(place, built)
    check(place, done.manifest_digest, built.manifest_json)
    content, info = puller.pull_wasm(f"{host}/pushed/wasm@{done.manifest_digest}")
    assert (content, info.module_name) == (COMPONENT, "app.wasm")
    assert puller.push_wasm(place, built).blobs_pushed == ()


@covers("ZL-251", "ZL-255")
def test_artifacts_with_a_subject(puller, registry):
    name, host = registry
    place = f"{host}/pushed/artifact:v1"
    more = {"artifact_type": "application/x", "layers": TEXT, "annotations": {"a": "b"}}
    done = puller.push_artifact(place, **more)
    check(place, done.manifest_digest)
    subject = puller.fetch_manifest(place)
    note = puller.push_artifact(
        f"{host}/pushed/artifact:note", artifact_type="application/note", subject=subject
    )
    check(f"{host}/pushed/artifact:note", note.manifest_digest)
    if name != "olareg-no-referrer":  # it answers 405, where others have 404 for no such API
        said = run("oras", "discover", "--plain-http", "--format", "json", place)
        assert [one["digest"] for one in json.loads(said)["referrers"]] == [note.manifest_digest]
    has_tag = puller.resolve(f"{host}/pushed/artifact:{fallback_tag(subject.digest)}") is not None
    assert has_tag == (name in ("olareg-no-referrer", "distribution"))


@covers("ZL-258")
def test_foreign_layers(puller, host):
    """A registry takes the manifest of an image whose base it lacks, and gives it as it is."""
    base = Descriptor(
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        Digest.of(b"base"),
        4,
        urls=("https://example.com/base",),
    )
    place = f"{host}/pushed/windows:v1"
    done = puller.push_artifact(place, artifact_type="application/x", layers=[base, *TEXT])
    check(place, done.manifest_digest)
    assert puller.fetch_manifest(place).layers[0] == base
