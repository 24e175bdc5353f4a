"""What an image says of itself: its config, system and platforms, without its layers."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.image.hub import Hub, hub, index_of, on
from wasmhold.client.caches.blob_cache import BlobCache
from wasmhold.client.platforms import NoMatchingPlatform
from wasmhold.image.blocking import ImagePuller
from wasmhold.image.config import MAX_CONFIG, ConfigInvalid, ImageConfig
from wasmhold.image.inspection import ImageInspection
from wasmhold.image.pushing import ArtifactLayer
from wasmhold.oci.descriptor import Descriptor
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import NotFound, TooLarge
from wasmhold.oci.media_types import IMAGE_INDEX
from wasmhold.ports.runtime import run
from wasmhold.registry import Settings
from wasmhold.testing.covers import covers
from wasmhold.testing.repository_suite import document, image, named, push

CONFIG = "application/vnd.oci.image.config.v1+json"
LINUX = {
    "os": "linux",
    "architecture": "amd64",
    "created": "2024-01-02T03:04:05Z",
    "config": {"Cmd": ["/app"], "Labels": {"team": "web"}},
}
WINDOWS = {
    "os": "windows",
    "architecture": "amd64",
    "os.version": "10.0.20348.1",
    "os.features": ["win32k"],
}


@pytest.fixture(name="hub", scope="module")
def a_hub():
    with hub() as made:
        yield made


@pytest.fixture
def puller():
    with ImagePuller(platform="linux/amd64") as made:
        yield made


def put(hub: Hub, name, content, tag="v1", media_type=CONFIG, **members):
    """An image with `content` as its config."""
    if not isinstance(content, bytes):
        content = json.dumps(content).encode()

    async def work():
        repository = hub.at(name)
        config = replace(await push(repository, content), media_type=media_type)
        layer = await push(repository, b"never read")
        stored = image(config, layer, **members)
        await repository.manifest_put(stored, [tag])
        return stored

    return run(work())


def put_index(hub: Hub, name, *children):
    stored = index_of(*children)
    run(hub.at(name).manifest_put(stored, ["v1"]))
    return stored


@covers("ZL-204")
def test_the_config_of_an_image(hub: Hub, puller):
    put(hub, "configs/whole", LINUX)
    hub.asked()
    config = puller.pull_image_config(f"{hub.host}/configs/whole:v1")
    assert config == ImageConfig.from_json(json.dumps(LINUX).encode())
    assert (config.full_command(), config.labels) == (("/app",), {"team": "web"})
    assert hub.asked() == ["GET manifests", "GET blobs"]
    assert puller.pull_image_config(f"{hub.host}/configs/whole:v1", policy="never") == config
    assert hub.asked() == []


@covers("ZL-204")
@pytest.mark.parametrize("content", [b"{}", b'{"config": null}', b'{"config": {}}'])
def test_a_config_that_says_nothing(hub: Hub, puller, content):
    put(hub, "configs/empty", content, f"v{len(content)}")
    found = puller.pull_image_config(f"{hub.host}/configs/empty:v{len(content)}")
    assert found == ImageConfig()


@covers("ZL-204")
def test_what_is_no_config(hub: Hub, puller):
    put(hub, "configs/bad", b"no JSON")
    put(hub, "configs/bad", {"config": {"Env": "A=1"}}, "v2")
    for tag, said in (("v1", "not JSON"), ("v2", "config.Env: want a list")):
        with pytest.raises(ConfigInvalid, match=said) as caught:
            puller.pull_image_config(f"{hub.host}/configs/bad:{tag}")
        assert f"{hub.host}/configs/bad:{tag}" in str(caught.value)


@covers("ZL-204")
def test_a_config_that_is_too_large_is_not_asked_for(puller):
    config = Descriptor(CONFIG, Digest.of(b"huge"), MAX_CONFIG + 1)
    with hub(settings=Settings(sparse=True)) as other:
        run(other.at("configs/huge").manifest_put(image(config), ["v1"]))
        other.asked()
        with pytest.raises(TooLarge):
            puller.pull_image_config(f"{other.host}/configs/huge:v1")
        assert other.asked() == ["GET manifests"]


@covers("ZL-205")
def test_an_image(hub: Hub, puller):
    stored = put(hub, "inspected/image", LINUX, annotations={"a": "b"})
    hub.asked()
    assert puller.inspect(f"{hub.host}/inspected/image:v1") == ImageInspection(
        digest=str(stored.digest),
        os="linux",
        architecture="amd64",
        annotations={"a": "b"},
        labels={"team": "web"},
        created="2024-01-02T03:04:05Z",
    )
    assert hub.asked() == ["GET manifests", "GET blobs"]


@covers("ZL-205")
def test_an_index(hub: Hub, puller):
    name = "inspected/index"
    linux, windows = put(hub, name, LINUX), put(hub, name, WINDOWS)
    attestation = {"os": "unknown", "architecture": "unknown"}
    children = [
        replace(named(put(hub, name, b"{}")), platform=attestation),
        replace(named(windows), platform=WINDOWS),
        on(linux, "linux/amd64"),
    ]
    put_index(hub, name, *children)
    found = puller.inspect(f"{hub.host}/{name}:v1")
    assert (found.os, found.digest) == ("linux", str(linux.digest))
    assert found.platforms == ("windows/amd64 (os.version=10.0.20348.1)", "linux/amd64")
    found = puller.inspect(f"{hub.host}/{name}:v1", platform="windows/amd64")
    assert found.digest == str(windows.digest)
    assert (found.os_version, found.os_features) == ("10.0.20348.1", ("win32k",))
    with pytest.raises(NoMatchingPlatform):
        puller.inspect(f"{hub.host}/{name}:v1", platform="plan9/amd64")


@covers("ZL-205")
def test_an_index_without_a_child_for_this_machine(hub: Hub, puller):
    """What is of another system is looked at as well; it is not pulled."""
    name = "inspected/other"
    windows = put(hub, name, b"{}")
    attestation = {"os": "unknown", "architecture": "unknown"}
    put_index(
        hub,
        name,
        replace(named(windows), platform=attestation),
        replace(named(windows), platform=WINDOWS),
    )
    found = puller.inspect(f"{hub.host}/{name}:v1")
    # The config says nothing, but the index does.
    assert (found.os, found.architecture, found.os_version) == ("windows", "amd64", "10.0.20348.1")
    with pytest.raises(NoMatchingPlatform):
        puller.pull(f"{hub.host}/{name}:v1")
    run(hub.at(name).manifest_put(document(mediaType=IMAGE_INDEX, manifests=[]), ["v1"]))
    with pytest.raises(NoMatchingPlatform):
        puller.inspect(f"{hub.host}/{name}:v1")


@covers("ZL-205")
def test_an_artifact(hub: Hub, puller):
    where = f"{hub.host}/inspected/artifact:v1"
    puller.push_artifact(
        where,
        artifact_type="application/x",
        config=b"not JSON at all",
        config_media_type="application/y",
        layers=[ArtifactLayer(b"layer", "text/plain")],
    )
    hub.asked()
    found = puller.inspect(where)
    assert (found.artifact_type, found.os, found.platforms) == ("application/x", None, ())
    assert hub.asked() == ["GET manifests"]


@covers("ZL-205")
def test_what_is_here_is_inspected_without_a_network(hub: Hub, tmp_path):
    put(hub, "inspected/local", LINUX)
    where = f"{hub.host}/inspected/local:v1"
    with ImagePuller(BlobCache.open(tmp_path / "cache")) as puller:
        with pytest.raises(NotFound):
            puller.inspect(where, local_only=True)
        puller.fetch_manifest(where)
        hub.asked()
        found = puller.inspect(where, local_only=True)
        # The config is not here yet.
        assert (found.os, found.labels) == (None, {})
        full = puller.inspect(where)
        hub.asked()
        assert puller.inspect(where, local_only=True) == full
        assert full.labels == {"team": "web"}
        assert hub.asked() == []
