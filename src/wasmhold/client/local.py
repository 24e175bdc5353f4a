"""A file of the user's, read once, in pieces: digest, size, and whether it is WebAssembly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from ..artifact import wasm_errors
from ..oci.digest import Digest, hasher
from ..oci.errors import DigestMismatch, Fault, FileInvalid, WasmInvalid
from ..oci.limits import MIB
from ..wasm import Binary, Reader

_PIECE: Final = MIB


@dataclass(frozen=True, slots=True)
class LocalFile:
    """`binary` is None where the bytes are no WebAssembly; `fault` says why."""

    path: str
    digest: Digest
    size: int
    binary: Binary | None = None
    fault: WasmInvalid | None = None


def read_file(path: str, algorithm: str = "sha256") -> LocalFile:
    """Hash and look at `path`; blocks.  Raises FileInvalid where it cannot be read."""
    running, reader, size = hasher(algorithm), Reader(), 0
    fault: WasmInvalid | None = None
    with file_errors(path), open(path, "rb") as file:
        while piece := file.read(_PIECE):
            running.update(piece)
            size += len(piece)
            fault = fault or _fed(reader, piece, path)
    binary = None
    if fault is None:
        try:
            with wasm_errors(path):
                binary = reader.finish()
        except WasmInvalid as error:
            fault = error
    return LocalFile(path, Digest(algorithm, running.hexdigest()), size, binary, fault)


def pieces(path: str, digest: Digest) -> Iterator[bytes]:
    """The bytes of a file that was read before; blocks.

    Raises DigestMismatch at their end when they are others now; FileInvalid.
    """
    running = hasher(digest.algorithm)
    with file_errors(path), open(path, "rb") as file:
        while piece := file.read(_PIECE):
            running.update(piece)
            yield piece
    if running.hexdigest() != digest.encoded:
        raise DigestMismatch(str(digest), str(Digest(digest.algorithm, running.hexdigest())))


@contextmanager
def file_errors(path: str) -> Iterator[None]:
    """Inside, what cannot be read of the file `path` becomes FileInvalid."""
    try:
        yield
    except OSError as error:
        raise FileInvalid(path, Fault("", error.strerror or "cannot be read")) from None


def _fed(reader: Reader, piece: bytes, path: str) -> WasmInvalid | None:
    try:
        with wasm_errors(path):
            reader.feed(piece)
    except WasmInvalid as error:
        return error
    return None
