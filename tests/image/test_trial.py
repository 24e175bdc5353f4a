"""Whatever a registry and its mirror do, a pull gives the right bytes or an error of the tree."""

from __future__ import annotations

import hashlib
from random import Random

import pytest

from tests.client.remotes import Hurried
from tests.image.hub import hub, routed
from wasmhold.client.caches.blob_cache import BlobCache
from wasmhold.image import blocking
from wasmhold.image.errors import RegistryError
from wasmhold.testing.covers import covers

CONTENTS = [bytes([number]) * size for number, size in enumerate((1, 70_000, 700_000))]
# fmt: off
EFFECTS = [
    "cut=0", "cut=1", "cut=600000", "corrupt", "truncate", "wrong-length=1", "wrong-length=-1",
    "wrong-digest", "close", "400", "401", "403", "404", "429", "500", "503", "redirect",
    "redirect-loop",
]
# fmt: on
OPERATIONS = ["*", "manifest-get", "manifest-head", "blob-get", "blob-head"]
POLICIES = ["always", "newer", "if_not_present", "never"]
IMAGE = "registry.example/app:v1"


@pytest.mark.filterwarnings("ignore::UserWarning")
@covers("ZL-155", "ZL-159", "ZL-165", "ZL-187", "ZL-115")
@pytest.mark.parametrize("seed", range(24))
def test_the_right_bytes_or_an_error(monkeypatch, tmp_path, seed):
    chance = Random(seed)
    monkeypatch.setattr(blocking, "ThreadRuntime", Hurried)
    with hub() as origin, hub() as mirror:
        stored = [place.image("app", contents=CONTENTS) for place in (origin, mirror)]
        with routed(monkeypatch, registry_example=origin.host, mirror_example=mirror.host):
            for _ in range(6):
                for place in (origin, mirror):
                    place.proxy.clear()
                    for _ in range(chance.randrange(3)):
                        times = chance.choice(["", ":1", ":2", ":5"])
                        rule = chance.choice(EFFECTS) + times
                        place.proxy.simulate(chance.choice(OPERATIONS), rule)
                room = chance.choice([None, 1000, 1 << 30])
                options = {
                    "policy": chance.choice(POLICIES),
                    "concurrency": chance.choice([1, 3]),
                    "mirrors": chance.choice([{}, {"registry.example": ["mirror.example"]}]),
                }
                cache = BlobCache.open(tmp_path / "cache", max_size=room)
                with blocking.ImagePuller(cache, **options) as puller:
                    try:
                        manifest, layers = puller.pull(IMAGE)
                        found = [layer.read() for layer in layers]
                    except RegistryError:
                        continue
                    assert manifest.digest in {one.digest for one in stored}
                    assert found == CONTENTS
            for file in (tmp_path / "cache/blobs").glob("*/*"):
                assert hashlib.sha256(file.read_bytes()).hexdigest() == file.name
            origin.proxy.clear()
            with blocking.ImagePuller(BlobCache.open(tmp_path / "cache")) as puller:
                assert [layer.read() for layer in puller.pull(IMAGE).layers] == CONTENTS
