"""Byte ranges.  Source: RFC 9110, 14; distribution-spec, "Pushing a blob in chunks"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from ..oci.errors import RangeNotSatisfiable, UploadInvalid

_RANGE = re.compile(r"bytes=[ \t]*(?:([0-9]{1,19})-([0-9]{0,19})|-([0-9]{1,19}))[ \t]*")
_CONTENT_RANGE = re.compile(r"(?:bytes )?([0-9]{1,19})-([0-9]{1,19})(?:/(?:\*|[0-9]{1,19}))?")
_HELD = re.compile(r"(?:bytes=)?0-(-?[0-9]{1,19})")


@dataclass(frozen=True, slots=True)
class ByteRange:
    """``Range: bytes=first-last``; `first` None is a suffix: the last `last` bytes."""

    first: int | None
    last: int | None

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """One range, or None: what is no range, or several, is answered with the whole."""
        match = _RANGE.fullmatch(text)
        if match is None:
            return None
        first, last, suffix = match.groups()
        if first is None:
            return cls(None, int(suffix))
        return cls(int(first), int(last) if last else None)

    def within(self, size: int) -> tuple[int, int]:
        """Start and one past the end, in bytes of content of `size`.  Raises RangeNotSatisfiable.

        A range that ends before it begins is answered with 416 as well: the specification's own
        suite asks for it.
        """
        if self.first is None:
            start, stop = max(0, size - (self.last or 0)), size
        else:
            start = self.first
            stop = size if self.last is None else min(size, self.last + 1)
        if start >= stop:
            raise RangeNotSatisfiable(size)
        return start, stop

    def __str__(self) -> str:
        first = "" if self.first is None else self.first
        last = "" if self.last is None else self.last
        return f"bytes={first}-{last}"


def parse_content_range(text: str) -> tuple[int, int]:
    """``0-4`` of an upload becomes (0, 5): start and one past the end, in bytes.

    ``bytes 0-4/*`` is taken as well.  Raises UploadInvalid.
    """
    match = _CONTENT_RANGE.fullmatch(text.strip())
    if match is None or int(match[2]) < int(match[1]):
        raise UploadInvalid(f"Content-Range {text[:100]!r} is not START-END")
    return int(match[1]), int(match[2]) + 1


def format_held(offset: int) -> str:
    """``Range`` of an upload that holds `offset` bytes; nothing yet is ``0-0`` (DS-048)."""
    return f"0-{max(0, offset - 1)}"


def parse_held(text: str, fresh: bool) -> int:
    """The bytes that an upload holds; ``0-0`` of a `fresh` one and ``0--1`` are none.

    Raises UploadInvalid.
    """
    match = _HELD.fullmatch(text.strip())
    if match is None:
        raise UploadInvalid(f"Range {text[:100]!r} of an upload is not 0-END")
    last = int(match[1])
    return 0 if fresh and last == 0 else last + 1
