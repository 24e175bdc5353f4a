"""Push and pull of 256 MiB, and lists of 1,000 referrers, beside other registries.

    python bench/blobs.py [--rounds 3] [--peers olareg distribution]

One connection, plain HTTP on loopback, each with its store in a directory (ours synced, olareg's
never), in turn within one run.  CPU seconds of the server per GiB, memory beside what it had at
its start, CPU µs for a list of 1,000 referrers.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

from directory import REPO, SERVERS
from manifest_get import CONFIG, described, fill

from tests.registries import Server
from tests.servers.test_edge import stream_in, stream_out
from wasmhold.oci.media_types import IMAGE_MANIFEST
from wasmhold.testing.senders import to_url
from wasmhold.testing.transcript import Exchange

SIZE = 256 << 20
PER_GIB = (1 << 30) / SIZE
REFERRERS = 1000
LISTS = 30


def referrers(server: Server) -> float | None:
    """CPU µs of a list of 1,000 referrers; None where there is no such API."""
    subject = described(IMAGE_MANIFEST, b"subject")
    target = f"/v2/{REPO}/referrers/{subject['digest']}"
    headers = [("Content-Type", IMAGE_MANIFEST)]
    with to_url(server.url) as send:
        fill(send)
        if send(Exchange("GET", target, [], None, False)).status != 200:
            return None
        for number in range(REFERRERS):
            document = {
                "schemaVersion": 2,
                "mediaType": IMAGE_MANIFEST,
                "artifactType": "application/vnd.example.note",
                "config": described("application/vnd.oci.empty.v1+json", CONFIG),
                "layers": [],
                "subject": subject,
                "annotations": {"number": str(number)},
            }
            data = json.dumps(document).encode()
            path = f"/v2/{REPO}/manifests/{described('', data)['digest']}"
            assert send(Exchange("PUT", path, headers, [data], False)).status == 201
        send(Exchange("GET", target, [], None, False))  # what is read once
        start = server.cpu_s()
        for _ in range(LISTS):
            answer = send(Exchange("GET", target, [], None, False))
            assert len(json.loads(answer.body)["manifests"]) == REFERRERS
        return (server.cpu_s() - start) / LISTS * 1e6


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", nargs="*", default=["olareg", "distribution"])
    asked = parser.parse_args()
    names = ["wasmhold"]
    for name in asked.peers:
        if shutil.which(name):
            names.append(name)
        else:
            print(f"{name}: not measured, it is not on PATH")
    rows: dict[str, list[tuple[float, float, float]]] = {name: [] for name in names}
    lists: dict[str, float | None] = {}
    for turn in range(asked.rounds):
        for name in names:
            with tempfile.TemporaryDirectory() as folder:
                root = Path(folder, "root")
                root.mkdir()
                with SERVERS[name](root) as server:
                    memory, idle = server.memory(), server.cpu_s()
                    digest = stream_in(server, REPO, SIZE)
                    pushed = server.cpu_s()
                    stream_out(server, REPO, digest)
                    pulled = server.cpu_s()
                    rows[name].append(
                        (
                            (pushed - idle) * PER_GIB,
                            (pulled - pushed) * PER_GIB,
                            (server.memory() - memory) / (1 << 20),
                        )
                    )
                    if not turn:
                        lists[name] = referrers(server)
    for name, found in rows.items():
        push, pull, more = (statistics.median(column) for column in zip(*found, strict=True))
        listed = lists[name]
        print(
            f"{name:13} push {push:.2f} s/GiB, pull {pull:.2f} s/GiB, {more:.0f} MiB more, "
            f"1,000 referrers {'-' if listed is None else f'{listed:.0f} µs'}"
        )


if __name__ == "__main__":
    main()
