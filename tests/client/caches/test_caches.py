"""What all caches of this machine do: the suite, a model in a dictionary, and their limits."""

import asyncio
from contextlib import closing

import pytest

from wasmhold.client.aio import AsyncioRuntime
from wasmhold.client.caches.blob_cache import BlobCache
from wasmhold.testing.cache_suite import CACHE_CHECKS, check_cache
from wasmhold.testing.covers import covers

KINDS = ["memory", "disk"]


def made(kind, path, max_size=1 << 30):
    return (
        BlobCache.memory(max_size) if kind == "memory" else BlobCache.open(path, max_size=max_size)
    )


@covers("ZL-500", "ZL-501", "ZL-502", "ZL-503", "ZL-504", "ZL-510", "ZL-530", "ZL-531", "ZL-535")
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
