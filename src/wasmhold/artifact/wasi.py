"""Which WASI a binary is for, in zlayer-registry's terms: a core module or a component.

That a binary is of Preview 1 says that it is a core module, not that it imports WASI.
Source: zlayer, crate `zlayer-registry`.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from enum import Enum
from typing import Final, Self

from ..oci.errors import InputError
from ..semver import Version, VersionInvalid
from ..wasm import Binary, BinaryKind, Preamble
from .media_types import WASM_COMPONENT, WASM_MODULE

_MODULES: Final = frozenset({"wasi_snapshot_preview1", "wasi_unstable"})  # of Preview 1
_PACKAGES: Final = "wasi:"  # of what came later


class WasiVersion(Enum):
    """`str()` gives ``wasip1``, ``wasip2`` or ``unknown``."""

    Preview1 = "wasip1"
    Preview2 = "wasip2"
    Unknown = "unknown"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The version whose `str()` is `text`.  Raises InputError."""
        try:
            return cls(text)
        except ValueError:
            raise InputError("want wasip1, wasip2 or unknown", text) from None

    @classmethod
    def of_os(cls, system: str) -> Self:
        """What the ``os`` of a platform or config says."""
        return cls(system) if system in ("wasip1", "wasip2") else cls("unknown")

    def __str__(self) -> str:
        return self.value

    def __repr__(self) -> str:
        return f"WasiVersion.{self.name}"

    def is_preview1(self) -> bool:
        return self is WasiVersion.Preview1

    def is_preview2(self) -> bool:
        """The component model."""
        return self is WasiVersion.Preview2

    def target_triple_suffix(self) -> str:
        """``wasm32-wasip1``, ``wasm32-wasip2``, or ``wasm32-wasi``."""
        return "wasm32-wasi" if self is WasiVersion.Unknown else f"wasm32-{self.value}"

    def artifact_type(self) -> str | None:
        """What an artifact says that holds such a binary; None: nothing can be claimed."""
        return {WasiVersion.Preview1: WASM_MODULE, WasiVersion.Preview2: WASM_COMPONENT}.get(self)


def detect_wasi_version(content: bytes | bytearray | memoryview) -> WasiVersion:
    """By the first eight bytes of a binary; Unknown for what is none."""
    preamble = Preamble.of(content)
    if preamble.layer == 1:  # components have had other versions before 13
        return WasiVersion.Preview2
    return WasiVersion.Unknown if preamble.kind is None else WasiVersion.Preview1


def version_of(binary: Binary) -> WasiVersion:
    is_module = binary.kind is BinaryKind.MODULE
    return WasiVersion.Preview1 if is_module else WasiVersion.Preview2


def imports_wasi(binary: Binary) -> bool:
    """Whether a core module imports functions of WASI; a component has other imports."""
    return any(extern.module in _MODULES for extern in binary.imports)


def wasi_release(binary: Binary) -> str | None:
    """The newest release of WASI that a component uses: ``0.2.3``, ``0.3.0``."""
    return newest_release(extern.name for extern in (*binary.imports, *binary.exports))


def newest_release(names: Iterable[str]) -> str | None:
    """The newest version among names like ``wasi:io/streams@0.2.3``; None where there is none."""
    found = []
    for name in names:
        package, _, version = name.partition("@")
        if package.startswith(_PACKAGES):
            with suppress(VersionInvalid):
                found.append(Version.parse(version))
    return str(max(found)) if found else None
