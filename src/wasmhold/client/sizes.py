"""Sizes as people write them."""

from __future__ import annotations

from typing import Final

from ..oci import limits

_UNITS: Final = {"": 1, "KiB": limits.KIB, "MiB": limits.MIB, "GiB": 1024 * limits.MIB}
_DIGITS: Final = 18  # what is longer counts nothing that there is


def parse_size(text: str) -> int:
    """Bytes of ``500MiB``, ``1GiB`` or a plain number.  Raises ValueError."""
    number = text.rstrip("KMGiB")
    unit = _UNITS.get(text[len(number) :])
    if unit is None or not is_whole(number):
        raise ValueError(f"{text!r} is no size, for example 1GiB, 500MiB or 0")
    return int(number) * unit


def is_whole(text: str) -> bool:
    """Whether `text` is a whole number of 0 or more, and no endless one."""
    return text.isascii() and text.isdecimal() and len(text) <= _DIGITS
