"""What the processes do.  Each is small enough for every order, or is walked at random."""

from __future__ import annotations

from dataclasses import dataclass, replace

from wasmhold.oci.errors import ContentDamaged, WasmholdError
from wasmhold.ports.body import BytesBody
from wasmhold.stores.bucket import keys
from wasmhold.stores.bucket.cells import COMMITTING, DOOMED, LIVE, NOTHING, OPEN
from wasmhold.stores.bucket.uploads import Session

from .content import BLOB_DIGESTS, BLOBS, DOCUMENTS
from .invariants import Violation


@dataclass(frozen=True)
class Scenario:
    name: str
    processes: list
    setup: object = None
    untagged: bool = False  # collections remove untagged manifests too
    deletes: bool = False  # clients delete manifests


async def commit(store, repository, session, blob, content=None):
    body = BytesBody(BLOBS[blob] if content is None else content)
    size = await store.upload_commit(repository, session, None, body, BLOB_DIGESTS[blob])
    assert size == len(BLOBS[blob])


async def upload(store, repository, blob):
    session = await store.upload_open(repository, "sha256")
    await commit(store, repository, session, blob)


async def manifest(world, store, repository, name, tags=()):
    document = DOCUMENTS[name]
    operation = world.begin("manifest", repository, name)
    pointed = [world.begin("tag", repository, tag, name) for tag in tags]
    await store.manifest_put(
        repository, document.stored, document.manifest, tags=tags, guard=_allow, sparse=False
    )
    for done in [*pointed, operation]:
        world.acknowledge(done)


def _allow(tag, current):
    return


def push(repository, name, tags=(), tries=1, upload_first=True):
    """A manifest, and before it, or when it is refused, its blobs."""

    async def process(world, store):
        for attempt in range(tries):
            try:
                if upload_first or attempt:
                    for blob in DOCUMENTS[name].blobs:
                        await upload(store, repository, blob)
                return await manifest(world, store, repository, name, tags)
            except WasmholdError:
                pass

    return process


def tag(repository, name, tags):
    return push(repository, name, tags, upload_first=False)


def mount_push(repository, source, name, tags=()):
    async def process(world, store):
        try:
            for blob in DOCUMENTS[name].blobs:
                if await store.blob_mount(repository, BLOB_DIGESTS[blob], source) is None:
                    await upload(store, repository, blob)
            await manifest(world, store, repository, name, tags)
        except WasmholdError:
            pass

    return process


def collector(rounds, untagged=False):
    async def process(world, store):
        for _ in range(rounds):
            await store.collect(0, untagged=untagged)

    return process


def delete(repository, name):
    async def process(world, store):
        operation = world.begin("delete", repository, name)
        try:
            await store.manifest_delete(repository, DOCUMENTS[name].digest, _allow)
            world.acknowledge(operation)
        except WasmholdError:
            pass

    return process


def delete_blob(repository, blob):
    async def process(world, store):
        try:
            await store.blob_delete(repository, BLOB_DIGESTS[blob])
        except WasmholdError:
            pass

    return process


def chain(*processes):
    async def process(world, store):
        for step in processes:
            await step(world, store)

    return process


def blob(repository, name="d"):
    async def process(world, store):
        await upload(store, repository, name)

    return process


async def open_session(world, store):
    """A session with all its bytes, the last one without."""
    world.box = await store.upload_open("p", "sha256")
    await store.upload_append("p", world.box, 0, BytesBody(BLOBS["d"][:3]))


async def commit_session(world, store):
    """The final PUT of that session, at this replica; then the manifest."""
    try:
        await commit(store, "p", world.box, "d", BLOBS["d"][3:])
        await manifest(world, store, "p", "m")
    except WasmholdError:
        pass


async def commit_again(world, store):
    """A client that does not hear the answer, and asks again."""
    for _ in range(2):
        try:
            await commit(store, "p", world.box, "d", BLOBS["d"][3:])
        except WasmholdError:
            pass


async def cancel_session(world, store):
    try:
        await store.upload_cancel("p", world.box)
    except WasmholdError:
        pass


async def append_rest(world, store):
    try:
        await store.upload_append("p", world.box, 3, BytesBody(BLOBS["d"][3:]))
    except WasmholdError:
        pass


async def commit_rest(world, store):
    """What a client does whose upload broke off."""
    try:
        held = await store.upload_status("p", world.box)
        body = BytesBody(BLOBS["d"][held:])
        await store.upload_commit("p", world.box, held, body, BLOB_DIGESTS["d"])
    except ContentDamaged as damaged:
        raise Violation("a session names bytes that were removed") from damaged
    except WasmholdError:
        pass


async def half_committed(world, store):
    """A session whose committer died before it made the blob."""
    await open_session(world, store)
    cells, key = store._cells, keys.upload(world.box)
    await append_rest(world, store)
    cell = await cells.read(key)
    session = replace(Session.parse(cell.payload), digest=str(BLOB_DIGESTS["d"]))
    await cells.write(key, cell, COMMITTING, str(session))


def doom(key):
    """The last step of a collector that listed the references before there was any."""

    async def process(world, store):
        cell = await store._cells.read(key)
        if cell.state == LIVE:
            await store._cells.rewrite(key, cell, DOOMED)

    return process


doom_blob = doom(keys.blob(BLOB_DIGESTS["d"]))
doom_manifest = doom(keys.manifest("p", DOCUMENTS["m"].digest))


async def strays(world, store):
    """Bytes of sessions that are gone, and a session that is the last of all."""
    for session in ("00000000", "00000001", "fffffffe"):
        world.store[keys.data(session, "part")] = b"stray"
    await store._cells.write(keys.upload("ffffffff"), NOTHING, OPEN, str(Session("p", "sha256")))


async def append_wrong(world, store):
    try:
        await store.upload_append("p", world.box, None, BytesBody(b"other bytes"))
    except WasmholdError:
        pass


_tagged = chain(blob("p"), tag("p", "m", ["t"]))

SMALL = [
    Scenario("push and collect", [push("p", "m"), collector(3)]),
    Scenario("reuse an old blob and collect",
             [push("p", "m", tries=2, upload_first=False), collector(2)], blob("p")),
    Scenario("upload what is being collected", [push("p", "m"), collector(2)],
             chain(blob("p"), collector(1))),
    Scenario("mount and collect", [mount_push("q", "p", "m"), collector(2)], blob("p")),
    Scenario("mount at the last moment", [mount_push("q", "p", "m"), collector(4)],
             chain(blob("p"), collector(1))),
    Scenario("mount from anywhere", [mount_push("q", None, "m"), collector(3)],
             chain(blob("p"), collector(1))),
    Scenario("two push one blob", [push("p", "m"), push("p", "n")]),
    Scenario("two push one manifest", [tag("p", "m", ["t"]), tag("p", "m", ["t"])], blob("p")),
    Scenario("two replicas, one final PUT", [commit_session, commit_session], open_session),
    Scenario("final PUT and collect", [commit_session, collector(2)], open_session),
    Scenario("final PUT, asked twice", [commit_again, collector(2)],
             chain(blob("q"), open_session)),
    Scenario("final PUT and cancel", [commit_session, cancel_session], open_session),
    Scenario("final PUT and other bytes", [commit_session, append_wrong], open_session),
    Scenario("two tags race", [tag("p", "m", ["t"]), tag("p", "n", ["t"])], blob("p")),
    Scenario("retag and remove untagged", [tag("p", "n", ["t"]), collector(3, untagged=True)],
             chain(blob("p"), tag("p", "m", ["t"]), tag("p", "n", ["s"]), tag("p", "m", ["s"])),
             untagged=True),
    Scenario("index and remove untagged", [tag("p", "i", ["t"]), collector(2, untagged=True)],
             chain(blob("p"), tag("p", "m", [])), untagged=True),
    Scenario("subject and remove untagged", [push("p", "s", tries=2), collector(3, untagged=True)],
             chain(blob("p"), tag("p", "s", [])), untagged=True),
    Scenario("delete, push again, collect",
             [push("p", "m", ["t"], tries=2, upload_first=False), collector(2)],
             chain(_tagged, delete("p", "m")), deletes=True),
    Scenario("delete and push a referrer",
             [push("p", "s", tries=2, upload_first=False), delete("p", "s")],
             chain(blob("p"), tag("p", "s", [])), deletes=True),
    Scenario("delete a repository's last manifest, push again, collect",
             [push("p", "n", tries=2, upload_first=False), collector(2)],
             chain(_tagged, delete("p", "m")), deletes=True),
    Scenario("a delete, and a push by digest", [delete("p", "m"), tag("p", "m", [])], _tagged,
             deletes=True),
    Scenario("an empty repository comes back", [tag("p", "z", ["t"]), collector(2)],
             chain(tag("p", "z", []), delete("p", "z")), deletes=True),
    Scenario("tag the only manifest, remove untagged",
             [tag("p", "z", ["t"]), collector(3, untagged=True)], tag("p", "z", []), untagged=True),
    Scenario("a commit left half way", [commit_again, collector(2)], half_committed),
    Scenario("append, and go on elsewhere", [append_rest, commit_rest], open_session),
    Scenario("delete a blob and push", [push("p", "m", tries=2, upload_first=False),
                                        delete_blob("p", "d")], blob("p")),
    Scenario("a link is doomed for a moment", [delete_blob("p", "d"), collector(1)],
             chain(push("p", "m"), doom_blob)),
    Scenario("a blob is doomed at a bad moment",
             [mount_push("q", None, "m"), collector(1), doom_blob],
             chain(blob("p"), delete_blob("p", "d"))),
    Scenario("a manifest is doomed at a bad moment",
             [tag("p", "i", ["t"]), collector(1, untagged=True), doom_manifest],
             chain(blob("p"), tag("p", "n", []), tag("p", "m", [])), untagged=True),
    Scenario("bytes without a session", [push("p", "m"), collector(1)], strays),
    Scenario("delete a blob, twice, and mount",
             [mount_push("p", "q", "m"), delete_blob("p", "d"), delete_blob("p", "d")],
             chain(blob("p"), blob("q"))),
    Scenario("two collectors and a push", [tag("p", "m", []), collector(1), collector(1)],
             chain(blob("p"), collector(1))),
]  # fmt: skip

LARGE = [
    Scenario("w1: two repositories, two collectors",
             [push("p", "m", ["t"], 3), mount_push("q", "p", "n", ["t"]), collector(4),
              collector(3)], blob("p")),
    Scenario("w2: one tag, untagged are removed",
             [chain(tag("p", "m", ["t"]), tag("p", "n", ["t"])), tag("p", "m", ["t", "s"]),
              collector(4, untagged=True), collector(2, untagged=True)],
             chain(blob("p"), tag("p", "n", ["s"])), untagged=True),
    Scenario("w3: push, delete, push again",
             [push("p", "m", ["t"], 3), delete("p", "m"), push("p", "m", (), 2), collector(4)],
             _tagged, deletes=True),
    Scenario("w4: same blob from three sides",
             [push("p", "m", (), 2), push("q", "m", (), 2), commit_session, collector(5)],
             open_session),
    Scenario("w5: indexes",
             [push("p", "i", ["t"], 2), tag("p", "m", ["s"]), tag("p", "n", ["s"]),
              collector(4, untagged=True)], chain(blob("p"), tag("p", "m", [])), untagged=True),
    Scenario("w6: referrers come and go",
             [push("p", "s", ["t"], 3), delete("p", "s"), push("p", "s", (), 2),
              collector(4, untagged=True)],
             chain(blob("p"), tag("p", "s", [])), untagged=True, deletes=True),
    Scenario("w7: blobs are deleted",
             [push("p", "w", ["t"], 3), mount_push("q", "p", "m"), delete_blob("p", "d"),
              delete_blob("q", "d"), collector(4)], chain(blob("p"), blob("p", "e"))),
    Scenario("w8: sessions",
             [commit_again, commit_session, cancel_session, append_wrong, collector(4)],
             open_session),
]  # fmt: skip

ALL = {scenario.name: scenario for scenario in [*SMALL, *LARGE]}
