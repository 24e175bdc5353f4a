"""What the processes do."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import DigestMismatch, PreconditionFailed
from wasmhold.ports.body import BytesBody
from wasmhold.testing.store_suite import allow

from .content import BLOBS, MANIFESTS, digest
from .world import collect as collect_once


@dataclass(frozen=True)
class Scenario:
    name: str
    processes: tuple
    setup: object
    deletes: bool = False  # clients delete
    untagged: bool = False  # collections remove untagged manifests
    single: bool = True  # one process writes each tag
    children: frozenset = frozenset()  # manifests that are children


async def upload(store, name, repository="p"):
    session = await store.upload_open(repository, "sha256")
    content = BLOBS[name]
    await store.upload_commit(repository, session, 0, BytesBody(content), Digest.of(content))


def push(manifest, *blobs, tag=None, repository="p", guard=allow, kind="tag"):
    async def process(world, store):
        for blob in blobs:
            await upload(store, blob, repository)
        stored, parsed = MANIFESTS[manifest]
        operations = [world.begin("manifest", repository, str(stored.digest))]
        if tag:
            operations.append(world.begin(kind, repository, tag, stored.digest))
        await store.manifest_put(
            repository, stored, parsed, tags=[tag] if tag else [], guard=guard, sparse=False
        )
        for operation in operations:
            world.acknowledge(operation)

    return process


def in_turn(*processes):
    async def process(world, store):
        for one in processes:
            await one(world, store)

    return process


def blob(name, repository="p"):
    async def process(world, store):
        await upload(store, name, repository)

    return process


async def nothing(world, store):
    await upload(store, "e")  # so that the repository is there
    await collect_once(store, False)


async def collector(world, store):
    await store.collect(0)


async def retainer(world, store):
    await store.collect(0, untagged=True)


def delete(manifest, *, stays=True):
    async def process(world, store):
        operation = world.begin("delete", "p", f"manifests/{digest(manifest)}")
        await store.manifest_delete("p", digest(manifest), allow)
        if stays:
            world.acknowledge(operation)

    return process


def delete_blob(name):
    async def process(world, store):
        await store.blob_delete("p", digest(name))

    return process


def delete_tag(tag):
    async def process(world, store):
        operation = world.begin("delete", "p", f"tags/{tag}")
        await store.tag_delete("p", tag, allow)
        world.acknowledge(operation)

    return process


async def opened(world, store):
    """A session that has all its bytes, for those who come after the setup."""
    world.session = await store.upload_open("p", "sha256")
    await store.upload_append("p", world.session, 0, BytesBody(BLOBS["d"]))
    await nothing(world, store)


async def commit(world, store):
    await store.upload_commit("p", world.session, None, BytesBody(), digest("d"))


async def append(world, store):
    await store.blob_stat("p", digest("e"))  # a call that others see: it begins whenever it likes
    await store.upload_append("p", world.session, None, BytesBody(b"more"))


async def append_to_commit(world, store):
    await store.blob_stat("p", digest("e"))
    with suppress(DigestMismatch):
        await store.upload_commit("p", world.session, None, BytesBody(b"more"), digest("d"))


def mount(name, manifest):
    async def process(world, store):
        if await store.blob_mount("q", digest(name), "p") is not None:
            await push(manifest, repository="q")(world, store)

    return process


def if_none(tag, current):
    if current is not None:
        raise PreconditionFailed(tag, str(current))


# fmt: off
SCENARIOS = [
    Scenario("push a blob, a manifest, a tag", (push("m", "d", tag="t"),), nothing),
    Scenario("move a tag", (push("n", "d", tag="t"),), push("m", "d", tag="t"), single=False),
    Scenario("push and collect", (push("m", "d", tag="t"), collector), nothing),
    Scenario("push over an old blob, collect", (push("m", "d", tag="t"), collector), blob("d")),
    Scenario("refer to an old blob, collect", (push("m"), collector), blob("d")),
    Scenario("two pushes of one blob", (push("m", "d"), push("n", "d")), nothing),
    Scenario("a push by a blob of another", (push("m", "d"), push("n")), nothing),
    Scenario("two collectors, a push", (push("m"), collector, collector), blob("d")),
    Scenario("delete and push and collect", (delete("m"), push("n", tag="t"), collector),
             push("m", "d", tag="t"), deletes=True),
    Scenario("delete and collect", (delete("m"), collector), push("m", "d", tag="t"), deletes=True),
    Scenario("delete and push the same", (delete("m", stays=False), push("m", tag="u")), push("m", "d", tag="t"),
             deletes=True),
    Scenario("tag again, delete and push",
             (in_turn(push("m", tag="t"), push("m", tag="u")),
              in_turn(delete("m", stays=False), push("m"))), push("m", "d"), deletes=True),
    Scenario("push and delete the same", (push("m", tag="u"), delete("m", stays=False)),
             push("m", "d", tag="t"), deletes=True),
    Scenario("two pushes of one blob, collect", (push("m", "d"), collector), push("n", "d")),
    Scenario("tag an old manifest, retention", (push("m", tag="t"), retainer), push("m", "d"),
             untagged=True),
    Scenario("move a tag, retention", (push("n", tag="t"), retainer),
             in_turn(push("m", "d", tag="t"), push("n", tag="u")), untagged=True, single=False),
    Scenario("an index of what is being pushed", (push("m"), push("i")), blob("d"),
             children=frozenset({digest("m")})),
    Scenario("an index of an old manifest, retention", (push("i", tag="t"), retainer),
             push("m", "d"), untagged=True, children=frozenset({digest("m")})),
    Scenario("delete a blob, refer to it", (delete_blob("d"), push("m")), blob("d"), deletes=True),
    Scenario("delete a manifest, then its blob",
             (delete("m"), delete_blob("d")), push("m", "d"), deletes=True),
    Scenario("mount and collect", (mount("d", "m"), collector), in_turn(blob("d"), blob("e", "q"))),
    Scenario("a commit, and an append", (commit, append), opened),
    Scenario("a commit, and another one with more", (commit, append_to_commit), opened),
    Scenario("two conditional pushes",
             (push("m", tag="t", guard=if_none, kind="once"),
              push("n", tag="t", guard=if_none, kind="once")), blob("d"), single=False),
    Scenario("delete a tag, retention", (delete_tag("t"), retainer), push("m", "d", tag="t"),
             deletes=True, untagged=True),
]
# fmt: on
ALL = {scenario.name: scenario for scenario in SCENARIOS}
