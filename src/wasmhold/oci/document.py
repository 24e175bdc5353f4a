"""JSON from outside, read strictly: two parsers must never see two documents in one."""

from __future__ import annotations

import json
from typing import NoReturn

from . import limits
from .errors import Fault, ManifestInvalid


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ManifestInvalid(Fault(key, "the member is there twice"))
            seen.add(key)
    return members


def _no_constant(text: str) -> NoReturn:
    raise ManifestInvalid(Fault("", f"{text} is not JSON"))


def _depth(value: object) -> int:
    """Levels of nesting; a scalar has none."""
    depth, level = 0, [value]
    while level := [v for v in level if isinstance(v, dict | list)]:
        depth += 1
        level = [child for v in level for child in (v.values() if isinstance(v, dict) else v)]
    return depth


def parse_json(content: bytes) -> object:
    """The JSON in `content`: UTF-8, no member twice, at most 32 levels.  Raises ManifestInvalid."""
    try:
        value = json.loads(
            content.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant
        )
    except UnicodeDecodeError as error:
        raise ManifestInvalid(Fault("", f"not UTF-8 at byte {error.start}")) from None
    except RecursionError:
        raise ManifestInvalid(Fault("", f"nested deeper than {limits.JSON_DEPTH}")) from None
    except json.JSONDecodeError as error:
        raise ManifestInvalid(
            Fault("", f"not JSON: {error.msg} at line {error.lineno} column {error.colno}")
        ) from None
    except ValueError as error:  # an integer of more than 4,300 digits
        raise ManifestInvalid(Fault("", f"not JSON that we read: {error}")) from None
    if _depth(value) > limits.JSON_DEPTH:
        raise ManifestInvalid(Fault("", f"nested deeper than {limits.JSON_DEPTH}"))
    return value


def parse_object(content: bytes) -> dict[str, object]:
    """The same, where it is an object."""
    value = parse_json(content)
    if not isinstance(value, dict):
        raise ManifestInvalid(Fault("", "not a JSON object"))
    return value
