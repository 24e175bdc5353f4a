"""Collection of a directory: does its cost grow as what it looks at does, and what memory it takes.

    python bench/collection.py [--manifests 1000 10000]

Each manifest has three blobs of its own; a tenth as many blobs more belong to nothing.  CPU and
peak memory of a process that does the rounds until one changes nothing, files made before.  Then
what a pull of a small blob takes from a server on the same directory, without and beside rounds in
another process, and how long a server on it takes to start.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

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


def make(root: Path, manifests: int) -> None:
    with opened(root) as store:

        def push(content: bytes) -> dict[str, object]:
            session = run(store.upload_open("a", "sha256"))
            digest = Digest.of(content)
            run(store.upload_commit("a", session, 0, BytesBody(content), digest))
            return {"mediaType": "x/y", "digest": str(digest), "size": len(content)}

        for number in range(manifests):
            config, *layers = [push(f"{number} {i}".encode()) for i in range(3)]
            document = {"schemaVersion": 2, "config": config, "layers": layers}
            content = json.dumps(document).encode()
            run(
                store.manifest_put(
                    "a",
                    StoredManifest(Digest.of(content), IMAGE_MANIFEST, content),
                    parse_manifest(content, IMAGE_MANIFEST),
                    tags=[f"t{number}"],
                    guard=lambda tag, current: None,
                    sparse=False,
                )
            )
            if not number % 10:
                push(f"orphan {number}".encode())


def collect(root: Path) -> None:
    """In a process of its own: prints CPU, wall time, memory, and what was removed."""
    with opened(root) as store:
        start, cpu = time.perf_counter(), time.process_time()
        removed = rounds = 0
        while True:
            done = run(store.collect(0))
            removed, rounds = removed + done.removed, rounds + 1
            if not done.changed:
                break
        took, cpu = time.perf_counter() - start, time.process_time() - cpu
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{rounds} rounds, {removed} removed, {cpu:.2f} s CPU, {took:.2f} s, {memory:.0f} MiB peak"
    )


def pulls(server: Server, until: Callable[[], bool]) -> tuple[float, float]:
    """Median and 99th percentile of pulls of one small blob, in ms."""
    target = f"/v2/a/blobs/{Digest.of(b'0 0')}"
    took: list[float] = []
    with to_url(server.url) as send:
        while not until():
            start = time.perf_counter()
            assert send(Exchange("GET", target, [], None, False)).status == 200
            took.append((time.perf_counter() - start) * 1000)
    took.sort()
    return took[len(took) // 2], took[len(took) * 99 // 100]


def beside(folder: str) -> None:
    """What a collection does to pulls."""
    begun = time.perf_counter()
    with serving("--log", "off", store=("--root", folder)) as server:
        print(f"  server on it: started in {time.perf_counter() - begun:.2f} s")
        end = time.perf_counter() + 3
        quiet = pulls(server, lambda: time.perf_counter() > end)
        process = subprocess.Popen(
            [sys.executable, __file__, "--collect", folder], stdout=subprocess.DEVNULL
        )
        busy = pulls(server, lambda: process.poll() is not None)
    print(
        f"  pulls, median and 99th percentile: {quiet[0]:.2f} and {quiet[1]:.2f} ms; "
        f"beside a collection {busy[0]:.2f} and {busy[1]:.2f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--manifests", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--collect", type=Path)
    asked = parser.parse_args()
    if asked.collect:
        collect(asked.collect)
        return
    for manifests in asked.manifests:
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder), manifests)
            command = [sys.executable, __file__, "--collect", folder]
            ran = subprocess.run(command, check=True, capture_output=True, text=True)
            print(f"{manifests} manifests, {3 * manifests} blobs: {ran.stdout.strip()}")
            beside(folder)


if __name__ == "__main__":
    main()
