"""The one error of this folder; who calls it gives it a place in the tree of `oci.errors`."""

from __future__ import annotations


class WasmError(Exception):
    """Bytes are no WebAssembly binary that can be read; `offset` is in bytes from its beginning."""

    def __init__(self, reason: str, offset: int) -> None:
        super().__init__(reason, offset)
        self.reason, self.offset = reason, offset

    def __str__(self) -> str:
        return f"{self.reason} at byte {self.offset}"
