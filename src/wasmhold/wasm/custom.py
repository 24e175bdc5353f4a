"""Custom sections: who made a binary, its name, and what its author says about it.

Sources: tool-conventions, ProducersSection.md; core specification, "Custom Sections"; component
model, Binary.md, "Name Section"; the names of sections of plain text are those that wkg writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .cursor import Cursor, decode_name
from .errors import WasmError

TEXTS: Final = frozenset(
    {"authors", "description", "licenses", "source", "homepage", "revision", "version"}
)
NAMES: Final = frozenset({"name", "component-name"})
PRODUCERS: Final = "producers"
KEPT: Final = TEXTS | NAMES | {PRODUCERS}
"""Names of the custom sections whose payload is kept, up to 64 KiB of it."""


@dataclass(frozen=True, slots=True)
class CustomSection:
    """`offset` and `size` are those of its payload in the binary, in bytes.

    `start` is the payload's beginning, at most 64 KiB, and empty for a name that is not in `KEPT`.
    """

    name: str
    offset: int
    size: int
    start: bytes = b""


@dataclass(frozen=True, slots=True)
class Producer:
    """One line of ``producers``: field ``language``, ``processed-by`` or ``sdk``."""

    field: str
    name: str
    version: str


def read_producers(section: CustomSection) -> list[Producer]:
    """Raises WasmError."""
    cursor = Cursor(section.start, section.offset)
    found: list[Producer] = []
    for _ in range(cursor.count()):
        field = cursor.name()
        for _ in range(cursor.count()):
            name = cursor.name()
            found.append(Producer(field, name, cursor.name()))
    return found


def read_name(section: CustomSection) -> str | None:
    """The name of the module or component in its name section.  Raises WasmError."""
    cursor = Cursor(section.start, section.offset)
    if not cursor.left or cursor.byte() != 0:  # the names of functions and so on come behind it
        return None
    cursor.unsigned()
    return cursor.name()


def read_text(section: CustomSection) -> str:
    """A section of plain text.  Raises WasmError when it is not UTF-8 or longer than is kept."""
    if len(section.start) < section.size:
        raise WasmError(f"{section.name} is longer than we read", section.offset)
    return decode_name(section.start, section.offset)
