"""The server on a directory: memory under many pushes, and a disk that is full."""

from __future__ import annotations

import hashlib
import os
import threading
import time

import pytest

from tests.registries import Server, serving
from tests.servers.test_edge import (
    MIB,
    Connection,
    Peak,
    ask,
    new_session,
    status,
    stream_in,
    stream_out,
)
from wasmhold.testing.covers import covers


def on(folder, *flags):
    return serving("--log", "off", *flags, store=("--root", str(folder)))


def push_beside_others(server: Server, number: int, size: int, failed: list[object]) -> None:
    piece = number.to_bytes(4, "big") + os.urandom(MIB - 4)
    hasher = hashlib.sha256()
    try:
        session = new_session(server, f"many/repo{number}")
        with Connection(server, 120) as c:
            c.send(f"PATCH {session} HTTP/1.1", "Host: x", f"Content-Length: {size}")
            for _ in range(size // MIB):
                c.socket.sendall(piece)
                hasher.update(piece)
            assert status(c.head()) == 202
        assert ask(server, "PUT", f"{session}?digest=sha256:{hasher.hexdigest()}")[0] == 201
    except BaseException as error:
        failed.append(error)


@covers("BR-078")
@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_many_pushes_at_once_need_little_memory(workers, tmp_path):
    with on(tmp_path, "--workers", str(workers)) as server:
        failed: list[object] = []
        threads = [
            threading.Thread(target=push_beside_others, args=(server, number, 16 * MIB, failed))
            for number in range(64)
        ]
        for thread in threads:
            thread.start()
        highest = 0
        while any(thread.is_alive() for thread in threads):
            highest = max(highest, server.memory(of_workers=True))
            time.sleep(0.05)
        assert not failed, failed[:3]
    print(f"64 pushes of 16 MiB, {workers} workers: {highest / MIB:.0f} MiB at the highest")
    assert highest < 200 * MIB


@covers("BR-078")
@pytest.mark.slow
def test_a_gibibyte_in_and_out(tmp_path):
    with on(tmp_path) as server:
        stream_out(server, "flat/it", stream_in(server, "flat/it", 32 * MIB))
        peak = Peak(server)
        digest = stream_in(server, "flat/it", 1024 * MIB)
        assert stream_out(server, "flat/it", digest) == 1024 * MIB
        assert stream_out(server, "flat/it", digest) == 1024 * MIB
        print(f"1 GiB in and out: {peak.growth() / MIB:.0f} MiB more at the peak")
        assert peak.growth() < 64 * MIB
