"""Conditional requests on tags.  Source: RFC 9110, 13; the entity tag is the quoted digest."""

from __future__ import annotations

import re
from dataclasses import dataclass

ANY = ("*",)

_TAGS = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')


def entity_tag(digest: object) -> str:
    return f'"{digest}"'


def parse_entity_tags(text: str) -> tuple[str, ...]:
    """``*`` or the entity tags of If-Match and If-None-Match, quotes and ``W/`` kept.

    A value without quotes is taken as one tag: that is what some clients send.
    """
    text = text.strip()
    if text == "*":
        return ANY
    return tuple(_TAGS.findall(text)) or ((f'"{text}"',) if text and '"' not in text else ())


def matches(tags: tuple[str, ...], current: str | None) -> bool:
    """Weak comparison, for reading: is `current` (an entity tag, None: nothing there) named?"""
    if current is None:
        return False
    return tags == ANY or any(tag.removeprefix("W/") == current for tag in tags)


@dataclass(frozen=True, slots=True)
class Precondition:
    """What a tag must, and must not, point to before it changes; None: no such condition."""

    match: tuple[str, ...] | None = None
    none_match: tuple[str, ...] | None = None

    def holds(self, current: str | None) -> bool:
        """`current` is the digest that the tag points to, None when there is no such tag."""
        tag = None if current is None else entity_tag(current)
        # Strong comparison: a weak entity tag never matches.
        if self.match is not None and not (tag and (self.match == ANY or tag in self.match)):
            return False
        return self.none_match is None or not matches(self.none_match, tag)


UNCONDITIONAL = Precondition()
