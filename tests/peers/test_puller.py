"""ImagePuller with other registries: what it asks for, and what it makes of their answers."""

from __future__ import annotations

import pytest

from tests.client import remotes
from tests.image.hub import put_image, put_index
from wasmhold import BlobCache, NotFound
from wasmhold.ports.runtime import run
from wasmhold.sync import ImagePuller
from wasmhold.testing import Proxy
from wasmhold.testing.covers import covers

pytestmark = pytest.mark.peer
REGISTRIES = [
    pytest.param(remotes.olareg, marks=remotes.needs("olareg"), id="olareg"),
    pytest.param(remotes.distribution, marks=remotes.needs("distribution"), id="distribution"),
]


@covers("ZL-163", "ZL-172", "ZL-187")
@pytest.mark.parametrize("registry", REGISTRIES)
def test_a_pull_from_another_registry(registry, tmp_path):
    with registry(tmp_path) as server, Proxy(server.host) as proxy, remotes.client() as client:
        images = run(put_index(client.repository(server.host, "demo/multi", to_write=True), "v1"))
        contents = [b"x" * 300_000, b"y"]
        run(put_image(client.repository(server.host, "demo/app", to_write=True), contents, "v1"))
        told = []
        with ImagePuller(BlobCache.open(tmp_path / "cache"), on_event=told.append) as puller:
            multi = f"{proxy.host}/demo/multi:v1"
            for _ in range(2):
                manifest, layers = puller.pull(multi, platform="linux/arm64")
                assert manifest.digest == images["linux/arm64"].digest
                assert manifest.index.digest == images["index"].digest
                assert [layer.read() for layer in layers] == [b"linux/arm64" * 100]
            assert [passed.method for passed in proxy.passed()][-1] == "HEAD"
            assert [passed.method for passed in proxy.passed()].count("HEAD") == 1

            proxy.simulate("blob-get", "cut=100000:2")
            layers = puller.pull_image(f"{proxy.host}/demo/app:v1")
            assert [layer.read() for layer in layers] == contents
            assert puller.resolve(multi).digest == images["index"].digest
            assert puller.resolve(f"{proxy.host}/demo/app:none") is None
            assert puller.resolve(f"{proxy.host}/demo/nothing:v1") is None
            with pytest.raises(NotFound):
                puller.pull(f"{proxy.host}/demo/app:none")
