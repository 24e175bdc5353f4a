"""Imports and exports of core modules.

Source: WebAssembly core specification 3.0, "Modules", "Binary Format"; compact imports by the
proposal of that name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from .cursor import Cursor
from .errors import WasmError
from .externs import Extern

IMPORTS: Final = 2
EXPORTS: Final = 7
LAST_SECTION: Final = 13

_SORTS: Final = ("func", "table", "memory", "global", "tag")
_EXACT_FUNC: Final = 0x20  # custom descriptors
_ONE_TYPE_EACH: Final = 0x7F
_ONE_TYPE_FOR_ALL: Final = 0x7E
_REFERENCE_TO: Final = (0x63, 0x64)  # with a heap type behind it
_HAS_MAXIMUM, _IS_64, _HAS_PAGE_SIZE = 1, 4, 8  # flags of limits


def imports(cursor: Cursor) -> Iterator[Extern]:
    for _ in range(cursor.count()):
        module, name, form = cursor.name(), cursor.name(), cursor.peek()
        if name == "" and form in (_ONE_TYPE_EACH, _ONE_TYPE_FOR_ALL):
            cursor.byte()
            sort = _type(cursor) if form == _ONE_TYPE_FOR_ALL else None
            for _ in range(cursor.count()):
                name = cursor.name()
                yield Extern(sort or _type(cursor), name, module)
        else:
            yield Extern(_type(cursor), name, module)


def exports(cursor: Cursor) -> Iterator[Extern]:
    for _ in range(cursor.count()):
        name, sort = cursor.name(), _sort(cursor)
        cursor.unsigned()
        yield Extern(sort, name)


def _sort(cursor: Cursor) -> str:
    start, byte = cursor.offset, cursor.byte()
    if byte == _EXACT_FUNC:
        return "func"
    if byte >= len(_SORTS):
        raise WasmError(f"0x{byte:02x} is no sort of import or export", start)
    return _SORTS[byte]


def _type(cursor: Cursor) -> str:
    """The sort of an import, behind whose type the cursor then stands."""
    sort = _sort(cursor)
    if sort == "func":
        cursor.unsigned()
    elif sort == "table":
        _value_type(cursor)
        _limits(cursor)
    elif sort == "memory":
        _limits(cursor)
    elif sort == "global":
        _value_type(cursor)
        cursor.byte()
    else:
        cursor.byte()
        cursor.unsigned()
    return sort


def _value_type(cursor: Cursor) -> None:
    if cursor.byte() in _REFERENCE_TO:
        cursor.skip_signed()


def _limits(cursor: Cursor) -> None:
    start, flags = cursor.offset, cursor.byte()
    if flags > 0xF:
        raise WasmError(f"0x{flags:02x} are no limits", start)
    bits = 64 if flags & _IS_64 else 32
    cursor.unsigned(bits)
    if flags & _HAS_MAXIMUM:
        cursor.unsigned(bits)
    if flags & _HAS_PAGE_SIZE:
        cursor.unsigned()
