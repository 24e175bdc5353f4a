"""The commands; the only place that reads the environment and wires parts together."""

from __future__ import annotations

import sys
from typing import Final

from .. import __version__

COMMANDS: Final = {
    "attach": "wasmhold.cli.commands.attach:attach",
    "blob": "wasmhold.cli.commands.blob:blob",
    "completion": "wasmhold.cli.commands.completion:completion",
    "copy": "wasmhold.cli.commands.copy:copy",
    "delete": "wasmhold.cli.commands.delete:delete",
    "fsck": "wasmhold.cli.commands.fsck:fsck",
    "gc": "wasmhold.cli.commands.gc:gc",
    "hash": "wasmhold.cli.commands.hash:hash_",
    "inspect": "wasmhold.cli.commands.inspect:inspect",
    "login": "wasmhold.cli.commands.login:login",
    "logout": "wasmhold.cli.commands.logout:logout",
    "manifest": "wasmhold.cli.commands.manifest:manifest",
    "pull": "wasmhold.cli.commands.pull:pull",
    "push": "wasmhold.cli.commands.push:push",
    "referrers": "wasmhold.cli.commands.referrers:referrers",
    "repos": "wasmhold.cli.commands.repos:repos",
    "resolve": "wasmhold.cli.commands.resolve:resolve",
    "serve": "wasmhold.cli.commands.serve:serve",
    "tag": "wasmhold.cli.commands.tag:tag",
    "tags": "wasmhold.cli.commands.tags:tags",
    "version": "wasmhold.cli.commands.version:version",
    "warg-loader": "wasmhold.cli.compat.warg_loader:warg_loader",
    "wasm-to-oci": "wasmhold.cli.compat.wasm_to_oci:wasm_to_oci",
}


def main() -> None:
    """The program `wasmhold`."""
    if sys.argv[1:] in (["--version"], ["version"]):
        print(f"wasmhold {__version__}")
        return
    from .group import run

    sys.exit(run(COMMANDS))
