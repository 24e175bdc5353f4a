"""``docker-archive:``: what is written, every form that is read, what is refused, what is hostile."""

import gzip
import itertools
import json
import os
import tarfile
from contextlib import aclosing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.client.docker_archives import (
    FORMS,
    as_crane,
    as_new_docker,
    as_old_docker,
    as_skopeo,
    config_of,
    hex_of,
    layer,
    manifest_json,
    packed,
)
from tests.client.graphs import GRAPHS, holdings
from wasmhold.client.copy import Copier, copy, copy_all
from wasmhold.client.failure import CopyFailed
from wasmhold.client.place import Place, PlaceInvalid
from wasmhold.client.places.archive import ImportLimits, open_archive
from wasmhold.client.places.docker import open_any_archive, open_docker_archive
from wasmhold.client.places.memory import MemoryRepository
from wasmhold.client.plan import Options
from wasmhold.client.runtime import ThreadRuntime
from wasmhold.oci import limits
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import (
    Ambiguous,
    ContentDamaged,
    DigestMismatch,
    LimitExceeded,
    ManifestUnknown,
    NameInvalid,
    TagInvalid,
    Unsupported,
    WasmholdError,
)
from wasmhold.oci.manifest import parse_manifest
from wasmhold.ports.runtime import run
from wasmhold.sync import Client
from wasmhold.testing.covers import covers
from wasmhold.testing.repository_suite import (
    REPOSITORY_CHECKS,
    check_repository,
    image,
    named,
    pull,
    push,
    push_image,
)

_NUMBERS = itertools.count()
LAYERS = (layer("one"), layer("two"), layer("one"))
REFUSED = {
    "a-blob-with-sha512",
    "a-manifest-with-sha512",
    "an-index-and-its-children",
    "referrers-of-referrers",
    "a-referrer-that-is-gone-is-not-listed",
}


def opened(path, name=""):
    return open_docker_archive(str(path), name, ThreadRuntime())


@pytest.mark.parametrize("check", sorted(REPOSITORY_CHECKS.keys() - REFUSED))
@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_suite(suffix, check, tmp_path):
    check_repository(
        lambda: opened(tmp_path / f"{next(_NUMBERS)}{suffix}", "localhost:5000/demo/app"), [check]
    )


# ---- what is written


def members(path):
    with tarfile.open(path) as archive:
        return [member.name for member in archive.getmembers()]


def saved(path):
    with tarfile.open(path) as archive:
        return json.load(archive.extractfile("manifest.json"))


async def write(path, name, text, *tags):
    async with aclosing(opened(path, name)) as place:
        stored = await push_image(place, text, *tags)
        await place.flush()
    return stored


def test_a_layout_and_dockers_manifest_in_one(tmp_path):
    path = tmp_path / "a.tar"
    stored = run(write(path, "demo/app", "one", "v1", "latest"))
    run(write(path, "demo/other", "two", "v1"))
    names = members(path)
    assert names[:5] == ["oci-layout", "index.json", "manifest.json", "blobs", "blobs/sha256"]
    one, two = saved(path)
    assert (one["RepoTags"], two["RepoTags"]) == (
        ["demo/app:v1", "demo/app:latest"],
        ["demo/other:v1"],
    )
    manifest = parse_manifest(stored.content)
    assert one["Config"] == f"blobs/sha256/{manifest.config.digest.encoded}"
    assert one["Layers"] == [f"blobs/sha256/{manifest.layers[0].digest.encoded}"]

    async def read():
        async with aclosing(open_archive(str(path), ThreadRuntime())) as place:
            entry = (await place.manifest_get(stored.digest)).content
            return entry, await place.names()

    content, names = run(read())
    assert content == stored.content
    assert names == ["demo/app:latest", "demo/app:v1", "demo/other:v1"]


def test_names_keep_apart_and_tags_move(tmp_path):
    path = tmp_path / "a.tar"
    run(write(path, "demo/app", "one", "v1"))
    run(write(path, "demo/other", "other", "v1"))
    run(write(path, "docker.io/demo/app", "two", "v1"))  # the same repository for docker

    async def read(name):
        async with aclosing(opened(path, name)) as place:
            return await place.tags(), (await place.resolve("v1")).digest

    tags, two = run(read("demo/app"))
    assert tags == ["v1"]
    assert run(read("demo/other"))[1] != two
    assert sorted(map(str, (one["RepoTags"] for one in saved(path)))) == [
        "None",
        "['demo/other:v1']",
        "['docker.io/demo/app:v1']",
    ]


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_the_same_content_is_the_same_archive(suffix, tmp_path):
    contents = []
    for number in range(2):
        path = tmp_path / f"{number}{suffix}"
        run(write(path, "demo/app", "one", "v1"))
        contents.append(path.read_bytes())
        run(write(path, "demo/app", "one", "v1"))
        contents.append(path.read_bytes())
    assert len(set(contents)) == 1


# ---- what is refused


async def with_subject(place):
    subject = named(await push_image(place, "subject"))
    await push_image(place, "note", "v1", subject=subject.to_json())


REFUSALS = {
    "an index": (GRAPHS["nested_indexes"], "holds images, not an index"),
    "a referrer": (with_subject, "not what refers to them"),
    "sha512": (
        lambda place: _sha512(place),
        "docker knows sha256 alone, not sha512",
    ),
}


async def _sha512(place):
    config = await push(place, b"config", algorithm="sha512")
    await place.manifest_put(image(config, algorithm="sha512"), ["v1"])


@pytest.mark.parametrize("kind", REFUSALS)
def test_what_docker_does_not_know_is_refused_before_anything_moves(kind, tmp_path):
    fill, said = REFUSALS[kind]

    async def work():
        source = MemoryRepository(ThreadRuntime())
        await fill(source)
        async with aclosing(opened(tmp_path / "a.tar", "demo/app")) as place:
            copier = Copier(source, place, ThreadRuntime(), Options())
            with pytest.raises(CopyFailed, match=said):
                await copier.plan("v1", ["v1"])
            with pytest.raises(Unsupported, match=said):
                await fill(place)

    run(work())
    assert list(tmp_path.iterdir()) == []


def test_a_tag_wants_a_name(tmp_path):
    with pytest.raises(Unsupported, match=r"want docker-archive:FILE:NAME:v1"):
        run(write(tmp_path / "a.tar", "", "one", "v1"))


# ---- what is read


async def read(path, name=""):
    async with aclosing(opened(path, name)) as place:
        return await holdings(place)


@covers("ZL-770", "ZL-771")
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dots", ["", "./"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form(form, dots, compressed, tmp_path):
    """Layers that are there twice, as links too, are the layers that they were."""
    content = packed([(dots + n, c) for n, c in FORMS[form](LAYERS, ["app:v1", "app:v2"])])
    (tmp_path / "a").write_bytes(gzip.compress(content) if compressed else content)

    async def work():
        target = MemoryRepository(ThreadRuntime())
        async with aclosing(opened(tmp_path / "a", "app")) as place:
            await copy_all(place, target, runtime=ThreadRuntime())
            assert (await place.only()).digest == (await place.resolve("v1")).digest
        assert await target.tags() == ["v1", "v2"]
        manifest = parse_manifest((await target.manifest_get("v1")).content)
        assert await pull(target, manifest.config.digest) == config_of(*LAYERS)
        contents = [await pull(target, one.digest) for one in manifest.layers]
        if form == "crane":
            contents = [gzip.decompress(content) for content in contents]
        assert tuple(contents) == LAYERS
        return manifest

    manifest = run(work())
    packing = "+gzip" if form == "crane" else ""
    assert {one.media_type for one in manifest.layers} == {
        f"application/vnd.oci.image.layer.v1.tar{packing}"
    }
    assert manifest.config.media_type == "application/vnd.oci.image.config.v1+json"


def test_the_manifest_of_a_layout_beside_is_taken_byte_for_byte(tmp_path):
    """Also one that an index leads to, of which only this child was saved."""
    content = dict(as_new_docker(LAYERS, ["app:v1"]))
    index = json.loads(content["index.json"])
    (entry,) = index["manifests"]
    manifest = content[f"blobs/sha256/{entry['digest'].removeprefix('sha256:')}"]
    absent = {**entry, "digest": f"sha256:{'a' * 64}"}
    top = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [absent, entry]}  # fmt: skip
    top_bytes = json.dumps(top).encode()
    content[f"blobs/sha256/{hex_of(top_bytes)}"] = top_bytes
    described = {"mediaType": top["mediaType"], "digest": str(Digest.of(top_bytes)), "size": len(top_bytes)}  # fmt: skip
    content["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [described]}).encode()
    (tmp_path / "a.tar").write_bytes(packed(content.items()))
    found = run(read(tmp_path / "a.tar"))
    assert found["manifests"][found["tags"]["v1"]][1] == manifest


def test_an_old_archive_becomes_a_new_one_when_it_is_added_to(tmp_path):
    path = tmp_path / "a.tar"
    path.write_bytes(packed(as_old_docker(LAYERS, ["app:v1"])))
    before = run(read(path, "app"))
    run(write(path, "other", "two", "v1"))
    assert run(read(path, "app")) == before
    assert members(path)[:3] == ["oci-layout", "index.json", "manifest.json"]
    assert [one["RepoTags"] for one in saved(path)] == [["app:v1"], ["other:v1"]]


def test_layers_that_are_elsewhere(tmp_path):
    """Windows: the file is not there, and a descriptor says where it is to be had."""
    config = config_of(LAYERS[0])
    foreign = {
        "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "digest": f"sha256:{'b' * 64}",
        "size": 7,
        "urls": ["https://example.com/layer"],
    }
    (item,) = json.loads(manifest_json(("config.json", ["app:v1"], ["gone/layer.tar"])))
    item["LayerSources"] = {str(Digest.of(LAYERS[0])): foreign}
    listed = json.dumps([item]).encode()
    content = packed([("config.json", config), ("manifest.json", listed)])
    (tmp_path / "a.tar").write_bytes(content)
    found = run(read(tmp_path / "a.tar"))
    manifest = parse_manifest(found["manifests"][found["tags"]["v1"]][1])
    assert manifest.layers[0].urls == ("https://example.com/layer",)


def test_images_of_several_names(tmp_path):
    one, two = as_skopeo(LAYERS[:1], ["a:1"]), as_skopeo(LAYERS[1:2], ["docker.io/library/b:1"])
    images = [*json.loads(dict(one)["manifest.json"]), *json.loads(dict(two)["manifest.json"])]
    both = {**dict(one), **dict(two), "0/layer.tar": b"", "manifest.json": json.dumps(images).encode()}  # fmt: skip
    (tmp_path / "a.tar").write_bytes(packed(both.items()))
    with pytest.raises(Ambiguous, match=r"a:1; docker\.io/library/b:1"):
        run(read(tmp_path / "a.tar"))
    for name in ("a", "library/b", "docker.io/library/b"):
        assert list(run(read(tmp_path / "a.tar", name))["tags"]) == ["1"]
    with Client() as client:
        with pytest.raises(ManifestUnknown, match=r"it has a:1, docker\.io/library/b:1"):
            client.resolve(f"docker-archive:{tmp_path}/a.tar")
        assert client.tags(f"docker-archive:{tmp_path}/a.tar:b") == ["1"]


# ---- what is hostile


def changed(form, **files):
    """An archive in which files have other contents; None: it is not there."""
    made = dict(form(LAYERS, ["app:v1"]))
    for name, content in files.items():
        name = {"manifest": "manifest.json"}.get(name, name)
        made[name] = content
    return packed((name, content) for name, content in made.items() if content is not None)


CONFIG = config_of(*LAYERS)
OLD = dict(as_old_docker(LAYERS, ["app:v1"]))
OLD_LAYER = next(name for name, content in OLD.items() if content == LAYERS[0])
SKOPEO_LAYER = f"{hex_of(LAYERS[0])}.tar"
CRANE_LAYER = f"{hex_of(gzip.compress(LAYERS[0], mtime=0))}.tar.gz"


def one_image(config="c.json", names=("app:v1",), layers=("l.tar",), content=CONFIG):
    listed = manifest_json((config, names, layers))
    return packed([("c.json", content), ("l.tar", LAYERS[0]), ("manifest.json", listed)])


def linked(to, name="l.tar"):
    listed = manifest_json(("c.json", ["app:v1"], ["l.tar"]))
    config = config_of(LAYERS[0])
    return packed([("c.json", config), (name, to), ("manifest.json", listed)])


# fmt: off
HOSTILE = {
    "no manifest":           (lambda: changed(as_old_docker, manifest=None), ContentDamaged, "is no docker archive"),
    "no image":              (lambda: changed(as_old_docker, manifest=b"[]"), ContentDamaged, "contains no images"),
    "an object":             (lambda: changed(as_old_docker, manifest=b"{}"), ContentDamaged, "contains no images"),
    "no JSON":               (lambda: changed(as_old_docker, manifest=b"["), ContentDamaged, "not JSON"),
    "an image of nothing":   (lambda: changed(as_old_docker, manifest=b"[1]"), ContentDamaged, r"\[0\].Config"),
    "layers of nothing":     (lambda: one_image(layers=[1]), ContentDamaged, r"\[0\].Layers"),
    "a name without a tag":  (lambda: one_image(names=["app"]), ContentDamaged, "no NAME:TAG"),
    "a tag without a name":  (lambda: one_image(names=[":v1"]), ContentDamaged, "no NAME:TAG"),
    "a config that is gone": (lambda: one_image(config="x.json"), ContentDamaged, "x.json is not in the archive"),
    "a config above":        (lambda: one_image(config="../c.json"), ContentDamaged, "is not in the archive"),
    "a layer that is gone":  (lambda: changed(as_old_docker, **{OLD_LAYER: None}), ContentDamaged, "is not in the archive"),
    "a layer too few":       (lambda: one_image(), ContentDamaged, "3 layers by its config, and 1 here"),
    "a config of nonsense":  (lambda: one_image(content=b"{"), ContentDamaged, "no config of an image"),
    "diff_ids of nonsense":  (lambda: one_image(content=b'{"rootfs": {"diff_ids": ["x"]}}'), ContentDamaged, "no config of an image"),
    "no diff_ids":           (lambda: one_image(content=b'{"rootfs": 1}'), ContentDamaged, "0 layers by its config"),
    "another config":        (lambda: changed(as_old_docker, **{f"{hex_of(CONFIG)}.json": CONFIG + b" "}), DigestMismatch, hex_of(CONFIG)),
    "another layer":         (lambda: changed(as_skopeo, **{SKOPEO_LAYER: layer("other")}), CopyFailed, hex_of(LAYERS[0])),
    "another, compressed":   (lambda: changed(as_crane, **{CRANE_LAYER: gzip.compress(layer("other"))}), DigestMismatch, hex_of(LAYERS[0])),
    "compressed otherwise":  (lambda: changed(as_crane, **{CRANE_LAYER: gzip.compress(LAYERS[0], 1)}), DigestMismatch, CRANE_LAYER.partition(".")[0]),
    "gzip that is cut":      (lambda: changed(as_crane, **{CRANE_LAYER: gzip.compress(LAYERS[0])[:-9]}), ContentDamaged, "is damaged"),
    "a layer that is old":   (lambda: changed(as_old_docker, **{OLD_LAYER: layer("other")}), CopyFailed, hex_of(LAYERS[0])),
    "a link above":          (lambda: linked("../l.tar"), ContentDamaged, "leads out"),
    "a link to a file":      (lambda: linked("/etc/passwd"), ContentDamaged, "leads out"),
    "a link to nothing":     (lambda: linked("m.tar"), ContentDamaged, "is not in the archive"),
    "a link to itself":      (lambda: linked("l.tar"), ContentDamaged, "is not in the archive"),
    "a folder":              (lambda: linked(None), ContentDamaged, "is not in the archive"),
    "a name above":          (lambda: linked(b"", "../x"), ContentDamaged, "lies outside"),
    "an absolute name":      (lambda: linked(b"", "/etc/x"), ContentDamaged, "lies outside"),
    "a layer twice":         (lambda: packed([*as_skopeo(LAYERS, ["app:v1"]), (SKOPEO_LAYER, b"")]), ContentDamaged, "is in it twice"),
    "two manifests":         (lambda: packed([*as_skopeo(LAYERS, ["app:v1"]), ("./manifest.json", b"[]")]), ContentDamaged, "is in it twice"),
}
# fmt: on


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile(kind, tmp_path):
    make, error, said = HOSTILE[kind]
    (tmp_path / "a.tar").write_bytes(make())

    async def work():
        target = MemoryRepository(ThreadRuntime())
        async with aclosing(opened(tmp_path / "a.tar")) as place:
            with pytest.raises(error, match=said) as caught:
                digest = (await place.only()).digest
                await copy(place, digest, target, ["v1"], runtime=ThreadRuntime())
        if isinstance(caught.value, CopyFailed):
            assert isinstance(caught.value.cause, DigestMismatch)
        assert await target.tags() == []

    run(work())
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_any_change_of_an_archive_is_an_error_or_harmless(tmp_path_factory, data):
    """Flip, cut or repeat: what comes out is an error of ours, or an image with right digests."""
    form = data.draw(st.sampled_from(sorted(FORMS)))
    content = bytearray(packed(FORMS[form](LAYERS, ["app:v1"])))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        kind = data.draw(st.sampled_from(["flip", "cut", "repeat"]))
        if kind == "flip":
            content[at] = data.draw(st.integers(0, 255))
        elif kind == "cut" and at:
            del content[at:]
        else:
            content[at:at] = content[at : at + 512]
    path = tmp_path_factory.getbasetemp() / f"{next(_NUMBERS)}.tar"
    path.write_bytes(content)

    async def work():
        target = MemoryRepository(ThreadRuntime())
        async with aclosing(opened(path)) as place:
            try:
                digest = (await place.only()).digest
                await copy(place, digest, target, ["v1"], runtime=ThreadRuntime())
            except WasmholdError:
                return
        manifest = parse_manifest((await target.manifest_get("v1")).content)
        for one in manifest.layers:
            assert Digest.of(await pull(target, one.digest)) == one.digest

    try:
        run(work())
    finally:
        path.unlink()


def test_layers_that_unpack_to_too_much(tmp_path):
    zeros = bytes(10_000_000)
    content = packed(as_crane([zeros], ["app:v1"]))
    (tmp_path / "a.tar").write_bytes(content)
    bounds = ImportLimits(free=1_000_000, ratio=10)

    async def work(bounds):
        place = open_any_archive(str(tmp_path / "a.tar"), ThreadRuntime(), bounds)
        async with aclosing(place):
            return await place.tags()

    with pytest.raises(LimitExceeded, match="1000000 bytes"):
        run(work(bounds))
    assert run(work(ImportLimits())) == ["v1"]


def test_a_few_bytes_that_would_become_many_manifests(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "LAYOUT_INDEX", 20_000)
    config = config_of(*[LAYERS[0]] * 100)
    listed = manifest_json(*[("c", None, ["l"] * 100)] * 10)
    (tmp_path / "a.tar").write_bytes(
        packed([("c", config), ("l", LAYERS[0]), ("manifest.json", listed)])
    )
    with pytest.raises(ContentDamaged, match="more layers than are taken"):
        run(read(tmp_path / "a.tar"))


def test_open_files_do_not_grow_with_images(tmp_path):
    images = [(f"{n}", config_of(LAYERS[0], number=n)) for n in range(300)]
    listed = manifest_json(*[(name, [f"app:{name}"], ["l"]) for name, _ in images])
    (tmp_path / "a.tar").write_bytes(packed([*images, ("l", LAYERS[0]), ("manifest.json", listed)]))

    async def work():
        async with aclosing(opened(tmp_path / "a.tar")) as place:
            before = len(os.listdir("/proc/self/fd"))
            assert len(await place.tags()) == 300
            return len(os.listdir("/proc/self/fd")) - before

    assert run(work()) <= 4


# ---- places and the client

# fmt: off
PLACES = [
    # text,                                          name,                  tag
    ("docker-archive:a.tar",                         "",                    None),
    ("docker-archive:a.tar:app",                     "app",                 None),
    ("docker-archive:/x/a.tar:demo/app:1.0",         "demo/app",            "1.0"),
    ("docker-archive:a.tar:localhost:5000/app:1.0",  "localhost:5000/app",  "1.0"),
    (f"docker-archive:a.tar@sha256:{'a' * 64}",      "",                    None),
]
WRONG = [
    ("docker-archive:",            PlaceInvalid),
    ("docker-archive:a.tar:",      PlaceInvalid),
    ("docker-archive::app:1",      PlaceInvalid),
    ("docker-archive:a.tar:App:1", NameInvalid),
    ("docker-archive:a.tar:app:",  TagInvalid),
]
# fmt: on


@pytest.mark.parametrize(("text", "name", "tag"), PLACES)
def test_places(text, name, tag):
    place = Place.parse(text)
    assert (place.name, place.tag, str(place)) == (name, tag, text)


@pytest.mark.parametrize(("text", "error"), WRONG)
def test_what_is_no_place(text, error):
    with pytest.raises(error):
        Place.parse(text)


def test_by_the_client(tmp_path):
    archive = f"docker-archive:{tmp_path}/a.tar"
    (tmp_path / "old.tar").write_bytes(packed(as_old_docker(LAYERS, ["app:v1"])))
    store = f"store:{tmp_path}/store//demo/app"
    with Client() as client:
        client.copy(f"docker-archive:{tmp_path}/old.tar", store)
        assert client.tags(store) == ["v1"]
        client.copy(f"{store}:v1", archive)
        assert saved(tmp_path / "a.tar")[0]["RepoTags"] == ["demo/app:v1"]
        assert client.resolve(archive) == client.resolve(f"{store}:v1")
        client.copy(f"{store}:v1", f"{archive}:other:2")
        with pytest.raises(Ambiguous):
            client.tags(archive)
        assert client.tags(f"{archive}:other") == ["2"]
        client.copy(f"{archive}:other:2", f"oci:{tmp_path}/layout")
        with pytest.raises(PlaceInvalid, match="wants a whole name"):
            client.copy(f"oci:{tmp_path}/layout:2", archive)
        client.copy(f"{archive}:other", f"oci:{tmp_path}/all", all_tags=True)
        assert client.tags(f"oci:{tmp_path}/all") == ["2"]


@pytest.mark.parametrize("graph", GRAPHS)
def test_graphs_are_taken_whole_or_refused(graph, tmp_path):
    async def work():
        source = MemoryRepository(ThreadRuntime())
        await GRAPHS[graph](source)
        wanted = await holdings(source)
        async with aclosing(opened(tmp_path / "a.tar", "app")) as place:
            try:
                await copy_all(source, place, runtime=ThreadRuntime(), options=Options())
            except CopyFailed as error:
                assert isinstance(error.cause, Unsupported)
                return False
        async with aclosing(opened(tmp_path / "a.tar", "app")) as place:
            found = await holdings(place)
        assert found["tags"] == wanted["tags"]
        assert found["blobs"].items() <= wanted["blobs"].items()
        return True

    assert issubclass(Unsupported, WasmholdError)
    assert run(work()) is (graph in {"single", "referrers_three_levels", "foreign_layers"})
