"""The directory store: the suite, and what is its own."""

import asyncio
import contextlib
import os
import time
import uuid

import pytest

from tests.stores.directories import inline, opened
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import (
    PreconditionFailed,
    RangeInvalid,
    StoreUnavailable,
    UploadUnknown,
)
from wasmhold.ports.body import BytesBody
from wasmhold.ports.runtime import Inline, run
from wasmhold.servers.asgi import AsyncioRuntime, SystemRandomness
from wasmhold.stores.directory import paths
from wasmhold.stores.directory.disk import Disk
from wasmhold.stores.directory.files import TooManyLinks
from wasmhold.stores.directory.flock import flock
from wasmhold.stores.directory.native import NativeFiles
from wasmhold.stores.directory.root import enter, leave
from wasmhold.stores.directory.store import DirectoryStore
from wasmhold.testing import store_suite as suite
from wasmhold.testing.covers import covers
from wasmhold.testing.store_suite import CHECKS, check_store


@pytest.mark.parametrize("name", CHECKS)
@covers("BR-010")
def test_suite(name, tmp_path):
    with opened(tmp_path) as store:
        check_store(lambda: store, [name])


class TwoProcesses:
    """Calls go to one store and then to the other, as two workers would take them."""

    def __init__(self, *stores):
        self._stores = stores
        self._next = 0

    def __getattr__(self, name):
        self._next += 1
        return getattr(self._stores[self._next % 2], name)


@pytest.mark.parametrize("name", CHECKS)
@covers("BR-010", "BR-018")
def test_suite_by_two_processes_in_turn(name, tmp_path):
    with opened(tmp_path) as one, opened(tmp_path) as two:
        check_store(lambda: TwoProcesses(one, two), [name])


@contextlib.contextmanager
def under_a_loop(folder):
    runtime = AsyncioRuntime()
    files = NativeFiles(str(folder), runtime, locks=flock)
    entering = NativeFiles(str(folder), inline(), locks=flock)
    root = run(enter(entering, SystemRandomness()))
    yield DirectoryStore(files, runtime, SystemRandomness(), root)
    run(leave(entering, root))
    files.close()
    entering.close()


# ---- the root


def test_a_format_that_is_not_known_is_refused(tmp_path):
    with opened(tmp_path):
        pass
    (tmp_path / paths.FORMAT).write_text('{"format": 2}\n')
    with pytest.raises(StoreUnavailable, match="format 2, this version knows 1"), opened(tmp_path):
        pass


def test_who_has_it_alone_keeps_others_out(tmp_path):
    files = NativeFiles(str(tmp_path), inline(), locks=flock)
    with opened(tmp_path), opened(tmp_path):  # many at once
        assert run(files.lock(paths.IN_USE, exclusive=True, wait=False)) is None
    alone = run(files.lock(paths.IN_USE, exclusive=True, wait=False))
    with pytest.raises(StoreUnavailable, match="alone"), opened(tmp_path):
        pass
    run(files.unlock(alone))
    with opened(tmp_path):
        pass
    files.close()


@covers("BR-079")
@pytest.mark.parametrize("upkeep", ["collect", "maintain"])
def test_what_a_dead_process_left_is_removed(upkeep, tmp_path):
    dead = tmp_path / paths.TMP / "dead"
    with opened(tmp_path) as store:
        dead.mkdir()
        (dead / "lock").write_bytes(b"")
        (dead / "half").write_bytes(b"x")
        with opened(tmp_path):  # who lives keeps its own
            run(store.collect(3600) if upkeep == "collect" else store.maintain())
            assert len(list((tmp_path / paths.TMP).iterdir())) == 2
    assert list((tmp_path / paths.TMP).iterdir()) == []


# ---- what lies there


@covers("BR-018", "BR-075")
def test_what_lies_there(tmp_path):
    with opened(tmp_path) as store:
        digest = run(suite.push_image(store, "foo/blobs", "x", "V1"))
    config = Digest.of(b"config of x")
    folder = tmp_path / paths.repository("foo/blobs").folder
    assert (folder / "oci-layout").read_text() == '{"imageLayoutVersion": "1.0.0"}'
    assert (folder / "blobs/sha256" / config.encoded).read_bytes() == b"config of x"
    pooled = tmp_path / ".wasmhold/pool/sha256" / config.encoded[:2] / config.encoded
    assert pooled.stat().st_nlink == 2
    assert os.readlink(folder / ".wasmhold/tags/=v1") == paths.write_short(digest)
    media_type = os.readlink(folder / f".wasmhold/manifests/{digest}")
    assert media_type == "application/vnd.oci.image.manifest.v1+json"


def test_repositories_share_what_they_hold(tmp_path):
    digest = Digest.of(b"shared")
    with opened(tmp_path) as one:
        run(suite.push(one, "a", b"shared"))
        run(suite.push(one, "b", b"shared"))
    with opened(tmp_path) as two:  # who has not verified the copy reads it once
        run(suite.push(two, "c", b"shared"))
        run(two.blob_mount("d", digest, None))
    files = [tmp_path / paths.repository(name).blob(digest) for name in "abcd"]
    assert len({file.stat().st_ino for file in files}) == 1
    assert files[0].stat().st_nlink == 5


@covers("BR-026", "BR-077")
def test_pushing_again_mends(tmp_path):
    digest = Digest.of(b"right")
    with opened(tmp_path) as store:
        run(suite.push(store, "a", b"right"))
    (tmp_path / paths.pool(digest)).write_bytes(b"wrong")  # the same file has both names
    with opened(tmp_path) as store:
        run(suite.push(store, "a", b"right"))
        assert run(suite.pull(store, "a", digest)) == b"right"
        run(store.blob_mount("b", digest, None))
        assert run(suite.pull(store, "b", digest)) == b"right"


def test_pushing_a_manifest_again_mends(tmp_path):
    with opened(tmp_path) as store:
        digest = run(suite.push_image(store, "a", "x", "t"))
        stored = run(store.manifest_get("a", digest))
    (tmp_path / paths.repository("a").blob(digest)).write_bytes(b"wrong")
    with opened(tmp_path) as store:
        with pytest.raises(Exception, match="damaged: push it again"):
            run(store.manifest_get("a", digest))
        rounds = run(suite.collect(store))  # what it refers to nobody knows
        assert sum(found.removed for found in rounds) == 0
        assert run(suite.push_image(store, "a", "x", "t")) == digest
        assert run(store.manifest_get("a", digest)) == stored


def test_a_file_that_gets_no_further_name_is_copied(tmp_path):
    class Limited:
        def __init__(self, files):
            self._files = files

        def __getattr__(self, name):
            return getattr(self._files, name)

        async def link(self, path, to):
            found = await self._files.stat(path)
            # As the kernel does, a name that is there comes first.
            if found is not None and found.links >= 4 and await self._files.stat(to) is None:
                raise TooManyLinks(path)
            await self._files.link(path, to)

    native = NativeFiles(str(tmp_path), inline(), locks=flock, durable=False)
    with opened(tmp_path, files=Limited(native)) as store:
        digest = run(suite.push(store, "a", b"shared"))
        for i in range(9):
            assert run(store.blob_mount(f"r{i}", digest, "a" if i % 2 else None)) == 6
        for _ in range(2):  # the second time each has a name, of some copy
            for i in range(9):
                run(suite.push(store, f"s{i}", b"shared"))
        for name in ["a", *(f"{kind}{i}" for i in range(9) for kind in "rs")]:
            assert run(suite.pull(store, name, digest)) == b"shared"
        run(suite.collect(store))
        assert run(store.blob_mount("x", digest, None)) is None
    native.close()


# ---- sessions


def test_another_process_goes_on_with_a_session(tmp_path):
    content = bytes(range(256)) * 1000
    digest = Digest.of(content)
    with opened(tmp_path) as one, opened(tmp_path) as two:
        session = run(one.upload_open("a", "sha256"))
        run(one.upload_append("a", session, 0, BytesBody(content[:1000])))
        run(two.upload_append("a", session, 1000, BytesBody(content[1000:5000])))
        with pytest.raises(RangeInvalid):
            run(one.upload_append("a", session, 1000, BytesBody(b"x")))
        run(one.upload_commit("a", session, 5000, BytesBody(content[5000:]), digest))
        assert run(two.upload_commit("a", session, 5000, BytesBody(b""), digest)) == len(content)
        assert run(suite.pull(two, "a", digest)) == content


def test_other_bytes_of_the_same_length_are_noticed(tmp_path):
    with opened(tmp_path) as one, opened(tmp_path) as two:
        session = run(one.upload_open("a", "sha256"))
        run(one.upload_append("a", session, 0, BytesBody(b"abc")))
        data = tmp_path / paths.upload(session) / "data"
        os.truncate(data, 0)  # as after a power loss
        run(two.upload_append("a", session, 0, BytesBody(b"xyz")))
        run(one.upload_commit("a", session, 3, BytesBody(b""), Digest.of(b"xyz")))
        assert run(suite.pull(one, "a", Digest.of(b"xyz"))) == b"xyz"


def test_a_session_that_is_no_uuid_reaches_no_file(tmp_path):
    with opened(tmp_path) as store:
        for session in ("..", "../..", "a/b", str(uuid.uuid4()).upper(), ""):
            with pytest.raises(UploadUnknown):
                run(store.upload_status("a", session))


@covers("DS-054")
def test_sessions_end_a_day_after_their_last_byte(tmp_path):
    now = [time.time()]
    runtime = Inline(lambda: now[0], time.sleep)
    with opened(tmp_path, runtime) as store:
        session = run(store.upload_open("a", "sha256"))
        run(store.upload_append("a", session, 0, BytesBody(b"abc")))
        done = run(store.upload_open("a", "sha256"))
        run(store.upload_commit("a", done, 0, BytesBody(b"done"), Digest.of(b"done")))
        half = tmp_path / paths.UPLOADS / str(uuid.uuid4())
        half.mkdir()  # whoever made it died then
        now[0] += 23 * 3600
        run(store.collect(3600))
        assert run(store.upload_status("a", session)) == 3
        now[0] += 2 * 3600
        run(store.collect(3600))
        with pytest.raises(UploadUnknown):
            run(store.upload_status("a", session))
    assert list((tmp_path / paths.UPLOADS).iterdir()) == []
    assert list((tmp_path / paths.COMMITTED).iterdir()) == []


# ---- side by side


@covers("BR-079")
def test_what_is_pushed_again_is_young(tmp_path):
    with opened(tmp_path) as store:
        digest = run(suite.push(store, "a", b"old"))
        time.sleep(0.1)
        before = time.time()
        run(suite.push(store, "a", b"old"))
        run(store.collect(time.time() - before + 0.03))
        assert run(store.blob_stat("a", digest)) == 3


def test_conditional_pushes_by_two_processes(tmp_path):
    """Of all that push a tag that is not there yet, one wins."""

    def absent_only(tag, current):
        if current is not None:
            raise PreconditionFailed(tag, str(current))

    async def main(one, two):
        config = await suite.push(one, "a", b"config")
        won = []

        async def push(number):
            store = (one, two)[number % 2]
            image = suite.image(config, annotations={"number": str(number)})
            try:
                won.append(await suite.put(store, "a", image, "t", guard=absent_only))
            except PreconditionFailed:
                pass

        await asyncio.gather(*[push(number) for number in range(20)])
        assert won == [await one.tag_get("a", "t")]

    with under_a_loop(tmp_path) as one, under_a_loop(tmp_path) as two:
        asyncio.run(main(one, two))


@covers("BR-018", "BR-140")
def test_pushes_deletes_and_collections_side_by_side(tmp_path):
    """Every image that is acknowledged and not deleted is whole at the end."""

    async def main(stores):
        there = {}

        async def push(number):
            store = stores[number % 2]
            for turn in range(6):
                blob = f"blob {turn % 3}".encode()
                name = "ab"[turn % 2]
                for _ in range(20):
                    digest = await suite.push(store, name, blob)
                    image = suite.image(digest, annotations={"x": f"{number} {turn}"})
                    try:
                        pushed = await suite.put(store, name, image, f"t{number}-{turn}")
                        break
                    except suite.ManifestBlobUnknown:  # collected in between: nothing is young
                        pass
                there[name, pushed] = f"t{number}-{turn}"
                if turn % 3 == 2:
                    await store.manifest_delete(name, pushed, suite.allow)
                    del there[name, pushed]

        async def collect():
            for turn in range(10):
                await stores[turn % 2].collect(0)
                await asyncio.sleep(0)

        await asyncio.gather(*[push(number) for number in range(8)], collect())
        for (name, digest), tag in there.items():
            stored = await stores[0].manifest_get(name, digest)
            config = suite.parse_manifest(stored.content).config.digest
            assert await suite.pull(stores[1], name, config)
            assert await stores[1].tag_get(name, tag) == digest
        assert sorted(
            await stores[0].tags("a", "", 1000) + await stores[0].tags("b", "", 1000)
        ) == (sorted(there.values()))

    with under_a_loop(tmp_path) as one, under_a_loop(tmp_path) as two:
        asyncio.run(main((one, two)))


# ---- group commit


class Syncs:
    """Files whose syncs end when they are told to."""

    def __init__(self):
        self.running, self.count = None, 0

    async def sync_folder(self, folder):
        self.count += 1
        self.running = asyncio.get_running_loop().create_future()
        await self.running


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


def test_a_sync_serves_all_who_came_before_it_began():
    async def main():
        files = Syncs()
        disk = Disk(files, AsyncioRuntime(), SystemRandomness(), "tmp")
        first = asyncio.create_task(disk.sync("f"))
        await settle()
        rest = [asyncio.create_task(disk.sync("f")) for _ in range(30)]
        await settle()
        assert files.count == 1
        files.running.set_result(None)
        await settle()
        assert first.done()
        assert not any(task.done() for task in rest)  # it began before they came
        files.running.set_result(None)
        await asyncio.gather(*rest)
        assert files.count == 2

    asyncio.run(main())


def test_a_sync_that_fails_fails_all_whom_it_served():
    async def main():
        files = Syncs()
        disk = Disk(files, AsyncioRuntime(), SystemRandomness(), "tmp")
        first = asyncio.create_task(disk.sync("f"))
        await settle()
        rest = [asyncio.create_task(disk.sync("f")) for _ in range(3)]
        await settle()
        files.running.set_result(None)
        await settle()
        files.running.set_exception(StoreUnavailable("the disk is broken"))
        results = await asyncio.gather(first, *rest, return_exceptions=True)
        assert results[0] is None
        assert all(isinstance(result, StoreUnavailable) for result in results[1:])
        assert files.count == 2
        again = asyncio.create_task(disk.sync("f"))
        await settle()
        files.running.set_result(None)
        await again

    asyncio.run(main())


def test_who_runs_a_sync_may_be_cancelled():
    async def main():
        files = Syncs()
        disk = Disk(files, AsyncioRuntime(), SystemRandomness(), "tmp")
        first = asyncio.create_task(disk.sync("f"))
        await settle()
        rest = [asyncio.create_task(disk.sync("f")) for _ in range(3)]
        await settle()
        first.cancel()
        await settle()
        assert files.count == 2
        files.running.set_result(None)
        await asyncio.gather(*rest)
        assert first.cancelled()

    asyncio.run(main())


# ---- lists


def test_a_list_of_tags_is_never_stale(tmp_path):
    """Within one step of the kernel's clock two changes of a folder look like one."""
    with opened(tmp_path) as one, opened(tmp_path) as two:
        digest = run(suite.push_image(one, "a", "x", "t"))
        known = {"t"}
        for i in range(100):
            stored = run(one.manifest_get("a", digest))
            pushed = stored, suite.parse_manifest(stored.content)
            run(suite.put((one, two)[i % 2], "a", pushed, f"t{i}"))
            known.add(f"t{i}")
            for store in (one, two):
                assert set(run(store.tags("a", "", 1000))) == known
            if i == 50:
                time.sleep(0.05)
