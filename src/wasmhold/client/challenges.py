"""``WWW-Authenticate``: what a registry asks for.  Source: RFC 9110, 11.6.1; RFC 6750, 3."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

_NAME: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SEPARATORS: Final = re.compile(r"[\s,]*")
_PARAMETER: Final = re.compile(rf'({_NAME})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_NAME}))\s*(?=,|$)')
_SCHEME: Final = re.compile(rf"({_NAME})(?:\s+|(?=,)|$)")
_TOKEN68: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*\s*(?=,|$)")


@dataclass(frozen=True, slots=True)
class Challenge:
    """`scheme` and the names of `parameters` are in lower case."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict, hash=False)

    def get(self, name: str) -> str | None:
        return self.parameters.get(name)


def parse_challenges(values: Iterable[str]) -> list[Challenge]:
    """All challenges of all fields, in order; each field may hold several.

    What is no challenge ends its field: what stands before it counts.
    """
    return [challenge for value in values for challenge in _of_one_field(value)]


def _of_one_field(value: str) -> list[Challenge]:
    found: list[tuple[str, dict[str, str]]] = []
    at = 0
    while True:
        match = _SEPARATORS.match(value, at)
        at = match.end() if match else at
        # A name with "=" behind it belongs to the challenge before; another begins the next one.
        if found and (match := _PARAMETER.match(value, at)):
            name, quoted, plain = match.groups()
            text = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            found[-1][1].setdefault(name.lower(), text)
            at = match.end()
        elif match := _SCHEME.match(value, at):
            found.append((match[1].lower(), {}))
            at = match.end()
            if not _PARAMETER.match(value, at) and (match := _TOKEN68.match(value, at)):
                at = match.end()
        else:
            return [Challenge(scheme, parameters) for scheme, parameters in found]
