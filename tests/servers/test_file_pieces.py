from __future__ import annotations

import asyncio
import itertools
import os
from pathlib import Path

import pytest

from wasmhold.oci.errors import ContentDamaged
from wasmhold.ports.body import PIECE, FileRange
from wasmhold.protocol import Response
from wasmhold.servers import file_pieces as module
from wasmhold.servers.answer import Answer
from wasmhold.servers.file_pieces import SMALL_PIECE, file_pieces
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


@covers("BR-078", "BR-105")
def test_only_some_bodies_at_a_time_are_sent_in_large_pieces(path, monkeypatch):
    monkeypatch.setattr(module, "LARGE_AT_ONCE", 2)

    async def sizes() -> list[list[int]]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            bodies = [file_pieces(FileRange(descriptor, 0, len(CONTENT))) for _ in range(3)]
            found = [[len(await anext(body)) for body in bodies]]
            await bodies[0].aclose()
            found.append([len(await anext(body)) for body in bodies[1:]])
            for body in bodies:
                await body.aclose()
            return found
        finally:
            os.close(descriptor)

    # The third body gets large ones when the first has ended.
    assert asyncio.run(sizes()) == [[PIECE, PIECE, SMALL_PIECE], [PIECE, PIECE]]


class Stored:
    """A body that lies in a file."""

    def __init__(self, file: FileRange) -> None:
        self.file, self.size = file, file.stop - file.start

    async def aclose(self) -> None:
        return


@covers("BR-078")
def test_others_have_their_turn_between_pieces(path):
    """A reader whose buffers have room takes all at once: `send` never waits for it."""
    turns: list[str] = []

    async def take(message: dict) -> None:
        turns.append("piece" if message.get("body") else "head")

    async def other() -> None:
        while True:
            turns.append("other")
            await asyncio.sleep(0)

    async def both() -> None:
        descriptor = os.open(path, os.O_RDONLY)
        beside = asyncio.create_task(other())
        try:
            body = Stored(FileRange(descriptor, 0, len(CONTENT)))
            await Answer(Response(200, [], body), take, 30).send()
        finally:
            beside.cancel()
            os.close(descriptor)

    asyncio.run(both())
    order = [turn for turn in turns if turn != "head"]
    assert order.count("piece") == 4
    assert all(pair != ("piece", "piece") for pair in itertools.pairwise(order))
