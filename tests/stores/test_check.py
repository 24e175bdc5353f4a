"""Checking a directory, and what a collection would remove: every kind of damage, with its repair."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from tests.stores.directories import inline, opened
from tests.stores.layouts import Layout, read_tags
from tests.stores.test_index import put as put_index
from wasmhold.oci import media_types
from wasmhold.oci.digest import Digest
from wasmhold.oci.manifest import parse_manifest
from wasmhold.ports.body import BytesBody, read_all
from wasmhold.ports.runtime import run
from wasmhold.ports.store import StoredManifest
from wasmhold.stores.directory import paths
from wasmhold.stores.directory.findings import Kind, Rules
from wasmhold.testing.covers import covers

LAYER = Digest.of(b"layer")
CONFIG = Digest.of(b"{}")
EMPTY = "application/vnd.oci.empty.v1+json"


def push_blob(store, name, content):
    session = run(store.upload_open(name, "sha256"))
    run(store.upload_commit(name, session, 0, BytesBody(content), Digest.of(content)))


def push(store, name, *tags, subject=None, text=""):
    """A manifest of two blobs; its digest."""
    for content in (b"layer", b"{}"):
        push_blob(store, name, content)
    document = {
        "schemaVersion": 2,
        "mediaType": media_types.IMAGE_MANIFEST,
        "config": {"mediaType": EMPTY, "digest": str(CONFIG), "size": 2},
        "layers": [{"mediaType": EMPTY, "digest": str(LAYER), "size": 5}],
        "annotations": {"text": text},
    }
    if subject is not None:
        described = {"mediaType": media_types.IMAGE_MANIFEST, "digest": str(subject), "size": 1}
        document["subject"] = described
    content = json.dumps(document).encode()
    stored = StoredManifest(Digest.of(content), media_types.IMAGE_MANIFEST, content)
    run(
        store.manifest_put(
            name, stored, parse_manifest(content), tags=tags, guard=lambda *_: None, sparse=False
        )
    )
    return stored.digest


class Case:
    """A small store, and what a check finds in it."""

    def __init__(self, store, root: Path) -> None:
        self.store, self.root = store, root
        self.image = push(store, "demo", "v1", "V2")
        self.note = push(store, "demo", subject=self.image, text="note")
        push(store, "other", "v1")
        run(store.settle())
        self.meta = root / "demo/.wasmhold"

    def blob(self, digest, name="demo"):
        return self.root / name / "blobs/sha256" / digest.encoded

    def pooled(self, digest):
        return self.root / paths.pool(digest)

    def find(self, **rules):
        found = []
        self.counts = run(self.store.check(Rules(**rules), found.append))
        return found

    def kinds(self, **rules):
        return sorted({finding.kind for finding in self.find(**rules)})


@pytest.fixture
def case(tmp_path):
    with opened(tmp_path) as store:
        yield Case(store, tmp_path)


@covers("OW-176")
def test_a_store_that_is_whole(case):
    assert case.find() == []
    assert case.find(repair=True, delete_broken=True) == []
    assert (case.counts.repositories, case.counts.manifests, case.counts.tags) == (2, 3, 3)
    assert case.counts.blobs == 7


def overwrite(path, content):
    """Other bytes in the same file, whatever it is called."""
    with open(path, "r+b") as file:
        file.write(content)


def replaced(path, content):
    """Another file with the name."""
    path.unlink()
    path.write_bytes(content)


# fmt: off
def _flipped_blob(case): overwrite(case.blob(LAYER), b"LAYER")
def _flipped_manifest(case): overwrite(case.blob(case.image), b"?")
def _blob_of_one_repository(case): replaced(case.blob(LAYER), b"LAYER")
def _blob_of_the_pool(case): replaced(case.pooled(LAYER), b"LAYER")
def _link_for_a_blob(case):
    case.blob(LAYER).unlink()
    case.blob(LAYER).symlink_to("/etc/hosts")
def _missing_blob(case): case.blob(LAYER).unlink()
def _missing_manifest(case): case.blob(case.note).unlink()
def _wrong_media_type(case):
    entry = case.meta / "manifests" / str(case.note)
    entry.unlink()
    entry.symlink_to(media_types.IMAGE_INDEX)
def _empty_tag(case): replaced(case.meta / "tags/v1", b"")
def _tag_to_nothing(case):
    (case.meta / "tags/v1").unlink()
    (case.meta / "tags/v1").symlink_to(paths.write_short(LAYER))
def _no_referrer(case): shutil.rmtree(case.meta / "referrers" / str(case.image))
def _wrong_referrer(case):
    folder = case.meta / "referrers" / str(LAYER)
    folder.mkdir()
    (folder / str(case.note)).symlink_to(media_types.IMAGE_MANIFEST)
def _unpooled(case): case.pooled(LAYER).unlink()
def _old_index(case):
    index = case.root / "demo/index.json"
    content = index.read_bytes()
    run(case.store.tag_delete("demo", "v1", lambda *_: None))
    run(case.store.settle())
    index.write_bytes(content)
def _no_index(case): (case.root / "demo/index.json").unlink()
def _strays(case):
    (case.root / "demo/blobs/sha256/x").write_text("x")
    (case.root / "demo/blobs/md5").mkdir()
    (case.meta / "manifests/x").symlink_to("x")
    (case.meta / "referrers/x").mkdir()
    (case.root / ".wasmhold/x").write_text("x")
    (case.root / ".wasmhold/pool/sha256/00").mkdir(exist_ok=True)
    (case.root / ".wasmhold/pool/sha256/00/x").write_text("x")

CASES = [
    # damage,               what is found,                  after a repair,             after deletion
    (_flipped_blob,         [Kind.BLOB_DAMAGED],            [Kind.BLOB_MISSING],        []),
    (_flipped_manifest,     [Kind.MANIFEST_DAMAGED],        [Kind.MANIFEST_MISSING],    []),
    (_blob_of_one_repository, [Kind.BLOB_DAMAGED],          [],                         []),
    (_blob_of_the_pool,     [Kind.BLOB_DAMAGED],            [],                         []),
    (_link_for_a_blob,      [Kind.BLOB_DAMAGED, Kind.SIZE_DIFFERS], [],                 []),
    (_missing_blob,         [Kind.BLOB_MISSING],            [],                         []),
    (_missing_manifest,     [Kind.MANIFEST_MISSING],        [Kind.MANIFEST_MISSING],    []),
    (_wrong_media_type,     [Kind.MANIFEST_DAMAGED],        [Kind.MANIFEST_DAMAGED],    []),
    (_empty_tag,            [Kind.TAG_DAMAGED],             [],                         []),
    (_tag_to_nothing,       [Kind.TAG_DANGLING],            [Kind.TAG_DANGLING],        []),
    (_no_referrer,          [Kind.REFERRER_MISSING],        [],                         []),
    (_wrong_referrer,       [Kind.REFERRER_STRAY],          [],                         []),
    (_unpooled,             [Kind.POOL_MISSING],            [],                         []),
    (_no_index,             [Kind.INDEX_BEHIND],            [],                         []),
    (_old_index,            [Kind.INDEX_BEHIND],            [],                         []),
    (_strays,               [Kind.STRAY],                   [Kind.STRAY],               [Kind.STRAY]),
]
# fmt: on


@covers("OW-176")
@pytest.mark.parametrize(
    ("damage", "found", "repaired", "deleted"), CASES, ids=[d.__name__.strip("_") for d, *_ in CASES]
)  # fmt: skip
def test_damage(damage, found, repaired, deleted, case):
    damage(case)
    kinds = case.kinds()
    assert set(found) <= set(kinds)
    assert set(kinds) - set(found) <= {Kind.INDEX_BEHIND}  # it is derived from all the others
    assert case.kinds() == kinds  # a check changes nothing
    case.find(repair=True)
    assert [k for k in case.kinds() if k != Kind.POOL_MISSING] == repaired
    case.find(repair=True, delete_broken=True)
    assert [k for k in case.kinds() if k != Kind.POOL_MISSING] == deleted


@covers("OW-176")
def test_what_is_damaged_is_kept_aside_and_mended_by_a_push(case):
    overwrite(case.blob(LAYER), b"LAYER")
    assert [finding.is_damage for finding in case.find(repair=True)].count(True) >= 2
    [bad] = (case.root / ".wasmhold/bad").iterdir()
    assert bad.read_bytes() == b"LAYER"
    for name in ("demo", "other"):
        push_blob(case.store, name, b"layer")
    assert case.find() == []
    body = run(case.store.blob_open("demo", LAYER))
    assert run(read_all(body)) == b"layer"
    run(body.aclose())


def test_deleting_what_is_broken_leaves_the_rest(case):
    case.blob(case.note).unlink()
    case.find(repair=True, delete_broken=True)
    run(case.store.settle())
    assert run(case.store.manifest_get("demo", case.image)) is not None
    assert read_tags(case.root / "demo").keys() == {"v1", "V2"}
    assert case.find() == []


def test_a_child_that_was_deleted_is_no_damage(case):
    child = put_index(case.store, "demo")
    put_index(case.store, "demo", "index", children=[child])
    run(case.store.manifest_delete("demo", child, lambda *_: None))
    run(case.store.settle())
    found = case.find()
    assert Kind.CHILD_ABSENT in {finding.kind for finding in found}
    assert not any(finding.is_damage for finding in found)


def test_layouts_that_were_dropped_in_are_checked(case):
    layout = Layout(case.root / "dropped")
    layout.add(layout.manifest(b"x"), "v1")
    layout.write()
    assert case.kinds() == [Kind.POOL_MISSING]
    assert case.kinds(repair=True) == [Kind.POOL_MISSING]
    assert case.find() == []
    (case.root / "out").symlink_to(case.root / "demo")  # is let be
    overwrite(layout.path(Digest.of(b"x")), b"y")
    assert Kind.BLOB_DAMAGED in case.kinds()


def test_what_of_a_layout_is_left_out_is_told_until_it_is_forgotten(case):
    layout = Layout(case.root / "dropped")
    bad = layout.manifest(b"x")
    layout.add(bad, "v1")
    layout.write()
    layout.path(Digest.of(b"x")).unlink()
    assert Kind.ENTRY_LEFT_OUT in case.kinds()
    assert any(finding.is_damage for finding in case.find(repair=True))
    case.find(delete_broken=True)
    run(case.store.settle())
    assert read_tags(layout.folder) == {}
    assert not any(finding.is_damage for finding in case.find())


def test_a_rate(tmp_path):
    slept = []
    runtime = inline()
    runtime._sleep = slept.append
    with opened(tmp_path, runtime) as store:
        push_blob(store, "demo", bytes(1 << 20))
        run(store.check(Rules(rate=1 << 20), lambda finding: None))
    assert sum(slept) > 0.5


# ---- collections that tell


@covers("OW-174")
def test_a_dry_run_tells_what_a_round_would_remove(case):
    push_blob(case.store, "demo", b"nobody")
    alone = put_index(case.store, "demo")
    told = []
    dry = run(case.store.clean(-1, untagged=True, dry_run=True, told=told.append))
    said = {(removal.what, removal.repository) for removal in told}
    assert said == {(str(Digest.of(b"nobody")), "demo"), (str(alone), "demo")}
    assert case.blob(Digest.of(b"nobody")).exists()
    assert run(case.store.manifest_get("demo", alone)) is not None
    told.clear()
    wet = run(case.store.clean(-1, untagged=True, dry_run=False, told=told.append))
    assert said <= {(removal.what, removal.repository) for removal in told}
    assert dry.freed == wet.freed > 0
    assert run(case.store.manifest_get("demo", alone)) is None
    assert not case.blob(Digest.of(b"nobody")).exists()
    assert not run(case.store.clean(-1, untagged=True, dry_run=True, told=told.append)).changed


def test_why_a_digest_is_kept(case):
    def lines(digest):
        return [held.line for held in run(case.store.explain(digest))]

    assert lines(case.image) == [
        "demo: a manifest that was pushed; tags V2, v1",
        "other: a manifest that was pushed; tags v1",
    ]
    demo, _ = lines(LAYER)
    assert demo.startswith("demo: referred to by ")
    assert str(case.image) in demo
    assert str(case.note) in demo
    assert demo.endswith("; tags V2, v1")
    push_blob(case.store, "demo", b"nobody")
    assert lines(Digest.of(b"nobody")) == ["demo: a blob that nothing refers to"]
    assert lines(Digest.of(b"unknown")) == []
    assert os.path.exists(case.root / "other")


# ---- beside others


def just_before_the_lock(case, monkeypatch, change):
    """`change` comes between what a check sees first and the lock under which it looks again."""
    files = case.store._disk.files
    lock, changes = files.lock, [change]

    async def lock_late(*arguments, **more):
        while changes:
            changes.pop()()
        return await lock(*arguments, **more)

    monkeypatch.setattr(files, "lock", lock_late)


def test_a_blob_that_was_mended_meanwhile(case, monkeypatch):
    path = case.blob(LAYER)
    replaced(path, b"LAYER")

    def mend():
        path.unlink()
        os.link(case.pooled(LAYER), path)

    just_before_the_lock(case, monkeypatch, mend)
    assert case.find(repair=True) == []
    assert path.read_bytes() == b"layer"


def test_a_blob_that_came_back_meanwhile(case, monkeypatch):
    path = case.blob(LAYER)
    path.unlink()
    just_before_the_lock(case, monkeypatch, lambda: os.link(case.pooled(LAYER), path))
    assert case.find() == []


def test_a_manifest_that_was_deleted_meanwhile(case, monkeypatch):
    case.blob(case.note).unlink()
    entry = case.meta / "manifests" / str(case.note)
    just_before_the_lock(case, monkeypatch, entry.unlink)
    assert not any(finding.is_damage for finding in case.find())


def test_every_file_is_read_once(case):
    case.find()
    files = [p for p in case.root.rglob("*") if p.is_file() and not p.is_symlink()]
    blobs = {p.stat().st_ino: p.stat().st_size for p in files if len(p.name) == 64}
    assert case.counts.read == sum(blobs.values())


def test_a_dry_run_leaves_sessions_and_the_unfinished(case):
    session = run(case.store.upload_open("demo", "sha256"))
    old = time.time() - 3 * 24 * 3600
    state = case.root / ".wasmhold/uploads" / session / "state"
    os.utime(state, (old, old))
    dead = case.root / ".wasmhold/tmp/dead"
    dead.mkdir()
    (dead / "lock").touch()
    (dead / "x").touch()
    case.pooled(LAYER).with_name("0" * 64).write_text("nobody's")
    told = []
    run(case.store.clean(60, untagged=False, dry_run=True, told=told.append))
    assert {removal.rule for removal in told} == {
        "nobody has gone on with it for a day",
        "their process is gone",
        "no repository has it",
    }
    assert state.exists()
    assert (dead / "x").exists()
    assert case.pooled(LAYER).with_name("0" * 64).exists()
    run(case.store.clean(60, untagged=False, dry_run=False, told=told.append))
    assert not state.exists()
    assert not dead.exists()
    assert not case.pooled(LAYER).with_name("0" * 64).exists()
