"""A registry with images, behind a proxy that says what was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from urllib.parse import urlsplit

from tests.client.remotes import Client
from wasmhold.client.opening import Opener
from wasmhold.client.transport import Answer, HttpTransport
from wasmhold.oci import media_types
from wasmhold.oci.descriptor import Descriptor
from wasmhold.oci.errors import Unreachable
from wasmhold.ports.repository import Repository
from wasmhold.ports.runtime import run
from wasmhold.ports.store import StoredManifest
from wasmhold.testing import Proxy, Registry
from wasmhold.testing.repository_suite import document, image, named, push

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


class Routed(HttpTransport):
    """Sends what is for a host to the registry that plays it; nobody else can be reached.

    `asked` has host, method and endpoint of each request, also of those that went nowhere.
    """

    def __init__(self, routes: dict[str, str]) -> None:
        super().__init__()
        self.routes = routes
        self.asked: list[str] = []

    def request(self, method, url, fields=(), body=None, *, follow=False) -> Answer:
        there = urlsplit(url)
        self.asked.append(f"{there.netloc} {method} {there.path.rsplit('/', 2)[1]}")
        if there.netloc not in self.routes:
            raise Unreachable(there.netloc, "it is down", retryable=False)
        url = there._replace(scheme="http", netloc=self.routes[there.netloc]).geturl()
        return super().request(method, url, fields, body, follow=follow)

    def speaks_tls(self, host, port):
        raise AssertionError("a route is no host of this machine")

    def close(self) -> None:
        """Several clients use it, one after the other."""

    def taken(self) -> list[str]:
        """What was asked since this was last called."""
        asked, self.asked = self.asked, []
        return asked


@contextmanager
def routed(monkeypatch, **routes: str) -> Iterator[Routed]:
    """All clients use it; a dot of a host's name is written ``_``."""
    transport = Routed({name.replace("_", "."): host for name, host in routes.items()})
    made = cached_property(lambda opener: transport)
    made.__set_name__(Opener, "transport")
    monkeypatch.setattr(Opener, "transport", made)
    yield transport
    HttpTransport.close(transport)


@contextmanager
def hub(**options: object) -> Iterator[Hub]:
    with Registry(**options) as registry, Proxy(registry.host) as proxy:
        made = Hub(registry, proxy)
        try:
            yield made
        finally:
            made.close()
