"""Layouts in folders: what others wrote, what is hostile, who else writes, and what a kill leaves."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from contextlib import aclosing

import pytest

from tests.client.graphs import entries, holdings
from tests.stores.layouts import Layout
from wasmhold.client.places.files import Folder
from wasmhold.client.places.layout import open_layout
from wasmhold.client.runtime import ThreadRuntime
from wasmhold.oci import limits, media_types
from wasmhold.oci.descriptor import Descriptor
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import (
    BlobUnknown,
    CannotList,
    ContentDamaged,
    ManifestBlobUnknown,
    ManifestTooLarge,
    ManifestUnknown,
    NameUnknown,
    OutOfSpace,
    WasmholdError,
)
from wasmhold.oci.layout import REF_NAME, LayoutIndex
from wasmhold.ports.runtime import run
from wasmhold.ports.store import StoredManifest
from wasmhold.testing.repository_suite import image, index, named, push, push_image


def opened(folder):
    return open_layout(str(folder), ThreadRuntime())


@pytest.fixture
def layout(tmp_path):
    """A layout of another tool: ``v1``, and an entry without a name."""
    made = Layout(tmp_path / "layout")
    made.add(made.manifest(b"one"), "v1", com__example="kept")
    made.add(made.manifest(b"two"))
    made.write()
    return made


# ---- what others wrote


# fmt: off
NAMES = [
    # ref.name,                          tag
    ("v1",                               "v1"),
    ("example.com/demo/app:1.0",         "1.0"),
    ("localhost:5000/app:x@sha256:" + "a" * 64, "x"),
]
# fmt: on


@pytest.mark.parametrize(("text", "tag"), NAMES)
def test_names_as_other_tools_write_them(text, tag, tmp_path):
    made = Layout(tmp_path / "layout")
    digest = made.add(made.manifest(b"one"), text)
    made.add(made.manifest(b"two"), "no tag!")
    made.write()

    async def work():
        async with aclosing(opened(made.folder)) as place:
            assert await place.tags() == [tag]
            assert (await place.resolve(tag)).digest == digest

    run(work())


def test_what_is_asked_for_without_a_tag(layout):
    async def only():
        async with aclosing(opened(layout.folder)) as place:
            return (await place.only()).digest

    with pytest.raises(ManifestUnknown, match="without a tag; it has v1"):
        run(only())
    layout.entries.pop()
    layout.write()
    assert run(only()) == Digest.parse(layout.entries[0]["digest"])


def test_what_we_do_not_know_stays(layout):
    document = json.loads((layout.folder / "index.json").read_text())
    document |= {"annotations": {"a": "b"}, "com.example": [1, {"manifests": None}]}
    (layout.folder / "index.json").write_text(json.dumps(document))

    async def work():
        async with aclosing(opened(layout.folder)) as place:
            await push_image(place, "new", "v2")
            await place.flush()

    run(work())
    after = json.loads((layout.folder / "index.json").read_text())
    assert after["annotations"] == {"a": "b"}
    assert after["com.example"] == [1, {"manifests": None}]
    assert after["manifests"][:2] == document["manifests"]
    assert after["manifests"][2]["annotations"] == {REF_NAME: "v2"}


def test_the_entries_are_what_nothing_else_leads_to(tmp_path):
    """Children of an index have none; referrers have, else nobody could find them."""

    async def work():
        async with aclosing(opened(tmp_path / "l")) as place:
            children = [await push_image(place, text) for text in "ab"]
            top = index(*children)
            await place.manifest_put(top, ["v1", "v2"])
            note = await push_image(place, "note", subject=named(top).to_json())
            alone = await push_image(place, "alone")
            await place.flush()
            return [str(stored.digest) for stored in (top, top, note, alone)]

    wanted = run(work())
    assert [entry["digest"] for entry in entries(tmp_path / "l")] == wanted


def test_a_file_that_changes_meanwhile_is_read_again(layout):
    async def work():
        async with aclosing(opened(layout.folder)) as place:
            assert await place.tags() == ["v1"]
            digest = layout.add(layout.manifest(b"three", subject=layout.entries[0]), "v3")
            layout.write()
            assert await place.tags() == ["v1", "v3"]
            subject = Digest.parse(layout.entries[0]["digest"])
            assert [d.digest for d in await place.referrers(subject)] == [digest]

    run(work())


# ---- what is damaged or hostile


def damage_index(layout, text):
    (layout.folder / "index.json").write_text(text)


def link_outside(layout, path):
    """Put a symbolic link in the place of a file of the layout."""
    outside = layout.folder.parent / "outside"
    path.rename(outside)
    path.symlink_to(outside)


def blob_path(layout):
    return layout.path(layout.entries[0]["digest"])


# fmt: off
DAMAGE = {
    "no JSON":              (lambda at: damage_index(at, "{"), "index.json is damaged: not JSON"),
    "no object":            (lambda at: damage_index(at, "[]"), "not a JSON object"),
    "a member twice":       (lambda at: damage_index(at, '{"a":1,"a":2}'), "there twice"),
    "no list":              (lambda at: damage_index(at, '{"manifests":{}}'), "want a list"),
    "no descriptor":        (lambda at: damage_index(at, '{"manifests":[{"size":-1}]}'), "manifests[0].size"),
    "a path for a digest":  (lambda at: damage_index(at, '{"manifests":[{"mediaType":"a/b","size":1,"digest":"sha256:../../x"}]}'), "manifests[0].digest"),
    "no oci-layout":        (lambda at: (at.folder / "oci-layout").unlink(), "no image layout"),
    "oci-layout damaged":   (lambda at: (at.folder / "oci-layout").write_text("x"), "oci-layout is damaged"),
    "another version":      (lambda at: (at.folder / "oci-layout").write_text('{"imageLayoutVersion":"2.0.0"}'), "want 1.0.0"),
    "the index is a link":  (lambda at: link_outside(at, at.folder / "index.json"), "symbolic link"),
    "blobs is a link":      (lambda at: link_outside(at, at.folder / "blobs"), "symbolic link"),
    "sha256 is a link":     (lambda at: link_outside(at, at.folder / "blobs" / "sha256"), "symbolic link"),
    "a blob is a link":     (lambda at: link_outside(at, blob_path(at)), "symbolic link"),
    "a blob is a pipe":     (lambda at: (blob_path(at).unlink(), os.mkfifo(blob_path(at))), "no regular file"),
    "a blob is a folder":   (lambda at: (blob_path(at).unlink(), blob_path(at).mkdir()), "no regular file"),
    "a blob is missing":    (lambda at: blob_path(at).unlink(), "whose blob is not there"),
    "other bytes":          (lambda at: blob_path(at).write_bytes(b"{}"), "is damaged"),
}
# fmt: on


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_told(kind, layout):
    damage, said = DAMAGE[kind]
    damage(layout)

    async def read():
        async with aclosing(opened(layout.folder)) as place:
            await place.manifest_get("v1")

    with pytest.raises(ContentDamaged) as caught:
        run(read())
    assert said in str(caught.value)
    assert str(layout.folder) in str(caught.value)


@pytest.mark.parametrize("kind", ["a blob is missing", "other bytes"])
def test_a_copy_mends_what_is_damaged(kind, layout):
    content = blob_path(layout).read_bytes()
    DAMAGE[kind][0](layout)

    async def work():
        async with aclosing(opened(layout.folder)) as place:
            digest = Digest.parse(layout.entries[0]["digest"])
            assert await place.resolve(digest) is None
            with pytest.raises(CannotList):
                await place.referrers(digest)
            await place.manifest_put(StoredManifest(digest, media_types.IMAGE_MANIFEST, content))
            await place.flush()
            assert (await place.manifest_get("v1")).content == content

    run(work())


@pytest.mark.parametrize("name", ["index.json", "blobs/sha256"])
def test_nothing_is_written_through_a_link(name, layout):
    link_outside(layout, layout.folder / name)
    outside = layout.folder.parent / "outside"
    before = outside.read_bytes() if outside.is_file() else sorted(outside.iterdir())

    async def write():
        async with aclosing(opened(layout.folder)) as place:
            await push_image(place, "new", "v2")
            await place.flush()

    with pytest.raises(ContentDamaged, match="symbolic link"):
        run(write())
    assert (outside.read_bytes() if outside.is_file() else sorted(outside.iterdir())) == before


def test_the_folder_itself_may_be_a_link(layout, tmp_path):
    (tmp_path / "link").symlink_to(layout.folder)

    async def work():
        async with aclosing(opened(tmp_path / "link")) as place:
            await push_image(place, "new", "v2")
            await place.flush()
            assert await place.tags() == ["v1", "v2"]

    run(work())


def test_a_folder_with_something_else_is_not_written_to(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")

    async def write():
        async with aclosing(opened(tmp_path)) as place:
            await push_image(place, "new", "v2")

    with pytest.raises(ContentDamaged, match="name another folder"):
        run(write())
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_reading_makes_nothing(tmp_path):
    async def read():
        async with aclosing(opened(tmp_path / "absent")) as place:
            assert await place.resolve("v1") is None
            assert await place.blob_size(Digest.of(b"")) is None
            with pytest.raises(BlobUnknown):
                await place.blob_open(Digest.of(b""))
            with pytest.raises(NameUnknown):
                await place.tags()

    run(read())
    assert list(tmp_path.iterdir()) == []


def test_limits(layout):
    large = layout.blob(b" " * (limits.MANIFEST + 1))
    layout.add(large | {"mediaType": layout.entries[0]["mediaType"]}, "large")
    layout.write()

    async def work():
        async with aclosing(opened(layout.folder)) as place:
            with pytest.raises(ManifestTooLarge):
                await place.manifest_get("large")
            os.truncate(layout.folder / "index.json", limits.LAYOUT_INDEX + 1)
            with pytest.raises(ContentDamaged, match="more than"):
                await place.tags()

    run(work())


def test_a_manifest_needs_what_it_refers_to(tmp_path):
    async def work():
        async with aclosing(opened(tmp_path / "l")) as place:
            config = await push(place, b"config")
            lost = named(image(config))
            with pytest.raises(ManifestBlobUnknown):
                await place.manifest_put(image(config, lost), ["v1"])
            await place.flush()
            assert await place.resolve("v1") is None

    run(work())


def test_a_full_disk(tmp_path, monkeypatch):
    async def work():
        async with aclosing(opened(tmp_path / "l")) as place:
            await push(place, b"first")

            def full(descriptor, content):
                raise OSError(28, "No space left on device")

            monkeypatch.setattr(os, "write", full)
            with pytest.raises(OutOfSpace, match="no space is left"):
                await push(place, b"second")
            monkeypatch.undo()
            assert await place.blob_size(Digest.of(b"second")) is None

    run(work())


# ---- others write at the same time


def _write(folder, number):
    async def work():
        async with aclosing(opened(folder)) as place:
            for turn in range(5):
                await push_image(place, f"{number}.{turn}", f"t{number}.{turn}", "common")
                await place.flush()

    run(work())


def test_several_processes_write_to_one_layout(tmp_path):
    folder = tmp_path / "layout"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(folder, n)) for n in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
        assert writer.exitcode == 0

    async def read():
        async with aclosing(opened(folder)) as place:
            return await holdings(place)

    tags = run(read())["tags"]
    assert sorted(tags) == ["common", *(f"t{n}.{turn}" for n in range(3) for turn in range(5))]
    assert sorted(path.name for path in folder.iterdir()) == ["blobs", "index.json", "oci-layout"]


KILLED = """
import os, signal, sys
from wasmhold.client.places.layout import open_layout
from wasmhold.client.runtime import ThreadRuntime
from wasmhold.ports.runtime import run
from wasmhold.testing.repository_suite import Source, descriptor_of, push_image

place = open_layout(sys.argv[1], ThreadRuntime())
run(push_image(place, "whole", "v1"))
run(place.flush())

class Killing(Source):
    async def open(self, start):
        body = await super().open(start)
        chunks = body._chunks
        class Last:
            size, file = body.size, None
            async def __aiter__(self):
                yield chunks[0]
                os.kill(os.getpid(), signal.SIGKILL)
            async def aclose(self): pass
        return Last()

run(place.blob_put(descriptor_of(b"x" * 5000), Killing(b"x" * 5000)))
"""


def test_two_begin_one_layout_with_one_lock(tmp_path):
    """Who makes it second keeps the file of the first, which may be locked already."""
    first = Folder(str(tmp_path))
    first.create("oci-layout", b"first")
    before = first.identity("oci-layout")
    first.create("oci-layout", b"second")
    assert first.identity("oci-layout") == before
    assert first.read("oci-layout", 100) == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["oci-layout"]
    first.close()


def test_what_a_kill_leaves_goes_with_the_next_write(tmp_path):
    folder = tmp_path / "layout"
    killed = subprocess.run([sys.executable, "-c", KILLED, folder], timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert [path.suffix for path in folder.iterdir() if path.name.startswith(".")] == [".part"]

    async def work():
        async with aclosing(opened(folder)) as place:
            before = await holdings(place)
            assert list(before["tags"]) == ["v1"]
            await push_image(place, "more", "v2")
            await place.flush()
            assert await place.tags() == ["v1", "v2"]

    run(work())
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_what_somebody_else_still_writes_stays(tmp_path):
    """Its lock says that its writer lives."""
    folder = tmp_path / "layout"

    async def work():
        async with aclosing(opened(folder)) as place, aclosing(opened(folder)) as other:
            await push(place, b"first")
            staged = place.content._folder.stage()
            await push(other, b"second")
            staged.write(b"more")
            staged.place("blobs/sha256/" + Digest.of(b"more").encoded)
            staged.close()
            assert await other.blob_size(Digest.of(b"more")) == 4

    run(work())


# ---- the document


def test_the_index_is_a_value():
    """Tags move; what they left stays; what has other annotations stays as it is."""
    a, b, c = (Descriptor("a/b", Digest.of(text), 1) for text in (b"a", b"b", b"c"))
    document = LayoutIndex.empty().change({"v1": a, "v2": a})
    assert LayoutIndex.parse(document.dump()).tags().keys() == {"v1", "v2"}
    document = document.change({"v1": b})
    assert document.tags()["v1"].digest == b.digest
    assert len(document.entries) == 2  # v2 names it
    document = document.change({"v2": b})
    assert {entry.digest for entry in document.entries} == {a.digest, b.digest}
    document = document.change({"v1": None, "v2": None}, [c, c])
    assert document.tags() == {}
    assert sorted(entry.digest for entry in document.entries) == sorted(d.digest for d in (a, b, c))
    document = document.change({"again": a})
    assert list(document.tags()) == ["again"]
    assert len(document.entries) == 3
    document = document.change({}, (), {a.digest, c.digest})
    assert [entry.digest for entry in document.entries] == [b.digest]
    assert LayoutIndex.parse(document.dump()) == LayoutIndex.parse(document.change({}).dump())


def test_errors_are_ours(tmp_path):
    """What the operating system says comes as an error of the tree, with the path."""
    (tmp_path / "file").write_text("")

    async def read():
        async with aclosing(opened(tmp_path / "file")) as place:
            await place.tags()

    with pytest.raises(WasmholdError, match="file"):
        run(read())
