"""What all caches of this machine do: the suite, a model in dictionaries, and their limits."""

import asyncio
import tempfile
from contextlib import aclosing, closing
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wasmhold.client.aio import AsyncioRuntime
from wasmhold.client.caches.blob_cache import BlobCache
from wasmhold.client.places.cache import CacheRepository
from wasmhold.client.runtime import ThreadRuntime
from wasmhold.oci.errors import BlobUnknown, OutOfSpace, StoreUnavailable
from wasmhold.ports.runtime import run
from wasmhold.testing.cache_suite import CACHE_CHECKS, check_cache, keep, read, record
from wasmhold.testing.covers import covers
from wasmhold.testing.repository_suite import (
    REPOSITORY_CHECKS,
    Source,
    check_repository,
    descriptor_of,
    image,
)

KINDS = ["memory", "disk"]


def made(kind, path, max_size=1 << 30):
    if kind == "memory":
        return BlobCache.memory(max_size)
    return BlobCache.open(path, max_size=max_size)


class Clock(ThreadRuntime):
    """A runtime whose time is what a test says."""

    def __init__(self):
        super().__init__()
        self.time_s = 1e9
        self.now = lambda: self.time_s


@covers("ZL-500", "ZL-502", "ZL-503", "ZL-504", "ZL-510", "ZL-531", "ZL-535")
@pytest.mark.parametrize("name", CACHE_CHECKS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_suite(kind, name, tmp_path):
    check_cache(made(kind, tmp_path / "cache").engine, [name])


@pytest.mark.parametrize("name", CACHE_CHECKS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_suite_under_asyncio(kind, name, tmp_path):
    async def work():
        with closing(AsyncioRuntime()) as runtime:
            cache = made(kind, tmp_path / "cache").engine(runtime)
            await CACHE_CHECKS[name](cache, runtime)

    asyncio.run(work())


@pytest.mark.parametrize("name", REPOSITORY_CHECKS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_cache_is_a_place(kind, name, tmp_path):
    def place():
        runtime = ThreadRuntime()
        cache = made(kind, tmp_path / "cache").engine(runtime)
        return CacheRepository(cache, "example.com", "demo/app", runtime)

    check_repository(place, [name])


# ---- against a model

LIMIT = 100  # bytes

CONTENTS = [
    bytes([number]) * size for number, size in enumerate((0, 1, 7, 20, 33, 50, 99, 100, 101))
]
MANIFESTS = [image(descriptor_of(bytes([number]))) for number in range(3)]
MANIFEST_LIMIT = LIMIT + 2 * len(MANIFESTS[0].content)


@dataclass
class Model:
    """Content and when it was used, oldest first; `low` is down to where room is made."""

    limit: int
    low: float
    makes_room_before: bool
    blobs: dict = field(default_factory=dict)
    manifests: dict = field(default_factory=dict)
    records: dict = field(default_factory=dict)

    @property
    def size(self):
        return sum(map(len, (*self.blobs.values(), *self.manifests.values())))

    def use(self, digest):
        if digest in self.blobs:
            self.blobs[digest] = self.blobs.pop(digest)

    def add(self, kind, digest, content):
        if len(content) > self.limit or digest in kind:
            return
        if self.makes_room_before:
            self._make_room(self.limit - len(content), None)
            kind[digest] = content
        else:
            kind[digest] = content
            if self.size > self.limit:
                self._make_room(self.limit * self.low, digest)

    def breaks(self, size):
        """So much came of a blob and went again: others may have made room for it."""
        if self.makes_room_before and size > 0:
            self._make_room(self.limit - size, None)

    def _make_room(self, want, spared):
        for kind in (self.blobs, self.manifests):
            for digest in list(kind):
                if self.size > want and digest != spared:
                    del kind[digest]
                    if kind is self.manifests:
                        self.records = {
                            key: one
                            for key, one in self.records.items()
                            if one.top.digest != digest
                        }


STEPS = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(CONTENTS)),
    st.tuples(st.just("get"), st.sampled_from(CONTENTS)),
    st.tuples(st.just("delete"), st.sampled_from(CONTENTS)),
    st.tuples(st.just("break"), st.sampled_from(CONTENTS)),
    st.tuples(st.just("put manifest"), st.sampled_from(MANIFESTS)),
    st.tuples(st.just("get manifest"), st.sampled_from(MANIFESTS)),
    st.tuples(st.just("delete manifest"), st.sampled_from(MANIFESTS)),
    st.tuples(
        st.just("record"), st.tuples(st.sampled_from(["a", "A", "b/c"]), st.sampled_from("12"))
    ),
    st.tuples(st.just("forget"), st.sampled_from(["a", "A", "b/c"])),
    st.tuples(st.just("another engine"), st.none()),
)


async def step(cache, model, what, given):
    match what:
        case "put":
            await keep(cache, given)
            model.add(model.blobs, descriptor_of(given).digest, given)
        case "break":
            descriptor = descriptor_of(given)
            source = Source(given[:-1], error=StoreUnavailable("simulated"))
            try:
                await cache.blob_put(descriptor, source)
            except StoreUnavailable:
                assert descriptor.digest not in model.blobs
                model.breaks(len(given) - 1)
        case "get":
            digest = descriptor_of(given).digest
            if digest in model.blobs:
                assert await read(cache, digest) == given
                model.use(digest)
            else:
                with pytest.raises(BlobUnknown):
                    await cache.blob_open(digest)
        case "delete":
            digest = descriptor_of(given).digest
            await cache.blob_delete(digest)
            model.blobs.pop(digest, None)
        case "put manifest":
            await cache.manifest_put(given)
            model.add(model.manifests, given.digest, given.content)
        case "get manifest":
            wanted = given if given.digest in model.manifests else None
            assert await cache.manifest_get(given.digest) == wanted
        case "delete manifest":
            await cache.manifest_delete(given.digest)
            model.manifests.pop(given.digest, None)
        case "record":
            one = record("h", *given)
            await cache.record_put(one)
            model.records[one.key] = one
        case "forget":
            key = record("h", given, "1").key
            await cache.record_delete(key)
            model.records.pop(key, None)


async def agrees(cache, model):
    blobs = {kept.digest: kept.size async for kept in cache.blobs()}
    assert blobs == {digest: len(content) for digest, content in model.blobs.items()}
    manifests = {kept.digest: kept.size async for kept in cache.manifests()}
    assert manifests == {digest: len(content) for digest, content in model.manifests.items()}
    assert [one.key async for one in cache.records()] == sorted(model.records)


@covers("ZL-512", "ZL-534")
@pytest.mark.parametrize("limit", [LIMIT, MANIFEST_LIMIT])
@pytest.mark.parametrize("kind", KINDS)
@given(steps=st.lists(STEPS, max_size=20))
def test_it_does_what_a_dictionary_does(kind, limit, steps):
    async def work(folder):
        runtime, handle = Clock(), made(kind, folder, limit)
        cache = handle.engine(runtime)
        model = Model(limit, 0.9, kind == "memory")
        for what, given_ in steps:
            runtime.time_s += 100  # more than what is not noted
            if what == "another engine":
                handle = handle if kind == "memory" else made(kind, folder, limit)
                cache = handle.engine(runtime)
            await step(cache, model, what, given_)
            await agrees(cache, model)
            assert model.size <= limit

    with tempfile.TemporaryDirectory() as folder:
        run(work(f"{folder}/cache"))


# ---- limits


@covers("ZL-512")
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_larger_than_the_cache_is_not_read(kind, tmp_path):
    async def work():
        cache = made(kind, tmp_path / "cache", 9).engine(ThreadRuntime())
        source = Source(b"x" * 10)
        await cache.blob_put(descriptor_of(b"x" * 10), source)
        assert source.opened == []
        assert await cache.blob_size(descriptor_of(b"x" * 10).digest) is None
        place = CacheRepository(cache, "h", "n", ThreadRuntime())
        with pytest.raises(OutOfSpace, match="10 bytes are more than the cache may take"):
            await place.blob_put(descriptor_of(b"x" * 10), source)

    run(work())


def test_bytes_on_their_way_count_in_memory():
    """Two blobs that do not fit beside each other: one of them is not kept."""

    class Waiting(Source):
        async def open(self, start):
            body = await super().open(start)
            if self is first:
                await cache.blob_put(descriptor_of(b"b" * 60), second)
            return body

    cache = BlobCache.memory(100).engine(ThreadRuntime())
    first, second = Waiting(b"a" * 60), Waiting(b"b" * 60)

    async def work():
        await cache.blob_put(descriptor_of(b"a" * 60), first)
        kept = [kept.digest async for kept in cache.blobs()]
        assert kept == [descriptor_of(b"a" * 60).digest]

    run(work())


@covers("ZL-534")
def test_what_is_read_stays(tmp_path):
    async def work():
        runtime = Clock()
        cache = made("disk", tmp_path / "cache", 100).engine(runtime)
        open_one, other, new = b"a" * 40, b"b" * 40, b"c" * 40
        for content in (open_one, other):
            runtime.time_s += 100
            await keep(cache, content)
        async with aclosing(await cache.blob_open(descriptor_of(open_one).digest)) as body:
            runtime.time_s += 100
            assert await read(cache, descriptor_of(other).digest) == other
            runtime.time_s += 100
            await keep(cache, new)
            assert b"".join([chunk async for chunk in body]) == open_one
        left = {kept.digest async for kept in cache.blobs()}
        assert left == {descriptor_of(open_one).digest, descriptor_of(new).digest}

    run(work())


@covers("ZL-533")
def test_that_something_was_used_is_noted_once_a_minute(tmp_path):
    async def work():
        runtime = Clock()
        cache = made("disk", tmp_path / "cache").engine(runtime)
        digest, began = (await keep(cache, b"x")).digest, runtime.time_s
        noted = []
        for _ in range(12):
            runtime.time_s += 20
            await read(cache, digest)
            noted += [kept.used_s - began async for kept in cache.blobs()]
        return noted

    assert run(work()) == [0, 0, 60, 60, 60, 120, 120, 120, 180, 180, 180, 240]
