"""Reads WebAssembly binaries: what one is, what it imports and exports, its custom sections.

No IO and nothing of ours: bytes come in pieces of any size, and memory is bounded for every input.
Nothing is validated beyond what is read; `WasmError` is the only error.
"""

from .custom import KEPT, CustomSection, Producer, read_name, read_producers, read_text
from .errors import WasmError
from .preamble import BinaryKind, Preamble, is_wasm
from .reader import Binary, Extern, Reader, read_binary

__all__ = [
    "KEPT",
    "Binary",
    "BinaryKind",
    "CustomSection",
    "Extern",
    "Preamble",
    "Producer",
    "Reader",
    "WasmError",
    "is_wasm",
    "read_binary",
    "read_name",
    "read_producers",
    "read_text",
]
