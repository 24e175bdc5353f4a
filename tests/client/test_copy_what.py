"""What a copy does and tells: plans, events, platforms, tags, bounds, mounts, and asyncio."""

import asyncio
import threading
from contextlib import aclosing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.client.faulty import Faulty
from tests.client.graphs import GRAPHS, holdings
from tests.client.test_places import PLACES
from wasmhold.client.aio import AsyncioRuntime
from wasmhold.client.copy import Copied, Copier, copy, copy_all
from wasmhold.client.events import Advanced, Finished, Mounted, Planned, Side, Skipped, Started
from wasmhold.client.failure import CopyFailed
from wasmhold.client.graph import Graph, GraphTooLarge
from wasmhold.client.places.archive import open_archive
from wasmhold.client.places.layout import open_layout
from wasmhold.client.places.memory import MemoryRepository
from wasmhold.client.places.store import open_store
from wasmhold.client.plan import Options
from wasmhold.client.platforms import NoMatchingPlatform, Platform
from wasmhold.client.runtime import ThreadRuntime
from wasmhold.oci.descriptor import Descriptor
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import Cancelled, ManifestInvalid, NameUnknown, StoreUnavailable
from wasmhold.oci.manifest import Manifest, parse_manifest
from wasmhold.ports.runtime import run
from wasmhold.servers.asgi import SystemRandomness
from wasmhold.testing.covers import covers
from wasmhold.testing.repository_suite import (
    REPOSITORY_CHECKS,
    check_repository,
    image,
    index,
    push,
    push_image,
)


def memory(name="memory"):
    return MemoryRepository(ThreadRuntime(), name)


# ---- plans and events


def test_a_plan_says_what_will_move_and_the_copy_follows_it():
    async def work():
        source, target, events = memory(), memory(), []
        await GRAPHS["nested_indexes"](source)
        known = await push(target, b"layer of amd64")
        copier = Copier(Faulty(source), target, ThreadRuntime(), listener=events.append)
        plan = await copier.plan("v1", ["new", "newer"])
        root = await source.resolve("v1")
        assert plan.roots == (root,)
        assert [d.digest for d in plan.manifests][-1] == root.digest
        assert len(plan.manifests) == 5
        assert [d.digest for d in plan.there] == [known.digest]
        assert len(plan.blobs) == 5
        sizes = [d.size for d in plan.blobs]
        assert sizes == sorted(sizes, reverse=True)
        assert plan.size == sum(sizes) + sum(d.size for d in plan.manifests)
        assert plan.requests == 3 * 5 + 2 * 5 + 1
        assert dict(plan.tags) == {root.digest: ("new", "newer")}
        assert events == []
        assert await target.tags() == []

        done = await copier.follow(plan)
        assert done == Copied(plan.roots, 5, 0, 5, 1, sum(sizes))
        planned = {e.descriptor.digest for e in events if isinstance(e, Planned)}
        assert planned == {d.digest for d in (*plan.blobs, *plan.manifests)}
        for kind in (Started, Finished):
            told = [e.descriptor.digest for e in events if isinstance(e, kind)]
            assert sorted(told) == sorted(planned)
        assert [e.descriptor.digest for e in events if isinstance(e, Skipped)] == [known.digest]
        assert {e.descriptor.digest: e.at for e in events if isinstance(e, Advanced)} == {
            d.digest: d.size for d in plan.blobs
        }
        assert events[-1] == Finished(Side.DESTINATION, plan.manifests[-1], ("new", "newer"))
        assert await target.tags() == ["new", "newer"]

    run(work())


def test_what_is_there_is_not_read():
    async def work():
        source, target = memory(), memory()
        await GRAPHS["nested_indexes"](source)
        await copy(source, "v1", target, ["v1"], runtime=ThreadRuntime())
        watched, asked = Faulty(source), Faulty(target)
        await copy(watched, "v1", asked, ["v1"], runtime=ThreadRuntime())
        assert watched.calls == ["resolve"]
        assert asked.calls == ["resolve", "resolve", "flush"]
        # A new tag is one more write of the manifest.
        await copy(watched, "v1", asked, ["v1", "v2"], runtime=ThreadRuntime())
        assert asked.calls.count("manifest_put") == 1
        assert "blob_open" not in watched.calls

    run(work())


def test_manifests_are_read_once():
    async def work():
        source, target = memory(), memory()
        await GRAPHS["referrers_three_levels"](source)
        watched = Faulty(source)
        options = Options(referrers=True)
        done = await copy(watched, "v1", target, ["v1"], runtime=ThreadRuntime(), options=options)
        assert watched.calls.count("manifest_get") == done.manifests == 7

    run(work())


def test_tags_come_after_everything_else():
    async def work():
        source, target = memory(), memory()
        await GRAPHS["referrers_three_levels"](source)
        await GRAPHS["shared_by_many_tags"](source)
        asked = Faulty(target)
        put, seen = target.manifest_put, []

        async def manifest_put(stored, tags=()):
            seen.append(tuple(tags))
            await put(stored, tags)

        target.manifest_put = manifest_put
        await copy_all(source, asked, runtime=ThreadRuntime(), options=Options(referrers=True))
        first = next(number for number, tags in enumerate(seen) if tags)
        assert all(seen[first:])
        assert sorted(tag for tags in seen for tag in tags) == await source.tags()

    run(work())


def test_referrers_only_on_request():
    async def work():
        source, target = memory(), memory()
        await GRAPHS["referrers_three_levels"](source)
        await copy(source, "v1", target, ["v1"], runtime=ThreadRuntime())
        assert len((await holdings(target))["manifests"]) == 1
        await copy(
            source, "v1", target, ["v1"], runtime=ThreadRuntime(), options=Options(referrers=True)
        )
        assert await holdings(target) == await holdings(source)

    run(work())


def test_foreign_layers_stay_where_they_are():
    async def work():
        source, target, events = memory(), memory(), []
        await GRAPHS["foreign_layers"](source)
        await copy(source, "v1", target, ["v1"], runtime=ThreadRuntime(), listener=events.append)
        left_out = [e for e in events if isinstance(e, Skipped)]
        assert {e.reason for e in left_out} == {"is not to be distributed"}
        assert {e.side for e in left_out} == {Side.SOURCE}
        assert {e.descriptor.digest for e in left_out} == {
            Digest.of(b"windows"),
            Digest.of(b"only there"),
        }
        assert await target.blob_size(Digest.of(b"also elsewhere")) == 14

    run(work())


@covers("ZL-258")
def test_foreign_layers_go_where_they_are_wanted_and_here():
    async def work():
        source, target, events = memory(), memory(), []
        await GRAPHS["foreign_layers"](source)
        await push(source, b"windows")
        options = Options(foreign=True)
        await copy(
            source, "v1", target, runtime=ThreadRuntime(), options=options, listener=events.append
        )
        assert await target.blob_size(Digest.of(b"windows")) == 7
        left_out = {e.descriptor.digest for e in events if isinstance(e, Skipped)}
        assert left_out == {Digest.of(b"only there")}

    run(work())


# ---- platforms


@covers("ZL-170")
def test_one_platform_of_an_index():
    async def work():
        source, target = memory(), memory()
        await GRAPHS["nested_indexes"](source)
        options = Options(platform=Platform.parse("linux/wasm"))
        done = await copy(source, "v1", target, ["v1"], runtime=ThreadRuntime(), options=options)
        assert len(done.roots) == done.manifests == 1
        assert (await target.resolve("v1")).digest == done.roots[0].digest
        assert await target.blob_size(Digest.of(b"layer of wasm")) is not None
        assert await target.blob_size(Digest.of(b"layer of amd64")) is None
        options = Options(platform=Platform.parse("plan9/mips"))
        with pytest.raises(
            CopyFailed, match="for plan9/mips; it has linux/amd64, linux/wasm"
        ) as caught:
            await copy(source, "v1", target, runtime=ThreadRuntime(), options=options)
        assert isinstance(caught.value.cause, NoMatchingPlatform)

    run(work())


# ---- bounds


def _index(*children):
    return Manifest("application/vnd.oci.image.index.v1+json", manifests=children)


def _node(text):
    return Descriptor("application/vnd.oci.image.index.v1+json", Digest.of(text.encode()), 1)


def test_a_graph_has_bounds():
    graph = Graph(max_nodes=3, max_depth=2)
    for text in "abc":
        assert graph.add(_node(text))
    assert not graph.add(_node("a"))
    with pytest.raises(GraphTooLarge, match="more than 3 manifests"):
        graph.add(_node("d"))
    with pytest.raises(GraphTooLarge, match="more than 2 levels"):
        graph.add(_node("e"), 3)


def test_a_node_that_is_met_on_two_ways_comes_before_both():
    graph = Graph()
    a, b, c, d = map(_node, "abcd")
    graph.add(a)
    for child in graph.expand(a.digest, _index(d, b)):
        graph.add(child, 1)
    for child in graph.expand(b.digest, _index(c, d)):
        graph.add(child, 2)
    graph.expand(d.digest, _index(c))
    assert graph.in_order() == [c, d, b, a]


def test_a_circle_is_found():
    graph = Graph()
    a, b = map(_node, "ab")
    graph.add(a)
    graph.add(b)
    graph.expand(a.digest, _index(b))
    graph.expand(b.digest, _index(a))
    with pytest.raises(GraphTooLarge, match="leads to itself"):
        graph.in_order()


def test_one_digest_with_two_sizes():
    graph = Graph()
    graph.add(_node("a"))
    with pytest.raises(ManifestInvalid):
        graph.add(Descriptor("application/x", Digest.of(b"a"), 2))


def test_indexes_in_indexes_without_end():
    async def work():
        source, target = memory(), memory()
        stored = await push_image(source, "one")
        for _ in range(40):
            stored = index(stored)
            await source.manifest_put(stored, ["deep"])
        with pytest.raises(CopyFailed, match="more than 32 levels"):
            await copy(source, "deep", target, runtime=ThreadRuntime())

    run(work())


# ---- mounts


def test_what_can_be_mounted_is_not_read(tmp_path):
    async def work():
        runtime, root = ThreadRuntime(), str(tmp_path / "root")
        source = await open_store(root, "one", runtime, SystemRandomness(), create=True)
        target = await open_store(root, "two/more", runtime, SystemRandomness())
        async with aclosing(source), aclosing(target):
            await GRAPHS["nested_indexes"](source)
            events = []
            done = await copy(source, "v1", target, ["v1"], runtime=runtime, listener=events.append)
            assert (done.mounted, done.moved) == (6, 0)
            assert sum(isinstance(event, Mounted) for event in events) == 6
            assert await holdings(target) == await holdings(source)

    run(work())


def test_a_directory_that_is_no_store(tmp_path):
    with pytest.raises(NameUnknown):
        run(open_store(str(tmp_path), "demo", ThreadRuntime(), SystemRandomness()))
    assert list(tmp_path.iterdir()) == []


# ---- under asyncio


def aio_places(tmp_path, runtime):
    async def store():
        return await open_store(
            str(tmp_path / "store"), "demo", runtime, SystemRandomness(), create=True
        )

    async def made(place):
        return place

    return [
        made(open_layout(str(tmp_path / "layout"), runtime)),
        store(),
        made(open_archive(str(tmp_path / "archive.tar.gz"), runtime)),
        made(MemoryRepository(runtime)),
    ]


def test_the_same_under_asyncio(tmp_path):
    async def work():
        runtime = AsyncioRuntime()
        places = [await place for place in aio_places(tmp_path, runtime)]
        await GRAPHS["referrers_three_levels"](places[-1])
        wanted = await holdings(places[-1])
        options = Options(referrers=True)
        for source, target in zip([places[-1], *places], places, strict=False):
            await copy_all(source, target, runtime=runtime, options=options)
            assert await holdings(target) == wanted
        for place in places:
            await place.aclose()
        runtime.close()

    asyncio.run(work())


@pytest.mark.parametrize("check", REPOSITORY_CHECKS)
def test_suite_under_asyncio(check, tmp_path):
    """With the runtime of the loop that drives it."""

    class Late:
        """A place that is made once there is a loop."""

        def __getattr__(self, name):
            place = self.__dict__.setdefault("_place", None) or open_layout(
                str(tmp_path / "layout"), AsyncioRuntime()
            )
            self._place = place
            return getattr(place, name)

    check_repository(Late, [check], drive=asyncio.run)


def test_cancelled_under_asyncio(tmp_path):
    """The copy ends, and what its thread had open is closed."""

    async def work():
        runtime = AsyncioRuntime()
        source, target = MemoryRepository(runtime), open_layout(str(tmp_path / "l"), runtime)
        layer = await push(source, bytes(30_000_000))
        await source.manifest_put(image(await push(source, b"{}"), layer), ["v1"])
        begun = asyncio.Event()

        def listen(event):
            if isinstance(event, Advanced):
                begun.set()

        task = asyncio.create_task(
            copy(Faulty(source), "v1", target, ["v1"], runtime=runtime, listener=listen)
        )
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await target.blob_size(layer.digest) is None
        await target.aclose()
        assert not [path for path in tmp_path.rglob("*") if ".part" in path.name]

    asyncio.run(work())


# ---- the runtimes


def test_finish_reads_a_body_from_inside_a_blocking_call():
    async def work(runtime):
        source = MemoryRepository(runtime)
        layer = await push(source, b"wasm" * 1000)

        async def read():
            async with aclosing(await source.blob_open(layer.digest)) as body:
                return b"".join([bytes(chunk) async for chunk in body])

        return await runtime.offload(lambda: runtime.finish(read()))

    async def under_a_loop():
        return await work(AsyncioRuntime())

    assert run(work(ThreadRuntime())) == asyncio.run(under_a_loop()) == b"wasm" * 1000


def test_map_in_threads_is_side_by_side_in_order_and_bounded():
    runtime, lock = ThreadRuntime(), threading.Lock()
    together, most, here = threading.Barrier(4, timeout=60), 0, 0

    async def square(number):
        nonlocal most, here
        with lock:
            here += 1
            most = max(most, here)
        if number < 4:
            together.wait()
        with lock:
            here -= 1
        return number * number

    assert run(runtime.map(square, range(50), 4)) == [n * n for n in range(50)]
    assert most == 4


def test_the_first_error_of_a_map_is_raised_alone():
    runtime, done = ThreadRuntime(), []

    async def work(number):
        if number == 3:
            raise StoreUnavailable("simulated")
        done.append(number)

    with pytest.raises(StoreUnavailable):
        run(runtime.map(work, range(10_000), 4))
    assert len(done) < 10_000


def test_a_cancelled_map_begins_nothing_more():
    runtime, done = ThreadRuntime(), []

    async def work(number):
        done.append(number)
        if number == 5:
            runtime.cancel()

    with pytest.raises(Cancelled):
        run(runtime.map(work, range(10_000), 2))
    assert len(done) < 10_000
    with pytest.raises(Cancelled):
        run(runtime.sleep(60))


def test_a_gate_between_threads():
    runtime = ThreadRuntime()
    gate = runtime.gate()

    async def work(number):
        if number == 0:
            await gate.wait()
        else:
            gate.open()
        return number

    assert run(runtime.map(work, [0, 1], 2)) == [0, 1]


# ---- any graph

TEXTS = st.binary(max_size=40)


@st.composite
def graphs(draw):
    """Steps that build a graph: each one may use what those before it have made."""
    steps = []
    for number in range(draw(st.integers(1, 8))):
        kind = draw(st.sampled_from(["image", "image", "index", "referrer"]))
        algorithm = draw(st.sampled_from(["sha256", "sha256", "sha512"]))
        links = draw(st.lists(st.integers(0, 20), max_size=3))
        layers = draw(st.lists(TEXTS, max_size=3))
        tags = draw(st.lists(st.sampled_from(["a", "b", "c.d", "E"]), max_size=2))
        steps.append((number, kind, algorithm, links, layers, tags))
    return steps


async def build(place, steps):
    made = []
    for number, kind, algorithm, links, layers, tags in steps:
        chosen = [made[link % len(made)] for link in links] if made else []
        if kind == "index":
            stored = index(*chosen, annotations={"n": str(number)})
        else:
            subject = {}
            if kind == "referrer" and made:
                at = (chosen or made)[0]
                subject = {
                    "subject": {
                        "mediaType": at.media_type,
                        "digest": str(at.digest),
                        "size": len(at.content),
                    }
                }
            config = await push(place, str(number).encode(), algorithm=algorithm)
            pushed = [await push(place, text, algorithm=algorithm) for text in layers]
            stored = image(config, *pushed, algorithm=algorithm, **subject)
        await place.manifest_put(stored, tags)
        made.append(stored)
    await place.flush()


@given(st.lists(graphs(), min_size=1, max_size=2), st.lists(st.sampled_from(sorted(PLACES)), min_size=2, max_size=4))  # fmt: skip
@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_graph_through_any_places(tmp_path, parts, path):
    """Copied from place to place, with what is there already in each, it stays the same."""

    async def work():
        runtime = ThreadRuntime()
        source, wanted = PLACES[path[0]](tmp_path), memory()
        await build(source, parts[0])
        await build(wanted, parts[0])
        for there in path[1:]:
            target = PLACES[there](tmp_path)
            try:
                await build(target, parts[-1])
                await copy_all(source, target, runtime=runtime, options=Options(referrers=True))
                expected = (await _of(source))["tags"]
                found = (await _of(target))["tags"]
                assert expected.items() <= found.items()
                for tag in expected:
                    assert await _reach(target, tag) == await _reach(source, tag)
            finally:
                await source.aclose()
                source = target
        await source.aclose()

    run(work())


async def _of(place):
    try:
        return await holdings(place)
    except NameUnknown:  # nothing has a tag
        return {"tags": {}, "manifests": {}, "blobs": {}}


async def _reach(place, tag):
    """Every manifest below a tag."""
    found, todo = {}, [(await place.resolve(tag)).digest]
    while todo:
        stored = await place.manifest_get(todo.pop())
        found[stored.digest] = stored
        manifest = parse_manifest(stored.content, stored.media_type)
        todo += [child.digest for child in manifest.manifests]
        for child in (manifest.config, *manifest.layers):
            assert child is None or await place.blob_size(child.digest) == child.size
    return found
