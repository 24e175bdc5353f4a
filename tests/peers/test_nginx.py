"""nginx in front, as docs/examples/nginx.conf has it: TLS ends there, and nothing else changes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.peers.test_clients import needs, run
from tests.protocol.test_transcripts import SET, TRANSCRIPTS, fresh, name
from tests.registries import Server, flags, serving
from tests.servers.test_edge import MIB, Peak, until
from wasmhold.testing.covers import covers
from wasmhold.testing.senders import to_url
from wasmhold.testing.transcript import Exchange, replay

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "nginx.conf"
BEHIND = ("--log", "json", "--trusted-proxy", "127.0.0.1")

pytestmark = [pytest.mark.peer, needs("nginx")]

# What nginx answers itself, or sends on in another form: the request, and what a client sees.
# fmt: off
ITS_OWN = [
    # what it is,            the lines of the head,                                        status, whose answer
    ("two Hosts",            ["GET /v2/ HTTP/1.1", "Host: a", "Host: b"],                  400, "nginx"),
    ("no Host",              ["GET /v2/ HTTP/1.1"],                                        400, "nginx"),
    ("two lengths",          ["GET /v2/ HTTP/1.1", "Host: a", "Content-Length: 1", "Content-Length: 2"], 400, "nginx"),
    ("a length and a coding", ["PUT /v2/ HTTP/1.1", "Host: a", "Content-Length: 1", "Transfer-Encoding: chunked"], 400, "nginx"),
    ("an unknown coding",    ["PUT /v2/ HTTP/1.1", "Host: a", "Transfer-Encoding: zip"],   501, "nginx"),
    ("no HTTP",              ["hello"],                                                    400, "nginx"),
    ("a path out of it all", ["GET /v2/../../../etc/passwd HTTP/1.1", "Host: a"],          400, "nginx"),
    ("TRACE",                ["TRACE /v2/ HTTP/1.1", "Host: a"],                           405, "nginx"),
    ("a long line",          [f"GET /v2/{'a' * 9000} HTTP/1.1", "Host: a"],                414, "nginx"),
    ("a path with dots",     ["GET /v2/a/../b/tags/list HTTP/1.1", "Host: a"],                400, "wasmhold"),
    ("an escaped slash",     ["GET /v2/a%2fb/tags/list HTTP/1.1", "Host: a"],              400, "wasmhold"),
]
# fmt: on


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(autouse=True)
def trusting(authority, monkeypatch) -> None:
    """Every client of these tests trusts that certificate, Go's too."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


def configuration(folder: Path, port: int, behind: int, authority: Authority) -> str:
    """The example, with a port, paths and a certificate that there are here."""
    chain, key = authority.files()
    text = EXAMPLE.read_text()
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    here = "".join(f"    {kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    for old, new in (
        ("http {\n", f"http {{\n    access_log off;\n{here}"),
        ("127.0.0.1:5000;", f"127.0.0.1:{behind};"),
        ("listen 443 ", f"listen 127.0.0.1:{port} "),
        ("        listen [::]:443 ssl http2;\n", ""),
        ("/etc/ssl/registry/tls.crt", str(chain)),
        ("/etc/ssl/registry/tls.key", str(key)),
    ):
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {EXAMPLE.name}"
        text = text.replace(old, new)
    user = "user root;\n" if os.geteuid() == 0 else ""
    return f"{user}pid {folder}/pid;\nerror_log {folder}/errors warn;\ndaemon off;\n{text}"


@contextmanager
def proxied(server: Server, folder: Path, authority: Authority) -> Iterator[str]:
    """The URL of nginx before `server`."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    file = folder / "nginx.conf"
    file.write_text(configuration(folder, port, server.port, authority))
    command = [str(shutil.which("nginx")), "-p", str(folder), "-c", str(file)]
    with (folder / "out").open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        until(lambda: process.poll() is not None or answers(port))
        assert process.poll() is None, (folder / "out").read_text() + (
            folder / "errors"
        ).read_text()
        yield f"https://localhost:{port}/"
    finally:
        process.terminate()
        process.wait(20)


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module", params=["memory", "directory"])
def pair(request, tmp_path_factory, authority) -> Iterator[tuple[Server, str]]:
    folder = tmp_path_factory.mktemp(request.param)
    store = ("--memory",)
    if request.param == "directory":
        store = ("--root", str(folder / "store"), "--min-free", "0")
    with (
        serving(*BEHIND, store=store) as server,
        proxied(server, folder / "proxy", authority) as url,
    ):
        yield server, url


@pytest.mark.parametrize("transcript", [t for t in TRANSCRIPTS if not t.settings], ids=name)
def test_transcripts_pass_through_it(transcript, pair):
    with to_url(pair[1]) as send:
        replay(transcript, send, repo=fresh())


@pytest.mark.parametrize("transcript", SET, ids=name)
def test_transcripts_with_settings_pass_through_it(transcript, tmp_path, authority):
    options, faults = flags(transcript.settings)
    with (
        serving(*BEHIND, *options, faults=faults) as server,
        proxied(server, tmp_path, authority) as url,
        to_url(url) as send,
    ):
        replay(transcript, send, repo=fresh())


@covers("BR-087")
@pytest.mark.parametrize(
    ("what", "lines", "status", "whose"), ITS_OWN, ids=[w for w, *_ in ITS_OWN]
)
def test_what_nginx_makes_of_it(what, lines, status, whose, pair, authority):
    port = int(pair[1].rstrip("/").rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 20) as plain:
        with authority.context().wrap_socket(plain, server_hostname="localhost") as one:
            one.sendall(
                "".join(f"{line}\r\n" for line in (*lines, "Connection: close", "")).encode()
            )
            answer = b""
            while piece := one.recv(65536):
                answer += piece
    assert int(answer.split(b" ", 2)[1]) == status
    assert (b"docker-distribution-api-version" in answer.lower()) == (whose == "wasmhold")


def test_the_location_of_an_upload_is_a_path_that_works_through_it(pair):
    content = os.urandom(100_000)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    with to_url(pair[1]) as send:
        at = dict(send(Exchange("POST", "/v2/by/location/blobs/uploads/", [], None, False)).headers)
        assert at["location"].startswith("/v2/by/location/blobs/uploads/")
        sent = send(Exchange("PATCH", at["location"], [], [content], False))
        assert sent.status == 202
        at = dict(sent.headers)
        done = send(Exchange("PUT", f"{at['location']}?digest={digest}", [], None, False))
        assert done.status == 201
        assert (
            send(Exchange("GET", dict(done.headers)["location"], [], None, False)).body == content
        )


@covers("OW-158")
def test_the_log_tells_the_client_and_not_the_proxy(pair):
    server, url = pair
    with to_url(url) as send:
        forged = [("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-For", "198.51.100.7")]
        assert send(Exchange("GET", "/v2/who/asks/tags/list", forged, None, False)).status == 404
    until(lambda: b"/v2/who/asks/tags/list" in server.log.read_bytes())
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if line[0] == "{"]
    # nginx adds who asks it, 127.0.0.1, which is trusted here: so what stands before it counts.
    found = {line["client"] for line in lines if "who/asks" in str(line)}
    assert found == {"198.51.100.7"}


@covers("OW-158")
def test_the_limit_of_requests_is_of_the_client_and_not_of_the_proxy(tmp_path, authority):
    with (
        serving(*BEHIND, "--rate-limit", "0.00166") as server,
        proxied(server, tmp_path, authority) as url,
        to_url(url) as send,
    ):
        statuses = [
            send(Exchange("GET", "/v2/", [("X-Forwarded-For", client)], None, False)).status
            for client in ("198.51.100.1", "198.51.100.1", "198.51.100.2")
        ]
    assert statuses == [200, 429, 200]


@covers("BR-078", "BR-107")
@pytest.mark.slow
def test_a_gibibyte_in_and_out_through_it(tmp_path, authority):
    store = ("--root", str(tmp_path / "store"), "--min-free", "0")
    with (
        serving(*BEHIND, store=store) as server,
        proxied(server, tmp_path / "proxy", authority) as url,
        to_url(url, timeout_s=120) as send,
    ):
        move(send, 32)
        peak = Peak(server)
        move(send, 1024)
        print(f"1 GiB in and out: {peak.growth() / MIB:.0f} MiB more at the peak")
        assert peak.growth() < 64 * MIB


def move(send, mebibytes: int) -> None:
    """Push so much in pieces of a MiB in one request, and pull it in ranges."""
    piece = os.urandom(MIB)
    hasher = hashlib.sha256()
    for _ in range(mebibytes):
        hasher.update(piece)
    digest = f"sha256:{hasher.hexdigest()}"
    start = dict(send(Exchange("POST", "/v2/flat/it/blobs/uploads/", [], None, False)).headers)
    sent = send(Exchange("PATCH", start["location"], [], [piece] * mebibytes, is_chunked=True))
    assert sent.status == 202
    at = dict(sent.headers)["location"]
    assert send(Exchange("PUT", f"{at}?digest={digest}", [], None, False)).status == 201
    for first in range(0, mebibytes * MIB, 64 * MIB):
        last = min(first + 64 * MIB, mebibytes * MIB) - 1
        wanted = [("Range", f"bytes={first}-{last}")]
        got = send(Exchange("GET", f"/v2/flat/it/blobs/{digest}", wanted, None, False))
        assert got.status == 206
        assert got.body == piece * ((last - first + 1) // MIB)


@needs("oras", "crane")
def test_oras_and_crane_push_and_pull_through_it(pair, tmp_path):
    host = pair[1].removeprefix("https://").rstrip("/")
    encrypted = "--plain-http=false"  # oras takes plain HTTP for localhost
    content = os.urandom(5 * MIB)
    (tmp_path / "thing.wasm").write_bytes(content)
    run(
        "oras", "push", encrypted, f"{host}/by/oras:v1", "thing.wasm:application/wasm", cwd=tmp_path
    )
    (tmp_path / "got").mkdir()
    run("oras", "pull", encrypted, "-o", tmp_path / "got", f"{host}/by/oras:v1", cwd=tmp_path)
    assert (tmp_path / "got" / "thing.wasm").read_bytes() == content
    run("crane", "copy", f"{host}/by/oras:v1", f"{host}/by/crane:v1", cwd=tmp_path)
    one, two = (
        run("crane", "digest", f"{host}/{at}:v1", cwd=tmp_path) for at in ("by/oras", "by/crane")
    )
    assert one == two
