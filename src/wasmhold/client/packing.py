"""A file that is packed for a push: a layer that lies in a temporary file until it is sent."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Final

from ..artifact import PackedLayer
from ..artifact.packing import FilePacker
from ..oci.digest import Digest, hasher
from ..oci.errors import DigestMismatch
from ..oci.limits import MIB
from .local import LocalFile, file_errors
from .places.files import translated

_PIECE: Final = MIB


@contextmanager
def pack_file(source: LocalFile, name: str) -> Iterator[tuple[str, PackedLayer]]:
    """The layer that holds `source` as the file `name`, and where it lies; blocks.

    Raises DigestMismatch, ArtifactInvalid when it has changed since it was read; FileInvalid;
    OutOfSpace.
    """
    with translated(tempfile.gettempdir()):
        descriptor, path = tempfile.mkstemp()
    try:
        with open(descriptor, "wb") as packed:
            layer = _pack(source, name, packed, path)
        yield path, layer
    finally:
        os.unlink(path)


def _pack(source: LocalFile, name: str, packed: IO[bytes], path: str) -> PackedLayer:
    running, packer = hasher(source.digest.algorithm), FilePacker(name, source.size)
    with file_errors(source.path), open(source.path, "rb") as file:
        while piece := file.read(_PIECE):
            running.update(piece)
            with translated(path):
                packed.write(packer.feed(piece))
    if running.hexdigest() != source.digest.encoded:
        actual = Digest(source.digest.algorithm, running.hexdigest())
        raise DigestMismatch(str(source.digest), str(actual))
    last, layer = packer.finish()
    with translated(path):
        packed.write(last)
        packed.flush()
    return layer
