"""A cache in a folder: what it is, what others have done to it, and what breaks in it."""

import errno
import gzip
import json
import multiprocessing
import os
import shutil
import signal
import sqlite3
import stat
import threading
from contextlib import aclosing, closing
from pathlib import Path

import pytest

import wasmhold
from tests.client.caches.test_caches import Clock
from wasmhold import sync
from wasmhold.client.caches.blob_cache import BlobCache
from wasmhold.client.caches.format import MARKER, CacheFormatError
from wasmhold.client.caches.port import RecordKey
from wasmhold.client.caches.records import record_path
from wasmhold.client.runtime import ThreadRuntime
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import (
    BlobUnknown,
    Cancelled,
    Denied,
    DigestMismatch,
    OutOfSpace,
    SizeInvalid,
    StoreUnavailable,
    WasmholdError,
)
from wasmhold.ports.runtime import run
from wasmhold.testing.cache_suite import keep, read, record
from wasmhold.testing.covers import covers
from wasmhold.testing.repository_suite import Source, descriptor_of, image


def opened(folder, **more):
    return BlobCache.open(folder, **more).engine(ThreadRuntime())


def blob_file(folder, content):
    return Path(folder) / "blobs" / "sha256" / Digest.of(content).encoded


def tree(folder):
    """What lies there: kinds, modes and bytes."""
    found = {}
    for path in sorted(Path(folder).rglob("*")) if Path(folder).is_dir() else [Path(folder)]:
        mode = path.lstat().st_mode
        content = path.read_bytes() if stat.S_ISREG(mode) else None
        found[str(path)] = (mode, content)
    return found


# ---- what it is


@covers("ZL-530", "ZL-532", "ZL-511")
@pytest.mark.parametrize(
    "name",
    [
        "cache.redb",
        "a/b/c",
        "with space",
        "what?",
        "a%41.db",
        "x#y",
        "é",
        "n" * 255,
        "\udcff",
        "-c",
    ],
)
def test_a_folder_of_any_name(name, tmp_path):
    folder = tmp_path / name
    run(keep(opened(folder), b"kept"))
    assert run(read(opened(str(folder)), Digest.of(b"kept"))) == b"kept"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (
        (folder / "CACHEDIR.TAG")
        .read_bytes()
        .startswith(b"Signature: 8a477f597d28d172789f06886806bc55\n")
    )
    assert json.loads((folder / MARKER).read_bytes()) == {"format": 1}
    assert os.listdir(tmp_path) == [name.split("/")[0]]


@covers("ZL-530", "ZL-511")
def test_it_is_opened_without_an_event_loop_and_outlives_the_process(tmp_path):
    child = multiprocessing.get_context("fork").Process(
        target=lambda: sync.BlobCache.open(tmp_path / "c").put(b"of another process")
    )
    child.start()
    child.join()
    cache = sync.BlobCache.open(tmp_path / "c")
    assert cache.get(Digest.of(b"of another process")) == b"of another process"


def sqlite_file(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table blobs(digest text primary key, data blob)")
        connection.commit()


def marked(text):
    def make(path):
        path.mkdir()
        (path / MARKER).write_text(text)

    return make


def folder_with(*names):
    def make(path):
        path.mkdir()
        for name in names:
            (path / name).write_text("x")

    return make


FOREIGN = {
    "redb": (
        lambda path: path.write_bytes(b"redb\x1a\x0a\xa9\x0d\x0a" + bytes(500)),
        "a redb database",
    ),
    "SQLite": (sqlite_file, "an SQLite database"),
    "a file": (lambda path: path.write_bytes(gzip.compress(b"x")), "is a file, no folder"),
    "an empty file": (lambda path: path.touch(), "is a file"),
    "a pipe": (os.mkfifo, "is a file"),
    "a layout": (folder_with("oci-layout", "index.json"), "is an image layout"),
    "a store": (folder_with(".wasmhold", "demo"), "is a registry's directory"),
    "their folder": (folder_with("blobs.sqlite"), "holds other files, such as blobs.sqlite"),
    "another format": (marked('{"format": 2}'), "is a cache of format 2, this program knows 1"),
    "no format": (marked("{}"), "is a cache of format None"),
    "no JSON": (marked("{"), f"has a {MARKER} that cannot be read"),
    "a large marker": (marked(" " * (5 << 20)), "cannot be read"),
}


@covers("ZL-002")
@pytest.mark.parametrize("kind", FOREIGN)
def test_what_is_something_else_is_named_and_let_be(kind, tmp_path):
    make, said = FOREIGN[kind]
    make(tmp_path / "here")
    before = tree(tmp_path)
    with pytest.raises(CacheFormatError) as caught:
        BlobCache.open(tmp_path / "here")
    assert said in str(caught.value)
    assert str(tmp_path / "here") in str(caught.value)
    assert tree(tmp_path) == before


def test_a_link_to_a_cache_is_one(tmp_path):
    run(keep(opened(tmp_path / "c"), b"kept"))
    (tmp_path / "link").symlink_to(tmp_path / "c")
    assert run(read(opened(tmp_path / "link"), Digest.of(b"kept"))) == b"kept"


def test_many_make_one_at_the_same_time(tmp_path):
    async def one(number):
        return await keep(opened(tmp_path / str(number // 8)), b"kept")

    descriptors = run(ThreadRuntime().map(one, range(160), 8))
    assert set(descriptors) == {descriptor_of(b"kept")}


# ---- what others have done to it


def other_bytes(path):
    path.write_bytes(b"y" * path.stat().st_size)


def keep_times(damage):
    """Damage that an equal size and equal times hide."""

    def hidden(path):
        before = path.stat()
        damage(path)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    return hidden


def replace_by(make):
    def replaced(path):
        path.unlink()
        make(path)

    return replaced


DAMAGE = {
    "other bytes": other_bytes,
    "the same times": keep_times(other_bytes),
    "cut": lambda path: os.truncate(path, 10),
    "empty": lambda path: os.truncate(path, 0),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "one bit": lambda path: path.write_bytes(
        bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:]
    ),
    "gone": os.unlink,
    "a link": replace_by(lambda path: path.symlink_to("/etc/hostname")),
    "a link to nothing": replace_by(lambda path: path.symlink_to("nothing")),
    "a pipe": replace_by(os.mkfifo),
}


@covers("ZL-505")
@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("anew", [True, False])
def test_a_damaged_blob_is_a_miss(anew, kind, tmp_path):
    """Also for who has found it right before."""

    async def work():
        content, cache = b"x" * 5000, opened(tmp_path / "c")
        await keep(cache, content)
        assert await read(cache, Digest.of(content)) == content
        DAMAGE[kind](blob_file(tmp_path / "c", content))
        cache = opened(tmp_path / "c") if anew else cache
        with pytest.raises(BlobUnknown):
            await cache.blob_open(Digest.of(content), 7)
        assert kind == "gone" or not os.listdir(blob_file(tmp_path / "c", content).parent)
        await keep(cache, content)
        assert await read(cache, Digest.of(content)) == content

    run(work())


@covers("ZL-505")
@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_manifest_is_a_miss(kind, tmp_path):
    async def work():
        stored, cache = image(descriptor_of(b"config")), opened(tmp_path / "c")
        await cache.manifest_put(stored)
        DAMAGE[kind](tmp_path / "c" / "manifests" / "sha256" / stored.digest.encoded)
        assert await cache.manifest_get(stored.digest) is None
        await cache.manifest_put(stored)
        assert await cache.manifest_get(stored.digest) == stored

    run(work())


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "{}", '{"host":"h","name":"n","tag":"t"}', "x" * (2 << 20),
        '{"host":"h","name":"n","tag":"other","top":{"mediaType":"a/b","digest":"sha256:'
        + "a" * 64 + '","size":1},"original":"","fetched":1}',
        '{"host":"h","name":"n","tag":"t","top":{"mediaType":"a/b","digest":"sha256:../../x",'
        '"size":1},"original":"","fetched":1}',
    ],
)  # fmt: skip
def test_a_damaged_record_is_a_miss(text, tmp_path):
    async def work():
        one, cache = record("h", "n", "t"), opened(tmp_path / "c")
        await cache.record_put(one)
        (tmp_path / "c" / record_path(one.key)).write_text(text)
        assert await cache.record_get(one.key) is None
        assert [found async for found in cache.records()] == []
        await cache.record_put(one)
        assert await cache.record_get(one.key) == one

    run(work())


@pytest.mark.parametrize("name", ["blobs", "manifests", "refs", "tmp", "blobs/sha256", "."])
def test_any_folder_may_be_removed_at_any_time(name, tmp_path):
    async def work():
        cache = opened(tmp_path / "c")
        for _ in range(2):
            await keep(cache, b"kept")
            stored, one = image(descriptor_of(b"config")), record("h", "n", "t")
            await cache.manifest_put(stored)
            await cache.record_put(one)
            assert await read(cache, Digest.of(b"kept")) == b"kept"
            assert await cache.record_get(one.key) == one
            shutil.rmtree(tmp_path / "c" / name, ignore_errors=True)
            is_gone = name in ("blobs", "blobs/sha256", ".")
            assert [kept.size async for kept in cache.blobs()] == ([] if is_gone else [4])
        BlobCache.open(tmp_path / "c")

    run(work())


def test_strange_files_are_let_be(tmp_path):
    async def work():
        cache = opened(tmp_path / "c", max_size=10)
        await keep(cache, b"kept")
        for name in ("blobs/sha256/notes.txt", "blobs/x", "manifests/sha256/A", "refs/x"):
            path = tmp_path / "c" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("strange")
        await keep(cache, b"123456789")
        assert [kept.size async for kept in cache.blobs()] == [9]
        assert [found async for found in cache.records()] == []

    run(work())
    assert (tmp_path / "c" / "blobs" / "sha256" / "notes.txt").read_text() == "strange"


@covers("ZL-504")
def test_no_name_leads_out_of_the_folder(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.json").write_text("untouched")
    before = tree(outside)

    async def work():
        cache = opened(tmp_path / "c" / "d")
        for part in (
            "../../outside",
            "../../../outside/x",
            "..",
            "/",
            str(outside),
            "\0",
            "a\\..\\b",
        ):
            for key in (
                RecordKey(part, "n", "t"),
                RecordKey("h", part, "t"),
                RecordKey("h", "n", part),
            ):
                await cache.record_put(record(key.host, key.name, key.tag))
                await cache.record_delete(key)
                path = (tmp_path / "c" / "d" / record_path(key)).resolve()
                assert path.is_relative_to(tmp_path / "c" / "d" / "refs")

    run(work())
    assert tree(outside) == before
    assert sorted(os.listdir(tmp_path)) == ["c", "outside"]


def test_who_may_not_write_reads(tmp_path, monkeypatch):
    """A cache that somebody else has made: nothing is noted, and nothing is kept."""
    run(keep(opened(tmp_path / "c"), b"kept"))

    def refuse(*arguments, **more):
        raise PermissionError(errno.EACCES, "Permission denied")

    for call in ("utime", "mkdir", "replace", "unlink"):
        monkeypatch.setattr(os, call, refuse)
    runtime = Clock()
    cache = BlobCache.open(tmp_path / "c").engine(runtime)
    assert run(read(cache, Digest.of(b"kept"))) == b"kept"
    with pytest.raises(Denied, match="Permission denied"):
        run(keep(cache, b"new"))


# ---- one flight, and what is left of a broken one


@covers("ZL-537")
def test_the_next_one_goes_on_behind_the_bytes_that_are_there(tmp_path):
    content = bytes(range(256)) * 5000

    async def work():
        cache, descriptor = opened(tmp_path / "c"), descriptor_of(content)
        broken = Source(content[:1_000_000], error=StoreUnavailable("simulated"))
        with pytest.raises(StoreUnavailable):
            await cache.blob_put(descriptor, broken)
        left = list((tmp_path / "c" / "tmp").iterdir())
        assert [path.stat().st_size for path in left] == [1_000_000]
        starts = []

        class Rest(Source):
            async def open(self, start):
                starts.append(start)
                return await super().open(start)

        await opened(tmp_path / "c").blob_put(descriptor, Rest(content))
        assert starts == [1_000_000]
        assert await read(cache, descriptor.digest) == content
        assert os.listdir(tmp_path / "c" / "tmp") == []

    run(work())


LEFT = {
    "right": (lambda content: content[:500], [500]),
    "all of it": (lambda content: content, []),
    "all of it, wrong": (lambda content: b"y" * len(content), [0]),
    "wrong": (lambda content: b"y" * 500, [500, 0]),
    "zeros of a power loss": (lambda content: bytes(500), [500, 0]),
    "too much": (lambda content: content + b"x", [0]),
    "nothing": (lambda content: b"", [0]),
}


@covers("ZL-537")
@pytest.mark.parametrize("kind", LEFT)
def test_whatever_a_dead_writer_left(kind, tmp_path):
    content = b"x" * 1000
    left, wanted = LEFT[kind]
    starts = []

    class Heard(Source):
        async def open(self, start):
            starts.append(start)
            return await super().open(start)

    async def work():
        cache, descriptor = opened(tmp_path / "c"), descriptor_of(content)
        (tmp_path / "c" / "tmp").mkdir()
        name = f"{descriptor.digest.algorithm}-{descriptor.digest.encoded}"
        (tmp_path / "c" / "tmp" / name).write_bytes(left(content))
        await cache.blob_put(descriptor, Heard(content))
        assert await read(cache, descriptor.digest) == content
        assert os.listdir(tmp_path / "c" / "tmp") == []

    run(work())
    assert starts == wanted


@covers("ZL-537")
def test_what_nobody_goes_on_with_is_removed_after_an_hour(tmp_path):
    async def work():
        runtime = Clock()
        handle = BlobCache.open(tmp_path / "c")
        left = tmp_path / "c" / "tmp"
        left.mkdir()
        for name, age in (("young", 3599), ("old", 3601), ("older", 1e8)):
            (left / name).write_text("x")
            os.utime(left / name, (runtime.time_s - age,) * 2)
        (left / "link").symlink_to("/etc/hostname")
        os.utime(left / "link", (0, 0), follow_symlinks=False)
        await keep(handle.engine(runtime), b"new")
        return sorted(os.listdir(left))

    assert run(work()) == ["young"]


def test_a_descriptor_that_lies_about_the_size_of_what_is_there(tmp_path):
    async def work():
        cache, right = opened(tmp_path / "c"), descriptor_of(b"x" * 100)
        await keep(cache, b"x" * 100)
        lie = type(right)(right.media_type, right.digest, 99)
        source = Source(b"x" * 99)
        with pytest.raises(SizeInvalid):
            await cache.blob_put(lie, source)
        assert source.opened == []
        assert await read(cache, right.digest) == b"x" * 100
        os.truncate(blob_file(tmp_path / "c", b"x" * 100), 5)
        await cache.blob_put(right, Source(b"x" * 100))
        assert await read(cache, right.digest) == b"x" * 100

    run(work())


def test_who_waits_for_a_turn_can_be_cancelled(tmp_path):
    """And a blob that was verified halfway is let go of."""
    content = b"x" * 1000
    runtime, started, ends = ThreadRuntime(), threading.Event(), threading.Event()
    handle = BlobCache.open(tmp_path / "c")

    class Slow(Source):
        async def open(self, start):
            started.set()
            ends.wait()
            return await super().open(start)

    first = threading.Thread(
        target=lambda: run(
            handle.engine(ThreadRuntime()).blob_put(descriptor_of(content), Slow(content))
        )
    )
    first.start()
    started.wait()
    threading.Timer(0.05, runtime.cancel).start()
    with pytest.raises(Cancelled):
        run(handle.engine(runtime).blob_put(descriptor_of(content), Source(content)))
    ends.set()
    first.join()
    assert run(read(handle.engine(ThreadRuntime()), Digest.of(content))) == content
    with pytest.raises(Cancelled):
        run(read(BlobCache.open(tmp_path / "c").engine(runtime), Digest.of(content)))


# ---- every call of the system breaks in turn

CALLS = [
    "open",
    "write",
    "replace",
    "mkdir",
    "makedirs",
    "link",
    "unlink",
    "fsync",
    "ftruncate",
    "utime",
]
CALLS += ["lseek", "pread", "scandir"]
CONTENT = {number: bytes([number]) * (40 + number) for number in range(4)}
LIMIT = 2000


async def scene(folder):
    """All that writes: a new cache, blobs until some go, one that goes on, manifests, records."""
    cache = opened(folder, max_size=LIMIT)
    broken = Source(b"half" * 50, error=StoreUnavailable("simulated"))
    with pytest.raises(StoreUnavailable):
        await cache.blob_put(descriptor_of(b"half" * 100), broken)
    await keep(cache, b"half" * 100)
    stored = image(descriptor_of(b"half" * 100))
    await cache.manifest_put(stored)
    await cache.record_put(record("h", "a/b", "1"))
    for number in range(3):
        await keep(cache, bytes([number]) * 600)
    await read(cache, Digest.of(bytes([2]) * 600))
    await cache.record_delete(record("h", "a/b", "1").key)
    await cache.blob_delete(Digest.of(bytes([2]) * 600))


async def all_is_right(folder):
    """What is there is right, and what a later run does it does."""
    cache = opened(folder, max_size=LIMIT)
    for kept in [kept async for kept in cache.blobs()]:
        assert Digest.of(await read(cache, kept.digest)) == kept.digest
    for kept in [kept async for kept in cache.manifests()]:
        assert await cache.manifest_get(kept.digest) is not None
    for number in range(3):
        await keep(cache, bytes([number]) * 600)
        assert await read(cache, Digest.of(bytes([number]) * 600)) == bytes([number]) * 600
    await keep(cache, b"half" * 100)
    await keep(cache, b"of a later run")
    assert sum([kept.size async for kept in cache.blobs()]) <= LIMIT
    assert os.listdir(f"{folder}/tmp") == []
    assert not [name for name in os.listdir(folder) if name.endswith(".part")]


class Breaking:
    """The calls of `os`, without those that open a file to read it, of which one breaks."""

    def __init__(self, monkeypatch, at=None, how=None):
        self.count, self._at, self._how = 0, at, how
        for name in CALLS:
            monkeypatch.setattr(os, name, self._wrapped(getattr(os, name)))

    def _wrapped(self, call):
        def counted(*arguments, **more):
            if call.__name__ == "open" and not arguments[1] & os.O_CREAT:
                return call(*arguments, **more)
            self.count += 1
            if self.count == self._at:
                return self._how(call, arguments, more)
            return call(*arguments, **more)

        return counted


def failing(number, late=False):
    def fail(call, arguments, more):
        done = call(*arguments, **more) if late else None
        if call.__name__ == "open" and late:
            os.close(done)
        elif call.__name__ == "scandir" and late:
            done.close()
        raise OSError(number, os.strerror(number))

    return fail


def writing_less(call, arguments, more):
    if call.__name__ == "write":
        return call(arguments[0], arguments[1][:1])
    return call(*arguments, **more)


def dying(call, arguments, more):
    os.kill(os.getpid(), signal.SIGKILL)


FAULTS = {
    "disk full": failing(errno.ENOSPC),
    "EIO": failing(errno.EIO),
    "EIO, and done": failing(errno.EIO, late=True),
    "a short write": writing_less,
}


def calls_of_a_scene(tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        counting = Breaking(patch)
        run(scene(tmp_path / "counted"))
    assert counting.count > 50
    return counting.count


@covers("ZL-537", "ZL-009")
@pytest.mark.parametrize("fault", FAULTS)
def test_each_call_may_break(fault, tmp_path):
    for at in range(1, calls_of_a_scene(tmp_path) + 1):
        folder = tmp_path / str(at)
        with pytest.MonkeyPatch.context() as patch:
            Breaking(patch, at, FAULTS[fault])
            try:
                run(scene(folder))
            except WasmholdError:
                pass
        run(all_is_right(folder))
        shutil.rmtree(folder)


@covers("ZL-537")
def test_each_call_may_be_the_last(tmp_path):
    """``kill -9`` before any of them."""
    context = multiprocessing.get_context("fork")

    def child(at):
        with pytest.MonkeyPatch.context() as patch:
            Breaking(patch, at, dying)
            run(scene(tmp_path / str(at)))

    for at in range(1, calls_of_a_scene(tmp_path) + 1):
        process = context.Process(target=child, args=(at,))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        run(all_is_right(tmp_path / str(at)))


def test_a_full_disk_gives_back_what_was_begun(tmp_path):
    async def work():
        cache = opened(tmp_path / "c")
        with pytest.MonkeyPatch.context() as patch:
            writes = []

            def full(descriptor, content):
                writes.append(len(content))
                raise OSError(errno.ENOSPC, "No space left on device")

            patch.setattr(os, "write", full)
            with pytest.raises(OutOfSpace, match="no space is left"):
                await keep(cache, b"x" * 1000)
        assert writes == [1000]
        assert os.listdir(tmp_path / "c" / "tmp") == []

    run(work())


def test_a_disk_that_is_smaller_than_the_limit(tmp_path):
    """What was used longest ago goes, as much as the new blob needs, and its source is read once."""
    room = [2500]

    def write(descriptor, content):
        kept = sum(path.stat().st_size for path in (tmp_path / "c").rglob("*") if path.is_file())
        if kept + len(content) > room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, content)

    async def work():
        runtime = Clock()
        cache = BlobCache.open(tmp_path / "c").engine(runtime)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "write", write)
            for number in range(5):
                runtime.time_s += 100
                source = Source(bytes([number]) * 700)
                await cache.blob_put(descriptor_of(bytes([number]) * 700), source)
                assert len(source.opened) == 1
            with pytest.raises(OutOfSpace):
                await keep(cache, b"x" * 2600)
        return {kept.digest async for kept in cache.blobs()}

    real = os.write
    assert run(work()) == set()
    room[0] = 10_000
    run(keep(opened(tmp_path / "c"), b"x" * 2600))
    assert os.listdir(tmp_path / "c" / "tmp") == []


def test_wrong_bytes_leave_nothing(tmp_path):
    async def work():
        cache = opened(tmp_path / "c")
        with pytest.raises(DigestMismatch):
            await cache.blob_put(descriptor_of(b"x" * 1000), Source(b"y" * 1000))
        assert os.listdir(tmp_path / "c" / "tmp") == []

    run(work())


def test_no_descriptor_is_left_open(tmp_path):
    async def work():
        cache = opened(tmp_path / "c", max_size=LIMIT)
        before = len(os.listdir("/proc/self/fd"))
        for number in range(5):
            await keep(cache, bytes([number]) * 600)
            async with aclosing(await cache.blob_open(Digest.of(bytes([number]) * 600))):
                pass
            await cache.record_put(record("h", f"a/{number}", "1"))
            assert [found async for found in cache.records()] != []
        assert len(os.listdir("/proc/self/fd")) == before

    run(work())


@covers("ZL-009")
def test_what_a_cache_raises_has_the_names_that_others_know(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(wasmhold.CacheError) as caught:
        BlobCache.open(tmp_path / "file")
    assert isinstance(caught.value, wasmhold.CacheFormatError)
    with pytest.raises(wasmhold.InvalidDigest):
        sync.BlobCache().get("sha256:none")
    with pytest.MonkeyPatch.context() as patch:

        def fail(*arguments):
            raise OSError(errno.EIO, "Input/output error")

        patch.setattr(os, "write", fail)
        with pytest.raises(wasmhold.CacheIOError, match="Input/output error"):
            sync.BlobCache.open(tmp_path / "c")
    for kind in (wasmhold.CacheIOError, wasmhold.CacheCorrupted, wasmhold.InvalidDigest):
        assert issubclass(kind, wasmhold.CacheError)
