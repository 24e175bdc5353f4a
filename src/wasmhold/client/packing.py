"""A file that is packed for a push: a layer that lies in a temporary file until it is sent."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from ..artifact import PackedLayer
from ..artifact.packing import FilePacker
from .local import LocalFile, pieces
from .places.files import translated


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
    packer = FilePacker(name, source.size)
    for piece in pieces(source.path, source.digest):
        with translated(path):
            packed.write(packer.feed(piece))
    last, layer = packer.finish()
    with translated(path):
        packed.write(last)
        packed.flush()
    return layer
