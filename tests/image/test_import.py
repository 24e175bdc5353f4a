"""What is imported: every form, names, choices, limits, and what is damaged or hostile."""

import asyncio
import gzip
import io
import json
import os
import tarfile
from contextlib import aclosing

import pytest

from tests.client.docker_archives import (
    FORMS,
    as_new_docker,
    as_old_docker,
    layer,
    packed,
)
from tests.client.graphs import GRAPHS, holdings
from tests.client.recording import Says, recording
from tests.image.test_export import memory, multi
from tests.registries import serving
from wasmhold.client.copy import copy_all
from wasmhold.client.failure import CopyFailed
from wasmhold.client.places import compression
from wasmhold.client.places.archive import ImportLimits, open_archive
from wasmhold.client.places.cache import CacheRepository
from wasmhold.client.places.memory import MemoryRepository
from wasmhold.client.plan import Options
from wasmhold.client.platforms import Platform
from wasmhold.client.runtime import ThreadRuntime
from wasmhold.client.settings import Settings
from wasmhold.image.exchange import import_image as import_under_asyncio
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import (
    Ambiguous,
    BlobUnknown,
    ContentDamaged,
    DigestMismatch,
    FileInvalid,
    LimitExceeded,
    ManifestUnknown,
    NameInvalid,
    TooLarge,
    Unreachable,
    WasmholdError,
)
from wasmhold.oci.layout import IMAGE_NAME, REF_NAME
from wasmhold.oci.manifest import parse_manifest
from wasmhold.ports.runtime import run
from wasmhold.sync import BlobCache, Client, ImagePuller, LocalRegistry, export_image, import_image
from wasmhold.testing.covers import covers
from wasmhold.testing.repository_suite import push_image

LAYERS = (layer("one"), layer("two"), layer("one"))


@pytest.fixture
def local(tmp_path):
    return LocalRegistry(tmp_path / "images")


def exported(tmp_path, fill, reference="demo/app:v1", output="a.tar", **how):
    export_image(memory(fill), reference, f"{tmp_path}/{output}", **how)
    return tmp_path / output


async def one(place):
    await push_image(place, "one", "v1")


async def two(place):
    """The index as ``v2``."""
    await multi(place)
    await place.manifest_put(await place.manifest_get("v1"), ["v2"])


def zstd(content):
    out = io.BytesIO()
    with compression.writing("zstd", out) as writer:
        writer.write(content)
    return out.getvalue()


# ---- the forms

PACKINGS = {"plain": bytes, "gzip": gzip.compress, "zstd": zstd}


@covers("ZL-760", "ZL-761")
@pytest.mark.parametrize("given", ["path", "bytes", "stream"])
@pytest.mark.parametrize("packing", PACKINGS)
def test_a_layout_in_any_packing(packing, given, local, tmp_path):
    path = exported(tmp_path, one)
    content = PACKINGS[packing](path.read_bytes())
    path.write_bytes(content)
    source = {"path": path, "bytes": content, "stream": io.BytesIO(content)}[given]
    (info,) = import_image(local, source)
    assert (info.name, info.tags, info.layers) == ("docker.io/demo/app", ("v1",), 1)
    assert info.digest == local.get_manifest("demo/app", "v1").digest
    assert local.images() == ["demo/app"]
    assert sorted(os.listdir(tmp_path)) == ["a.tar", "images"]


@covers("ZL-760")
def test_a_folder(local, tmp_path):
    path = exported(tmp_path, one, output="layout/")
    (info,) = import_image(local, path)
    assert info.digest == local.get_manifest("demo/app", "v1").digest


@covers("ZL-770", "ZL-761", "ZL-766")
@pytest.mark.parametrize("form", FORMS)
def test_what_docker_saves(form, local, tmp_path):
    (tmp_path / "a.tar").write_bytes(packed(FORMS[form](LAYERS, ["app:v1", "app:v2"])))
    (info,) = import_image(local, tmp_path / "a.tar")
    assert info.tags == ("v1", "v2")
    assert local.images() == ["app"]
    manifest = parse_manifest(local.get_manifest("app", "v2").content)
    contents = [local.get_blob("app", one.digest) for one in manifest.layers]
    if form == "crane":
        contents = [gzip.decompress(content) for content in contents]
    assert tuple(contents) == LAYERS


@covers("ZL-761")
def test_a_layout_counts_before_dockers_manifest(local, tmp_path):
    """The two may differ: then it is the layout that was meant."""
    members = dict(as_new_docker(LAYERS, ["app:v1"]))
    members["manifest.json"] = b"no JSON"
    (tmp_path / "a.tar").write_bytes(packed(members.items()))
    assert import_image(local, tmp_path / "a.tar")[0].tags == ("v1",)


@covers("ZL-761")
@pytest.mark.parametrize("kind", ["archive", "folder", "empty"])
def test_what_is_neither(kind, local, tmp_path):
    path = tmp_path / "a"
    if kind == "archive":
        path.write_bytes(packed([("x", b"")]))
        said = r"neither an image layout \(no oci-layout\) nor a docker archive"
    else:
        path.mkdir()
        if kind == "empty":
            (path / "oci-layout").write_bytes(b'{"imageLayoutVersion": "1.0.0"}')
            (path / "index.json").write_bytes(b'{"schemaVersion": 2, "manifests": []}')
        said = "has no image"
    with pytest.raises(ContentDamaged, match=said):
        import_image(local, path)
    with pytest.raises(FileInvalid):
        import_image(local, tmp_path / "absent.tar")
    assert local.images() == []


@covers("ZL-763")
@pytest.mark.parametrize("graph", GRAPHS)
def test_everything_that_an_archive_holds(graph, tmp_path):
    """Into a place of one repository: the same tags, manifests and blobs, and referrers."""
    source, target = memory(GRAPHS[graph]), MemoryRepository(ThreadRuntime())
    import_into(source, target, tmp_path)
    wanted, found = run(holdings(source)), run(holdings(target))
    assert found["tags"] == wanted["tags"]
    assert found["manifests"] == wanted["manifests"]
    assert found["blobs"].items() <= wanted["blobs"].items()


def import_into(source, target, tmp_path):
    """By way of an archive of all tags."""

    async def write():
        async with aclosing(open_archive(f"{tmp_path}/all.tar", ThreadRuntime())) as place:
            await copy_all(source, place, runtime=ThreadRuntime(), options=Options(referrers=True))

    run(write())
    return import_image(target, f"{tmp_path}/all.tar")


@covers("ZL-763")
def test_several_images_and_those_that_are_selected(local, tmp_path):
    layout = tmp_path / "layout"
    layout.mkdir()
    for name in ("a", "b/c"):
        export_image(memory(one), f"{name}:v1", layout, ref_name="full")
    export_image(memory(two), "d:v2", layout, referrers=True)
    infos = import_image(local, layout)
    assert [(info.name, info.tags) for info in infos] == [
        ("docker.io/library/a", ("v1",)),
        ("docker.io/b/c", ("v1",)),
        ("docker.io/library/d", ("v2",)),
    ]
    assert local.images() == ["a", "b/c", "d"]
    top = local.get_manifest("d", "v2").digest
    runtime = ThreadRuntime()

    async def notes():
        repository = await local.engine(runtime).repository("d")
        found = await repository.referrers(top)
        await repository.aclose()
        return found

    assert len(run(notes())) == 1
    cases = {"v2": ["d"], "b/c:v1": ["b/c"], "docker.io/library/a:v1": ["a"], str(top): ["d"]}
    for select, images in cases.items():
        other = LocalRegistry(tmp_path / "other")
        import_image(other, layout, select=select)
        assert other.images() == images, select
        for image in images:
            other.delete_image(image)
    with pytest.raises(ManifestUnknown, match="v9"):
        import_image(local, layout, select="v9")


@covers("ZL-763")
def test_an_entry_that_is_no_manifest_is_passed_over(local, tmp_path):
    """An index may have such; image-spec, image-layout.md."""
    path = exported(tmp_path, one, output="layout/")
    index = json.loads((path / "index.json").read_text())
    other = {"mediaType": "application/xml", "digest": str(Digest.of(b"<x/>")), "size": 4}
    index["manifests"].append(other)
    (path / "index.json").write_text(json.dumps(index))
    (path / blob_of(b"<x/>")).write_bytes(b"<x/>")
    (info,) = import_image(local, path)
    assert info.tags == ("v1",)


@covers("ZL-763")
def test_a_child_with_an_entry_of_its_own_is_no_further_image(local, tmp_path):
    path = exported(tmp_path, multi, output="layout/")
    index = json.loads((path / "index.json").read_text())
    (entry,) = index["manifests"]
    top = json.loads((path / f"blobs/sha256/{entry['digest'][7:]}").read_text())
    index["manifests"] += top["manifests"]
    (path / "index.json").write_text(json.dumps(index))
    assert len(import_image(local, path)) == 1
    (child,) = import_image(local, path, select=top["manifests"][0]["digest"])
    assert child.name.startswith("imported-")


@covers("ZL-763")
def test_one_platform(local, tmp_path):
    path = exported(tmp_path, multi)
    (info,) = import_image(local, path, select=Platform.parse("linux/arm64"))
    assert info.layers == 1
    assert not parse_manifest(local.get_manifest("demo/app", "v1").content).is_index
    with pytest.raises(CopyFailed, match="riscv64"):
        import_image(local, path, select=Platform.parse("linux/riscv64"))


# ---- names

NAMED = {
    # annotations,                                              name=,      -> name, tags
    "whole": ({IMAGE_NAME: "ghcr.io/x/y:1", REF_NAME: "1"}, None, "ghcr.io/x/y", ("1",)),
    "full ref": ({REF_NAME: "x/y:1"}, None, "x/y", ("1",)),
    "a tag alone": ({REF_NAME: "1"}, None, "imported-", ("1",)),
    "none": ({}, None, "imported-", ()),
    "none, given": ({}, "x/y", "x/y", ("latest",)),
    "none, given with a tag": ({}, "x/y:2", "x/y", ("2",)),
    "none, given with a digest": ({}, f"x/y@sha256:{'a' * 64}", "x/y", ()),
    "given": ({IMAGE_NAME: "a/b:1", REF_NAME: "1"}, "x/y", "x/y", ("1",)),
    "given with a tag": ({IMAGE_NAME: "a/b:1", REF_NAME: "1"}, "x/y:2", "x/y", ("2",)),
}


@covers("ZL-766", "ZL-056")
@pytest.mark.parametrize("kind", NAMED)
def test_names(kind, local, tmp_path):
    annotations, name, wanted, tags = NAMED[kind]
    path = exported(tmp_path, one, output="layout/")
    index = json.loads((path / "index.json").read_text())
    index["manifests"][0]["annotations"] = annotations
    (path / "index.json").write_text(json.dumps(index))
    (info,) = import_image(local, path, name=name)
    if wanted == "imported-":
        wanted += info.digest.encoded[:12]
    assert info.tags == tags
    assert local.images() == [wanted]
    assert local.tags(wanted) == list(tags)
    assert local.has_manifest(wanted, str(info.digest))


@covers("ZL-056")
@pytest.mark.parametrize("name", ["Up", "a b", "x:y:z", "..", "localhost:5000/x"])
def test_names_that_are_none_here(name, local, tmp_path):
    path = exported(tmp_path, one)
    with pytest.raises(WasmholdError) as caught:
        import_image(local, path, name=name)
    assert isinstance(caught.value, NameInvalid) or name == "x:y:z"
    assert local.images() == []


@covers("ZL-766")
def test_one_name_for_several_images(local, tmp_path):
    layout = tmp_path / "layout"
    layout.mkdir()
    export_image(memory(one), "a:v1", layout)
    export_image(memory(two), "b:v2", layout)
    with pytest.raises(Ambiguous, match="select one"):
        import_image(local, layout, name="x:1")
    assert local.images() == []
    import_image(local, layout, name="x")
    assert local.tags("x") == ["v1", "v2"]


def test_into_a_place_a_host_and_a_store(tmp_path):
    path = exported(tmp_path, one)
    with serving("--log", "off") as server, Client() as client:
        (info,) = import_image(server.host, path)
        assert client.resolve(f"{server.host}/demo/app:v1").digest == info.digest
        import_image(f"{server.host}/other:v2", path)
        assert client.tags(f"{server.host}/other") == ["v2"]
        import_image(f"{server.host}/third", path)
        assert client.tags(f"{server.host}/third") == ["v1"]
        import_image(f"store:{tmp_path}/images", path)
        assert client.tags(f"store:{tmp_path}/images//demo/app") == ["v1"]
        import_image(f"oci:{tmp_path}/layout", path)
        assert client.tags(f"oci:{tmp_path}/layout") == ["v1"]


# ---- the cache


@covers("ZL-767")
def test_a_cache_gets_it_too(local, tmp_path):
    cache = BlobCache()
    path = exported(tmp_path, one)
    (info,) = import_image(local, path, cache=cache)
    runtime = ThreadRuntime()
    place = CacheRepository(cache.engine(runtime), "docker.io", "demo/app", runtime)
    assert run(place.resolve("v1")).digest == info.digest
    with ImagePuller(cache) as puller:  # without a registry to ask
        pulled = puller.pull(f"demo/app@{info.digest}")
    assert [one.read() for one in pulled.layers] == [b"layer of one"]


@covers("ZL-767")
def test_a_cache_that_is_too_small_is_a_warning(local, tmp_path):
    with pytest.warns(UserWarning, match="not kept in the cache"):
        import_image(local, exported(tmp_path, one), cache=BlobCache(5))
    assert local.images() == ["demo/app"]


# ---- damage


def damaged(path, change):
    """The archive with the content of one of its members changed."""
    members = {}
    with tarfile.open(path) as archive:
        for member in archive.getmembers():
            file = archive.extractfile(member)
            members[member.name] = None if file is None else file.read()
    change(members)
    path.write_bytes(packed(members.items()))


def blob_of(text):
    return f"blobs/sha256/{Digest.of(text).encoded}"


def _other_layer(members):
    members[blob_of(b"layer of one")] = b"LAYER of one"


def _longer_layer(members):
    members[blob_of(b"layer of one")] += b"!"


def _other_manifest(members):
    (entry,) = json.loads(members["index.json"])["manifests"]
    members[f"blobs/sha256/{entry['digest'][7:]}"] += b" "


def _other_config(members):
    members[blob_of(b"config of one")] = b"CONFIG of one"


def _other_size(members):
    index = json.loads(members["index.json"])
    index["manifests"][0]["size"] += 1
    members["index.json"] = json.dumps(index).encode()


def _no_layer(members):
    del members[blob_of(b"layer of one")]


def _no_manifest(members):
    (entry,) = json.loads(members["index.json"])["manifests"]
    del members[f"blobs/sha256/{entry['digest'][7:]}"]


def _other_version(members):
    members["oci-layout"] = b'{"imageLayoutVersion": "2.0.0"}'


DAMAGE = {
    "a layer": (_other_layer, DigestMismatch, Digest.of(b"layer of one").encoded),
    "a longer layer": (_longer_layer, CopyFailed, "bytes were promised"),
    "a manifest": (_other_manifest, ContentDamaged, "is damaged"),
    "a config": (_other_config, DigestMismatch, Digest.of(b"config of one").encoded),
    "a layer that is gone": (_no_layer, CopyFailed, f"no blob {Digest.of(b'layer of one')}"),
    "a manifest that is gone": (_no_manifest, ContentDamaged, "whose blob is not there"),
    "another version": (_other_version, ContentDamaged, "imageLayoutVersion"),
}


@covers("ZL-764")
@pytest.mark.parametrize("kind", DAMAGE)
def test_what_is_damaged_is_not_tagged(kind, local, tmp_path):
    change, error, said = DAMAGE[kind]
    path = exported(tmp_path, one)
    damaged(path, change)
    with pytest.raises(error, match=said):
        import_image(local, path)
    assert local.images() == []
    assert sorted(os.listdir(tmp_path)) in (["a.tar"], ["a.tar", "images"])


@covers("ZL-764")
def test_one_that_is_damaged_keeps_the_others_from_their_tags(local, tmp_path):
    layout = tmp_path / "layout"
    layout.mkdir()
    export_image(memory(one), "a:v1", layout)
    export_image(memory(two), "b:v2", layout)
    os.chmod(layout / blob_of(b"layer of s390x"), 0o644)
    (layout / blob_of(b"layer of s390x")).write_bytes(b"LAYER of s390x")
    with pytest.raises(DigestMismatch):
        import_image(local, layout)
    assert local.tags("a") == []


@covers("ZL-762")
def test_limits(local, tmp_path):
    path = exported(tmp_path, lambda place: push_image(place, "x" * 100_000, "v1"))
    packed_path = tmp_path / "b.tar.gz"
    packed_path.write_bytes(gzip.compress(path.read_bytes()))
    size = os.path.getsize(path)
    wrong = [
        (path, ImportLimits(size=size - 1), "bytes"),
        (path.read_bytes(), ImportLimits(size=size - 1), "bytes"),
        (io.BytesIO(path.read_bytes()), ImportLimits(size=size - 1), "bytes"),
        (packed_path, ImportLimits(size=size - 1), "without compression"),
        (packed_path, ImportLimits(free=1000, ratio=2), "without compression"),
        (path, ImportLimits(entries=5), "5 entries"),
    ]
    for source, bounds, said in wrong:
        with pytest.raises(LimitExceeded, match=said):
            import_image(local, source, limits=bounds)
        assert not (tmp_path / "images").exists()
    import_image(local, path, limits=ImportLimits(size=size, entries=20))
    assert local.images() == ["demo/app"]


HOSTILE = {
    "a name above": ("../x", b"x"),
    "an absolute name": ("/x", b"x"),
    "a link out": ("x", "/etc/passwd"),
    "a link above": ("a/x", "../../x"),
    "a file twice": ("index.json", b"{}"),
}


@covers("ZL-762")
@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("form", ["layout", "docker"])
def test_hostile_archives_leave_nothing(form, kind, local, tmp_path):
    members = [*(as_new_docker if form == "layout" else as_old_docker)(LAYERS, ["app:v1"])]
    name, content = HOSTILE[kind]
    extra = [(name, content)] * (2 if name == "index.json" and form == "docker" else 1)
    (tmp_path / "a.tar").write_bytes(packed([*members, *extra]))
    with pytest.raises(ContentDamaged, match=r"lies outside|leads out|is in it twice"):
        import_image(local, tmp_path / "a.tar")
    assert os.listdir(tmp_path) == ["a.tar"]


def test_an_archive_behind_a_url(local, tmp_path):
    content = exported(tmp_path, one).read_bytes()
    allowed = Settings(allow_private_urls=True)
    with recording(lambda seen: Says(200, {}, content)) as server:
        url = f"{server.url}/saved/app.tar?token=1"
        (info,) = import_image(local, url, settings=allowed)
        assert info.name == "docker.io/demo/app"
        with pytest.raises(TooLarge):
            import_image(local, url, settings=allowed, limits=ImportLimits(size=1000))
        with pytest.raises(Unreachable, match="not over https"):
            import_image(local, url)
        assert server.lines() == ["GET /saved/app.tar?token=1"] * 2
    assert sorted(os.listdir(tmp_path)) == ["a.tar", "images"]


def test_a_foreign_layer_need_not_be_there(local, tmp_path):
    export_image(memory(GRAPHS["foreign_layers"]), "app:v1", tmp_path / "a.tar")
    (info,) = import_image(local, tmp_path / "a.tar")
    assert info.layers == 3
    with pytest.raises(BlobUnknown):
        local.get_blob("app", Digest.of(b"windows"))


def test_under_asyncio(local, tmp_path):
    paths = [exported(tmp_path, one, f"app{n}:v1", f"{n}.tar") for n in range(4)]

    async def work():
        return await asyncio.gather(*(import_under_asyncio(local, path) for path in paths))

    assert [info.name for (info,) in asyncio.run(work())] == [
        f"docker.io/library/app{n}" for n in range(4)
    ]
    assert local.images() == [f"app{n}" for n in range(4)]
