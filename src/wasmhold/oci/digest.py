"""Digests: the names of content.  Source: image-spec descriptor.md, "Digests"."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final, Protocol, Self

from .errors import DigestInvalid

# Only registered algorithms: an unknown one cannot be checked, so it cannot be stored.
HEX_LENGTH: Final = {"sha256": 64, "sha512": 128}
DEFAULT_ALGORITHM: Final = "sha256"

_GRAMMAR = re.compile(r"(?P<algorithm>[a-z0-9]+(?:[+._-][a-z0-9]+)*):(?P<encoded>[a-zA-Z0-9=_-]+)")
_HEX = re.compile(r"[a-f0-9]+")


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """``algorithm:encoded``; two digests are equal exactly when their strings are."""

    algorithm: str
    encoded: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `text`, for example ``sha256:9f86d0…`` (71 characters).

        Raises DigestInvalid, with the span that is wrong.
        """
        match = _GRAMMAR.fullmatch(text)
        if match is None:
            raise DigestInvalid("not a digest, want algorithm:encoded", text)
        algorithm, encoded = match.groups()
        want = HEX_LENGTH.get(algorithm)
        if want is None:
            raise DigestInvalid("unknown digest algorithm", text, match.span("algorithm"))
        if len(encoded) != want or _HEX.fullmatch(encoded) is None:
            raise DigestInvalid(f"want {want} lower-case hex digits", text, match.span("encoded"))
        return cls(algorithm, encoded)

    @classmethod
    def of(cls, content: bytes, algorithm: str = DEFAULT_ALGORITHM) -> Self:
        """The digest of `content`; for a stream, feed a hasher instead."""
        return cls(algorithm, hashlib.new(algorithm, content).hexdigest())

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.encoded}"


class Hasher(Protocol):
    """A running hash, as hashlib makes them; `update` drops the GIL above 2 KiB."""

    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...
    def copy(self) -> Self: ...


def hasher(algorithm: str = DEFAULT_ALGORITHM) -> Hasher:
    """A running hash of nothing yet.  Raises DigestInvalid for an algorithm we cannot check."""
    if algorithm not in HEX_LENGTH:
        raise DigestInvalid("unknown digest algorithm", algorithm)
    return hashlib.new(algorithm)
