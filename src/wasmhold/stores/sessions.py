"""Names of upload sessions."""

from __future__ import annotations

import re
from typing import Final

from ..ports.runtime import Randomness

_ID: Final = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def new_id(randomness: Randomness) -> str:
    """A UUID of version 4 (RFC 9562, 5.4)."""
    token = bytearray(randomness.token(16))
    token[6] = token[6] & 0x0F | 0x40
    token[8] = token[8] & 0x3F | 0x80
    text = token.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def is_id(text: str) -> bool:
    """Whether `new_id` can have made it; what is not is never made into a path."""
    return _ID.fullmatch(text) is not None
