"""What a binary is, in zlayer-registry's terms, once all of it was read.

Source: zlayer, crate `zlayer-registry`, `extract_wasm_binary_info`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from ..wasm import Binary, read_binary
from .errors import wasm_errors
from .wasi import WasiVersion, imports_wasi, version_of, wasi_release


@dataclass(frozen=True, slots=True)
class WasmBinaryInfo:
    """What a binary says of itself.

    binary_version  of the format: 1 of modules, 13 of components
    layer           0 of modules, 1 of components
    preamble        both in one number, as bytes 4 to 7 have it
    size            in bytes
    imports_wasi    whether a core module imports WASI
    wasi_release    the newest release of WASI that a component uses: ``0.2.3``
    """

    wasi_version: WasiVersion
    is_component: bool
    binary_version: int
    layer: int
    preamble: int
    size: int
    imports_wasi: bool
    wasi_release: str | None

    @classmethod
    def of(cls, binary: Binary) -> Self:
        version = version_of(binary)
        number, layer = format_of(version)
        return cls(
            version,
            version.is_preview2(),
            number,
            layer,
            layer << 16 | number,
            binary.size,
            imports_wasi(binary),
            wasi_release(binary),
        )


def format_of(version: WasiVersion) -> tuple[int, int]:
    """Version and layer of the binary format."""
    return (13, 1) if version.is_preview2() else (1, 0)


def binary_info(content: bytes | bytearray | memoryview) -> WasmBinaryInfo:
    """What a binary is that is all there; every section is walked.

    Raises WasmInvalid, with the place, for what is too short, has no magic, has a version that is
    not known, or is cut off.
    """
    with wasm_errors("the binary"):
        return WasmBinaryInfo.of(read_binary(content))
