"""A store's directory, opened by a command that is no server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import click

from ..oci.errors import WasmholdError
from ..ports.runtime import Inline, run
from ..servers.asgi import SystemRandomness
from ..stores.directory import paths
from ..stores.directory.files import FilesError
from ..stores.directory.flock import flock
from ..stores.directory.native import NativeFiles
from ..stores.directory.root import enter, leave
from ..stores.directory.store import DirectoryStore
from .group import CommandFailed

# The option of every command that works on one.
ROOT: Final = click.option(
    "--root",
    metavar="DIR",
    type=click.Path(path_type=Path),
    required=True,
    help="The directory that is served, or was.",
)


class NotHere(CommandFailed):
    """The thing that was named is not there."""

    exit_code = 3


@contextmanager
def opened(root: Path) -> Iterator[DirectoryStore]:
    """The store in `root`, beside servers that have it open too.

    What it tells goes to standard error.  Raises NotHere where there is none; CommandFailed for
    what the store raises.
    """
    if not (root / paths.FORMAT).exists():
        raise NotHere(
            f"{root} is no directory that wasmhold serves",
            f"wasmhold serve --root {root} makes it one",
        )
    runtime, randomness = Inline(time.time, time.sleep), SystemRandomness()
    try:
        with closing(NativeFiles(str(root), runtime, locks=flock)) as files:
            entered = run(enter(files, randomness))
            try:
                store = DirectoryStore(files, runtime, randomness, entered, _tell)
                yield store
                run(store.settle())
            finally:
                run(leave(files, entered))
    except (WasmholdError, FilesError) as error:
        raise CommandFailed(
            f"cannot use {root}: {error}", "the same command can be given again"
        ) from None


def _tell(line: str) -> None:
    click.echo(line, err=True)
