"""What a binary imports and exports, and the memory that names may take."""

from __future__ import annotations

from dataclasses import dataclass

from . import limits
from .errors import WasmError


@dataclass(frozen=True, slots=True)
class Extern:
    """An import or export.

    `sort` is ``func``, ``table``, ``memory``, ``global`` or ``tag`` of a module, and ``module``,
    ``func``, ``value``, ``type``, ``component`` or ``instance`` of a component.
    `module` is the first name of a module's import, empty elsewhere.
    """

    sort: str
    name: str
    module: str = ""

    def __str__(self) -> str:
        return f"{self.module} {self.name}".strip()


class Budget:
    """What names, payloads and sections of one binary may cost: an input does not decide it."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = limits.KEPT

    def spend(self, size: int, offset: int) -> None:
        """`size` bytes of content in one more object.  Raises WasmError when it is too much."""
        self._left -= 160 + 2 * size
        if self._left < 0:
            raise WasmError("more names and sections than we read", offset)
