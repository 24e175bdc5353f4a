"""The images of this machine: what is put, listed, removed and collected, and zlayer's folder."""

import asyncio
import json
import os
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.client.graphs import holdings
from tests.registries import serving
from wasmhold.client.copy import copy
from wasmhold.client.local_images import LocalMethods
from wasmhold.client.local_registry import LocalRegistry
from wasmhold.client.places.memory import MemoryRepository
from wasmhold.client.runtime import ThreadRuntime
from wasmhold.oci import media_types
from wasmhold.oci.descriptor import Descriptor
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import (
    BlobUnknown,
    ContentDamaged,
    DigestInvalid,
    DigestMismatch,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    TagInvalid,
    TooLarge,
)
from wasmhold.ports.runtime import run
from wasmhold.sync import Client
from wasmhold.sync import LocalRegistry as Blocking
from wasmhold.testing.covers import covers
from wasmhold.testing.repository_suite import index, named, push, push_image


@pytest.fixture
def local(tmp_path):
    return Blocking(tmp_path / "images")


def document(**members):
    return json.dumps({"schemaVersion": 2, **members}).encode()


def manifest(*blobs, **more):
    config, *layers = [
        Descriptor("application/x", Digest.of(blob), len(blob)).to_json() for blob in blobs
    ]
    return document(
        mediaType=media_types.IMAGE_MANIFEST, config=config, layers=list(layers), **more
    )


def put_image(local, name, text, *tags):
    blobs = f"config of {text}".encode(), f"layer of {text}".encode()
    for blob in blobs:
        local.put_blob(name, blob)
    content = manifest(*blobs)
    for tag in tags or (str(Digest.of(content)),):
        local.put_manifest(name, tag, content)
    return Digest.of(content)


# ---- the abilities that zlayer tests


@covers("ZL-712", "ZL-705")
def test_a_blob_is_put_and_got(local):
    digest = local.put_blob("app", b"bytes")
    assert digest == Digest.of(b"bytes")
    assert local.put_blob("app", b"bytes") == digest
    assert local.get_blob("app", digest) == local.get_blob("app", str(digest)) == b"bytes"
    assert local.has_blob("app", digest)
    assert not local.has_blob("app", Digest.of(b"other"))
    assert not local.has_blob("other", digest)
    with pytest.raises(BlobUnknown):
        local.get_blob("app", Digest.of(b"other"))
    with pytest.raises(TooLarge):
        local.get_blob("app", digest, limit=4)
    with pytest.raises(DigestInvalid):
        local.has_blob("app", "sha256:abc")


@covers("ZL-712", "ZL-706", "ZL-707")
def test_a_manifest_is_put_and_got(local):
    digest = put_image(local, "demo/app", "one", "v1")
    assert local.get_manifest("demo/app", "v1") == local.get_manifest("demo/app", str(digest))
    assert local.has_manifest("demo/app", "v1")
    assert not local.has_manifest("demo/app", "v2")
    assert not local.has_manifest("other", "v1")
    with pytest.raises(ManifestUnknown, match="v2"):
        local.get_manifest("demo/app", "v2")
    put_image(local, "demo/app", "two")
    assert local.tags("demo/app") == ["v1"]


@covers("ZL-706")
def test_what_is_no_manifest_is_not_stored(local):
    local.put_blob("app", b"{}")
    right = manifest(b"{}")
    wrong = [
        (str(Digest.of(b"other")), right, None, DigestMismatch),
        ("v1", b"{", None, ManifestInvalid),
        ("v1", right, media_types.IMAGE_INDEX, ManifestInvalid),
        ("v1", manifest(b"{}", b"absent"), None, ManifestBlobUnknown),
        ("-", right, None, TagInvalid),
    ]
    for reference, content, media_type, error in wrong:
        with pytest.raises(error):
            local.put_manifest("app", reference, content, media_type=media_type)
        assert local.images() == []
    local.put_manifest("app", "v1", manifest(b"{}", b"absent"), allow_missing=True)
    assert local.tags("app") == ["v1"]


@covers("ZL-712", "ZL-708")
def test_lists_are_sorted_and_come_in_pages(local):
    assert local.images() == []
    for name in ("b", "a/c", "a"):
        put_image(local, name, name, "v2", "v1", "v10")
    assert local.images() == ["a", "a/c", "b"]
    assert local.images("a", 1) == ["a/c"]
    assert local.tags("b") == ["v1", "v10", "v2"]
    assert local.tags("b", "v1", 1) == ["v10"]
    assert local.tags("b", "v10") == ["v2"]
    with pytest.raises(NameUnknown):
        local.tags("c")


@covers("ZL-712", "ZL-709")
def test_what_is_deleted_leaves_its_bytes_to_the_collector(local):
    put_image(local, "app", "one", "v1", "v2")
    put_image(local, "other", "two", "v1")
    local.delete_tag("app", "v1")
    assert local.tags("app") == ["v2"]
    local.delete_image("app")
    assert local.images() == ["other"]
    assert local.has_blob("app", Digest.of(b"layer of one"))
    for name in ("app", "never"):
        with pytest.raises(NameUnknown):
            local.delete_image(name)
    local.collect(grace_s=0)
    assert not local.has_blob("app", Digest.of(b"layer of one"))
    assert local.has_blob("other", Digest.of(b"layer of two"))


@covers("ZL-712", "ZL-711")
def test_size_counts_bytes_once(local):
    put_image(local, "app", "one", "v1")
    once = local.size()
    content = local.get_manifest("app", "v1").content
    assert once == len(content) + len(b"config of one") + len(b"layer of one")
    put_image(local, "other", "one", "v1")
    assert local.size() == once + len(content)  # manifests are not shared, blobs are


# ---- names


@covers("ZL-712", "ZL-702", "ZL-703")
@pytest.mark.parametrize(
    "name", ["..", ".", "", "/", "a/../b", "a\0b", "a" * 300, "A", "host:5000/app", "a//b", "../x"]
)
def test_a_name_that_is_none_touches_nothing(name, local, tmp_path):
    (tmp_path / "beside").write_text("stays")
    content, digest = manifest(b"{}"), Digest.of(b"{}")
    attempts = [
        lambda: local.put_blob(name, b"x"),
        lambda: local.get_blob(name, digest),
        lambda: local.has_blob(name, digest),
        lambda: local.put_manifest(name, "v1", content, allow_missing=True),
        lambda: local.get_manifest(name, "v1"),
        lambda: local.tags(name),
        lambda: local.delete_tag(name, "v1"),
        lambda: local.delete_image(name),
    ]
    for attempt in attempts:
        with pytest.raises(NameInvalid):
            attempt()
    assert [path.name for path in tmp_path.iterdir()] == ["beside"]
    put_image(local, "app", "one", "v1")
    with pytest.raises(NameInvalid):
        local.delete_image(name)
    assert local.images() == ["app"]


@covers("ZL-702")
def test_names_that_look_alike_are_kept_apart(local):
    put_image(local, "a/b", "one", "v1")
    put_image(local, "a_b", "two", "v1")
    put_image(local, "a-b", "three", "v1")
    assert local.images() == ["a-b", "a/b", "a_b"]
    assert len({local.get_manifest(name, "v1").digest for name in local.images()}) == 3


# ---- damage, collection


@covers("ZL-704")
def test_writers_of_one_blob_do_not_meet(local, tmp_path):
    """How a blob is written is in tests/stores/test_directory_steps.py, for the same store."""
    content = os.urandom(300_000)
    with ThreadPoolExecutor(8) as threads:
        digests = list(threads.map(lambda name: local.put_blob(name, content), "abcd" * 4))
    assert set(digests) == {Digest.of(content)}
    assert local.get_blob("a", digests[0]) == content
    left = [p for p in (tmp_path / "images/.wasmhold/tmp").rglob("*") if p.is_file()]
    assert left == []


@covers("ZL-705")
def test_a_damaged_blob_is_set_aside_and_mended_by_a_push(local, tmp_path):
    digest = local.put_blob("app", b"right")
    path = tmp_path / f"images/app/blobs/sha256/{digest.encoded}"
    os.chmod(path, 0o644)
    path.write_bytes(b"wrong")
    with pytest.raises(ContentDamaged, match=r"moved to \.wasmhold/bad"):
        local.get_blob("app", digest)
    assert not local.has_blob("app", digest)
    (aside,) = (tmp_path / "images/.wasmhold/bad").iterdir()
    assert aside.read_bytes() == b"wrong"
    local.put_blob("app", b"right")
    assert local.get_blob("app", digest) == b"right"


async def _family(repository):
    """An index whose child, and a note about it, nothing else leads to."""
    child = await push_image(repository, "child")
    top = index(child)
    await repository.manifest_put(top, ["top"])
    note = await push_image(repository, "note", subject=named(top).to_json())
    loose = await push_image(repository, "loose")
    await push(repository, b"nobody refers to this")
    return [child, top, note], loose


@covers("ZL-710")
def test_collection_keeps_what_is_reachable(local, tmp_path):
    runtime = ThreadRuntime()

    async def fill():
        opened = await local.engine(runtime).repository("app", create=True)
        found = await _family(opened)
        await opened.aclose()
        return found

    kept, loose = run(fill())
    before = local.size()
    assert local.collect().removed == 0  # an hour is left to whoever is pushing
    told = local.collect(grace_s=0, dry_run=True)
    assert told.removed > 0
    assert local.size() == before
    done = local.collect(grace_s=0)
    assert done.removed >= told.removed
    for stored in kept:
        assert local.has_manifest("app", str(stored.digest))
    assert local.has_blob("app", Digest.of(b"layer of child"))
    assert local.has_blob("app", Digest.of(b"layer of note"))
    assert not local.has_manifest("app", str(loose.digest))
    assert not local.has_blob("app", Digest.of(b"layer of loose"))
    assert not local.has_blob("app", Digest.of(b"nobody refers to this"))
    assert local.collect(grace_s=0).removed == 0


@covers("ZL-710")
def test_collection_leaves_an_image_alone_that_it_cannot_read(local, tmp_path):
    digest = put_image(local, "app", "one", "v1")
    local.put_blob("app", b"loose")
    put_image(local, "other", "two", "v1")
    local.put_blob("other", b"loose too")
    path = tmp_path / f"images/app/blobs/sha256/{digest.encoded}"
    os.chmod(path, 0o644)
    path.write_bytes(b"no JSON")
    local.collect(grace_s=0)
    for blob in (b"loose", b"config of one", b"layer of one"):
        assert local.has_blob("app", Digest.of(blob))
    assert not local.has_blob("other", Digest.of(b"loose too"))


@covers("ZL-004")
def test_it_needs_no_further_package():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert project["project"]["optional-dependencies"]["local"] == []


# ---- beside others


@covers("ZL-700")
def test_it_is_the_store_that_is_served(local, tmp_path):
    put_image(local, "app", "one", "v1")
    store = ("--root", str(tmp_path / "images"))
    with serving("--log", "off", store=store) as server, Client() as client:
        assert client.tags(f"{server.host}/app") == ["v1"]
        client.copy(f"{server.host}/app:v1", f"{server.host}/pushed:v2")
        assert local.images() == ["app", "pushed"]
        put_image(local, "app", "two", "v1")
        found = client.resolve(f"{server.host}/app:v1")
        assert found.digest == local.get_manifest("app", "v1").digest


def test_under_asyncio(tmp_path):
    async def work():
        local = LocalRegistry(tmp_path / "images")
        digest = await local.put_blob("app", b"{}")
        await local.put_manifest("app", "v1", manifest(b"{}"))
        results = await asyncio.gather(*(local.get_blob("app", digest) for _ in range(5)))
        assert results == [b"{}"] * 5
        async with local.repository("app") as repository:
            assert await repository.tags() == ["v1"]
        return await local.images()

    assert asyncio.run(work()) == ["app"]


def test_both_faces_have_the_same_methods():
    import inspect

    def public(face):
        return {name for name in vars(face) if not name.startswith("_")}

    assert public(LocalMethods) - {"runtime", "repository"} == public(Blocking)
    for name in public(Blocking) - {"engine"}:
        one, other = getattr(LocalRegistry, name), getattr(Blocking, name)
        assert inspect.signature(one).parameters == inspect.signature(other).parameters, name
        assert one.__doc__ == other.__doc__


# ---- zlayer's folder


def zlayer(folder, images):
    """As zlayer writes it: images are name to tag to (config, layer)."""
    (folder / "blobs/sha256").mkdir(parents=True)
    listed = {}
    for name, tags in images.items():
        cleaned = "".join(c if c.isascii() and (c.isalnum() or c in "-._") else "_" for c in name)
        at = folder / "manifests" / cleaned
        (at / "tags").mkdir(parents=True, exist_ok=True)
        (at / "sha256").mkdir(exist_ok=True)
        listed[name] = {"name": name, "tags": sorted(tags), "updated_at": 1_700_000_000}
        for tag, blobs in tags.items():
            for blob in blobs:
                (folder / "blobs/sha256" / Digest.of(blob).encoded).write_bytes(blob)
            content = manifest(*blobs)
            (at / "sha256" / Digest.of(content).encoded).write_bytes(content)
            (at / "tags" / tag).write_text(str(Digest.of(content)))
    (folder / "index.json").write_text(json.dumps({"schema_version": 1, "images": listed}))


@covers("ZL-701")
def test_zlayers_folder_is_taken_over(local, tmp_path):
    old = tmp_path / "old"
    images = {
        "docker.io/library/alpine": {"3.19": (b"{}", b"alpine"), "latest": (b"{}", b"newer")},
        "app": {"v1": (b"config", b"layer")},
        "damaged": {"v1": (b"{1}", b"right"), "v2": (b"{}", b"alpine")},
        "localhost:5000/x": {"v1": (b"{}", b"alpine")},
    }
    zlayer(old, images)
    (old / "blobs/sha256" / Digest.of(b"right").encoded).write_bytes(b"wrong")
    before = sorted(path for path in old.rglob("*"))
    taken = local.import_zlayer(old)
    assert taken.images == (
        "docker.io/library/alpine:3.19",
        "docker.io/library/alpine:latest",
        "app:v1",
        "damaged:v2",
    )
    (damaged, why), (port, no_name) = taken.left_out
    assert (damaged, port) == ("damaged:v1", "localhost:5000/x:v1")
    assert Digest.of(b"right").encoded in why
    assert "not a repository name" in no_name
    assert local.images() == ["app", "damaged", "docker.io/library/alpine"]
    assert local.tags("damaged") == ["v2"]
    assert local.get_blob("docker.io/library/alpine", Digest.of(b"newer")) == b"newer"
    assert sorted(path for path in old.rglob("*")) == before
    assert local.import_zlayer(old).images == taken.images


@covers("ZL-701")
@pytest.mark.parametrize("content", [None, b"", b"[]", b'{"images": 1}'])
def test_what_is_no_folder_of_zlayers(content, local, tmp_path):
    (tmp_path / "old").mkdir()
    if content is not None:
        (tmp_path / "old/index.json").write_bytes(content)
    with pytest.raises(ContentDamaged, match="no folder of zlayer's"):
        local.import_zlayer(tmp_path / "old")
    assert local.images() == []


def test_copies_go_in_and_out(local):
    runtime = ThreadRuntime()

    async def work():
        source = MemoryRepository(runtime)
        await _family(source)
        target = await local.engine(runtime).repository("app", create=True)
        await copy(source, "top", target, ["top"], runtime=runtime)
        found = await holdings(target)
        await target.aclose()
        return found

    assert list(run(work())["tags"]) == ["top"]
