"""GET of a manifest by tag, and of a small blob: CPU of the core, of the server, and of olareg.

    python bench/manifest_get.py [--seconds 5] [--rounds 3]

The core: `Application.handle` with a memory store, one thread, no socket; also with a guard and a
login that it remembers.  The servers: 32
connections that stay open, CPU of the process tree for each request, in turn within one run.
Needs `wrk` for the servers; olareg where it is on PATH.
"""

from __future__ import annotations

import argparse
import base64
import gc
import hashlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.registries import Server, application, serving
from wasmhold.auth.files import AccessFiles
from wasmhold.auth.guard import Guard
from wasmhold.auth.htpasswd import check, hash_password
from wasmhold.auth.logins import Cores
from wasmhold.oci.media_types import IMAGE_MANIFEST
from wasmhold.ports.body import BytesBody
from wasmhold.ports.runtime import Inline, run
from wasmhold.protocol import Request
from wasmhold.servers.asgi import SystemRandomness
from wasmhold.testing.senders import to_application, to_url
from wasmhold.testing.transcript import Exchange, Send

CONFIG = b"{}"
LAYERS = [bytes([i]) * 100 for i in range(5)]


def described(media_type: str, data: bytes) -> dict[str, object]:
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    return {"mediaType": media_type, "digest": digest, "size": len(data)}


MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": IMAGE_MANIFEST,
        "config": described("application/vnd.wasm.config.v0+json", CONFIG),
        "layers": [described("application/wasm", layer) for layer in LAYERS],
        "annotations": {"pad": "x" * 120},
    }
).encode()
TARGET = "/v2/bench/app/manifests/latest"
BLOB = f"/v2/bench/app/blobs/{described('', LAYERS[0])['digest']}"


def fill(send: Send) -> None:
    """A manifest of 1 KiB with five layers, under one tag."""
    for data in (CONFIG, *LAYERS):
        answer = send(Exchange("POST", "/v2/bench/app/blobs/uploads/", [], None, False))
        location = dict(answer.headers)["location"]
        join = "&" if "?" in location else "?"
        target = f"{location}{join}digest={described('', data)['digest']}"
        assert send(Exchange("PUT", target, [], [data], False)).status == 201
    headers = [("Content-Type", IMAGE_MANIFEST)]
    assert send(Exchange("PUT", TARGET, headers, [MANIFEST], False)).status == 201


LOGIN = b"Basic " + base64.b64encode(b"user7:a password")
ACCESS = """
groups.readers.members = ["user7", "user8"]
acls = [
    {repo = "*", members = ["admin"], access = ["*"]},
    {repo = "bench/*", members = ["readers"], access = ["read"]},
    {repo = "public/*", anonymous = true, access = ["read"]},
]
"""


def guard(folder: str) -> Guard:
    """Ten users and a file of rules."""
    users, access = Path(folder, "users"), Path(folder, "access.toml")
    hashed = hash_password(b"a password", 4)
    users.write_text("".join(f"user{i}:{hashed}\n" for i in range(10)))
    access.write_text(ACCESS)
    cores = Cores(Inline(time.time, time.sleep), 1)
    randomness = SystemRandomness()
    return Guard(
        AccessFiles(str(users), str(access), None, check=check, cores=cores, randomness=randomness)
    )


def core_us(guard: Guard | None = None, count: int = 20_000) -> float:
    """CPU microseconds of one GET in the core."""
    made = application()
    fill(to_application(made))
    made.guard = guard
    fields = [
        (b"host", b"127.0.0.1:5000"),
        (b"user-agent", b"bench"),
        (b"accept", IMAGE_MANIFEST.encode()),
    ]
    if guard is not None:
        fields.append((b"authorization", LOGIN))
    request, empty = Request("GET", TARGET, "", fields), BytesBody()
    run(made.handle(request, empty, "127.0.0.1"))
    gc.collect()
    start = time.process_time()
    for _ in range(count):
        response, _, _ = run(made.handle(request, empty, "127.0.0.1"))
    took = time.process_time() - start
    assert response.status == 200
    return took / count * 1e6


@contextmanager
def olareg() -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as folder:
        port = 5990
        command = ["olareg", "serve", "--addr", "127.0.0.1", "--port", str(port)]
        process = subprocess.Popen(
            [*command, "--store-type", "mem", "--dir", folder],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        server = Server(process, f"http://127.0.0.1:{port}/", Path(os.devnull))
        try:
            deadline = time.monotonic() + 10
            while True:
                try:
                    with to_url(server.url) as send:
                        send(Exchange("GET", "/v2/", [], None, False))
                    break
                except OSError:
                    assert time.monotonic() < deadline, "olareg did not start"
                    time.sleep(0.05)
            yield server
        finally:
            server.kill()


def load(server: Server, seconds: int, target: str = TARGET) -> tuple[float, float]:
    """Requests per second, and CPU microseconds of the server for each."""
    url = server.url.rstrip("/") + target
    command = ["wrk", "-t1", "-c32", "-H", f"Accept: {IMAGE_MANIFEST}"]
    subprocess.run([*command, "-d1s", url], check=True, capture_output=True)
    start = server.cpu_s()
    ran = subprocess.run(
        [*command, f"-d{seconds}s", url], check=True, capture_output=True, text=True
    )
    cpu = server.cpu_s() - start
    assert "Non-2xx" not in ran.stdout, ran.stdout
    found = re.search(r"(\d+) requests in ([\d.]+)s", ran.stdout)
    assert found is not None, ran.stdout
    return int(found[1]) / float(found[2]), cpu / int(found[1]) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    print(f"GET of a manifest of {len(MANIFEST)} bytes by tag; CPU per request")
    with tempfile.TemporaryDirectory() as folder:
        # In turn, so that what else the machine does falls on both.
        pairs = [(core_us(), core_us(guard(folder))) for _ in range(7)]
    budgets = {"core": 15, "core, guard and login": 20}
    for (what, budget), measured in zip(budgets.items(), zip(*pairs, strict=True), strict=True):
        figures = sorted(measured)
        print(
            f"{what}: {figures[0]:.1f} to {figures[-1]:.1f} µs, "
            f"median {statistics.median(figures):.1f} (budget: {budget})"
        )
    if shutil.which("wrk") is None:
        print("servers: not measured, wrk is not on PATH")
        return
    kinds: dict[str, Callable[[], object]] = {
        "wasmhold, no access log": lambda: serving("--log", "off"),
        "wasmhold": lambda: serving("--log", "json"),
    }
    if shutil.which("olareg"):
        kinds["olareg"] = olareg
    else:
        print("olareg: not measured, it is not on PATH")
    targets = {"manifest": TARGET, "blob of 100 bytes": BLOB}
    rows: dict[tuple[str, str], list[tuple[float, float]]] = {
        (what, name): [] for what in targets for name in kinds
    }
    for _ in range(asked.rounds):
        for name, start in kinds.items():
            with start() as server:  # type: ignore[attr-defined]
                with to_url(server.url) as send:
                    fill(send)
                for what, target in targets.items():
                    rows[what, name].append(load(server, asked.seconds, target))
    for (what, name), found in rows.items():
        us = statistics.median(us for _, us in found)
        rate = statistics.median(rate for rate, _ in found)
        peer = [us for _, us in rows.get((what, "olareg"), [])]
        ratio = f", {us / statistics.median(peer):.2f} × olareg" if peer else ""
        print(f"{what}, {name}: {us:.1f} µs, {rate:.0f} requests/s{ratio}")


if __name__ == "__main__":
    main()
