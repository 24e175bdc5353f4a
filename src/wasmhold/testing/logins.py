"""Ways in which a test registry asks who somebody is; a test may change them as it runs."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args
from urllib.parse import parse_qs

from ..auth.access import Access, Rule
from ..auth.authenticator import BasicAuthenticator, parse_basic
from ..auth.logins import Cores, Logins
from ..auth.policy import Policy
from ..auth.rights import ALL, Need, Right
from ..oci.errors import Unauthorized
from ..ports.runtime import Runtime
from ..protocol import Request
from ..protocol.messages import field

Mode: TypeAlias = Literal["none", "basic", "bearer", "deny-all", "expired-token", "anonymous-pull"]
MODES: Final[tuple[Mode, ...]] = get_args(Mode)
TOKENS: Final = "/token"  # where a registry with tokens gives them
LIFE_S: Final = 300  # of a token, as its answer says

_ACTIONS: Final = {Right.READ: "pull", Right.WRITE: "push", Right.DELETE: "delete"}
_ASKED: Final = {Right.READ: "pull", Right.WRITE: "pull,push", Right.DELETE: "delete"}


class Modes:
    """`auth.policy.Policies`: for each mode one; `mode` is the one that holds.

    none             everybody may do everything
    basic            users with their passwords; others nothing
    bearer           the same, with tokens
    deny-all         nobody may do anything: 403
    expired-token    as bearer; no token is taken, because it is too old
    anonymous-pull   as basic; others may read
    """

    def __init__(
        self,
        mode: Mode,
        users: Mapping[str, str],
        readers: Collection[str],
        runtime: Runtime,
        url: str,
    ) -> None:
        """`users`: name to password; those of `readers` may only read.  `url`: of the registry."""
        rules = [Rule("*", None, ALL), Rule("*", frozenset(readers), (Right.READ,))]
        logins = Logins(users, _fits, Cores(runtime, 1), secrets.token_bytes(16))
        basic = BasicAuthenticator(logins)
        anybody = Access([Rule("*", (), ALL, anonymous=True)])
        nobody = Access([Rule(repo, (), (), anonymous=True) for repo in ("", "*")])
        anonymous = Rule("*", (), (Right.READ,), anonymous=True)
        self.tokens = Tokens(self, users, f"{url}{TOKENS}")
        self._policies: dict[Mode, Policy] = {
            "none": Policy(anybody),
            "basic": Policy(Access(rules), basic),
            "bearer": Policy(Access(rules), self.tokens),
            "deny-all": Policy(nobody),
            "expired-token": Policy(Access(rules), self.tokens),
            "anonymous-pull": Policy(Access([*rules, anonymous]), basic),
        }
        self.mode = mode

    @property
    def mode(self) -> Mode:
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        if mode not in MODES:
            raise ValueError(f"unknown auth mode: {mode}")
        self._mode: Mode = mode
        self.tokens.are_expired = mode == "expired-token"

    def current(self) -> Policy:
        return self._policies[self._mode]

    def refresh(self) -> None:
        return


def _fits(password: bytes, wanted: str) -> bool:
    return hmac.compare_digest(password, wanted.encode())


@dataclass(frozen=True, slots=True)
class _Token:
    user: str | None
    grants: frozenset[tuple[str, str]]  # repository and action


class Tokens:
    """Gives tokens to users, and knows them again.

    Source: distribution, "Token Authentication Specification".
    """

    def __init__(self, modes: Modes, users: Mapping[str, str], realm: str) -> None:
        self.are_expired = False
        self.given = 0  # tokens so far
        self._modes, self._users, self._realm = modes, users, realm
        self._tokens: dict[str, _Token] = {}
        self._identities: dict[str, str] = {}

    def forget(self) -> None:
        """No token that was given is taken any more."""
        self._tokens.clear()

    def challenge(self, need: Need, error: str | None = None) -> str:
        right, repository = need
        parts = [f'realm="{self._realm}"', 'service="wasmhold"']
        if repository is not None:
            parts.append(f'scope="repository:{repository}:{_ASKED[right]}"')
        if error is not None:
            parts.append(f'error="{error}"')
        return f"Bearer {','.join(parts)}"

    async def authenticate(self, authorization: str | None, need: Need) -> str | None:
        scheme, _, secret = (authorization or "").partition(" ")
        token = self._tokens.get(secret) if scheme.lower() == "bearer" else None
        if token is None or self.are_expired:
            raise Unauthorized(self.challenge(need, "invalid_token"), "the token is not valid")
        right, repository = need
        if repository is not None and (repository, _ACTIONS[right]) not in token.grants:
            raise Unauthorized(
                self.challenge(need, "insufficient_scope"), "the token is not for this"
            )
        return token.user

    def identity(self, user: str) -> str:
        """An identity token of `user`, which buys further tokens in place of the password."""
        token = secrets.token_urlsafe(24)
        self._identities[token] = user
        return token

    def answer(self, request: Request, content: bytes) -> tuple[int, dict[str, object]]:
        """Status and JSON for who asks for a token; `content` is the body of a POST."""
        if request.method == "POST":
            form = parse_qs(content.decode("latin-1"))
            user = self._identities.get(form.get("refresh_token", [""])[0])
            if user is None:
                return 401, {"details": "this identity token is not valid"}
            return 200, self._give(user, form.get("scope", []))
        user = None
        authorization = field(request.fields, b"authorization")
        if authorization is not None:
            user, password = parse_basic(authorization) or ("", b"")
            if user not in self._users or not _fits(password, self._users[user]):
                return 401, {"details": "incorrect username or password"}
        return 200, self._give(user, parse_qs(request.query).get("scope", []))

    def _give(self, user: str | None, scopes: Sequence[str]) -> dict[str, object]:
        grants = set()
        for scope in scopes:
            for resource in scope.split():
                kind, _, rest = resource.partition(":")
                name, _, actions = rest.rpartition(":")
                rights = self._modes.current().rights(user, name)
                may = {_ACTIONS[right] for right in rights}
                if kind == "repository":
                    grants |= {(name, action) for action in actions.split(",") if action in may}
        secret = secrets.token_urlsafe(24)
        self._tokens[secret] = _Token(user, frozenset(grants))
        self.given += 1
        return {"token": secret, "expires_in": LIFE_S}
