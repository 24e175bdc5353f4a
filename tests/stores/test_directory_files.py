"""The paths of the directory store, and its files on the real file system."""

import asyncio
import os
import stat
import time

import pytest

from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import NameInvalid, OutOfSpace, StoreUnavailable
from wasmhold.ports.body import read_all
from wasmhold.ports.runtime import Inline, run
from wasmhold.servers.asgi import AsyncioRuntime
from wasmhold.stores.directory import paths
from wasmhold.stores.directory.files import Absent, Exists, TooManyLinks
from wasmhold.stores.directory.flock import flock
from wasmhold.stores.directory.native import NativeFiles
from wasmhold.testing.covers import covers

DIGESTS = [Digest.of(b"x"), Digest.of(b"x", "sha512")]

# fmt: off
FOLDERS = [
    # name,              folder
    ("a",                "a"),
    ("foo/blobs",        "foo/+blobs"),
    ("blobs/uploads",    "+blobs/uploads"),
    ("index.json",       "+index.json"),
    ("a/oci-layout/b",   "a/+oci-layout/b"),
    ("a/blobs2",         "a/blobs2"),
]
TAGS = [
    # tag,   file
    ("v1",   "v1"),
    ("V1",   "=v1"),
    ("aBcD", "a=bc=d"),
    ("_",    "_"),
    ("1.0-RC", "1.0-=r=c"),
]
# fmt: on


@pytest.mark.parametrize(("name", "folder"), FOLDERS)
@covers("BR-075")
def test_folders(name, folder):
    assert paths.repository(name).folder == folder
    assert "/".join(map(paths.unescape_component, folder.split("/"))) == name


@pytest.mark.parametrize("file", [".wasmhold", "blobs", "index.json", "oci-layout", "+x", "+", ""])
def test_what_is_no_part_of_a_name(file):
    assert not paths.unescape_component(file)


@pytest.mark.parametrize(("tag", "file"), TAGS)
@covers("BR-081")
def test_tags(tag, file):
    assert paths.escape_tag(tag) == file
    assert paths.unescape_tag(file) == tag


@pytest.mark.parametrize("use", [paths.repository, paths.escape_tag])
def test_what_no_file_system_takes_is_refused(use):
    text = "a" * 251 if use is paths.repository else "A" * 126
    with pytest.raises(NameInvalid):
        use(text)


@pytest.mark.parametrize("digest", DIGESTS, ids=str)
def test_short_digests(digest):
    short = paths.write_short(digest)
    assert paths.read_short(short) == digest
    if digest.algorithm == "sha256":
        assert len(short) == 50
    for damaged in ("", short[:-1], short + "A", short.replace(":", ""), "md5:AAAA", "sha256:==="):
        assert paths.read_short(damaged) is None


def test_names_of_digests():
    digest = DIGESTS[0]
    assert paths.read_digest(str(digest)) == digest
    assert paths.read_hex("sha256", digest.encoded) == digest
    for stranger in ("x", digest.encoded, f"md5:{digest.encoded}", f"sha256:{'g' * 64}"):
        assert paths.read_digest(stranger) is None


# ---- the real file system


@pytest.fixture
def files(tmp_path):
    opened = NativeFiles(str(tmp_path), Inline(time.time, time.sleep), locks=flock)
    yield opened
    opened.close()


def raised(error, operation):
    with pytest.raises(error):
        run(operation)


def test_what_is_absent(files):
    for path in ("x", "x/y"):
        for answer in (files.stat, files.readlink, files.read, files.names):
            assert run(answer(path)) is None
        assert run(files.open_body(path, 0, None)) is None
        assert run(files.texts(path)) == {}
        assert not run(files.has_names(path))
        assert not run(files.unlink(path))
        assert not run(files.remove_folder(path))
        assert run(files.lock(path, exclusive=True)) is None
        raised(Absent, files.link(path, "z"))
        raised(Absent, files.rename(path, "z"))
        raised(Absent, files.copy(path, "z"))
        raised(Absent, files.sync(path))
        raised(Absent, files.sync_folder(path))
        run(files.touch(path))
    for write in (files.make_folder, files.open_write):
        raised(Absent, write("x/y"))
    raised(Absent, files.create("x/y", b""))
    raised(Absent, files.symlink("text", "x/y"))


@covers("BR-080")
def test_modes(files, tmp_path):
    run(files.make_folder("folder"))
    run(files.create("file", b"x"))
    umask = os.umask(0)
    os.umask(umask)
    for name, mode in (("folder", 0o755), ("file", 0o644)):
        assert stat.S_IMODE(os.stat(tmp_path / name).st_mode) == mode & ~umask


def test_what_exists(files):
    run(files.make_folder("f"))
    run(files.make_folder("f"))
    run(files.create("f/a", b"abc"))
    raised(Exists, files.create("f/a", b"abc"))
    raised(Exists, files.symlink("text", "f/a"))
    run(files.link("f/a", "f/b"))
    raised(Exists, files.link("f/a", "f/b"))
    assert run(files.stat("f/a")).links == 2
    run(files.copy("f/a", "f/c"))
    assert run(files.stat("f/c")).links == 1
    assert run(files.read("f/c")) == b"abc"
    run(files.overwrite("f/c", b"z"))
    assert run(files.read("f/c")) == b"z"
    assert sorted(run(files.names("f"))) == ["a", "b", "c"]
    assert run(files.has_names("f"))
    assert not run(files.remove_folder("f"))
    run(files.sync("f/a"))
    run(files.sync_folder("f"))
    run(files.sync_folder(""))
    body = run(files.open_body("f/a", 1, 2))
    assert run(files.unlink("f/a"))
    assert run(read_all(body)) == b"b"
    run(body.aclose())


def test_texts(files):
    run(files.symlink("text", "a"))
    run(files.create("b", b"from a file"))
    assert run(files.texts("")) == {}
    run(files.make_folder("f"))
    run(files.symlink("one", "f/a"))
    run(files.create("f/b", b"two"))
    assert run(files.texts("f")) == {"a": "one", "b": "two"}
    assert run(files.readlink("f/b")) == "two"
    run(files.symlink("three", "f/c"))
    run(files.rename("f/c", "f/a"))
    assert run(files.readlink("f/a")) == "three"


def test_where_there_are_no_symbolic_links(files, monkeypatch):
    def refuse(*arguments, **more):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "symlink", refuse)
    run(files.make_folder("f"))
    run(files.symlink("text", "f/a"))
    raised(Exists, files.symlink("other", "f/a"))
    assert run(files.readlink("f/a")) == "text"
    assert run(files.names("f")) == ["a"]


def test_links_that_lead_out_are_not_followed(files, tmp_path):
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "link").symlink_to("secret")
    raised(StoreUnavailable, files.read("link"))
    raised(StoreUnavailable, files.open_body("link", 0, None))
    raised(StoreUnavailable, files.open_write("link"))


def test_touch_leaves_the_content_s_time(files):
    run(files.create("a", b"x"))
    before = run(files.stat("a"))
    time.sleep(0.02)
    run(files.touch("a"))
    after = run(files.stat("a"))
    assert after.modified_ns == before.modified_ns
    assert after.changed_ns > before.changed_ns


@pytest.mark.parametrize(
    ("number", "error"), [(28, OutOfSpace), (122, OutOfSpace), (5, StoreUnavailable)]
)
@covers("BR-070")
def test_errors_are_translated(files, monkeypatch, number, error):
    def fail(*arguments, **more):
        raise OSError(number, os.strerror(number))

    run(files.create("a", b"x"))
    for call, operation in (
        ("link", files.link("a", "b")),
        ("write", files.create("c", b"x")),
        ("symlink", files.symlink("x", "d")),
        ("replace", files.rename("a", "b")),
        ("mkdir", files.make_folder("e")),
        ("fsync", files.sync("a")),
        ("unlink", files.unlink("a")),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(os, call, fail)
            raised(error, operation)


def test_too_many_links(files, monkeypatch):
    def fail(*arguments, **more):
        raise OSError(31, "Too many links")

    run(files.create("a", b"x"))
    monkeypatch.setattr(os, "link", fail)
    raised(TooManyLinks, files.link("a", "b"))


def test_locks(files):
    run(files.create("lock", b""))
    one = run(files.lock("lock", exclusive=False))
    two = run(files.lock("lock", exclusive=False))
    assert run(files.lock("lock", exclusive=True, wait=False)) is None
    run(files.unlock(one))
    run(files.unlock(two))
    three = run(files.lock("lock", exclusive=True))
    assert run(files.lock("lock", exclusive=False, wait=False)) is None
    run(files.unlink("lock"))
    assert run(files.lock("lock", exclusive=True)) is None
    run(files.unlock(three))


def test_who_wants_it_alone_is_not_overtaken_for_ever(tmp_path):
    async def main():
        files = NativeFiles(str(tmp_path), AsyncioRuntime(), locks=flock)
        await files.create("lock", b"")
        got = []

        async def share(number):
            while not got:
                held = await files.lock("lock", exclusive=False)
                await asyncio.sleep(0.002)
                await files.unlock(held)

        async def alone():
            held = await files.lock("lock", exclusive=True)
            got.append(True)
            await files.unlock(held)

        async with asyncio.timeout(20):
            sharing = [asyncio.create_task(share(i)) for i in range(8)]
            await asyncio.sleep(0.01)
            await asyncio.gather(alone(), *sharing)
        files.close()

    asyncio.run(main())
