"""A pull streams: what is moved is never in memory as a whole."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.client.remotes import client
from tests.image.hub import LAYER
from wasmhold.oci.descriptor import Descriptor
from wasmhold.oci.digest import Digest, hasher
from wasmhold.oci.limits import MIB
from wasmhold.ports.runtime import run
from wasmhold.testing import Registry
from wasmhold.testing.covers import covers
from wasmhold.testing.repository_suite import image, push

SIZE = 256 * MIB
GROWTH = 32 * MIB  # an eighth of what comes; it does not depend on that

PULL = """
import re, sys
from wasmhold.image import ImagePuller as AsyncPuller
from wasmhold.sync import BlobCache, ImagePuller

def peak():
    # Not that of getrusage: a child begins with its parent's.
    with open("/proc/self/status") as file:
        return int(re.search(r"VmHWM:\\s+([0-9]+) kB", file.read())[1]) * 1024

def blocking(image, cache):
    with ImagePuller(BlobCache.open(cache)) as puller:
        puller.resolve(image)
        yield
        (layer,) = puller.pull_image(image)
        with layer.open() as stream:
            yield sum(len(chunk) for chunk in stream)

async def work(image, cache):
    async with AsyncPuller(BlobCache.open(cache)) as puller:
        await puller.resolve(image)
        before = peak()
        (layer,) = await puller.pull_image(image)
        async with await layer.open() as stream:
            read = sum([len(chunk) async for chunk in stream])
        return read, peak() - before

face, image, cache = sys.argv[1:]
if face == "sync":
    steps = blocking(image, cache)
    next(steps)
    before = peak()
    print(next(steps), peak() - before)
else:
    import asyncio
    print(*asyncio.run(work(image, cache)))
"""


class Zeros:
    """`ports.repository.BlobSource` of many zeros."""

    file = None
    size = SIZE

    async def open(self, start):
        return self

    async def __aiter__(self):
        for _ in range(SIZE // MIB):
            yield bytes(MIB)

    async def aclose(self):
        pass


@covers("ZL-157")
@pytest.mark.parametrize("face", ["sync", "asyncio"])
def test_memory_does_not_grow_with_what_is_pulled(tmp_path, face):
    running = hasher()
    for _ in range(SIZE // MIB):
        running.update(bytes(MIB))
    layer = Descriptor(LAYER, Digest("sha256", running.hexdigest()), SIZE)
    (tmp_path / "registry").mkdir()
    with Registry(tmp_path / "registry") as registry, client() as pushing:
        repository = pushing.repository(registry.host, "large", to_write=True)
        run(repository.blob_put(layer, Zeros()))
        stored = image(run(push(repository, b"{}")), layer)
        run(repository.manifest_put(stored, ["v1"]))
        done = subprocess.run(
            [sys.executable, "-c", PULL, face, f"{registry.host}/large:v1", tmp_path / "cache"],
            capture_output=True,
            text=True,
            check=True,
        )
    read, grown = map(int, done.stdout.split())
    assert read == SIZE
    assert grown < GROWTH
