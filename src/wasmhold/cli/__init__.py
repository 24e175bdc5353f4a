"""The commands; the only place that reads the environment and wires parts together."""

from __future__ import annotations

import sys
from typing import Final

from .. import __version__

_COMMANDS: Final = {
    "fsck": "wasmhold.cli.commands.fsck:fsck",
    "gc": "wasmhold.cli.commands.gc:gc",
    "hash": "wasmhold.cli.commands.hash:hash_",
    "serve": "wasmhold.cli.commands.serve:serve",
    "version": "wasmhold.cli.commands.version:version",
}


def main() -> None:
    """The program `wasmhold`."""
    if sys.argv[1:] in (["--version"], ["version"]):
        print(f"wasmhold {__version__}")
        return
    from .group import run

    sys.exit(run(_COMMANDS))
