"""Exporting and importing take no memory that grows with the image: measured in a process apart."""

import json
import subprocess
import sys

import pytest

from wasmhold.oci.limits import MIB
from wasmhold.testing.covers import covers

ROUND = """
import json, os, shutil, sys
from wasmhold.oci.descriptor import Descriptor
from wasmhold.oci.digest import Digest, hasher
from wasmhold.client.runtime import ThreadRuntime
from wasmhold.ports.runtime import run
from wasmhold.sync import LocalRegistry, export_image, import_image
from wasmhold.testing.repository_suite import image, push

folder, size, names = sys.argv[1], int(sys.argv[2]), sys.argv[3:]


class Made:
    '''A blob of `size` bytes that is nowhere, and that no program compresses well.'''

    file = None

    def __init__(self, seed):
        self.piece, self.size = os.urandom(1 << 16) * 16, size
        running = hasher()
        for _ in range(size >> 20):
            running.update(self.piece)
        digest = Digest("sha256", running.hexdigest())
        self.descriptor = Descriptor("application/vnd.oci.image.layer.v1.tar", digest, size)

    async def open(self, start):
        return self

    async def __aiter__(self):
        for _ in range(size >> 20):
            yield self.piece

    async def aclose(self):
        pass


def memory(key):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(key)) << 10


def forget_the_peak():
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


async def fill(local):
    place = await local.engine(ThreadRuntime()).repository("app", create=True)
    layers = [Made(seed) for seed in range(4)]
    for layer in layers:
        await place.blob_put(layer.descriptor, layer)
    ids = [str(layer.descriptor.digest) for layer in layers]
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": ids}}
    stored = await push(place, json.dumps(config).encode())
    await place.manifest_put(image(stored, *(layer.descriptor for layer in layers)), ["v1"])
    await place.aclose()


local = LocalRegistry(folder + "/images")
run(fill(local))
found = {}
forms = {"a.tar": {}, "a.tar.gz": {"compression": "gzip"}, "d.tar": {"form": "docker"}}
for number, name in enumerate(names):
    how = forms[name]
    path = f"{folder}/{name}"
    export_image(local, "app:v1", path, **how)  # what is imported, and threads, are there now
    os.unlink(path)
    forget_the_peak()
    before = memory("VmRSS:")
    export_image(local, "app:v1", path, **how)
    found["export " + name] = memory("VmHWM:") - before
    forget_the_peak()
    before = memory("VmRSS:")
    with open(path, "rb") as stream:
        import_image(LocalRegistry(folder + "/other"), stream if number else path)
    found["import " + name] = memory("VmHWM:") - before
    os.unlink(path)
    shutil.rmtree(folder + "/other")
shutil.rmtree(folder + "/images")
print(json.dumps(found))
"""


def grown(folder, size, *names):
    command = [sys.executable, "-c", ROUND, str(folder), str(size), *names]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@covers("ZL-752")
def test_an_image_of_64_mib(tmp_path):
    found = grown(tmp_path, 16 * MIB, "a.tar", "a.tar.gz", "d.tar")
    print({name: f"{size / MIB:.1f} MiB" for name, size in found.items()})
    assert max(found.values()) < 32 * MIB


@pytest.mark.slow
@covers("ZL-752")
def test_an_image_of_a_gibibyte(tmp_path):
    found = grown(tmp_path, 256 * MIB, "a.tar", "d.tar")
    print({name: f"{size / MIB:.1f} MiB" for name, size in found.items()})
    assert max(found.values()) < 32 * MIB
