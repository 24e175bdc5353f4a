"""How a server ends: it says so, what runs may finish, and nothing is waited for without end."""

from __future__ import annotations

import hashlib
import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
import time

import pytest

from tests.certificates import Authority
from tests.registries import serving
from wasmhold.stores.directory.paths import FORMAT
from wasmhold.testing.covers import covers

MIB = 1 << 20


def push(connection: http.client.HTTPConnection, data: bytes) -> str:
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    connection.request("POST", f"/v2/drain/it/blobs/uploads/?digest={digest}", data)
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 201
    return f"/v2/drain/it/blobs/{digest}"


@covers("OW-111")
@pytest.mark.parametrize("workers", [1, 2])
def test_it_is_not_ready_first_and_what_runs_finishes(workers, tmp_path):
    store = ("--root", str(tmp_path), "--workers", str(workers))
    with serving("--log", "off", "--shutdown-timeout", "30", store=store) as server:
        connections = [http.client.HTTPConnection("127.0.0.1", server.port) for _ in range(12)]
        data = os.urandom(64 * MIB)
        place = push(connections[0], data)
        pulls = connections[:4]
        for connection in pulls:
            connection.request("GET", place)
        answers = [connection.getresponse() for connection in pulls]
        probes = connections[4:]
        for connection in probes:
            connection.request("GET", "/readyz")
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, b"ready\n")
        server.process.send_signal(signal.SIGTERM)
        asked = 0
        for connection in probes:  # one after the other: the last ones when all know
            while True:
                connection.request("GET", "/readyz")
                answer = connection.getresponse()
                said = answer.read()
                asked += 1
                assert asked < 10_000
                if answer.status == 503:
                    break
            assert said == b"draining\n"
            assert answer.getheader("connection") == "close"
        for answer in answers:
            assert answer.read() == data
        assert server.process.wait(30) == 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), 5)
        for connection in connections:
            connection.close()


@covers("OW-111")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_reader_that_stalls_is_not_waited_for(workers, tmp_path):
    store = ("--root", str(tmp_path), "--workers", str(workers))
    with serving("--log", "off", "--shutdown-timeout", "2", store=store) as server:
        stalled = http.client.HTTPConnection("127.0.0.1", server.port)
        stalled.request("GET", push(stalled, os.urandom(64 * MIB)))
        assert stalled.getresponse().status == 200
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0
        stalled.close()


@covers("OW-111")
@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_reaches_workers_too_and_is_no_failure(workers, tmp_path):
    store = ("--root", str(tmp_path), "--workers", str(workers))
    with serving("--log", "off", store=store) as server:
        for pid in server.pids():
            os.kill(pid, signal.SIGINT)
        assert server.process.wait(20) == 0
        assert "has died" not in server.log.read_text()


def test_a_worker_that_cannot_start_again_says_why(tmp_path):
    with serving("--log", "off", store=("--root", str(tmp_path))) as server:
        (tmp_path / FORMAT).write_text('{"format": 2}')
        os.kill(server.pids()[-1], signal.SIGKILL)
        assert server.process.wait(30) == 1
        log = server.log.read_text()
        assert f"a worker cannot start: {FORMAT} says format 2" in log
        assert "the server ends" in log
        assert "Traceback" not in log


def test_workers_that_are_spawned_serve_too(tmp_path):
    """As on macOS, and from Python 3.14 on."""
    ready = tmp_path / "ready"
    code = "import multiprocessing as m; m.set_start_method('spawn'); from wasmhold.cli import main; main()"
    program = tmp_path / "program.py"
    program.write_text(f"if __name__ == '__main__':\n    {code}\n")
    command = [sys.executable, str(program), "serve", "--listen", "127.0.0.1:0", "--workers", "2"]
    chain, key = Authority(tmp_path).files()
    command += ["--root", str(tmp_path / "registry"), "--ready-file", str(ready), "--log", "off"]
    process = subprocess.Popen([*command, "--tls-cert", str(chain), "--tls-key", str(key)])
    try:
        deadline = time.monotonic() + 60
        while not ready.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        port = int(ready.read_text().strip().rstrip("/").rpartition(":")[2])
        trust = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
        for _ in range(8):
            connection = http.client.HTTPSConnection("127.0.0.1", port, context=trust)
            connection.request("GET", "/v2/")
            assert connection.getresponse().status == 200
            connection.close()
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


@covers("OW-111")
def test_what_waits_is_answered_by_the_next_worker(tmp_path):
    with serving("--log", "off", store=("--root", str(tmp_path))) as server:
        worker = server.pids()[-1]
        known = http.client.HTTPConnection("127.0.0.1", server.port)
        known.request("GET", "/v2/")  # what is connected alone may still wait to be taken
        known.getresponse().read()
        os.kill(worker, signal.SIGUSR1)  # as its parent does when it is to leave
        for _ in range(10_000):
            known.request("GET", "/v2/")
            answer = known.getresponse()
            answer.read()
            if answer.will_close:
                break
        assert answer.will_close
        with socket.create_connection(("127.0.0.1", server.port)) as waiting:
            waiting.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
            waiting.settimeout(0.5)
            with pytest.raises(TimeoutError):
                waiting.recv(1)
            # Even when it is killed now, nobody is sent away.
            os.kill(worker, signal.SIGKILL)
            waiting.settimeout(30)
            assert waiting.recv(12) == b"HTTP/1.1 200"
