"""Files in archives that were fetched, within bounds; nothing of an archive is ever named by it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Final

from ..artifact import wasm_file
from ..oci.errors import ArchiveInvalid, ArtifactInvalid, WasmholdError
from ..oci.limits import MIB
from .places import compression
from .places.entries import FILE, Entry, Stream, read_entries

_UNPACKED: Final = 256 * MIB  # bytes of the whole archive (CW-083)
_MEMBERS: Final = 10_000
_LAYER: Final = "the image's last layer"


def unpack_wasm(packed: IO[bytes], entry: str | None, write: Callable[[bytes], object]) -> None:
    """Give the program in the layer `packed` to `write`; `entry` is what the image says to run.

    Links are not followed.  Raises ArtifactInvalid for what is no tar, too large, or has no one
    WebAssembly file; what `write` raises.
    """
    with _unpacking(packed, _LAYER) as stream:
        names = [os.fsdecode(one.name) for one in _regular(stream, _LAYER)]
        wanted = wasm_file(names, entry)
    with _unpacking(packed, _LAYER) as stream:
        for one in _regular(stream, _LAYER):
            if os.fsdecode(one.name) == wanted:
                for piece in _pieces(stream, one):
                    write(piece)
                return


def read_files(packed: IO[bytes], what: str) -> Iterator[Iterator[bytes]]:
    """The content of each regular file in an archive, to be read before the next one.

    `what` is how errors call it.  Raises ArtifactInvalid for what is no tar, or too large.
    """
    with _unpacking(packed, what) as stream:
        for one in _regular(stream, what):
            yield _pieces(stream, one)


def _pieces(stream: Stream, entry: Entry) -> Iterator[bytes]:
    return map(bytes, stream.pieces(entry.stored))


@contextmanager
def _unpacking(packed: IO[bytes], what: str) -> Iterator[Stream]:
    """The archive without its compression."""
    try:
        packed.seek(0)
        kind = compression.of_content(packed.read(4))
        packed.seek(0)
        if kind is None:
            yield Stream(_Bounded(packed, what))
            return
        with compression.reading(kind, packed) as reader:
            yield Stream(_Bounded(reader, what))
    except Exception as error:
        is_ours = isinstance(error, WasmholdError)
        if not (isinstance(error, ArchiveInvalid) if is_ours else compression.broken(error)):
            raise
        raise ArtifactInvalid(f"{what} cannot be unpacked: {error}") from None


def _regular(stream: Stream, what: str) -> Iterator[Entry]:
    """The regular files of the archive, one after the other."""
    for count, entry in enumerate(read_entries(stream)):
        if count >= _MEMBERS:
            raise ArtifactInvalid(f"{what} has more than {_MEMBERS} entries")
        if entry.kind == FILE and entry.segments is None:
            yield entry


class _Bounded:
    """Ends with an error what would unpack to too much."""

    def __init__(self, reader: compression.Reader, what: str) -> None:
        self._reader, self._what, self._left = reader, what, _UNPACKED

    def read(self, size: int, /) -> bytes:
        piece = self._reader.read(size)
        self._left -= len(piece)
        if self._left < 0:
            raise ArtifactInvalid(f"{self._what} unpacks to more than {_UNPACKED} bytes")
        return piece
