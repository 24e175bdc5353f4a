"""Blobs of a puller: side by side, once, verified, resumed, within bounds."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.client.remotes import Hurried
from tests.image.hub import CONTENTS, LAYER, Hub, hub, put_image
from wasmhold.client.caches.blob_cache import BlobCache
from wasmhold.image import ImagePuller, Source, blocking
from wasmhold.image.errors import RegistryError, SizeMismatch
from wasmhold.image.events import BlobDone, BlobProgress, BlobSkipped, BlobStarted, Retry, Warned
from wasmhold.oci.descriptor import Descriptor
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import (
    ArtifactInvalid,
    BlobUnknown,
    Cancelled,
    DigestMismatch,
    OutOfSpace,
    TooLarge,
)
from wasmhold.ports.runtime import run
from wasmhold.testing.covers import covers
from wasmhold.testing.repository_suite import image, push

MIB = 1 << 20


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    monkeypatch.setattr(blocking, "ThreadRuntime", Hurried)


@pytest.fixture(name="hub")
def a_hub():
    with hub() as made:
        yield made


def until(condition):
    while not condition():
        time.sleep(0.01)


class Flying:
    """Hears how many blobs are on their way."""

    def __init__(self):
        self.now = self.most = 0

    def __call__(self, event):
        if isinstance(event, BlobStarted):
            self.now += 1
            self.most = max(self.most, self.now)
        elif isinstance(event, BlobDone):
            self.now -= 1


@covers("ZL-153", "ZL-154", "ZL-202")
@pytest.mark.parametrize("concurrency", [1, 2, 4])
def test_layers_come_side_by_side_and_in_order(hub: Hub, concurrency):
    contents = [bytes([number]) * 40_000 for number in range(6)]
    hub.image("slow", contents=contents)
    hub.proxy.simulate("blob-get", "slow=400000")
    flying = Flying()
    with blocking.ImagePuller(concurrency=concurrency, on_event=flying) as puller:
        layers = puller.pull_image(f"{hub.host}/slow:v1")
    assert [layer.digest for layer in layers] == [Digest.of(one) for one in contents]
    assert flying.most == concurrency


@covers("ZL-153")
@pytest.mark.parametrize("concurrency", [0, -1])
def test_at_least_one_blob_at_a_time(concurrency):
    with pytest.raises(ValueError, match="concurrency: want at least 1"):
        ImagePuller(concurrency=concurrency)
    with pytest.raises(ValueError, match="concurrency: want at least 1"):
        ImagePuller().replace(concurrency=concurrency)


@covers("ZL-156")
def test_many_who_want_one_blob_fetch_it_once(hub: Hub):
    contents = [b"x" * 300_000, b"y" * 300_000]
    hub.image("once", contents=contents)
    hub.proxy.simulate("blob-get", "slow=1500000")

    async def work():
        async with ImagePuller() as puller:
            pulls = [asyncio.create_task(puller.pull(f"{hub.host}/once:v1")) for _ in range(6)]
            await asyncio.to_thread(until, lambda: len(hub.proxy.passed("blob-get")) >= 3)
            # The failure of one that waits, or fetches, is none of the others.
            pulls[0].cancel()
            pulls[3].cancel()
            done = await asyncio.gather(*pulls, return_exceptions=True)
            assert [isinstance(one, asyncio.CancelledError) for one in done] == [
                True, False, False, True, False, False,
            ]  # fmt: skip
            for _, layers in (one for one in done if not isinstance(one, BaseException)):
                assert [await layer.read() for layer in layers] == contents

    asyncio.run(work())
    # Three blobs; one whose download was cancelled is begun once more.
    asked = [passed.target for passed in hub.proxy.passed("blob-get")]
    assert len(set(asked)) == 3
    assert len(asked) <= 6


@covers("ZL-156")
def test_threads_that_pull_one_image_fetch_it_once(hub: Hub):
    hub.image("once", contents=[b"x" * 300_000, b"y" * 300_000])
    with blocking.ImagePuller() as puller:
        hub.asked()
        threads = [
            threading.Thread(target=lambda: puller.pull(f"{hub.host}/once:v1")) for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert hub.asked().count("GET blobs") == 3


@covers("ZL-155", "ZL-920", "ZL-921")
def test_what_may_heal_is_tried_again_and_told(hub: Hub):
    hub.image("retried")
    hub.proxy.simulate("manifest-get", "500:3")
    hub.proxy.simulate("blob-get", "429:1")
    told = []
    with blocking.ImagePuller(concurrency=1, on_event=told.append) as puller:
        puller.pull(f"{hub.host}/retried:v1")
        waits = puller._runtime.waits
        retries = [event for event in told if isinstance(event, Retry)]
        assert [event.attempt for event in retries] == [1, 2, 3, 1]
        assert [event.wait for event in retries] == waits
        assert [0.09 < wait / 2**number < 0.31 for number, wait in enumerate(waits[:3])] == [
            True
        ] * 3
        assert retries[0].url == f"http://{hub.host}/v2/retried/manifests/v1"
        assert "500" in retries[0].reason
        assert puller.stats.retries == 4
        assert puller.stats.requests == len(hub.proxy.passed())
    hub.proxy.simulate("manifest-get", "503:4")
    with blocking.ImagePuller() as puller, pytest.raises(RegistryError, match="503"):
        puller.pull(f"{hub.host}/retried:v1")
    hub.asked()
    hub.proxy.simulate("manifest-get", "404:1")
    with blocking.ImagePuller() as puller, pytest.raises(RegistryError):
        puller.pull(f"{hub.host}/retried:v1")
    assert hub.asked() == ["GET manifests"]


@covers("ZL-155", "ZL-921")
def test_a_broken_download_goes_on_from_the_bytes_that_are_there(hub: Hub):
    content = bytes(range(256)) * 8000
    hub.image("cut", contents=[content])
    hub.proxy.simulate("blob-get", "cut=700000:3")
    told = []
    with blocking.ImagePuller(concurrency=1, on_event=told.append) as puller:
        (layer,) = puller.pull_image(f"{hub.host}/cut:v1")
        assert layer.read() == content
        assert puller.stats.retries == 2
        assert puller.stats.bytes_in >= len(content)
    asked = [
        passed.fields.get("range")
        for passed in hub.proxy.passed("blob-get")
        if str(layer.digest) in passed.target
    ]
    assert asked == [None, "bytes=700000-", "bytes=1400000-"]
    assert len([event for event in told if isinstance(event, Retry)]) == 2


@covers("ZL-158")
def test_an_empty_blob_is_a_blob(hub: Hub):
    hub.image("empty", contents=[b"", b"not empty"])
    with blocking.ImagePuller() as puller:
        layers = puller.pull_image(f"{hub.host}/empty:v1")
        assert [layer.read() for layer in layers] == [b"", b"not empty"]
        assert puller.pull_blob(f"{hub.host}/empty:v1", str(Digest.of(b""))) == b""


@covers("ZL-159", "ZL-200")
@pytest.mark.parametrize("kept", [True, False], ids=["cached", "streamed"])
@pytest.mark.parametrize("effect", ["corrupt", "wrong-length=7", "wrong-length=-7", "truncate"])
def test_other_bytes_than_the_digest_says(hub: Hub, tmp_path, effect, kept):
    content = bytes(range(256)) * 1000
    hub.image("wrong", contents=[content])
    image_name = f"{hub.host}/wrong:v1"
    blob = Descriptor(LAYER, Digest.of(content), len(content))
    cache = BlobCache.memory() if kept else BlobCache.memory(max_size=1000)
    hub.proxy.simulate("blob-get", effect)
    with blocking.ImagePuller(cache) as puller:
        for attempt in (
            lambda: puller.pull(image_name),
            lambda: puller.pull_blob(image_name, blob),
            lambda: puller.pull_blob_to(image_name, blob, tmp_path / "file"),
            lambda: list(puller.open_blob(image_name, blob)),
        ):
            if attempt is None or (not kept and attempt.__code__.co_names[0] == "pull"):
                continue
            with pytest.raises(RegistryError) as caught:
                attempt()
            if effect == "corrupt":
                assert isinstance(caught.value, DigestMismatch)
        assert list(tmp_path.iterdir()) == []
        hub.proxy.clear()
        assert puller.pull_blob(image_name, blob) == content


@covers("ZL-159")
@pytest.mark.parametrize("difference", [-1, 1])
def test_a_descriptor_that_lies_about_the_size(hub: Hub, difference):
    content = b"a layer"
    repository = hub.at("lying")
    config = run(push(repository, b"{}"))
    layer = run(push(repository, content))
    run(repository.manifest_put(image(config, replace(layer, size=7 + difference)), ["v1"]))
    with blocking.ImagePuller() as puller, pytest.raises(SizeMismatch) as caught:
        puller.pull(f"{hub.host}/lying:v1")
    assert (caught.value.expected, caught.value.actual) == (7 + difference, 7)


@covers("ZL-159")
def test_a_descriptor_that_lies_about_what_is_in_the_cache(hub: Hub, tmp_path):
    hub.image("lying")
    image_name = f"{hub.host}/lying:v1"
    lying = Descriptor(LAYER, Digest.of(CONTENTS[0]), 10)
    for cache in (BlobCache.memory(), BlobCache.open(tmp_path / "cache")):
        with blocking.ImagePuller(cache) as puller:
            _, layers = puller.pull(image_name)
            with pytest.raises(SizeMismatch):
                puller.pull_blob(image_name, lying, max_size=100)
            assert layers[0].read() == CONTENTS[0]
    # A file of another size is a damaged one, and comes anew.
    Path(layers[0].path).write_bytes(b"short")
    with blocking.ImagePuller(BlobCache.open(tmp_path / "cache")) as puller:
        assert puller.pull(image_name).layers[0].read() == CONTENTS[0]


@covers("ZL-200", "ZL-188")
def test_what_cannot_be_shared_is_here_all_the_same(hub: Hub):
    """The own cache may need its room before the shared one has read the blob."""
    hub.image("shared")

    class Forgetful:
        def engine(self, runtime):
            self._engine = BlobCache.memory().engine(runtime)
            return self

        async def blob_put(self, descriptor, source):
            raise BlobUnknown("memory", str(descriptor.digest))

        def __getattr__(self, name):
            return getattr(self._engine, name)

    told = []
    with blocking.ImagePuller(shared_cache=Forgetful(), on_event=told.append) as puller:
        _, layers = puller.pull(f"{hub.host}/shared:v1")
        assert [layer.read() for layer in layers] == CONTENTS
    assert {event.code for event in told if isinstance(event, Warned)} == {"cache-write"}


@covers("ZL-200")
def test_a_blob_in_every_form(hub: Hub, tmp_path):
    stored = hub.image("forms")
    image_name = f"{hub.host}/forms:v1"
    content = CONTENTS[1]
    digest = Digest.of(content)
    with blocking.ImagePuller() as puller:
        hub.asked()
        assert puller.pull_blob(image_name, Descriptor(LAYER, digest, len(content))) == content
        assert hub.asked() == ["GET blobs"]
        assert puller.pull_blob(image_name, digest) == content
        assert puller.pull_blob(image_name, str(digest)) == content
        assert hub.asked() == []
        with pytest.raises(TooLarge):
            puller.pull_blob(image_name, digest, max_size=len(content) - 1)
        with puller.open_blob(image_name, digest) as stream:
            assert stream.size == len(content)
            assert hashlib.sha256(b"".join(stream)).hexdigest() == digest.encoded
        other = Digest.of(CONTENTS[2])
        # Of a digest alone the size has to be found out.
        assert puller.pull_blob(image_name, other) == CONTENTS[2]
        assert hub.asked() == ["HEAD blobs", "GET blobs"]
        third = Digest.of(CONTENTS[0])
        assert puller.pull_blob(image_name, third, size=len(CONTENTS[0])) == CONTENTS[0]
        assert hub.asked() == ["GET blobs"]
        target = tmp_path / "file"
        target.write_text("before")
        with pytest.raises(BlobUnknown):
            puller.pull_blob_to(image_name, "sha256:" + "0" * 64, target)
        assert target.read_text() == "before"
        found = puller.pull_blob_to(image_name, digest, target)
        assert (found.digest, target.read_bytes()) == (digest, content)
        with pytest.raises(ArtifactInvalid, match="is a folder"):
            puller.pull_blob_to(image_name, digest, tmp_path)
        assert stored


class Full:
    """A cache that cannot be written."""

    def __init__(self, cache):
        self._cache = cache

    def engine(self, runtime):
        self._engine = self._cache.engine(runtime)
        return self

    async def blob_put(self, descriptor, source):
        raise OutOfSpace("the disk is full")

    manifest_put = record_put = lambda self, *arguments: Full.blob_put(self, None, None)

    def __getattr__(self, name):
        return getattr(self._engine, name)


@covers("ZL-200", "ZL-188")
@pytest.mark.parametrize("which", ["own", "shared"])
def test_a_cache_that_cannot_be_written_is_a_warning(hub: Hub, which):
    hub.image("full")
    own, shared = BlobCache.memory(), BlobCache.memory()
    caches = (Full(own), shared) if which == "own" else (own, Full(shared))
    told = []
    with blocking.ImagePuller(caches[0], shared_cache=caches[1], on_event=told.append) as puller:
        _, layers = puller.pull(f"{hub.host}/full:v1")
        assert [layer.read() for layer in layers] == CONTENTS
    warned = [event for event in told if isinstance(event, Warned)]
    assert {event.code for event in warned} == {"cache-write"}
    assert all("the disk is full" in event.text for event in warned)


@covers("ZL-200", "ZL-512")
def test_what_has_no_room_in_the_cache_is_read_from_where_it_is(hub: Hub):
    hub.image("large")
    told = []
    with blocking.ImagePuller(BlobCache.memory(max_size=3000), on_event=told.append) as puller:
        _, layers = puller.pull(f"{hub.host}/large:v1")
        for _ in range(2):
            assert [layer.read() for layer in layers] == CONTENTS
    done = [event for event in told if isinstance(event, BlobDone)]
    assert len(done) > len(CONTENTS)


@covers("ZL-200")
def test_what_was_damaged_in_the_cache_comes_anew(hub: Hub, tmp_path):
    hub.image("damaged")
    with blocking.ImagePuller(BlobCache.open(tmp_path / "cache")) as puller:
        _, layers = puller.pull(f"{hub.host}/damaged:v1")
        path = Path(layers[0].path)
        path.write_bytes(b"x" * len(CONTENTS[0]))
        hub.asked()
        assert layers[0].read() == CONTENTS[0]
        assert hub.asked() == ["GET blobs"]
        assert path.read_bytes() == CONTENTS[0]


@covers("ZL-007")
def test_a_pull_that_is_cancelled_keeps_nothing_half(hub: Hub, tmp_path):
    hub.image("cancelled", contents=[b"z" * 4 * MIB])
    hub.proxy.simulate("blob-get", "slow=2000000")
    cache = BlobCache.open(tmp_path / "cache")
    puller = blocking.ImagePuller(cache)

    def stop(event):
        if isinstance(event, BlobProgress):
            puller.cancel()

    with puller, pytest.raises(Cancelled):
        puller.pull(f"{hub.host}/cancelled:v1", on_event=stop)

    async def work():
        started = asyncio.Event()
        async with ImagePuller(cache) as other:
            pull = asyncio.create_task(
                other.pull(f"{hub.host}/cancelled:v1", on_event=lambda event: started.set())
            )
            await started.wait()
            pull.cancel()
            with pytest.raises(asyncio.CancelledError):
                await pull
            assert await other.lookup(f"{hub.host}/cancelled:v1") is None or not list(
                (tmp_path / "cache/blobs").glob("*/*")
            )

    asyncio.run(work())
    assert [one.stat().st_size for one in (tmp_path / "cache/blobs").glob("*/*")] in ([], [21])


@covers("ZL-920")
def test_events_of_a_pull(hub: Hub):
    hub.image("told", contents=[b"a" * 3 * MIB])
    told = []
    with blocking.ImagePuller(concurrency=1) as puller:
        puller.pull(f"{hub.host}/told:v1", on_event=told.append)
        again = []
        puller.pull(f"{hub.host}/told:v1", on_event=again.append)
    names = [type(event).__name__ for event in told]
    assert names[0] == "Resolved"
    assert names[-1] == "Done"
    layer = Digest.of(b"a" * 3 * MIB)
    of_layer = [event for event in told if getattr(event, "digest", None) == layer]
    assert of_layer[0] == BlobStarted(layer, 3 * MIB, Source.ORIGIN)
    progress = [event for event in of_layer if isinstance(event, BlobProgress)]
    assert progress[-1] == BlobProgress(layer, 3 * MIB, 3 * MIB)
    assert isinstance(of_layer[-1], BlobDone)
    assert [event.done for event in progress] == sorted({event.done for event in progress})
    assert [type(event).__name__ for event in again] == [
        "Resolved", "BlobSkipped", "BlobSkipped", "Done",
    ]  # fmt: skip
    assert all(e.why == "cache" for e in again if isinstance(e, BlobSkipped))


@covers("ZL-920")
def test_an_async_listener_and_one_that_raises(hub: Hub):
    hub.image("heard")
    told = []

    async def listener(event):
        await asyncio.sleep(0)
        told.append(event)

    def refuse(event):
        if isinstance(event, BlobStarted):
            raise LookupError("stop here")

    async def work():
        async with ImagePuller(on_event=listener) as puller:
            await puller.pull(f"{hub.host}/heard:v1")
            assert len(told) > 8
            before = len(told)
            with pytest.raises(LookupError, match="stop here"):
                await puller.replace(BlobCache.memory()).pull(
                    f"{hub.host}/heard:v1", on_event=refuse
                )
            assert len(told) == before

    asyncio.run(work())
    with blocking.ImagePuller(on_event=refuse) as puller, pytest.raises(LookupError):
        puller.pull(f"{hub.host}/heard:v1")


@covers("ZL-920")
def test_progress_is_told_ten_times_a_second_at_the_most():
    from wasmhold.image.events import Pace

    clock = [0.0]
    pace = Pace(lambda: clock[0])
    due = 0
    for millisecond in range(1000):
        clock[0] = millisecond / 1000
        due += pace.is_due()
    assert due == 9


@covers("ZL-921")
def test_stats_say_what_was_asked_and_found(hub: Hub):
    hub.image("counted")
    with blocking.ImagePuller() as puller:
        puller.pull(f"{hub.host}/counted:v1")
        stats = puller.stats
        assert (stats.requests, stats.retries, stats.bytes_out) == (5, 0, 0)
        assert stats.bytes_in > sum(len(one) for one in CONTENTS)
        assert (stats.hits[Source.ORIGIN], stats.misses[Source.CACHE]) == (5, 5)
        puller.replace(concurrency=1).pull(f"{hub.host}/counted:v1")
        assert stats.requests == 6
        assert stats.hits[Source.CACHE] == 5
        assert "requests=6" in repr(stats)


def test_an_image_without_layers(hub: Hub):
    repository = hub.at("bare")
    config = run(push(repository, b"{}"))
    run(repository.manifest_put(image(config), ["v1"]))
    with blocking.ImagePuller() as puller:
        assert puller.pull_image(f"{hub.host}/bare:v1") == []


def test_an_image_with_one_layer_twice(hub: Hub):
    run(put_image(hub.at("doubled"), [b"same", b"other", b"same"], "v1"))
    with blocking.ImagePuller() as puller:
        hub.asked()
        layers = puller.pull_image(f"{hub.host}/doubled:v1")
        assert [layer.read() for layer in layers] == [b"same", b"other", b"same"]
        assert hub.asked().count("GET blobs") == 3
