"""Registries for tests of the client: other programs, and how to talk to them."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.registries import Server
from wasmhold.client.credentials import Credentials
from wasmhold.client.network import Network
from wasmhold.client.places.remote import RemoteRepository
from wasmhold.client.runtime import ThreadRuntime
from wasmhold.client.transport import HttpTransport, Options
from wasmhold.ports.runtime import ClientRuntime
from wasmhold.servers.asgi import SystemRandomness


class Hurried(ThreadRuntime):
    """Writes down how long it was to wait, and does not."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []
        self.ahead = 0.0  # seconds that the clock goes before the machine's
        self.now = lambda: time.time() + self.ahead

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


class Client:
    """A network of its own; `told` are its warnings."""

    def __init__(
        self,
        options: Options | None = None,
        *,
        plain_http: tuple[str, ...] = (),
        retries: int = 3,
        runtime: ClientRuntime | None = None,
    ) -> None:
        self.told: list[str] = []
        self.runtime = runtime or Hurried()
        self.transport = HttpTransport(options)
        self.network = Network(
            self.transport,
            self.runtime,
            SystemRandomness(),
            self.told.append,
            plain_http=plain_http,
            retries=retries,
        )

    def repository(
        self,
        host: str,
        name: str = "demo/app",
        credentials: Credentials | None = None,
        *,
        to_write: bool = False,
    ) -> RemoteRepository:
        return RemoteRepository(self.network, host, name, credentials, to_write=to_write)


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"not on PATH: {program}")


@contextmanager
def client(options: Options | None = None, **settings: object) -> Iterator[Client]:
    made = Client(options, **settings)
    try:
        yield made
    finally:
        made.transport.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@contextmanager
def program(command: list[str], port: int, log: Path) -> Iterator[Server]:
    """A server of another program, from when it accepts connections."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + 30
        while True:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.02)
        yield Server(process, f"http://127.0.0.1:{port}/", log)
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def olareg(folder: Path, *flags: str, port: int | None = None) -> Iterator[Server]:
    port = port or free_port()
    command = ["olareg", "serve", "--store-type", "mem", "--addr", "127.0.0.1", "--port", str(port)]
    command += ["--api-delete", "--api-blob-delete", *flags]
    with program(command, port, folder / "olareg.log") as server:
        yield server


@contextmanager
def distribution(folder: Path, more: str = "") -> Iterator[Server]:
    port = free_port()
    config = folder / "distribution.yml"
    config.write_text(
        f"version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {folder / 'distribution'}\n"
        "  delete:\n    enabled: true\n"
        f"http:\n  addr: 127.0.0.1:{port}\n  secret: tests\n"
        f"log:\n  level: error\n  accesslog:\n    disabled: true\n{more}"
    )
    command = ["distribution", "serve", str(config)]
    with program(command, port, folder / "distribution.log") as server:
        yield server
