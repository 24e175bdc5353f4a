"""Is this the password of this user?  Slow on purpose, so asked seldom and for few at once."""

from __future__ import annotations

import hashlib
import hmac
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, Literal, TypeAlias

from ..oci.errors import TooManyRequests
from ..ports.runtime import Gate, Runtime

KEPT_S: Final = 300.0  # a good login
WAITING: Final = 64  # checks that wait for a core
RETRY_AFTER_S: Final = 1

# The password in UTF-8 and a bcrypt hash; slow, whatever the answer.
Check: TypeAlias = Callable[[bytes, str], bool]

Login: TypeAlias = Literal["good", "wrong", "known"]  # `known`: it was good a short time ago

# Where a file is empty: a hash of cost 10 that no password has.
_NOBODY: Final = "$2b$10$" + "." * 53


class Cores:
    """At most `count` checks at once, and at most `waiting` that wait for their turn."""

    def __init__(
        self,
        runtime: Runtime,
        count: int,
        waiting: int = WAITING,
        heard: Callable[[Login], None] = lambda login: None,
    ) -> None:
        """`heard` is told of each login, for who counts them."""
        self.runtime, self.heard = runtime, heard
        self._free, self._room = count, waiting
        self._queue: deque[Gate] = deque()

    async def run(self, check: Check, password: bytes, hashed: str) -> bool:
        """Raises TooManyRequests where too many wait already."""
        await self._take()
        try:
            return await self.runtime.offload(check, password, hashed)
        finally:
            self._give()

    async def _take(self) -> None:
        if self._free:
            self._free -= 1
            return
        if len(self._queue) >= self._room:
            raise TooManyRequests(RETRY_AFTER_S)
        turn = self.runtime.gate()
        self._queue.append(turn)
        try:
            await turn.wait()
        except BaseException:
            # Cancelled: out of the queue, or, where the turn had come already, to the next one.
            if turn in self._queue:
                self._queue.remove(turn)
            else:
                self._give()
            raise

    def _give(self) -> None:
        """The core goes to who has waited longest, else it is free."""
        if self._queue:
            self._queue.popleft().open()
        else:
            self._free += 1


class _Flight:
    """A check that others wait for too; `result` None: it has not come to its end."""

    def __init__(self, landed: Gate) -> None:
        self.landed = landed
        self.result: bool | None = None


class Logins:
    """The passwords of one state of the files; a new state has new ones, and remembers nothing.

    An unknown name costs the same check as a known one, against the hash of an entry that its name
    chooses.  The choice depends on the files alone: with a random one each process would take
    another entry, and where costs differ, two times for one name would tell that it is unknown.
    """

    def __init__(self, users: Mapping[str, str], check: Check, cores: Cores, secret: bytes) -> None:
        """`users`: name to bcrypt hash.  `secret`: 16 bytes or more that nobody can guess."""
        self._users, self._check, self._cores = users, check, cores
        self._keyed = hashlib.blake2b(key=secret, digest_size=32)
        self._hashes = sorted(users.values()) or [_NOBODY]
        self._choice = hashlib.blake2b("\n".join(self._hashes).encode()).digest()
        self._good: dict[str, tuple[bytes, float]] = {}  # user: MAC of the login, when
        self._flights: dict[bytes, _Flight] = {}

    def remembers(self, user: str, password: bytes) -> bool:
        """Whether this login was good a short time ago; what every further request asks."""
        known = self._good.get(user)
        if (
            known is None
            or not 0 <= self._cores.runtime.now() - known[1] < KEPT_S
            or not hmac.compare_digest(known[0], self._mac(user, password))
        ):
            return False
        self._cores.heard("known")
        return True

    def _mac(self, user: str, password: bytes) -> bytes:
        mac = self._keyed.copy()
        mac.update(user.encode() + b":" + password)
        return mac.digest()

    async def is_valid(self, user: str, password: bytes) -> bool:
        """Raises TooManyRequests where too many logins are being checked."""
        mac = self._mac(user, password)
        while (flight := self._flights.get(mac)) is not None:
            await flight.landed.wait()
            if flight.result is not None:
                return flight.result
        return await self._fly(mac, user, password)

    async def _fly(self, mac: bytes, user: str, password: bytes) -> bool:
        flight = self._flights[mac] = _Flight(self._cores.runtime.gate())
        try:
            hashed = self._users.get(user)
            fits = await self._cores.run(
                self._check, password, self._instead(user) if hashed is None else hashed
            )
            flight.result = fits and hashed is not None
        finally:
            del self._flights[mac]
            flight.landed.open()
        self._cores.heard("good" if flight.result else "wrong")
        if flight.result:
            self._good[user] = mac, self._cores.runtime.now()
        return flight.result

    def _instead(self, user: str) -> str:
        """The hash that the password of an unknown user is checked against."""
        chosen = hashlib.blake2b(user.encode(), key=self._choice, digest_size=8).digest()
        return self._hashes[int.from_bytes(chosen) % len(self._hashes)]
