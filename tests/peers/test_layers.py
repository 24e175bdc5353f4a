"""umoci makes the same trees of the same archives, but where docs/layers.md says why it does not."""

from __future__ import annotations

import subprocess

import pytest

from tests.image.layers.archives import archive
from tests.image.layers.corpus import CASES
from tests.image.layers.layouts import write_layout
from tests.image.layers.test_corpus import expected, unpack
from tests.image.layers.trees import Canary, read_tree
from tests.peers.test_clients import needs
from wasmhold.testing.covers import covers

HARM = "a whiteout of what holds the root"  # the one archive by which umoci 0.4.7 does some

# umoci tries to write all of a hole, to the end of the disk or of our patience.
GIVEN = [case for case in CASES if case.id != "a huge hole"]

pytestmark = [pytest.mark.peer, needs("umoci")]


@covers("ZL-813", "ZL-818", "ZL-819", "ZL-820")
@pytest.mark.filterwarnings("ignore:a layer of type")
@pytest.mark.parametrize("case", GIVEN, ids=lambda case: case.id)
def test_umoci_makes_the_same(case, tmp_path):
    theirs, ours = Canary(tmp_path / "theirs"), Canary(tmp_path / "ours")
    outside = str(theirs.outside).encode()
    layers = [
        (one.encode(outside), one.media_type, archive(*one.entries, outside=outside, end=one.end))
        for one in case.layers
    ]
    write_layout(tmp_path / "layout", layers)
    ran = subprocess.run(
        ["umoci", "raw", "unpack", "--image", f"{tmp_path}/layout:v1", theirs.root],
        capture_output=True,
        text=True,
        timeout=120,
    )
    if case.umoci == HARM:
        assert ran.returncode != 0
        return
    theirs.check()
    if case.error is not None:
        is_equal = ran.returncode != 0
    else:
        tree = expected(case, theirs)
        assert unpack(case, ours, ours.root) == expected(case, ours)
        is_equal = ran.returncode == 0 and read_tree(theirs.root) == tree
    assert is_equal is (case.umoci is None), ran.stderr
