"""Formats by the library: under asyncio as without a loop, and nothing is left in the way."""

from __future__ import annotations

import asyncio
import tempfile
import tracemalloc
from pathlib import Path

import pytest

from tests.wasm.binaries import MODULE, custom
from wasmhold.client import Client, PushFormat, What
from wasmhold.client.local import read_file
from wasmhold.client.packing import pack_file
from wasmhold.client.places.layout import FolderContent
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import ArtifactInvalid, DigestMismatch, FileInvalid, OutOfSpace
from wasmhold.sync import Client as Blocking
from wasmhold.testing.covers import covers

FORMATS = [one for one in PushFormat if one is not PushFormat.FILES]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """`tmp` is where temporary files go: it is empty when a test has ended."""
    monkeypatch.chdir(tmp_path)
    Path("tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    Path("app.wasm").write_bytes(MODULE)
    yield
    assert [*Path("tmp").iterdir()] == []


@covers("CW-078")
def test_all_formats_under_asyncio_and_without_a_loop():
    what = [What(format=one, created="2024-01-02T03:04:05Z") for one in FORMATS]

    async def work():
        async with Client() as client:
            await client.push(["app.wasm"], "oci:start:1")
            made = await asyncio.gather(
                *(client.convert("oci:start:1", f"oci:{one.format.value}:1", one) for one in what)
            )
            return [one.manifest for one in made]

    found = asyncio.run(work())
    with Blocking() as client:
        again = [
            client.convert("oci:start:1", f"oci:{one.format.value}:2", one).manifest for one in what
        ]
        assert found == again
        for one in FORMATS:
            assert client.wasm(f"oci:{one.value}:1") == MODULE


def test_a_push_that_fails_leaves_no_temporary_file(monkeypatch):
    async def full(self, descriptor, source):
        raise OutOfSpace("simulated")

    monkeypatch.setattr(FolderContent, "put_blob", full)
    with Blocking() as client, pytest.raises(Exception, match="simulated"):
        client.push(["app.wasm"], "oci:there:1", What(format=PushFormat.IMAGE))


# fmt: off
CHANGED = [
    # content when it is packed,    error
    (MODULE[:-1] + b"x",            DigestMismatch),
    (MODULE + b"x",                 ArtifactInvalid),
    (MODULE[:-1],                   DigestMismatch),
    (None,                          FileInvalid),
]
# fmt: on


@covers("CW-072")
@pytest.mark.parametrize(("content", "error"), CHANGED)
def test_a_file_that_changes_before_it_is_packed(content, error):
    read = read_file("app.wasm")
    Path("app.wasm").unlink()
    if content is not None:
        Path("app.wasm").write_bytes(content)
    with pytest.raises(error), pack_file(read, "app.wasm"):
        pass


@covers("CW-072")
def test_packing_takes_no_more_memory_for_a_large_file():
    Path("app.wasm").write_bytes(MODULE + custom("x", bytes(40 << 20)))
    read = read_file("app.wasm")
    tracemalloc.start()
    with pack_file(read, "app.wasm") as (path, layer):
        _, most = tracemalloc.get_traced_memory()
        assert layer.descriptor.digest == Digest.of(Path(path).read_bytes())
    tracemalloc.stop()
    assert most < 8 << 20
