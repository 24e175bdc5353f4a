"""Processes that pull the same blobs through one cache on disk, and are ended by ``kill -9`` by chance:

    python -m tests.client.caches.kills PROCESSES BLOBS KILLS SEED

The registry counts what it is asked for.  Each process pulls one blob after the other, in an order of its own,
and is followed by another one when it was killed.  A blob is asked for once, and once more for each kill at the
most, from behind the bytes that came before; at the end nothing is wrong, and nothing is left over.
"""

from __future__ import annotations

import hashlib
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from wasmhold import sync
from wasmhold.client import Settings
from wasmhold.client.caches.blob_cache import BlobCache
from wasmhold.oci.digest import Digest

PIECE = 32 << 10
PAUSE_S = 0.005  # of the registry before each piece: so many blobs are on their way at once


class Registry(ThreadingHTTPServer):
    """Gives blobs, from any byte, and counts; what waits in its sockets is little."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, contents):
        super().__init__(("127.0.0.1", 0), Answer)
        self.blobs = {str(Digest.of(content)): content for content in contents}
        self.starts = {digest: [] for digest in self.blobs}
        self.sent = 0  # bytes of blobs
        self.busy = set()  # the processes that are being sent some
        self.moved = threading.Condition()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def host(self):
        return f"127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        """Those that were killed have gone away."""

    def wait_for(self, sent):
        """The processes that are being sent bytes when so many have gone out."""
        with self.moved:
            self.moved.wait_for(lambda: self.sent >= sent)
            return sorted(self.busy)


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 64 << 10

    def setup(self):
        super().setup()
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PIECE)

    def log_message(self, *arguments):
        pass

    def do_HEAD(self):
        self._begin(self.server.blobs[self._digest], 0)

    def do_GET(self):
        server, content = self.server, self.server.blobs[self._digest]
        start = int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        with server.moved:
            server.starts[self._digest].append(start)
            server.busy.add(self.headers["User-Agent"])
        try:
            self._begin(content, start)
            self._send(content, start)
        finally:
            with server.moved:
                server.busy.discard(self.headers["User-Agent"])

    def _send(self, content, start):
        server = self.server
        for at in range(start, len(content), PIECE):
            time.sleep(PAUSE_S)
            self.wfile.write(content[at : at + PIECE])
            self.wfile.flush()
            with server.moved:
                server.sent += len(content[at : at + PIECE])
                server.moved.notify_all()

    @property
    def _digest(self):
        return self.path.rpartition("/")[2]

    def _begin(self, content, start):
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("Docker-Content-Digest", self._digest)
        self.end_headers()


def pull(folder, host, seed, digests):
    """What one process does."""
    digests = sorted(digests)
    random.Random(seed).shuffle(digests)
    cache = BlobCache.open(folder)
    print("ready", flush=True)
    sys.stdin.readline()
    with sync.Client(Settings(environ={}, cache=cache, user_agent=seed)) as client:
        for digest in digests:
            found = hashlib.sha256()
            client.blob(f"{host}/demo@{digest}", found.update)
            if f"sha256:{found.hexdigest()}" != digest:
                sys.exit(f"wrong bytes for {digest}")


@dataclass
class Outcome:
    asked: int = 0
    again: list[int] = field(default_factory=list)  # where those began that were not the first
    sent: int = 0
    size: int = 0
    killed: int = 0
    faults: list[str] = field(default_factory=list)


def trial(processes, blobs, kills, seed):
    choice, outcome = random.Random(seed), Outcome()
    contents = [choice.randbytes(choice.randrange(256 << 10, 2 << 20)) for _ in range(blobs)]
    outcome.size = sum(map(len, contents))
    with tempfile.TemporaryDirectory() as folder, Registry(contents) as registry:
        alive, number = {}, 0

        def begin():
            nonlocal number
            number += 1
            order = [f"{folder}/cache", registry.host, str(number), *registry.blobs]
            command = [sys.executable, "-m", "tests.client.caches.kills", "pull"]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            alive[str(number)] = subprocess.Popen([*command, *order], **pipes)
            return alive[str(number)]

        for _ in range(processes):
            begin()
        for process in alive.values():
            process.stdout.readline()
        for process in alive.values():
            process.stdin.close()
        for at in sorted(choice.randrange(PIECE, outcome.size) for _ in range(kills)):
            busy = registry.wait_for(at)
            victim = alive.pop(choice.choice([one for one in busy if one in alive] or [*alive]))
            victim.kill()
            outcome.killed += victim.wait() != 0
            victim.stdout.close()
            begin().stdin.close()
        for process in alive.values():
            if process.wait() != 0:
                outcome.faults.append(f"a process ended with {process.returncode}")
            process.stdout.close()
        judge(outcome, registry, Path(folder) / "cache")
        registry.shutdown()
    return outcome


def judge(outcome, registry, folder):
    starts = registry.starts.values()
    outcome.asked = sum(map(len, starts))
    outcome.again = sorted(start for one in starts for start in one[1:])
    outcome.sent = registry.sent
    if min(map(len, starts)) < 1:
        outcome.faults.append("a blob was never asked for")
    if outcome.asked > len(starts) + outcome.killed:
        outcome.faults.append(
            f"{outcome.asked} starts for {len(starts)} blobs, {outcome.killed} kills"
        )
    cache = sync.BlobCache.open(folder)
    checked = cache.verify()
    if checked.damaged or sorted(map(str, cache.digests())) != sorted(registry.blobs):
        outcome.faults.append(f"the cache has other blobs: {checked}")
    cache.put(b"of a later run")
    known = {"CACHEDIR.TAG", "wasmhold-cache.json"}
    for above, _, names in os.walk(folder):
        kept = Path(above).relative_to(folder).parts == ("blobs", "sha256")
        outcome.faults += [
            f"{above}/{name} is left" for name in names if not kept and name not in known
        ]


def main(processes, blobs, kills, seed):
    outcome = trial(processes, blobs, kills, seed)
    print(
        f"{processes} processes, {blobs} blobs of {outcome.size:,} bytes, {outcome.killed} killed, "
        f"seed {seed}: {outcome.asked} starts, {outcome.sent:,} bytes sent"
    )
    print("further starts at bytes:", *outcome.again)
    print("faults:", *outcome.faults or ["none"])
    return len(outcome.faults)


if __name__ == "__main__":
    if sys.argv[1] == "pull":
        pull(*sys.argv[2:5], sys.argv[5:])
    else:
        sys.exit(bool(main(*map(int, sys.argv[1:]))))
