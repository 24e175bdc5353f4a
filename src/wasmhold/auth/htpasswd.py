"""bcrypt: the one hash that password files have here.  A guest has none."""

from __future__ import annotations

from typing import Final

import bcrypt

MAX_PASSWORD: Final = 72  # bytes; bcrypt looks at no more


def check(password: bytes, hashed: str) -> bool:
    """Is this the password?  It takes as long as the hash's cost wants, whatever the answer.

    One of more than 72 bytes, or with a NUL, can be none that was hashed.
    """
    if len(password) > MAX_PASSWORD or b"\0" in password:
        return False
    return bcrypt.checkpw(password, hashed.encode())


def hash_password(password: bytes, cost: int) -> str:
    """A new hash of `password`, for a line of a password file.

    Raises ValueError where bcrypt cannot: more than 72 bytes, a NUL, no password.
    """
    if not password:
        raise ValueError("the password is empty")
    if b"\0" in password:
        raise ValueError("the password has a NUL")
    if len(password) > MAX_PASSWORD:
        raise ValueError(f"the password has more than {MAX_PASSWORD} bytes")
    return bcrypt.hashpw(password, bcrypt.gensalt(cost)).decode()
