"""/healthz and /readyz: open to all, and they say nothing but their state."""

from __future__ import annotations

import asyncio
import http.client
import signal
import threading
import time

import pytest

from tests.registries import application, serving
from tests.servers.test_asgi import talk
from wasmhold.auth.htpasswd import hash_password
from wasmhold.oci.errors import StoreUnavailable
from wasmhold.servers import probes
from wasmhold.servers.asgi import Edge
from wasmhold.testing.covers import covers
from wasmhold.testing.senders import to_url
from wasmhold.testing.transcript import Exchange

HOST = (b"host", b"x")

# fmt: off
ANSWERS = [
    ("GET",  "/healthz",  200, b"ok\n"),
    ("HEAD", "/healthz",  200, b""),
    ("GET",  "/readyz",   200, b"ready\n"),
    ("HEAD", "/readyz",   200, b""),
]
# fmt: on


@covers("BR-123", "OW-143")
@pytest.mark.parametrize(("method", "path", "status", "body"), ANSWERS)
def test_what_is_answered(method, path, status, body):
    found, head, content = talk(Edge(application()), method, path, fields=[HOST])
    assert (found, content) == (status, body)
    assert head[b"cache-control"] == b"no-store"
    assert head[b"x-request-id"]


@covers("BR-123")
@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_other_methods_are_refused(path):
    status, head, _ = talk(Edge(application()), "POST", path, fields=[HOST])
    assert status == 405
    assert head[b"allow"] == b"GET, HEAD"


@covers("BR-123")
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (StoreUnavailable("/secret/path"), b"the store answers UNAVAILABLE\n"),
        (RuntimeError("/secret/path"), b"the store answers UNKNOWN\n"),
    ],
)
def test_a_store_that_fails_is_not_ready(error, said):
    made = application()

    async def repositories(after, limit):
        raise error

    made.registry.store.repositories = repositories
    edge = Edge(made)
    assert talk(edge, path="/readyz", fields=[HOST])[::2] == (503, said)
    assert talk(edge, path="/healthz", fields=[HOST])[0] == 200


@covers("BR-123")
def test_who_drains_is_not_ready_and_still_serves():
    edge = Edge(application())
    edge.draining = True
    assert talk(edge, path="/readyz", fields=[HOST])[::2] == (503, b"draining\n")
    assert talk(edge, path="/healthz", fields=[HOST])[0] == 200
    assert talk(edge, path="/v2/", fields=[HOST])[0] == 200


def test_a_store_that_hangs_is_asked_once(monkeypatch):
    monkeypatch.setattr(probes, "ANSWER_WITHIN_S", 0.05)
    made, asked, goes_on = application(), [], threading.Event()

    async def repositories(after, limit):
        asked.append(1)
        await asyncio.get_running_loop().run_in_executor(None, goes_on.wait)
        return []

    made.registry.store.repositories = repositories

    async def ask_often():
        readiness = probes.Readiness(made.registry.store)
        try:
            return [await readiness._missing() for _ in range(3)]
        finally:
            goes_on.set()

    assert asyncio.run(ask_often()) == ["the store does not answer"] * 3
    assert asked == [1]


@covers("BR-123")
def test_probes_need_no_login_and_metrics_do(tmp_path):
    users = tmp_path / "users"
    users.write_text(f"alice:{hash_password(b'secret', 4)}\n")
    users.chmod(0o600)
    login = ("Authorization", "Basic YWxpY2U6c2VjcmV0")
    with serving("--log", "text", "--htpasswd", str(users)) as server, to_url(server.url) as send:
        for path, headers, status in [
            ("/healthz", [], 200),
            ("/readyz", [], 200),
            ("/metrics", [], 401),
            ("/metrics", [login], 200),
            ("/v2/", [], 401),
        ]:
            assert send(Exchange("GET", path, headers, None, False)).status == status, path
        server.stop()
        text = server.log.read_text()
    assert "healthz" not in text
    assert "readyz" not in text
    assert '"alice" GET "/metrics" metrics 200' in text
    assert ' - GET "/metrics" metrics 401' in text


@covers("BR-123")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_that_ends_says_so_first(workers, tmp_path):
    store = ("--root", str(tmp_path), "--workers", str(workers))
    with serving("--log", "off", store=store) as server:
        held = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=10) for _ in range(4)]
        for connection in held:  # those that stay open are answered while the server drains
            connection.request("GET", "/readyz")
            assert connection.getresponse().read() == b"ready\n"
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        told = []
        for connection, path in zip(held, ["/readyz"] * 3 + ["/metrics"], strict=True):
            connection.request("GET", path)
            told.append(connection.getresponse().read())
            connection.close()
        assert server.process.wait(30) == 0
    assert told[:3] == [b"draining\n"] * 3
    assert b"\nwasmhold_workers_draining %d\n" % workers in told[3]
