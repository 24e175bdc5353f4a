"""An S3 server for tests: versitygw over a folder, which may stop and come back."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Self

import pytest

ACCESS_KEY = "test-access-key"
SECRET_KEY = "test-secret-key"

needs_versitygw = pytest.mark.skipif(
    shutil.which("versitygw") is None, reason="not on PATH: versitygw"
)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


class Gateway:
    """Buckets are the folders of `root`; `options` is what `connect` wants to know."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.root.mkdir(parents=True, exist_ok=True)
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def options(self) -> dict[str, Any]:
        return {
            "endpoint": f"http://127.0.0.1:{self.port}",
            "access_key_id": ACCESS_KEY,
            "secret_access_key": SECRET_KEY,
        }

    def make_bucket(self, name: str) -> Path:
        (self.root / name).mkdir()
        return self.root / name

    def start(self, *flags: str) -> None:
        keys = ("--access", ACCESS_KEY, "--secret", SECRET_KEY)
        where = ("--port", f"127.0.0.1:{self.port}")
        flags = ("--quiet", *flags, *keys, *where)
        command = [str(shutil.which("versitygw")), *flags, "posix", self.root]
        with (self.root.parent / f"{self.root.name}.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while not self._answers():
            assert self._process.poll() is None, "versitygw has ended"
            assert time.monotonic() < deadline, "versitygw does not answer"
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(20)
