"""Files in archives that were fetched, within bounds; nothing of an archive is ever named by it."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Final, cast

from ..artifact import wasm_file
from ..oci.errors import ArtifactInvalid, WasmholdError
from ..oci.limits import MIB
from .places import compression

_UNPACKED: Final = 256 * MIB  # bytes of the whole archive (CW-083)
_MEMBERS: Final = 10_000
_PIECE: Final = MIB
_LAYER: Final = "the image's last layer"


def unpack_wasm(packed: IO[bytes], entry: str | None, write: Callable[[bytes], object]) -> None:
    """Give the program in the layer `packed` to `write`; `entry` is what the image says to run.

    Links are not followed.  Raises ArtifactInvalid for what is no tar, too large, or has no one
    WebAssembly file; what `write` raises.
    """
    with _unpacking(packed, _LAYER) as found:
        wanted = wasm_file([member.name for _, member in found], entry)
    with _unpacking(packed, _LAYER) as found:
        for archive, member in found:
            if member.name == wanted:
                for piece in _pieces(archive, member):
                    write(piece)
                return


def read_files(packed: IO[bytes], what: str) -> Iterator[Iterator[bytes]]:
    """The content of each regular file in an archive, to be read before the next one.

    `what` is how errors call it.  Raises ArtifactInvalid for what is no tar, or too large.
    """
    with _unpacking(packed, what) as found:
        for archive, member in found:
            yield _pieces(archive, member)


def _pieces(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[bytes]:
    content = archive.extractfile(member)
    while content is not None and (piece := content.read(_PIECE)):
        yield piece


@contextmanager
def _unpacking(
    packed: IO[bytes], what: str
) -> Iterator[Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]]:
    """The regular files of the archive, one after the other."""
    try:
        packed.seek(0)
        kind = compression.of_content(packed.read(4))
        packed.seek(0)
        if kind is None:
            yield _regular(_Bounded(packed, what), what)
            return
        with compression.reading(kind, packed) as reader:
            yield _regular(_Bounded(reader, what), what)
    except WasmholdError:
        raise
    except Exception as error:
        if not (isinstance(error, tarfile.TarError) or compression.broken(error)):
            raise
        raise ArtifactInvalid(f"{what} cannot be unpacked: {error}") from None


def _regular(content: _Bounded, what: str) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    with tarfile.open(fileobj=cast(IO[bytes], content), mode="r|") as archive:
        for count, member in enumerate(archive):
            if count >= _MEMBERS:
                raise ArtifactInvalid(f"{what} has more than {_MEMBERS} entries")
            if member.isreg() and not member.issparse():
                yield archive, member


class _Bounded:
    """Ends with an error what would unpack to too much."""

    def __init__(self, reader: compression.Reader, what: str) -> None:
        self._reader, self._what, self._left = reader, what, _UNPACKED

    def read(self, size: int) -> bytes:
        piece = self._reader.read(size)
        self._left -= len(piece)
        if self._left < 0:
            raise ArtifactInvalid(f"{self._what} unpacks to more than {_UNPACKED} bytes")
        return piece
