"""The server is killed at random instants under load, with a collection running beside it.

Every write that was acknowledged is there and right; nothing half written can be seen; what is left
over is removed by the next collection.

    python -m tests.servers.test_kills [KILLS] [WORKERS]     300 kills by default
"""

from __future__ import annotations

import hashlib
import http.client
import json
import random
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.registries import Server, serving
from tests.stores.directories import opened
from wasmhold.oci.media_types import IMAGE_MANIFEST
from wasmhold.ports.runtime import run
from wasmhold.testing.covers import covers

TAGS = 6  # of each pusher; they move all the time


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Unanswered(Exception):
    """Nobody knows whether it was done."""


@dataclass
class Pusher:
    """Pushes images and moves and deletes tags in a repository of its own.

    `allowed`: what each tag may point to: one digest (None: absent) when the last change was
    acknowledged, else also what the change was to make of it.
    """

    name: str
    seed: int
    ports: list[int]  # of the server, [] while there is none
    stopping: threading.Event
    allowed: dict[str, set[str | None]] = field(default_factory=dict)
    manifests: dict[str, list[str]] = field(default_factory=dict)  # digest to its blobs
    acknowledged: int = 0
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.connection: http.client.HTTPConnection | None = None

    def run(self) -> None:
        while not self.stopping.is_set():
            try:
                self.step()
            except Unanswered:
                time.sleep(0.01)
        self.hang_up()

    def hang_up(self) -> None:
        if self.connection is not None:
            self.connection.close()
        self.connection = None

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        if not self.ports:
            raise Unanswered
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.ports[-1], 10)
            self.connection.request(method, f"/v2/{self.name}{path}", body, headers)
            answer = self.connection.getresponse()
            content = answer.read()
            self.location = answer.headers.get("Location", "")
        except (OSError, http.client.HTTPException, ValueError):
            self.hang_up()
            raise Unanswered from None
        if answer.status >= 500:
            self.faults.append(f"{method} {path}: {answer.status} {content!r}")
        return answer.status, content

    def step(self) -> None:
        tag = f"t{self.chance.randrange(TAGS)}"
        if self.chance.random() < 0.15:
            self.change(tag, None, lambda: self.ask("DELETE", f"/manifests/{tag}")[0] in (202, 404))
            return
        blobs = [self.push_blob() for _ in range(self.chance.randrange(1, 4))]
        config, *layers = blobs
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": IMAGE_MANIFEST,
                "config": {"mediaType": "x/config", **config},
                "layers": [{"mediaType": "x/layer", **layer} for layer in layers],
                "annotations": {"number": str(self.chance.random())},
            }
        ).encode()
        digest = digest_of(manifest)
        self.manifests[digest] = [str(blob["digest"]) for blob in blobs]

        def put() -> bool:
            kind = {"Content-Type": IMAGE_MANIFEST}
            status, content = self.ask("PUT", f"/manifests/{tag}", manifest, **kind)
            if status == 400:  # a collection took a blob between its push and now
                assert b"MANIFEST_BLOB_UNKNOWN" in content, content
            return status == 201

        self.change(tag, digest, put)

    def change(self, tag: str, to: str | None, do) -> None:
        before = self.allowed.get(tag, {None})
        self.allowed[tag] = before | {to}
        if do():
            self.allowed[tag] = {to}
            self.acknowledged += 1
        else:
            self.allowed[tag] = before

    def push_blob(self) -> dict[str, object]:
        # Few seeds: pushers push the same blobs, and push again what was collected.
        data = random.Random(self.chance.randrange(300)).randbytes(self.chance.randrange(1, 60_000))
        digest = digest_of(data)
        if self.chance.random() < 0.5:
            self.ask("POST", f"/blobs/uploads/?digest={digest}", data)
        else:
            self.ask("POST", "/blobs/uploads/")
            session = self.location.removeprefix(f"/v2/{self.name}")
            cut = self.chance.randrange(len(data))
            self.ask("PATCH", session, data[:cut])
            self.ask("PUT", f"{session}?digest={digest}", data[cut:])
        return {"digest": digest, "size": len(data)}

    def verify(self) -> int:
        """Ask for everything that was acknowledged; how many manifests were whole."""
        found = 0
        for tag, allowed in self.allowed.items():
            status, content = self.ask("GET", f"/manifests/{tag}")
            now = digest_of(content) if status == 200 else None
            assert status in (200, 404), (status, content)
            assert now in allowed, f"{self.name}:{tag} is {now}, may be {allowed}"
            if now is None:
                continue
            found += 1
            self.allowed[tag] = {now}
            assert self.ask("GET", f"/manifests/{now}") == (200, content)
            for blob in self.manifests[now]:
                status, data = self.ask("GET", f"/blobs/{blob}")
                assert (status, digest_of(data)) == (200, blob), f"{self.name}: {blob}: {status}"
        return found


def collect(root: Path, stopping: threading.Event) -> None:
    """Another process's part, on the same directory: rounds without a pause."""
    with opened(root) as store:
        while not stopping.is_set():
            run(store.collect(0.5))
            time.sleep(0.02)


def leftovers(root: Path) -> list[str]:
    """Files that no manifest accounts for, after the last collection."""
    left: list[str] = []
    named: set[str] = set()
    for repository in root.glob("repo*"):
        used: set[str] = set()
        for entry in repository.glob(".wasmhold/manifests/*"):
            digest = entry.name.partition(":")[2]
            document = json.loads((repository / "blobs/sha256" / digest).read_bytes())
            children = [document["config"], *document["layers"]]
            used |= {digest, *(child["digest"].partition(":")[2] for child in children)}
        here = {path.name for path in repository.glob("blobs/*/*")}
        assert here >= used, "a manifest lacks what it refers to"
        left += here - used
        named |= here
    # A session that was cut off keeps its bytes for a day: its client may go on with it.
    sessions = {path.stat().st_ino for path in root.glob(".wasmhold/uploads/*/data")}
    for path in root.glob(".wasmhold/pool/*/*/*"):
        if path.name not in named and path.stat().st_ino not in sessions:
            left.append(path.name)
    left += [str(path) for path in root.glob(".wasmhold/tmp/*/*") if path.name != "lock"]
    return left


def harness(root: Path, kills: int, workers: int, seed: int) -> str:
    chance = random.Random(seed)
    ports: list[int] = []
    stopping = threading.Event()
    pushers = [Pusher(f"repo{i}", seed + i, ports, stopping) for i in range(4)]
    threads = [threading.Thread(target=pusher.run) for pusher in pushers]
    threads.append(threading.Thread(target=collect, args=(root, stopping)))
    flags = ("--workers", str(workers), "--log", "off")
    store = ("--root", str(root))
    for thread in threads:
        thread.start()
    try:
        for _ in range(kills):
            with serving(*flags, store=store) as server:
                ports.append(server.port)
                time.sleep(chance.uniform(0.05, 0.8))
                ports.clear()
                server.kill()
    finally:
        stopping.set()
        for thread in threads:
            thread.join()
    with serving(*flags, store=store) as server:
        found = verify(server, pushers, ports)
    with opened(root) as last:
        while run(last.collect(0)).changed:
            pass
        left = leftovers(root)
    assert not left, f"{len(left)} files are left over: {left[:5]}"
    with serving(*flags, store=store) as server:
        assert verify(server, pushers, ports) == found
    assert not [fault for pusher in pushers for fault in pusher.faults]
    acknowledged = sum(pusher.acknowledged for pusher in pushers)
    assert acknowledged > kills
    return f"{kills} kills, {acknowledged} changes acknowledged, {found} manifests at the end: all right"


def verify(server: Server, pushers: list[Pusher], ports: list[int]) -> int:
    ports.append(server.port)
    found = sum(pusher.verify() for pusher in pushers)
    for pusher in pushers:
        pusher.hang_up()
    ports.clear()
    return found


@covers("BR-079")
@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_kills(workers, tmp_path):
    print(harness(tmp_path, 15, workers, seed=workers))


if __name__ == "__main__":
    kills, workers = [*map(int, sys.argv[1:]), *[300, 2][len(sys.argv) - 1 :]]
    with tempfile.TemporaryDirectory() as folder:
        print(harness(Path(folder), kills, workers, seed=int(time.time())))
