"""Layers that their registry lacks: fetched from their URLs, through the same cache, or not at all."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import replace

import pytest

from tests.client.recording import Says, recording
from tests.image.hub import Hub, hub, index_of
from wasmhold.client.caches.blob_cache import BlobCache
from wasmhold.image import ImagePuller, Source
from wasmhold.image.blocking import ImagePuller as BlockingPuller
from wasmhold.image.events import BlobDone
from wasmhold.oci.descriptor import Descriptor
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import (
    BlobUnknown,
    DigestMismatch,
    SizeInvalid,
    Unreachable,
    WasmholdError,
)
from wasmhold.ports.runtime import run
from wasmhold.testing.covers import covers
from wasmhold.testing.repository_suite import image, named, push

FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
NONDISTRIBUTABLE = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
BASE = b"the base of Windows" * 5000
OWN = b"ours"
WINDOWS = {"os": "windows", "architecture": "amd64", "os.version": "10.0.20348.1"}


@pytest.fixture(name="hub", scope="module")
def a_hub():
    with hub() as made:
        yield made


@contextmanager
def mirror(*says: Says):
    """A server whose path ``/N`` answers with the N-th of `says`; the base where there is none."""
    with recording(
        lambda seen: says[int(seen.path[1:])] if says else Says(200, {}, BASE)
    ) as server:
        yield server


def base(*urls, media_type=FOREIGN, content=BASE):
    return Descriptor(media_type, Digest.of(content), len(content), urls=urls)


def put(hub: Hub, name, *layers):
    """An image with these layers, and one that its registry has."""

    async def work():
        repository = hub.at(name)
        own = await push(repository, OWN)
        stored = image(await push(repository, b"{}"), *layers, own)
        child = replace(named(stored), platform=WINDOWS)
        await repository.manifest_put(stored, ["v1"])
        await repository.manifest_put(index_of(child), ["index"])

    run(work())
    return f"{hub.host}/{name}:v1"


@covers("ZL-206", "ZL-207", "ZL-910")
@pytest.mark.parametrize("media_type", [FOREIGN, NONDISTRIBUTABLE])
def test_a_base_of_windows_comes_through_the_same_pull(hub: Hub, tmp_path, media_type):
    events = []
    with mirror() as server:
        name = f"windows/{len(media_type)}"
        put(hub, name, base(f"{server.url}/layer", media_type=media_type))
        where = f"{hub.host}/{name}:index"
        with BlockingPuller(
            BlobCache.open(tmp_path / "cache"),
            platform="windows/amd64",
            allow_private_urls=True,
        ) as puller:
            manifest, layers = puller.pull(where, on_event=events.append)
            assert manifest.layers[0].media_type == media_type
            assert [layer.source for layer in layers] == [Source.URL, Source.ORIGIN]
            assert [layer.read() for layer in layers] == [BASE, OWN]
            done = {e.digest: e.source for e in events if isinstance(e, BlobDone)}
            assert done[Digest.of(BASE)] is Source.URL
            assert puller.stats.hits[Source.URL] == 1
            # It is in the cache now, as everything is.
            assert puller.pull(where, policy="never").layers[0].read() == BASE
        assert server.lines() == ["GET /layer"]
        assert server.seen[0].authorization is None


@covers("ZL-206")
def test_what_the_registry_has_is_not_asked_for_elsewhere(hub: Hub):
    with mirror() as server:
        where = put(hub, "windows/here", base(f"{server.url}/layer"))
        run(push(hub.at("windows/here"), BASE))
        with BlockingPuller(allow_private_urls=True) as puller:
            assert puller.pull(where).layers[0].source is Source.ORIGIN
        assert server.seen == []


@covers("ZL-206")
def test_urls_are_tried_in_their_order_until_one_is_right(hub: Hub):
    says = [
        Says(404),
        Says(200, {}, b""),
        Says(200, {}, BASE[:-1] + b"x"),
        Says(200, {}, BASE),
        Says(200, {}, BASE),
    ]
    with mirror(*says) as server:
        urls = [f"{server.url}/{number}" for number in range(5)]
        where = put(hub, "windows/order", base(*urls))
        with BlockingPuller(allow_private_urls=True) as puller:
            assert puller.pull(where).layers[0].read() == BASE
        assert server.lines() == [f"GET /{number}" for number in range(4)]


# fmt: off
ALL_BAD = [
    # the last answer,                   error
    (Says(404),                          WasmholdError),
    (Says(200, {}, b""),                 SizeInvalid),
    (Says(200, {}, BASE + b"x"),         SizeInvalid),
    (Says(200, {}, BASE[:-1] + b"x"),    DigestMismatch),
]
# fmt: on


@covers("ZL-206")
@pytest.mark.parametrize(("last", "error"), ALL_BAD)
def test_when_no_url_is_right_the_last_error_is_raised(hub: Hub, last, error):
    """Of seven five are tried; nothing of what came is kept."""
    with mirror(*[Says(404)] * 4, last, *[Says(200, {}, BASE)] * 2) as server:
        urls = [f"{server.url}/{number}" for number in range(7)]
        where = put(hub, f"windows/bad{ALL_BAD.index((last, error))}", base(*urls))
        with BlockingPuller(allow_private_urls=True) as puller:
            with pytest.raises(error):
                puller.pull(where)
            with pytest.raises(WasmholdError):
                puller.pull_blob(where, base(), policy="never")
        assert server.lines() == [f"GET /{number}" for number in range(5)]


@covers("ZL-206")
def test_a_private_address_is_not_asked(hub: Hub):
    with mirror() as server:
        for name, url in (("plain", server.url), ("tls", server.url.replace("http:", "https:"))):
            where = put(hub, f"windows/private-{name}", base(f"{url}/layer"))
            with BlockingPuller() as puller:
                with pytest.raises(Unreachable, match=r"not over https|is no public one"):
                    puller.pull(where)
            with BlockingPuller(insecure_hosts=[server.host]) as puller:
                with pytest.raises(Unreachable, match="is no public one"):
                    puller.pull(where)
        assert server.seen == []


# fmt: off
ANSWERS = [
    # what the registry says,  are the URLs tried
    ("404",                    True),
    ("410",                    True),
    ("401",                    True),
    ("403",                    True),
    ("BLOB_UNKNOWN",           True),
    ("NAME_UNKNOWN",           True),
    ("400",                    False),
    ("405",                    False),
]
# fmt: on


@covers("ZL-206")
@pytest.mark.parametrize(("answer", "elsewhere"), ANSWERS)
def test_when_the_urls_are_tried(hub: Hub, answer, elsewhere):
    name = f"windows/answer-{answer.lower().replace('_', '-')}"
    with mirror() as server:
        where = put(hub, name, base(f"{server.url}/layer"))
        hub.proxy.simulate("blob-get", answer)
        with BlockingPuller(allow_private_urls=True, retries=0) as puller:
            try:
                found = puller.pull_blob(where, base(f"{server.url}/layer"))
            except WasmholdError:
                found = None
        hub.proxy.clear()
        assert (found == BASE) is elsewhere
        assert bool(server.seen) is elsewhere


@covers("ZL-206")
@pytest.mark.parametrize("policy", ["never", "local_only"])
def test_no_policy_that_stays_here_asks_urls(hub: Hub, policy):
    with mirror() as server:
        where = put(hub, f"windows/{policy.replace('_', '-')}", base(f"{server.url}/layer"))
        more = {"policy": "never"} if policy == "never" else {"source_policy": policy}
        with BlockingPuller(allow_private_urls=True, **more) as puller:
            with pytest.raises(WasmholdError):
                puller.pull_blob(where, base(f"{server.url}/layer"))
        assert server.seen == []


@covers("ZL-206")
def test_a_layer_larger_than_the_cache_is_read_where_it_is(hub: Hub):
    with mirror() as server:
        where = put(hub, "windows/large", base(f"{server.url}/layer"))
        with BlockingPuller(BlobCache.memory(max_size=1000), allow_private_urls=True) as puller:
            assert puller.pull_blob(where, base(f"{server.url}/layer")) == BASE


@covers("ZL-206")
def test_of_many_who_want_it_one_fetches_it(hub: Hub):
    async def work(server):
        where = put(hub, "windows/many", base(f"{server.url}/layer"))
        async with ImagePuller(allow_private_urls=True) as puller:
            blob = base(f"{server.url}/layer")
            found = await asyncio.gather(*(puller.pull_blob(where, blob) for _ in range(8)))
            assert found == [BASE] * 8

    with mirror() as server:
        asyncio.run(work(server))
        assert server.lines() == ["GET /layer"]


@covers("ZL-206")
def test_a_layer_without_urls_is_missing(hub: Hub):
    where = put(hub, "windows/none", base())
    with BlockingPuller(allow_private_urls=True) as puller, pytest.raises(BlobUnknown):
        puller.pull(where)
