"""Tokens of a registry, from the server that its challenge names.

Source: distribution, "Docker Registry v2 Bearer token specification" and "OAuth2 token
specification".  All of it blocks: call it through `Runtime.offload`.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import urlencode, urljoin, urlsplit

from ..oci.errors import AuthFailed
from ..oci.limits import MIB
from ..protocol import Response, read_error
from ..protocol.errors import plain_words
from ..protocol.messages import Fields
from .challenges import Challenge
from .credentials.auth import ACCOUNT, Anonymous, Auth, Basic, Bearer, IdentityToken
from .hosts import is_loopback, origin, without_query
from .scopes import Scopes
from .transport import Answer, Transport

DEFAULT_LIFE_S: Final = 60.0
_MARGIN_S: Final = 10.0  # a token that ends sooner would end on its way
_MAX_ANSWER: Final = 1 * MIB  # bytes
_VISIBLE: Final = re.compile(r"[\x21-\x7e]+")


def basic(auth: Basic) -> str:
    pair = f"{auth.user}:{auth.password}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def of_bearer(auth: Bearer, host: str) -> str:
    """Raises AuthFailed for a token that no header holds, such as one with the end of a line."""
    if _VISIBLE.fullmatch(auth.token) is None:
        raise AuthFailed(host, "the token has other characters than visible ones of ASCII")
    return f"Bearer {auth.token}"


@dataclass(frozen=True, slots=True)
class _Key:
    """Credentials are part of it: what one login may read is nothing for another one."""

    realm: str
    service: str | None
    scopes: Scopes
    auth: Auth


class Tokens:
    """Fetched once for all threads that want the same, and kept for the time that they live."""

    def __init__(self, transport: Transport, now: Callable[[], float]) -> None:
        self._transport, self._now = transport, now
        self._kept: dict[_Key, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def authorization(
        self,
        registry: str,
        challenge: Challenge,
        scopes: Scopes,
        auth: Auth,
        refused: str | None = None,
    ) -> str:
        """The value of ``authorization`` that answers the `challenge` of `registry` (a URL).

        `refused`: the value that was not taken; a token that is kept and equal to it is dropped.
        Raises AuthFailed; Unreachable and RemoteError of the token server.
        """
        key = _Key(_realm(registry, challenge), challenge.get("service"), scopes, auth)
        with self._lock:
            value, until = self._kept.get(key, ("", 0.0))
            if value == refused or until <= self._now():
                value, until = self._fetch(registry, key)
                self._kept[key] = value, until
            return value

    def _fetch(self, registry: str, key: _Key) -> tuple[str, float]:
        host = urlsplit(registry).netloc
        self._check_realm(registry, key)
        answer, content = self._exchange(key)
        if answer.status != 200:
            words = _words(content)
            server = urlsplit(key.realm).netloc
            if answer.status in (400, 401, 403):
                reason = f"the token server {server} answered {answer.status}: {words}"
                raise AuthFailed(host, reason, answer.status)
            raise read_error(Response(answer.status, answer.fields), content)
        try:
            document = json.loads(content)
            token = document.get("token") or document.get("access_token")
            life = document.get("expires_in")
            issued = document.get("issued_at")
        except (ValueError, AttributeError, RecursionError):
            token, life, issued = None, None, None
        if not isinstance(token, str) or _VISIBLE.fullmatch(token) is None:
            raise AuthFailed(host, f"the answer of {without_query(key.realm)} has no token")
        return f"Bearer {token}", self._end(life, issued)

    def _end(self, life: object, issued: object) -> float:
        seconds = life if isinstance(life, int | float) and life > 0 else DEFAULT_LIFE_S
        begin = self._now()
        if isinstance(issued, str):
            try:
                # A clock that goes before ours lengthens no life.
                begin = min(begin, datetime.fromisoformat(issued).timestamp())
            except ValueError:
                pass
        return begin + seconds - _MARGIN_S

    def _check_realm(self, registry: str, key: _Key) -> None:
        """Raises AuthFailed where a login, or a token, would go out in the open."""
        host = urlsplit(registry).netloc
        try:
            scheme, name, _ = origin(key.realm)
        except ValueError:
            scheme, name = "", ""
        if scheme not in ("http", "https") or not name:
            raise AuthFailed(host, "its token server is no HTTP URL")
        if scheme == "https" or is_loopback(urlsplit(key.realm).netloc):
            return
        # Whoever asked for plain HTTP with this very host has agreed to it for this host.
        if key.auth == Anonymous() or origin(key.realm) == origin(registry):
            return
        raise AuthFailed(
            host,
            f"its token server {without_query(key.realm)} speaks plain HTTP: "
            "credentials are not sent there",
        )

    def _exchange(self, key: _Key) -> tuple[Answer, bytes]:
        service = [("service", key.service)] if key.service is not None else []
        if isinstance(key.auth, IdentityToken):
            form = [
                ("grant_type", "refresh_token"),
                ("refresh_token", key.auth.token),
                ("client_id", "wasmhold"),
                *service,
                ("scope", " ".join(key.scopes)),
            ]
            answer, content = self._send("POST", key.realm, [], urlencode(form).encode())
            if answer.status not in (404, 405):
                return answer, content
            login: Auth = Basic(key.auth.user or ACCOUNT, key.auth.token)
        else:
            login = key.auth
        query = urlencode([*service, *(("scope", scope) for scope in key.scopes)])
        joint = "&" if urlsplit(key.realm).query else "?"
        url = f"{key.realm}{joint}{query}" if query else key.realm
        fields = (
            [(b"authorization", basic(login).encode("latin-1"))] if isinstance(login, Basic) else []
        )
        return self._send("GET", url, fields, None)

    def _send(
        self, method: str, url: str, fields: Fields, form: bytes | None
    ) -> tuple[Answer, bytes]:
        fields = [(b"accept", b"application/json"), *fields]
        if form is not None:
            fields += [
                (b"content-type", b"application/x-www-form-urlencoded"),
                (b"content-length", b"%d" % len(form)),
            ]
        answer = self._transport.request(method, url, fields, None if form is None else [form])
        try:
            return answer, answer.body.read(_MAX_ANSWER)
        finally:
            answer.body.close()


def _realm(registry: str, challenge: Challenge) -> str:
    """Where tokens come from; relative where a registry was not told its own address (olareg)."""
    try:
        return urljoin(registry, challenge.get("realm") or "")
    except ValueError:
        return ""


def _words(content: bytes) -> str:
    """Why a token server refuses, in whichever of the usual forms."""
    try:
        document = json.loads(content)
        (first, *_) = document.get("errors") or [document]
        said = (
            document.get("error_description")
            or document.get("details")
            or first.get("message")
            or first.get("code")
            or document.get("error")
        )
    except (ValueError, AttributeError, TypeError, RecursionError):
        said = None
    return plain_words(said) or "no reason given"
