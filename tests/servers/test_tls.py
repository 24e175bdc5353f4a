"""HTTPS: keys of all forms, HTTP/2, certificates that change under load, and what is refused."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from tests.certificates import Authority, serial
from tests.registries import Server, serving
from wasmhold.oci.errors import FileInvalid
from wasmhold.servers import tls
from wasmhold.servers.tls import Certificate
from wasmhold.stores.directory.paths import FORMAT
from wasmhold.testing.covers import covers
from wasmhold.testing.senders import to_url
from wasmhold.testing.transcript import parse, replay

TRANSCRIPTS = sorted(Path(__file__).parents[1].joinpath("data/protocol").glob("*.http"))


@pytest.fixture
def authority(tmp_path) -> Authority:
    return Authority(tmp_path)


def flags(paths: tuple[Path, Path]) -> list[str]:
    return ["--log", "off", "--tls-cert", str(paths[0]), "--tls-key", str(paths[1])]


def until(true: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.05)


def ask(
    server: Server, authority: Authority, method: str, target: str, body: bytes | None = None
) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPSConnection(
        "127.0.0.1", server.port, timeout=30, context=authority.context()
    )
    try:
        connection.request(method, target, body)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


# ---- certificates and keys

# fmt: off
KEYS = [
    # kind,     form
    ("P-256",   "PKCS#8"),
    ("P-256",   "older"),
    ("P-384",   "PKCS#8"),
    ("P-384",   "older"),
    ("RSA",     "PKCS#8"),
    ("RSA",     "older"),
    ("Ed25519", "PKCS#8"),
]
# fmt: on


@covers("BR-092")
@pytest.mark.parametrize(("key", "form"), KEYS)
def test_keys_of_all_forms_are_served(authority, key, form):
    with serving(*flags(authority.files(key=key, form=form))) as server:
        assert server.url == f"https://127.0.0.1:{server.port}/"
        assert f"wasmhold: serving {server.url} (memory" in server.log.read_text()
        assert ask(server, authority, "GET", "/v2/")[0] == 200


def test_parameters_may_stand_before_an_older_key(authority):
    chain, key = authority.files(form="older")
    parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    key.write_bytes(parameters + key.read_bytes())
    with serving(*flags((chain, key))) as server:
        assert ask(server, authority, "GET", "/v2/")[0] == 200


def spoilt(authority: Authority, how: str) -> tuple[Path, Path]:
    chain, key = authority.files()
    other = authority.issue()
    match how:
        case "another key":
            key.write_bytes(other[1])
        case "a key of another kind":
            key.write_bytes(authority.issue(key="RSA")[1])
        case "the authority first":
            chain.write_bytes(authority.file.read_bytes() + chain.read_bytes())
        case "an encrypted key":
            key.write_bytes(authority.issue(password=b"secret")[1])
        case "an encrypted key of the older form":
            key.write_bytes(authority.issue(password=b"secret", form="older")[1])
        case "a kind that nobody serves":
            authority.files(key="P-521")
        case "no certificate":
            chain.write_bytes(b"")
        case "no key":
            key.write_bytes(chain.read_bytes())
        case "half a certificate":
            chain.write_bytes(chain.read_bytes()[:300])
        case "a certificate that is none":
            chain.write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        case "half a key":
            key.write_bytes(key.read_bytes()[:100])
        case "no file":
            key.unlink()
        case "a folder":
            key.unlink()
            key.mkdir()
        case "too much":
            chain.write_bytes(b"x" * (1 << 20) + b"x")
    return chain, key


# fmt: off
BROKEN = [
    # how,                                  file,       what is said
    ("another key",                         "tls.key",  "it is not the key of the first certificate"),
    ("a key of another kind",               "tls.key",  "it is not the key of the first certificate"),
    ("the authority first",                 "tls.key",  "put the server's own certificate first"),
    ("an encrypted key",                    "tls.key",  "openssl pkey -in"),
    ("an encrypted key of the older form",  "tls.key",  "openssl pkey -in"),
    ("a kind that nobody serves",           "tls.crt",  "want one of RSA, ECDSA P-256"),
    ("no certificate",                      "tls.crt",  "no PEM certificate"),
    ("no key",                              "tls.key",  "no PEM key"),
    ("half a certificate",                  "tls.crt",  "no PEM certificate"),
    ("a certificate that is none",          "tls.crt",  "cannot be read"),
    ("half a key",                          "tls.crt",  "cannot be used together with"),
    ("no file",                             "tls.key",  "No such file"),
    ("a folder",                            "tls.key",  "Is a directory"),
    ("too much",                            "tls.crt",  "no certificate or key is that large"),
]
# fmt: on


@covers("BR-092")
@pytest.mark.parametrize(("how", "file", "said"), BROKEN, ids=[how for how, *_ in BROKEN])
def test_what_cannot_be_served_is_told(authority, how, file, said):
    chain, key = spoilt(authority, how)
    with pytest.raises(FileInvalid) as caught:
        Certificate(str(chain), str(key)).read()
    assert said in str(caught.value)
    assert str(caught.value).startswith(str(authority.folder / file))
    assert "BEGIN" not in str(caught.value).replace("(BEGIN", "")


def test_a_start_with_a_broken_pair_is_refused(authority):
    chain, key = spoilt(authority, "another key")
    command = [sys.executable, "-m", "wasmhold", "serve", "--memory", "--listen", "127.0.0.1:0"]
    ran = subprocess.run(
        [*command, *flags((chain, key))], capture_output=True, text=True, timeout=30
    )
    assert ran.returncode == 1
    assert ran.stderr.startswith(f"error: {key}: it is not the key")
    assert "hint: mend the file" in ran.stderr


@covers("BR-092", "OW-103")
@pytest.mark.parametrize("alone", ["--tls-cert", "--tls-key"])
def test_one_of_the_two_alone_is_an_error(authority, alone):
    path = authority.files()[alone == "--tls-key"]
    ran = subprocess.run(
        [sys.executable, "-m", "wasmhold", "serve", "--memory", alone, str(path)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert ran.returncode == 2
    assert "--tls-cert" in ran.stderr
    assert "--tls-key" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_what_a_client_will_not_like_is_a_warning(authority):
    chain, key = authority.files(valid=timedelta(hours=-1))
    key.chmod(0o644)
    expired, readable = Certificate(str(chain), str(key)).read().warnings
    assert "the certificate has expired (" in expired
    assert f"chmod o-rwx {key}" in readable


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_pair_stays_as_it_was_until_it_is_closed(authority, monkeypatch, in_memory):
    if not in_memory:
        monkeypatch.delattr(tls.os, "memfd_create", raising=False)
    elif not hasattr(os, "memfd_create"):
        pytest.skip("this system has no files in memory")
    chain, key = authority.files()
    first, again = (
        Certificate(str(chain), str(key)).read(),
        Certificate(str(chain), str(key)).read(),
    )
    assert first.is_like(again)
    content = key.read_bytes()
    authority.files()
    assert not first.is_like(Certificate(str(chain), str(key)).read())
    assert Path(first.key_path).read_bytes() == content
    if not in_memory:
        assert Path(first.key_path).parent.stat().st_mode & 0o077 == 0
    first.close()
    assert not Path(first.key_path).exists()


# ---- protocols


@covers("BR-092")
def test_versions_and_http_2(authority):
    with serving(*flags(authority.files())) as server:
        # fmt: off
        offers = [
            # offered,              version,                  chosen
            (["h2", "http/1.1"],    ssl.TLSVersion.TLSv1_3,   "h2"),
            (["http/1.1"],          ssl.TLSVersion.TLSv1_3,   "http/1.1"),
            (["h2"],                ssl.TLSVersion.TLSv1_2,   "h2"),
            ([],                    ssl.TLSVersion.TLSv1_2,   None),
        ]
        # fmt: on
        for offered, version, chosen in offers:
            context = authority.context()
            context.minimum_version = context.maximum_version = version
            if offered:
                context.set_alpn_protocols(offered)
            with socket.create_connection(("127.0.0.1", server.port), 20) as plain:
                with context.wrap_socket(plain, server_hostname="localhost") as connection:
                    assert connection.selected_alpn_protocol() == chosen
        if shutil.which("openssl"):
            # What is older is refused.
            old = [
                "openssl",
                "s_client",
                "-connect",
                server.host,
                "-tls1_1",
                "-cipher",
                "ALL:@SECLEVEL=0",
            ]
            assert subprocess.run(old, input=b"", capture_output=True, timeout=30).returncode != 0


def curl(authority: Authority, *arguments: str) -> str:
    command = ["curl", "--silent", "--show-error", "--cacert", str(authority.file), *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@covers("BR-092")
@pytest.mark.skipif(shutil.which("curl") is None, reason="not on PATH: curl")
def test_a_push_a_pull_and_a_refusal_over_http_2(authority, tmp_path):
    data = os.urandom(5 << 20)
    (tmp_path / "blob").write_bytes(data)
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    with serving(*flags(authority.files())) as server:
        blobs = f"{server.url}v2/two/app/blobs"
        told = ["--http2", "--dump-header", "-", "--output", str(tmp_path / "got")]
        body = ["--header", "content-type: application/octet-stream", "--data-binary"]
        head = curl(
            authority, *told, *body, f"@{tmp_path / 'blob'}", f"{blobs}/uploads/?digest={digest}"
        )
        assert head.startswith("HTTP/2 201")
        head = curl(authority, *told, f"{blobs}/{digest}")
        assert head.startswith("HTTP/2 200")
        assert (tmp_path / "got").read_bytes() == data
        # A short body that is not read, and of an answer nothing that HTTP/2 forbids.
        (tmp_path / "blob").write_bytes(b"x" * 2000)
        place = f"{server.url}v2/two/app/nothing"
        head = curl(authority, *told, "--request", "PUT", *body, f"@{tmp_path / 'blob'}", place)
        assert head.startswith("HTTP/2 404")
        assert "connection:" not in head.lower()


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_transcripts(path, tls_server):
    server, authority = tls_server
    transcript = parse(path.read_text(), path.stem)
    if transcript.settings:
        return  # the same answers, with other settings: over plain HTTP
    with to_url(server.url, trust=authority.context()) as send:
        replay(transcript, send, repo=f"t{secrets.token_hex(4)}/app")


@pytest.fixture(scope="module")
def tls_server(tmp_path_factory):
    authority = Authority(tmp_path_factory.mktemp("tls"))
    with serving(*flags(authority.files())) as server:
        yield server, authority


@covers("BR-092")
def test_the_wrong_protocol_ends_the_connection(tls_server):
    server, authority = tls_server
    for said in (
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x00\x02\x01\x00",
        b"\0" * 100,
    ):
        with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
            connection.sendall(said)
            answer = b""
            try:
                while piece := connection.recv(4096):
                    answer += piece
            except ConnectionResetError:
                pass
        assert b"HTTP" not in answer
    assert ask(server, authority, "GET", "/v2/")[0] == 200
    with serving("--log", "off") as plain:
        with socket.create_connection(("127.0.0.1", plain.port), 20) as connection:
            with pytest.raises((ssl.SSLError, ConnectionResetError)):
                authority.context().wrap_socket(connection, server_hostname="localhost")
        assert "Traceback" not in plain.log.read_text()
    assert "Traceback" not in server.log.read_text()
    assert "panicked" not in server.log.read_text()


@covers("OW-119")
def test_who_is_silent_before_the_handshake_is_cut(tls_server):
    server, _ = tls_server
    with socket.create_connection(("127.0.0.1", server.port), 40) as connection:
        assert connection.recv(1) == b""


# ---- certificates that change


class Client:
    """Pushes and pulls until it is told to stop, each request once; `faults` are all surprises."""

    def __init__(self, server: Server, authority: Authority, number: int, *, keep: bool) -> None:
        self.faults: list[str] = []
        self.done = 0
        self._server, self._context, self._keep = server, authority.context(), keep
        self._repo = f"load/client{number}"
        self._connection: http.client.HTTPSConnection | None = None

    def run(self, stopping: threading.Event) -> None:
        try:
            while not stopping.is_set():
                self._round()
        except Exception as error:
            self.faults.append(f"after {self.done} requests: {error!r}")
        finally:
            self._hang_up()

    def _round(self) -> None:
        data = os.urandom(20_000)
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        status, _, _ = self._ask("POST", f"blobs/uploads/?digest={digest}", data)
        assert status == 201, status
        status, _, got = self._ask("GET", f"blobs/{digest}")
        assert (status, got) == (200, data), status
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": {"mediaType": "application/x", "digest": digest, "size": len(data)},
                "layers": [],
            }
        ).encode()
        status, _, _ = self._ask("PUT", "manifests/latest", manifest)
        assert status == 201, status
        for _ in range(5):
            status, _, got = self._ask("GET", "manifests/latest")
            assert (status, got) == (200, manifest), status

    def _ask(self, method: str, path: str, body: bytes | None = None):
        if self._connection is None:
            self._connection = http.client.HTTPSConnection(
                "127.0.0.1", self._server.port, timeout=30, context=self._context
            )
            self._connection.auto_open = 0  # what is lost must not be hidden
            self._connection.connect()
        headers = {"Content-Type": "application/vnd.oci.image.manifest.v1+json"} if body else {}
        self._connection.request(method, f"/v2/{self._repo}/{path}", body, headers)
        answer = self._connection.getresponse()
        got = answer.read()
        self.done += 1
        if not self._keep or answer.will_close:
            self._hang_up()
        return answer.status, answer.headers, got

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@covers("OW-103", "OW-111")
@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_certificate_that_changes_under_load_loses_no_request(authority, tmp_path, workers):
    store = ["--root", str(tmp_path / "registry"), "--workers", str(workers)]
    with serving(*flags(authority.files()), store=store) as server:
        stopping = threading.Event()
        clients = [Client(server, authority, i, keep=i % 2 == 0) for i in range(6)]
        threads = [threading.Thread(target=c.run, args=(stopping,)) for c in clients]
        for thread in threads:
            thread.start()
        try:
            seen = set()
            for _ in range(2):
                time.sleep(1)
                before = set(server.pids())
                chain, key, number = authority.issue()
                (tmp_path / "tls.crt").write_bytes(chain)
                # A reload that comes between the two files changes nothing.
                server.process.send_signal(signal.SIGHUP)
                time.sleep(0.5)
                assert serial(server.port, authority) != number
                (tmp_path / "tls.key").write_bytes(key)
                server.process.send_signal(signal.SIGHUP)
                until(lambda number=number: serial(server.port, authority) == number)
                until(lambda before=before: len(before & set(server.pids())) == 1)
                seen |= {serial(server.port, authority) for _ in range(8)}
                assert number in seen
                assert {serial(server.port, authority) for _ in range(8)} == {number}
        finally:
            stopping.set()
            for thread in threads:
                thread.join()
        assert not [fault for client in clients for fault in client.faults]
        assert min(client.done for client in clients) > 10
        log = server.log.read_text()
        assert log.count("the certificate stays as it was") == 2
        assert log.count("the certificate was replaced") == 2
        assert server.stop() == 0


def test_a_download_that_runs_ends_with_the_old_certificate(authority, tmp_path):
    store = ["--root", str(tmp_path / "registry")]
    with serving(*flags(authority.files()), "--shutdown-timeout", "60", store=store) as server:
        data = os.urandom(64 << 20)
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        target = f"/v2/long/pull/blobs/uploads/?digest={digest}"
        assert ask(server, authority, "POST", target, data)[0] == 201
        connection = http.client.HTTPSConnection(
            "127.0.0.1", server.port, timeout=60, context=authority.context()
        )
        connection.request("GET", f"/v2/long/pull/blobs/{digest}")
        answer = connection.getresponse()
        got = answer.read(1 << 20)
        chain, key, number = authority.issue()
        (tmp_path / "tls.crt").write_bytes(chain)
        (tmp_path / "tls.key").write_bytes(key)
        server.process.send_signal(signal.SIGHUP)
        until(lambda: serial(server.port, authority) == number)
        time.sleep(4)  # the old worker is told to end by now
        assert got + answer.read() == data
        connection.close()
        assert server.stop() == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_broken_pair_changes_nothing_and_the_dead_come_back(authority, tmp_path, workers):
    store = ["--root", str(tmp_path / "registry"), "--workers", str(workers)]
    with serving(*flags(authority.files()), store=store) as server:
        number = serial(server.port, authority)
        chain, key = spoilt(authority, "another key")
        before = set(server.pids())
        server.process.send_signal(signal.SIGHUP)
        until(lambda: f"the certificate stays as it was: {key}: " in server.log.read_text())
        assert set(server.pids()) == before
        chain.unlink()
        dead = before - {server.process.pid}
        for pid in dead:
            os.kill(pid, signal.SIGKILL)
        until(lambda: len(set(server.pids()) - dead) == 1 + workers)
        assert {serial(server.port, authority) for _ in range(4)} == {number}
        assert server.stop() == 0


def test_in_memory_a_new_certificate_waits_for_a_restart(authority):
    with serving(*flags(authority.files())) as server:
        number, before = serial(server.port, authority), set(server.pids())
        authority.files()
        server.process.send_signal(signal.SIGHUP)
        until(lambda: "with --memory a new one needs a restart" in server.log.read_text())
        assert set(server.pids()) == before
        assert serial(server.port, authority) == number


def test_new_workers_that_do_not_start_leave_the_old_ones_in_place(authority, tmp_path):
    root = tmp_path / "registry"
    with serving(*flags(authority.files()), store=["--root", str(root)]) as server:
        number, before = serial(server.port, authority), set(server.pids())
        known = (root / FORMAT).read_text()
        (root / FORMAT).write_text('{"format": 2}')
        authority.files()
        server.process.send_signal(signal.SIGHUP)
        until(lambda: "no worker started with the new one" in server.log.read_text())
        assert serial(server.port, authority) == number
        (root / FORMAT).write_text(known)
        until(lambda: set(server.pids()) == before)
        server.process.send_signal(signal.SIGHUP)
        until(lambda: serial(server.port, authority) != number)
        assert server.stop() == 0
