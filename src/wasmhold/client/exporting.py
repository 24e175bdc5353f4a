"""Artifacts of files: what the pure `artifact.export` does with bytes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TypedDict, Unpack

from ..artifact import export
from ..artifact.export import WasmArtifact, WasmSource
from ..artifact.wasi import WasiVersion
from ..artifact.writing import WasmFormat
from .local import pieces, read_file


class How(TypedDict, total=False):
    """What `artifact.build_wasm_artifact` takes."""

    name: str | None
    format: str | WasmFormat
    wasi_version: WasiVersion | str | None
    annotations: Mapping[str, str] | None
    created: str | None
    force: bool


def build_wasm_artifact(
    source: str | os.PathLike[str] | bytes | bytearray | memoryview, **how: Unpack[How]
) -> WasmArtifact:
    """An artifact of a binary, given by the path of its file or by its bytes; blocks.

    A file is read in pieces, and belongs to the artifact by its path.  Raises FileInvalid where it
    cannot be read; what `artifact.build_wasm_artifact` does.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return export.build_wasm_artifact(source, **how)
    path = os.fspath(source)
    file = read_file(path)
    read = file.binary or file.fault
    assert read is not None
    return export.build_wasm_artifact(
        WasmSource(path, file.digest, file.size, read, lambda: pieces(path, file.digest)), **how
    )
