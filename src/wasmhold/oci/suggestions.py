"""What may have been meant by a name that nobody knows."""

from __future__ import annotations

import difflib
from collections.abc import Collection


def unknown_key(key: str, known: Collection[str], what: str = "key", prefix: str = "") -> str:
    """What is said of a key that nobody knows: the one that may be meant, behind its `prefix`."""
    near = difflib.get_close_matches(key, known, 1)
    hint = f"did you mean {prefix}{near[0]}?" if near else f"there are {', '.join(sorted(known))}"
    return f"no such {what}; {hint}"
