"""What an attacker sends, from a seed: ``python -m tests.servers.hostile [N] [SEED] [WORKERS]``.

A server on a directory gets N requests (10,000 by default) of the kinds below, while good clients
push, pull and delete beside them, and each of their answers must be right.  At the end the counts
of the answers are printed, by kind and status.
"""

from __future__ import annotations

import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.registries import Server, serving
from tests.servers.hostile_requests import EMPTY, KINDS, MIB, SECRET
from tests.servers.test_kills import Pusher
from wasmhold.testing.senders import to_url
from wasmhold.testing.transcript import Answer, Exchange, parse, replay

TRANSCRIPTS = Path(__file__).parent.parent / "data" / "protocol"
THREADS = 6

# Of a traceback, or of where the program and its data are; the store's root comes to it.
TELLTALES = (b"Traceback", b'File "', b"site-packages", b".wasmhold", b"/wasmhold/")

_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3}) [^\r\n]*\r\n[a-z-]+: ")


def recorded(server: Server) -> list[Exchange]:
    """The requests of the transcripts, as `server` got them, and some to open sessions.

    The digest of no bytes is what a manifest's config may name: it is there.
    """
    requests: list[Exchange] = []
    with to_url(server.url) as send:

        def keep(exchange: Exchange) -> Answer:
            requests.append(exchange)
            return send(exchange)

        for file in sorted(TRANSCRIPTS.glob("*.http")):
            transcript = parse(file.read_text(), file.stem)
            if not transcript.settings:
                replay(transcript, keep, repo=f"fuzz/{file.stem}")
        keep(
            Exchange("POST", f"/v2/fuzz/documents/blobs/uploads/?digest={EMPTY}", [], [b""], False)
        )
        for number in range(20):
            opened = Exchange("POST", "/v2/fuzz/open/blobs/uploads/", [], None, False)
            at = dict(send(opened).headers)["location"]
            requests.append(Exchange("PATCH", at, [("Content-Range", "0-4")], [b"hello"], False))
            requests.append(Exchange("PATCH", at, [], [b"hello" * number, b"x"], is_chunked=True))
            requests.append(Exchange("GET", at, [], None, False))
    return requests


def talk(port: int, data: bytes, chance: random.Random) -> bytes | None:
    """Send `data` and take what comes until the server ends the connection.

    None: it was still open 10 s after we said that nothing follows.
    """
    answer = b""
    with socket.create_connection(("127.0.0.1", port), 10) as connection, suppress(ConnectionError):
        try:
            connection.sendall(data)
            if chance.random() < 0.05:
                return b""  # gone without a look at the answer
            connection.settimeout(0.15)
            with suppress(TimeoutError):
                while piece := connection.recv(MIB):
                    answer += piece
                return answer
            connection.settimeout(10)
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(MIB):
                answer += piece
        except TimeoutError:
            return None
    return answer


@dataclass
class Attack:
    """Requests of all kinds in turn, by several threads; each request depends on the seed alone."""

    server: Server
    valid: Sequence[Exchange]
    requests: int
    seed: int
    telltales: Sequence[bytes]
    statuses: dict[str, Counter[str]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def run(self) -> None:
        self.statuses = {make.__name__: Counter() for make in KINDS}
        numbers = iter(range(self.requests))
        lock = threading.Lock()

        def work() -> None:
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                self.one(number, lock)

        threads = [threading.Thread(target=work) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def one(self, number: int, lock: threading.Lock) -> None:
        make = KINDS[number % len(KINDS)]
        chance = random.Random(f"{self.seed} {number}")
        data = make(chance, self.valid)
        try:
            answer = talk(self.server.port, data, chance)
        except OSError as error:
            answer, wrong = b"", [repr(error)]
        else:
            wrong = self.judge(data, answer)
        found = ["open"] if answer is None else [s.decode() for s in _STATUS.findall(answer)]
        with lock:
            self.statuses[make.__name__].update(found or ["none"])
            for what in wrong:
                self.faults.append(
                    f"{make.__name__} {number}: {what}: {data[:300]!r}: {answer!r:.900}"
                )

    def judge(self, data: bytes, answer: bytes | None) -> list[str]:
        if answer is None:
            return ["the connection stays open"]
        # What is wrong in a name may be told again, but never a secret.
        told = [t for t in self.telltales if t == SECRET or t not in data]
        wrong = [f"it has {text!r}" for text in told if text in answer]
        return wrong + [f"status {s.decode()}" for s in _STATUS.findall(answer) if s[:1] == b"5"]

    def report(self) -> str:
        lines = []
        for kind, counts in self.statuses.items():
            told = " ".join(f"{status}:{count}" for status, count in sorted(counts.items()))
            lines.append(f"{kind:<12}{told}")
        total = sum(self.statuses.values(), Counter())
        told = " ".join(f"{status}:{count}" for status, count in sorted(total.items()))
        return "\n".join([*lines, f"{'all':<12}{told}"])


class Good(Pusher):
    """A client that gets every answer, and the right one."""

    wrong: BaseException | None = None
    login: str | None = None

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        if self.login is not None:
            headers["Authorization"] = self.login
        return super().ask(method, path, body, **headers)

    def run(self) -> None:
        try:
            while not self.stopping.is_set():
                for _ in range(5):
                    self.step()
                self.verify()
            self.verify()
        except BaseException as error:
            self.wrong = error
        self.hang_up()


@contextmanager
def good_clients(server: Server, count: int = 2, login: str | None = None) -> Iterator[list[Good]]:
    """Clients that push, pull and delete; raises what was wrong with one of their answers."""
    stopping = threading.Event()
    clients = [Good(f"good{i}", i, [server.port], stopping) for i in range(count)]
    for client in clients:
        client.login = login
    threads = [threading.Thread(target=client.run) for client in clients]
    for thread in threads:
        thread.start()
    try:
        yield clients
    finally:
        stopping.set()
        for thread in threads:
            thread.join()
    for client in clients:
        if client.wrong is not None:
            raise AssertionError(f"{client.name} was not served") from client.wrong
        assert client.faults == []
        assert client.acknowledged > 0


def descriptors(server: Server) -> int:
    """How many the server and its workers have open."""
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in server.pids())


def damage(root: Path) -> str:
    """What `wasmhold fsck` finds, empty when nothing is wrong."""
    command = [sys.executable, "-m", "wasmhold", "fsck", "--root", str(root), "--json"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300)
    return "" if ran.returncode == 0 else ran.stdout + ran.stderr


def strange_lines(log: Path, telltales: Sequence[bytes]) -> list[bytes]:
    """Lines of a JSON log that are no JSON, or that tell what no log may."""
    strange = []
    for line in log.read_bytes().splitlines():
        is_ours = line.startswith(b"wasmhold: serving ")
        if not is_ours and (line[:1] != b"{" or any(told in line for told in telltales)):
            strange.append(line)
    return strange


def attack(root: Path, requests: int, seed: int, workers: int) -> str:
    """The whole of it; raises AssertionError with what is wrong, else a report."""
    flags = ("--log", "json", "--workers", str(workers), "--min-free", "0")
    with serving(*flags, store=("--root", str(root))) as server:
        valid = recorded(server)
        telltales = (SECRET, str(root).encode(), *TELLTALES)
        warm = Attack(server, valid, 300, seed + 1, telltales)
        warm.run()
        pids, before, held = server.pids(), server.memory(), descriptors(server)
        found = Attack(server, valid, requests, seed, telltales)
        with good_clients(server) as clients:
            found.run()
        after = server.memory()
        print(found.report())
        assert not found.faults, f"{len(found.faults)}:\n" + "\n".join(found.faults[:10])
        assert server.pids() == pids, "a worker died"
        assert after - before < 64 * MIB, f"{(after - before) / MIB:.0f} MiB more than before"
        assert descriptors(server) < held + 16
        assert server.stop() == 0
        log = server.log.read_bytes()
        strange = strange_lines(server.log, (SECRET, b"Traceback"))
        assert not strange, b"\n".join(strange[:60]).decode(errors="replace")
        lines = log.count(b"\n")
    assert damage(root) == ""
    served = sum(client.acknowledged for client in clients)
    return (
        f"{requests} hostile requests, {workers} workers: {served} changes of good clients, "
        f"{(after - before) / MIB:+.1f} MiB, {lines} lines in the log"
    )


def main() -> None:
    requests, seed, workers = [*map(int, sys.argv[1:]), *[10_000, 1, 1][len(sys.argv) - 1 :]]
    with tempfile.TemporaryDirectory() as folder:
        print(attack(Path(folder), requests, seed, workers))


if __name__ == "__main__":
    main()
