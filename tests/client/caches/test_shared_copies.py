"""Copies by way of a shared cache that has wrong bytes, or breaks: the registry has the right ones."""

from __future__ import annotations

import random

import pytest

from tests.image.hub import Hub, hub
from wasmhold import ObjectCacheConfig
from wasmhold.client.caches.shared import ObjectCache
from wasmhold.client.failure import CopyFailed
from wasmhold.client.settings import Settings
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import StoreUnavailable
from wasmhold.oci.limits import MIB
from wasmhold.sync import Client
from wasmhold.testing.covers import covers

CONTENT = random.Random(3).randbytes(5 * MIB)


@pytest.fixture(name="hub", scope="module")
def a_hub():
    with hub() as made:
        made.image("demo/app", contents=[CONTENT])
        yield made


@pytest.fixture
def shared(tmp_path):
    return ObjectCache(ObjectCacheConfig((tmp_path / "shared").as_uri()))


def copied(hub: Hub, cache, tmp_path, said):
    """A copy into a new layout; the blob in it."""
    folder = tmp_path / f"out{len(list(tmp_path.glob('out*')))}"
    with Client(Settings(cache=cache), warn=said.append) as client:
        client.copy(f"{hub.host}/demo/app:v1", f"oci:{folder}:v1")
    return (folder / "blobs" / "sha256" / Digest.of(CONTENT).encoded).read_bytes()


def blobs(hub):
    """How often a blob was asked for since the last time."""
    return [one for one in hub.asked() if one == "GET blobs"]


WRONG = {
    "the first byte": lambda right: b"!" + right[1:],
    "the last byte": lambda right: right[:-1] + b"!",
    "cut": lambda right: right[:-1],
    "longer": lambda right: right + b"!",
    "empty": lambda right: b"",
}


@pytest.mark.parametrize("how", WRONG)
@covers("ZL-541", "ZL-505")
def test_wrong_bytes_come_anew(hub, shared, tmp_path, how):
    said = []
    assert copied(hub, shared, tmp_path, said) == CONTENT
    path = tmp_path / "shared" / shared.key_for_digest(Digest.of(CONTENT))
    path.write_bytes(WRONG[how](CONTENT))
    hub.asked()
    assert copied(hub, shared, tmp_path, said) == CONTENT
    assert len(blobs(hub)) == 1
    assert path.read_bytes() == CONTENT
    assert copied(hub, shared, tmp_path, said) == CONTENT
    assert blobs(hub) == []


@pytest.mark.parametrize("how", WRONG)
@covers("ZL-541", "ZL-505")
def test_what_is_known_by_its_digest_alone(hub, shared, tmp_path, how):
    """The cache says how many bytes it is.  Where that is wrong, it is right the second time."""
    said, file = [], tmp_path / "file"
    assert copied(hub, shared, tmp_path, said) == CONTENT
    path = tmp_path / "shared" / shared.key_for_digest(Digest.of(CONTENT))
    path.write_bytes(WRONG[how](CONTENT))
    with Client(Settings(cache=shared), warn=said.append) as client:
        for _ in range(2):
            try:
                client.blob_file(f"{hub.host}/demo/app@{Digest.of(CONTENT)}", str(file))
                break
            except CopyFailed:
                assert not file.exists()
    assert file.read_bytes() == CONTENT


@covers("ZL-548")
def test_the_registry_has_the_rest_when_the_cache_breaks(hub, shared, tmp_path, monkeypatch):
    said = []
    assert copied(hub, shared, tmp_path, said) == CONTENT
    engine = shared.engine

    def breaking(runtime):
        made = engine(runtime)
        whole = made._bucket.open_data

        async def broken(chunks):
            yield await anext(chunks)
            await chunks.aclose()
            raise StoreUnavailable("the store went away")

        async def open_data(key):
            size, chunks = await whole(key)
            return size, broken(chunks)

        made._bucket.open_data = open_data
        return made

    monkeypatch.setattr(shared, "engine", breaking)
    hub.asked()
    assert said == []
    assert copied(hub, shared, tmp_path, said) == CONTENT
    (text,) = said
    assert "the store went away" in text
    assert len(blobs(hub)) == 2  # of the layer and of the config
