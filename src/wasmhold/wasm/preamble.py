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
    def of(cls, content: bytes) -> Preamble:
        """The preamble of `content`, which may be as long as it likes."""
        return cls(bytes(content[:SIZE]))

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
        if self.start.startswith(MAGIC):
            version = int.from_bytes(self.start[4:6], "little")
            layer = int.from_bytes(self.start[6:8], "little")
            return f"version {version} of layer {layer}, want 1 of 0 or 13 of 1"
        return f"starts with {self.start.hex(' ')}"
