"""Archives: the same bytes for the same content, read in place, and what is hostile."""

import gzip
import io
import itertools
import os
import tarfile
import tempfile
from contextlib import aclosing
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.client.graphs import GRAPHS, holdings
from tests.stores.layouts import Layout
from wasmhold.client.copy import copy_all
from wasmhold.client.failure import CopyFailed
from wasmhold.client.places import compression
from wasmhold.client.places.archive import ArchiveContent, ImportLimits, open_archive
from wasmhold.client.places.layout import open_layout
from wasmhold.client.places.memory import MemoryRepository
from wasmhold.client.places.tar import find_members
from wasmhold.client.plan import Options
from wasmhold.client.runtime import ThreadRuntime
from wasmhold.oci import limits
from wasmhold.oci.errors import (
    ContentDamaged,
    LimitExceeded,
    OutOfSpace,
    StoreUnavailable,
    Unsupported,
)
from wasmhold.oci.limits import MIB
from wasmhold.ports.runtime import run
from wasmhold.testing.covers import covers
from wasmhold.testing.repository_suite import (
    Source,
    check_repository,
    descriptor_of,
    push_image,
)


def opened(path):
    return open_archive(str(path), ThreadRuntime())


async def write(path, *texts):
    async with aclosing(opened(path)) as place:
        for text in texts:
            await push_image(place, text, text)
        await place.flush()


async def read(path):
    async with aclosing(opened(path)) as place:
        return await holdings(place)


@pytest.fixture
def layout(tmp_path):
    made = Layout(tmp_path / "layout")
    made.add(made.manifest(b"one", b"two"), "v1")
    made.write()
    return made


@pytest.fixture
def wanted(layout):
    async def work():
        async with aclosing(open_layout(str(layout.folder), ThreadRuntime())) as place:
            return await holdings(place)

    return run(work())


# ---- what is written


@covers("ZL-751")
@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tgz"])
def test_the_same_content_is_the_same_archive(suffix, tmp_path):
    async def copied(path, concurrency):
        source = MemoryRepository(ThreadRuntime())
        await GRAPHS["sha512"](source)
        await GRAPHS["referrers_three_levels"](source)
        options = Options(referrers=True, concurrency=concurrency)
        async with aclosing(opened(path)) as place:
            await copy_all(source, place, runtime=ThreadRuntime(), options=options)

    contents = []
    for number in range(3):
        path = tmp_path / f"{number}{suffix}"
        run(copied(path, 1 + 3 * number))
        contents.append(path.read_bytes())
        run(copied(path, 2))  # it has all of it already
        contents.append(path.read_bytes())
    assert len(set(contents)) == 1
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [f".{suffix.split('.')[-1]}"] * 3


def test_the_members(tmp_path):
    run(write(tmp_path / "a.tar", "v1"))
    with tarfile.open(tmp_path / "a.tar") as archive:
        members = archive.getmembers()
    names = [member.name for member in members]
    assert names[:4] == ["oci-layout", "index.json", "blobs", "blobs/sha256"]
    assert names[4:] == sorted(names[4:])
    assert len(names) == 7
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in members} == {(0, 0, 0, "", "")}
    assert {m.mode for m in members} == {0o644, 0o755}


def test_more_is_added_to_an_archive(tmp_path):
    path = tmp_path / "a.tar.gz"
    run(write(path, "one"))
    before = run(read(path))
    run(write(path, "two"))
    after = run(read(path))
    assert sorted(after["tags"]) == ["one", "two"]
    assert before["blobs"].items() <= after["blobs"].items()


def test_a_link_is_read_and_written_through(tmp_path):
    """The user named it."""
    run(write(tmp_path / "a.tar", "one"))
    (tmp_path / "latest.tar").symlink_to("a.tar")
    run(write(tmp_path / "latest.tar", "two"))
    assert (tmp_path / "latest.tar").is_symlink()
    assert sorted(run(read(tmp_path / "a.tar"))["tags"]) == ["one", "two"]


def test_without_a_flush_nothing_changes(tmp_path):
    path = tmp_path / "a.tar"

    async def put():
        async with aclosing(opened(path)) as place:
            await push_image(place, "lost", "v1")

    run(put())
    assert list(tmp_path.iterdir()) == []
    run(write(path, "one"))
    before = path.read_bytes()
    run(put())
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.tar"]


def test_what_breaks_while_it_is_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "a.tar"
    run(write(path, "one"))
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutOfSpace):
        run(write(path, "two"))
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.tar"]


def test_what_somebody_else_wrote_meanwhile_is_not_lost(tmp_path):
    path = tmp_path / "a.tar"

    async def work():
        async with aclosing(opened(path)) as place:
            await push_image(place, "one", "one")
            await write(path, "two")
            with pytest.raises(StoreUnavailable, match="changed by another program"):
                await place.flush()

    run(work())
    assert list(run(read(path))["tags"]) == ["two"]


# ---- what is read


def packed(folder, mode="w", rename=lambda name: name, **options):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, **options) as archive:
        for path in sorted(folder.rglob("*")):
            archive.add(path, rename(str(path.relative_to(folder))), recursive=False)
    return out.getvalue()


# fmt: off
FORMS = {
    "ustar":            {"format": tarfile.USTAR_FORMAT},
    "gnu":              {"format": tarfile.GNU_FORMAT},
    "pax":              {"format": tarfile.PAX_FORMAT},
    "pax, with more":   {"format": tarfile.PAX_FORMAT, "pax_headers": {"comment": "x" * 3000}},
    "./ before names":  {"rename": lambda name: f"./{name}"},
    "gzip":             {"mode": "w:gz"},
}
# fmt: on


@pytest.mark.parametrize("form", FORMS)
def test_as_other_tools_write_it(form, layout, wanted, tmp_path):
    (tmp_path / "a.any").write_bytes(packed(layout.folder, **FORMS[form]))
    assert run(read(tmp_path / "a.any")) == wanted


def test_gzip_in_several_members(layout, wanted, tmp_path):
    content = packed(layout.folder)
    (tmp_path / "a.tar.gz").write_bytes(
        b"".join(gzip.compress(content[at : at + 1000]) for at in range(0, len(content), 1000))
    )
    assert run(read(tmp_path / "a.tar.gz")) == wanted


def test_a_plain_archive_is_read_where_it_lies(layout, wanted, tmp_path, monkeypatch):
    (tmp_path / "a.tar").write_bytes(packed(layout.folder))

    def unpack(*arguments, **more):
        raise AssertionError("nothing needs to be unpacked")

    monkeypatch.setattr(tempfile, "TemporaryFile", unpack)
    assert run(read(tmp_path / "a.tar")) == wanted


def has_zstd():
    try:
        compression._zstd()
    except Unsupported:
        return False
    return True


@pytest.mark.skipif(has_zstd(), reason="this Python has a zstd")
@pytest.mark.parametrize("name", ["a.tar.zst", "a.tar"])
def test_zstd_without_a_library(name, tmp_path):
    path = tmp_path / name
    if name == "a.tar":
        path.write_bytes(b"\x28\xb5\x2f\xfd" + bytes(100))
    with pytest.raises(Unsupported, match=r"wasmhold\[zstd\]"):
        run(write(path, "one"))
    assert path.exists() is (name == "a.tar")


@pytest.mark.skipif(not has_zstd(), reason="this Python has no zstd")
def test_zstd_with_a_library(tmp_path):
    numbers = itertools.count()
    check_repository(lambda: opened(tmp_path / f"{next(numbers)}.tar.zst"))
    run(write(tmp_path / "a.tar.zst", "one"))
    content = (tmp_path / "a.tar.zst").read_bytes()
    for damaged in (content[:-20], content + b"more"):
        (tmp_path / "a.tar.zst").write_bytes(damaged)
        with pytest.raises(ContentDamaged):
            run(read(tmp_path / "a.tar.zst"))


def test_a_blob_that_no_file_has_room_for(tmp_path):
    async def work():
        async with aclosing(opened(tmp_path / "a.tar")) as place:
            large = replace(descriptor_of(b"x"), size=10**30)
            with pytest.raises(OutOfSpace):
                await place.blob_put(large, Source(b"x"))

    run(work())


# ---- what is hostile


def added(layout, *members, before=False):
    """The layout's archive with further members: names, or whole headers, with content."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        steps = [lambda: [archive.add(p, str(p.relative_to(layout.folder)), recursive=False) for p in sorted(layout.folder.rglob("*"))]]  # fmt: skip
        steps.insert(0 if before else 1, lambda: [_add(archive, m) for m in members])
        for step in steps:
            step()
    return out.getvalue()


def _add(archive, member):
    header, content = member
    info = header if isinstance(header, tarfile.TarInfo) else tarfile.TarInfo(header)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


def link(name, to, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info, b""


def raw_header(name, kind, size):
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


BLOB = "blobs/sha256/" + "a" * 64

# fmt: off
HOSTILE = {
    "a symbolic link as a blob": (lambda at: added(at, link(BLOB, "x")), "is no plain file"),
    "a hard link as a blob":     (lambda at: added(at, link(BLOB, "index.json", tarfile.LNKTYPE)), "is no plain file"),
    "a link as the index":       (lambda at: added(at, link("index.json", "x"), before=True), "is in it twice"),
    "a device as a blob":        (lambda at: added(at, link(BLOB, "", tarfile.CHRTYPE)), "is no plain file"),
    "a sparse blob":             (lambda at: raw_header(BLOB, tarfile.GNUTYPE_SPARSE, 0) + added(at), "is no plain file"),
    "two indexes":               (lambda at: added(at, ("index.json", b"{}")), "is in it twice"),
    "two indexes, one with ./":  (lambda at: added(at, ("./index.json", b"{}")), "is in it twice"),
    "a blob twice":              (lambda at: added(at, (BLOB, b"1"), (BLOB, b"2")), "is in it twice"),
    "cut off":                   (lambda at: packed(at.folder, format=tarfile.USTAR_FORMAT).rstrip(b"\0")[:-1], "is cut off"),
    "cut off in a header":       (lambda at: packed(at.folder, format=tarfile.USTAR_FORMAT)[:700], "cut off in a header"),
    "a size beyond the end":     (lambda at: raw_header("x", tarfile.REGTYPE, 1 << 40) + added(at), "is cut off"),
    "a long name without end":   (lambda at: raw_header("x", tarfile.GNUTYPE_LONGNAME, 2 * MIB) + bytes(2 * MIB), "are taken"),
    "a pax header without end":  (lambda at: raw_header("x", tarfile.XHDTYPE, 2 * MIB) + bytes(2 * MIB), "are taken"),
    "a pax header of nonsense":  (lambda at: raw_header("x", tarfile.XHDTYPE, 512) + b"x" * 512 + added(at), "cannot be read"),
    "a pax size of nonsense":    (lambda at: raw_header("x", tarfile.XHDTYPE, 10) + b"10 size=x\n".ljust(512, b"\0") + packed(at.folder, format=tarfile.USTAR_FORMAT), "no number"),
    "a name above":              (lambda at: added(at, ("../escaped", b"x")), "lies outside"),
    "a name above, inside":      (lambda at: added(at, ("blobs/../../x", b"x")), "lies outside"),
    "an absolute name":          (lambda at: added(at, ("/absolute", b"x")), "lies outside"),
    "a link above":              (lambda at: added(at, link("x", "../x")), "leads out"),
    "a link to another file":    (lambda at: added(at, link("x", "/etc/passwd")), "leads out"),
    "a hard link above":         (lambda at: added(at, link("a/x", "../x", tarfile.LNKTYPE)), "leads out"),
    "a wrong checksum":          (lambda at: b"x" + packed(at.folder)[1:], "checksum"),
    "no tar":                    (lambda at: b"this is no tar" * 100, "no archive"),
    "no layout":                 (lambda at: packed(at.folder / "blobs"), "no index.json"),
    "nothing":                   (lambda at: b"", "no index.json"),
    "gzip that is cut":          (lambda at: packed(at.folder, "w:gz")[:200], "is damaged"),
    "gzip of nonsense":          (lambda at: b"\x1f\x8b" + b"x" * 100, "is damaged"),
    "gzip with a wrong sum":     (lambda at: packed(at.folder, "w:gz")[:-8] + bytes(8), "is damaged"),
    "gzip with more behind it":  (lambda at: packed(at.folder, "w:gz") + b"more", "is damaged"),
}
# fmt: on


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile(kind, layout, tmp_path):
    make, said = HOSTILE[kind]
    (tmp_path / "a.tar").write_bytes(make(layout))
    for work in (read, lambda path: write(path, "one")):
        before = (tmp_path / "a.tar").read_bytes()
        with pytest.raises(ContentDamaged) as caught:
            run(work(tmp_path / "a.tar"))
        assert said in str(caught.value)
        assert str(tmp_path / "a.tar") in str(caught.value)
        assert (tmp_path / "a.tar").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar", "layout"]


@covers("ZL-765")
def test_a_blob_that_an_archive_lacks_is_named(layout, tmp_path):
    absent = layout.path(layout.blob(b"two")["digest"])
    absent.unlink()
    (tmp_path / "a.tar").write_bytes(packed(layout.folder))

    async def work():
        target = MemoryRepository(ThreadRuntime())
        async with aclosing(opened(tmp_path / "a.tar")) as place:
            await copy_all(place, target, runtime=ThreadRuntime())

    with pytest.raises(CopyFailed, match=f"no blob sha256:{absent.name}"):
        run(work())


def test_what_is_no_file_of_a_layout_is_passed_over(layout, wanted, tmp_path):
    more = [(name, b"x") for name in ("manifest.json", "blobs/md5/abc", "blobs/sha256/x")]
    (tmp_path / "a.tar").write_bytes(added(layout, *more, link("a/x", "../manifest.json")))
    assert run(read(tmp_path / "a.tar")) == wanted


BOMBS = {
    "entries": (ImportLimits(entries=40), "more than 40 entries"),
    "ratio": (ImportLimits(free=100_000, ratio=10), "more than 100000 bytes"),
    "size": (ImportLimits(size=50_000), "more than 50000 bytes"),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_bombs(kind, layout, tmp_path):
    bounds, said = BOMBS[kind]
    plain = added(layout, *((f"more/{n}", b"") for n in range(50)), ("zeros", bytes(500_000)))
    (tmp_path / "a.tar").write_bytes(plain if kind == "entries" else gzip.compress(plain))

    async def index(bounds):
        content = ArchiveContent(str(tmp_path / "a.tar"), ThreadRuntime(), bounds=bounds)
        try:
            return content.index()
        finally:
            content.close()

    with pytest.raises(LimitExceeded, match=said):
        run(index(bounds))
    assert run(index(ImportLimits())) is not None


def test_an_index_that_is_too_large(tmp_path):
    big = tarfile.TarInfo("index.json")
    big.size = limits.LAYOUT_INDEX + 1
    with open(tmp_path / "a.tar", "wb") as file:
        file.write(big.tobuf())
        file.truncate(big.size + 10_240)
    with pytest.raises(ContentDamaged, match="more than"):
        run(read(tmp_path / "a.tar"))


@given(st.data())
@settings(max_examples=300)
def test_any_change_of_an_archive_is_an_error_or_harmless(tmp_path_factory, data):
    """Flip, cut or repeat: what comes out is an error of ours, or blocks within the file."""
    folder = tmp_path_factory.getbasetemp() / "changed"
    if not folder.exists():
        made = Layout(folder)
        made.add(made.manifest(b"one", b"two"), "v1")
        made.write()
    content = bytearray(packed(folder, format=data.draw(st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))))  # fmt: skip
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        kind = data.draw(st.sampled_from(["flip", "cut", "repeat"]))
        if kind == "flip":
            content[at] = data.draw(st.integers(0, 255))
        elif kind == "cut" and at:
            del content[at:]
        else:
            content[at:at] = content[at : at + 512]
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        try:
            found = find_members(file.fileno(), "a.tar", limits.ARCHIVE_MEMBERS)
        except ContentDamaged:
            return
        for region in found.files.values():
            assert 0 <= region.start <= region.start + region.size <= len(content)
