"""Imports and exports of components, by their names alone.

Source: component model, Binary.md, "Import and Export Definitions".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from .cursor import Cursor
from .errors import WasmError
from .externs import Extern

TYPES: Final = 7
IMPORTS: Final = 10
EXPORTS: Final = 11
LAST_SECTION: Final = 12

_SORTS: Final = ("module", "func", "value", "type", "component", "instance")
_CORE_MODULE: Final = 0x11
_WITH_OPTIONS: Final = 2


def imports(cursor: Cursor) -> Iterator[Extern]:
    for _ in range(cursor.count()):
        name = extern_name(cursor)
        yield Extern(extern_type(cursor)[0], name)


def exports(cursor: Cursor) -> Iterator[tuple[Extern, int]]:
    """Each export, and its index among what is of its sort."""
    for _ in range(cursor.count()):
        name, sort, index = extern_name(cursor), _sort(cursor), cursor.unsigned()
        start, is_typed = cursor.offset, cursor.byte()
        if is_typed > 1:
            raise WasmError(f"0x{is_typed:02x} says neither that a type follows nor not", start)
        if is_typed:
            extern_type(cursor)
        yield Extern(sort, name), index


def extern_name(cursor: Cursor) -> str:
    """The name of an import or export; what it may be said to implement is passed over."""
    start, form = cursor.offset, cursor.byte()
    if form > _WITH_OPTIONS:  # 1 was written until 2024 and means what 0 does
        raise WasmError(f"0x{form:02x} is no form of a name", start)
    name = cursor.name()
    if form == _WITH_OPTIONS:
        for _ in range(cursor.count()):
            cursor.byte()
            cursor.name()
    return name


def extern_type(cursor: Cursor) -> tuple[str, int | None]:
    """The sort, and the index of the type; None where the type has no index."""
    sort = _sort(cursor)
    if sort not in ("value", "type"):
        return sort, cursor.unsigned()
    start, bound = cursor.offset, cursor.byte()
    if bound > 1:
        raise WasmError(f"0x{bound:02x} is no bound", start)
    if bound == 0:
        return sort, cursor.unsigned()
    if sort == "value":
        cursor.skip_signed()
    return sort, None


def _sort(cursor: Cursor) -> str:
    start, byte = cursor.offset, cursor.byte()
    if byte >= len(_SORTS) or (byte == 0 and cursor.byte() != _CORE_MODULE):
        raise WasmError("no sort of import or export", start)
    return _SORTS[byte]
