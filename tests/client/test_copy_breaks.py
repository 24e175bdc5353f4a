"""What breaks in a copy: every step in turn, bodies that end early, lies, and a user who leaves."""

import os
import threading
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

import pytest

from tests.client.faulty import Faulty
from tests.client.graphs import GRAPHS, holdings
from tests.client.test_places import PLACES
from wasmhold.client.copy import Copier, copy, copy_all
from wasmhold.client.events import Advanced, Failed, Mounted, Side
from wasmhold.client.failure import CopyFailed
from wasmhold.client.places.memory import MemoryRepository
from wasmhold.client.plan import Options
from wasmhold.client.reader import MAX_BREAKS, STRIDE
from wasmhold.client.runtime import ThreadRuntime
from wasmhold.oci.descriptor import Descriptor
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import (
    BlobUnknown,
    BodyCut,
    Cancelled,
    CannotList,
    DigestMismatch,
    ManifestInvalid,
    OutOfSpace,
    SizeInvalid,
    StoreUnavailable,
)
from wasmhold.ports.body import BytesBody
from wasmhold.ports.runtime import run
from wasmhold.testing.repository_suite import document, image, named, push, push_image
from wasmhold.testing.store_suite import Chunks

ALL = Options(referrers=True, concurrency=1)


@pytest.fixture(autouse=True)
def no_syncs(monkeypatch):
    """Nobody cuts the power here."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


class Hasty(ThreadRuntime):
    """Never waits, and counts how often it was to."""

    def __init__(self):
        super().__init__()
        self.slept = []

    async def sleep(self, seconds):
        self.slept.append(seconds)


@asynccontextmanager
async def opened(*places):
    try:
        yield places
    finally:
        for place in places:
            await place.aclose()


# fmt: off
PAIRS = [
    # source,       destination,   graph
    ("memory",      "oci",         "referrers_three_levels"),
    ("oci",         "store",       "nested_indexes"),
    ("store",       "oci-archive", "nested_indexes"),
    ("oci-archive", "memory",      "referrers_three_levels"),
]
SIDES = [(Side.SOURCE, False), (Side.DESTINATION, False), (Side.DESTINATION, True)]
# fmt: on


@pytest.mark.parametrize(("here", "there", "graph"), PAIRS)
@pytest.mark.parametrize(("side", "late"), SIDES)
def test_a_place_that_breaks_at_each_step(here, there, graph, side, late, tmp_path):
    runtime, steps = Hasty(), []

    async def attempt(number):
        async with opened(PLACES[here](tmp_path), PLACES[there](tmp_path)) as (source, target):
            await GRAPHS[graph](source)
            await source.flush()
            wanted = await holdings(source)
            faulty = Faulty(source if side is Side.SOURCE else target, number, late=late)
            places = (faulty, target) if side is Side.SOURCE else (source, faulty)
            try:
                await copy_all(*places, runtime=runtime, options=ALL)
            except CopyFailed as error:
                assert error.side is side
                assert isinstance(error.cause, OutOfSpace)
                assert not error.retryable
                assert error.place == faulty.place
                assert error.place in str(error)
                assert "simulated" in str(error)
            else:
                assert number > len(faulty.calls)
                assert await holdings(target) == wanted
                return False
            steps.append(faulty.calls[-1])
            # What has a tag is whole.
            if await _has_tags(target):
                for manifest in (await holdings(target))["manifests"]:
                    assert manifest in wanted["manifests"]
            await copy_all(source, target, runtime=runtime, options=ALL)
            assert await holdings(target) == wanted
            return True

    number = 1
    while run(attempt(number)):
        number += 1
    assert len(steps) == number - 1 >= 10
    assert not runtime.slept


async def _has_tags(place):
    try:
        return bool(await place.tags())
    except Exception:
        return False


@pytest.mark.parametrize("there", PLACES)
def test_nothing_is_left_of_what_broke(there, tmp_path):
    """A blob that breaks in its middle leaves no file."""

    async def work():
        source = MemoryRepository(ThreadRuntime())
        await push_image(source, "x" * 3_000_000, "v1")
        target = PLACES[there](tmp_path)
        async with opened(target):
            broken = Faulty(source, error=lambda: OutOfSpace("simulated"))
            broken._breaks_at = 9
            with pytest.raises(CopyFailed):
                await copy(broken, "v1", target, ["v1"], runtime=Hasty(), options=ALL)
            assert broken.calls[-1] == "chunk"
        return [path for path in tmp_path.rglob("*") if ".part" in path.name]

    assert run(work()) == []


# ---- downloads that break and go on


class Cutting:
    """A place whose bodies end after `step` bytes, `times` times; it writes down where it began."""

    def __init__(self, place, step, times, error=BodyCut):
        self._inner, self._step, self._times, self._error = place, step, times, error
        self.place = place.place
        self.starts = []

    def __getattr__(self, name):
        return getattr(self._inner, name)

    async def blob_open(self, digest, start=0):
        size = await self._inner.blob_size(digest)
        body = await self._inner.blob_open(digest, start)
        if size < STRIDE:
            return body
        self.starts.append(start)
        if self._times == 0:
            return body
        self._times -= 1
        content = b"".join([chunk async for chunk in body])
        error = None if self._error is None else self._error()
        cut = Chunks(content[: self._step], error=error)
        cut.size = len(content)
        return cut


def big_image(size):
    source = MemoryRepository(ThreadRuntime())

    async def write():
        layer = await push(source, bytes(range(251)) * (size // 251))
        await source.manifest_put(image(await push(source, b"{}"), layer), ["v1"])
        return layer

    return source, run(write())


@pytest.mark.parametrize("error", [BodyCut, lambda: StoreUnavailable("simulated"), None])
def test_a_download_goes_on_where_it_broke(error, tmp_path):
    source, layer = big_image(8 * STRIDE)
    runtime, events, step = Hasty(), [], 700_000
    cutting = Cutting(source, step, 4, error)

    async def work():
        async with aclosing(PLACES["oci"](tmp_path)) as target:
            await copy(
                cutting, "v1", target, ["v1"], runtime=runtime, options=ALL, listener=events.append
            )
            assert (await holdings(target))["blobs"] == (await holdings(source))["blobs"]

    run(work())
    assert cutting.starts == [step * n for n in range(5)]
    assert len(runtime.slept) == 4
    failed = [event for event in events if isinstance(event, Failed)]
    assert [(e.side, e.again) for e in failed] == [(Side.SOURCE, True)] * 4
    advanced = [
        event.at
        for event in events
        if isinstance(event, Advanced) and event.descriptor.digest == layer.digest
    ]
    assert advanced == sorted(advanced)
    assert advanced[-1] == layer.size
    assert events[-1].tags == ("v1",)


def test_a_download_that_moves_on_may_break_any_number_of_times():
    source, _ = big_image(20 * STRIDE)
    cutting, runtime = Cutting(source, STRIDE, 1000), Hasty()
    target = MemoryRepository(runtime)
    run(copy(cutting, "v1", target, ["v1"], runtime=runtime))
    assert len(cutting.starts) > 2 * MAX_BREAKS
    assert max(runtime.slept) < 0.5  # the last one comes sooner


def test_a_download_that_does_not_move_on_is_given_up():
    source, layer = big_image(2 * STRIDE)
    cutting, runtime = Cutting(source, 10, 1000), Hasty()
    with pytest.raises(CopyFailed) as caught:
        run(copy(cutting, "v1", MemoryRepository(runtime), ["v1"], runtime=runtime))
    assert (caught.value.side, type(caught.value.cause)) == (Side.SOURCE, BodyCut)
    assert caught.value.retryable
    assert caught.value.step == f"reading blob {layer.digest}"
    assert len(cutting.starts) == MAX_BREAKS + 1
    assert runtime.slept == [0.2, 0.4, 0.8, 1.6, 3.2]


# ---- lies


class Lying(MemoryRepository):
    """Gives other bytes for one blob."""

    def __init__(self, lie):
        super().__init__(ThreadRuntime())
        self.lie, self.about = lie, None

    async def blob_open(self, digest, start=0):
        body = await super().blob_open(digest, start)
        return BytesBody(self.lie[start:]) if digest == self.about else body


LIES = [
    (b"other byte", DigestMismatch),
    (b"short", SizeInvalid),
    (b"longer than was said", SizeInvalid),
]


@pytest.mark.parametrize(("lie", "error"), LIES)
@pytest.mark.parametrize("there", PLACES)
def test_a_source_that_lies_is_blamed(lie, error, there, tmp_path):
    source = Lying(lie)

    async def work():
        layer = await push(source, b"right byte")
        await source.manifest_put(image(await push(source, b"{}"), layer), ["v1"])
        source.about = layer.digest
        async with aclosing(PLACES[there](tmp_path)) as target:
            with pytest.raises(CopyFailed) as caught:
                await copy(Faulty(source), "v1", target, ["v1"], runtime=Hasty())
            assert (caught.value.side, type(caught.value.cause)) == (Side.SOURCE, error)
            assert await target.blob_size(layer.digest) is None
            assert await target.resolve("v1") is None

    run(work())


async def _missing_child(source):
    child = await push_image(source, "child")
    lost = document(
        mediaType="application/vnd.oci.image.index.v1+json", manifests=[named(child).to_json()]
    )
    await source.manifest_put(lost, ["v1"])
    source._manifests.pop(child.digest)


async def _wrong_size(source):
    child = await push_image(source, "child")
    wrong = replace(named(child), size=named(child).size + 1)
    await source.manifest_put(
        document(mediaType="application/vnd.oci.image.index.v1+json", manifests=[wrong.to_json()]),
        ["v1"],
    )


async def _two_sizes(source):
    layer = await push(source, b"layer")
    await source.manifest_put(image(layer, layer, replace(layer, size=6)), ["v1"])


async def _missing_blob(source):
    stored = await push_image(source, "one", "v1")
    source._blobs.pop(Digest.of(b"layer of one"))
    return stored


# fmt: off
BROKEN = [
    # source,        what is said
    (_missing_child, "no manifest"),
    (_wrong_size,    "its descriptor says"),
    (_two_sizes,     "5 bytes by one descriptor and 6 by another"),
    (_missing_blob,  "no blob"),
    (None,           "no manifest v1"),
]
# fmt: on


@pytest.mark.parametrize(("break_it", "said"), BROKEN)
def test_a_source_that_is_not_whole(break_it, said):
    async def work():
        source, target = MemoryRepository(Hasty()), MemoryRepository(Hasty())
        if break_it is not None:
            await break_it(source)
        with pytest.raises(CopyFailed, match=said) as caught:
            await copy(source, "v1", target, ["v1"], runtime=Hasty())
        assert caught.value.side is Side.SOURCE
        assert await target.tags() == []

    run(work())


def test_referrers_that_could_not_be_asked_for_are_no_empty_list():
    class Mute(MemoryRepository):
        async def referrers(self, subject, artifact_type=None):
            raise CannotList("simulated")

    async def work():
        source, target = Mute(Hasty()), MemoryRepository(Hasty())
        await push_image(source, "one", "v1")
        with pytest.raises(CopyFailed) as caught:
            await copy(source, "v1", target, ["v1"], runtime=Hasty(), options=ALL)
        assert isinstance(caught.value.cause, CannotList)
        await copy(source, "v1", target, ["v1"], runtime=Hasty())
        assert await target.tags() == ["v1"]

    run(work())


# ---- a user who leaves, and one who does not listen well


def test_cancelled_in_the_middle(tmp_path):
    source, layer = big_image(8 * STRIDE)
    runtime = ThreadRuntime()

    def leave(event):
        if isinstance(event, Advanced) and event.at > 2 * STRIDE:
            runtime.cancel()

    async def work():
        async with aclosing(PLACES["oci"](tmp_path)) as target:
            with pytest.raises(Cancelled):
                await copy(source, "v1", target, ["v1"], runtime=runtime, listener=leave)
            assert await target.blob_size(layer.digest) is None
            assert await target.resolve("v1") is None
            assert not [path for path in tmp_path.rglob("*") if ".part" in path.name]
            await copy(source, "v1", target, ["v1"], runtime=ThreadRuntime())
            assert await holdings(target) == await holdings(source)

    run(work())


def test_the_first_error_stops_the_rest():
    """The other transfers end at their next chunk, not at their end."""
    runtime = Hasty()
    began = threading.Barrier(2, timeout=60)

    class Slow(MemoryRepository):
        async def blob_open(self, digest, start=0):
            if digest == layers[0].digest:
                began.wait()
                raise BlobUnknown("slow", str(digest))
            return Endless() if digest == layers[1].digest else await super().blob_open(digest)

    class Endless:
        size, file = 1 << 50, None

        async def __aiter__(self):
            began.wait()
            while True:
                yield bytes(1000)

        async def aclose(self):
            pass

    layers = [
        Descriptor("application/wasm", Digest.of(b"first"), 1 << 51),
        Descriptor("application/wasm", Digest.of(b"second"), 1 << 50),
    ]

    class Sink(MemoryRepository):
        async def blob_put(self, descriptor, source):
            async with aclosing(await source.open(0)) as body:
                async for _ in body:
                    pass

    async def work():
        source = Slow(runtime)
        stored = image(await push(source, b"{}"), *layers)
        source._manifests[stored.digest], source._tags["v1"] = stored, stored.digest
        with pytest.raises(CopyFailed) as caught:
            await copy(source, "v1", Sink(runtime), ["v1"], runtime=runtime)
        assert isinstance(caught.value.cause, BlobUnknown)

    run(work())


def test_who_was_stopped_does_not_hide_why():
    """A transfer that was stopped may end before the one that stopped it has told its error."""

    class Racing(Hasty):
        async def map(self, function, items, limit):
            try:
                return await super().map(function, items, limit)
            except CopyFailed:
                raise Cancelled from None

    async def work():
        source, runtime = MemoryRepository(Hasty()), Racing()
        await _missing_blob(source)
        with pytest.raises(CopyFailed) as caught:
            await copy(Faulty(source), "v1", MemoryRepository(runtime), runtime=runtime)
        assert isinstance(caught.value.cause, BlobUnknown)

    run(work())


def test_a_listener_that_raises_ends_the_copy():
    class Enough(Exception):
        pass

    def listen(event):
        if isinstance(event, Mounted):
            raise Enough

    async def work():
        source, target = MemoryRepository(Hasty()), MemoryRepository(Hasty())
        await push_image(source, "one", "v1")
        with pytest.raises(Enough):
            await copy(source, "v1", target, ["v1"], runtime=Hasty(), listener=listen)
        assert await target.tags() == []

    run(work())


def test_a_plan_that_is_old_still_ends_whole():
    """What came meanwhile is there twice, which is no error."""

    async def work():
        source, target = MemoryRepository(Hasty()), MemoryRepository(Hasty())
        await GRAPHS["nested_indexes"](source)
        copier = Copier(source, target, Hasty())
        plan = await copier.plan("v1", ["v1"])
        await copy_all(source, target, runtime=Hasty())
        done = await copier.follow(plan)
        assert done.blobs == len(plan.blobs) > 0
        assert await holdings(target) == await holdings(source)

    run(work())


def test_a_manifest_of_another_kind_is_refused():
    async def work():
        source = MemoryRepository(Hasty())
        await push_image(source, "one", "v1")
        stored = await source.manifest_get("v1")
        content = stored.content.replace(b'"schemaVersion": 2', b'"schemaVersion": 3')
        bad = replace(stored, digest=Digest.of(content), content=content)
        source._manifests[bad.digest], source._tags["v1"] = bad, bad.digest
        with pytest.raises(CopyFailed) as caught:
            await copy(source, "v1", MemoryRepository(Hasty()), ["v1"], runtime=Hasty())
        assert isinstance(caught.value.cause, ManifestInvalid)

    run(work())
