"""A place in bytes that are all there: numbers, names, vectors.

Source: WebAssembly core specification, "Binary Format", "Conventions" and "Values".
"""

from __future__ import annotations

from . import limits
from .errors import WasmError


class Cursor:
    """Reads on from `data`; `base` is where it begins in the binary, so that errors tell offsets.

    Every method raises WasmError where the bytes end too early or are not what they should be.
    """

    __slots__ = ("_at", "_base", "_data")

    def __init__(self, data: bytes, base: int) -> None:
        self._data, self._base, self._at = data, base, 0

    @property
    def offset(self) -> int:
        """Of the next byte, in the binary."""
        return self._base + self._at

    @property
    def left(self) -> int:
        """Bytes."""
        return len(self._data) - self._at

    def byte(self) -> int:
        if self._at == len(self._data):
            raise WasmError("too few bytes", self.offset)
        self._at += 1
        return self._data[self._at - 1]

    def peek(self) -> int | None:
        """The next byte, which stays; None at the end."""
        return self._data[self._at] if self.left else None

    def take(self, size: int) -> bytes:
        if size > self.left:
            raise WasmError(f"want {size} bytes, {self.left} are left", self.offset)
        self._at += size
        return self._data[self._at - size : self._at]

    def unsigned(self, bits: int = 32) -> int:
        """A LEB128 number of at most `bits` bits."""
        start, number, shift = self.offset, 0, 0
        while True:
            byte = self.byte()
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                if number >> bits:
                    raise WasmError(f"a number of more than {bits} bits", start)
                return number
            if shift >= bits:
                raise WasmError(f"a number of more than {bits} bits", start)

    def skip_signed(self, bits: int = 33) -> None:
        """A signed LEB128 number whose value does not matter."""
        start = self.offset
        for _ in range(-(-bits // 7)):
            if self.byte() < 0x80:
                return
        raise WasmError(f"a number of more than {bits} bits", start)

    def count(self) -> int:
        """The length of a vector; each element has at least one byte."""
        start, count = self.offset, self.unsigned()
        if count > self.left:
            raise WasmError(f"{count} elements in {self.left} bytes", start)
        return count

    def name(self) -> str:
        start, size = self.offset, self.unsigned()
        if size > limits.NAME:
            raise WasmError(f"a name of {size} bytes, more than {limits.NAME}", start)
        return decode_name(self.take(size), self.offset - size)

    def end(self, of: str) -> None:
        if self.left:
            raise WasmError(f"{self.left} bytes too many in {of}", self.offset)


def decode_name(content: bytes, offset: int) -> str:
    """UTF-8.  Raises WasmError with the offset of the byte that is none."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise WasmError("a name that is not UTF-8", offset + error.start) from None
