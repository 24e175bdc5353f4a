"""What a proxy does to an exchange, as data: ``cut=1000``, ``corrupt``, ``slow=50000``, ``503``."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final, TypeAlias

from ..faults import Close, Status, Truncate, parse_action
from ..oci.errors import RequestInvalid


@dataclass(frozen=True, slots=True)
class Cut:
    """Cut the connection behind the first bytes of the answer's body, so many of them."""

    after: int


@dataclass(frozen=True, slots=True)
class CutRequest:
    """Cut both connections when so many bytes of the request's body have passed."""

    after: int


@dataclass(frozen=True, slots=True)
class Lost:
    """The registry gets the whole request; its answer is lost, and the connection cut."""


@dataclass(frozen=True, slots=True)
class Corrupt:
    """One byte of the answer's body is another."""


@dataclass(frozen=True, slots=True)
class CorruptRequest:
    """One byte of the request's body is another."""


@dataclass(frozen=True, slots=True)
class Slow:
    """The answer's body comes with so many bytes in a second."""

    rate: int


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing is answered, and the connection stays open."""


@dataclass(frozen=True, slots=True)
class WrongDigest:
    """``Docker-Content-Digest`` of the answer is that of other content."""


@dataclass(frozen=True, slots=True)
class WrongLength:
    """``Content-Length`` of the answer is so many bytes too large; below zero: too small."""

    by: int


@dataclass(frozen=True, slots=True)
class Redirect:
    """To the registry behind the proxy, which is another host to a client."""


@dataclass(frozen=True, slots=True)
class RedirectLoop:
    """To the same place, again and again."""


Effect: TypeAlias = (
    Status
    | Close
    | Truncate
    | Cut
    | CutRequest
    | Lost
    | Corrupt
    | CorruptRequest
    | Slow
    | Silence
    | WrongDigest
    | WrongLength
    | Redirect
    | RedirectLoop
)

EFFECTS: Final[dict[str, Any]] = {
    "cut": Cut,
    "cut-request": CutRequest,
    "lost": Lost,
    "corrupt": Corrupt,
    "corrupt-request": CorruptRequest,
    "slow": Slow,
    "silence": Silence,
    "wrong-digest": WrongDigest,
    "wrong-length": WrongLength,
    "redirect": Redirect,
    "redirect-loop": RedirectLoop,
}


def parse_effect(text: str) -> Effect:
    """A name of `EFFECTS`, with ``=NUMBER`` where it has one; or what a registry simulates too.

    Raises RequestInvalid.
    """
    word, equals, number = text.partition("=")
    kind = EFFECTS.get(word)
    if kind is None:
        return parse_action(text)
    if bool(fields(kind)) != bool(equals):
        raise RequestInvalid(f"want {word}{'' if equals else '=NUMBER'}", text)
    try:
        effect: Effect = kind(*[int(number)] if equals else [])
    except ValueError:
        raise RequestInvalid("that is no number", text) from None
    if not isinstance(effect, WrongLength) and number.startswith("-"):
        raise RequestInvalid("the number is below zero", text)
    if isinstance(effect, Slow) and effect.rate == 0:
        raise RequestInvalid("at that rate nothing comes: say silence", text)
    return effect
