"""Who is it?  By user name and password now; tokens are another Authenticator."""

from __future__ import annotations

import base64
import binascii
from typing import Final, Protocol

from ..oci.errors import Unauthorized
from ..protocol.operations import Operation
from .logins import Logins
from .rights import Need, Right, needs

_REALM: Final = 'Basic realm="wasmhold", charset="UTF-8"'
_SCOPES: Final = {Right.READ: "pull", Right.WRITE: "push", Right.DELETE: "delete"}


class Authenticator(Protocol):
    async def authenticate(self, authorization: str | None, need: Need) -> str | None:
        """The user who sends this ``Authorization``; None: nobody tries to log in.

        Raises Unauthorized where the credentials are not valid; TooManyRequests.
        """
        ...

    def challenge(self, need: Need) -> str:
        """``WWW-Authenticate`` for who must log in to get what they need."""
        ...


def basic_challenge(need: Need) -> str:
    """A challenge of RFC 7617; `scope` and `error` are as olareg's, for people and log readers."""
    right, repository = need
    scope = f"repository:{repository}" if repository else "registry:"
    return f'{_REALM}, scope="{scope}:{_SCOPES[right]}", error="unauthorized"'


def challenge_for(operation: Operation | None) -> str:
    """What a registry without real logins says where it plays one that has them."""
    return basic_challenge(needs(operation))


def parse_basic(authorization: str) -> tuple[str, bytes] | None:
    """User and password of ``Basic``, in UTF-8 (RFC 7617); None where it is anything else.

    The password may hold colons.
    """
    scheme, _, encoded = authorization.strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        password.decode()
        return (user.decode(), password) if colon else None
    except (binascii.Error, ValueError):
        return None


class BasicAuthenticator:
    """Users with passwords."""

    def __init__(self, logins: Logins) -> None:
        self._logins = logins

    async def authenticate(self, authorization: str | None, need: Need) -> str | None:
        if authorization is None:
            return None
        login = parse_basic(authorization)
        if login is None:
            reason = "the credentials are none of the scheme Basic (RFC 7617)"
            raise Unauthorized(self.challenge(need), reason)
        user, password = login
        if self._logins.remembers(user, password) or await self._logins.is_valid(user, password):
            return user
        raise Unauthorized(self.challenge(need), "wrong user name or password")

    def challenge(self, need: Need) -> str:
        return basic_challenge(need)
