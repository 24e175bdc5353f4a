"""Types of components, as far as they tell a WIT package: what a component type exports.

Source: component model, Binary.md, "Type Definitions".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from . import limits
from .component import extern_name, extern_type
from .cursor import Cursor
from .errors import WasmError

_COMPONENT, _INSTANCE, _RESOURCE = 0x41, 0x42, 0x3F
_FUNCTIONS: Final = (0x40, 0x43)  # the second is async
_TYPE_SORT: Final = 0x03
_OUTER: Final = 0x02


@dataclass(frozen=True, slots=True)
class ComponentType:
    """What a component of this type exports: sort, name, and the type of what is a component."""

    exports: tuple[tuple[str, str, ComponentType | None], ...]


def types(cursor: Cursor) -> Iterator[ComponentType | None]:
    """Each type of a section; None for what is no component type.

    Raises WasmError, also for a type that is newer than this reader.
    """
    for _ in range(cursor.count()):
        yield _type(cursor, 0)


def _type(cursor: Cursor, depth: int) -> ComponentType | None:
    start, form = cursor.offset, cursor.byte()
    if depth > limits.TYPE_DEPTH:
        raise WasmError(f"types nested deeper than {limits.TYPE_DEPTH}", start)
    if form in (_COMPONENT, _INSTANCE):
        declared = _declarations(cursor, depth + 1)
        return declared if form == _COMPONENT else None
    if form in _FUNCTIONS:
        _labelled_types(cursor)
        if cursor.byte():  # one byte more: no result
            cursor.byte()
        else:
            cursor.skip_signed()
    elif form == _RESOURCE:
        cursor.byte()
        _optional(cursor, cursor.unsigned)
    else:
        _defined(cursor, form, start)
    return None


def _declarations(cursor: Cursor, depth: int) -> ComponentType:
    known: list[ComponentType | None] = []  # by index of type
    exports: list[tuple[str, str, ComponentType | None]] = []
    for _ in range(cursor.count()):
        start, form = cursor.offset, cursor.byte()
        if form == 1:
            known.append(_type(cursor, depth))
        elif form == 2:
            if _alias(cursor) == _TYPE_SORT:
                known.append(None)
        elif form in (3, 4):
            name, (sort, index) = extern_name(cursor), extern_type(cursor)
            if sort == "type":
                known.append(None)
            if form == 4:
                inner = known[index] if index is not None and index < len(known) else None
                exports.append((sort, name, inner if sort == "component" else None))
        else:  # core types (0) too: no WIT has them
            raise WasmError(f"0x{form:02x} declares nothing that we read", start)
    return ComponentType(tuple(exports))


def _alias(cursor: Cursor) -> int:
    """The sort of an alias."""
    sort = cursor.byte()
    if sort == 0:
        cursor.byte()
    if cursor.byte() == _OUTER:
        cursor.unsigned()
        cursor.unsigned()
    else:
        cursor.unsigned()
        cursor.name()
    return sort


def _defined(cursor: Cursor, form: int, start: int) -> None:
    if 0x73 <= form <= 0x7F or form == 0x64:  # primitive
        return
    if form == 0x72:  # record
        _labelled_types(cursor)
    elif form == 0x71:  # variant
        for _ in range(cursor.count()):
            cursor.name()
            _optional(cursor, cursor.skip_signed)
            cursor.byte()
    elif form in (0x70, 0x6B):  # list, option
        cursor.skip_signed()
    elif form == 0x67:  # list of fixed length
        cursor.skip_signed()
        cursor.unsigned()
    elif form == 0x63:  # map
        cursor.skip_signed()
        cursor.skip_signed()
    elif form == 0x6F:  # tuple
        for _ in range(cursor.count()):
            cursor.skip_signed()
    elif form in (0x6E, 0x6D):  # flags, enum
        for _ in range(cursor.count()):
            cursor.name()
    elif form == 0x6A:  # result
        _optional(cursor, cursor.skip_signed)
        _optional(cursor, cursor.skip_signed)
    elif form in (0x69, 0x68):  # own, borrow
        cursor.unsigned()
    elif form in (0x66, 0x65):  # stream, future
        _optional(cursor, cursor.skip_signed)
    else:
        raise WasmError(f"0x{form:02x} is no type that we read", start)


def _labelled_types(cursor: Cursor) -> None:
    for _ in range(cursor.count()):
        cursor.name()
        cursor.skip_signed()


def _optional(cursor: Cursor, skip: Callable[[], object]) -> None:
    if cursor.byte():
        skip()
