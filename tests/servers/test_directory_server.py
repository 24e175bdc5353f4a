"""The server on a directory: memory under many pushes, and a disk that is full."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
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
from tests.stores.directories import opened
from wasmhold.ports.runtime import run
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


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 48 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", disk], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def put(server: Server, size: int) -> tuple[int, str]:
    data = os.urandom(size)
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    return ask(server, "POST", f"/v2/full/disk/blobs/uploads/?digest={digest}", data)[0], digest


def fill(server: Server, size: int) -> list[str]:
    """Push until nothing more is taken; what was taken."""
    pushed: list[str] = []
    while len(pushed) < 100:
        # Asked without a body first: who sends one need not hear a refusal that comes before it.
        found, digest = ask(server, "POST", "/v2/full/disk/blobs/uploads/")[0], ""
        if found == 202:
            found, digest = put(server, size)
        if found == 507:
            return pushed
        assert found == 201
        pushed.append(digest)
    raise AssertionError("the disk is never full")


@covers("BR-070")
def test_a_full_disk_refuses_and_loses_nothing(small_disk):
    with on(small_disk, "--min-free", "0") as server:
        pushed = fill(server, 5 * MIB)
        assert len(pushed) > 5
        # What is there is served, what was refused is nowhere, and what is deleted makes room.
        for digest in pushed:
            assert stream_out(server, "full/disk", digest) == 5 * MIB
        left = sum(path.stat().st_size for path in small_disk.glob(".wasmhold/uploads/*/data"))
        left += sum(path.stat().st_size for path in small_disk.glob(".wasmhold/tmp/*/*"))
        assert left == 0
        for digest in pushed[:2]:
            assert ask(server, "DELETE", f"/v2/full/disk/blobs/{digest}")[0] == 202
    with opened(small_disk) as store:
        run(store.collect(0))
    with on(small_disk, "--min-free", "0") as server:
        assert put(server, 5 * MIB)[0] == 201


@covers("BR-070")
def test_low_space_leaves_room_to_delete(small_disk):
    with on(small_disk, "--min-free", "20MiB") as server:
        pushed = fill(server, 4 * MIB)
        index = b'{"schemaVersion":2,"manifests":[]}'
        assert ask(server, "PUT", "/v2/full/disk/manifests/v1", index)[0] == 507
        free = shutil.disk_usage(small_disk).free
        assert 16 * MIB <= free < 20 * MIB
        assert stream_out(server, "full/disk", pushed[0]) == 4 * MIB
        assert ask(server, "DELETE", f"/v2/full/disk/blobs/{pushed[0]}")[0] == 202


def test_min_free_is_more_than_nothing_by_default(small_disk):
    with on(small_disk) as server:
        assert put(server, 10)[0] == 507
