"""``flock``: the one thing of the directory store that a guest has not."""

from __future__ import annotations

import fcntl


def flock(descriptor: int, exclusive: bool) -> bool:
    """`native.Locks`: try to lock an open file; False when somebody else holds it."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
