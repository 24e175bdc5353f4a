"""The one WebAssembly file in an image's layer; nothing else of the archive is ever written."""

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


def unpack_wasm(packed: IO[bytes], entry: str | None, write: Callable[[bytes], object]) -> None:
    """Give the program in the layer `packed` to `write`; `entry` is what the image says to run.

    Links are not followed.  Raises ArtifactInvalid for what is no tar, too large, or has no one
    WebAssembly file; what `write` raises.
    """
    try:
        with _members(packed) as found:
            wanted = wasm_file([member.name for _, member in found], entry)
        with _members(packed) as found:
            for archive, member in found:
                if member.name == wanted:
                    content = archive.extractfile(member)
                    while content is not None and (piece := content.read(_PIECE)):
                        write(piece)
                    return
    except WasmholdError:
        raise
    except Exception as error:
        if not (isinstance(error, tarfile.TarError) or compression.broken(error)):
            raise
        raise ArtifactInvalid(f"the image's last layer cannot be unpacked: {error}") from None


@contextmanager
def _members(packed: IO[bytes]) -> Iterator[Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]]:
    """The regular files of the archive, one after the other."""
    packed.seek(0)
    kind = compression.of_content(packed.read(4))
    packed.seek(0)
    if kind is None:
        yield _regular(_Bounded(packed))
        return
    with compression.reading(kind, packed) as reader:
        yield _regular(_Bounded(reader))


def _regular(content: _Bounded) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    with tarfile.open(fileobj=cast(IO[bytes], content), mode="r|") as archive:
        for count, member in enumerate(archive):
            if count >= _MEMBERS:
                raise ArtifactInvalid(f"the image's last layer has more than {_MEMBERS} entries")
            if member.isreg() and not member.issparse():
                yield archive, member


class _Bounded:
    """Ends with an error what would unpack to too much."""

    def __init__(self, reader: compression.Reader) -> None:
        self._reader, self._left = reader, _UNPACKED

    def read(self, size: int) -> bytes:
        piece = self._reader.read(size)
        self._left -= len(piece)
        if self._left < 0:
            raise ArtifactInvalid(f"the image's last layer unpacks to more than {_UNPACKED} bytes")
        return piece
