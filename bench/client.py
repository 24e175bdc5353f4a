"""Pull and push of one blob of 1 GiB, and of 200 blobs of 64 KiB, beside other clients.

    python bench/client.py [--rounds 3] [--large 1073741824] [--peers oras crane regctl skopeo]

From olareg into an OCI layout and back, plain HTTP on loopback, each client in turn within one run,
medians.  CPU is user and system time of the client's process; memory is its largest resident set.
"""

from __future__ import annotations

import argparse
import compileall
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

from directory import olareg

import wasmhold
from wasmhold.oci.media_types import IMAGE_INDEX, IMAGE_MANIFEST

SMALL = 64 << 10
MANY = 200
BLOCK = 1 << 20
_KIND = "application/vnd.oci.image"

Command = Callable[[str, str], list[str]]


@dataclass(frozen=True)
class Client:
    """`pull` makes a command of a reference and a folder, `push` of a folder and a reference."""

    pull: Command
    push: Command


def _oras(*flags: str) -> list[str]:
    return ["oras", "cp", "--concurrency", "8", *flags]


def _regctl(*arguments: str) -> list[str]:
    return ["regctl", "--verbosity", "error", "image", "copy", *arguments]


def _skopeo(side: str, *arguments: str) -> list[str]:
    return ["skopeo", "copy", "--preserve-digests", f"--{side}-tls-verify=false", *arguments]


OURS = [sys.executable, str(Path(__file__).parent / "copying.py")]
CLIENTS = {
    "wasmhold": Client(
        lambda ref, folder: [*OURS, ref, f"oci:{folder}:v1"],
        lambda folder, ref: [*OURS, f"oci:{folder}:v1", ref],
    ),
    "oras": Client(
        lambda ref, folder: [*_oras("--from-plain-http", "--to-oci-layout"), ref, f"{folder}:v1"],
        lambda folder, ref: [*_oras("--from-oci-layout", "--to-plain-http"), f"{folder}:v1", ref],
    ),
    "crane": Client(
        lambda ref, folder: ["crane", "pull", "--format=oci", ref, folder],
        lambda folder, ref: ["crane", "push", folder, ref],
    ),
    "regctl": Client(
        lambda ref, folder: _regctl(ref, f"ocidir://{folder}:v1"),
        lambda folder, ref: _regctl(f"ocidir://{folder}:v1", ref),
    ),
    "skopeo": Client(
        lambda ref, folder: _skopeo("src", f"docker://{ref}", f"oci:{folder}:v1"),
        lambda folder, ref: _skopeo("dest", f"oci:{folder}:v1", f"docker://{ref}"),
    ),
}


def make_layout(folder: Path, count: int, size: int) -> None:
    """An OCI layout with an image of `count` layers of `size` bytes that nobody can compress."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def keep(pieces: list[bytes]) -> dict[str, object]:
        draft, running, length = blobs / "draft", hashlib.sha256(), 0
        with draft.open("wb") as file:
            for piece in pieces:
                running.update(piece)
                length += file.write(piece)
        draft.rename(blobs / running.hexdigest())
        return {"digest": f"sha256:{running.hexdigest()}", "size": length}

    block = os.urandom(min(size, BLOCK))
    layers = []
    for number in range(count):
        pieces = [number.to_bytes(8, "big") + block[8:], *[block] * (size // len(block) - 1)]
        layers.append({"mediaType": f"{_KIND}.layer.v1.tar", **keep(pieces)})
    config = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": IMAGE_MANIFEST,
        "config": {"mediaType": f"{_KIND}.config.v1+json", **keep([json.dumps(config).encode()])},
        "layers": layers,
    }
    entry = {"mediaType": IMAGE_MANIFEST, **keep([json.dumps(manifest).encode()])}
    entry["annotations"] = {"org.opencontainers.image.ref.name": "v1"}
    index = {"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": [entry]}
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')


@dataclass(frozen=True)
class Cost:
    user_s: float
    cpu_s: float
    wall_s: float
    memory_mib: float


def measured(command: list[str], home: Path) -> Cost:
    with tempfile.TemporaryFile() as said:
        begin = time.perf_counter()
        environ = {**os.environ, "HOME": str(home)}
        process = subprocess.Popen(command, stdout=said, stderr=said, env=environ)
        peak, ended = 0, 0
        while not ended:
            # The largest that wait4 tells is also that of who started it.
            peak = max(peak, resident(process.pid))
            time.sleep(0.01)
            ended, status, used = os.wait4(process.pid, os.WNOHANG)
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        assert process.returncode == 0, f"{command}: {said.read().decode()[-2000:]}"
    cpu = used.ru_utime + used.ru_stime
    return Cost(used.ru_utime, cpu, wall, peak / 1024)


def resident(pid: int) -> int:
    """The most KiB of memory that the program had so far."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    return 0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--large", type=int, default=1 << 30, help="bytes of the one blob")
    parser.add_argument("--peers", nargs="*", default=["oras", "crane", "regctl", "skopeo"])
    asked = parser.parse_args()
    if shutil.which("olareg") is None:
        sys.exit("olareg is not on PATH: it serves what is copied")
    names = ["wasmhold"]
    for name in asked.peers:
        if shutil.which(name):
            names.append(name)
        else:
            print(f"{name}: not measured, it is not on PATH")
    # As pip leaves it: without, every run would compile what it imports.
    compileall.compile_dir(Path(wasmhold.__file__).parent, quiet=1)
    costs: dict[tuple[str, str], list[Cost]] = {}
    with tempfile.TemporaryDirectory() as folder:
        root, home = Path(folder, "root"), Path(folder, "home")
        home.mkdir()
        make_layout(root / "one", 1, asked.large)
        make_layout(root / "many", MANY, SMALL)
        with olareg(root) as server:
            if "regctl" in names:
                set_up = ["regctl", "registry", "set", server.host, "--tls", "disabled"]
                subprocess.run(set_up, check=True, env={**os.environ, "HOME": str(home)})
            for turn in range(asked.rounds):
                for what in ("one", "many"):
                    for name in names:
                        out, new = Path(folder, "out"), f"pushed/{name}{turn}{what}"
                        client = CLIENTS[name]
                        pull = client.pull(f"{server.host}/{what}:v1", str(out))
                        costs.setdefault((f"pull {what}", name), []).append(measured(pull, home))
                        push = client.push(str(out), f"{server.host}/{new}:v1")
                        costs.setdefault((f"push {what}", name), []).append(measured(push, home))
                        shutil.rmtree(out)
                        shutil.rmtree(root / new)
    for (what, name), found in sorted(costs.items()):
        user, cpu, wall, memory = (
            statistics.median(getattr(cost, field) for cost in found)
            for field in ("user_s", "cpu_s", "wall_s", "memory_mib")
        )
        print(
            f"{what:10} {name:9} user {user:6.2f} s, all CPU {cpu:6.2f} s, wall {wall:6.2f} s, "
            f"memory {memory:4.0f} MiB"
        )


if __name__ == "__main__":
    main()
