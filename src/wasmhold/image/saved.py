"""What other tools have saved, wherever it is, opened as a repository."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager
from typing import Final, Protocol, TypeAlias

from ..client.opening import Opener
from ..client.output import new_file
from ..client.places.archive import ImportLimits
from ..client.places.docker import open_any_archive
from ..client.places.files import translated
from ..client.places.indexed import IndexedRepository
from ..client.places.layout import open_layout
from ..client.urls import fetch_url
from ..oci.errors import ContentDamaged, Fault, FileInvalid, LimitExceeded
from ..oci.limits import MIB

_PIECE: Final = MIB  # bytes that are copied at once


class Reader(Protocol):
    """A stream that an archive is read from."""

    def read(self, size: int, /) -> bytes: ...


# A path, a URL, the bytes of an archive, or a stream of them.
Source: TypeAlias = str | os.PathLike[str] | bytes | Reader


@asynccontextmanager
async def opened(
    opener: Opener, source: Source, bounds: ImportLimits
) -> AsyncIterator[IndexedRepository]:
    """The layout, or the docker archive, that `source` is, closed at the end of the block.

    Raises FileInvalid for what is not there, ContentDamaged for what is neither, or has no image;
    LimitExceeded; of a URL what `client.urls.fetch_url` raises; StoreUnavailable, OutOfSpace,
    Denied of the disk.
    """
    runtime = opener.runtime
    if isinstance(source, str | os.PathLike):
        path = os.fspath(source)
        if "://" in path:
            async with _fetched(opener, path, bounds) as repository:
                yield repository
            return
        if await runtime.offload(os.path.isdir, path):
            repository = open_layout(path, runtime)
        else:
            await runtime.offload(_check, path, bounds)
            repository = open_any_archive(path, runtime, bounds)
        async with aclosing(repository):
            if not await repository.entries():
                raise ContentDamaged(f"{path} has no image: it is no layout, or an empty one")
            yield repository
        return
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "archive")
        await runtime.offload(_spool, source, path, bounds.size)
        async with opened(opener, path, bounds) as repository:
            yield repository


@asynccontextmanager
async def _fetched(
    opener: Opener, url: str, bounds: ImportLimits
) -> AsyncIterator[IndexedRepository]:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "archive")
        async with new_file(path, 0o600, opener.runtime) as write:
            await fetch_url(opener.outside, opener.runtime, url, write, max_size=bounds.size)
        async with opened(opener, path, bounds) as repository:
            yield repository


def _check(path: str, bounds: ImportLimits) -> None:
    """Raises LimitExceeded; FileInvalid where it is not there."""
    with translated(path):
        if not os.path.lexists(path):
            raise FileInvalid(path, Fault("", os.strerror(errno.ENOENT)))
        if os.stat(path).st_size > bounds.size:
            raise LimitExceeded("bytes", bounds.size)


def _spool(source: bytes | Reader, path: str, most: int) -> None:
    """Raises LimitExceeded, OutOfSpace."""
    pieces: Iterable[bytes]
    pieces = [source] if isinstance(source, bytes) else iter(lambda: source.read(_PIECE), b"")
    size = 0
    with translated(path), open(path, "wb") as file:
        for piece in pieces:
            size += len(piece)
            if size > most:
                raise LimitExceeded("bytes", most)
            file.write(piece)
