"""``@covers("DS-022")``: which rows of `docs/requirements` a test holds."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

Test = TypeVar("Test", bound=Callable[..., Any])

_ROW = re.compile(r"[A-Z]{2}-[0-9]{3}[a-z]?")


def covers(*rows: str) -> Callable[[Test], Test]:
    """Name the rows that the test below holds; ``make rows`` lists those that no test names.

    Raises ValueError for what is no row.
    """
    for row in rows:
        if _ROW.fullmatch(row) is None:
            raise ValueError(f"{row!r} is no row: want two letters, a dash, three digits")

    def mark(test: Test) -> Test:
        test.__covers__ = (*rows, *getattr(test, "__covers__", ()))  # type: ignore[attr-defined]
        return test

    return mark
