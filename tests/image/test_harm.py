"""Registries, archives and folders that were made to do harm, or that somebody has upset."""

from __future__ import annotations

import fcntl
import io
import json
import os
import shutil
import socket
import stat
import tarfile
import traceback
from contextlib import aclosing
from types import SimpleNamespace

import pytest

from tests.cli.program import wasmhold
from tests.client.docker_archives import config_of, layer, manifest_json, packed
from tests.client.recording import Says, recording
from tests.image.hub import CONTENTS, LAYER, Hub, hub, index_of
from tests.image.test_foreign import base, mirror, put
from wasmhold.cli.progress import Progress
from wasmhold.client.caches.blob_cache import BlobCache
from wasmhold.client.caches.blocking import BlockingCache
from wasmhold.client.caches.folder import DiskContent
from wasmhold.client.caches.records import parse_record
from wasmhold.client.caches.shared_config import ObjectCacheConfig
from wasmhold.client.credentials import Bearer
from wasmhold.client.events import Failed, Side
from wasmhold.client.place import PlaceInvalid
from wasmhold.client.places.docker import open_docker_archive
from wasmhold.client.places.tar import find_members
from wasmhold.client.runtime import ThreadRuntime
from wasmhold.client.settings import Settings
from wasmhold.image import Source
from wasmhold.image.blocking import ImagePuller
from wasmhold.image.events import Warned
from wasmhold.image.layers import staging
from wasmhold.image.layers.apply import Layer
from wasmhold.image.layers.blocking import LayerUnpacker
from wasmhold.oci import limits
from wasmhold.oci.descriptor import Descriptor
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import (
    ArchiveInvalid,
    AuthFailed,
    ContentDamaged,
    LimitExceeded,
    StoreUnavailable,
    Unreachable,
    WasmholdError,
)
from wasmhold.ports.runtime import run
from wasmhold.sync import LocalRegistry, fetch_archive, import_image
from wasmhold.testing.covers import covers
from wasmhold.testing.repository_suite import named


@pytest.fixture(name="hub", scope="module")
def a_hub():
    with hub() as made:
        yield made


# ---- what a manifest says

NO_URLS = ["https://[", "https://\x1b[31mred/", "https://\u2100.example/", "http://[::1", "", "x"]


@covers("ZL-206")
@pytest.mark.parametrize("url", NO_URLS)
def test_what_is_no_url_is_passed_over(hub: Hub, url):
    with mirror() as server:
        with ImagePuller(allow_private_urls=True) as puller:
            right = put(hub, "urls/right", base(url, f"{server.url}/layer"))
            assert puller.pull(right).layers[0].source is Source.URL
        with ImagePuller() as puller, pytest.raises(Unreachable):
            puller.pull(put(hub, "urls/wrong", base(url)))
        assert server.lines() == ["GET /layer"]


# ---- caches that somebody has upset


def as_link(path, outside):
    path.symlink_to(outside)


def as_file(path, outside):
    path.write_text("x")


UPSET = ["blobs", "blobs/sha256", "manifests", "manifests/sha256", "refs", "tmp"]


def upset(folder, name, how, outside):
    path = folder / name
    shutil.rmtree(path, ignore_errors=True)
    path.parent.mkdir(exist_ok=True)
    how(path, outside)


def content_of(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@covers("ZL-188", "ZL-200")
@pytest.mark.parametrize("is_warm", [False, True])
@pytest.mark.parametrize("how", [as_link, as_file])
@pytest.mark.parametrize("name", UPSET)
def test_a_pull_does_without_a_cache_that_is_upset(hub: Hub, name, how, is_warm, tmp_path):
    hub.image("upset")
    outside = tmp_path / "outside"
    for place in (outside, outside / "sha256"):
        place.mkdir()
        for content in CONTENTS:
            (place / Digest.of(content).encoded).write_text("somebody else's")
    before = content_of(outside)
    cache, told = BlobCache.open(tmp_path / "cache"), []
    if is_warm:
        with ImagePuller(cache) as puller:
            puller.pull(f"{hub.host}/upset:v1")
    upset(tmp_path / "cache", name, how, outside)
    with ImagePuller(cache, on_event=told.append) as puller:
        _, layers = puller.pull(f"{hub.host}/upset:v1")
        assert [one.read() for one in layers] == CONTENTS
    for call in ("clear", "prune", "verify"):
        try:
            getattr(BlockingCache(cache), call)()
        except WasmholdError as error:
            assert str(tmp_path / "cache") in str(error)
    assert content_of(outside) == before
    is_told = any(isinstance(event, Warned) for event in told)
    assert is_told or name == "refs" or is_warm


def test_a_pull_goes_on_when_the_cache_becomes_something_else(hub: Hub, tmp_path):
    hub.image("became")
    cache, told = BlobCache.open(tmp_path / "cache"), []
    (tmp_path / "cache" / "wasmhold-cache.json").unlink()
    (tmp_path / "cache" / "mine").write_text("x")
    with ImagePuller(cache, on_event=told.append) as puller:
        _, layers = puller.pull(f"{hub.host}/became:v1")
        assert [one.read() for one in layers] == CONTENTS
    assert any("holds other files" in e.text for e in told if isinstance(e, Warned))
    assert sorted(os.listdir(tmp_path / "cache")) == ["CACHEDIR.TAG", "mine"]


class Forgetful:
    """A cache from which others remove each blob again, `times` times, before it is opened."""

    def __init__(self, times):
        self._times, self._cache = times, BlobCache.memory()

    def engine(self, runtime):
        self._engine = self._cache.engine(runtime)
        return self

    async def blob_open(self, digest, start=0):
        if self._times:
            self._times -= 1
            await self._engine.blob_delete(digest)
        return await self._engine.blob_open(digest, start)

    def __getattr__(self, name):
        return getattr(self._engine, name)


@covers("ZL-537")
def test_a_cache_that_others_clear_meanwhile(hub: Hub):
    hub.image("cleared")
    with ImagePuller(Forgetful(4)) as puller:
        _, layers = puller.pull(f"{hub.host}/cleared:v1")
        hub.asked()
        assert layers[0].read() == CONTENTS[0]
        assert hub.asked() == ["GET blobs"] * 4


def test_what_others_remove_while_it_is_verified_is_not_damaged(tmp_path, monkeypatch):
    cache = BlockingCache(BlobCache.open(tmp_path / "cache"))
    digests = [cache.put(content) for content in CONTENTS]
    listed = DiskContent.listed

    def then_cleared(content, kind):
        found = listed(content, kind)
        for digest in digests[:2]:
            (tmp_path / "cache" / "blobs" / "sha256" / digest.encoded).unlink(missing_ok=True)
        return found

    monkeypatch.setattr(DiskContent, "listed", then_cleared)
    checked = cache.verify()
    assert (checked.count, checked.damaged) == (1, ())


@pytest.mark.parametrize("fetched", ["1" + "0" * 400, "1e999", "-1e300", "true", "1e12"])
def test_a_record_of_no_time_is_none(fetched):
    top = {"mediaType": "a/b", "digest": str(Digest.of(b"")), "size": 0}
    text = json.dumps({"host": "h", "name": "n", "tag": "t", "top": top, "original": "o"})
    assert parse_record(f'{text[:-1]}, "fetched": 1}}'.encode()) is not None
    found = parse_record(f'{text[:-1]}, "fetched": {fetched}}}'.encode())
    assert found is None or (fetched, found.fetched_s) == ("true", 1.0)


@covers("ZL-541")
@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("s3://[", None),
        ("s3://KEY:secret@[/x", None),
        ("s3://b", "http://["),
        ("s3://b", "https://KEY:secret@h:port"),
    ],
)
def test_an_object_store_whose_url_is_none(url, endpoint):
    with pytest.raises(PlaceInvalid, match="no URL") as caught:
        ObjectCacheConfig(url, endpoint=endpoint)
    assert "secret" not in str(caught.value)
    ran = wasmhold("cache", "info", "--cache", url, variables={"WASMHOLD_S3_ENDPOINT": endpoint})
    assert ran.status == 2
    assert "secret" not in ran.err


# ---- files that are written


@pytest.mark.parametrize("command", ["pull", "pack", "blob"])
def test_what_is_no_plain_file_keeps_its_name(hub: Hub, command, tmp_path):
    """The superuser's ``-o /dev/null`` shall not take the device away from everybody."""
    hub.image("node")
    (tmp_path / "tree").mkdir()
    os.mkfifo(tmp_path / "pipe.tar")
    (tmp_path / "link.tar").symlink_to("pipe.tar")
    layer_of = f"{hub.host}/node@{Digest.of(CONTENTS[0])}"
    for name in ("pipe.tar", "link.tar"):
        path = tmp_path / name
        arguments = {
            "pull": ["pull", f"{hub.host}/node:v1", "-o", path],
            "pack": ["pack", tmp_path / "tree", "-o", path],
            "blob": ["blob", "get", layer_of, "-o", path],
        }
        ran = wasmhold(*arguments[command])
        assert ran.status == 1
        assert "is no regular file" in ran.err
    assert stat.S_ISFIFO((tmp_path / "pipe.tar").lstat().st_mode)
    assert sorted(os.listdir(tmp_path)) == ["link.tar", "pipe.tar", "tree"]


def test_a_file_keeps_its_mode_and_gets_no_rights_by_it(hub: Hub, tmp_path):
    hub.image("modes")
    (tmp_path / "old").write_text("x")
    (tmp_path / "old").chmod(0o4751)
    before = os.umask(0o027)
    try:
        with ImagePuller() as puller:
            for name in ("old", "new"):
                where = f"{hub.host}/modes:v1", Digest.of(CONTENTS[0]), tmp_path / name
                puller.pull_blob_to(*where)
    finally:
        os.umask(before)
    modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("old", "new")}
    assert modes == {"old": 0o751, "new": 0o640}


def test_who_was_taken_for_dead_begins_anew(tmp_path, monkeypatch):
    """A writer's new folder may be swept by another one before it is locked."""
    real, swept = fcntl.flock, []

    def late(descriptor, how):
        if how == fcntl.LOCK_EX and len(swept) < 2:
            swept.extend(set(os.listdir(tmp_path)) - set(swept))
            for name in os.listdir(tmp_path):
                os.rmdir(tmp_path / name)
        real(descriptor, how)

    monkeypatch.setattr(staging, "fcntl", SimpleNamespace(**{**vars(fcntl), "flock": late}))
    with staging.beside(str(tmp_path / "root")) as root:
        os.mkdir("inner", dir_fd=root)
    assert len(swept) == 2
    assert os.listdir(tmp_path) == ["root"]
    assert os.listdir(tmp_path / "root") == ["inner"]


# ---- archives that would fill the memory, or take for ever


def test_names_of_an_archive_are_bounded_together(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "ARCHIVE_NAMES", 10_000)
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for number in range(11):
            archive.addfile(tarfile.TarInfo(f"{number:01000}"), io.BytesIO())
    with open(tmp_path / "a.tar", "rb") as file:
        with pytest.raises(LimitExceeded, match="bytes of names"):
            find_members(file.fileno(), "a.tar", 100)
        monkeypatch.setattr(limits, "ARCHIVE_NAMES", 11_000)
        assert len(find_members(file.fileno(), "a.tar", 100).files) == 11


@pytest.mark.parametrize(("links", "is_followed"), [(40, True), (41, False)])
def test_links_are_followed_as_far_as_the_system_would(links, is_followed, tmp_path):
    content = layer("one")
    ways = [(f"l{number}", f"l{number + 1}") for number in range(links)]
    listed = manifest_json(("c", ["app:v1"], ["l0"]))
    members = [("c", config_of(content)), *ways, (f"l{links}", content), ("manifest.json", listed)]
    (tmp_path / "a.tar").write_bytes(packed(members))

    async def tags():
        async with aclosing(
            open_docker_archive(str(tmp_path / "a.tar"), "", ThreadRuntime())
        ) as at:
            return await at.tags()

    if is_followed:
        assert run(tags()) == ["v1"]
    else:
        with pytest.raises(ContentDamaged, match="l0 is not in the archive"):
            run(tags())


def test_indexes_of_an_archive_lead_to_so_many_manifests(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "GRAPH_NODES", 20)
    children = [Descriptor("application/vnd.oci.image.manifest.v1+json", Digest.of(bytes([n])), 1) for n in range(30)]  # fmt: skip
    tops = [index_of(*children[:15]), index_of(*children[15:])]
    index = {
        "schemaVersion": 2,
        "manifests": [named(top).to_json() for top in tops],
    }
    members = [
        ("oci-layout", b'{"imageLayoutVersion": "1.0.0"}'),
        ("index.json", json.dumps(index).encode()),
        *((f"blobs/sha256/{top.digest.encoded}", top.content) for top in tops),
    ]
    (tmp_path / "a.tar").write_bytes(packed(members))
    local = LocalRegistry(tmp_path / "local")
    with pytest.raises(LimitExceeded, match="20 manifests in indexes"):
        import_image(local, tmp_path / "a.tar")


def test_links_that_nothing_resolves_are_looked_for_once_more(tmp_path, monkeypatch):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for number in range(10):
            info = tarfile.TarInfo(f"link{number}")
            info.type, info.linkname = tarfile.LNKTYPE, f"nothing{number}"
            archive.addfile(info)
    tried = []
    link = Layer._link
    monkeypatch.setattr(Layer, "_link", lambda *args: tried.append(args[1]) or link(*args))
    with pytest.raises(ArchiveInvalid, match="nothing0"):
        LayerUnpacker(tmp_path / "root").unpack_layer(out.getvalue(), LAYER)
    assert len(tried) == 20


# ---- secrets

SECRET = "not-to-be-told"


@pytest.mark.parametrize("redirect", [False, True])
def test_a_url_with_a_user_is_told_without(redirect, tmp_path):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        there = f"http://u:{SECRET}@127.0.0.1:{nobody.getsockname()[1]}/x?key={SECRET}"
        with recording(lambda seen: Says(307, {"Location": there})) as server:
            url = f"{server.url}/x" if redirect else there
            with pytest.raises(Unreachable, match="refused") as caught:
                fetch_archive(url, tmp_path / "a", settings=Settings(allow_private_urls=True))
        assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("token", [f"{SECRET}\n", f"{SECRET}\r\nx: y", f"{SECRET} \u2603", ""])
def test_a_token_that_no_header_holds(token, tmp_path):
    challenge = {"WWW-Authenticate": 'Basic realm="x"'}
    with recording(lambda seen: Says(401, challenge)) as server:
        with ImagePuller() as puller, pytest.raises(AuthFailed, match="visible ones") as caught:
            puller.pull(f"{server.host}/a:1", Bearer(token))
        assert SECRET not in "".join(traceback.format_exception(caught.value))
        with pytest.raises(AuthFailed, match="visible ones") as caught:
            fetch_archive(server.url, tmp_path / "a", Bearer(token))
        assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert all(seen.authorization is None for seen in server.seen)


# ---- what strangers say


def test_what_is_told_cannot_steer_the_terminal(capsys):
    progress = Progress(is_quiet=False)
    of = Descriptor("a/b", Digest.of(b""), 0)
    progress.warn("\x1b[31mred\nerror: not ours")
    progress(Failed(Side.SOURCE, of, StoreUnavailable("\x1b]0;title\x07"), again=True))
    said = capsys.readouterr().err
    assert [line[:8] for line in said.splitlines()] == ["warning:", "sha256:e"]
    assert said.replace("\n", "").isprintable()


def test_nor_can_where_an_error_comes_from(hub: Hub):
    put(hub, "steer", base("http://\x1b[31mred\x07/"))
    ran = wasmhold("pull", f"{hub.host}/steer:v1\x1b[31m", "-o", "x", "--debug")
    assert ran.status == 2
    assert "Traceback" in ran.err
    assert "\x1b" not in ran.err
