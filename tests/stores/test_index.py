"""``index.json``: the document, and when it is written."""

import asyncio
import itertools
import json
import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.stores.directories import inline, opened
from tests.stores.layouts import read_tags, read_untagged
from wasmhold.oci import media_types
from wasmhold.oci.descriptor import Descriptor
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import ManifestInvalid
from wasmhold.oci.layout import REF_NAME, tag_of
from wasmhold.oci.manifest import parse_manifest
from wasmhold.ports.runtime import run
from wasmhold.ports.store import StoredManifest
from wasmhold.servers.asgi import AsyncioRuntime, SystemRandomness
from wasmhold.stores.directory import index, paths
from wasmhold.stores.directory.flock import flock
from wasmhold.stores.directory.native import NativeFiles
from wasmhold.stores.directory.root import enter
from wasmhold.stores.directory.store import DirectoryStore
from wasmhold.testing.covers import covers

DIGESTS = st.binary(min_size=1, max_size=4).map(Digest.of)
DESCRIPTORS = st.builds(
    Descriptor,
    st.sampled_from(sorted(media_types.MANIFESTS | media_types.INDEXES)),
    DIGESTS,
    st.integers(0, 1 << 40),
)
TAGS = st.dictionaries(st.from_regex(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,20}", fullmatch=True), DESCRIPTORS)  # fmt: skip
UNTAGGED = st.lists(DESCRIPTORS, unique_by=lambda descriptor: descriptor.digest)


@given(TAGS, UNTAGGED)
@covers("OW-171")
def test_what_is_built_reads_back(tags, untagged):
    content = index.build(tags, untagged)
    read = index.parse(content)
    assert {tag: (d.digest, d.media_type, d.size) for tag, d in read.tags.items()} == {
        tag: (d.digest, d.media_type, d.size) for tag, d in tags.items()
    }
    assert set(read.untagged.values()) == set(untagged)
    assert read.is_ours
    assert read.faults == ()
    assert parse_manifest(content).is_index  # a valid index by the specification


@given(TAGS, UNTAGGED, st.randoms())
def test_the_bytes_do_not_depend_on_the_order(tags, untagged, random):
    items = list(tags.items())
    mixed = list(untagged)
    random.shuffle(items)
    random.shuffle(mixed)
    assert index.build(dict(items), mixed) == index.build(tags, untagged)


def test_a_document_of_ours_is_known_however_it_is_written():
    content = index.build({"v1": Descriptor(media_types.IMAGE_MANIFEST, Digest.of(b"a"), 1)}, [])
    document = json.loads(content)
    assert index.parse(json.dumps(document, indent=3, sort_keys=True).encode()).is_ours
    document["manifests"][0]["size"] = 2
    changed = index.parse(json.dumps(document).encode())
    assert not changed.is_ours
    assert changed.states == index.parse(content).states


# fmt: off
NAMES = [
    # ref.name,                                   tag
    ("v1",                                        "v1"),
    ("V1.0-rc_2",                                 "V1.0-rc_2"),
    ("docker.io/library/alpine:3.20",             "3.20"),
    ("localhost:5000/demo/app:latest",            "latest"),
    ("localhost:5000/demo/app",                   None),
    ("demo/app",                                  None),
    ("app:v1@sha256:" + "a" * 64,                 "v1"),
    ("demo/app@sha256:" + "a" * 64,               None),
    ("",                                          None),
    ("a tag",                                     None),
    ("../../etc/passwd",                          None),
]
BAD = [b"", b"[]", b"{", b'{"manifests": {}}', b"\xff", b'{"manifests": 1}', b'{"manifests":[],"manifests":[]}']
# fmt: on


@pytest.mark.parametrize(("text", "tag"), NAMES)
def test_names_of_entries(text, tag):
    entry = Descriptor("a/b", Digest.of(b"a"), 1, annotations={REF_NAME: text})
    assert tag_of(entry) == tag


@pytest.mark.parametrize("content", BAD)
def test_what_is_no_index_is_refused(content):
    with pytest.raises(ManifestInvalid):
        index.parse(content)


def test_entries_that_are_none_are_told():
    good = {"mediaType": "a/b", "digest": str(Digest.of(b"a")), "size": 1}
    entries = [good, {**good, "digest": "sha256:x"}, 5, {**good, "size": -1}]
    read = index.parse(json.dumps({"manifests": entries}).encode())
    assert len(read.entries) == 1
    assert [fault.path for fault in read.faults] == [
        "manifests[1].digest", "manifests[2]", "manifests[3].size",
    ]  # fmt: skip


# ---- in a store


_NUMBERS = itertools.count()


def put(store, name, *tags, children=()):
    """Push an index, each call another one; its digest."""
    document = {
        "schemaVersion": 2,
        "mediaType": media_types.IMAGE_INDEX,
        "manifests": [
            {"mediaType": media_types.IMAGE_INDEX, "digest": str(child), "size": 1}
            for child in children
        ],
        "annotations": {"number": str(next(_NUMBERS))},
    }
    content = json.dumps(document).encode()
    stored = StoredManifest(Digest.of(content), media_types.IMAGE_INDEX, content)
    run(
        store.manifest_put(
            name, stored, parse_manifest(content), tags=tags, guard=lambda *_: None, sparse=False
        )
    )
    return stored.digest


@covers("OW-171", "OW-173")
@pytest.mark.parametrize("name", ["demo", "foo/blobs", "foo/index.json", "a/oci-layout/b"])
def test_entries(name, tmp_path):
    with opened(tmp_path) as store:
        child = put(store, name)
        alone = put(store, name)
        parent = put(store, name, "v1", "V2", children=[child])
        run(store.settle())
        folder = tmp_path / paths.repository(name).folder
        assert read_tags(folder) == {"v1": str(parent), "V2": str(parent)}
        assert read_untagged(folder) == {str(alone)}  # the child is reached by an index
        run(store.tag_delete(name, "v1", lambda *_: None))
        run(store.tag_delete(name, "V2", lambda *_: None))
        run(store.settle())
        assert read_tags(folder) == {}
        assert read_untagged(folder) == {str(alone), str(parent)}
        run(store.manifest_delete(name, parent, lambda *_: None))
        run(store.settle())
        assert read_untagged(folder) == {str(alone), str(child)}


def test_what_is_no_tag_and_no_media_type_is_in_no_index(tmp_path):
    with opened(tmp_path) as store:
        first = put(store, "demo", "v1")
        other = put(store, "demo", "v2")
        folder = tmp_path / "demo/.wasmhold"
        (folder / 'tags/a"b').symlink_to(paths.write_short(first))
        (folder / "tags/v3").symlink_to("nothing")
        (folder / f"manifests/{other}").unlink()
        (folder / f"manifests/{other}").symlink_to('a/"b"')
        run(store.settle())
        assert read_tags(tmp_path / "demo") == {"v1": str(first)}


def test_nothing_is_written_when_nothing_changed(tmp_path):
    with opened(tmp_path) as store:
        put(store, "demo", "v1")
        run(store.settle())
        before = os.stat(tmp_path / "demo/index.json")
        run(store.maintain())
        run(store.settle())
        assert os.stat(tmp_path / "demo/index.json").st_ino == before.st_ino


def test_marks_that_a_dead_process_left_are_worked_off_at_start(tmp_path):
    with opened(tmp_path) as store:
        put(store, "a/b", "v1")
        assert os.listdir(tmp_path / ".wasmhold/dirty") == ["a=b"]
    with opened(tmp_path) as store:
        run(store.maintain())
        assert list(read_tags(tmp_path / "a/b")) == ["v1"]
        assert os.listdir(tmp_path / ".wasmhold/dirty") == []
    # One that died while it wrote.
    (tmp_path / "a/b/index.json").unlink()
    (tmp_path / ".wasmhold/building/a=b").write_text("behind")
    with opened(tmp_path) as store:
        run(store.maintain())
        assert list(read_tags(tmp_path / "a/b")) == ["v1"]
        assert os.listdir(tmp_path / ".wasmhold/building") == []


def test_once_a_second(tmp_path):
    runtime = inline()
    with opened(tmp_path, runtime) as store:
        put(store, "demo", "v1")
        assert run(store.maintain()) <= 1
        put(store, "demo", "v2")
        run(store.maintain())
        assert list(read_tags(tmp_path / "demo")) == ["v1"]
        late = time.time() + 1.5
        runtime.now = lambda: late
        run(store.maintain())
        assert list(read_tags(tmp_path / "demo")) == ["v1", "v2"]


def test_a_repository_that_was_removed_leaves_no_mark(tmp_path):
    with opened(tmp_path) as store:
        put(store, "demo", "v1")
        os.rename(tmp_path / "demo", tmp_path / ".gone")
        run(store.settle())
        assert os.listdir(tmp_path / ".wasmhold/dirty") == []


def test_somebody_else_is_at_it(tmp_path):
    with opened(tmp_path) as store, opened(tmp_path) as other:
        put(store, "demo", "v1")
        run(other.settle())
        held = run(store._disk.files.lock("demo/.wasmhold/index.lock", exclusive=True))
        put(store, "demo", "v2")
        run(other.settle())
        assert list(read_tags(tmp_path / "demo")) == ["v1"]
        run(store._disk.files.unlock(held))
        run(other.settle())
        assert list(read_tags(tmp_path / "demo")) == ["v1", "v2"]


@covers("OW-172")
def test_a_mark_is_not_taken_from_a_writer_that_has_not_changed_anything_yet(tmp_path):
    runtime = inline()
    with opened(tmp_path, runtime) as store, opened(tmp_path) as writer:
        digest = put(store, "demo", "v1")
        run(store.settle())
        of, files = paths.repository("demo"), writer._disk.files
        held = run(files.lock(of.lock, exclusive=False))
        run(files.symlink("behind", paths.dirty("demo")))

        def change_at_last(seconds):
            nonlocal held
            if held is not None:
                run(files.symlink(paths.write_short(digest), of.tag("v2")))
                run(files.unlock(held))
                held = None

        runtime._sleep = change_at_last  # the indexer waits for the lock
        run(store.settle())
        assert list(read_tags(tmp_path / "demo")) == ["v1", "v2"]


@covers("OW-172")
def test_a_change_that_comes_while_the_index_is_made(tmp_path):
    with opened(tmp_path) as store, opened(tmp_path) as writer:
        put(store, "demo", "v1")
        derive = store._indexes._deriver.derive

        async def derive_and_be_late(of):
            content = await derive(of)
            put(writer, "demo", "late")
            return content

        store._indexes._deriver.derive = derive_and_be_late
        run(store.settle())
        assert list(read_tags(tmp_path / "demo")) == ["v1"]
        store._indexes._deriver.derive = derive
        run(store.settle())
        assert list(read_tags(tmp_path / "demo")) == ["late", "v1"]


@covers("OW-172")
def test_writers_and_indexers_side_by_side(tmp_path):
    """However they mix: when all is quiet, the index has what the store has."""

    async def push(store, number):
        for i in range(20):
            content = b'{"schemaVersion":2,"manifests":[],"annotations":{"n":"%d %d"}}' % (
                number,
                i,
            )
            stored = StoredManifest(Digest.of(content), media_types.IMAGE_INDEX, content)
            await store.manifest_put(
                "demo",
                stored,
                parse_manifest(content),
                tags=[f"t{number}.{i}"],
                guard=lambda *_: None,
                sparse=False,
            )

    async def write(store):
        for _ in range(30):
            await store.settle()
            await asyncio.sleep(0.001)

    async def main():
        runtime, randomness, stores = AsyncioRuntime(), SystemRandomness(), []
        for _ in range(2):
            files = NativeFiles(str(tmp_path), runtime, locks=flock, durable=False)
            root = await enter(files, randomness)
            stores.append(DirectoryStore(files, runtime, randomness, root))
        await asyncio.gather(*(push(s, i) for i, s in enumerate(stores)), *map(write, stores))
        await stores[0].settle()

    asyncio.run(main())
    assert len(read_tags(tmp_path / "demo")) == 40
