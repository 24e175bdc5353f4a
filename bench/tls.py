"""HTTPS beside olareg: GET of a manifest by tag, handshakes, 256 MiB in and out.

    python bench/tls.py [--seconds 5] [--rounds 3]

ECDSA P-256, TLS 1.3, HTTP/1.1, store in memory.  CPU of the server's process tree: for each
request on 32 connections that stay open (`wrk`), for each new connection with one request, and per
GiB on one connection.  In turn within one run; olareg where it is on PATH.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

from manifest_get import fill, load

from tests.certificates import Authority
from tests.registries import Server, serving
from wasmhold.testing.senders import to_url
from wasmhold.testing.transcript import Exchange

SIZE = 256 << 20
PER_GIB = (1 << 30) / SIZE
HANDSHAKES = 300


@contextmanager
def wasmhold(chain: Path, key: Path) -> Iterator[Server]:
    with serving("--log", "off", "--tls-cert", str(chain), "--tls-key", str(key)) as server:
        yield server


@contextmanager
def olareg(chain: Path, key: Path) -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["olareg", "serve", "--addr", "127.0.0.1", "--port", str(port), "--store-type", "mem"]
    process = subprocess.Popen(
        [*command, "--tls-cert", str(chain), "--tls-key", str(key)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    server = Server(process, f"https://127.0.0.1:{port}/", Path(os.devnull))
    try:
        for _ in range(100):
            with suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            time.sleep(0.1)
        yield server
    finally:
        server.kill()


def handshake_us(server: Server, trust: ssl.SSLContext) -> float:
    """CPU µs of a connection with one request: whole handshakes, no session is taken up again."""
    start = server.cpu_s()
    for _ in range(HANDSHAKES):
        with to_url(server.url, trust=trust) as send:
            assert send(Exchange("GET", "/v2/", [], None, False)).status == 200
    return (server.cpu_s() - start) / HANDSHAKES * 1e6


def blob(server: Server, trust: ssl.SSLContext) -> tuple[float, float]:
    """CPU seconds per GiB of a push and of a pull."""
    data = os.urandom(SIZE)
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    with to_url(server.url, trust=trust, timeout_s=120) as send:
        answer = send(Exchange("POST", "/v2/bench/app/blobs/uploads/", [], None, False))
        location = dict(answer.headers)["location"]
        join = "&" if "?" in location else "?"
        start = server.cpu_s()
        put = Exchange("PUT", f"{location}{join}digest={digest}", [], [data], False)
        assert send(put).status == 201
        pushed = server.cpu_s()
        got = send(Exchange("GET", f"/v2/bench/app/blobs/{digest}", [], None, False)).body
        pulled = server.cpu_s()
    assert got == data
    return (pushed - start) * PER_GIB, (pulled - pushed) * PER_GIB


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    if shutil.which("wrk") is None:
        print("not measured, wrk is not on PATH")
        return
    kinds = {"wasmhold": wasmhold, "olareg": olareg}
    if shutil.which("olareg") is None:
        print("olareg: not measured, it is not on PATH")
        del kinds["olareg"]
    rows: dict[str, list[tuple[float, ...]]] = {name: [] for name in kinds}
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(Path(folder))
        chain, key = authority.files()
        trust = authority.context()
        for _ in range(asked.rounds):
            for name, start in kinds.items():
                with start(chain, key) as server:
                    with to_url(server.url, trust=trust) as send:
                        fill(send)
                    get = load(server, asked.seconds)[1]
                    rows[name].append((get, handshake_us(server, trust), *blob(server, trust)))
    medians = {
        name: [statistics.median(column) for column in zip(*found, strict=True)]
        for name, found in rows.items()
    }
    for name, (get, handshake, push, pull) in medians.items():
        ratio = f" ({get / medians['olareg'][0]:.2f} × olareg)" if "olareg" in medians else ""
        print(
            f"{name:9} GET {get:.1f} µs{ratio}, new connection with a request {handshake:.0f} µs, "
            f"push {push:.2f} s/GiB, pull {pull:.2f} s/GiB"
        )


if __name__ == "__main__":
    main()
