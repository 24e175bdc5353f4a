"""Layouts that other tools wrote, dropped in or changed in place."""

import hashlib
import json
import os
import shutil
import time

import pytest

from tests.stores.directories import inline, opened
from tests.stores.layouts import REF_NAME, Layout, read_tags, read_untagged
from tests.stores.test_index import put
from wasmhold.oci import media_types
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import StoreUnavailable
from wasmhold.ports.body import read_all
from wasmhold.ports.runtime import run
from wasmhold.stores.directory import index, paths
from wasmhold.stores.directory.adopt import AGAIN_S
from wasmhold.testing.covers import covers


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path / "demo")


def tags_of(store, name):
    """Digests by tag; None for no such repository."""
    tags = run(store.tags(name, "", 1000))
    return tags if tags is None else {tag: run(store.tag_get(name, tag)) for tag in tags}


def serve(tmp_path, name="demo"):
    """What a fresh store has under the name, and what it told."""
    told = []
    with opened(tmp_path, tell=told.append) as store:
        return tags_of(store, name), told


@covers("OW-170", "BR-082")
@pytest.mark.parametrize("name", ["demo", "a/b/c", "foo/blobs", "foo/index.json"])
def test_a_layout_is_served_as_it_is(name, tmp_path):
    layout = Layout(tmp_path / paths.repository(name).folder)
    one = layout.add(layout.manifest(b"one", b"two"), "v1")
    two = layout.add(layout.manifest(b"three"))
    layout.add(layout.manifest(b"three"), "docker.io/library/demo:V2")
    layout.write()
    before = (layout.folder / "index.json").read_bytes()
    with opened(tmp_path) as store:
        assert run(store.repositories("", 10)) == [name]
        assert tags_of(store, name) == {"V2": two, "v1": one}
        stored = run(store.manifest_get(name, one))
        assert stored.media_type == media_types.IMAGE_MANIFEST
        assert Digest.of(stored.content) == one
        body = run(store.blob_open(name, Digest.of(b"two")))
        assert run(read_all(body)) == b"two"
        run(body.aclose())
        run(store.settle())
        assert (layout.folder / "index.json").read_bytes() == before  # it is as good as ours
        put(store, name, "v3")
        run(store.settle())
    assert list(read_tags(layout.folder)) == ["V2", "v1", "v3"]


@covers("OW-173", "OW-151")
def test_what_an_index_leads_to_is_there(layout, tmp_path):
    inner = layout.manifest(b"deep")
    nested = layout.index(layout.index(inner))
    layout.add(nested, "v1")
    layout.write()
    with opened(tmp_path) as store:
        assert run(store.manifest_get("demo", Digest.parse(inner["digest"]))) is not None
        assert tags_of(store, "demo") == {"v1": Digest.parse(nested["digest"])}


@covers("DS-097", "OW-151", "OW-150")
def test_referrers_are_found_wherever_they_are_named(layout, tmp_path):
    """As entries, under the fallback tag, and in the list that olareg keeps."""
    subject = layout.manifest(b"subject")
    layout.add(subject, "v1")
    other = layout.manifest(b"other")

    def referrer(of, text):
        return layout.manifest(b"x", subject=of, artifactType="a/b", annotations={"text": text})

    by_entry, by_tag, by_olareg = (referrer(subject, t) for t in ("entry", "tag", "olareg"))
    stranger = referrer(other, "of another subject")
    missing = {**by_tag, "digest": str(Digest.of(b"missing"))}
    layout.add(by_entry)
    wrong = {**by_tag, "artifactType": "wrong/type", "annotations": {"text": "wrong"}}
    tag = subject["digest"].replace(":", "-")
    fallback = layout.add(layout.index(wrong, stranger, missing), tag)
    kept = layout.add(
        layout.index(by_olareg), None, org__olareg__referrer__subject=subject["digest"]
    )
    layout.write()
    with opened(tmp_path) as store:
        listed = run(store.referrers("demo", Digest.parse(subject["digest"]), None, 10))
        assert {d.annotations["text"] for d in listed} == {"entry", "tag", "olareg"}
        assert {d.artifact_type for d in listed} == {"a/b"}
        listed = run(store.referrers("demo", Digest.parse(other["digest"]), None, 10))
        assert [str(d.digest) for d in listed] == [stranger["digest"]]
        assert run(store.tag_get("demo", tag)) == fallback  # old clients read it still
        assert run(store.manifest_get("demo", kept)) is None  # nobody pushed it


# fmt: off
def _missing_blob(layout, good):
    layout.path(Digest.of(b"bad layer")).unlink()

def _missing_manifest(layout, bad):
    layout.path(bad["digest"]).unlink()

def _other_bytes(layout, bad):
    path = layout.path(bad["digest"])
    path.write_bytes(path.read_bytes() + b" ")  # it reads as before

def _short_blob(layout, bad):
    layout.path(Digest.of(b"bad layer")).write_bytes(b"bad")

def _link_to_a_blob(layout, bad):
    outside = layout.folder.parent.parent / f"outside-{layout.folder.parent.name}"
    outside.write_bytes(b"bad layer")
    path = layout.path(Digest.of(b"bad layer"))
    path.unlink()
    path.symlink_to(outside)

def _link_to_a_manifest(layout, bad):
    outside = layout.folder.parent.parent / f"outside-{layout.folder.parent.name}"
    path = layout.path(bad["digest"])
    shutil.move(path, outside)
    path.symlink_to(outside)

def _folder(layout, bad):
    path = layout.path(bad["digest"])
    path.unlink()
    path.mkdir()

def _pipe(layout, bad):
    path = layout.path(bad["digest"])
    path.unlink()
    os.mkfifo(path)

def _pipe_for_a_blob(layout, bad):
    path = layout.path(Digest.of(b"bad layer"))
    path.unlink()
    os.mkfifo(path)

def _no_manifest(layout, bad):
    layout.entries[-1]["mediaType"] = "application/octet-stream"

def _another_type(layout, bad):
    layout.entries[-1]["mediaType"] = media_types.IMAGE_INDEX

def _broken_entry(layout, bad):
    layout.entries[-1]["digest"] = "sha256:nothing"
# fmt: on


DAMAGES = [
    _missing_blob, _missing_manifest, _other_bytes, _short_blob, _link_to_a_blob, _folder,
    _link_to_a_manifest, _pipe, _pipe_for_a_blob, _no_manifest, _another_type, _broken_entry,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__.strip("_"))
def test_what_is_damaged_is_left_out_and_told(damage, layout, tmp_path):
    good = layout.add(layout.manifest(b"good"), "good")
    bad = layout.manifest(b"bad layer")
    layout.add(bad, "bad")
    damage(layout, bad)
    layout.write()
    tags, told = serve(tmp_path)
    assert tags == {"good": good}
    wanted = "manifests[1]" if damage is _broken_entry else bad["digest"]
    assert any(wanted in line for line in told)


@pytest.mark.parametrize("content", [b"", b"{", b'{"schemaVersion":2,"manifests":7}', b"\0" * 99])
def test_an_index_that_is_none(content, layout, tmp_path):
    layout.add(layout.manifest(b"good"), "good")
    layout.write()
    (layout.folder / "index.json").write_bytes(content)
    assert serve(tmp_path)[0] is None
    layout.write()
    assert list(serve(tmp_path)[0]) == ["good"]


def test_a_layout_that_is_still_being_copied(layout, tmp_path):
    layout.add(layout.manifest(b"slow"), "v1")
    layout.write()
    blob = layout.path(Digest.of(b"slow"))
    blob.rename(tmp_path / "slow")
    runtime = inline()
    with opened(tmp_path, runtime) as store:
        assert tags_of(store, "demo") is None
        (tmp_path / "slow").rename(blob)
        later = time.time() + AGAIN_S + 1
        runtime.now = lambda: later
        assert list(tags_of(store, "demo")) == ["v1"]


@pytest.mark.parametrize("is_nested", [False, True])
def test_what_is_left_out_is_kept_and_nothing_is_collected_meanwhile(is_nested, layout, tmp_path):
    slow = layout.manifest(b"slow", b"quick")
    layout.add(layout.index(slow) if is_nested else slow, "slow")
    layout.add(layout.manifest(b"good"), "good")
    layout.write()
    blob, aside = layout.path(Digest.of(b"slow")), tmp_path / "aside"
    blob.rename(aside)
    with opened(tmp_path) as store:
        assert set(tags_of(store, "demo")) == ({"good", "slow"} if is_nested else {"good"})
        put(store, "demo", "pushed")
        run(store.settle())
        assert set(read_tags(layout.folder)) == {"good", "pushed", "slow"}
        assert slow["digest"] not in read_untagged(layout.folder)
        run(store.collect(-1, untagged=True))
        assert layout.path(Digest.of(b"quick")).exists()
        assert layout.path(slow["digest"]).exists()
    aside.rename(blob)
    with opened(tmp_path) as store:
        assert set(tags_of(store, "demo")) == {"good", "pushed", "slow"}
        assert run(store.manifest_get("demo", Digest.parse(slow["digest"]))) is not None
        run(store.settle())
        assert set(read_tags(layout.folder)) == {"good", "pushed", "slow"}
        assert not (layout.folder / ".wasmhold/index.kept").exists()


def test_a_push_takes_the_tag_of_what_was_left_out(layout, tmp_path):
    bad = layout.add(layout.manifest(b"bad"), "v1")
    layout.write()
    blob = layout.path(Digest.of(b"bad"))
    blob.rename(tmp_path / "aside")
    with opened(tmp_path) as store:
        pushed = put(store, "demo", "v1")
        run(store.settle())
        entries = json.loads((layout.folder / "index.json").read_text())["manifests"]
        named = [e["digest"] for e in entries if e.get("annotations", {}).get(REF_NAME) == "v1"]
        assert named == [str(pushed)]
    (tmp_path / "aside").rename(blob)
    with opened(tmp_path) as store:
        assert tags_of(store, "demo") == {"v1": pushed}
        assert run(store.manifest_get("demo", bad)) is not None


@covers("OW-170")
def test_a_repository_of_another_store_without_our_folder(tmp_path):
    """As a tool exports it that copies what belongs to a layout."""
    with opened(tmp_path) as store:
        pushed = put(store, "demo", "v1")
        run(store.settle())
    shutil.rmtree(tmp_path / "demo/.wasmhold")
    assert serve(tmp_path)[0] == {"v1": pushed}


def test_what_was_taken_is_not_taken_again(layout, tmp_path):
    """Not by another process either: it would bring back what was deleted."""
    layout.add(layout.manifest(b"one"), "v1")
    layout.add(layout.manifest(b"two"), "v2")
    layout.write()
    with opened(tmp_path) as store:
        run(store.tag_delete("demo", "v1", lambda *_: None))
    tags, told = serve(tmp_path)
    assert list(tags) == ["v2"]
    assert told == []


def test_another_tool_takes_back_what_was_left_out(layout, tmp_path):
    layout.add(layout.manifest(b"bad"), "bad")
    layout.add(layout.manifest(b"good"), "good")
    layout.write()
    layout.path(Digest.of(b"bad")).unlink()
    runtime = inline()
    with opened(tmp_path, runtime) as store:
        assert list(tags_of(store, "demo")) == ["good"]
        put(store, "demo", "pushed")
        run(store.settle())
        edit(layout.folder, lambda entries: entries.remove(entries[-1]))  # ours come first
        later = time.time() + 10
        runtime.now = lambda: later
        assert list(tags_of(store, "demo")) == ["good", "pushed"]
        run(store.settle())
        assert list(read_tags(layout.folder)) == ["good", "pushed"]
        assert not (layout.folder / ".wasmhold/index.kept").exists()


# fmt: off
LINKS = [
    # what is a link,   where to
    ("demo",            "outside"),
    ("demo/blobs",      "outside/blobs"),
    ("demo/blobs/sha256", "outside/blobs/sha256"),
]
# fmt: on


@pytest.mark.parametrize(("link", "target"), LINKS)
def test_a_layout_that_leads_out_of_the_root_is_refused(link, target, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    outside = Layout(tmp_path / "outside")
    outside.add(outside.manifest(b"secret"), "v1")
    outside.write()
    if link != "demo":
        shutil.copytree(tmp_path / "outside", root / "demo")
        shutil.rmtree(root / link)
    (root / link).symlink_to(tmp_path / target)
    told = []
    with opened(root, tell=told.append) as store:
        with pytest.raises(StoreUnavailable):
            run(store.tag_get("demo", "v1"))
        with pytest.raises(StoreUnavailable):
            put(store, "demo", "v2")
        with pytest.raises(StoreUnavailable):
            run(store.upload_open("demo", "sha256"))
    assert len(told) == 1
    assert not (tmp_path / "outside/.wasmhold").exists()


# ---- changes in place


def edit(folder, change):
    """Another tool reads the index, and writes it with its change."""
    path = folder / "index.json"
    document = json.loads(path.read_text())
    change(document["manifests"])
    path.write_text(json.dumps(document))


def entry(digest, tag, size=1):
    return {
        "mediaType": media_types.IMAGE_INDEX,
        "digest": str(digest),
        "size": size,
        "annotations": {REF_NAME: tag},
    }


def drop_index(folder, number):
    """Another tool brings an index; its digest."""
    content = b'{"schemaVersion":2,"manifests":[],"annotations":{"dropped":"%d"}}' % number
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    (folder / "blobs/sha256" / digest[7:]).write_bytes(content)
    return Digest.parse(digest)


@pytest.fixture
def repository(tmp_path):
    """A store that has written its index, with a clock of our own; what it told."""
    runtime, told = inline(), []
    runtime.ahead = 0.0
    runtime.now = lambda: time.time() + runtime.ahead
    with opened(tmp_path, runtime, tell=told.append) as store:
        store.folder = tmp_path / "demo"
        store.pass_time = lambda: setattr(runtime, "ahead", runtime.ahead + 2)
        store.old = put(store, "demo", "v1", "v2")
        run(store.settle())
        store.told = told
        yield store


@covers("OW-172")
def test_what_another_tool_added_moved_and_removed(repository):
    new = drop_index(repository.folder, 1)

    def change(entries):
        entries[:] = [entry(new, "v1"), entry(new, "new"), *entries[2:]]

    edit(repository.folder, change)
    repository.pass_time()
    assert tags_of(repository, "demo") == {"v1": new, "new": new}
    run(repository.settle())
    assert read_tags(repository.folder) == {"v1": str(new), "new": str(new)}
    assert index.parse((repository.folder / "index.json").read_bytes()).is_ours
    assert run(repository.manifest_get("demo", repository.old)) is not None  # untagged, not gone
    assert any("v2 removed" in line for line in repository.told)


@covers("OW-172")
def test_a_push_is_never_undone_by_an_index(repository):
    """The other tool read the index before the push, and wrote it after."""
    path = repository.folder / "index.json"
    before = path.read_text()
    pushed = put(repository, "demo", "v1", "fresh")
    run(repository.tag_delete("demo", "v2", lambda *_: None))
    new = drop_index(repository.folder, 1)
    document = json.loads(before)
    document["manifests"] += [entry(new, "new")]
    path.write_text(json.dumps(document))
    repository.pass_time()
    assert tags_of(repository, "demo") == {"v1": pushed, "fresh": pushed, "new": new}
    run(repository.settle())
    assert list(read_tags(repository.folder)) == ["fresh", "new", "v1"]


@covers("OW-172")
def test_both_have_moved_a_tag(repository):
    """Ours was acknowledged."""
    theirs = drop_index(repository.folder, 1)

    def change(entries):
        entries[:] = [entry(theirs, "v1"), entry(theirs, "new")]  # v2 is removed

    pushed = put(repository, "demo", "v1", "v2")
    edit(repository.folder, change)
    repository.pass_time()
    assert tags_of(repository, "demo") == {"v1": pushed, "v2": pushed, "new": theirs}


@covers("OW-172")
def test_an_index_that_we_wrote_after_the_other_tool_read_it(repository):
    """Then nothing is known of what it removed: what is new is taken."""
    path = repository.folder / "index.json"
    before = path.read_text()
    pushed = put(repository, "demo", "fresh")
    run(repository.settle())
    new = drop_index(repository.folder, 1)
    document = json.loads(before)
    document["manifests"] = [entry(new, "new")]
    path.write_text(json.dumps(document))
    repository.pass_time()
    old = repository.old
    assert tags_of(repository, "demo") == {"v1": old, "v2": old, "fresh": pushed, "new": new}


def test_an_older_index_of_ours_changes_nothing(repository):
    """As a power loss brings it back."""
    path = repository.folder / "index.json"
    before = path.read_bytes()
    pushed = put(repository, "demo", "v1", "fresh")
    run(repository.tag_delete("demo", "v2", lambda *_: None))
    run(repository.settle())
    path.write_bytes(before)
    repository.pass_time()
    assert tags_of(repository, "demo") == {"v1": pushed, "fresh": pushed}


def test_a_change_is_taken_over_before_the_index_is_written(repository):
    new = drop_index(repository.folder, 1)
    tags_of(repository, "demo")  # so that it is not looked at again so soon
    edit(repository.folder, lambda entries: entries.append(entry(new, "new")))
    put(repository, "demo", "v3")
    run(repository.settle())
    assert sorted(read_tags(repository.folder)) == ["new", "v1", "v2", "v3"]


def test_half_an_index_changes_nothing(repository):
    path = repository.folder / "index.json"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    repository.pass_time()
    assert set(tags_of(repository, "demo")) == {"v1", "v2"}
    path.unlink()
    repository.pass_time()
    assert set(tags_of(repository, "demo")) == {"v1", "v2"}


def test_a_manifest_that_another_tool_removed_with_its_file(repository):
    os.unlink(repository.folder / "blobs/sha256" / repository.old.encoded)
    edit(repository.folder, list.clear)
    repository.pass_time()
    assert not tags_of(repository, "demo")
    assert run(repository.manifest_get("demo", repository.old)) is None


def test_a_collection_takes_nothing_that_another_tool_has_just_brought(repository):
    new = drop_index(repository.folder, 1)
    edit(repository.folder, lambda entries: entries.append(entry(new, "new")))
    run(repository.collect(0))
    repository.pass_time()
    assert run(repository.manifest_get("demo", new)) is not None
