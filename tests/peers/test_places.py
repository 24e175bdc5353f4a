"""Other tools read the layouts and archives that we write, and we read theirs: the same bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.client.graphs import holdings
from tests.peers.test_clients import needs, run, tar_layer
from tests.registries import Server, serving
from wasmhold.client.copy import copy, copy_all
from wasmhold.client.places.archive import open_archive
from wasmhold.client.places.indexed import IndexedRepository
from wasmhold.client.places.layout import open_layout
from wasmhold.client.places.memory import MemoryRepository
from wasmhold.client.plan import Options
from wasmhold.client.runtime import ThreadRuntime
from wasmhold.oci import media_types
from wasmhold.oci.digest import Digest
from wasmhold.ports.runtime import run as finish
from wasmhold.testing.repository_suite import document, image, named, push, push_image

pytestmark = pytest.mark.peer

CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


async def fill(place: Any) -> None:
    """An image for two platforms as ``v1``, one of them as ``one``, and a note about it."""
    children = []
    for architecture in ("amd64", "arm64"):
        layer = tar_layer(architecture)
        config = {
            "architecture": architecture,
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [str(Digest.of(layer))]},
        }
        stored = image(
            await push(place, json.dumps(config).encode(), CONFIG), await push(place, layer, LAYER)
        )
        await place.manifest_put(stored, ["one"] if architecture == "amd64" else [])
        platform = {"os": "linux", "architecture": architecture}
        children.append(replace(named(stored), platform=platform).to_json())
    top = document(mediaType=media_types.IMAGE_INDEX, manifests=children)
    await place.manifest_put(top, ["v1"])
    note = named(top).to_json()
    await push_image(place, "note", subject=note, artifactType="application/x.note")


def opened(path: Path) -> IndexedRepository:
    open_place = open_layout if path.is_dir() or not path.suffix else open_archive
    return open_place(str(path), ThreadRuntime())


def everything(path: Path) -> dict[str, dict[str, Any]]:
    async def work() -> dict[str, dict[str, Any]]:
        async with aclosing(opened(path)) as place:
            return await holdings(place)

    return finish(work())


def below(holds: dict[str, dict[str, Any]], tag: str) -> dict[str, object]:
    """Manifests and blobs that a tag leads to, without referrers."""
    found: dict[str, object] = {}
    todo = [holds["tags"][tag]]
    while todo:
        digest = todo.pop()
        if digest in holds["manifests"]:
            _, content = holds["manifests"][digest]
            found[digest] = content
            members = json.loads(content)
            children = [*members.get("manifests", []), *members.get("layers", [])]
            todo += [child["digest"] for child in children]
            todo += [members["config"]["digest"]] if "config" in members else []
        else:
            found[digest] = holds["blobs"][digest]
    return found


@pytest.fixture
def source() -> MemoryRepository:
    place = MemoryRepository(ThreadRuntime())
    finish(fill(place))
    return place


@pytest.fixture
def wanted(source) -> dict[str, dict[str, Any]]:
    return finish(holdings(source))


@pytest.fixture(params=["layout", "ours.tar", "ours.tar.gz"])
def ours(source, request, tmp_path) -> Path:
    """What we write."""
    path = tmp_path / request.param

    async def work() -> None:
        async with aclosing(opened(path)) as place:
            options = Options(referrers=True)
            await copy_all(source, place, runtime=ThreadRuntime(), options=options)

    finish(work())
    return path


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving("--log", "off") as running:
        yield running


def transport(path: Path) -> str:
    return "oci" if path.is_dir() else "oci-archive"


SKOPEO = ("skopeo", "--insecure-policy", "copy", "--all", "--dest-oci-accept-uncompressed-layers")


# ---- they read


@needs("skopeo")
def test_skopeo_reads(ours, wanted, tmp_path):
    for tag in ("v1", "one"):
        run(*SKOPEO, f"{transport(ours)}:{ours}:{tag}", f"oci:out:{tag}", cwd=tmp_path)
        assert below(everything(tmp_path / "out"), tag) == below(wanted, tag)


@needs("oras")
def test_oras_reads(ours, wanted, tmp_path):
    if ours.suffix == ".gz":
        pytest.skip("oras reads no compressed archive")
    tags = run("oras", "repo", "tags", "--oci-layout", ours, cwd=tmp_path)
    assert tags.split() == ["one", "v1"]
    place = ("--from-oci-layout", f"{ours}:v1", "--to-oci-layout", "out:v1")
    run("oras", "copy", "--recursive", *place, cwd=tmp_path)
    out = everything(tmp_path / "out")
    assert out["manifests"] == wanted["manifests"]
    assert out["blobs"] == wanted["blobs"]
    found = run("oras", "discover", "--oci-layout", f"{ours}:v1", cwd=tmp_path)
    assert "application/x.note" in found


@needs("regctl")
def test_regctl_reads(ours, wanted, tmp_path):
    if ours.is_dir():
        run("regctl", "image", "copy", f"ocidir://{ours}:v1", "ocidir://out:v1", cwd=tmp_path)
    else:
        run("regctl", "image", "import", "--name", "v1", "ocidir://out:v1", ours, cwd=tmp_path)
    assert below(everything(tmp_path / "out"), "v1") == below(wanted, "v1")


@needs("umoci")
def test_umoci_reads(ours, tmp_path):
    if not ours.is_dir():
        pytest.skip("umoci reads no archives")
    tags = run("umoci", "list", "--layout", ours, cwd=tmp_path)
    assert sorted(tags.split()) == ["one", "v1"]
    found = run("umoci", "stat", "--json", "--image", f"{ours}:one", cwd=tmp_path)
    assert "history" in json.loads(found)


def one_image(source: MemoryRepository, folder: Path) -> Path:
    """A layout with one entry, of an image: crane takes and makes no others."""

    async def work() -> None:
        async with aclosing(open_layout(str(folder), ThreadRuntime())) as place:
            await copy(source, "one", place, ["one"], runtime=ThreadRuntime())

    finish(work())
    return folder


@needs("crane")
def test_crane_reads(source, wanted, server, tmp_path):
    layout = one_image(source, tmp_path / "layout")
    name = server.url.removeprefix("http://") + "crane/reads:v1"
    run("crane", "push", "--insecure", layout, name, cwd=tmp_path)
    digest = run("crane", "digest", "--insecure", name, cwd=tmp_path).strip()
    assert digest == wanted["tags"]["one"]


# ---- they write


@pytest.fixture
def layout(source, tmp_path) -> Path:
    """A layout for them to copy from."""

    async def work() -> None:
        async with aclosing(opened(tmp_path / "from")) as place:
            options = Options(referrers=True)
            await copy_all(source, place, runtime=ThreadRuntime(), options=options)

    finish(work())
    return tmp_path / "from"


def with_skopeo(layout: Path, cwd: Path, server: Server) -> Path:
    run(*SKOPEO, f"oci:{layout}:v1", "oci:theirs:v1", cwd=cwd)
    return cwd / "theirs"


def with_skopeo_as_archive(layout: Path, cwd: Path, server: Server) -> Path:
    run(*SKOPEO, f"oci:{layout}:v1", "oci-archive:theirs.tar:v1", cwd=cwd)
    return cwd / "theirs.tar"


def with_oras(layout: Path, cwd: Path, server: Server) -> Path:
    place = ("--from-oci-layout", f"{layout}:v1", "--to-oci-layout", "theirs:v1")
    run("oras", "copy", "--recursive", *place, cwd=cwd)
    return cwd / "theirs"


def with_regctl(layout: Path, cwd: Path, server: Server) -> Path:
    run("regctl", "image", "copy", f"ocidir://{layout}:v1", "ocidir://theirs:v1", cwd=cwd)
    return cwd / "theirs"


def with_regctl_as_archive(layout: Path, cwd: Path, server: Server) -> Path:
    run("regctl", "image", "export", f"ocidir://{layout}:v1", "theirs.tar", cwd=cwd)
    return cwd / "theirs.tar"


WRITERS = [
    pytest.param(write, marks=needs(program), id=write.__name__)
    for program, write in (
        ("skopeo", with_skopeo),
        ("skopeo", with_skopeo_as_archive),
        ("oras", with_oras),
        ("regctl", with_regctl),
        ("regctl", with_regctl_as_archive),
    )
]


@pytest.mark.parametrize("write", WRITERS)
def test_we_read_what_they_write(write, layout, wanted, server, tmp_path):
    theirs = everything(write(layout, tmp_path, server))
    tag = "v1" if "v1" in theirs["tags"] else next(iter(theirs["tags"]))
    assert below({**theirs, "tags": {"v1": theirs["tags"][tag]}}, "v1") == below(wanted, "v1")
    if write is with_oras:
        assert theirs["manifests"] == wanted["manifests"]


@needs("crane")
def test_we_read_what_crane_writes(source, wanted, server, tmp_path):
    """An entry without a name."""
    layout = one_image(source, tmp_path / "layout")
    name = server.url.removeprefix("http://") + "crane/writes:v1"
    run("crane", "push", "--insecure", layout, name, cwd=tmp_path)
    run("crane", "pull", "--insecure", "--format=oci", name, "theirs", cwd=tmp_path)

    async def only() -> dict[str, object]:
        async with aclosing(opened(tmp_path / "theirs")) as place:
            root = (await place.only()).digest
            target = MemoryRepository(ThreadRuntime())
            await copy(place, root, target, ["one"], runtime=ThreadRuntime())
            return below(await holdings(target), "one")

    assert finish(only()) == below(wanted, "one")


@needs("regctl")
def test_referrers_that_regctl_wrote(layout, wanted, tmp_path):
    """It keeps them under the tag for registries without a list."""
    (tmp_path / "note.txt").write_text("note")
    put = ("regctl", "artifact", "put", "--artifact-type", "application/x.regctl")
    run(*put, "--file", "note.txt", "--subject", f"ocidir://{layout}:v1", cwd=tmp_path)

    async def kinds() -> list[str | None]:
        async with aclosing(opened(layout)) as place:
            found = await place.referrers(Digest.parse(wanted["tags"]["v1"]))
            return sorted(str(descriptor.artifact_type) for descriptor in found)

    assert finish(kinds()) == ["application/x.note", "application/x.regctl"]


@needs("umoci")
def test_we_add_to_what_umoci_wrote(source, wanted, tmp_path):
    run("umoci", "init", "--layout", tmp_path / "theirs", cwd=tmp_path)
    run("umoci", "new", "--image", f"{tmp_path}/theirs:empty", cwd=tmp_path)

    async def work() -> None:
        async with aclosing(opened(tmp_path / "theirs")) as place:
            await copy_all(source, place, runtime=ThreadRuntime())

    finish(work())
    tags = run("umoci", "list", "--layout", tmp_path / "theirs", cwd=tmp_path)
    assert sorted(tags.split()) == ["empty", "one", "v1"]
    assert below(everything(tmp_path / "theirs"), "v1") == below(wanted, "v1")
