"""A pull with no cache, a cold, a warm and a shared one; then every layer is read.

    python bench/caching.py [--rounds 3] [--large 1073741824]

From olareg, plain HTTP on loopback, one layer of `--large` bytes and 200 of 64 KiB; the shared
cache is versitygw, without TLS.  Each in a process of its own, in turn, medians.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

from client import MANY, SMALL, Cost, make_layout, measured
from directory import olareg

import wasmhold
from tests.s3 import Gateway
from wasmhold import sync

KINDS = ("none", "cold", "warm", "filling the shared", "shared", "shared, which is down")


def pull(reference: str, folder: str, *shared: str) -> None:
    """One pull; `shared` is endpoint, access key and secret key where there is such a cache."""
    options = {}
    if shared:
        endpoint, access, secret = shared
        config = wasmhold.ObjectCacheConfig(
            "bucket", endpoint=endpoint, access_key_id=access, secret_access_key=secret
        )
        options["shared_cache"] = sync.ObjectCache(
            config
        )  # imported now: others have no use for it
    cache = sync.BlobCache.open(folder) if folder else sync.BlobCache.memory(0)
    with sync.ImagePuller(cache, policy="if_not_present", **options) as puller:
        for layer in puller.pull(reference).layers:
            with layer.open() as stream:
                for _ in stream:
                    pass


def measure(kind: str, reference: str, folder: Path, server: Gateway) -> Cost:
    """`folder` is the own cache; each kind finds what the one before it has left."""
    own = "" if kind == "none" else str(folder)
    command = [sys.executable, __file__, "--pull", reference, own]
    if "shared" in kind:
        command += server.options.values()
    if kind != "warm":
        shutil.rmtree(folder, ignore_errors=True)
    if kind == "filling the shared":
        shutil.rmtree(server.root / "bucket" / "wasmhold", ignore_errors=True)
    if kind != "shared, which is down":
        return measured(command, folder.parent)
    server.stop()
    try:
        return measured(command, folder.parent)
    finally:
        server.start()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--large", type=int, default=1 << 30, help="bytes of the one layer")
    parser.add_argument("--pull", nargs="+", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.pull:
        pull(*asked.pull)
        return
    if shutil.which("olareg") is None:
        sys.exit("olareg is not on PATH: it serves what is pulled")
    kinds = list(KINDS)
    if shutil.which("versitygw") is None:
        kinds = [kind for kind in kinds if "shared" not in kind]
        print("shared: not measured, versitygw is not on PATH")
    costs: dict[tuple[str, str], list[Cost]] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "root")
        make_layout(root / "one", 1, asked.large)
        make_layout(root / "many", MANY, SMALL)
        server = Gateway(Path(folder, "s3"))
        with ExitStack() as running:
            registry = running.enter_context(olareg(root))
            if len(kinds) == len(KINDS):
                running.enter_context(server)
                server.make_bucket("bucket")
            for _ in range(asked.rounds):
                for what in ("one", "many"):
                    for kind in kinds:
                        reference = f"{registry.host}/{what}:v1"
                        cost = measure(kind, reference, Path(folder, "cache"), server)
                        costs.setdefault((what, kind), []).append(cost)
    for (what, kind), found in costs.items():
        cpu, wall, memory = (
            statistics.median(getattr(cost, field) for cost in found)
            for field in ("cpu_s", "wall_s", "memory_mib")
        )
        print(f"{what:5} {kind:22} CPU {cpu:6.2f} s, wall {wall:6.2f} s, memory {memory:4.0f} MiB")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
