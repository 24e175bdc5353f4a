"""What the edge owes: tried with sockets against the real server, as an attacker would."""

from __future__ import annotations

import hashlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.registries import Server, impatient, serving
from wasmhold.testing.covers import covers
from wasmhold.testing.senders import to_url
from wasmhold.testing.transcript import Exchange

MIB = 1 << 20
EMPTY = "sha256:" + hashlib.sha256(b"").hexdigest()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Limits of a second."""
    with impatient() as running:
        yield running


class Connection:
    """A socket that says what it is told."""

    def __init__(self, server: Server, timeout_s: float = 20) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout_s)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *lines: str, body: bytes = b"") -> None:
        """Lines of a head, ended, then `body`."""
        self.socket.sendall("".join(f"{line}\r\n" for line in (*lines, "")).encode() + body)

    def head(self) -> str:
        """The head of an answer; empty when the connection ends without one."""
        data = b""
        while b"\r\n\r\n" not in data:
            try:
                piece = self.socket.recv(1)
            except ConnectionResetError:
                break
            if not piece:
                break
            data += piece
        return data.decode("latin-1")

    def rest(self) -> bytes:
        """Everything until the server ends the connection."""
        out = []
        while True:
            try:
                piece = self.socket.recv(MIB)
            except ConnectionResetError:
                break
            if not piece:
                break
            out.append(piece)
        return b"".join(out)


def status(head: str) -> int:
    return int(head.split(" ")[1]) if head else 0


def ask(server: Server, method: str, target: str, body: bytes | None = None) -> tuple[int, dict]:
    with to_url(server.url) as send:
        answer = send(Exchange(method, target, [], None if body is None else [body], False))
    return answer.status, dict(answer.headers)


def new_session(server: Server, repo: str) -> str:
    return ask(server, "POST", f"/v2/{repo}/blobs/uploads/")[1]["location"]


def push(server: Server, repo: str, data: bytes) -> str:
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert ask(server, "POST", f"/v2/{repo}/blobs/uploads/?digest={digest}", data)[0] == 201
    return digest


def alive(server: Server) -> bool:
    return ask(server, "GET", "/v2/")[0] == 200


# ---- bodies that break


@covers("BR-088", "BR-069", "BR-035", "BR-079")
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_a_cut_body_stores_nothing(server, method):
    session = new_session(server, "cut/body")
    half = b"x" * 500
    digest = f"sha256:{hashlib.sha256(half).hexdigest()}"
    query = f"?digest={digest}" if method == "PUT" else ""
    with Connection(server) as c:
        c.send(f"{method} {session}{query} HTTP/1.1", "Host: x", "Content-Length: 1000", body=half)
    # What came was even a whole blob of its own: the length that was promised decides.
    until(lambda: ask(server, "GET", session)[0] == 204)
    time.sleep(0.2)
    assert ask(server, "GET", session)[1]["range"] == "0-0"
    assert ask(server, "HEAD", f"/v2/cut/body/blobs/{digest}")[0] == 404


@covers("BR-088")
@pytest.mark.parametrize("cut", [b"5\r\nhel", b"5\r\nhello\r\n", b"5\r\nhello\r\nZZ\r\n", b"0"])
def test_a_broken_chunk_stores_nothing(server, cut):
    session = new_session(server, "cut/chunk")
    with Connection(server) as c:
        c.send(f"PATCH {session} HTTP/1.1", "Host: x", "Transfer-Encoding: chunked", body=cut)
        c.socket.shutdown(socket.SHUT_WR)
        head = c.head()
    assert status(head) in (0, 400)
    assert ask(server, "GET", session)[1]["range"] == "0-0"


@covers("BR-088")
def test_a_cut_manifest_is_no_manifest(server):
    # Without its last newline it would be a whole document with another digest.
    document = b'{"schemaVersion":2,"manifests":[]}'
    for framing in ("Transfer-Encoding: chunked", f"Content-Length: {len(document) + 1}"):
        body = document if "Length" in framing else b"%x\r\n%s\r\n" % (len(document), document)
        with Connection(server) as c:
            c.send("PUT /v2/cut/manifest/manifests/v1 HTTP/1.1", "Host: x", framing, body=body)
            c.socket.shutdown(socket.SHUT_WR)
            assert status(c.head()) in (0, 400)
    assert ask(server, "HEAD", "/v2/cut/manifest/manifests/v1")[0] == 404


@covers("BR-088")
def test_a_stalled_body_is_given_up(server):
    session = new_session(server, "stalled/body")
    with Connection(server) as c:
        c.send(f"PATCH {session} HTTP/1.1", "Host: x", "Content-Length: 1000", body=b"x" * 10)
        start = time.monotonic()
        head = c.head()
        assert status(head) == 408
        assert "connection: close" in head.lower()
        assert 0.5 < time.monotonic() - start < 15
        assert b"SIZE_INVALID" in c.rest()
    assert ask(server, "GET", session)[1]["range"] == "0-0"


# ---- readers that stall


@covers("BR-078", "BR-105")
def test_stalled_readers_are_dropped_and_cost_little(server):
    data = os.urandom(64 * MIB)
    digest = push(server, "stalled/reader", data)
    before = server.memory()
    readers = [Connection(server) for _ in range(8)]
    try:
        for reader in readers:
            reader.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            reader.send(f"GET /v2/stalled/reader/blobs/{digest} HTTP/1.1", "Host: x")
        time.sleep(0.7)
        assert server.memory() - before < 32 * MIB
        assert alive(server)
        time.sleep(2)
        for reader in readers:
            # The connection is cut: nobody takes this for a whole blob.
            assert len(reader.rest()) < len(data)
    finally:
        for reader in readers:
            reader.socket.close()
    assert alive(server)


def test_a_slow_reader_that_goes_on_gets_it_all(server):
    data = os.urandom(8 * MIB)
    digest = push(server, "slow/reader", data)
    with Connection(server) as c:
        c.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        c.send(f"GET /v2/slow/reader/blobs/{digest} HTTP/1.1", "Host: x", "Connection: close")
        head = c.head()
        got = b""
        while piece := c.socket.recv(MIB):
            got += piece
            time.sleep(0.01)
    assert status(head) == 200
    assert got == data


# ---- connections that are slow or silent


@covers("BR-085", "OW-119")
@pytest.mark.parametrize("said", [b"", b"GET /v2/ HTTP/1.1\r\nHos"])
def test_slow_and_silent_connections_end(server, said):
    with Connection(server) as c:
        c.socket.sendall(said)
        start = time.monotonic()
        c.rest()
        assert time.monotonic() - start < 10


def test_many_idle_connections_disturb_nobody(server):
    connections = [Connection(server) for _ in range(200)]
    try:
        assert alive(server)
    finally:
        for connection in connections:
            connection.socket.close()


# ---- heads that lie

# fmt: off
HEADS = [
    # what it is,                   lines,                                                      statuses
    ("no Host",                     ["GET /v2/ HTTP/1.1"],                                      {400}),
    ("two Hosts",                   ["GET /v2/ HTTP/1.1", "Host: a", "Host: b"],                {400}),
    ("two lengths",                 ["POST /v2/a/blobs/uploads/ HTTP/1.1", "Host: a", "Content-Length: 1", "Content-Length: 2"], {400}),
    ("a length that is none",       ["POST /v2/a/blobs/uploads/ HTTP/1.1", "Host: a", "Content-Length: -1"], {400}),
    ("an unknown coding",           ["POST /v2/a/blobs/uploads/ HTTP/1.1", "Host: a", "Transfer-Encoding: zip"], {400}),
    ("too many fields",             ["GET /v2/ HTTP/1.1", "Host: a", *(f"X-{i}: 1" for i in range(200))], {400, 431}),
    ("a head that is too large",    ["GET /v2/ HTTP/1.1", "Host: a", "X: " + "x" * MIB],        {0, 400, 431}),
    ("TLS on the plain port",       ["\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],           {0, 400}),
    ("no HTTP",                     ["hello"],                                                  {0, 400}),
    ("a path that is too long",     ["GET /v2/" + "a/" * 3000 + " HTTP/1.1", "Host: a"],        {400, 414}),
]
# fmt: on


@covers("BR-087", "BR-088")
@pytest.mark.parametrize(("what", "lines", "statuses"), HEADS, ids=[what for what, *_ in HEADS])
def test_heads_that_lie(server, what, lines, statuses):
    with Connection(server) as c:
        try:
            c.send(*lines)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert status(c.head()) in statuses
        c.rest()  # and the connection ends
    assert alive(server)


@covers("BR-087")
def test_a_length_beside_a_coding_smuggles_nothing(server):
    """Two servers could read two requests in it: nothing follows on this connection.

    Granian takes the length away before an application sees it, reads the coding alone and then
    closes, as RFC 9112, 6.3 has it; what reaches the edge with both is refused (test_asgi.py).
    """
    smuggled = b"0\r\n\r\nGET /v2/_catalog HTTP/1.1\r\nHost: x\r\n\r\n"
    with Connection(server) as c:
        c.send(
            "POST /v2/a/blobs/uploads/ HTTP/1.1",
            "Host: x",
            f"Content-Length: {len(smuggled)}",
            "Transfer-Encoding: chunked",
            body=smuggled,
        )
        answer = c.rest()
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in answer.lower()


@covers("BR-087")
def test_lines_ended_by_lf_alone_do_no_harm(server):
    with Connection(server) as c:
        c.socket.sendall(b"GET /v2/ HTTP/1.1\nHost: x\nConnection: close\n\n")
        answer = c.rest()
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.split(b" ")[1] in (b"200", b"400")


def test_http_1_0_needs_no_host(server):
    with Connection(server) as c:
        c.send("GET /v2/ HTTP/1.0")
        assert status(c.head()) == 200


@covers("DS-012")
def test_continue_is_said_before_the_body_comes(server):
    session = new_session(server, "expect/continue")
    with Connection(server) as c:
        c.send(f"PATCH {session} HTTP/1.1", "Host: x", "Content-Length: 5", "Expect: 100-continue")
        assert status(c.head()) == 100
        c.socket.sendall(b"hello")
        assert status(c.head()) == 202


@covers("BR-087")
def test_garbage_disturbs_nobody(server):
    chance = random.Random(1)
    words = [b"GET ", b"PUT ", b"/v2/", b"a", b"/blobs/", b" HTTP/1.1\r\n", b"Host: x\r\n", b"\r\n"]
    words += [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"\0", b"\xff", b"%"]
    for _ in range(300):
        with Connection(server, 1) as c:
            try:
                c.socket.sendall(b"".join(chance.choices(words, k=chance.randrange(1, 12))))
                c.socket.shutdown(socket.SHUT_WR)
                answer = c.rest()
            except (OSError, TimeoutError):
                continue
            assert b"Traceback" not in answer
            assert b" 500 " not in answer.partition(b"\r\n")[0]
    assert alive(server)


# ---- refusals before a large body


def refused_early(server: Server, method: str, target: str) -> tuple[str, bytes, int]:
    """Offer 512 MiB, read the answer as soon as there is one: head, body, bytes that went out."""
    with Connection(server) as c:
        c.send(f"{method} {target} HTTP/1.1", "Host: x", f"Content-Length: {512 * MIB}")
        sent, piece = 0, b"x" * 65536
        c.socket.setblocking(False)
        deadline = time.monotonic() + 10
        answer, is_open = b"", True
        while time.monotonic() < deadline:
            try:
                sent += c.socket.send(piece) if is_open else 0
            except BlockingIOError:
                time.sleep(0.001)
            except OSError:  # refused; the answer may still be there to be read
                is_open = False
            try:
                answer += (got := c.socket.recv(65536))
                if not got or b"}]}" in answer:
                    break
            except BlockingIOError:
                pass
            except OSError:
                break
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.decode(), body, sent


@covers("DS-067", "BR-088", "OW-115")
def test_413_before_a_large_manifest(server):
    head, body, sent = refused_early(server, "PUT", "/v2/large/body/manifests/v1")
    assert status(head) == 413
    assert "connection: close" in head.lower()
    assert b"MANIFEST_INVALID" in body
    assert sent < 64 * MIB


@covers("BR-067", "OW-051")
def test_401_before_a_large_blob():
    with serving("--log", "off", faults=["upload-finish 401"]) as server:
        target = f"/v2/large/body/blobs/uploads/?digest={EMPTY}"
        head, body, sent = refused_early(server, "POST", target)
        assert status(head) == 401
        assert "www-authenticate: Basic" in head
        assert "connection: close" in head.lower()
        assert b"UNAUTHORIZED" in body
        assert sent < 64 * MIB
        assert alive(server)


def test_404_before_a_large_blob(server):
    target = "/v2/large/body/blobs/uploads/00000000-0000-4000-8000-000000000000"
    head, body, sent = refused_early(server, "PATCH", target)
    assert status(head) == 404
    assert b"BLOB_UPLOAD_UNKNOWN" in body
    assert sent < 64 * MIB


# ---- faults that cut


@covers("OW-051")
def test_simulated_cuts():
    with serving("--log", "off", faults=["tags close", "blob-get truncate:1"]) as server:
        digest = push(server, "cut/answer", b"x" * MIB)
        with Connection(server) as c:
            c.send("GET /v2/cut/answer/tags/list HTTP/1.1", "Host: x")
            assert "content-length: 1" in c.head()
            assert c.rest() == b""  # and that byte never comes
        with Connection(server) as c:
            c.send(f"GET /v2/cut/answer/blobs/{digest} HTTP/1.1", "Host: x")
            head = c.head()
            assert status(head) == 200
            assert "wasmhold-simulated: 1" in head
            assert 0 < len(c.rest()) < MIB
        assert ask(server, "GET", f"/v2/cut/answer/blobs/{digest}")[0] == 200


# ---- starting and stopping


@covers("OW-103", "BR-143")
def test_a_second_server_on_the_port_is_refused(server):
    ran = subprocess.run(
        [sys.executable, "-m", "wasmhold", "serve", "--memory", "--listen", server.host],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert ran.returncode == 1
    assert f"cannot listen on {server.host}" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_many_processes_start_at_once_each_on_its_own_port():
    with serving("--log", "off") as one, serving("--log", "off") as two:
        assert one.port != two.port


@covers("OW-111")
def test_sigterm_lets_a_running_download_end():
    with serving("--log", "off", "--shutdown-timeout", "20") as server:
        data = os.urandom(64 * MIB)
        digest = push(server, "drain/it", data)
        with Connection(server) as c:
            c.send(f"GET /v2/drain/it/blobs/{digest} HTTP/1.1", "Host: x", "Connection: close")
            assert status(c.head()) == 200
            server.process.terminate()
            until(lambda: not accepts(server))
            got = c.rest()
        assert got == data
        assert server.process.wait(20) == 0


@covers("OW-111")
def test_sigterm_does_not_wait_for_ever():
    with serving("--log", "off", "--shutdown-timeout", "2") as server:
        digest = push(server, "drain/not", os.urandom(64 * MIB))
        with Connection(server) as c:
            c.send(f"GET /v2/drain/not/blobs/{digest} HTTP/1.1", "Host: x")
            assert status(c.head()) == 200
            start = time.monotonic()
            server.process.terminate()
            server.process.wait(20)
            assert time.monotonic() - start < 15


def test_sighup_loses_nothing():
    with serving("--log", "off") as server:
        digest = push(server, "hang/up", b"content")
        for pid in server.pids():
            os.kill(pid, signal.SIGHUP)
        time.sleep(0.5)
        assert ask(server, "GET", f"/v2/hang/up/blobs/{digest}")[0] == 200


def test_a_worker_that_dies_is_no_quiet_loss():
    """What was in memory is gone with it: the server ends, and says so by its exit status."""
    with serving("--log", "off") as server:
        worker = server.pids()[-1]
        assert worker != server.process.pid
        os.kill(worker, 9)
        assert server.process.wait(20) != 0


def accepts(server: Server) -> bool:
    try:
        socket.create_connection(("127.0.0.1", server.port), 1).close()
    except OSError:
        return False
    return True


def until(holds, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# ---- memory


def stream_in(server: Server, repo: str, size: int) -> str:
    """Push `size` bytes in one PATCH and a PUT; the digest."""
    session = new_session(server, repo)
    piece = os.urandom(MIB)
    hasher = hashlib.sha256()
    with Connection(server, 60) as c:
        c.send(f"PATCH {session} HTTP/1.1", "Host: x", f"Content-Length: {size}")
        for _ in range(size // MIB):
            c.socket.sendall(piece)
            hasher.update(piece)
        head = c.head()
        assert status(head) == 202
    session = re.search(r"^location: (.*)\r$", head, re.MULTILINE | re.IGNORECASE)[1]
    digest = f"sha256:{hasher.hexdigest()}"
    join = "&" if "?" in session else "?"
    assert ask(server, "PUT", f"{session}{join}digest={digest}")[0] == 201
    return digest


def stream_out(server: Server, repo: str, digest: str) -> int:
    """Pull a blob and check it; its size."""
    hasher, size = hashlib.sha256(), 0
    with Connection(server, 60) as c:
        c.send(f"GET /v2/{repo}/blobs/{digest} HTTP/1.1", "Host: x", "Connection: close")
        assert status(c.head()) == 200
        while piece := c.socket.recv(MIB):
            hasher.update(piece)
            size += len(piece)
    assert f"sha256:{hasher.hexdigest()}" == digest
    return size


class Peak:
    """The highest resident memory of a server since this was made, by the kernel's own mark."""

    def __init__(self, server: Server) -> None:
        self._pids = server.pids()
        for pid in self._pids:
            with open(f"/proc/{pid}/clear_refs", "w") as file:
                file.write("5")
        self.start = self._read()

    def _read(self) -> int:
        total = 0
        for pid in self._pids:
            with open(f"/proc/{pid}/status") as file:
                for line in file:
                    if line.startswith("VmHWM:"):
                        total += int(line.split()[1]) * 1024
        return total

    def growth(self) -> int:
        return self._read() - self.start


@covers("BR-078", "BR-105", "BR-107")
@pytest.mark.slow
def test_memory_is_flat_for_a_gibibyte_in_and_out():
    """The data lies in a file here: what grows is what the server and the store need themselves."""
    with impatient("spill") as server:
        stream_out(server, "flat/it", stream_in(server, "flat/it", 32 * MIB))
        peak = Peak(server)
        digest = stream_in(server, "flat/it", 1024 * MIB)
        assert peak.growth() < 48 * MIB
        assert stream_out(server, "flat/it", digest) == 1024 * MIB
        assert peak.growth() < 64 * MIB
        print(f"1 GiB in and out: {peak.growth() / MIB:.0f} MiB more at the peak")


@covers("BR-078")
@pytest.mark.slow
def test_memory_store_keeps_one_copy():
    with serving("--log", "off") as server:
        stream_out(server, "one/copy", stream_in(server, "one/copy", 32 * MIB))
        peak = Peak(server)
        digest = stream_in(server, "one/copy", 1024 * MIB)
        assert peak.growth() < (1024 + 64) * MIB
        stream_out(server, "one/copy", digest)
        assert peak.growth() < (1024 + 96) * MIB
