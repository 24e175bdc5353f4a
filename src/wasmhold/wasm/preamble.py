"""The first eight bytes: module, component, or something else.

Sources: WebAssembly core specification, "Modules", "Binary Format"; component model, Binary.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

MAGIC: Final = b"\0asm"
SIZE: Final = 8  # bytes
_MODULE: Final = MAGIC + b"\x01\0\0\0"
_COMPONENT: Final = MAGIC + b"\x0d\0\x01\0"


def is_wasm(content: bytes | bytearray | memoryview) -> bool:
    """Whether `content` begins with the magic of WebAssembly; four bytes are enough."""
    return bytes(content[: len(MAGIC)]) == MAGIC


class BinaryKind(Enum):
    """What a binary is. A WIT package is a component that holds nothing but encoded interfaces."""

    MODULE = "module"
    COMPONENT = "component"
    WIT_PACKAGE = "wit-package"


@dataclass(frozen=True, slots=True)
class Preamble:
    """The first bytes of anything, eight of them unless it has fewer."""

    start: bytes

    @classmethod
    def of(cls, content: bytes | bytearray | memoryview) -> Preamble:
        """The preamble of `content`, which may be as long as it likes."""
        return cls(bytes(content[:SIZE]))

    @property
    def version(self) -> int | None:
        """Of the binary format, 1 of modules and 13 of components; None without a preamble."""
        return int.from_bytes(self.start[4:6], "little") if self._is_whole else None

    @property
    def layer(self) -> int | None:
        """0 of modules, 1 of components; None without a preamble."""
        return int.from_bytes(self.start[6:8], "little") if self._is_whole else None

    @property
    def _is_whole(self) -> bool:
        return len(self.start) == SIZE and is_wasm(self.start)

    @property
    def kind(self) -> BinaryKind | None:
        """MODULE or COMPONENT; None for anything else, other versions of the format too."""
        return {_MODULE: BinaryKind.MODULE, _COMPONENT: BinaryKind.COMPONENT}.get(self.start)

    def __str__(self) -> str:
        """``a module``, or what stands there instead, for an error."""
        if self.kind is not None:
            return f"a {self.kind.value}"
        if len(self.start) < SIZE:
            return f"only {len(self.start)} bytes: {self.start.hex(' ')}".removesuffix(": ")
        if self._is_whole:
            return f"version {self.version} of layer {self.layer}, want 1 of 0 or 13 of 1"
        return f"starts with {self.start.hex(' ')}"
