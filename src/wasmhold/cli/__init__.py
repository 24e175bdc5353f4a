"""The commands; the only place that reads the environment and wires parts together."""

from __future__ import annotations

import gc
import sys
from typing import Final

from .. import __version__

# Where each command stands, and its line in the help, which imports none of them.
COMMANDS: Final = {
    "attach": ("commands.attach:attach", "push an artifact that refers to another"),
    "blob": ("commands.blob:blob", "get or put a blob as it is"),
    "cache": ("commands.cache:cache", "look at the content cache, and clear it up"),
    "completion": ("commands.completion:completion", "print the completion script of a shell"),
    "convert": ("commands.convert:convert", "push WebAssembly again in another format"),
    "copy": ("commands.copy:copy", "copy content from place to place"),
    "delete": ("commands.delete:delete", "delete a tag, or a manifest by its digest"),
    "doctor": ("commands.doctor:doctor", "say what is wrong between us and a place"),
    "export": ("commands.export:export", "write an image as a layout or docker archive"),
    "fsck": ("commands.fsck:fsck", "check every byte and every reference"),
    "gc": ("commands.gc:gc", "remove what nothing refers to"),
    "hash": ("commands.hash:hash_", "make a line of a password file"),
    "import": ("commands.import_:import_", "take in what other tools have saved"),
    "inspect": ("commands.inspect:inspect", "say what a file or a place holds"),
    "login": ("commands.login:login", "log in to a registry"),
    "logout": ("commands.logout:logout", "log out of a registry"),
    "manifest": ("commands.manifest:manifest", "get or put a manifest as it is"),
    "package": ("commands.package:package", "list, show and get packages by their names"),
    "pack": ("commands.pack:pack", "pack files as a layer of an image"),
    "pull": ("commands.pull:pull", "pull an artifact into a file or folder"),
    "push": ("commands.push:push", "push files as an artifact"),
    "referrers": ("commands.referrers:referrers", "show what refers to an artifact, as a tree"),
    "repos": ("commands.repos:repos", "list the repositories of a registry"),
    "resolve": ("commands.resolve:resolve", "print the digest of a tag"),
    "serve": ("commands.serve:serve", "run the registry"),
    "tag": ("commands.tag:tag", "point tags at what is there"),
    "tags": ("commands.tags:tags", "list the tags of a repository"),
    "unpack": ("commands.unpack:unpack", "unpack an image into a folder"),
    "version": ("commands.version:version", "say which version this is"),
    "warg-loader": ("compat.warg_loader:warg_loader", "the command line of warg-loader"),
    "wasm": ("commands.wasm:wasm", "export, push, check and describe WebAssembly"),
    "wasm-to-oci": ("compat.wasm_to_oci:wasm_to_oci", "the command line of wasm-to-oci"),
}


def main() -> None:
    """The program `wasmhold`."""
    if sys.argv[1:] in (["--version"], ["version"]):
        print(f"wasmhold {__version__}")
        return
    # What a start makes stays until the end: to look for garbage in it took a seventh of the time.
    # `LazyGroup.get_command` lets it be looked for again.
    gc.disable()
    from .group import run

    sys.exit(run(COMMANDS))
