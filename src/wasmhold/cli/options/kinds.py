"""Kinds of values: what is taken, and what is said of the rest.

A value comes as text, or from a file as the type that it has there; both are read by one function.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from ...client.sizes import is_whole, parse_size

Value: TypeAlias = Any  # what `Kind.parse` makes; str() of it can be parsed again


@dataclass(frozen=True, slots=True)
class Kind:
    """`types` are those that a value may have in a file; `words` say so.

    `parse` raises ValueError, which says what is wrong with the text.
    """

    metavar: str
    parse: Callable[[str], Value]
    types: tuple[type, ...] = (str,)
    words: str = "text"


@dataclass(frozen=True, slots=True)
class HostPort:
    """Where to listen; `host` is a name or an address, without brackets."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> HostPort:
        """Raises ValueError."""
        host, _, port = text.rpartition(":")
        if not host or not port.isascii() or not port.isdecimal() or int(port[:6]) > 65535:
            raise ValueError(f"{text!r} is not HOST:PORT, for example 127.0.0.1:5000")
        return cls(host.strip("[]"), int(port))

    def __str__(self) -> str:
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        import ipaddress  # for the server alone

        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def _parse_switch(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(f"{text!r} is neither true nor false")
    return text == "true"


def _parse_file(text: str) -> str:
    """The absolute path: who prints the configuration may stand elsewhere than who uses it."""
    if not text:
        raise ValueError("the path is empty")
    from pathlib import Path

    try:
        return str(Path(text).absolute())
    except OSError as error:
        raise ValueError(f"{text!r} cannot be looked up from here: {error.strerror}") from None


def whole(metavar: str, least: int) -> Kind:
    """Whole numbers from `least`."""

    def parse(text: str) -> int:
        if not is_whole(text) or int(text) < least:
            raise ValueError(f"{text!r} is no whole number of {least} or more")
        return int(text)

    return Kind(metavar, parse, (int,), "a whole number")


def number(metavar: str) -> Kind:
    """Numbers from 0, with or without a point."""

    def parse(text: str) -> float:
        if is_whole(text):
            return int(text)
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (0 <= value < math.inf):
            raise ValueError(f"{text!r} is no number of 0 or more")
        return value

    return Kind(metavar, parse, (int, float), "a number")


def choice(*words: str) -> Kind:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"{text!r} is none of {', '.join(words)}")
        return text

    return Kind("|".join(words), parse)


SWITCH: Final = Kind("", _parse_switch, (bool,), "true or false")
TEXT: Final = Kind("TEXT", str)
FILE: Final = Kind("FILE", _parse_file)
HOST_PORT: Final = Kind("HOST:PORT", HostPort.parse)
SIZE: Final = Kind("SIZE", parse_size, (str, int), "a size as text, or a number of bytes")
