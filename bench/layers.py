"""Unpacking 100,000 files, and one file of 1 GiB, beside umoci and GNU tar.

    python bench/layers.py [--rounds 3] [--files 100000] [--large 1073741824] [--where DIR]
                           [--programs wasmhold tar]

Each program unpacks the same image from an image layout into a new folder, in turn within one run,
medians.  tar has the layer's archive itself, and verifies nothing.  CPU is user and system time of
the program, memory its largest resident set; system calls are counted by strace, once, where it is
on PATH.
"""

from __future__ import annotations

import argparse
import collections
import gzip
import hashlib
import itertools
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from wasmhold.image.layers.kinds import Compression
from wasmhold.image.layers.pack import header

BLOCK = 512
PROGRAM = [sys.executable, "-m", "wasmhold", "unpack", "-q"]


def files(count: int) -> Iterator[bytes]:
    """Of 500 to 1,000 bytes, fifty in a folder."""
    randomness = random.Random(1)
    folders = -(-count // 50)
    for folder in range(folders):
        above = b"usr/share/%03d/%03d" % divmod(folder, 20)
        yield header(b"5", above + b"/", 0o755, 5)
        for number in range(50):
            content = randomness.randbytes(500 + 10 * number)
            yield header(b"0", above + b"/%02d.txt" % number, 0o644, 7, size=len(content))
            yield content + bytes(-len(content) % BLOCK)


def large(size: int) -> Iterator[bytes]:
    """Half of it can be compressed."""
    randomness = random.Random(2)
    yield header(b"0", b"large", 0o644, 7, size=size)
    for _ in range(size >> 20):
        yield randomness.randbytes(1 << 19) + bytes(1 << 19)


@dataclass(frozen=True)
class Image:
    """An image layout with one layer, and that layer's archive."""

    name: str
    layout: Path
    layer: Path


def write_image(folder: Path, name: str, archive: Iterator[bytes], kind: Compression) -> Image:
    layout = folder / name
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    stored, plain, path = hashlib.sha256(), hashlib.sha256(), blobs / "layer"
    with open(path, "wb") as file:
        out = gzip.GzipFile("", "wb", 6, file, mtime=0) if kind is Compression.GZIP else file
        for piece in itertools.chain(archive, (bytes(2 * BLOCK),)):
            plain.update(piece)
            out.write(piece)
        if out is not file:
            out.close()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            stored.update(piece)
    layer = path.rename(blobs / stored.hexdigest())

    def put(document: dict[str, object], media_type: str) -> dict[str, object]:
        content = json.dumps(document).encode()
        digest = hashlib.sha256(content).hexdigest()
        (blobs / digest).write_bytes(content)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    config = put(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{plain.hexdigest()}"]},
        },
        "application/vnd.oci.image.config.v1+json",
    )
    described = {
        "mediaType": kind.media_type,
        "digest": f"sha256:{layer.name}",
        "size": layer.stat().st_size,
    }
    image = "application/vnd.oci.image.manifest.v1+json"
    manifest = {"schemaVersion": 2, "mediaType": image, "config": config, "layers": [described]}
    entry = put(manifest, image) | {"annotations": {"org.opencontainers.image.ref.name": "v1"}}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return Image(name, layout, layer)


def commands(image: Image, target: Path, programs: list[str]) -> dict[str, list[str]]:
    found = {"wasmhold": [*PROGRAM, f"oci:{image.layout}:v1", str(target)]}
    if shutil.which("umoci"):
        found["umoci raw"] = [
            "umoci",
            "raw",
            "unpack",
            "--image",
            f"{image.layout}:v1",
            str(target),
        ]
        found["umoci"] = ["umoci", "unpack", "--image", f"{image.layout}:v1", str(target)]
    found["tar"] = ["tar", "-xpf", str(image.layer), "-C", str(target)]
    return {name: command for name, command in found.items() if name in programs}


def measure(command: list[str], target: Path) -> tuple[float, float, float]:
    """CPU and wall seconds, and MiB."""
    if command[0] == "tar":
        target.mkdir()
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    took = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    shutil.rmtree(target)
    return used.ru_utime + used.ru_stime, took, used.ru_maxrss / 1024


def calls(command: list[str], target: Path, entries: int) -> str:
    """System calls for one entry, the most frequent ones."""
    if shutil.which("strace") is None:
        return "strace is not on PATH"
    if command[0] == "tar":
        target.mkdir()
    ran = subprocess.run(
        ["strace", "-f", "-c", "-S", "calls", *command], capture_output=True, text=True
    )
    shutil.rmtree(target)
    counts: collections.Counter[str] = collections.Counter()
    for line in ran.stderr.splitlines():
        words = line.split()
        if len(words) >= 5 and words[3].isdigit() and words[-1] != "total":
            counts[words[-1]] += int(words[3])
    shown = ", ".join(f"{name} {count / entries:.1f}" for name, count in counts.most_common(8))
    return f"{sum(counts.values()) / entries:.1f} ({shown})"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--large", type=int, default=1 << 30)
    parser.add_argument("--programs", nargs="+", default=["wasmhold", "umoci raw", "umoci", "tar"])
    parser.add_argument("--where", default=None, help="a folder on the file system to measure")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.where) as name:
        folder = Path(name)
        target = folder / "target"
        images = [
            write_image(folder, f"{given.files} files, tar", files(given.files), Compression.NONE),
            write_image(folder, f"{given.files} files, gzip", files(given.files), Compression.GZIP),
            write_image(
                folder, f"{given.large >> 20} MiB, tar", large(given.large), Compression.NONE
            ),
            write_image(
                folder, f"{given.large >> 20} MiB, gzip", large(given.large), Compression.GZIP
            ),
        ]
        for image in images:
            found: dict[str, list[tuple[float, float, float]]] = collections.defaultdict(list)
            for _ in range(given.rounds):
                for program, command in commands(image, target, given.programs).items():
                    found[program].append(measure(command, target))
            ours = statistics.median(cpu for cpu, _, _ in found["wasmhold"])
            print(f"\n{image.name}", flush=True)
            for program, runs in found.items():
                cpu, wall, memory = (
                    statistics.median(column) for column in zip(*runs, strict=True)
                )
                print(
                    f"  {program:<10} CPU {cpu:6.2f} s  wall {wall:6.2f} s  {memory:6.1f} MiB"
                    f"  ours is {ours / cpu:.2f} of it"
                )
        few = write_image(folder, "few", files(2000), Compression.NONE)
        print("\nsystem calls for one file")
        for program, command in commands(few, target, given.programs).items():
            print(f"  {program:<10} {calls(command, target, 2000)}", flush=True)


if __name__ == "__main__":
    main()
