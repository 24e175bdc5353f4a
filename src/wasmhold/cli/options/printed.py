"""The configuration as TOML that can be read again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from .kinds import Value
from .option import Option
from .sources import Configuration


def to_toml(options: Sequence[Option], configuration: Configuration) -> Iterator[str]:
    """One line for each option, with its source; what is not set is a comment."""
    for option in options:
        given = configuration[option.name]
        if given.value is None or given.value == ():
            holds = f": {option.unset.replace('`', '')}" if option.unset else ""
            source = "" if given.is_default else f"  ({given.source})"
            yield f"# {option.name} is not set{holds}{source}"
        else:
            yield f"{option.name} = {_literal(given.value)}  # {_comment(given.source)}"


def _literal(value: Value) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    # Strings of JSON are strings of TOML but for DEL, and for pairs of surrogates as escapes.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _comment(source: str) -> str:
    return source if source.isprintable() else json.dumps(source)
