"""A password file: one ``user:hash`` a line, as Apache's htpasswd writes it with ``-B``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ..oci.errors import Fault, FileInvalid

# A check takes 48 ms at cost 10 and twice as long with each more: at 17 anybody who asks could keep
# a core busy for many seconds.
MAX_COST: Final = 16

_BCRYPT: Final = re.compile(r"\$2[abxy]\$(?P<cost>[0-9]{2})\$[./A-Za-z0-9]{53}")
_ADVICE: Final = "make the line with `wasmhold hash` or `htpasswd -B`"


def fault_of_hash(text: str) -> str | None:
    """Why `text` is no bcrypt hash that we check; it never holds the text itself."""
    match = _BCRYPT.fullmatch(text)
    if match is None:
        return f"not a bcrypt hash: {_ADVICE}"
    if not 4 <= int(match["cost"]) <= MAX_COST:
        return f"the cost of a bcrypt hash is 4 to {MAX_COST}: {_ADVICE}"
    return None


def fault_of_name(name: str) -> str | None:
    """Why nobody could log in with this name (RFC 7617, 2)."""
    if not name:
        return "the name is empty"
    if ":" in name or not name.isprintable():
        return "a name has no colon and no control character"
    return None


def parse_htpasswd(text: str, file: str) -> Mapping[str, str]:
    """Name to bcrypt hash; empty lines and those that begin with ``#`` are let be.

    Raises FileInvalid with every fault and its line.
    """
    users: dict[str, str] = {}
    faults = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, colon, hashed = line.partition(":")
        if not colon:
            reason: str | None = f"want user:hash: {_ADVICE}"
        elif name in users:
            reason = f"{name} is there twice: take one line out"
        else:
            reason = fault_of_name(name) or fault_of_hash(hashed)
        if reason is not None:
            faults.append(Fault(f"line {number}", reason))
        users[name] = hashed
    if faults:
        raise FileInvalid(file, *faults)
    return users
