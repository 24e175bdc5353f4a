"""Tags of the directory store without a server: CPU and system calls of one GET and one PUT.

    python bench/tags.py [--tags 100 10000 100000]

The system calls are counted by `strace -c`, where it is on PATH, as the difference of a run with
1,000 operations and one with none.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

from directory import REPO, make
from manifest_get import MANIFEST

from tests.stores.directories import inline, opened
from wasmhold.oci.digest import Digest
from wasmhold.oci.manifest import parse_manifest
from wasmhold.oci.media_types import IMAGE_MANIFEST
from wasmhold.ports.runtime import run
from wasmhold.ports.store import Store, StoredManifest
from wasmhold.stores.directory.flock import flock
from wasmhold.stores.directory.native import NativeFiles

PARSED = parse_manifest(MANIFEST)
STORED = StoredManifest(Digest.of(MANIFEST), IMAGE_MANIFEST, MANIFEST)
COUNT = 1000


def get(store: Store, number: int) -> None:
    digest = run(store.tag_get(REPO, "latest"))
    assert digest is not None
    assert run(store.manifest_get(REPO, digest)) is not None


def put(store: Store, number: int) -> None:
    tags = [f"new{number}"]
    run(
        store.manifest_put(
            REPO, STORED, PARSED, tags=tags, guard=lambda tag, current: None, sparse=False
        )
    )


WHAT = {"get": get, "put": put}


def work(root: Path, what: str, count: int) -> float:
    """CPU µs of each; synced to the disk."""
    files = NativeFiles(str(root), inline(), locks=flock)
    with opened(root, files=files) as store:
        WHAT[what](store, -1)
        start = time.process_time()
        for number in range(count):
            WHAT[what](store, number)
        return (time.process_time() - start) / max(1, count) * 1e6


def calls(root: Path, what: str, count: int) -> dict[str, int]:
    """System calls by name."""
    command = ["strace", "-c", "-f", "-U", "name,calls", sys.executable, __file__]
    ran = subprocess.run(
        [*command, "--work", str(root), what, str(count)], capture_output=True, text=True
    )
    return {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", ran.stderr, re.MULTILINE)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tags", type=int, nargs="+", default=[100, 10_000, 100_000])
    parser.add_argument("--work", nargs=3)
    asked = parser.parse_args()
    if asked.work:
        root, what, count = asked.work
        work(Path(root), what, int(count))
        return
    base: dict[str, float] = {}
    for tags in asked.tags:
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder), tags)
            for what in WHAT:
                us = work(Path(folder), what, COUNT)
                base.setdefault(what, us)
                print(f"{tags} tags, {what}: {us:.1f} µs CPU ({us / base[what]:.2f})")
    if shutil.which("strace") is None:
        print("system calls: not counted, strace is not on PATH")
        return
    for what in WHAT:
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder), 100)
            none, many = calls(Path(folder), what, 0), calls(Path(folder), what, COUNT)
        each = {name: (n - none.get(name, 0)) / COUNT for name, n in many.items()}
        shown = [f"{name} {n:.1f}" for name, n in sorted(each.items()) if n >= 0.5]
        print(f"system calls of one {what}: {', '.join(shown)}")


if __name__ == "__main__":
    main()
