"""Hostile clients, thousands at once: others are served meanwhile, and nothing is left behind."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import resource
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.certificates import Authority
from tests.registries import impatient, serving
from tests.servers.hostile import attack, damage, descriptors, good_clients
from tests.servers.test_edge import MIB, Connection, ask, new_session, push, until
from wasmhold.auth.htpasswd import hash_password
from wasmhold.servers.capacity import connections
from wasmhold.servers.granian import READ_SIZE
from wasmhold.testing.covers import covers
from wasmhold.testing.senders import to_url
from wasmhold.testing.transcript import Exchange

IDLE = 5_000
ENDING = 50  # descriptors that were still open for earlier requests, at most


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
        until(lambda: descriptors(server) >= held + IDLE - ENDING)
        grown = server.memory() - before
        with good_clients(server):
            assert [ask(server, "GET", "/v2/")[0] for _ in range(200)] == [200] * 200
        assert descriptors(server) >= held + IDLE - ENDING, (
            "they were gone before the others were served"
        )
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


# ---- logins

FLOODERS = 120  # more than the server lets wait


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@covers("OW-163", "BR-078")
@pytest.mark.slow
def test_a_flood_of_wrong_logins_stops_nobody_who_is_known(tmp_path):
    users = tmp_path / "users"
    users.write_text(f"alice:{hash_password(b'of alice', 10)}\n")
    users.chmod(0o600)
    statuses: Counter[int] = Counter()
    stopping = threading.Event()
    login = basic("alice", "of alice")
    large = os.urandom(32 * MIB)
    at = f"/v2/large/blob/blobs/sha256:{hashlib.sha256(large).hexdigest()}"

    def flood(number: int) -> None:
        chance = random.Random(number)
        with to_url(server.url, timeout_s=60) as send:
            while not stopping.is_set():
                user = chance.choice(["alice", "nobody"])
                wrong = [("Authorization", basic(user, f"guess {chance.random()}"))]
                statuses[send(Exchange("GET", "/v2/", wrong, None, False)).status] += 1

    store = ("--root", str(tmp_path / "store"), "--min-free", "0")
    flags = ("--log", "json", "--htpasswd", str(users))
    with serving(*flags, store=store) as server, to_url(server.url, timeout_s=60) as send:
        known = [("Authorization", login)]
        assert send(Exchange("GET", "/v2/", known, None, False)).status == 200
        before = server.memory()
        threads = [threading.Thread(target=flood, args=(number,)) for number in range(FLOODERS)]
        with good_clients(server, login=login) as clients:
            for thread in threads:
                thread.start()
            try:
                until(lambda: statuses[429] > 0 and statuses[401] > 20, 60)
                push = f"/v2/large/blob/blobs/uploads/?digest={at.rpartition('/')[2]}"
                assert send(Exchange("POST", push, known, [large], False)).status == 201
                assert send(Exchange("GET", at, known, None, False)).body == large
            finally:
                stopping.set()
                for thread in threads:
                    thread.join()
        served = sum(client.acknowledged for client in clients)
        print(f"{served} changes beside {dict(statuses)}")
        assert set(statuses) == {401, 429}
        assert server.memory() - before < 128 * MIB
        log = server.log.read_text()
        for secret in ("guess", "of alice", login.split()[1], "Traceback"):
            assert secret not in log
    assert damage(tmp_path / "store") == ""


# ---- TLS

SILENT = 1_000


@covers("OW-119")
@pytest.mark.slow
def test_silent_connections_before_the_handshake_stop_nobody(tmp_path, monkeypatch):
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    chain, key = authority.files()
    flags = ("--log", "off", "--tls-cert", str(chain), "--tls-key", str(key))
    with serving(*flags) as server, ExitStack() as stack:
        url = server.url.replace("127.0.0.1", "localhost")
        for _ in range(20):
            with to_url(url) as send:
                assert send(Exchange("GET", "/v2/", [], None, False)).status == 200
        before, held = server.memory(), descriptors(server)
        silent = [stack.enter_context(Connection(server)).socket for _ in range(SILENT)]
        until(lambda: descriptors(server) >= held + SILENT - ENDING)
        grown = server.memory() - before
        for _ in range(50):
            with to_url(url) as send:
                assert send(Exchange("GET", "/v2/", [], None, False)).status == 200
        assert descriptors(server) >= held + SILENT - ENDING, (
            "they were gone before others were served"
        )
        print(f"{SILENT} connections before their handshake: {grown / SILENT:.0f} bytes each")
        assert grown < SILENT * 40_000
        until(lambda: descriptors(server) <= held + 4, 60)
        assert not still_open(silent)
