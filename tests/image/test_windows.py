"""Images of Windows: chosen by version, with a base that is to be had elsewhere, and never unpacked."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import pytest

from tests.client.recording import Says, recording
from tests.image.hub import Hub, hub, index_of
from wasmhold.client.caches.blob_cache import BlobCache
from wasmhold.client.platforms import Platform
from wasmhold.image.blocking import ImagePuller
from wasmhold.image.config import ImageConfig
from wasmhold.image.layers.blocking import LayerUnpacker
from wasmhold.image.policy import Source
from wasmhold.oci.descriptor import Descriptor
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import ForeignLayerError
from wasmhold.ports.runtime import run
from wasmhold.sync import Client
from wasmhold.testing import Registry
from wasmhold.testing.covers import covers
from wasmhold.testing.repository_suite import image, named, push

BASE = b"a base layer of Windows" * 10_000
OWN = b"what was built on it"
FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
CONFIG = "application/vnd.docker.container.image.v1+json"
VERSIONS = ("10.0.17763.6414", "10.0.20348.2762", "10.0.26100.2033")


@pytest.fixture(name="hub", scope="module")
def a_hub():
    with hub() as made:
        yield made


@pytest.fixture(scope="module")
def publisher():
    """Who alone may distribute the base."""
    with recording(lambda seen: Says(200, {}, BASE)) as server:
        yield server


def config(version):
    return json.dumps(
        {"os": "windows", "architecture": "amd64", "os.version": version, "config": {"Cmd": ["c"]}}
    ).encode()


@pytest.fixture
def windows(hub: Hub, publisher, request):
    """An index with one image for each of `VERSIONS`: where it is, and all of it by digest."""
    url = f"{publisher.url}/base"
    base = Descriptor(FOREIGN, Digest.of(BASE), len(BASE), urls=(url,))
    name = f"windows/{request.node.name.split('[')[0].removeprefix('test_').replace('_', '-')}"

    async def work():
        repository, children, manifests = hub.at(name), [], []
        own = replace(await push(repository, OWN), media_type=LAYER)
        for version in VERSIONS:
            about = replace(await push(repository, config(version)), media_type=CONFIG)
            stored = image(about, base, own)
            await repository.manifest_put(stored)
            manifests.append(stored)
            platform = {"os": "windows", "architecture": "amd64", "os.version": version}
            children.append(replace(named(stored), platform=platform))
        top = index_of(*children)
        await repository.manifest_put(top, ["v1"])
        return top, manifests

    top, manifests = run(work())
    return f"{hub.host}/{name}", top, manifests


@covers("ZL-910", "ZL-167", "ZL-207")
@pytest.mark.parametrize("version", [*VERSIONS, "10.0.20348", None])
def test_pulled_verified_and_cached(windows, publisher, tmp_path, version):
    where, _, manifests = windows
    wanted = Platform("windows", "amd64", os_version=version)
    at = next((n for n, one in enumerate(VERSIONS) if one.startswith(version or "")), 0)
    cache = BlobCache.open(tmp_path / "cache")
    with ImagePuller(cache, platform=wanted, allow_private_urls=True) as puller:
        publisher.seen.clear()
        manifest, layers = puller.pull(f"{where}:v1")
        assert manifest.raw == manifests[at].content
        assert [layer.read() for layer in layers] == [BASE, OWN]
        assert layers[0].source is Source.URL
        assert puller.inspect(f"{where}:v1", local_only=True).os_version == VERSIONS[at]
        assert puller.pull_image_config(f"{where}:v1") == ImageConfig.from_json(
            config(VERSIONS[at])
        )
        again = puller.pull(f"{where}:v1", policy="never")
        assert [layer.read() for layer in again.layers] == [BASE, OWN]
        assert publisher.lines() == ["GET /base"]


@covers("ZL-910", "ZL-258")
def test_copied_exported_and_copied_back(windows, publisher, tmp_path):
    """The base stays with its publisher, all the way, and its descriptor as it is."""
    where, top, manifests = windows
    publisher.seen.clear()
    with Client() as client, Registry() as other:
        ways = [
            f"{where}:v1",
            f"oci:{tmp_path}/layout:v1",
            f"oci-archive:{tmp_path}/image.tar.gz:v1",
            f"store:{tmp_path}/store//windows/app:v1",
            f"{other.host}/windows/app:v1",
        ]
        for source, target in pairwise(ways):
            client.copy(source, target)
        assert client.manifest(ways[-1]).content == top.content
        for stored in manifests:
            place = f"{other.host}/windows/app@{stored.digest}"
            assert client.manifest(place).content == stored.content
        client.copy(f"{where}:v1", f"oci:{tmp_path}/one:v1", platform="windows/amd64")
        assert client.resolve(f"oci:{tmp_path}/one:v1").digest == manifests[0].digest
        with ImagePuller(platform="windows/amd64", allow_private_urls=True) as puller:
            found = puller.pull(f"{other.host}/windows/app:v1")
            assert [layer.source for layer in found.layers] == [Source.URL, Source.ORIGIN]
    assert publisher.lines() == ["GET /base"]


@covers("ZL-910", "ZL-258")
@pytest.mark.parametrize("foreign", ["skip", "push"])
def test_pushed(windows, hub: Hub, foreign):
    _, top, manifests = windows
    where = f"{hub.host}/windows/pushed-{foreign}"
    blobs = [OWN, *map(config, VERSIONS)] + ([BASE] if foreign == "push" else [])
    with ImagePuller(platform="windows/amd64") as puller:
        digest = puller.push_index(
            f"{where}:v1",
            top.content,
            children=[stored.content for stored in manifests],
            blobs=blobs,
            foreign=foreign,
        )
        assert digest == str(top.digest)
        assert puller.fetch_root(f"{where}:v1").raw == top.content
    there = run(hub.at(f"windows/pushed-{foreign}").blob_size(Digest.of(BASE)))
    assert there == (len(BASE) if foreign == "push" else None)


@covers("ZL-910")
def test_not_unpacked(windows, tmp_path):
    where, _, _ = windows
    with ImagePuller(platform="windows/amd64", allow_private_urls=True) as puller:
        _, layers = puller.pull(f"{where}:v1")
        content = layers[0].read()
    with pytest.raises(ForeignLayerError):
        LayerUnpacker(tmp_path / "root").unpack_layer(content, layers[0].media_type)
    assert not list(tmp_path.rglob("root/*"))
