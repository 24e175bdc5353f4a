"""Hostile clients, thousands at once: others are served meanwhile, and nothing is left behind."""

from __future__ import annotations

import os
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.registries import impatient, serving
from tests.servers.hostile import attack, damage, descriptors, good_clients
from tests.servers.test_edge import MIB, Connection, ask, new_session, push, until
from wasmhold.servers.capacity import connections
from wasmhold.servers.granian import READ_SIZE
from wasmhold.testing.covers import covers

IDLE = 5_000


@covers("BR-085", "BR-086", "BR-087", "BR-088")
@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_fuzzed_requests(workers, tmp_path):
    print(attack(tmp_path, 1_500, seed=workers, workers=workers))


# ---- connections that say little


@pytest.fixture
def many_files() -> Iterator[None]:
    """This process and the server may open enough for 5,000 connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        if hard < IDLE + 1_000:
            pytest.skip(f"only {hard} files may be open here")
        if (room := connections(1, READ_SIZE)) < IDLE + 100:
            pytest.skip(
                f"only {room} connections fit into the files and the memory of this machine"
            )
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# fmt: off
LITTLE = [
    b"",                                             # nothing
    b"GET /v2/ HTTP/1.1\r\nHos",                     # half a line
    b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: y\r\n",     # no end
    b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n",         # a whole request, and nothing more
]
# fmt: on


@covers("OW-119", "BR-078")
@pytest.mark.slow
def test_idle_connections_stop_nobody(many_files, tmp_path):
    with (
        serving("--log", "off", "--min-free", "0", store=("--root", str(tmp_path))) as server,
        ExitStack() as stack,
    ):
        assert [ask(server, "GET", "/v2/")[0] for _ in range(50)] == [200] * 50
        before, held = server.memory(), descriptors(server)
        idle = []
        for number in range(IDLE):
            connection = stack.enter_context(Connection(server))
            connection.socket.sendall(LITTLE[number % len(LITTLE)])
            idle.append(connection.socket)
        until(lambda: descriptors(server) >= held + IDLE)
        grown = server.memory() - before
        with good_clients(server):
            assert [ask(server, "GET", "/v2/")[0] for _ in range(200)] == [200] * 200
        assert descriptors(server) >= held + IDLE, "they were gone before the others were served"
        print(f"{IDLE} idle connections: {grown / IDLE:.0f} bytes each")
        assert grown < IDLE * 40_000
        # Their time is over: the server ends them, and holds nothing for them.
        until(lambda: descriptors(server) <= held + 4, 60)
        assert not still_open(idle)
        assert ask(server, "GET", "/v2/")[0] == 200
        assert server.memory() - before < IDLE * 40_000
    assert damage(tmp_path) == ""


def still_open(sockets: list[socket.socket]) -> int:
    """How many of them the other side has not ended."""
    count = 0
    for one in sockets:
        one.setblocking(False)
        try:
            while one.recv(65536):
                pass
        except BlockingIOError:
            count += 1
        except ConnectionError:
            pass
    return count


# ---- connections that are slow

EACH = 200
SLOW_S = 6.0


@contextmanager
def dripping(sockets: list[socket.socket], data: bytes, every_s: float) -> Iterator[None]:
    """To each of `sockets`, a byte of `data` now and then."""
    stopping = threading.Event()

    def drip() -> None:
        for byte in data:
            for one in sockets:
                try:
                    one.send(bytes([byte]))
                except OSError:
                    pass
            if stopping.wait(every_s):
                return

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


@covers("OW-119", "BR-078", "BR-088")
@pytest.mark.slow
def test_slow_heads_bodies_and_readers_stop_nobody(tmp_path):
    with impatient(str(tmp_path)) as server, ExitStack() as stack:
        large = push(server, "slow/blob", os.urandom(32 * MIB))
        stalled = [new_session(server, f"slow/stalled{i % 7}") for i in range(2 * EACH)]
        for _ in range(50):
            ask(server, "GET", "/v2/slow/blob/manifests/none")
        pids, before, held = server.pids(), server.memory(), descriptors(server)

        def connect() -> Connection:
            return stack.enter_context(Connection(server))

        with good_clients(server) as clients:
            heads = [connect().socket for _ in range(EACH)]
            bodies = [connect() for _ in stalled]
            for number, (session, one) in enumerate(zip(stalled, bodies, strict=True)):
                method, query = ("PATCH", "") if number % 2 else ("PUT", f"?digest={large}")
                head = (f"{method} {session}{query} HTTP/1.1", "Host: x")
                one.send(*head, f"Content-Length: {32 * MIB}", body=b"x" * 70_000)
            readers = [connect() for _ in range(EACH)]
            for one in readers:
                one.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                one.send(f"GET /v2/slow/blob/blobs/{large} HTTP/1.1", "Host: x")
            with dripping(heads, b"GET /v2/ HTTP/1.1\r\nHost: x\r\n" * 9, 0.05):
                time.sleep(SLOW_S)
                assert [ask(server, "GET", "/v2/")[0] for _ in range(200)] == [200] * 200
                highest = server.memory()
        served = sum(client.acknowledged for client in clients)
        print(f"{served} changes meanwhile, {(highest - before) / MIB:+.0f} MiB")
        assert highest - before < 512 * MIB
        # Whoever was slow was given up, and nothing of it is left.
        until(lambda: descriptors(server) <= held + 8, 30)
        assert server.pids() == pids
        for session in stalled[:20]:
            assert ask(server, "GET", session)[1]["range"] == "0-0"
        assert server.memory() - before < 512 * MIB
        left = [path for path in tmp_path.glob(".wasmhold/uploads/*/data") if path.stat().st_size]
        assert left == []
    assert damage(tmp_path) == ""
