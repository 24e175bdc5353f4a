"""Copying takes no memory that grows with what is copied: measured in a process of its own."""

import json
import subprocess
import sys
from contextlib import ExitStack

import pytest

from tests.registries import serving
from wasmhold.oci.limits import MIB

ROUND = """
import json, os, shutil, sys
from wasmhold.client.copy import copy
from wasmhold.client.network import Network
from wasmhold.client.places.archive import open_archive
from wasmhold.client.places.layout import open_layout
from wasmhold.client.places.remote import RemoteRepository
from wasmhold.client.places.store import open_store
from wasmhold.client.runtime import ThreadRuntime
from wasmhold.client.transport import HttpTransport
from wasmhold.oci.descriptor import Descriptor
from wasmhold.oci.digest import Digest, hasher
from wasmhold.ports.runtime import run
from wasmhold.servers.asgi import SystemRandomness
from wasmhold.testing.repository_suite import image, push

folder, size, one, another = sys.argv[1], int(sys.argv[2]), *sys.argv[3:]
runtime = ThreadRuntime()
network = Network(HttpTransport(), runtime, SystemRandomness(), print)


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
    "one registry": lambda: RemoteRepository(network, one, "demo", to_write=True),
    "another registry": lambda: RemoteRepository(network, another, "demo", to_write=True),
    "another layout": lambda: open_layout(folder + "/another layout", runtime),
}


async def fill(place):
    layers = [Made(seed) for seed in range(4)]
    for layer in layers:
        await place.blob_put(layer.descriptor, layer)
    config = await push(place, b"{}")
    await place.manifest_put(image(config, *(layer.descriptor for layer in layers)), ["v1"])
    await place.flush()


def memory(key):
    '''Bytes.  Not by getrusage: its peak is that of the parent, where that one had more.'''
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(key)) << 10


def forget_the_peak():
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


found = {}
source = PLACES["layout"]()
run(fill(source))
names = list(PLACES)
for here, there in zip(names, names[1:]):
    target = PLACES[there]()
    forget_the_peak()
    before = memory("VmRSS:")
    done = run(copy(source, "v1", target, ["v1"], runtime=runtime))
    assert done.moved == 4 * size + 2
    run(source.aclose())
    gone = f"{folder}/{here}"
    if os.path.exists(gone):
        shutil.rmtree(gone) if os.path.isdir(gone) else os.unlink(gone)
    source = target
    found[f"{here} to {there}"] = memory("VmHWM:") - before
run(source.aclose())
network.transport.close()
print(json.dumps(found))
"""


def grown(folder, size):
    with ExitStack() as stack:
        hosts = []
        for name in ("one", "another"):
            store = ("--root", str(folder / name), "--no-sync")
            hosts.append(stack.enter_context(serving("--log", "off", store=store)).host)
        command = [sys.executable, "-c", ROUND, str(folder), str(size), *hosts]
        done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_copying_64_mib(tmp_path):
    found = grown(tmp_path, 16 * MIB)
    print(found)
    assert max(found.values()) < 64 * MIB


@pytest.mark.slow
def test_copying_a_gibibyte(tmp_path):
    """In each kind of place, as source and as destination."""
    found = grown(tmp_path, 256 * MIB)
    print({pair: f"{size / MIB:.1f} MiB" for pair, size in found.items()})
    assert max(found.values()) < 64 * MIB
