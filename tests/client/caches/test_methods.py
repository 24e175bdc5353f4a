"""What a program does with its cache: prune, images, verify; under asyncio and without a loop."""

import asyncio
import inspect
import os

import pytest

from tests.client.caches.test_caches import Clock
from wasmhold import sync
from wasmhold.client import BlobCache, PruneReport
from wasmhold.client.caches.blocking import BlockingCache
from wasmhold.client.caches.methods import CacheMethods
from wasmhold.client.caches.port import RecordKey
from wasmhold.client.caches.prune import prune
from wasmhold.client.copy import copy
from wasmhold.client.places.cache import CacheRepository
from wasmhold.client.places.memory import MemoryRepository
from wasmhold.client.runtime import ThreadRuntime
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import (
    BlobUnknown,
    DigestInvalid,
    DigestMismatch,
    ManifestUnknown,
    NameInvalid,
    TagInvalid,
    TooLarge,
)
from wasmhold.ports.runtime import run
from wasmhold.testing.cache_suite import keep, read
from wasmhold.testing.covers import covers
from wasmhold.testing.repository_suite import image, index, named, push, push_image

KINDS = ["memory", "disk"]


@pytest.fixture(params=KINDS)
def cache(request, tmp_path):
    """A handle; blocking."""
    if request.param == "memory":
        return sync.BlobCache()
    return sync.BlobCache.open(tmp_path / "cache")


def place_of(cache, name="demo/app", runtime=None):
    runtime = runtime or ThreadRuntime()
    return CacheRepository(cache.engine(runtime), "example.com", name, runtime)


# ---- blobs


@covers("ZL-500", "ZL-501", "ZL-513", "ZL-536")
def test_blobs_by_their_digests(cache):
    digest = cache.put(b"one")
    assert digest == Digest.of(b"one")
    assert cache.put(b"two", Digest.of(b"two", "sha512")).algorithm == "sha512"
    assert cache.get(str(digest)) == cache.get(digest) == b"one"
    assert cache.stat(digest) == 3
    assert cache.digests() == sorted([digest, Digest.of(b"two", "sha512")])
    assert (cache.size(), cache.count()) == (6, 2)
    with pytest.raises(TooLarge):
        cache.get(digest, limit=2)
    with pytest.raises(DigestMismatch):
        cache.put(b"three", Digest.of(b"four"))
    for _ in range(2):
        cache.delete(digest)
    assert cache.get(digest) is None
    assert cache.stat(digest) is None
    cache.clear()
    assert (cache.size(), cache.count()) == (0, 0)


@covers("ZL-501")
@pytest.mark.parametrize(
    "text",
    ["", "abc", "sha256:" + "a" * 63, "sha256:" + "A" * 64, "md5:" + "a" * 32, "manifest:alpine",
     "sha256:../../../etc/passwd", "sha512:" + "a" * 64],
)  # fmt: skip
def test_what_is_no_digest(text, cache):
    for call in (cache.get, cache.stat, cache.delete, lambda digest: cache.put(b"", digest)):
        with pytest.raises(DigestInvalid) as caught:
            call(text)
        assert caught.value.text == text


@covers("ZL-536")
def test_room_is_given_back_at_once(tmp_path):
    cache = sync.BlobCache.open(tmp_path / "c")
    cache.put(bytes(1 << 20))
    assert sum(entry.stat().st_blocks for entry in (tmp_path / "c").rglob("*")) > 2000
    cache.clear()
    assert sum(entry.stat().st_blocks for entry in (tmp_path / "c").rglob("*")) < 200


def test_sizes_are_text_or_numbers(tmp_path):
    assert BlobCache().max_size == BlobCache.memory("256MiB").max_size == 256 << 20
    assert BlobCache.open(tmp_path / "a").max_size == 10 << 30
    assert BlobCache.open(tmp_path / "b", max_size="1KiB").max_size == 1024
    assert BlobCache.open(tmp_path / "b", max_size=None).max_size is None
    with pytest.raises(ValueError, match="'lots' is no size"):
        BlobCache.open(tmp_path / "c", max_size="lots")
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_clear_takes_what_was_begun(tmp_path):
    cache = sync.BlobCache.open(tmp_path / "c")
    cache.put(b"x")
    (tmp_path / "c" / "tmp" / "sha256-begun").write_text("half")
    run(push_image(place_of(cache), "one", "v1"))
    cache.clear()
    assert cache.info().images == 0
    assert os.listdir(tmp_path / "c" / "tmp") == []


# ---- both faces


def test_both_faces_have_the_same_methods():
    methods = {
        name: method
        for name, method in vars(CacheMethods).items()
        if inspect.iscoroutinefunction(method) and not name.startswith("_")
    }
    assert len(methods) > 12
    for name, method in methods.items():
        blocking = getattr(BlockingCache, name)
        assert not inspect.iscoroutinefunction(blocking)
        assert inspect.signature(blocking) == inspect.signature(method)
        assert blocking.__doc__ == method.__doc__
        assert method.__doc__ or name == "info"
    for name in ("__init__", "memory", "open"):
        one, other = getattr(BlobCache, name), getattr(sync.BlobCache, name)
        assert inspect.signature(one) == inspect.signature(other)


@covers("ZL-530")
@pytest.mark.parametrize("kind", KINDS)
def test_under_asyncio_in_one_loop_after_the_other(kind, tmp_path):
    cache = BlobCache() if kind == "memory" else BlobCache.open(tmp_path / "c")

    async def work(number):
        digests = await asyncio.gather(*(cache.put(bytes([number, n])) for n in range(5)))
        assert await cache.get(digests[3]) == bytes([number, 3])
        assert await cache.count() == 5 * (number + 1)
        assert (await cache.verify()).damaged == ()

    for number in range(3):
        asyncio.run(work(number))


# ---- images


async def two_images(place):
    """``v1`` and ``v2``, which share a layer; what is of each alone."""
    shared = await push(place, b"shared layer")
    alone = {}
    for tag in ("v1", "v2"):
        config = await push(place, f"config of {tag}".encode())
        own = await push(place, f"layer of {tag}".encode())
        await place.manifest_put(image(config, shared, own), [tag])
        alone[tag] = {config.digest, own.digest}
    return shared.digest, alone


@covers("ZL-502", "ZL-503", "ZL-581")
def test_images_are_listed_removed_and_tagged(cache):
    place = place_of(cache)
    shared, alone = run(two_images(place))
    found = cache.images()
    assert [one.reference for one in found] == [
        "example.com/demo/app:v1",
        "example.com/demo/app:v2",
    ]
    assert found[0].size == len(b"shared layer" + b"config of v1" + b"layer of v1")
    assert found[0].record.original == "example.com/demo/app:v1"
    tagged = cache.tag("example.com/demo/app:v1", "localhost:5000/mine:1")
    assert tagged.key == RecordKey("localhost:5000", "mine", "1")
    assert tagged.top == found[0].record.top
    assert cache.remove("example.com/demo/app:v1") == [RecordKey("example.com", "demo/app", "v1")]
    assert cache.prune(older_than_s=0).deleted == ()
    assert cache.remove("localhost:5000/mine:1")
    done = cache.prune(older_than_s=0)
    assert alone["v1"] < set(done.deleted)
    assert shared not in done.deleted
    there = MemoryRepository(ThreadRuntime())
    run(copy(place, "v2", there, ["v2"], runtime=ThreadRuntime()))
    assert cache.get(shared) == b"shared layer"
    assert [one.key.tag for one in cache.records("example.com/demo/app:")] == ["v2"]


@covers("ZL-503", "ZL-581")
def test_an_image_is_found_as_it_was_written(cache):
    place = place_of(cache)
    run(push_image(place, "one", "v1"))
    (one,) = cache.records()
    run(cache.engine(ThreadRuntime()).record_put(type(one)(one.key, one.top, "app", one.fetched_s)))
    assert cache.tag("app", "example.com/demo/app:v2").original == "example.com/demo/app:v2"
    assert cache.remove("app") == [one.key]
    for call in (cache.remove, lambda name: cache.tag(name, "example.com/demo/app:v3")):
        with pytest.raises(ManifestUnknown, match="app"):
            call("app")
    for target, error in (
        ("example.com/demo/app", TagInvalid),
        ("example.com/Demo:1", NameInvalid),
        ("demo:1", NameInvalid),
        ("example.com/demo:1@sha256:" + "a" * 64, TagInvalid),
    ):
        with pytest.raises(error):
            cache.tag("example.com/demo/app:v2", target)


def test_an_image_of_which_a_part_has_gone(cache):
    place = place_of(cache)
    children = [run(push_image(place, text)) for text in ("one", "two")]
    run(place.manifest_put(index(*children), ["all"]))
    run(cache.engine(ThreadRuntime()).manifest_delete(children[0].digest))
    assert [one.size for one in cache.images()] == [len(b"config of twolayer of two")]


# ---- prune


@covers("ZL-580")
def test_prune_follows_indexes_subjects_and_referrers(cache):
    async def fill(place):
        children = [await push_image(place, text) for text in ("one", "two")]
        inner = index(*children)
        await place.manifest_put(inner)
        top = index(inner)
        await place.manifest_put(top, ["v1"])
        subject = named(children[0]).to_json()
        note = await push_image(place, "note", subject=subject)
        await push_image(place, "note of a note", subject=named(note).to_json())
        base = await push_image(place, "base")
        signed = await push_image(place, "signed", "v2", subject=named(base).to_json())
        await push(place, b"a blob that nothing leads to")
        loose = await push_image(place, "loose")
        await push_image(place, "note of what is loose", subject=named(loose).to_json())
        return top, signed, loose

    place = place_of(cache)
    top, signed, loose = run(fill(place))
    count, size = cache.count(), cache.size()
    dry = cache.prune(older_than_s=0, dry_run=True)
    assert (cache.count(), cache.size()) == (count, size)
    done = cache.prune(older_than_s=0)
    assert done == dry
    assert done.errors == ()
    assert done.kept == cache.count() == count - len(done.deleted)
    assert done.freed == size - cache.size()
    assert loose.digest in done.deleted
    assert Digest.of(b"layer of note of what is loose") in done.deleted
    assert Digest.of(b"a blob that nothing leads to") in done.deleted
    assert len(done.deleted) == 7
    for tag, stored in (("v1", top), ("v2", signed)):
        there = MemoryRepository(ThreadRuntime())
        run(copy(place, tag, there, [tag], runtime=ThreadRuntime()))
        assert run(there.manifest_get(tag)) == stored
    assert cache.get(Digest.of(b"layer of note of a note")) is not None
    assert cache.get(Digest.of(b"layer of base")) is not None


@covers("ZL-580")
def test_prune_spares_the_last_hour_and_what_it_is_told_to(tmp_path):
    async def work():
        runtime = Clock()
        cache = BlobCache.open(tmp_path / "c").engine(runtime)
        place = CacheRepository(cache, "h", "n", runtime)
        kept = await push_image(place, "kept")
        await push_image(place, "old")
        runtime.time_s += 1800
        await push_image(place, "young")
        await keep(cache, b"used")
        runtime.time_s += 1801
        first = await prune(cache, runtime.now(), keep=[kept.digest])
        assert {Digest.of(f"{part} of old".encode()) for part in ("config", "layer")} < {
            *first.deleted
        }
        assert len(first.deleted) == 3
        await read(cache, Digest.of(b"used"))
        runtime.time_s += 1800
        second = await prune(cache, runtime.now())
        assert Digest.of(b"used") not in second.deleted
        assert len(second.deleted) == 6
        # Neither of them has used anything.
        runtime.time_s += 1801
        third = await prune(cache, runtime.now())
        assert third.deleted == (Digest.of(b"used"),)

    run(work())


@covers("ZL-580")
def test_a_manifest_that_cannot_be_read_ends_it_before_anything_is_removed(tmp_path):
    cache = sync.BlobCache.open(tmp_path / "c")
    run(push_image(place_of(cache), "one", "v1"))
    cache.put(b"loose")
    (manifest,) = (tmp_path / "c" / "manifests" / "sha256").iterdir()
    manifest.write_bytes(b"damaged")
    done = cache.prune(older_than_s=0)
    assert done.deleted == ()
    assert done.freed == 0
    assert "is not what it was: nothing was removed" in done.errors[0]
    assert cache.get(Digest.of(b"loose")) == b"loose"
    # It has gone meanwhile, and so goes its name.
    done = cache.prune(older_than_s=0)
    assert len(done.deleted) == 3
    assert cache.images() == []


def test_what_cannot_be_removed_is_told_and_not_counted(tmp_path, monkeypatch):
    cache = sync.BlobCache.open(tmp_path / "c")
    one, two = cache.put(b"one"), cache.put(b"two-")
    unlink = os.unlink

    def failing(path, **more):
        if path == one.encoded:
            raise OSError(5, "Input/output error")
        unlink(path, **more)

    monkeypatch.setattr(os, "unlink", failing)
    done = cache.prune(older_than_s=0)
    assert (done.deleted, done.freed, done.kept) == ((two,), 4, 1)
    assert "Input/output error" in done.errors[0]


def test_nothing_is_there():
    assert sync.BlobCache().prune() == PruneReport()


# ---- verify


@covers("ZL-505")
def test_verify_reads_all_of_it_and_uses_nothing(tmp_path):
    async def work():
        runtime = Clock()
        handle = BlobCache.open(tmp_path / "c")
        cache = handle.engine(runtime)
        digest = (await keep(cache, b"right")).digest
        await keep(cache, b"wrong")
        await read(cache, Digest.of(b"wrong"))
        runtime.time_s += 1000
        path = tmp_path / "c" / "blobs" / "sha256" / Digest.of(b"wrong").encoded
        path.write_bytes(b"WRONG")
        found = await cache.check()
        assert {kept.digest: is_right for kept, is_right in found} == {
            digest: True,
            Digest.of(b"wrong"): False,
        }
        assert [kept.used_s async for kept in cache.blobs()] == [runtime.time_s - 1000]

    run(work())


@covers("ZL-505")
def test_verify_of_a_cache_by_its_port_alone(tmp_path):
    """What is neither in memory nor on disk is read as anybody reads it."""

    class Far(BlobCache):
        def engine(self, runtime):
            cache = super().engine(runtime)

            class Port:
                place = "far"
                blobs, manifests, records = cache.blobs, cache.manifests, cache.records
                blob_open, manifest_get = cache.blob_open, cache.manifest_get
                blob_delete, manifest_delete = cache.blob_delete, cache.manifest_delete
                record_delete = cache.record_delete

            return Port()

    near = sync.BlobCache.open(tmp_path / "c")
    near.put(b"right")
    near.put(b"wrong")
    run(push_image(place_of(near), "one", "v1"))
    (tmp_path / "c" / "blobs" / "sha256" / Digest.of(b"wrong").encoded).write_bytes(b"WRONG")
    far = BlockingCache(Far.open(tmp_path / "c"))
    found = far.verify()
    assert (found.count, found.damaged) == (5, (Digest.of(b"wrong"),))
    far.clear()
    assert (near.count(), near.images()) == (0, [])


def test_a_blob_can_be_used_by_two_pullers_with_two_runtimes(tmp_path):
    """One handle, an engine for each."""
    handle = BlobCache()

    async def put():
        await handle.put(b"by asyncio")

    asyncio.run(put())
    assert run(read(handle.engine(ThreadRuntime()), Digest.of(b"by asyncio"))) == b"by asyncio"
    with pytest.raises(BlobUnknown):
        run(handle.engine(ThreadRuntime()).blob_open(Digest.of(b"x")))
