"""Copying takes no memory that grows with what is copied: measured in a process of its own."""

import json
import subprocess
import sys

import pytest

from wasmhold.oci.limits import MIB

ROUND = """
import json, os, resource, shutil, sys
from wasmhold.client.copy import copy
from wasmhold.client.places.archive import open_archive
from wasmhold.client.places.layout import open_layout
from wasmhold.client.places.store import open_store
from wasmhold.client.runtime import ThreadRuntime
from wasmhold.oci.descriptor import Descriptor
from wasmhold.oci.digest import Digest, hasher
from wasmhold.ports.runtime import run
from wasmhold.servers.asgi import SystemRandomness
from wasmhold.testing.repository_suite import image, push

folder, size = sys.argv[1], int(sys.argv[2])
runtime = ThreadRuntime()


class Made:
    '''A blob of `size` bytes that is nowhere.'''

    file = None

    def __init__(self, seed):
        self.piece, self.size = bytes([seed]) * (1 << 20), size
        running = hasher()
        for _ in range(size >> 20):
            running.update(self.piece)
        self.descriptor = Descriptor("application/wasm", Digest("sha256", running.hexdigest()), size)

    async def open(self, start):
        return self

    async def __aiter__(self):
        for _ in range(size >> 20):
            yield self.piece

    async def aclose(self):
        pass


def store():
    return run(open_store(folder + "/store", "demo", runtime, SystemRandomness(), create=True))


PLACES = {
    "layout": lambda: open_layout(folder + "/layout", runtime),
    "store": store,
    "archive.tar": lambda: open_archive(folder + "/archive.tar", runtime),
    "archive.tar.gz": lambda: open_archive(folder + "/archive.tar.gz", runtime),
    "last": lambda: open_layout(folder + "/last", runtime),
}


async def fill(place):
    layers = [Made(seed) for seed in range(4)]
    for layer in layers:
        await place.blob_put(layer.descriptor, layer)
    config = await push(place, b"{}")
    await place.manifest_put(image(config, *(layer.descriptor for layer in layers)), ["v1"])
    await place.flush()


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


found = {}
source = PLACES["layout"]()
run(fill(source))
before = peak()
names = list(PLACES)
for here, there in zip(names, names[1:]):
    target = PLACES[there]()
    done = run(copy(source, "v1", target, ["v1"], runtime=runtime))
    assert done.moved == 4 * size + 2
    run(source.aclose())
    gone = f"{folder}/{here}"
    shutil.rmtree(gone) if os.path.isdir(gone) else os.unlink(gone)
    source = target
    found[f"{here} to {there}"] = peak() - before
run(source.aclose())
print(json.dumps(found))
"""


def grown(folder, size):
    command = [sys.executable, "-c", ROUND, str(folder), str(size)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_copying_64_mib(tmp_path):
    assert max(grown(tmp_path, 16 * MIB).values()) < 64 * MIB


@pytest.mark.slow
def test_copying_a_gibibyte(tmp_path):
    """In each kind of place, as source and as destination."""
    found = grown(tmp_path, 256 * MIB)
    print({pair: f"{size / MIB:.1f} MiB" for pair, size in found.items()})
    assert max(found.values()) < 64 * MIB
