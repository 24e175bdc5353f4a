"""How a WIT package is told from any other component.

Source: wit-component, `encoding/wit`; both of its encodings.
"""

from __future__ import annotations

from . import limits
from .component_types import ComponentType, types
from .cursor import Cursor
from .externs import Extern


class WitPackage:
    """What a component could be: encoded WIT and nothing else.

    Both encodings of wit-component: a component type for each interface and world, under its plain
    name, or one for all of them, under ``namespace:package/wit``.
    """

    def __init__(self) -> None:
        self._room = limits.TYPES
        self._types: list[ComponentType | None] = []
        self._exported: list[tuple[str, ComponentType]] = []

    def has_room(self, size: int) -> bool:
        """Whether `size` more bytes of types are looked at."""
        self._room -= size
        return self._room >= 0

    def add_types(self, cursor: Cursor) -> None:
        self._types.extend(types(cursor))
        cursor.end("the types")

    def add_export(self, extern: Extern, index: int) -> bool:
        """Whether this can be an export of a WIT package."""
        known = self._types[index] if extern.sort == "type" and index < len(self._types) else None
        if known is None:
            return False
        self._types.append(known)  # an export of a type is a type
        self._exported.append((extern.name, known))
        return True

    def names(self) -> tuple[Extern, ...]:
        """Interfaces and worlds by full name, each once; nothing when it is no WIT package."""
        if not self._exported:
            return ()
        first = self._exported[0][0].partition("@")[0]
        is_whole = first.endswith("/wit") and len(self._exported) == 1
        if not is_whole and any("/" in n or len(t.exports) != 1 for n, t in self._exported):
            return ()
        found: dict[Extern, None] = {}
        for _, of in self._exported:
            for sort, name, world in of.exports:
                for inner_sort, inner, _ in world.exports if world is not None else ():
                    found[Extern(inner_sort, inner)] = None
                found[Extern(sort, name)] = None
        return tuple(found)
