"""Answering challenges: which credentials go out, to whom, and as what.

Nothing is looked up before a registry has asked for it.  What answered a challenge once is sent
along with the requests that follow; a token that is refused is fetched anew.
"""

from __future__ import annotations

from ..oci.errors import AuthFailed
from .challenges import Challenge
from .credentials import Anonymous, Auth, Basic, Bearer, Credentials, IdentityToken
from .network import Network
from .scopes import Scopes, merged
from .tokens import basic, of_bearer


class Login:
    """One login to `host`, as the user writes it, for the repository `path`."""

    def __init__(
        self, network: Network, host: str, path: str, credentials: Credentials | None
    ) -> None:
        self._network, self._host, self._path = network, host, path
        self._credentials = credentials
        self._is_known = False  # that there are credentials
        self._fixed: str | None = None  # what every request carries, once it was asked for
        self._tokens: dict[Scopes, tuple[Challenge, Scopes, Auth]] = {}

    async def authorization(self, base: str, scopes: Scopes) -> str | None:
        """What to send along, as far as it is known before the registry asks."""
        known = self._tokens.get(scopes)
        if self._fixed is not None or known is None:
            return self._fixed
        return await self._network.runtime.offload(self._network.tokens.authorization, base, *known)

    async def answer(
        self,
        base: str,
        challenges: list[Challenge],
        scopes: Scopes,
        refused: str | None,
        words: str,
    ) -> str:
        """What answers one of `challenges`; `refused` is what was sent before, `words` why not.

        Raises AuthFailed; Unreachable and RemoteError of a token server.
        """
        auth: Auth | None = None
        if self._credentials is not None:
            auth = await self._credentials.get(self._host, self._path)
        self._is_known = auth not in (None, Anonymous())
        bearer = next((c for c in challenges if c.scheme == "bearer" and c.get("realm")), None)
        if isinstance(auth, Bearer):
            return self._fix(of_bearer(auth, self._host), refused, "this token", words)
        if bearer is not None:
            known = (bearer, merged(scopes, bearer.get("scope")), auth or Anonymous())
            value = await self._network.runtime.offload(
                self._network.tokens.authorization, base, *known, refused
            )
            self._tokens[scopes] = known
            return value
        if not any(c.scheme == "basic" for c in challenges):
            asked = ", ".join(sorted({c.scheme for c in challenges})) or "nothing that is known"
            raise AuthFailed(self._host, f"it asks for a login by {asked}, which we cannot", 401)
        if isinstance(auth, Basic):
            return self._fix(basic(auth), refused, f"the login of {auth.user}", words)
        if isinstance(auth, IdentityToken):
            raise AuthFailed(
                self._host, "it asks for a user and password, there is an identity token alone", 401
            )
        raise self.failed(words, 401)

    def failed(self, words: str, status: int) -> AuthFailed:
        """That a registry refuses, with status 401 or 403, and why as far as we know."""
        if status == 403:
            reason = f"not allowed: {words}"
        elif self._is_known:
            reason = f"the credentials for it are not enough: {words}"
        else:
            reason = f"it wants a login, and there are no credentials for it: {words}"
        return AuthFailed(self._host, reason, status)

    def _fix(self, value: str, refused: str | None, what: str, words: str) -> str:
        if value == refused:
            raise AuthFailed(self._host, f"{what} is refused: {words}", 401)
        self._fixed = value
        return value
