"""What fails on demand while it runs in a thread of its own: the registry and the proxy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar

from ..faults import Rules, parse_rule
from .background import Background

A = TypeVar("A")


def described(rules: Rules[Any]) -> list[dict[str, object]]:
    """The rules in force, with how many requests each has met."""
    return [
        {"operation": rule.kind, "error": rule.text, "met": met} for rule, met in rules.listed()
    ]


class Simulating(Generic[A]):
    """`host` is what stands before a repository in a reference, ``127.0.0.1:49152``; `url` has
    ``http://`` before it.  Close it, or use it in a ``with``.
    """

    def __init__(self, background: Background, rules: Rules[A], parse: Callable[[str], A]) -> None:
        self._background, self._rules, self._parse = background, rules, parse
        self.host = background.host
        self.url = f"http://{self.host}"

    def simulate(self, operation: str, error: str) -> None:
        """Fail from now on, for example ``simulate("blob-get", "503:2")``.

        Raises RequestInvalid, NameInvalid.
        """
        self._background.call(self._rules.add, parse_rule(operation, error, self._parse))

    def simulations(self) -> list[dict[str, object]]:
        """The rules in force, with how many requests each has met."""
        return self._background.call(described, self._rules)

    def clear(self) -> None:
        """Fail no more."""
        self._background.call(self._rules.clear)

    def close(self) -> None:
        """End it, and every connection to it; a second time is no error."""
        self._background.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
