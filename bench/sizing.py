"""What a host for a registry needs: memory at rest, disk and inodes, time of a check.

    python bench/sizing.py [--count 1000] [--mib 1024]

Memory is that of the parent and its workers, pages that they share counted once (PSS).  Disk is
what the file system has given to files and folders; two names of one file are one inode.  Not in it
is the link that each upload leaves for a day.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.registries import serving
from tests.stores.directories import opened
from tests.stores.test_check import push, push_blob
from wasmhold.oci.digest import Digest
from wasmhold.ports.runtime import run
from wasmhold.stores.directory.paths import COMMITTED
from wasmhold.stores.directory.store import DirectoryStore

PIECE = 16 << 20


def taken(root: Path) -> tuple[int, int]:
    """Inodes and bytes that everything below `root` has."""
    found = {}
    for folder, folders, files in os.walk(root):
        if folder == str(root / COMMITTED):
            continue
        for name in (".", *folders, *files):
            status = os.lstat(os.path.join(folder, name))
            found[status.st_ino] = status.st_blocks * 512
    return len(found), sum(found.values())


def disk(count: int) -> Iterator[tuple[str, float, float]]:
    """Inodes and KiB of each thing, the mean of `count`; indexes are written."""
    with tempfile.TemporaryDirectory() as folder, opened(root := Path(folder)) as store:
        image = push(store, "bench/app", "first")
        kinds: dict[str, Callable[[DirectoryStore, int], object]] = {
            "a blob of 1 KiB": lambda s, i: push_blob(s, "bench/app", b"%01024d" % i),
            "the same blob mounted": lambda s, i: run(
                s.blob_mount("bench/other", Digest.of(b"%01024d" % i), "bench/app")
            ),
            "a manifest with a tag": lambda s, i: push(s, "bench/app", f"m{i}", text=str(i)),
            "a tag more": lambda s, i: push(s, "bench/app", f"t{i}"),
            "a referrer": lambda s, i: push(s, "bench/app", subject=image, text=f"r{i}"),
            "a repository with a tag": lambda s, i: push(s, f"bench/many/r{i}", "v1"),
        }
        for name, make in kinds.items():
            run(store.settle())
            inodes, size = taken(root)
            for i in range(count):
                make(store, i)
            run(store.settle())
            more, larger = taken(root)
            yield name, (more - inodes) / count, (larger - size) / count / 1024


def command_s(*arguments: str) -> tuple[float, float]:
    """Seconds of CPU, and by the clock, of `wasmhold` with these arguments."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [sys.executable, "-m", "wasmhold", *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used, time.monotonic() - begun


@contextmanager
def filled(mib: int) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        with opened(root := Path(folder)) as store:
            for _ in range(mib * 1024 * 1024 // PIECE):
                push_blob(store, "bench/app", os.urandom(PIECE))
        yield root


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--mib", type=int, default=1024)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for workers in ("1", "2", "4"):
            begun = time.monotonic()
            with serving("--log", "off", store=("--root", folder, "--workers", workers)) as server:
                started = time.monotonic() - begun
                memory = server.memory() / 2**20
            print(f"{workers} workers: ready after {started:.2f} s, {memory:.0f} MiB at rest")
    for name, inodes, kib in disk(asked.count):
        print(f"{name}: {inodes:.1f} inodes, {kib:.1f} KiB")
    with filled(asked.mib) as root:
        per_gib = 1024 / asked.mib
        used, clock = command_s("fsck", "--root", str(root))
        print(
            f"fsck: {used * per_gib:.2f} s of CPU for a GiB, {clock * per_gib:.2f} s by the clock"
        )


if __name__ == "__main__":
    main()
