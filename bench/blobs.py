"""Push and pull of 256 MiB: CPU seconds of the server per GiB, and olareg's beside it.

    python bench/blobs.py [--rounds 3]

One connection, plain HTTP on loopback, both with their store in memory, in turn within one run.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

from manifest_get import olareg

from tests.registries import serving
from tests.servers.test_edge import stream_in, stream_out

SIZE = 256 << 20
PER_GIB = (1 << 30) / SIZE


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    kinds: dict[str, Callable[[], object]] = {"wasmhold": lambda: serving("--log", "off")}
    if shutil.which("olareg"):
        kinds["olareg"] = olareg
    else:
        print("olareg: not measured, it is not on PATH")
    rows: dict[str, list[tuple[float, float, float]]] = {name: [] for name in kinds}
    for turn in range(rounds):
        for name, start in kinds.items():
            with start() as server:  # type: ignore[attr-defined]
                idle = server.cpu_s()
                digest = stream_in(server, f"bench/round{turn}", SIZE)
                pushed = server.cpu_s()
                stream_out(server, f"bench/round{turn}", digest)
                pulled = server.cpu_s()
                memory = server.memory() - SIZE
                rows[name].append(
                    ((pushed - idle) * PER_GIB, (pulled - pushed) * PER_GIB, memory / (1 << 20))
                )
    print("CPU seconds per GiB of the server; memory beside the content, MiB")
    for name, found in rows.items():
        push, pull, memory = (statistics.median(column) for column in zip(*found, strict=True))
        print(f"{name}: push {push:.2f}, pull {pull:.2f}, memory {memory:.0f}")


if __name__ == "__main__":
    main()
