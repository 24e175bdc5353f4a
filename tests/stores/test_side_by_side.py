"""The suite once more, over a bucket that makes everybody wait, and a runtime of tasks."""

import asyncio
import itertools

import pytest

from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import WasmholdError
from wasmhold.stores.bucket.store import BucketStore
from wasmhold.stores.memory import MemoryBucket
from wasmhold.testing import store_suite as suite
from wasmhold.testing.covers import covers

from .test_memory import Counter


class TaskRuntime:
    """`ports.runtime.Runtime` by tasks."""

    async def map(self, function, items, limit):
        gate = asyncio.Semaphore(limit)

        async def one(item):
            async with gate:
                return await function(item)

        results = await asyncio.gather(*[one(item) for item in items], return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return results

    async def offload(self, function, /, *arguments):
        await asyncio.sleep(0)
        return function(*arguments)

    async def sleep(self, seconds):
        await asyncio.sleep(0)

    def now(self):
        return 1e9


class WaitingBucket:
    """Lets others run before and after each request; its pages are short."""

    def __init__(self, bucket, page):
        self._bucket, self._page = bucket, page

    def __getattr__(self, kind):
        call = getattr(self._bucket, kind)

        async def request(*arguments):
            await asyncio.sleep(0)
            result = await call(*arguments)
            await asyncio.sleep(0)
            return result

        return request

    async def list(self, prefix, after, limit=1000):
        await asyncio.sleep(0)
        return await self._bucket.list(prefix, after, min(limit, self._page))

    async def read_data(self, key, start, stop):
        await asyncio.sleep(0)
        async for piece in self._bucket.read_data(key, start, stop):
            yield piece
            await asyncio.sleep(0)


def make_store(bucket=None, page=3, first=0):
    runtime = TaskRuntime()
    waiting = WaitingBucket(bucket or MemoryBucket(runtime), page)
    return BucketStore(waiting, runtime, Counter(first))


@pytest.mark.parametrize("name", [n for n in suite.CHECKS if n != "more-than-a-page-of-everything"])
@covers("BR-096")
def test_suite(name):
    suite.check_store(make_store, [name], drive=asyncio.run)


@covers("BR-140", "BR-031")
def test_pushes_deletes_and_collectors_at_once():
    """What was acknowledged, and not deleted after, can be pulled, all the while and at the end."""
    bucket = MemoryBucket(TaskRuntime())
    numbers = itertools.count()
    acknowledged = {}

    async def pusher(store, name):
        for _ in range(25):
            tag = f"t{next(numbers)}"
            for _ in range(10):  # what was collected before the manifest came is pushed again
                try:
                    acknowledged[name, tag] = await suite.push_image(store, name, tag, tag)
                    break
                except WasmholdError:
                    pass
            if next(numbers) % 3 == 0:
                digest = acknowledged.pop((name, tag))
                await store.manifest_delete(name, digest, suite.allow)

    async def collector(store):
        for _ in range(40):
            await store.collect(0, untagged=True)

    async def check(store):
        for (name, tag), digest in list(acknowledged.items()):
            assert await store.tag_get(name, tag) == digest
            assert await store.manifest_get(name, digest) is not None
            content = f"config of {tag}".encode()
            assert await suite.pull(store, name, Digest.of(content)) == content

    async def everything():
        # Each replica has its own randomness.
        stores = [make_store(bucket, 1000, first=i * 10**9) for i in range(6)]
        names = ["a", "a/b", "c"]
        await asyncio.gather(
            *[pusher(store, name) for store, name in zip(stores, names, strict=False)],
            pusher(stores[3], "a"),
            collector(stores[4]),
            collector(stores[5]),
        )
        await check(stores[0])
        await suite.collect(stores[1], untagged=True)
        await check(stores[0])

    asyncio.run(everything())
