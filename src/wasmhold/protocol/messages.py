"""Requests and responses as plain values; no socket, no framework.

Field names are lower-case bytes and values bytes, as every host has them: nothing is decoded
that nobody asks for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from ..ports.body import Body

Fields: TypeAlias = Sequence[tuple[bytes, bytes]]


def field(fields: Fields, name: bytes) -> str | None:
    """The first value of the field `name` (lower case), or None."""
    for key, value in fields:
        if key == name:
            return value.decode("latin-1")
    return None


def field_values(fields: Fields, name: bytes) -> tuple[str, ...]:
    """All values of the list field `name`: over all its lines, split at commas (RFC 9110, 5.3)."""
    found: tuple[str, ...] = ()
    for key, value in fields:
        if key == name:
            found += _split(value)
    return found


# Clients send the same few lists with every request.
@lru_cache(maxsize=256)
def _split(value: bytes) -> tuple[str, ...]:
    parts = value.decode("latin-1").split(",")
    return tuple(item for part in parts if (item := part.strip()))


@dataclass(frozen=True, slots=True)
class Request:
    """`path` and `query` are as they came on the wire: percent-encoded, without the ``?``."""

    method: str
    path: str
    query: str = ""
    fields: Fields = ()

    @property
    def target(self) -> str:
        return f"{self.path}?{self.query}" if self.query else self.path


@dataclass(frozen=True, slots=True)
class Response:
    """`body` is None where the method or status has none; its length is in the fields."""

    status: int
    fields: Fields
    body: Body | None = None
