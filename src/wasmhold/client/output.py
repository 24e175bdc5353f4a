"""What is fetched becomes a file: hashed while it is written, and named when it is whole."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from ..oci import limits
from ..oci.descriptor import Descriptor
from ..oci.errors import ArtifactInvalid, DigestMismatch, SizeInvalid, WasmholdError
from ..ports.repository import Repository
from ..ports.runtime import ClientRuntime, Runtime, obtained
from .events import Finished, Listener, Side, Started, nobody
from .failure import CopyFailed
from .places.files import Folder, Staged, translated
from .reader import Reader, anew_if_damaged
from .verify import pour


async def fetch(
    source: Repository,
    descriptor: Descriptor,
    write: Callable[[bytes], object],
    runtime: ClientRuntime,
    listener: Listener,
) -> None:
    """Give the verified bytes of a blob to `write`; what breaks goes on from there.

    The digest is known at the end alone.  Raises CopyFailed (source); Cancelled; what `write`
    raises.
    """
    listener(Started(Side.SOURCE, descriptor))
    reader = Reader(source, descriptor, runtime, listener, lambda: False)
    try:
        await pour(reader, descriptor, runtime, write)
    except WasmholdError as error:
        # What `write` raised, a full disk, is not the source's fault.
        if reader.failed is not None or isinstance(error, DigestMismatch | SizeInvalid):
            step = f"reading blob {descriptor.digest}"
            raise CopyFailed(Side.SOURCE, source.place, step, reader.failed or error) from error
        raise
    listener(Finished(Side.SOURCE, descriptor))


async def fetch_file(
    source: Repository,
    descriptor: Descriptor,
    path: str,
    runtime: ClientRuntime,
    listener: Listener,
    mode: int = 0o644,
) -> None:
    """The blob as the file `path`, whose folder is there; a file that was there keeps its mode.

    Raises as `fetch`; Denied, OutOfSpace, StoreUnavailable of the file system.
    """

    async def write_file() -> None:
        async with new_file(path, mode, runtime) as write:
            await fetch(source, descriptor, write, runtime, listener)

    await anew_if_damaged(source, write_file)


async def read_small(source: Repository, descriptor: Descriptor, runtime: ClientRuntime) -> bytes:
    """A config: a blob that is known to be small.  Raises ArtifactInvalid for a large one."""
    if descriptor.size > limits.MANIFEST:
        raise ArtifactInvalid(f"{source.place}: a config of {descriptor.size} bytes is not read")
    content = bytearray()
    await fetch(source, descriptor, content.extend, runtime, nobody)
    return bytes(content)


@asynccontextmanager
async def new_file(
    path: str, mode: int, runtime: Runtime
) -> AsyncIterator[Callable[[bytes], object]]:
    """Gives what writes; the file has its name when the block ends, and never when it raises.

    The name may be a symbolic link: then it is the file behind it that is written.
    """
    folder, name = target_of(path)
    target = Folder(folder)
    try:
        await runtime.offload(target.sweep)
        staged = await obtained(runtime, partial(target.stage, mode), Staged.close)
        try:
            yield staged.write
            with translated(path):
                kept = _mode_of(path)
                if kept is not None:
                    os.fchmod(staged.descriptor, kept)
            await runtime.offload(staged.place, name)
            target.sync("")
        finally:
            staged.close()
    finally:
        target.close()


def target_of(path: str) -> tuple[str, str]:
    """Folder and name of the file `path`, links followed.

    Raises ArtifactInvalid where it cannot become a file.
    """
    if os.path.isdir(path):
        raise ArtifactInvalid(f"{path} is a folder: name a file")
    if os.path.exists(path) and not os.path.isfile(path):
        # To take the place of a device or a pipe is not to write to it.
        raise ArtifactInvalid(f"{path} is no regular file: name one, or a new one")
    folder, name = os.path.split(os.path.realpath(path))
    if not os.path.isdir(folder):
        raise ArtifactInvalid(f"cannot write {path}: there is no folder {folder}")
    return folder, name


def _mode_of(path: str) -> int | None:
    """The mode of the file that is there, without what would give its new content rights."""
    try:
        return os.stat(path).st_mode & 0o777
    except OSError:
        return None
