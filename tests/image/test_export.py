"""What is exported: layouts and archives, from every kind of place, streaming, whole or not at all."""

import asyncio
import gzip
import io
import json
import os
import tarfile
from contextlib import aclosing
from dataclasses import replace

import pytest

from tests.client.graphs import GRAPHS, holdings
from wasmhold.client.copy import copy
from wasmhold.client.failure import CopyFailed
from wasmhold.client.places.archive import open_archive
from wasmhold.client.places.cache import CacheRepository
from wasmhold.client.places.layout import open_layout
from wasmhold.client.places.memory import MemoryRepository
from wasmhold.client.runtime import ThreadRuntime
from wasmhold.client.settings import Settings
from wasmhold.image.exchange import export_image as export_under_asyncio
from wasmhold.oci import media_types
from wasmhold.oci.descriptor import Descriptor
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import (
    ManifestUnknown,
    NameInvalid,
    StoreUnavailable,
    Unsupported,
)
from wasmhold.oci.layout import IMAGE_NAME, REF_NAME
from wasmhold.ports.runtime import run
from wasmhold.sync import BlobCache, LocalRegistry, export_image
from wasmhold.testing.covers import covers
from wasmhold.testing.repository_suite import (
    document,
    image,
    named,
    push,
    push_image,
)

NAME = "docker.io/demo/app"


def memory(*fills):
    place = MemoryRepository(ThreadRuntime())
    for fill in fills:
        run(fill(place))
    return place


def content(path):
    """What a layout or archive holds, as a place."""

    opener = open_layout if os.path.isdir(path) else open_archive

    async def read():
        async with aclosing(opener(str(path), ThreadRuntime())) as place:
            return await holdings(place)

    return run(read())


def index(path):
    with tarfile.open(path) as archive:
        return json.load(archive.extractfile("index.json"))


async def multi(place):
    """An index for three platforms, with a note about it."""
    children = []
    for architecture in ("amd64", "arm64", "s390x"):
        stored = await push_image(place, architecture)
        platform = {"os": "linux", "architecture": architecture}
        children.append(replace(named(stored), platform=platform).to_json())
    top = document(mediaType=media_types.IMAGE_INDEX, manifests=children, annotations={"a": "b"})
    await place.manifest_put(top, ["v1"])
    await push_image(place, "note", subject=named(top).to_json(), artifactType="application/x.n")


# ---- where it comes from


@pytest.fixture
def local(tmp_path):
    registry = LocalRegistry(tmp_path / "images")

    async def fill():
        repository = await registry.engine(ThreadRuntime()).repository("demo/app", create=True)
        await push_image(repository, "one", "v1")
        await repository.aclose()

    run(fill())
    return registry


@covers("ZL-750", "ZL-056")
@pytest.mark.parametrize("reference", ["demo/app:v1", "docker.io/demo/app:v1"])
@pytest.mark.parametrize("output", ["a.tar", "a.tar.gz", "a.tar.zst", "folder/"])
def test_from_a_local_registry(output, reference, local, tmp_path):
    path = f"{tmp_path}/{output}"
    info = export_image(local, reference, path)
    assert info.digest == local.get_manifest("demo/app", "v1").digest
    assert (info.layers, info.skipped, info.path) == (1, (), path)
    found = content(path)
    assert found["tags"] == {"v1": str(info.digest)}
    assert len(found["blobs"]) == 2
    assert info.size == os.path.getsize(path) if os.path.isfile(path) else info.size > 0
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["images", output.rstrip("/")])


def test_from_a_host_a_store_a_place_and_a_cache(local, tmp_path):
    root = tmp_path / "images"
    wanted = str(local.get_manifest("demo/app", "v1").digest)
    cache, runtime = BlobCache(), ThreadRuntime()

    async def keep():
        source = await local.engine(runtime).repository("demo/app")
        place = CacheRepository(cache.engine(runtime), "docker.io", "demo/app", runtime)
        await copy(source, "v1", place, ["v1"], runtime=runtime)
        await source.aclose()

    run(keep())
    sources = {
        "store": (f"store:{root}", "demo/app:v1"),
        "repository": (f"store:{root}//demo/app", "v1"),
        "place": (f"store:{root}//demo/app:v1", None),
        "by digest": (f"store:{root}//demo/app", wanted),
        "cache": (cache, "demo/app:v1"),
    }
    for kind, (source, reference) in sources.items():
        path = tmp_path / f"{kind}.tar"
        assert str(export_image(source, reference, path).digest) == wanted
        (entry,) = index(path)["manifests"]
        wanted_names = {REF_NAME: "v1", IMAGE_NAME: f"{NAME}:v1"}
        assert entry.get("annotations") == (None if kind == "by digest" else wanted_names), kind


@covers("ZL-056")
@pytest.mark.parametrize(
    ("reference", "error"),
    [("demo/app:v2", ManifestUnknown), ("Demo/app", NameInvalid), ("other:v1", ManifestUnknown)],
)
def test_what_is_not_there(reference, error, local, tmp_path):
    with pytest.raises(error):
        export_image(local, reference, tmp_path / "a.tar")
    assert not (tmp_path / "a.tar").exists()


@covers("ZL-056")
def test_sha512_too(tmp_path):
    source = memory(GRAPHS["sha512"])
    digest = str(run(source.resolve("v1")).digest)
    assert str(export_image(source, "v1", tmp_path / "a.tar").digest) == digest
    child = next(iter(json.loads(run(source.manifest_get("v1")).content)["manifests"]))
    assert child["digest"].startswith("sha512:")
    info = export_image(source, f"app@{child['digest']}", tmp_path / "b.tar")
    assert str(info.digest) == child["digest"]


# ---- what is written


@covers("ZL-753")
def test_the_index_names_tag_and_image(local, tmp_path):
    export_image(local, "demo/app:v1", tmp_path / "a.tar")
    (entry,) = index(tmp_path / "a.tar")["manifests"]
    assert entry["annotations"] == {REF_NAME: "v1", IMAGE_NAME: f"{NAME}:v1"}
    export_image(local, "demo/app:v1", tmp_path / "b.tar", ref_name="full")
    (entry,) = index(tmp_path / "b.tar")["manifests"]
    assert entry["annotations"] == {REF_NAME: f"{NAME}:v1", IMAGE_NAME: f"{NAME}:v1"}
    source = memory(lambda place: push_image(place, "one", "v1"))
    export_image(source, "v1", tmp_path / "c.tar")
    (entry,) = index(tmp_path / "c.tar")["manifests"]
    assert entry["annotations"] == {REF_NAME: "v1"}


@covers("ZL-751")
@pytest.mark.parametrize("output", ["a.tar", "a.tgz", "a.tar.zst"])
def test_the_same_bytes_in_two_runs(output, tmp_path):
    source = memory(multi)
    path, contents = tmp_path / output, set()
    for _ in range(2):
        export_image(source, "app:v1", path)
        contents.add(path.read_bytes())
        path.unlink()
    assert len(contents) == 1


@covers("ZL-756")
def test_what_had_the_name_is_replaced(tmp_path):
    one = memory(lambda place: push_image(place, "one", "v1"))
    two = memory(lambda place: push_image(place, "two", "v2"))
    path = tmp_path / "a.tar"
    path.write_bytes(b"no archive at all")
    export_image(one, "v1", path)
    export_image(two, "v2", path)
    assert list(content(path)["tags"]) == ["v2"]
    (tmp_path / "folder").mkdir()
    export_image(one, "v1", tmp_path / "folder")
    export_image(two, "v2", tmp_path / "folder")
    assert sorted(content(tmp_path / "folder")["tags"]) == ["v1", "v2"]  # a layout is added to


@covers("ZL-754")
def test_an_index_with_all_its_children(tmp_path):
    source = memory(multi)
    info = export_image(source, "app:v1", tmp_path / "a.tar")
    found = content(tmp_path / "a.tar")
    assert (info.layers, len(found["manifests"])) == (3, 4)
    export_image(source, "app:v1", tmp_path / "b.tar", referrers=True)
    assert len(content(tmp_path / "b.tar")["manifests"]) == 5


@covers("ZL-754")
def test_some_platforms_of_an_index(tmp_path):
    source = memory(multi)
    whole = json.loads(run(source.manifest_get("v1")).content)
    info = export_image(
        source, "app:v1", tmp_path / "a.tar", platforms=["linux/s390x", "linux/amd64"]
    )
    found = content(tmp_path / "a.tar")
    members = json.loads(found["manifests"][str(info.digest)][1])
    assert members == {**whole, "manifests": [whole["manifests"][0], whole["manifests"][2]]}
    assert (info.layers, found["tags"]) == (2, {"v1": str(info.digest)})
    for platforms in ("linux/arm64", ["linux/arm64"]):
        info = export_image(source, "app:v1", tmp_path / "b.tar", platforms=platforms)
        assert str(info.digest) == whole["manifests"][1]["digest"]
    with pytest.raises((CopyFailed, ManifestUnknown), match="linux/amd64, linux/arm64"):
        export_image(source, "app:v1", tmp_path / "c.tar", platforms="linux/riscv64")
    with pytest.raises((CopyFailed, ManifestUnknown), match="linux/amd64, linux/arm64"):
        export_image(source, "v1", tmp_path / "c.tar", platforms=["linux/riscv64", "linux/amd64"])
    assert not (tmp_path / "c.tar").exists()


@covers("ZL-754")
@pytest.mark.parametrize("output", ["a.tar", "a.tar.gz", "folder/"])
def test_nothing_has_its_name_while_a_part_is_missing(output, tmp_path):
    async def broken(place):
        config = await push(place, b"{}")
        layer = await push(place, b"layer")
        await place.manifest_put(image(config, layer), ["v1"])
        del place._blobs[layer.digest]

    with pytest.raises(CopyFailed, match=f"no blob {Digest.of(b'layer')}"):
        export_image(memory(broken), "app:v1", f"{tmp_path}/{output}")
    if output == "folder/":
        assert not (tmp_path / "folder/index.json").exists()
    else:
        assert list(tmp_path.iterdir()) == []


@covers("ZL-755")
def test_foreign_layers_are_left_out_unless_asked_for(tmp_path):
    foreign = next(iter(media_types.NONDISTRIBUTABLE))

    async def windows(place):
        config = await push(place, b"{}")
        layer = await push(place, b"windows", foreign)
        url = "https://example.com/layer"
        await place.manifest_put(image(config, replace(layer, urls=(url,))), ["v1"])

    source = memory(windows)
    info = export_image(source, "app:v1", tmp_path / "a.tar")
    assert [one.digest for one in info.skipped] == [Digest.of(b"windows")]
    assert len(content(tmp_path / "a.tar")["blobs"]) == 1
    info = export_image(source, "app:v1", tmp_path / "b.tar", foreign=True)
    assert info.skipped == ()
    assert len(content(tmp_path / "b.tar")["blobs"]) == 2


def test_dockers_form(tmp_path):
    source = memory(lambda place: push_image(place, "one", "v1"))
    export_image(source, "library/app:v1", tmp_path / "a.tar", form="docker")
    with tarfile.open(tmp_path / "a.tar") as archive:
        (one,) = json.load(archive.extractfile("manifest.json"))
    assert one["RepoTags"] == ["app:v1"]
    export_image(source, "v1", tmp_path / "b.tar.gz", form="docker")
    with tarfile.open(tmp_path / "b.tar.gz") as archive:
        (one,) = json.load(archive.extractfile("manifest.json"))
    assert one["RepoTags"] is None
    with pytest.raises(CopyFailed, match="choose one by its platform"):
        export_image(memory(multi), "app:v1", tmp_path / "c.tar", form="docker")
    export_image(
        memory(multi), "app:v1", tmp_path / "c.tar", form="docker", platforms="linux/arm64"
    )


def test_a_stream(tmp_path):
    source = memory(lambda place: push_image(place, "one", "v1"))
    export_image(source, "app:v1", tmp_path / "a.tar")
    for compression, unpack in (("none", bytes), ("gzip", gzip.decompress)):
        out = io.BytesIO()
        info = export_image(source, "app:v1", out, compression=compression)
        assert info.path is None
        assert info.size == len(out.getvalue())
        assert unpack(out.getvalue()) == (tmp_path / "a.tar").read_bytes()


def test_compression_by_name_or_as_it_is_said(tmp_path):
    source = memory(lambda place: push_image(place, "one", "v1"))
    export_image(source, "v1", tmp_path / "a.tar.gz", compression="none")
    export_image(source, "v1", tmp_path / "b", compression="gzip")
    assert gzip.decompress((tmp_path / "b").read_bytes()) == (tmp_path / "a.tar.gz").read_bytes()
    for wrong in ({"compression": "lz4"}, {"compression": "gzip", "output": f"{tmp_path}/x/"}):
        with pytest.raises(Unsupported):
            export_image(
                source, "v1", wrong.get("output", tmp_path / "c"), compression=wrong["compression"]
            )
    with pytest.raises(Unsupported, match="is a folder"):
        export_image(source, "v1", tmp_path, form="docker")


def test_where_it_cannot_be_written(tmp_path):
    source = memory(lambda place: push_image(place, "one", "v1"))
    (tmp_path / "file").write_text("x")
    with pytest.raises((StoreUnavailable, CopyFailed)):
        export_image(source, "v1", tmp_path / "file/a.tar")


def test_under_asyncio(tmp_path):
    source = memory(lambda place: push_image(place, "one", "v1"))

    async def work():
        exports = (
            export_under_asyncio(source, "app:v1", tmp_path / f"{n}.tar", settings=Settings())
            for n in range(4)
        )
        return await asyncio.gather(*exports)

    assert len({info.digest for info in asyncio.run(work())}) == 1
    assert len({(tmp_path / f"{n}.tar").read_bytes() for n in range(4)}) == 1
    assert isinstance(run(source.resolve("v1")), Descriptor)
