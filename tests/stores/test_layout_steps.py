"""Layouts, index.json and repairs when any step breaks: the next time sets it right."""

import itertools
import json
import time

import pytest

from tests.stores.directories import inline, opened
from tests.stores.layouts import Layout, read_tags, read_untagged
from tests.stores.recording import Recording
from tests.stores.test_adopt import drop_index, edit, entry, tags_of
from tests.stores.test_check import LAYER, overwrite, push
from tests.stores.test_index import put
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import OutOfSpace, StoreUnavailable, WasmholdError
from wasmhold.ports.runtime import run
from wasmhold.stores.directory.findings import Rules
from wasmhold.stores.directory.flock import flock
from wasmhold.stores.directory.native import NativeFiles
from wasmhold.testing.covers import covers

BREAKS = [(False, StoreUnavailable), (True, StoreUnavailable), (False, OutOfSpace)]  # late, what
LATER_S = 100.0  # so that everything is due again


def every_step(tmp_path, prepare, act, check):
    """Break each step of `act` in turn, then see that the same process, and a new one, go on."""
    for number in itertools.count(1):
        for late, error in BREAKS:
            root = tmp_path / f"{number}-{late}-{error.__name__}"
            root.mkdir()
            prepare(root)
            runtime = inline()
            ahead = [0.0]
            runtime.now = lambda ahead=ahead: time.time() + ahead[0]
            files = Recording(NativeFiles(str(root), runtime, locks=flock, durable=False))
            with opened(root, runtime, files=files) as store:
                files.calls.clear()
                files.late, files.error, files.breaks_at = late, error, number
                try:
                    act(store, root)
                except WasmholdError:
                    pass
                broke = len(files.calls) >= number
                files.breaks_at = None
                where = files.calls[number - 1] if broke else None
                again = number % 2
                if again:  # the same process
                    ahead[0] = LATER_S
                    act(store, root)
                    check(store, root, where)
            files.files.close()
            if not again:
                with opened(root) as store:
                    act(store, root)
                    check(store, root, where)
        if not broke:
            assert number > 10
            return


@covers("OW-170")
def test_an_adoption_that_breaks(tmp_path):
    def prepare(root):
        layout = Layout(root / "demo")
        subject = layout.manifest(b"one")
        layout.add(subject, "v1")
        layout.add(layout.manifest(b"two", subject=subject), "v2")
        layout.write()

    def act(store, root):
        run(store.tag_get("demo", "v1"))

    def check(store, root, where):
        assert list(tags_of(store, "demo")) == ["v1", "v2"], where
        subject = run(store.tag_get("demo", "v1"))
        assert len(run(store.referrers("demo", subject, None, 10))) == 1, where
        found = []
        run(store.check(Rules(), found.append))
        assert not any(finding.is_damage for finding in found), where

    every_step(tmp_path, prepare, act, check)


@covers("OW-172")
def test_a_change_that_breaks_while_it_is_taken_over(tmp_path):
    def prepare(root):
        with opened(root) as store:
            put(store, "demo", "v1", "v2")
            run(store.settle())
        new = drop_index(root / "demo", 1)
        edit(root / "demo", lambda entries: entries.__setitem__(0, entry(new, "new")))

    def act(store, root):
        run(store.tag_get("demo", "v1"))

    def check(store, root, where):
        assert list(tags_of(store, "demo")) == ["new", "v2"], where
        run(store.settle())
        assert list(read_tags(root / "demo")) == ["new", "v2"], where

    every_step(tmp_path, prepare, act, check)


@covers("OW-171")
def test_an_index_that_breaks_while_it_is_written(tmp_path):
    def prepare(root):
        with opened(root) as store:
            child = put(store, "demo")
            put(store, "demo", "v1", children=[child])
            put(store, "demo")

    def act(store, root):
        run(store.settle())

    def check(store, root, where):
        assert list(read_tags(root / "demo")) == ["v1"], where
        assert len(read_untagged(root / "demo")) == 1, where
        assert json.loads((root / "demo/index.json").read_text())["schemaVersion"] == 2
        assert [*(root / ".wasmhold/dirty").iterdir()] == [], where
        assert [*(root / ".wasmhold/building").iterdir()] == [], where

    every_step(tmp_path, prepare, act, check)


@pytest.mark.slow
@covers("OW-176")
def test_a_repair_that_breaks(tmp_path):
    def prepare(root):
        with opened(root) as store:
            image = push(store, "demo", "v1")
            push(store, "demo", subject=image, text="note")
            push(store, "other", "v1")
            run(store.settle())
        blob = root / "demo/blobs/sha256" / LAYER.encoded
        overwrite(blob, b"LAYER")  # also in `other` and in the pool
        (root / "demo/blobs/sha256" / Digest.of(b"{}").encoded).unlink()
        (root / "demo/index.json").unlink()
        for folder in (root / "demo/.wasmhold/referrers").iterdir():
            for file in folder.iterdir():
                file.unlink()
        tag = root / "demo/.wasmhold/tags/v1"
        tag.unlink()
        tag.write_text("")

    def act(store, root):
        run(store.check(Rules(repair=True, delete_broken=True), lambda finding: None))

    def check(store, root, where):
        for _ in range(2):
            found = []
            run(store.check(Rules(repair=True, delete_broken=True), found.append))
        assert found == [], where
        kept = sorted(path.name for path in (root / ".wasmhold/bad").iterdir())
        assert any(LAYER.encoded in name for name in kept), where

    every_step(tmp_path, prepare, act, check)
