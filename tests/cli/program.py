"""The program, run inside of this process."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from click.testing import CliRunner

from wasmhold.cli import COMMANDS
from wasmhold.cli.group import run


@dataclass(frozen=True)
class Ran:
    """What came of it; `out` and `err` are text, `content` the bytes of standard output."""

    status: int
    content: bytes
    err: str

    @property
    def out(self) -> str:
        return self.content.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def wasmhold(
    *arguments: str | Path, given: bytes = b"", variables: Mapping[str, str] | None = None
) -> Ran:
    """``wasmhold ARGUMENTS``; `given` is standard input."""
    environment = {"HOME": os.devnull, "DOCKER_CONFIG": "/nowhere", **(variables or {})}
    argv = ["wasmhold", *map(str, arguments)]
    with (
        CliRunner().isolation(given, environment) as (out, err, _),
        mock.patch.object(sys, "argv", argv),
    ):
        status = run(COMMANDS)
        sys.stdout.flush()
        return Ran(status, out.getvalue(), err.getvalue().decode())


def done(*arguments: str | Path, **how: Any) -> Ran:
    """The same, which must end well."""
    ran = wasmhold(*arguments, **how)
    assert ran.status == 0, ran.err
    return ran
