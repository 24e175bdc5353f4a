"""Versions of packages.  Source: Semantic Versioning 2.0.0, 2, 9, 10 and 11."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering
from typing import Final, Self

from .oci.errors import InputError

_MAX: Final = 2**64 - 1  # what other readers keep of a number
_NUMBER = r"0|[1-9][0-9]*"
_PRE = r"(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
_BUILD = r"[0-9a-zA-Z-]+"
_GRAMMAR: Final = re.compile(
    rf"({_NUMBER})\.({_NUMBER})\.({_NUMBER})"
    rf"(?:-({_PRE}(?:\.{_PRE})*))?(?:\+({_BUILD}(?:\.{_BUILD})*))?"
)


class VersionInvalid(InputError):
    """Text that is no version."""


@total_ordering
@dataclass(frozen=True, slots=True)
class Version:
    """Ordered by precedence, and, where that is equal, by build metadata."""

    major: int
    minor: int
    patch: int
    prerelease: tuple[str, ...] = ()
    build: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``1.2.3-rc.1+build``.  Raises VersionInvalid."""
        match = _GRAMMAR.fullmatch(text)
        if match is None or len(text) > 1024:
            raise VersionInvalid("not a semantic version, want 1.2.3", text)
        major, minor, patch = (int(match[number][:21]) for number in (1, 2, 3))
        if max(major, minor, patch) > _MAX:
            raise VersionInvalid(f"a number of a version is at most {_MAX}", text)
        prerelease, build = (tuple(match[n].split(".")) if match[n] else () for n in (4, 5))
        return cls(major, minor, patch, prerelease, build)

    def __str__(self) -> str:
        prerelease = f"-{'.'.join(self.prerelease)}" if self.prerelease else ""
        build = f"+{'.'.join(self.build)}" if self.build else ""
        return f"{self.major}.{self.minor}.{self.patch}{prerelease}{build}"

    @property
    def is_prerelease(self) -> bool:
        return bool(self.prerelease)

    def _order(self) -> tuple[object, ...]:
        # A release comes after its prereleases; of builds none is the least.
        return (
            (self.major, self.minor, self.patch),
            not self.prerelease,
            [_identifier(one) for one in self.prerelease],
            [_identifier(one) for one in self.build],
        )

    def __lt__(self, other: Version) -> bool:
        return self._order() < other._order()


def _identifier(text: str) -> tuple[int, int, str]:
    """Numbers come before text, and are compared as numbers."""
    if text.isdecimal():
        digits = text.lstrip("0")
        return (0, len(digits), digits)
    return (1, 0, text)
