"""Rules and logins that hold at one time, and what follows from both."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Final, Protocol

from ..oci.errors import Denied, Unauthorized
from ..ports.actor import Actor
from .access import Access
from .authenticator import Authenticator
from .rights import Need, Right

_REMEMBERED: Final = 4096  # callers: a user and an address


class Policy:
    """`authenticator` None: nobody can log in, and all that may be done is what anybody may."""

    def __init__(self, access: Access, authenticator: Authenticator | None = None) -> None:
        self.authenticator = authenticator
        self._access = access
        self.actor = lru_cache(_REMEMBERED)(self._make_actor)

    def _make_actor(self, user: str | None, address: str) -> Actor:
        reads = None if self._access.reads_all(user) else partial(self._reads, user)
        return Actor(user, address, reads)

    def _reads(self, user: str | None, repository: str) -> bool:
        return Right.READ in self.rights(user, repository)

    def rights(self, user: str | None, repository: str | None) -> tuple[Right, ...]:
        """What `user` may do in `repository`; None: at the root of the API.

        Who has logged in may read the root unless a rule says otherwise.  Others may only where
        nobody can log in: clients learn there whether to send credentials, and those that need
        none would never send any.
        """
        rule = self._access.winner(user, repository or "")
        if rule is not None:
            return rule.rights
        if repository is None and (user is not None or self.authenticator is None):
            return (Right.READ,)
        return ()

    def check(self, actor: Actor, need: Need) -> None:
        """Raises Unauthorized where to log in may help, Denied where it does not."""
        right, repository = need
        if right in self.rights(actor.name, repository):
            return
        if actor.name is None and self.authenticator is not None:
            raise Unauthorized(self.authenticator.challenge(need))
        who = actor.name or "who has not logged in"
        where = f"the repository {repository}" if repository else "the root of the API"
        raise Denied(f"{who} may not {right.value} in {where}")


class Policies(Protocol):
    """Where the policy comes from that holds now."""

    def current(self) -> Policy: ...

    def refresh(self) -> None:
        """Read again what it is made from, and forget all logins."""
        ...


class Fixed:
    """One policy for ever."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def current(self) -> Policy:
        return self._policy

    def refresh(self) -> None:
        return
