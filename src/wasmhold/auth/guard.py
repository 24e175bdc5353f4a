"""The guard before a registry: who asks, and may they?"""

from __future__ import annotations

from ..ports.actor import Actor
from .policy import Policies
from .rights import Need


class Guard:
    """No answer of its depends on what the registry holds: it looks at the request alone."""

    def __init__(self, policies: Policies) -> None:
        self._policies = policies

    async def identify(self, authorization: str | None, need: Need, address: str) -> Actor:
        """Who asks.

        `authorization` is the field of that name, `address` the client's.  Raises Unauthorized for
        credentials that are wrong; TooManyRequests.
        """
        policy = self._policies.current()
        user = None
        if authorization is not None and policy.authenticator is not None:
            user = await policy.authenticator.authenticate(authorization, need)
        return policy.actor(user, address)

    def check(self, actor: Actor, need: Need) -> None:
        """Raises Unauthorized, Denied where `actor` may not have what they need."""
        self._policies.current().check(actor, need)

    def refresh(self) -> None:
        """Read the files again now; without this they are looked at each second."""
        self._policies.refresh()
