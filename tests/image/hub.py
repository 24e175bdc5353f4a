"""A registry with images, behind a proxy that says what was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from tests.client.remotes import Client
from wasmhold.oci import media_types
from wasmhold.oci.descriptor import Descriptor
from wasmhold.ports.repository import Repository
from wasmhold.ports.runtime import run
from wasmhold.ports.store import StoredManifest
from wasmhold.testing import Proxy, Registry
from wasmhold.testing.repository_suite import document, image, index, named, push

LAYER = "application/vnd.oci.image.layer.v1.tar"
CONTENTS = [b"base" * 1000, b"middle" * 1000, b"top" * 1000]


async def put_image(
    repository: Repository, contents: Sequence[bytes] = CONTENTS, *tags: str
) -> StoredManifest:
    """An image with a layer for each of `contents`."""
    config = await push(repository, b"config of " + b"".join(contents)[:50])
    layers = [replace(await push(repository, one), media_type=LAYER) for one in contents]
    stored = image(config, *layers)
    await repository.manifest_put(stored, tags)
    return stored


def on(stored: StoredManifest, platform: str) -> Descriptor:
    """How an index names it."""
    system, architecture = platform.split("/")
    return replace(named(stored), platform={"os": system, "architecture": architecture})


def index_of(*children: Descriptor) -> StoredManifest:
    entries = [child.to_json() for child in children]
    return document(mediaType=media_types.IMAGE_INDEX, manifests=entries)


async def put_index(repository: Repository, *tags: str) -> dict[str, StoredManifest]:
    """An index with an image for two platforms; the images, and the index as ``index``."""
    images = {
        platform: await put_image(repository, [platform.encode() * 100])
        for platform in ("linux/amd64", "linux/arm64")
    }
    top = index_of(*(on(stored, platform) for platform, stored in images.items()))
    await repository.manifest_put(top, tags)
    return images | {"index": top}


class Hub:
    """`host` is the proxy's; what is put goes around it."""

    def __init__(self, registry: Registry, proxy: Proxy) -> None:
        self.registry, self.proxy, self.host = registry, proxy, proxy.host
        self._client = Client()
        self._seen = 0

    def at(self, name: str) -> Repository:
        return self._client.repository(self.registry.host, name, to_write=True)

    def image(self, name: str = "demo/app", tag: str = "v1", contents=CONTENTS) -> StoredManifest:
        return run(put_image(self.at(name), contents, tag))

    def index(self, name: str = "demo/multi", tag: str = "v1") -> dict[str, StoredManifest]:
        return run(put_index(self.at(name), tag))

    def asked(self) -> list[str]:
        """Method and endpoint of each request since this was last called."""
        passed = self.proxy.passed()[self._seen :]
        self._seen += len(passed)
        return [f"{one.method} {one.target.rsplit('/', 2)[1]}" for one in passed]

    def close(self) -> None:
        self._client.transport.close()


@contextmanager
def hub(**options: object) -> Iterator[Hub]:
    with Registry(**options) as registry, Proxy(registry.host) as proxy:
        made = Hub(registry, proxy)
        try:
            yield made
        finally:
            made.close()


__all__ = ["CONTENTS", "Hub", "hub", "index", "index_of", "on", "put_image", "put_index"]
