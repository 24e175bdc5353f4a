"""Who is cancelled while a thread works for it never gets what that gave: nothing stays locked or open."""

import asyncio

import pytest

from tests.client.losing import Losing, open_files
from wasmhold.client.caches.blob_cache import BlobCache
from wasmhold.client.caches.shared import ObjectCache
from wasmhold.client.caches.shared_config import ObjectCacheConfig
from wasmhold.ports.body import read_all
from wasmhold.testing.covers import covers
from wasmhold.testing.repository_suite import Source, descriptor_of

CONTENT = b"a blob" * 300
PATIENCE_S = 20  # what is locked for good is waited for in vain

CACHES = {
    "memory": lambda folder: BlobCache.memory(),
    "disk": BlobCache.open,
    "shared": lambda folder: ObjectCache(ObjectCacheConfig(f"file://{folder}")),
}


async def put(cache):
    await cache.blob_put(descriptor_of(CONTENT), Source(CONTENT))


async def get(cache):
    body = await cache.blob_open(descriptor_of(CONTENT).digest)
    try:
        assert await read_all(body) == CONTENT
    finally:
        await body.aclose()


@covers("ZL-156", "ZL-537")
@pytest.mark.parametrize("kind", CACHES)
def test_nothing_is_left_by_who_was_cancelled(tmp_path, kind):
    async def work(number):
        (tmp_path / f"{number}").mkdir()
        runtime = Losing()
        cache = CACHES[kind](tmp_path / f"{number}").engine(runtime)
        before = open_files()
        lost = 0
        for step in (put, get):
            runtime.number = number
            try:
                await step(cache)
            except asyncio.CancelledError:
                lost += 1
            runtime.number = -1
            # A store of objects has threads and files of its own.
            assert kind == "shared" or open_files() == before, step.__name__
            await asyncio.wait_for(put(cache), PATIENCE_S)
            await asyncio.wait_for(get(cache), PATIENCE_S)
        runtime.close()
        return lost

    number, lost = 1, 1
    while lost:
        lost = asyncio.run(work(number))
        number += 1
    assert number > 2
