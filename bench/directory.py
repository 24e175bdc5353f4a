"""The directory store as it grows, beside olareg and distribution.

    python bench/directory.py [--tags 100 10000 100000] [--seconds 3] [--peers olareg distribution]

For each number of tags of one repository: CPU of the server for a GET of a manifest by tag (32
connections, `wrk`), for a PUT of a known manifest under a new tag (one connection), and for the
first 100 tags; what is in brackets is the ratio to the first column.  Then the time from start to
the first answer.  olareg serves a copy of our folder, which is an OCI image layout, and never
syncs; distribution is filled through its API, up to 10,000 tags.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

from manifest_get import CONFIG, LAYERS, MANIFEST, fill, load

from tests.registries import Server, serving
from tests.stores.directories import opened
from wasmhold.oci.digest import Digest
from wasmhold.oci.manifest import parse_manifest
from wasmhold.oci.media_types import IMAGE_MANIFEST
from wasmhold.ports.body import BytesBody
from wasmhold.ports.runtime import run
from wasmhold.ports.store import StoredManifest
from wasmhold.testing.senders import to_url
from wasmhold.testing.transcript import Exchange

REPO = "bench/app"
PUTS = 300


def make(root: Path, tags: int) -> None:
    """A repository with `tags` tags on one manifest, and index.json written."""
    with opened(root) as store:
        for data in (CONFIG, *LAYERS):
            session = run(store.upload_open(REPO, "sha256"))
            run(store.upload_commit(REPO, session, 0, BytesBody(data), Digest.of(data)))
        stored = StoredManifest(Digest.of(MANIFEST), IMAGE_MANIFEST, MANIFEST)
        names = ["latest", *(f"t{i:06}" for i in range(tags - 1))]
        for start in range(0, tags, 1000):
            run(
                store.manifest_put(
                    REPO,
                    stored,
                    parse_manifest(MANIFEST),
                    tags=names[start : start + 1000],
                    guard=lambda tag, current: None,
                    sparse=False,
                )
            )
        run(store.settle())


@contextmanager
def peer(command: list[str], port: int) -> Iterator[Server]:
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=quiet, stderr=quiet)
    server = Server(process, f"http://127.0.0.1:{port}/", Path(os.devnull))
    try:
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError), to_url(server.url) as send:
                send(Exchange("GET", "/v2/", [], None, False))
                break
            assert time.monotonic() < deadline, f"{command[0]} did not start"
            time.sleep(0.005)
        yield server
    finally:
        server.kill()


def wasmhold(root: Path) -> AbstractContextManager[Server]:
    return serving("--log", "off", store=("--root", str(root)))


def olareg(root: Path) -> AbstractContextManager[Server]:
    command = ["olareg", "serve", "--addr", "127.0.0.1", "--port", "5991", "--dir", str(root)]
    return peer([*command, "--gc-frequency", "-1s"], 5991)


def distribution(root: Path) -> AbstractContextManager[Server]:
    config = root.parent / "distribution.yml"
    config.write_text(
        f"version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {root}\n"
        "http:\n  addr: 127.0.0.1:5992\n  secret: bench\n"
        "log:\n  level: error\n  accesslog:\n    disabled: true\n"
    )
    return peer(["distribution", "serve", str(config)], 5992)


SERVERS: dict[str, Callable[[Path], AbstractContextManager[Server]]] = {
    "wasmhold": wasmhold,
    "olareg": olareg,
    "distribution": distribution,
}


def put_tags(server: Server, first: int, count: int) -> float:
    """CPU microseconds of a PUT of the known manifest under a new tag."""
    headers = [("Content-Type", IMAGE_MANIFEST)]
    with to_url(server.url) as send:
        start = server.cpu_s()
        for i in range(first, first + count):
            target = f"/v2/{REPO}/manifests/new{i}"
            assert send(Exchange("PUT", target, headers, [MANIFEST], False)).status == 201
    return (server.cpu_s() - start) / count * 1e6


def list_tags(server: Server, count: int) -> float:
    with to_url(server.url) as send:
        start = server.cpu_s()
        for _ in range(count):
            target = f"/v2/{REPO}/tags/list?n=100"
            assert send(Exchange("GET", target, [], None, False)).status == 200
    return (server.cpu_s() - start) / count * 1e6


def measure(name: str, tags: int, seconds: int) -> tuple[float, float, float, float] | None:
    """CPU µs of GET, PUT, list; seconds from start to the first answer."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "root")
        root.mkdir()
        if name == "wasmhold":
            make(root, tags)
        elif name == "olareg":
            made = Path(folder, "made")
            made.mkdir()
            make(made, tags)
            source = made / REPO
            copied = root / REPO
            copied.mkdir(parents=True)
            shutil.copytree(source / "blobs", copied / "blobs")
            for file in ("index.json", "oci-layout"):
                shutil.copy(source / file, copied)
        elif tags > 10_000:
            return None
        begun = time.monotonic()
        with SERVERS[name](root) as server:
            started = time.monotonic() - begun
            if name == "distribution":
                with to_url(server.url) as send:
                    fill(send)
                put_tags(server, 10**6, tags - 1)
            with to_url(server.url) as send:  # what is read once
                for path in ("manifests/latest", "tags/list?n=100"):
                    headers = [("Accept", IMAGE_MANIFEST)]
                    answer = send(Exchange("GET", f"/v2/{REPO}/{path}", headers, None, False))
                    assert answer.status == 200, (name, answer)
            _, get = load(server, seconds)
            few = name != "wasmhold" and tags > 1000  # some rewrite an index for each tag
            return get, put_tags(server, 0, 20 if few else PUTS), list_tags(server, 50), started


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tags", type=int, nargs="+", default=[100, 10_000, 100_000])
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--peers", nargs="*", default=["olareg", "distribution"])
    asked = parser.parse_args()
    assert shutil.which("wrk"), "wrk is not on PATH"
    names = ["wasmhold"]
    for name in asked.peers:
        if shutil.which(name):
            names.append(name)
        else:
            print(f"{name}: not measured, it is not on PATH")
    print("CPU µs of the server per request, by number of tags")
    for name in names:
        rows = {tags: measure(name, tags, asked.seconds) for tags in asked.tags}
        for kind, what in enumerate(("GET by tag", "PUT of a new tag", "first 100 tags")):
            cells = []
            base = None
            for tags in asked.tags:
                row = rows[tags]
                if row is None:
                    cells.append(f"{tags}: -")
                    continue
                base = base or row[kind]
                cells.append(f"{tags}: {row[kind]:.0f} ({row[kind] / base:.2f})")
            print(f"{name:13} {what:17} {'  '.join(cells)}")
        starts = [f"{tags}: {row[3]:.2f}" for tags, row in rows.items() if row is not None]
        print(f"{name:13} {'start, seconds':17} {'  '.join(starts)}")


if __name__ == "__main__":
    main()
