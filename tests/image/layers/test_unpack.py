"""Unpacking beside what the corpus says: streams, images, digests, attributes, bounds, users."""

from __future__ import annotations

import asyncio
import fcntl
import gzip
import hashlib
import io
import os
import stat
import tempfile
import threading
import tracemalloc
from pathlib import Path

import pytest

from tests.image.layers.archives import E, archive, d, f, h, ln
from tests.image.layers.corpus import GZIP, TAR, ZSTD, pax_sparse_1, zstd
from tests.image.layers.layouts import image, parsed
from tests.image.layers.trees import Canary, read_tree
from tests.image.layers.users import as_nobody
from wasmhold import BlobCache, Compression, LayerUnpacker, is_foreign_layer, is_layer
from wasmhold.client.places import compression
from wasmhold.client.places.memory import MemoryRepository
from wasmhold.client.runtime import ThreadRuntime
from wasmhold.image.layers import kinds, staging
from wasmhold.image.layers.blocking import LayerUnpacker as Blocking
from wasmhold.image.layers.options import How, IdRange, LayerLimits
from wasmhold.image.layers.unpacker import Unpacker
from wasmhold.oci.descriptor import Descriptor
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import (
    ArchiveInvalid,
    ArtifactInvalid,
    Cancelled,
    DigestMismatch,
    InputError,
    LimitExceeded,
    MissingExtraError,
    SizeInvalid,
)
from wasmhold.ports.body import BytesBody
from wasmhold.ports.runtime import run
from wasmhold.testing.covers import covers

ONE = archive(f("a", "1"), d("d", 0o700), f("d/b", "2"))
TREE = {"a": "f 644 1", "d": "d 700", "d/b": "f 644 2"}

# fmt: off
TYPES = [
    # media type,                                                       compression,  is foreign
    ("application/vnd.oci.image.layer.v1.tar",                          "none",       False),
    ("application/vnd.oci.image.layer.v1.tar+gzip",                     "gzip",       False),
    ("application/vnd.oci.image.layer.v1.tar+zstd",                     "zstd",       False),
    ("application/vnd.docker.image.rootfs.diff.tar",                    "none",       False),
    ("application/vnd.docker.image.rootfs.diff.tar.gzip",               "gzip",       False),
    ("application/vnd.docker.image.rootfs.diff.tar.zstd",               "zstd",       False),
    ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",       "gzip",       True),
    ("application/vnd.oci.image.layer.nondistributable.v1.tar",         "none",       True),
    ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",    "gzip",       True),
    ("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",    "zstd",       True),
]
# fmt: on


@covers("ZL-800", "ZL-801")
@pytest.mark.parametrize(("media_type", "kind", "foreign"), TYPES)
def test_types(media_type, kind, foreign):
    assert is_layer(media_type) is not foreign
    assert is_foreign_layer(media_type) is kinds.is_windows_layer(media_type) is foreign
    assert Compression.of_media_type(media_type) is Compression(kind)
    assert Compression.of_media_type(media_type.upper()) is Compression(kind)


@covers("ZL-800", "ZL-801")
def test_other_types_and_bytes():
    other = "application/wasm"
    assert not is_layer(other)
    assert not is_foreign_layer(other)
    assert Compression.of_media_type(other) is None
    starts = {b"": "none", b"\x1f": "none", b"\x1f\x8b\x08": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
    starts |= {
        b"\x50\x2a\x4d\x18": "zstd",
        b"\x5f\x2a\x4d\x18": "zstd",
        b"\x60\x2a\x4d\x18": "none",
    }
    assert {start: Compression.of_content(start).value for start in starts} == starts


# ---- streams, two faces, images


class Hidden:
    """A file that can do nothing but be read, and says in which thread that was."""

    def __init__(self, content: bytes) -> None:
        self._file, self.threads = io.BytesIO(content), set()

    def read(self, size: int) -> bytes:
        self.threads.add(threading.get_ident())
        return self._file.read(size)


async def chunks(content: bytes):
    for at in range(0, len(content), 700):
        yield content[at : at + 700]


STREAMS = {
    "bytes": bytes,
    "a file": io.BytesIO,
    "what can be read": Hidden,
    "a list of chunks": lambda content: [content[:3], content[3:]],
    "asynchronous chunks": chunks,
    "a body": BytesBody,
}


@covers("ZL-810")
@pytest.mark.parametrize("how", STREAMS)
def test_streams(how, tmp_path):
    async def unpack() -> None:
        await LayerUnpacker(tmp_path / "loop").unpack_layer(STREAMS[how](ONE), TAR)

    asyncio.run(unpack())
    assert read_tree(tmp_path / "loop") == TREE
    if how != "asynchronous chunks":
        Blocking(tmp_path / "none").unpack_layer(STREAMS[how](ONE), TAR)
        assert read_tree(tmp_path / "none") == TREE


@covers("ZL-810")
def test_it_works_off_the_event_loop(tmp_path):
    source = Hidden(ONE)

    async def unpack() -> None:
        await LayerUnpacker(tmp_path / "root").unpack_layer(source, TAR)

    asyncio.run(unpack())
    assert source.threads
    assert threading.get_ident() not in source.threads


def test_both_faces_are_the_same():
    names = {one for one in dir(Unpacker) if not one.startswith("_")}
    assert names == {"unpack_layer", "unpack_layers", "unpack_image"}
    for name in names:
        assert getattr(Blocking, name).__wrapped__ is getattr(Unpacker, name)
        assert getattr(LayerUnpacker, name) is getattr(Unpacker, name)


LOWER = archive(f("a", "1"), f("gone"), d("d"))
UPPER = archive(f(".wh.gone"), f("d/b", "2"))
LAYERS = [(gzip.compress(LOWER), GZIP, LOWER), (zstd(UPPER), ZSTD, UPPER)]
STACKED = {"a": "f 644 1", "d": "d 755", "d/b": "f 644 2"}


async def fill(target, blobs) -> None:
    for digest, content in blobs.items():
        described = Descriptor("application/octet-stream", digest, len(content))
        await target.blob_put(described, Source(content))


class Source:
    def __init__(self, content: bytes) -> None:
        self.content = content

    async def open(self, start: int):
        return BytesBody(self.content[start:])


@covers("ZL-810", "ZL-825")
@pytest.mark.parametrize("what", ["cache", "repository"])
def test_an_image(what, tmp_path):
    manifest, blobs = image(LAYERS)
    runtime = ThreadRuntime()
    source = BlobCache.memory() if what == "cache" else MemoryRepository(runtime)
    run(fill(source.engine(runtime) if what == "cache" else source, blobs))
    done = Blocking(tmp_path / "root").unpack_image(parsed(manifest), source)
    assert read_tree(tmp_path / "root") == STACKED
    assert [str(one.diff_id) for one in done] == [
        f"sha256:{hashlib.sha256(plain).hexdigest()}" for *_, plain in LAYERS
    ]
    assert [one.counts.whiteouts for one in done] == [0, 1]


@covers("ZL-810")
def test_an_image_under_asyncio(tmp_path):
    manifest, blobs = image(LAYERS)
    cache = BlobCache.memory()
    run(fill(cache.engine(ThreadRuntime()), blobs))

    async def unpack() -> None:
        await LayerUnpacker(tmp_path / "root").unpack_image(parsed(manifest), cache)

    asyncio.run(unpack())
    assert read_tree(tmp_path / "root") == STACKED


@covers("ZL-811")
def test_an_image_without_layers_is_an_empty_folder(tmp_path):
    manifest, blobs = image([])
    repository = MemoryRepository(ThreadRuntime())
    run(fill(repository, blobs))
    assert Blocking(tmp_path / "root").unpack_image(parsed(manifest), repository) == []
    assert read_tree(tmp_path / "root") == {}
    assert Blocking(tmp_path / "none").unpack_layers([]) == []
    assert (tmp_path / "none").is_dir()


# ---- digests


def replaced(layers, at: int, stored: bytes):
    """An image whose layer has other bytes than its digest says."""
    manifest, blobs = image(layers)
    blobs[Digest.of(layers[at][0])] = stored
    return manifest, blobs


class Damaged(MemoryRepository):
    """Gives other bytes for some blobs, as one does that nobody has verified."""

    def __init__(self, blobs) -> None:
        super().__init__(ThreadRuntime())
        self.blobs = blobs

    async def blob_open(self, digest, start=0):
        return BytesBody(self.blobs[digest][start:])


OTHER = archive(f("evil", "1"))
DAMAGED = {
    "other bytes": (gzip.compress(OTHER).ljust(len(LAYERS[0][0]), b"\0"), DigestMismatch),
    "more bytes": (LAYERS[0][0] + bytes(10), SizeInvalid),
    "fewer bytes": (LAYERS[0][0][:-10], SizeInvalid),
}


@covers("ZL-825", "ZL-826")
@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_layer(what, tmp_path, monkeypatch):
    monkeypatch.setattr("wasmhold.client.reader._PAUSE_S", 0.0)
    canary = Canary(tmp_path)
    stored, kind = DAMAGED[what]
    manifest, blobs = replaced(LAYERS, 0, stored)
    with pytest.raises(kind):
        Blocking(canary.root).unpack_image(parsed(manifest), Damaged(blobs))
    assert not canary.root.exists()
    canary.check()


@covers("ZL-825")
def test_diff_ids_of_the_config(tmp_path):
    manifest, blobs = image([(*LAYERS[0][:2], b"another")])
    with pytest.raises(DigestMismatch):
        Blocking(tmp_path / "root").unpack_image(parsed(manifest), Damaged(blobs))
    assert not (tmp_path / "root").exists()


@covers("ZL-825")
@pytest.mark.parametrize("name", ["digest", "diff_id"])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_given_digest(name, algorithm, tmp_path):
    stored = gzip.compress(ONE)
    right = Digest.of(stored if name == "digest" else ONE, algorithm)
    done = Blocking(tmp_path / "a").unpack_layer(stored, GZIP, **{name: str(right)})
    assert getattr(done, name) == right
    with pytest.raises(DigestMismatch):
        Blocking(tmp_path / "b").unpack_layer(stored, GZIP, **{name: Digest.of(b"", algorithm)})
    assert not (tmp_path / "b").exists()


@covers("ZL-825")
def test_an_existing_root_changes_in_one_step(tmp_path):
    root = tmp_path / "root"
    Blocking(root).unpack_layer(
        archive(f("a", "1"), h("b", "a"), d("s/t", 0o700), ln("l", "a")), TAR
    )
    before, inode = read_tree(root), root.stat().st_ino
    with pytest.raises(DigestMismatch):
        Blocking(root, atomic=True).unpack_layer(UPPER, TAR, diff_id=Digest.of(b""))
    assert (read_tree(root), root.stat().st_ino) == (before, inode)
    Blocking(root, atomic=True).unpack_layer(archive(f(".wh.a"), f("s/n", "2")), TAR)
    after = {"b": "f 644 1", "l": "l a", "s": "d 755", "s/t": "d 700", "s/n": "f 644 2"}
    assert read_tree(root) == after
    assert root.stat().st_ino != inode
    assert os.listdir(tmp_path) == ["root"]


@covers("ZL-825")
def test_without_atomic_the_root_stays_itself(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    inode = root.stat().st_ino
    Blocking(root).unpack_layer(ONE, TAR)
    Blocking(root).unpack_layer(archive(f(".wh.a")), TAR)
    assert root.stat().st_ino == inode
    assert read_tree(root) == {"d": "d 700", "d/b": "f 644 2"}


@covers("ZL-826")
def test_what_a_dead_one_left_is_removed(tmp_path):
    dead, living = (tmp_path / f".wasmhold-{n * 32}.tree" for n in "12")
    (tmp_path / ".wasmhold-mine.tree").mkdir()
    for one in (dead, living):
        (one / "deep").mkdir(parents=True)
        (one / "deep" / "out").symlink_to("/etc")
    held = os.open(living, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    Blocking(tmp_path / "root").unpack_layer(ONE, TAR)
    os.close(held)
    assert sorted(os.listdir(tmp_path)) == [living.name, ".wasmhold-mine.tree", "root"]


def test_a_root_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ArtifactInvalid, match="there is no folder"):
        Blocking(tmp_path / "no" / "root").unpack_layer(ONE, TAR)
    with pytest.raises(ArtifactInvalid, match="is no folder"):
        Blocking(tmp_path / "file").unpack_layer(ONE, TAR)
    assert (tmp_path / "file").read_text() == "x"


def test_the_root_may_be_a_link_of_the_user(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    Blocking(tmp_path / "link").unpack_layer(ONE, TAR)
    assert read_tree(tmp_path / "real") == TREE


# ---- warnings


@covers("ZL-801")
def test_a_difference_is_told(tmp_path):
    told = []
    done = Blocking(tmp_path / "a", on_event=told.append).unpack_layer(gzip.compress(ONE), TAR)
    assert [event.text for event in told] == list(done.warnings)
    assert "compression gzip" in done.warnings[0]
    assert Blocking(tmp_path / "b").unpack_layer(gzip.compress(ONE), GZIP).warnings == ()
    assert Blocking(tmp_path / "c").unpack_layer(ONE, "application/x-tar").warnings == ()
    with pytest.raises(ArchiveInvalid, match="compression gzip"):
        Blocking(tmp_path / "d", strict=True).unpack_layer(gzip.compress(ONE), TAR)
    assert not (tmp_path / "d").exists()


@covers("ZL-803")
def test_without_zstd(tmp_path, monkeypatch):
    packed = zstd(ONE)
    manifest, blobs = image([(ONE, TAR, ONE), (packed, ZSTD, ONE)])
    monkeypatch.setattr(compression, "_MODULES", ("no_such_module_of_zstd",))
    root = tmp_path / "in place"
    root.mkdir()
    with pytest.raises(MissingExtraError, match=r"wasmhold\[zstd\]"):
        Blocking(root).unpack_layer(packed, ZSTD)
    with pytest.raises(MissingExtraError):
        Blocking(root).unpack_image(parsed(manifest), Damaged(blobs))
    assert read_tree(root) == {}
    Blocking(root).unpack_layer(gzip.compress(ONE), GZIP)
    assert read_tree(root) == TREE


# ---- attributes


@covers("ZL-822")
def test_times(tmp_path):
    root = tmp_path / "root"
    lower = archive(
        d("./", mtime=7),
        d("d", mtime=5),
        f("d/a", mtime=-5),
        ln("l", "x", mtime=9),
        f("p", pax=[(b"mtime", b"1700000000.123456789")]),
        f("q", pax=[(b"mtime", b"-1.5")]),
    )
    Blocking(root).unpack_layer(lower, TAR)
    # A folder that a later layer writes into, but says nothing of, keeps its time.
    Blocking(root).unpack_layer(archive(f("d/b", mtime=11), f("n/m", mtime=12)), TAR)
    times = {
        path.relative_to(root).as_posix(): path.lstat().st_mtime_ns for path in root.rglob("*")
    }
    assert times == {
        "d": 5 * 10**9,
        "d/a": -5 * 10**9,
        "d/b": 11 * 10**9,
        "l": 9 * 10**9,
        "n": 0,
        "n/m": 12 * 10**9,
        "p": 1700000000123456789,
        "q": -1500000000,
    }
    assert root.stat().st_mtime_ns == 7 * 10**9


root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")
OWNED = archive(
    d("./", uid=3, gid=3),
    f("a", uid=1, gid=2),
    d("d", uid=3, gid=4),
    ln("l", "a", uid=5, gid=6),
    f("s", mode=0o4755, uid=1),
)


def owners(root: Path) -> dict[str, tuple[int, int]]:
    found = {p.name: (p.lstat().st_uid, p.lstat().st_gid) for p in root.iterdir()}
    return found | {"": (root.stat().st_uid, root.stat().st_gid)}


@covers("ZL-822")
@root_only
def test_owners(tmp_path):
    ours = (os.geteuid(), os.getegid())
    Blocking(tmp_path / "a").unpack_layer(OWNED, TAR)
    assert set(owners(tmp_path / "a").values()) == {ours}
    Blocking(tmp_path / "b", owner="apply", keep_setid=True).unpack_layer(OWNED, TAR)
    expected = {"": (3, 3), "a": (1, 2), "d": (3, 4), "l": (5, 6), "s": (1, 0)}
    assert owners(tmp_path / "b") == expected
    assert stat.S_IMODE((tmp_path / "b" / "s").stat().st_mode) == 0o4755
    ids = [IdRange(0, 1000, 1), IdRange(1, 100_000, 65_536)]
    Blocking(tmp_path / "c", owner="map", uids=ids, gids=ids).unpack_layer(OWNED, TAR)

    def mapped(number: int) -> int:
        return 1000 if number == 0 else 99_999 + number

    assert owners(tmp_path / "c") == {
        name: (mapped(uid), mapped(gid)) for name, (uid, gid) in expected.items()
    }
    with pytest.raises(ArchiveInvalid, match="map of ids"):
        Blocking(tmp_path / "d", owner="map", uids=ids[:1], gids=ids).unpack_layer(OWNED, TAR)


def test_options_that_do_not_go_together():
    for wrong in ({"owner": "root"}, {"special": "x"}, {"on_unsafe": "x"}, {"owner": "map"}):
        with pytest.raises(InputError):
            How(**wrong)


ATTRIBUTES = {b"user.x": b"1\0", b"user.y": b"", b"trusted.z": b"1", b"security.selinux": b"s"}


@covers("ZL-822")
def test_extended_attributes(tmp_path):
    pax = [(b"SCHILY.xattr." + name, value) for name, value in ATTRIBUTES.items()]
    packed = archive(f("a", pax=pax), d("d", pax=pax), ln("l", "a", pax=pax[:1]))
    done = Blocking(tmp_path / "a").unpack_layer(packed, TAR)
    assert done.counts.xattrs_skipped == 9
    assert os.listxattr(tmp_path / "a" / "a") == []
    done = Blocking(tmp_path / "b", xattrs=True).unpack_layer(packed, TAR)
    assert done.counts.xattrs_skipped == 5
    for name in ("a", "d"):
        path = tmp_path / "b" / name
        assert {n: os.getxattr(path, n) for n in os.listxattr(path)} == {
            "user.x": b"1\0",
            "user.y": b"",
        }


@covers("ZL-822")
@root_only
def test_capabilities(tmp_path):
    value = bytes.fromhex("0100000200040000000000000000000000000000")
    packed = archive(f("a", uid=1, pax=[(b"SCHILY.xattr.security.capability", value)]))
    Blocking(tmp_path / "a", xattrs=True, owner="apply").unpack_layer(packed, TAR)
    assert os.getxattr(tmp_path / "a" / "a", "security.capability") == value


@covers("ZL-821")
@root_only
def test_devices(tmp_path):
    os.umask(os.umask(0))
    packed = archive(
        E(b"3", b"c", mode=0o666, device=(1, 3)), E(b"4", b"b", device=(7, 9)), E(b"6", b"p")
    )
    done = Blocking(tmp_path / "a", special="create").unpack_layer(packed, TAR)
    assert done.counts.special == 3
    assert read_tree(tmp_path / "a") == {"c": "c 666 1:3", "b": "b 644 7:9", "p": "p 644 0:0"}
    done = Blocking(tmp_path / "b").unpack_layer(packed, TAR)
    assert (done.counts.special, done.counts.special_skipped) == (0, 3)


@covers("ZL-821")
def test_holes_take_no_room(tmp_path):
    size = 1 << 30
    Blocking(tmp_path / "a").unpack_layer(
        archive(pax_sparse_1(b"s", [(0, 1), (size - 1, 1)], size, b"ab")), TAR
    )
    about = (tmp_path / "a" / "s").stat()
    assert about.st_size == size
    assert about.st_blocks * 512 < 1 << 20


# ---- bounds


@covers("ZL-823")
def test_the_bounds_that_hold_without_a_word():
    assert LayerLimits() == LayerLimits(
        size=64 << 30,
        entries=1_000_000,
        ratio=1000,
        free=100 << 20,
        name=4096,
        depth=256,
        remembered=256 << 20,
    )


@covers("ZL-823")
@pytest.mark.parametrize("kind", ["none", "gzip", "zstd"])
def test_memory_does_not_grow_with_the_layer(kind, tmp_path):
    """Of a file of 64 MiB less than 4 MiB are held at once."""
    block = os.urandom(1 << 16)
    plain = archive(f("a", block * 1024))
    packed = {"none": bytes, "gzip": lambda b: gzip.compress(b, 1), "zstd": zstd}[kind](plain)
    (tmp_path / "layer").write_bytes(packed)
    del plain, packed
    with open(tmp_path / "layer", "rb") as stream:
        tracemalloc.start()
        Blocking(tmp_path / "a").unpack_layer(stream, TAR if kind == "none" else f"{TAR}+{kind}")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 4 << 20
    assert (tmp_path / "a" / "a").stat().st_size == 64 << 20


@covers("ZL-823")
def test_memory_does_not_grow_with_the_entries(tmp_path):
    entries = b"".join(f(f"{n:05}").encode() for n in range(3000))

    def peak(stream) -> int:
        tracemalloc.start()
        Blocking(tmp_path / "root", atomic=False).unpack_layer(stream, TAR)
        _, found = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return found

    one = peak(io.BytesIO(entries))
    # The same again over what is there: names are marked, in few bytes each.
    assert one < 3 << 20
    assert peak(io.BytesIO(entries)) < one + 3000 * 300


@covers("ZL-823")
def test_a_hole_counts_as_size(tmp_path):
    with pytest.raises(LimitExceeded):
        Blocking(tmp_path / "a", limits=LayerLimits(size=1 << 20)).unpack_layer(
            archive(pax_sparse_1(b"s", [], 1 << 20, b"")), TAR
        )


# ---- interruption


@covers("ZL-826")
def test_what_is_cancelled_leaves_nothing(tmp_path):
    unpacker = Blocking(tmp_path / "root")

    class Cancelling(Hidden):
        def read(self, size: int) -> bytes:
            unpacker.cancel()
            return super().read(700)

    with pytest.raises(Cancelled):
        unpacker.unpack_layer(Cancelling(ONE * 50), TAR)
    assert os.listdir(tmp_path) == []


@covers("ZL-826")
def test_a_task_that_is_cancelled_leaves_nothing(tmp_path):
    async def endless():
        yield f("a", "x" * 2000).encode()
        reached.set()
        while True:
            await asyncio.sleep(0)
            yield f("b", "x" * 2000).encode()

    async def main() -> None:
        nonlocal reached
        reached = asyncio.Event()
        task = asyncio.create_task(LayerUnpacker(tmp_path / "root").unpack_layer(endless(), TAR))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    reached = None
    asyncio.run(main())
    assert os.listdir(tmp_path) == []


@covers("ZL-826")
@pytest.mark.parametrize("after", range(12))
def test_a_file_system_that_fails(after, tmp_path, monkeypatch):
    """Each write in turn finds the disk full."""
    canary = Canary(tmp_path)
    left = after
    real = os.write

    def write(descriptor: int, content: bytes) -> int:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(28, "No space left on device")
        return real(descriptor, content)

    monkeypatch.setattr(os, "write", write)
    packed = archive(*(f(f"d/{n}", "x") for n in range(10)))
    try:
        Blocking(canary.root).unpack_layer(packed, TAR)
    except Exception as error:
        assert type(error).__name__ == "OutOfSpace"
        assert after < 10
        assert not canary.root.exists()
    else:
        assert after >= 10
    canary.check()


# ---- without rights


CLOSED = archive(
    d("ro", 0o555), f("ro/x", "1"), d("ro/none", 0), f("ro/none/y", "2"), f("f", "3", mode=0)
)


@covers("ZL-822")
def test_folders_that_nobody_may_write_into():
    with tempfile.TemporaryDirectory() as base:
        os.chmod(base, 0o777)
        root = Path(base) / "root"

        def work() -> None:
            Blocking(root).unpack_layer(CLOSED, TAR)
            more = archive(f("ro/z", "4"), f("ro/none/.wh.y"), f("ro/none/n", "5"), f("f", "6"))
            Blocking(root).unpack_layer(more, TAR)
            modes = {
                name: stat.S_IMODE(os.lstat(root / name).st_mode) for name in ("ro", "f", "ro/z")
            }
            assert modes == {"ro": 0o555, "f": 0o644, "ro/z": 0o644}
            try:
                os.listdir(root / "ro" / "none")
            except PermissionError:
                pass
            else:
                raise AssertionError("the folder should be closed")
            os.chmod(root / "ro" / "none", 0o700)
            assert os.listdir(root / "ro" / "none") == ["n"]
            os.chmod(root / "ro" / "none", 0)
            # Whole trees that are closed go, too; and nothing is left of what failed.
            Blocking(root).unpack_layer(archive(f(".wh.ro"), f("k")), TAR)
            assert sorted(os.listdir(root)) == ["f", "k"]
            try:
                Blocking(root.parent / "new").unpack_layer(CLOSED, TAR, diff_id=Digest.of(b""))
            except DigestMismatch:
                assert os.listdir(base) == ["root"]

        as_nobody(work)


@covers("ZL-813")
def test_nobody_may_give_files_away():
    from wasmhold.oci.errors import Denied

    with tempfile.TemporaryDirectory() as base:
        os.chmod(base, 0o777)

        def work() -> None:
            try:
                Blocking(Path(base) / "root", owner="apply").unpack_layer(OWNED, TAR)
            except Denied:
                assert os.listdir(base) == []
                return
            raise AssertionError("it should be denied")

        as_nobody(work)


def test_two_folders_that_cannot_change_places(tmp_path, monkeypatch):
    monkeypatch.setattr(staging.ctypes, "CDLL", lambda *given, **more: object())
    root = tmp_path / "root"
    Blocking(root).unpack_layer(ONE, TAR)
    with pytest.raises(Exception, match="without atomic"):
        Blocking(root, atomic=True).unpack_layer(UPPER, TAR)
    assert read_tree(root) == TREE
    assert os.listdir(tmp_path) == ["root"]


@covers("ZL-819", "ZL-823")
def test_a_folder_is_emptied_once(tmp_path, monkeypatch):
    """However often its layer says so: a folder of many files is not read again for each mark."""
    listed = 0
    real = os.listdir

    def listdir(path="."):
        nonlocal listed
        listed += 1
        return real(path)

    lower = archive(f("d/a"), f("e/a"))
    again = [f("d/.wh..wh..opq"), f(".wh.e"), f("d/n"), f("e/n")] * 100
    Blocking(tmp_path / "root").unpack_layer(lower, TAR)
    monkeypatch.setattr(os, "listdir", listdir)
    Blocking(tmp_path / "root").unpack_layer(archive(f("d/0"), f("e/0"), *again), TAR)
    assert listed <= 4
    names = {"d": "d 755", "e": "d 755"}
    assert read_tree(tmp_path / "root") == names | {f"{a}/{b}": "f 644" for a in "de" for b in "0n"}


@covers("ZL-815")
def test_late_links_are_tried_a_few_times_each(tmp_path, monkeypatch):
    """A chain of them, in the worst order, is no square of its length."""
    tried = 0
    real = os.stat

    def counting(path, **more):
        nonlocal tried
        tried += 1
        return real(path, **more)

    monkeypatch.setattr(os, "stat", counting)
    chain = [h(f"{n:04}", f"{n + 1:04}") for n in range(1000)]
    with pytest.raises(ArchiveInvalid, match="not in the layer"):
        Blocking(tmp_path / "a").unpack_layer(archive(*chain), TAR)
    assert tried < 20_000
    Blocking(tmp_path / "b").unpack_layer(archive(*chain, f("1000", "1")), TAR)
    assert (tmp_path / "b" / "0000").stat().st_nlink == 1001


@covers("ZL-826")
def test_an_empty_root_is_as_it_was(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    os.chmod(root, 0o750)
    os.utime(root, (7, 7))
    with pytest.raises(ArchiveInvalid):
        Blocking(root).unpack_layer(archive(d("./", 0o500), f("a"), E(b"0", b"b", size=9999)), TAR)
    about = root.stat()
    assert (stat.S_IMODE(about.st_mode), about.st_mtime) == (0o750, 7)
    assert os.listdir(root) == []
