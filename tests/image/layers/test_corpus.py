"""Every archive of the corpus, under a canary: the tree it makes or the error, and nothing else."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

import pytest

from tests.image.layers.corpus import CASES, Case
from tests.image.layers.trees import Canary, read_tree
from tests.image.layers.users import as_nobody
from wasmhold.client.places import compression
from wasmhold.image.layers import tree
from wasmhold.image.layers.blocking import LayerUnpacker
from wasmhold.oci.errors import UnsafeEntry, WasmholdError
from wasmhold.testing.covers import covers

DOCS = Path(__file__).parents[3] / "docs" / "layers.md"
IDS = [case.id for case in CASES]
CLOSED = "no rights at all"  # the tree of which root alone can read


def unpack(case: Case, canary: Canary, root: Path, **more) -> dict[str, str]:
    outside = str(canary.outside).encode()
    layers = [(one.encode(outside), one.media_type) for one in case.layers]
    LayerUnpacker(root, **{**case.options, **more}).unpack_layers(layers)
    return read_tree(root)


def expected(case: Case, canary: Canary) -> dict[str, str]:
    assert case.tree is not None
    return {
        name: about.replace("/OUTSIDE", str(canary.outside)) for name, about in case.tree.items()
    }


@covers("ZL-801", "ZL-802", "ZL-811", "ZL-812", "ZL-813", "ZL-814", "ZL-815", "ZL-816", "ZL-817")
@covers("ZL-818", "ZL-819", "ZL-820", "ZL-821", "ZL-822", "ZL-823", "ZL-824", "ZL-826")
@pytest.mark.filterwarnings("ignore:a layer of type")
@pytest.mark.parametrize("is_there", [False, True], ids=["new", "empty"])
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_corpus(case, is_there, tmp_path):
    canary = Canary(tmp_path)
    if is_there:
        canary.root.mkdir()
    if case.error is None:
        assert unpack(case, canary, canary.root) == expected(case, canary)
    else:
        kind, said = case.error
        with pytest.raises(kind, match=re.escape(said)):
            unpack(case, canary, canary.root)
        # Nothing half written is left.
        assert canary.root.exists() is is_there
        assert not is_there or read_tree(canary.root) == {}
    canary.check()


# In a folder that has content already: what the archives are most likely to hurt.
LOWER = ("a", "d", "x", "f", "keep", "l", "b")


@covers("ZL-813", "ZL-825")
@pytest.mark.filterwarnings("ignore:a layer of type")
@pytest.mark.parametrize("atomic", [True, False], ids=["atomic", "in place"])
@pytest.mark.parametrize("kind", ["links", "folders", "files"])
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_over_what_is_there(case, kind, atomic, tmp_path):
    """Links that lead outside stand where the archives write: nothing goes through them."""
    canary = Canary(tmp_path)
    canary.root.mkdir()
    for name in LOWER:
        at = canary.root / name
        if kind == "links":
            at.symlink_to(canary.outside if name in "adl" else canary.outside / "secret")
        elif kind == "folders":
            (at / "deep" / "er").mkdir(parents=True)
            (at / "deep" / "link").symlink_to(canary.outside)
        else:
            at.write_text(name)
    before = read_tree(canary.root)
    try:
        unpack(case, canary, canary.root, atomic=atomic)
    except Exception as error:
        if not atomic and not isinstance(error, AssertionError):
            return canary.check()
        assert read_tree(canary.root) == before
    canary.check()


@covers("ZL-813")
@pytest.mark.filterwarnings("ignore:a layer of type")
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_with_one_folder_open_at_a_time(case, tmp_path, monkeypatch):
    """No descriptor is used that has been closed, and none stays open."""
    monkeypatch.setattr(tree, "_MAX_OPEN", 1)
    canary = Canary(tmp_path)
    before = os.listdir("/dev/fd")
    try:
        assert unpack(case, canary, canary.root) == expected(case, canary)
    except WasmholdError as error:
        assert case.error is not None, error
        assert isinstance(error, case.error[0])
    assert len(os.listdir("/dev/fd")) == len(before)
    canary.check()


@pytest.mark.filterwarnings("ignore:a layer of type")
@pytest.mark.parametrize("case", [one for one in CASES if one.error], ids=lambda case: case.id)
def test_what_is_unsafe_may_be_skipped(case, tmp_path):
    canary = Canary(tmp_path)
    told = []
    try:
        unpack(case, canary, canary.root, on_unsafe="skip", on_event=told.append)
    except case.error[0] as error:
        assert case.error[1] in str(error), "an error that is not about safety stays one"
        assert not canary.root.exists()
    else:
        assert canary.root.is_dir()
        assert case.error[0] is UnsafeEntry
        assert any(case.error[1] in event.text for event in told)
    canary.check()


@covers("ZL-813", "ZL-822")
@pytest.mark.filterwarnings("ignore:a layer of type")
def test_without_the_rights_of_root():
    compression.check_zstd()  # what is imported later may lie where nobody may read
    cases = [case for case in CASES if case.id != CLOSED]
    with tempfile.TemporaryDirectory() as base:
        os.chmod(base, 0o777)

        def work() -> None:
            for number, case in enumerate(cases):
                folder = Path(base) / str(number)
                folder.mkdir()
                canary = Canary(folder)
                try:
                    assert unpack(case, canary, canary.root) == expected(case, canary), case.id
                except WasmholdError as error:
                    assert case.error is not None, (case.id, error)
                    assert isinstance(error, case.error[0]), (case.id, error)
                    assert not canary.root.exists(), case.id
                canary.check()

        as_nobody(work)


def test_ids_are_unique_and_appendix_g_is_here():
    assert len(set(IDS)) == len(IDS) >= 60
    given = {re.sub("[a-z]$", "", one) for one in IDS if one.startswith("U-")}
    assert given == {f"U-{number:02}" for number in range(1, 20)}


def test_the_table_of_differences_is_whole():
    """docs/layers.md says of each difference to umoci what it is and why."""
    rows = re.findall(r"^\| \*\*(.+?)\*\* \| (.+) \| (.+) \| (.+) \|$", DOCS.read_text(), re.M)
    assert {row[0] for row in rows} == {case.umoci for case in CASES if case.umoci}
    assert all(all(cell.strip() for cell in row) for row in rows)
