"""Opening a directory as a store.  It depends on nothing that is stored."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from ...oci.errors import StoreUnavailable
from ...ports.runtime import Randomness
from . import paths
from .files import Exists, Files, Held

FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Root:
    """A store that this process has open."""

    tmp: str  # our folder for what is not finished
    held: tuple[Held, ...]


async def enter(files: Files, randomness: Randomness) -> Root:
    """Take part in the store, or make one.

    Raises StoreUnavailable when its format is not known here, or somebody has it alone.
    """
    folders = (paths.META, paths.POOL, paths.TMP, paths.UPLOADS, paths.COMMITTED, paths.DIRTY)
    for folder in folders:
        await files.make_folder(folder)
    await _check_format(files, randomness)
    try:
        await files.create(paths.IN_USE, b"")
    except Exists:
        pass
    in_use = await files.lock(paths.IN_USE, exclusive=False, wait=False)
    if in_use is None:
        raise StoreUnavailable("another program uses this directory alone: stop that first")
    while True:
        tmp = f"{paths.TMP}/{randomness.token(16).hex()}"
        await files.make_folder(tmp)
        await files.create(f"{tmp}/lock", b"")
        # Before we have it a collector may take it for what a dead process left.
        lock = await files.lock(f"{tmp}/lock", exclusive=True)
        if lock is not None:
            break
    await files.sync_folder(paths.META)
    await files.sync_folder(".")
    return Root(tmp, (in_use, lock))


async def leave(files: Files, root: Root) -> None:
    """Take our folder away, as far as it is empty, and let go of the store."""
    for name in await files.names(root.tmp) or []:
        await files.unlink(f"{root.tmp}/{name}")
    await files.remove_folder(root.tmp)
    for held in root.held:
        await files.unlock(held)


async def _check_format(files: Files, randomness: Randomness) -> None:
    content = await files.read(paths.FORMAT)
    if content is None:
        tmp = f"{paths.TMP}/{randomness.token(16).hex()}"
        try:
            await files.create(tmp, json.dumps({"format": FORMAT}).encode() + b"\n")
            await files.sync(tmp)
            await files.link(tmp, paths.FORMAT)
        except Exists:
            pass
        finally:
            await files.unlink(tmp)
        content = await files.read(paths.FORMAT) or b""
    try:
        found = json.loads(content)["format"]
    except (ValueError, KeyError, TypeError):
        found = None
    if found != FORMAT:
        raise StoreUnavailable(
            f"{paths.FORMAT} says format {found}, this version knows {FORMAT}: "
            "use the version that wrote it"
        )
