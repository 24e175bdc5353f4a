"""A binary from pieces of any size, as they come from a socket or a file."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Final

from . import component, limits, module
from .cursor import Cursor, decode_name
from .custom import KEPT, CustomSection
from .errors import WasmError
from .externs import Budget, Extern
from .preamble import SIZE, BinaryKind, Preamble
from .wit_package import WitPackage

__all__ = ["Binary", "Extern", "Reader", "read_binary"]

_CUSTOM: Final = 0

# Bytes that the walk wants next: so many, or, when the number is negative, so many passed over.
_Walk = Generator[int, bytes, None]


@dataclass(frozen=True, slots=True)
class Binary:
    """What a binary says of itself; `size` is in bytes.

    Names stand in the binary's order. Those of a component are full names,
    ``wasi:io/streams@0.2.0``, or plain ones; what lies nested in it is not looked at. A WIT package
    exports its interfaces and worlds, each behind what it exports itself.
    """

    kind: BinaryKind
    size: int
    imports: tuple[Extern, ...] = ()
    exports: tuple[Extern, ...] = ()
    custom: tuple[CustomSection, ...] = ()

    def section(self, name: str) -> CustomSection | None:
        """The first custom section of this name."""
        return next((section for section in self.custom if section.name == name), None)


class Reader:
    """Takes a binary in pieces and says at the end what it is.

    At most a section of imports, exports or types is held at once (16 MiB), and 32 MiB of names;
    code and data are passed over. After an error every call raises it again.
    """

    def __init__(self) -> None:
        self._at = 0  # bytes that came
        self._held = bytearray()
        self._place = "the preamble"  # in which the binary must not end; empty between sections
        self._error: WasmError | None = None
        self._kind = BinaryKind.MODULE
        self._budget = Budget()
        self._imports: list[Extern] = []
        self._exports: list[Extern] = []
        self._custom: list[CustomSection] = []
        self._wit: WitPackage | None = None
        self._walk = self._whole()
        self._want = next(self._walk)

    def feed(self, chunk: bytes | bytearray | memoryview) -> None:
        """The next bytes.  Raises WasmError as soon as they cannot be those of a binary."""
        if self._error is not None:
            raise self._error
        view, at = memoryview(chunk), 0
        while at < len(view):
            step = min(abs(self._want) - len(self._held), len(view) - at)
            if self._want < 0:
                self._want += step
            else:
                self._held += view[at : at + step]
            at += step
            self._at += step
            if self._want in (0, len(self._held)):
                held = bytes(self._held)
                self._held.clear()
                try:
                    self._want = self._walk.send(held)
                except WasmError as error:
                    self._error = error
                    raise

    def finish(self) -> Binary:
        """What was read, when nothing more comes.  Raises WasmError for what ends too early."""
        if self._error is None and self._place:
            reason = f"the binary ends inside of {self._place}"
            if self._at < SIZE:
                reason = f"not a WebAssembly binary: {Preamble(bytes(self._held))}"
            self._error = WasmError(reason, self._at)
        if self._error is not None:
            raise self._error
        kind, exports = self._kind, tuple(self._exports)
        if self._wit is not None and (names := self._wit.names()):
            kind, exports = BinaryKind.WIT_PACKAGE, names
        return Binary(kind, self._at, tuple(self._imports), exports, tuple(self._custom))

    def _whole(self) -> _Walk:
        preamble = Preamble((yield SIZE))
        if preamble.kind is None:
            raise WasmError(f"not a WebAssembly binary: {preamble}", 0)
        self._kind = preamble.kind
        is_module = self._kind is BinaryKind.MODULE
        self._wit = None if is_module else WitPackage()
        last = module.LAST_SECTION if is_module else component.LAST_SECTION
        while True:
            self._place = ""
            number = (yield 1)[0]
            self._place, start = f"section {number}", self._at - 1
            self._budget.spend(0, start)
            if number > last:
                raise WasmError(f"{number} is no section of {preamble}", start)
            size = yield from self._number()
            self._place = f"section {number}, which has {size} bytes from byte {self._at} on"
            if number == _CUSTOM:
                yield from self._read_custom(size)
            elif self._is_read(number, size):
                if size > limits.SECTION:
                    raise WasmError(f"a section of {size} bytes, more than we read", start)
                base = self._at
                cursor = Cursor((yield size) if size else b"", base)
                if is_module:
                    self._read_module(number, cursor)
                else:
                    self._read_component(number, cursor)
            elif size:
                yield -size

    def _number(self) -> Generator[int, bytes, int]:
        """A LEB128 number of 32 bits, byte by byte."""
        start, content = self._at, b""
        while True:
            content += yield 1
            if content[-1] < 0x80 or len(content) == 5:
                return Cursor(content, start).unsigned()

    def _is_read(self, number: int, size: int) -> bool:
        if self._kind is BinaryKind.MODULE:
            return number in (module.IMPORTS, module.EXPORTS)
        if number not in (component.TYPES, component.EXPORTS):
            self._wit = None  # it holds something else
        if number == component.TYPES:
            if self._wit is not None and not self._wit.has_room(size):
                self._wit = None
            return self._wit is not None
        return number in (component.IMPORTS, component.EXPORTS)

    def _read_module(self, number: int, cursor: Cursor) -> None:
        is_import = number == module.IMPORTS
        found = module.imports(cursor) if is_import else module.exports(cursor)
        for extern in found:
            self._keep(extern, self._imports if is_import else self._exports, cursor)
        cursor.end(f"section {number}")

    def _read_component(self, number: int, cursor: Cursor) -> None:
        if number == component.TYPES:
            try:
                if self._wit is not None:
                    self._wit.add_types(cursor)
            except WasmError:
                self._wit = None  # not understood: then it is a component as any other
            return
        if number == component.IMPORTS:
            for extern in component.imports(cursor):
                self._keep(extern, self._imports, cursor)
        else:
            for extern, index in component.exports(cursor):
                self._keep(extern, self._exports, cursor)
                if self._wit is not None and not self._wit.add_export(extern, index):
                    self._wit = None
        cursor.end(f"section {number}")

    def _keep(self, extern: Extern, among: list[Extern], cursor: Cursor) -> None:
        self._budget.spend(len(extern.name) + len(extern.module), cursor.offset)
        among.append(extern)

    def _read_custom(self, size: int) -> _Walk:
        end = self._at + size
        if size == 0:
            raise WasmError("a custom section without a name", self._at)
        start = self._at
        length = yield from self._number()
        if length > limits.NAME or length > end - self._at:
            raise WasmError(f"a name of {length} bytes in a section of {size}", start)
        offset = self._at
        name = decode_name((yield length) if length else b"", offset)
        offset, left = self._at, end - self._at
        held = min(left, limits.PAYLOAD) if name in KEPT else 0
        self._budget.spend(len(name) + held, offset)
        payload = (yield held) if held else b""
        self._custom.append(CustomSection(name, offset, left, payload))
        if left > held:
            yield held - left


def read_binary(content: bytes | bytearray | memoryview) -> Binary:
    """A binary that is all there.  Raises WasmError."""
    reader = Reader()
    reader.feed(content)
    return reader.finish()
