from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from wasmhold.oci.errors import ContentDamaged
from wasmhold.ports.body import PIECE, FileRange
from wasmhold.servers import file_pieces as module
from wasmhold.servers.file_pieces import file_pieces
from wasmhold.testing.covers import covers

CONTENT = os.urandom(3 * PIECE + 100)


@pytest.fixture(params=["page cache", "thread", "tmpfs"])
def path(request, tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(module, "_without_nowait", set())
    folder = tmp_path
    if request.param == "thread":
        monkeypatch.setattr(module, "_NOWAIT", None)
    elif request.param == "tmpfs":
        if not os.access("/dev/shm", os.W_OK):
            pytest.skip("there is no tmpfs at /dev/shm")
        folder = Path("/dev/shm")
    file = folder / f"file-pieces-{os.getpid()}"
    file.write_bytes(CONTENT)
    yield file
    file.unlink()


def pieces(path: Path, start: int, stop: int) -> list[bytes]:
    async def collect(file: FileRange) -> list[bytes]:
        return [piece async for piece in file_pieces(file)]

    descriptor = os.open(path, os.O_RDONLY)
    try:
        return asyncio.run(collect(FileRange(descriptor, start, stop)))
    finally:
        os.close(descriptor)


@covers("BR-025", "BR-107")
@pytest.mark.parametrize(
    ("start", "stop"), [(0, len(CONTENT)), (5, 6), (PIECE - 1, PIECE + 1), (7, 7), (100, 2 * PIECE)]
)
def test_ranges(path, start, stop):
    found = pieces(path, start, stop)
    assert b"".join(found) == CONTENT[start:stop]
    assert all(0 < len(piece) <= PIECE for piece in found)


def test_a_file_that_is_too_short_is_no_whole_one(path):
    with pytest.raises(ContentDamaged):
        pieces(path, 0, len(CONTENT) + 1)
