"""All tags of a repository, page by page."""

from __future__ import annotations

from typing import Final

from ..ports.repository import Tags

_PAGE: Final = 1000  # tags that are asked for at once


async def all_tags(repository: Tags) -> list[str]:
    """In byte order.  Raises NameUnknown."""
    found: list[str] = []
    while True:
        page = await repository.tags(found[-1] if found else "", _PAGE)
        found += page
        if len(page) < _PAGE:
            return found
