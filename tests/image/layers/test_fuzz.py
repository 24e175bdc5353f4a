"""Archives that chance makes, under the canary: whatever they say, nothing outside changes."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.image.layers.archives import E, archive, pax_records
from tests.image.layers.corpus import GZIP, TAR
from tests.image.layers.trees import Canary, read_tree
from wasmhold.client.places.entries import Stream, read_entries
from wasmhold.image.layers.blocking import LayerUnpacker
from wasmhold.oci.errors import ArchiveInvalid, LimitExceeded, WasmholdError
from wasmhold.testing.covers import covers

# Few names, so that entries meet; among them all that lead elsewhere.
PARTS = st.sampled_from(
    [b"a", b"b", b"c", b"..", b".", b"", b".wh.a", b".wh.b", b".wh..wh..opq", b".wh...", b"outside"]
)
NAMES = st.lists(PARTS, min_size=1, max_size=4).map(b"/".join)
TARGETS = st.one_of(
    NAMES,
    NAMES.map(lambda name: b"/" + name),
    NAMES.map(lambda name: b"../" + name),
    st.sampled_from([b"/OUTSIDE", b"/OUTSIDE/secret", b"../../outside", b"/", b".."]),
)
ENTRIES = st.one_of(
    st.builds(E, st.just(b"0"), NAMES, st.binary(max_size=20)),
    st.builds(E, st.just(b"5"), NAMES, mode=st.sampled_from([0o755, 0o500, 0])),
    st.builds(E, st.just(b"2"), NAMES, link=TARGETS),
    st.builds(E, st.just(b"1"), NAMES, link=TARGETS),
    st.builds(E, st.sampled_from([b"3", b"6", b"7", b"\0", b"Z", b"g"]), NAMES),
    st.builds(
        lambda name, path: E(b"0", name, b"x", pax=[(b"path", path)] if path else []), NAMES, NAMES
    ),
)
LAYERS = st.lists(st.lists(ENTRIES, max_size=8), min_size=1, max_size=3)


def same_modes(root: Path) -> None:
    """So that a folder that is closed can be removed by whoever is not root."""
    for folder, folders, _ in os.walk(root):
        for name in folders:
            if not os.path.islink(path := os.path.join(folder, name)):
                os.chmod(path, 0o755)


@covers("ZL-813", "ZL-816", "ZL-826")
@settings(max_examples=300)
@given(LAYERS, st.sampled_from(["error", "skip"]), st.booleans())
def test_any_entries(layers, on_unsafe, at_once):
    with tempfile.TemporaryDirectory() as base:
        canary = Canary(Path(base))
        outside = str(canary.outside).encode()
        packed = [(archive(*entries, outside=outside), TAR) for entries in layers]
        options = {"on_unsafe": on_unsafe, "on_event": lambda event: None}
        try:
            if at_once:
                LayerUnpacker(canary.root, **options).unpack_layers(packed)
            else:
                for one in packed:
                    LayerUnpacker(canary.root, **options).unpack_layer(*one)
        except WasmholdError as error:
            assert isinstance(error, ArchiveInvalid | LimitExceeded), error
            assert not (at_once and canary.root.exists())
        else:
            again = canary.mid / "beside" / "again"
            LayerUnpacker(again, **options).unpack_layers(packed)
            # In one step or layer by layer, new or not: the tree is the same.
            assert read_tree(again) == read_tree(canary.root)
            assert not any(".wh." in name for name in read_tree(canary.root))
            same_modes(again)
            same_modes(canary.root)
            shutil.rmtree(again)
            os.utime(canary.mid / "beside", (1, 1))
        canary.check()


@covers("ZL-812", "ZL-802")
@settings(max_examples=300)
@given(st.lists(ENTRIES, max_size=6), st.data(), st.booleans())
def test_any_damage(entries, data, packed):
    """Bytes that are changed, cut off or put in end in an error of ours, or in a tree."""
    content = bytearray(archive(*entries))
    if packed:
        content = bytearray(gzip.compress(bytes(content), mtime=0))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content)))
        match data.draw(st.sampled_from(["change", "cut", "put"])):
            case "change" if at < len(content):
                content[at] = data.draw(st.integers(0, 255))
            case "cut":
                del content[at:]
            case _:
                content[at:at] = data.draw(st.binary(max_size=600))
    with tempfile.TemporaryDirectory() as base:
        canary = Canary(Path(base))
        try:
            LayerUnpacker(canary.root, on_event=lambda event: None).unpack_layer(
                bytes(content), GZIP if packed else TAR
            )
        except WasmholdError as error:
            assert isinstance(error, ArchiveInvalid | LimitExceeded), error
            assert not canary.root.exists()
        else:
            same_modes(canary.root)
        canary.check()


@given(st.lists(st.tuples(st.binary(max_size=9), st.binary(max_size=9)), max_size=4), st.binary())
def test_any_pax_header_is_read_or_refused(records, rest):
    content = pax_records(records) + rest
    stream = Stream(io.BytesIO(archive(E(b"x", b"x", content), E(b"0", b"a"))))
    try:
        found = list(read_entries(stream))
    except ArchiveInvalid:
        return
    assert len(found) <= 1
