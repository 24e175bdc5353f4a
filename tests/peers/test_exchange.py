"""Other tools take what we export, and we import what they save: the same image each way.

Docker itself is not here; its archives are imitated in tests/client/docker_archives.py.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from gzip import decompress
from pathlib import Path
from typing import Any

import pytest

from tests.peers.test_clients import needs, run
from tests.peers.test_places import SKOPEO, below, everything, server, source, wanted
from wasmhold.oci.digest import Digest
from wasmhold.oci.manifest import Manifest, parse_manifest
from wasmhold.sync import LocalRegistry, export_image, import_image
from wasmhold.testing.covers import covers

__all__ = ["server", "source", "wanted"]  # fixtures

pytestmark = pytest.mark.peer

NAME = "localhost:5000/demo/app"


@pytest.fixture
def local(tmp_path) -> LocalRegistry:
    return LocalRegistry(tmp_path / "images")


def config_and_layers(local: LocalRegistry, name: str, tag: str) -> tuple[bytes, list[bytes]]:
    """The config, and the layers as they are unpacked."""
    manifest = parse_manifest(local.get_manifest(name, tag).content)
    assert manifest.config is not None
    layers = [local.get_blob(name, layer.digest) for layer in manifest.layers]
    unpacked = [decompress(one) if one[:2] == b"\x1f\x8b" else one for one in layers]
    return local.get_blob(name, manifest.config.digest), unpacked


@pytest.fixture
def one(wanted) -> tuple[bytes, list[bytes]]:
    """The same of the image ``one``, as it should be."""
    content = wanted["manifests"][wanted["tags"]["one"]][1]
    manifest: Manifest = parse_manifest(content)
    assert manifest.config is not None
    blobs = wanted["blobs"]
    return blobs[str(manifest.config.digest)], [blobs[str(d.digest)] for d in manifest.layers]


# ---- they take what we export


@covers("ZL-750", "ZL-753")
@needs("skopeo")
@pytest.mark.parametrize("output", ["a.tar", "a.tar.gz"])
def test_skopeo_takes_a_layout(output, source, wanted, tmp_path):
    for tag in ("one", "v1"):
        path = tmp_path / f"{tag}{output}"
        export_image(source, f"{NAME}:{tag}", path)
        if tag == "one":
            found = json.loads(run("skopeo", "inspect", f"oci-archive:{path}", cwd=tmp_path))
            assert found["Digest"] == wanted["tags"]["one"]
        run(*SKOPEO, f"oci-archive:{path}:{tag}", f"oci:out:{tag}", cwd=tmp_path)
        assert below(everything(tmp_path / "out"), tag) == below(wanted, tag)


@covers("ZL-750")
@needs("skopeo")
def test_skopeo_takes_dockers_form(source, local, one, tmp_path):
    """It writes the config anew; of compressed archives it takes none, not its own either."""
    path = tmp_path / "d.tar"
    export_image(source, f"{NAME}:one", path, form="docker")
    run(*SKOPEO, f"docker-archive:{path}:{NAME}:one", "oci:out:one", cwd=tmp_path)
    import_image(local, tmp_path / "out", name="app")
    config, layers = config_and_layers(local, "app", "one")
    assert json.loads(config).items() >= json.loads(one[0]).items()
    assert layers == one[1]


@covers("ZL-750")
@needs("crane")
def test_crane_takes_dockers_form(source, wanted, server, tmp_path):
    path = tmp_path / "d.tar"
    export_image(source, f"{NAME}:one", path, form="docker")
    run("crane", "validate", "--tarball", path, cwd=tmp_path)
    name = server.url.removeprefix("http://") + "exchange/crane:v1"
    run("crane", "push", "--insecure", path, name, cwd=tmp_path)
    config = run("crane", "config", "--insecure", name, cwd=tmp_path)
    manifest = parse_manifest(wanted["manifests"][wanted["tags"]["one"]][1])
    assert manifest.config is not None
    assert Digest.of(config.encode()) == manifest.config.digest


# ---- we import what they save


def with_skopeo(folder: Path, name: str, cwd: Path) -> Path:
    run(*SKOPEO, f"oci:{folder}:one", f"docker-archive:theirs.tar:{NAME}:one", cwd=cwd)
    return cwd / "theirs.tar"


def with_skopeo_as_a_layout(folder: Path, name: str, cwd: Path) -> Path:
    run(*SKOPEO, f"oci:{folder}:one", "oci-archive:theirs.tar:one", cwd=cwd)
    return cwd / "theirs.tar"


def with_crane(folder: Path, name: str, cwd: Path) -> Path:
    run("crane", "pull", "--insecure", name, "theirs.tar", cwd=cwd)
    return cwd / "theirs.tar"


def with_crane_as_a_layout(folder: Path, name: str, cwd: Path) -> Path:
    run("crane", "pull", "--insecure", "--format=oci", name, "theirs", cwd=cwd)
    return cwd / "theirs"


def with_regctl(folder: Path, name: str, cwd: Path) -> Path:
    run("regctl", "image", "export", f"ocidir://{folder}:one", "theirs.tar", cwd=cwd)
    return cwd / "theirs.tar"


def with_tar(folder: Path, name: str, cwd: Path) -> Path:
    run("tar", "-C", folder, "-cf", "theirs.tar", ".", cwd=cwd)
    return cwd / "theirs.tar"


WRITERS = [
    pytest.param(write, marks=needs(program), id=write.__name__)
    for program, write in (
        ("skopeo", with_skopeo),
        ("skopeo", with_skopeo_as_a_layout),
        ("crane", with_crane),
        ("crane", with_crane_as_a_layout),
        ("regctl", with_regctl),
        ("tar", with_tar),
    )
]


@covers("ZL-760", "ZL-770", "ZL-771")
@pytest.mark.parametrize("write", WRITERS)
def test_one_image(write: Callable[[Path, str, Path], Path], source, server, local, one, tmp_path):
    layout = tmp_path / "layout"
    export_image(source, f"{NAME}:one", f"{layout}/")
    name = server.url.removeprefix("http://") + f"exchange/{write.__name__}:one"
    import_image(name, layout)
    saved = write(layout, name, tmp_path)
    (info,) = import_image(local, saved, name="app:one")
    assert (info.tags, info.layers) == (("one",), 1)
    assert config_and_layers(local, "app", "one") == one


@covers("ZL-763")
@pytest.mark.parametrize(
    "write", [pytest.param("skopeo", marks=needs("skopeo")), pytest.param("tar")]
)
def test_several_platforms(write, source, wanted, local, tmp_path):
    layout = tmp_path / "layout"
    export_image(source, "app:v1", f"{layout}/")
    if write == "skopeo":
        run(*SKOPEO, f"oci:{layout}:v1", "oci-archive:theirs.tar:v1", cwd=tmp_path)
    else:
        with_tar(layout, "", tmp_path)
    (info,) = import_image(local, tmp_path / "theirs.tar", name="app")
    assert (str(info.digest), info.tags, info.layers) == (wanted["tags"]["v1"], ("v1",), 2)


@covers("ZL-770")
@needs("skopeo")
def test_names_that_skopeo_writes(source, local, tmp_path):
    """It fills in docker's host and ``library/``."""
    layout = tmp_path / "layout"
    export_image(source, "app:one", f"{layout}/")
    run(*SKOPEO, f"oci:{layout}:one", "docker-archive:theirs.tar:alpine:3.19", cwd=tmp_path)
    with tarfile.open(tmp_path / "theirs.tar") as archive:
        links = [member.linkname for member in archive.getmembers() if member.issym()]
        file: Any = archive.extractfile("manifest.json")
        (saved,) = json.load(file)
    assert links
    assert all(link.startswith("../") for link in links)
    assert saved["RepoTags"] == ["docker.io/library/alpine:3.19"]
    import_image(local, tmp_path / "theirs.tar")
    assert local.images() == ["alpine"]
    assert local.tags("alpine") == ["3.19"]
