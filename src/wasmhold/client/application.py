"""An application of Spin becomes files: its components, what they read, and its lock.

Each file is verified before it has its name, and the lock comes last: where it is, all of them are.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Final

from ..artifact import Reading
from ..artifact.formats.spin_application import ARCHIVE, LOCK, Application, Content
from ..artifact.titles import safe_title
from ..oci.digest import Digest, hasher
from ..oci.errors import ArtifactInvalid
from ..oci.limits import MIB
from ..oci.media_types import without_parameters
from ..ports.repository import Repository
from ..ports.runtime import ClientRuntime
from .events import Listener
from .output import fetch, read_small
from .places.files import Folder, Staged
from .unpack import read_files

_PIECE: Final = MIB


async def read_application(
    source: Repository, reading: Reading, runtime: ClientRuntime
) -> tuple[bytes, Application]:
    """Raises ArtifactInvalid; CopyFailed."""
    assert reading.lock is not None
    lock = await read_small(source, reading.lock, runtime)
    return lock, Application.parse(lock)


async def pull_application(
    source: Repository,
    reading: Reading,
    folder: str,
    name: str,
    runtime: ClientRuntime,
    listener: Listener,
) -> list[str]:
    """The names of the files below `folder`; `name` is how errors call the application.

    Raises ArtifactInvalid for names that would leave the folder, and for content that is nowhere;
    CopyFailed; Cancelled.
    """
    lock, application = await read_application(source, reading, runtime)
    _check(application)
    missing: dict[Digest, list[str]] = {}
    for path, content in application.files.items():
        missing.setdefault(content.digest, []).append(path)
    inline = {c.digest: c for c in application.files.values() if c.inline is not None}
    target = Folder(folder)
    try:
        await runtime.offload(target.sweep)
        await runtime.offload(target.unlink, LOCK)
        for digest in [*missing]:
            if digest in inline:
                await runtime.offload(_write, target, missing.pop(digest), inline[digest])
        archives = []
        for layer in reading.layers:
            if layer.digest in missing:
                with _staged(target) as staged:
                    await fetch(source, layer, staged.write, runtime, listener)
                    await runtime.offload(_place, target, staged, missing.pop(layer.digest))
            elif without_parameters(layer.media_type) == ARCHIVE:
                archives.append(layer)
        for layer in archives:
            with tempfile.TemporaryFile() as packed:
                await fetch(source, layer, packed.write, runtime, listener)
                await runtime.offload(_unpack, packed, f"{name}, {layer.digest}", target, missing)
        if missing:
            digest, paths = next(iter(missing.items()))
            raise ArtifactInvalid(f"{name} does not hold the content of {paths[0]}, {digest}")
        await runtime.offload(target.sync, *{path.rpartition("/")[0] for path in application.files})
        await runtime.offload(target.write, LOCK, lock)
    finally:
        target.close()
    return [*application.files, LOCK]


def _check(application: Application) -> None:
    folders: set[str] = set()
    for path in application.files:
        folders.update(safe_title(path)[:at] for at, c in enumerate(path) if c == "/")
    if clash := folders & {LOCK, *application.files}:
        raise ArtifactInvalid(f"{min(clash)!r} would be a file, and a folder too")


@contextmanager
def _staged(folder: Folder) -> Iterator[Staged]:
    staged = folder.stage()
    try:
        yield staged
    finally:
        staged.close()


def _write(folder: Folder, paths: Sequence[str], content: Content) -> None:
    for path in paths:
        with _staged(folder) as staged:
            staged.write(content.inline or b"")
            staged.place(path)


def _place(folder: Folder, staged: Staged, paths: Sequence[str]) -> None:
    """Under each of the names, as a file of its own."""
    for path in paths[1:]:
        with _staged(folder) as copy:
            at = 0
            while piece := os.pread(staged.descriptor, _PIECE, at):
                copy.write(piece)
                at += len(piece)
            copy.place(path)
    staged.place(paths[0])


def _unpack(packed: IO[bytes], what: str, folder: Folder, missing: dict[Digest, list[str]]) -> None:
    """Place what is in an archive and is missing; its own names in there are not used."""
    for content in read_files(packed, what):
        running = hasher()
        with _staged(folder) as staged:
            for piece in content:
                running.update(piece)
                staged.write(piece)
            paths = missing.pop(Digest("sha256", running.hexdigest()), None)
            if paths is not None:
                _place(folder, staged, paths)
