"""The puller against a registry, behind a proxy that counts what is asked."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from tests.image.hub import CONTENTS, Hub, hub
from wasmhold.client.caches.blob_cache import BlobCache
from wasmhold.image import ImagePuller, PullPolicy, Source
from wasmhold.image.blocking import ImagePuller as BlockingPuller
from wasmhold.image.puller import Puller
from wasmhold.testing.covers import covers


@pytest.fixture(name="hub", scope="module")
def a_hub():
    with hub() as made:
        yield made


@covers("ZL-150", "ZL-160", "ZL-201", "ZL-202")
def test_pull_twice(hub: Hub):
    stored = hub.image("twice")

    async def work():
        async with ImagePuller() as puller:
            hub.asked()
            manifest, layers = await puller.pull(f"{hub.host}/twice:v1")
            assert (manifest.digest, manifest.raw) == (stored.digest, stored.content)
            assert (manifest.media_type, manifest.size) == (stored.media_type, len(stored.content))
            assert [layer.size for layer in layers] == [len(one) for one in CONTENTS]
            assert [layer.source for layer in layers] == [Source.ORIGIN] * 3
            assert [await layer.read() for layer in layers] == CONTENTS
            assert sorted(hub.asked()) == ["GET blobs"] * 4 + ["GET manifests"]
            again = await puller.pull(f"{hub.host}/twice:v1")
            assert again.manifest.digest == stored.digest
            assert [layer.source for layer in again.layers] == [Source.CACHE] * 3
            assert hub.asked() == ["HEAD manifests"]
            one, digest = await puller.pull_manifest(f"{hub.host}/twice:v1")
            assert digest == str(one.digest) == str(stored.digest)

    asyncio.run(work())


@covers("ZL-163", "ZL-162")
def test_the_second_pull_of_an_unchanged_multi_platform_tag_is_one_head(hub: Hub):
    stored = hub.index("multi")
    with BlockingPuller(platform="linux/arm64") as puller:
        hub.asked()
        manifest, _ = puller.pull(f"{hub.host}/multi:v1")
        assert manifest.digest == stored["linux/arm64"].digest
        assert manifest.index is not None
        assert manifest.index.digest == stored["index"].digest
        assert manifest.index.raw == stored["index"].content
        assert manifest.index.index is None
        assert sorted(hub.asked()) == ["GET blobs"] * 2 + ["GET manifests"] * 2
        puller.pull(f"{hub.host}/multi:v1")
        assert hub.asked() == ["HEAD manifests"]
        other = puller.fetch_manifest(f"{hub.host}/multi:v1", platform="linux/amd64")
        assert other.digest == stored["linux/amd64"].digest
        assert hub.asked() == ["HEAD manifests", "GET manifests"]


def test_blobs(hub: Hub, tmp_path):
    hub.image("blobs")
    with BlockingPuller(BlobCache.open(tmp_path / "cache")) as puller:
        _, layers = puller.pull(f"{hub.host}/blobs:v1")
        hub.asked()
        for layer, content in zip(layers, CONTENTS, strict=True):
            assert layer.read() == content
            with layer.open() as stream:
                assert b"".join(stream) == content
            with open(layer.path, "rb") as file:
                assert file.read() == content
            assert puller.pull_blob(f"{hub.host}/blobs:v1", str(layer.digest)) == content
            puller.pull_blob_to(f"{hub.host}/blobs:v1", layer.digest, tmp_path / "out")
            assert (tmp_path / "out").read_bytes() == content
        assert hub.asked() == []


def test_never_asks_nobody(hub: Hub):
    hub.image("never")
    with BlockingPuller() as puller:
        puller.pull(f"{hub.host}/never:v1")
        hub.asked()
        puller.pull(f"{hub.host}/never:v1", policy=PullPolicy.NEVER)
        assert hub.asked() == []


def test_both_have_every_method_with_the_same_words():
    methods = {
        name: method
        for name, method in vars(Puller).items()
        if inspect.iscoroutinefunction(method) and not name.startswith("_")
    }
    assert len(methods) > 8
    for name, method in methods.items():
        blocking = getattr(BlockingPuller, name)
        assert not inspect.iscoroutinefunction(blocking)
        assert inspect.signature(blocking) == inspect.signature(method)
        assert blocking.__doc__ == method.__doc__
        assert method.__doc__
