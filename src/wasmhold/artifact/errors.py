"""The border of `wasm`, which knows nothing of ours: its error gets its place in the one tree."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..oci.errors import WasmInvalid
from ..wasm import WasmError


@contextmanager
def wasm_errors(source: str) -> Iterator[None]:
    """Inside, WasmError becomes WasmInvalid, which names `source`: a path, a reference."""
    try:
        yield
    except WasmError as error:
        raise WasmInvalid(source, error.reason, error.offset) from None
