"""Registries for tests: without a socket, over ASGI, and as real server processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from wasmhold.cli.commands.serve import serve
from wasmhold.cli.options.serve import OPTIONS
from wasmhold.cli.options.sources import resolve
from wasmhold.cli.plan import Plan
from wasmhold.cli.planning import plan_of
from wasmhold.faults import Faults
from wasmhold.ports.runtime import Inline
from wasmhold.registry import Registry
from wasmhold.servers.application import Application
from wasmhold.servers.asgi import SystemRandomness
from wasmhold.stores.memory import MemoryStore


def plan(settings: Sequence[str] = ()) -> Plan:
    """The plan of a transcript's settings, which are named as the flags of `serve` are."""
    given, faults = flags(settings)
    params = serve.make_context("serve", ["--memory", "--log", "off", *given]).params
    made = plan_of(resolve(OPTIONS, params, {}))
    return replace(made, faults=tuple(tuple(rule.split(" ", 1)) for rule in faults))


def application(settings: Sequence[str] = ()) -> Application:
    """The application with a memory store that never waits: driven without a loop."""
    made = plan(settings)
    faults = Faults() if made.faults else None
    for kind, error in made.faults:
        faults.simulate(kind, error)
    store = MemoryStore(Inline(time.time, time.sleep), SystemRandomness())
    return Application(Registry(store, made.settings), faults=faults, warnings=made.warnings)


@dataclass
class Server:
    """A running `wasmhold serve`; `url` ends with a slash."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    @property
    def port(self) -> int:
        return int(self.url.rstrip("/").rpartition(":")[2])

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def pids(self) -> list[int]:
        """The process and its workers."""
        out, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            out.append(pid)
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                todo += map(int, task.read_text().split())
        return out

    def memory(self, *, of_workers: bool = False) -> int:
        """Resident bytes of the process and its workers, shared pages counted once (PSS)."""
        total = 0
        for pid in self.pids()[1 if of_workers else 0 :]:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        return total

    def cpu_s(self) -> float:
        """Seconds of CPU, user and system, of the process and its workers."""
        total = 0
        for pid in self.pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total / os.sysconf("SC_CLK_TCK")

    def stop(self) -> int:
        """SIGTERM, then the exit status; what is left after 60 s is killed."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()


@contextmanager
def serving(
    *flags: str, faults: Sequence[str] = (), store: Sequence[str] = ("--memory",)
) -> Iterator[Server]:
    """``wasmhold serve`` on a free port, with this store and these further flags."""
    with tempfile.TemporaryDirectory() as folder:
        if faults:
            rules = Path(folder, "faults.toml")
            rules.write_text(
                "".join(
                    f'[[fault]]\noperation = "{kind}"\nerror = "{error}"\n'
                    for kind, error in (rule.split(" ", 1) for rule in faults)
                )
            )
            flags = (*flags, "--faults", str(rules))
        command = ["wasmhold", "serve", *store, "--listen", "127.0.0.1:0", *flags]
        with _running(*command, "--ready-file", folder=Path(folder)) as server:
            yield server


@contextmanager
def impatient(*arguments: str) -> Iterator[Server]:
    """The server of `tests.servers.impatient`."""
    with tempfile.TemporaryDirectory() as folder:
        with _running("tests.servers.impatient", folder=Path(folder), behind=arguments) as server:
            yield server


@contextmanager
def _running(*module: str, folder: Path, behind: Sequence[str] = ()) -> Iterator[Server]:
    """``python -m MODULE… READY_FILE BEHIND…``, from when it accepts connections."""
    ready, log = folder / "ready", folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", *module, str(ready), *behind], stdout=out, stderr=out
        )
    server = Server(process, "", log)
    try:
        deadline = time.monotonic() + 30
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the server did not start: {log.read_text()}")
            time.sleep(0.01)
        server.url = ready.read_text().strip()
        yield server
    finally:
        if process.poll() is None:
            server.kill()


def flags(settings: Sequence[str]) -> tuple[list[str], list[str]]:
    """A transcript's settings as flags of `serve`, and its faults."""
    out, faults = [], []
    for setting in settings:
        key, equals, value = setting.partition("=")
        if key == "fault":
            faults.append(value)
        else:
            out += [f"--{key}", *([value] if equals else [])]
    return out, faults
