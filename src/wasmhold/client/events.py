"""What happens in a copy, as values: for progress bars, ``--json``, and tests.

A listener is called by one thread at a time, where the thing happens, so it should return at once.
What it raises ends the copy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from ..oci.descriptor import Descriptor
from ..oci.errors import WasmholdError


class Side(Enum):
    SOURCE = "source"
    DESTINATION = "destination"


@dataclass(frozen=True, slots=True)
class Planned:
    """This will be moved, unless it can be mounted."""

    side: Side
    descriptor: Descriptor


@dataclass(frozen=True, slots=True)
class Skipped:
    """This stays where it is: the destination has it, or it is not to be distributed."""

    side: Side
    descriptor: Descriptor
    reason: str


@dataclass(frozen=True, slots=True)
class Started:
    side: Side
    descriptor: Descriptor


@dataclass(frozen=True, slots=True)
class Advanced:
    """`at` bytes of it were read from the source; not told for each chunk."""

    side: Side
    descriptor: Descriptor
    at: int


@dataclass(frozen=True, slots=True)
class Mounted:
    """The destination took it from another of its repositories."""

    side: Side
    descriptor: Descriptor


@dataclass(frozen=True, slots=True)
class Finished:
    """It is in the destination; `tags` point to it."""

    side: Side
    descriptor: Descriptor
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """`again`: in `wait_s` seconds it is tried from where it broke; else this ends the copy."""

    side: Side
    descriptor: Descriptor
    error: WasmholdError
    again: bool
    wait_s: float = 0.0


Event: TypeAlias = Planned | Skipped | Started | Advanced | Mounted | Finished | Failed
Listener: TypeAlias = Callable[[Event], object]


def nobody(event: Event) -> None:
    """The listener that does not listen."""
