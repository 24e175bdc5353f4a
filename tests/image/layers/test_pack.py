"""Packing: the same files give the same bytes, and unpacked again they are the same files."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import os
import shutil
import socket
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.image.layers.trees import read_tree
from wasmhold import pack_layer as pack_in_loop
from wasmhold.client.places import compression
from wasmhold.client.places.entries import Stream, read_entries
from wasmhold.image.layers import pack
from wasmhold.image.layers.blocking import LayerUnpacker, pack_layer
from wasmhold.image.layers.kinds import compression_of_name
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import FileInvalid, InputError, MissingExtraError
from wasmhold.testing.covers import covers

SYSTEM = Path("/usr/bin/python3")
SOURCE = Path(__file__).parents[3] / "src"
# Of the tree below: the archive follows from the files alone, on any machine.
DIFF_ID = "sha256:3290c7fd2e63fadb8ae1a417ec97b6a5914497b61ea4dca18101bdb87f8c2230"


@pytest.fixture
def site(tmp_path) -> Path:
    """A tree with everything that can be packed."""
    root = tmp_path / "site"
    for name, content in {
        "index.html": b"hello\n",
        "a-b": b"1",
        "a/b": b"2",
        "a/" + "n" * 120: b"3",
        "p" * 90 + "/" + "q" * 90: b"4",
        "deep/" * 30 + "x" * 50: b"5",
        "name with \xfc\n".encode("latin-1"): b"6",
        "empty": b"",
        "block": bytes(512),
        "large": b"0123456789" * 60_000,
    }.items():
        path = os.path.join(os.fsencode(root), os.fsencode(name))
        os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
    (root / "nothing" / "in it").mkdir(parents=True)
    (root / "link").symlink_to("a/b")
    (root / "out").symlink_to("/etc/passwd")
    (root / "broken").symlink_to("t" * 150)
    os.link(root / "a" / "b", root / "z")
    os.link(root / "link", root / "link2", follow_symlinks=False)
    for path in root.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
    (root / "index.html").chmod(0o755)
    (root / "empty").chmod(0o400)
    (root / "nothing").chmod(0o700)
    return root


@covers("ZL-850", "ZL-851")
@pytest.mark.parametrize("kind", ["none", "gzip", "zstd"])
def test_what_is_packed_and_unpacked_is_the_same(kind, site, tmp_path):
    packed = pack_layer(site, compression=kind, output=tmp_path / "layer")
    content = (tmp_path / "layer").read_bytes()
    assert packed.path == str(tmp_path / "layer")
    assert (packed.descriptor.digest, packed.descriptor.size) == (Digest.of(content), len(content))
    done = LayerUnpacker(tmp_path / "root").unpack_layer(
        content, packed.descriptor.media_type, diff_id=packed.diff_id
    )
    assert done.warnings == ()
    assert read_tree(tmp_path / "root") == read_tree(site)


@covers("ZL-850")
def test_the_bytes_follow_from_the_files_alone(site, tmp_path):
    one = pack_layer(site, output=tmp_path / "1")
    assert str(one.diff_id) == DIFF_ID
    other = tmp_path / "other"
    shutil.copytree(site, other, symlinks=True)
    for name in ("z", "link2"):  # a copy makes files of what were further names
        (other / name).unlink()
    os.link(other / "a" / "b", other / "z")
    os.link(other / "link", other / "link2", follow_symlinks=False)
    for path in other.rglob("*"):
        os.utime(path, (5, 5), follow_symlinks=False)
    assert pack_layer(other, output=tmp_path / "2").descriptor == one.descriptor
    assert asyncio.run(pack_in_loop(site, output=tmp_path / "3")).descriptor == one.descriptor


@covers("ZL-850")
@pytest.mark.skipif(not SYSTEM.exists(), reason=f"there is no {SYSTEM}")
def test_another_python_gives_the_same_archive(site, tmp_path):
    program = (
        "import sys; from wasmhold.image.layers.blocking import pack_layer;"
        "print(pack_layer(sys.argv[1], compression='none', output=sys.argv[2]).diff_id)"
    )
    ran = subprocess.run(
        [SYSTEM, "-c", program, site, tmp_path / "layer"],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(SOURCE), "PATH": os.environ["PATH"]},
    )
    if "No module named" in ran.stderr:
        pytest.skip(f"{SYSTEM} lacks a package: {ran.stderr.splitlines()[-1]}")
    assert ran.stdout.strip() == DIFF_ID, ran.stderr


@covers("ZL-850")
def test_headers_say_nothing_of_this_machine(site, tmp_path):
    packed = pack_layer(site, mtime=1_700_000_000, output=tmp_path / "layer")
    content = (tmp_path / "layer").read_bytes()
    assert content[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"  # no name, time or system
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(content))) as archive:
        members = archive.getmembers()
    assert {(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in members} == {
        (0, 0, "", "", 1_700_000_000)
    }
    names = [m.name + "/" * m.isdir() for m in members]
    assert names == sorted(names, key=os.fsencode)
    assert {m.name for m in members if m.islnk()} == {"link2", "z"}
    assert packed.descriptor.media_type.endswith("+gzip")


@covers("ZL-850")
@pytest.mark.skipif(shutil.which("tar") is None, reason="there is no tar on PATH")
def test_tar_unpacks_it(site, tmp_path):
    pack_layer(site, compression="none", output=tmp_path / "layer.tar")
    (tmp_path / "root").mkdir()
    subprocess.run(["tar", "-xpf", "layer.tar", "-C", "root"], cwd=tmp_path, check=True)
    assert read_tree(tmp_path / "root") == read_tree(site)


@covers("ZL-850")
def test_given_names_are_packed_in_their_order(site, tmp_path):
    def names(*paths: str) -> list[str]:
        pack_layer(site, paths, compression="none", output=tmp_path / "layer")
        with tarfile.open(tmp_path / "layer") as archive:
            return archive.getnames()

    assert names("z", "./index.html", "nothing") == ["z", "index.html", "nothing", "nothing/in it"]
    assert names("empty", "empty", "a/b", "a//b") == ["empty", "a/b"]
    assert names() == []


@covers("ZL-850")
def test_without_an_output_it_is_a_new_file(site):
    packed = pack_layer(site, ["empty"])
    try:
        assert hashlib.sha256(Path(packed.path).read_bytes()).hexdigest() == (
            packed.descriptor.digest.encoded
        )
        assert os.stat(packed.path).st_mode & 0o077 == 0
    finally:
        os.unlink(packed.path)


def spoiled(site: Path, what: str) -> tuple[dict[str, object], type[Exception], str]:
    match what:
        case "missing":
            return {"paths": ["nowhere"]}, FileInvalid, "nowhere: No such file"
        case "upwards":
            return {"paths": ["a/../../secret"]}, InputError, "below the folder"
        case "absolute":
            return {"paths": ["/etc/passwd"]}, InputError, "below the folder"
        case "no name":
            return {"paths": ["."]}, InputError, "below the folder"
        case "a whiteout":
            (site / "a" / ".wh.b").touch()
            return {}, FileInvalid, "removes something"
        case "a pipe":
            os.mkfifo(site / "pipe")
            return {}, FileInvalid, "no file, folder or link"
        case "a socket":
            here = os.getcwd()
            os.chdir(site)  # its name has little room
            with socket.socket(socket.AF_UNIX) as made:
                made.bind("s")
            os.chdir(here)
            return {}, FileInvalid, "no file, folder or link"
        case "another kind":
            return {"compression": "lzma"}, InputError, "gzip, zstd or none"
        case "a level":
            return {"level": 10}, InputError, "1 to 9"
        case "a level of nothing":
            return {"level": 1, "compression": "none"}, InputError, "levels of none"
        case "a time":
            return {"mtime": -1}, InputError, "seconds since 1970"
    raise AssertionError(what)


@covers("ZL-850")
@pytest.mark.parametrize(
    "what",
    [
        *("missing", "upwards", "absolute", "no name", "a whiteout", "a pipe", "a socket"),
        *("another kind", "a level", "a level of nothing", "a time"),
    ],
)
def test_what_cannot_be_packed(what, site, tmp_path):
    how, kind, said = spoiled(site, what)
    (tmp_path / "layer").write_text("before")
    with pytest.raises(kind, match=said):
        pack_layer(site, **how, output=tmp_path / "layer")
    assert (tmp_path / "layer").read_text() == "before"
    assert sorted(os.listdir(tmp_path)) == ["layer", "site"]


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(FileInvalid, match="No such file"):
        pack_layer(tmp_path / "nowhere", output=tmp_path / "layer")
    assert os.listdir(tmp_path) == []


@covers("ZL-850")
@pytest.mark.parametrize("paths", [None, ["a"], ["a/l.tar"], ["empty", "link", "a"]])
def test_an_output_that_would_be_packed(paths, site):
    with pytest.raises(InputError, match="would be packed"):
        pack_layer(site, paths, output=site / "a" / "l.tar")
    assert not (site / "a" / "l.tar").exists()
    pack_layer(site, ["empty"], output=site / "a" / "l.tar")


@covers("ZL-803", "ZL-850")
def test_without_zstd(site, tmp_path, monkeypatch):
    monkeypatch.setattr(compression, "_MODULES", ("no_such_module_of_zstd",))
    with pytest.raises(MissingExtraError):
        pack_layer(site, compression="zstd", output=tmp_path / "layer")
    assert os.listdir(tmp_path) == ["site"]


@pytest.mark.parametrize(("grown", "said"), [(b"more", "longer"), (None, "shorter")])
def test_a_file_that_changes_while_it_is_packed(grown, said, site, tmp_path, monkeypatch):
    real = pack.header

    def header(kind, name, *rest, **more):
        if name == b"large":
            with open(site / "large", "ab" if grown else "wb") as file:
                file.write(grown or b"")
        return real(kind, name, *rest, **more)

    monkeypatch.setattr(pack, "header", header)
    with pytest.raises(FileInvalid, match=said):
        pack_layer(site, output=tmp_path / "layer")
    assert sorted(os.listdir(tmp_path)) == ["site"]


@covers("ZL-850")
def test_epoch():
    assert pack.epoch({}) == pack.epoch({"SOURCE_DATE_EPOCH": ""}) == 0
    assert pack.epoch({"SOURCE_DATE_EPOCH": "1700000000"}) == 1_700_000_000
    with pytest.raises(InputError):
        pack.epoch({"SOURCE_DATE_EPOCH": "now"})


def test_names_of_files():
    for name, kind in {"a.tar": "none", "a.tgz": "gzip", "b/a.tar.zst": "zstd"}.items():
        found = compression_of_name(name)
        assert found is not None
        assert found.value == kind
    assert compression_of_name("oci:image:v1") is None


@given(
    st.binary(min_size=1, max_size=400).filter(lambda b: b"\0" not in b and b[-1:] != b"/"),
    st.binary(max_size=400).filter(lambda b: b"\0" not in b),
    st.integers(0, 0o7777),
    st.integers(0, 1 << 40),
)
def test_headers_are_read_as_they_were_written(name, link, mode, mtime_and_size):
    mtime = min(mtime_and_size, 8**11 - 1)
    made = pack.header(b"2", name, mode, mtime, link=link)
    (entry,) = read_entries(Stream(io.BytesIO(made)))
    assert (entry.name, entry.link, entry.mode) == (name, link, mode)
    assert entry.mtime_ns == mtime * 10**9
    # The library of Python says the same.
    with tarfile.open(fileobj=io.BytesIO(made + bytes(1024))) as archive:
        (member,) = archive.getmembers()
    assert os.fsencode(member.name) == name
    sized = pack.header(b"0", b"x", mode, 0, size=mtime_and_size)
    reader = read_entries(Stream(io.BytesIO(sized)))
    assert next(reader).size == mtime_and_size
