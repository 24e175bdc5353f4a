"""How many requests a second one address, or one user, may send: a token bucket.

Kept as one moment for each key (the generic cell rate algorithm): when the bucket would be full
again.  The moments lie in a table of fixed size that all workers share, so the limit is the
server's and not each worker's, and a million addresses take no more memory than one.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Final, Protocol

from ..oci.errors import TooManyRequests

WAYS: Final = 4  # places that a key may have
CELLS: Final = WAYS << 15  # of 64 bits: 1 MiB
_S: Final = 1_000_000  # microseconds
_TIME: Final = (1 << 44) - 1  # a moment, in microseconds; what is above it is of the key's hash


class Limiter(Protocol):
    def check(self, key: str) -> None:
        """Count one request of `key`.  Raises TooManyRequests, and then counts nothing."""
        ...


@lru_cache(maxsize=4096)
def by_address(address: str) -> str:
    """The key of a client's address; of IPv6 a network of 64 bits, which one customer has."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return f"address {address}"
    if found.version == 4:
        return f"address {address}"
    return f"address {ipaddress.ip_network((int(found), 64), strict=False)}"


def by_user(name: str) -> str:
    return f"user {name}"


class TableLimiter:
    """`rate` requests in each second, and as many at once as one second gives (at least one).

    A cell is written whole or not at all.  Two workers that count for one key in the same moment
    may count once; where all cells of a key are in use, the one that is due first is taken.  So
    more may pass than should, and never fewer.  A moment that lies further ahead than any that is
    written here is none.
    """

    def __init__(
        self, rate: float, cells: memoryview, secret: bytes, now: Callable[[], float]
    ) -> None:
        """`cells`: CELLS of format ``Q``.  `secret`: no sender can choose who shares a cell.

        `now` is in seconds and the same in all processes that share the cells.
        """
        self._cells, self._now = cells, now
        self._step = max(1, int(_S / rate))
        self._window = max(_S, self._step)
        self._sets = len(cells) // WAYS

        @lru_cache(maxsize=4096)
        def place(key: str) -> tuple[int, int]:
            digest = hashlib.blake2b(key.encode(), key=secret, digest_size=8).digest()
            number = int.from_bytes(digest)
            return number % self._sets * WAYS, number & ~_TIME

        self._place = place

    def check(self, key: str) -> None:
        cells, (first, mark) = self._cells, self._place(key)
        now = int(self._now() * _S) & _TIME
        chosen, waits = first, self._window + 1
        for index in range(first, first + WAYS):
            cell = cells[index]
            ahead = (cell - now) & _TIME
            if ahead > self._window:
                ahead = 0
            if cell & ~_TIME == mark:
                chosen, waits = index, ahead
                break
            if ahead < waits:
                chosen, waits = index, ahead
        else:
            waits = 0
        over = waits + self._step - self._window
        if over > 0:
            raise TooManyRequests(math.ceil(over / _S))
        cells[chosen] = mark | (now + waits + self._step) & _TIME
