"""Docker's ``config.json`` and podman's ``auth.json``: the same form.

Sources: docker/cli, cli/config/configfile; containers-auth.json(5).
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from ...oci.errors import Fault, FileInvalid
from ...oci.limits import MIB
from ..hosts import DOCKER_HUB
from .auth import Auth, Basic, Bearer, IdentityToken

DOCKER_HUB_KEY: Final = "https://index.docker.io/v1/"
_MAX_FILE: Final = 4 * MIB  # bytes


def key_of(host: str) -> str:
    """The name under which a login to `host` is kept, in files and by helpers."""
    return DOCKER_HUB_KEY if host in DOCKER_HUB else host


def keys_of(host: str, path: str = "") -> Iterator[str]:
    """The keys that hold for the repository `path` of `host`, the nearest first; never a suffix."""
    hub = host in DOCKER_HUB
    while path:
        yield f"{'docker.io' if hub else host}/{path}"
        path = path.rpartition("/")[0]
    if hub:
        yield from (DOCKER_HUB_KEY, "index.docker.io", "docker.io", "registry-1.docker.io")
        return
    yield host
    for scheme in ("https", "http"):
        for end in ("", "/", "/v1/", "/v2/", "/v1", "/v2"):
            yield f"{scheme}://{host}{end}"


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """One file, as it was read; `document` holds secrets."""

    path: str
    document: dict[str, object] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, path: str) -> ConfigFile | None:
        """None where there is no such file, or an empty one.  Raises FileInvalid."""
        try:
            with open(path, "rb") as file:
                content = file.read(_MAX_FILE + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise FileInvalid(path, Fault("", error.strerror or "cannot be read")) from None
        if len(content) > _MAX_FILE:
            raise FileInvalid(path, Fault("", f"is larger than {_MAX_FILE} bytes"))
        if not content.strip():
            return None
        try:
            document = json.loads(content)
        except json.JSONDecodeError as error:
            raise FileInvalid(
                path, Fault(f"line {error.lineno}", f"not JSON: {error.msg}")
            ) from None
        except (ValueError, RecursionError):
            raise FileInvalid(path, Fault("", "not JSON in UTF-8")) from None
        if not isinstance(document, dict):
            raise FileInvalid(path, Fault("", "not a JSON object"))
        return cls(path, document)

    def _members(self, key: str) -> dict[str, object]:
        value = self.document.get(key)
        return value if isinstance(value, dict) else {}

    @property
    def has_logins(self) -> bool:
        return any(self._members(key) for key in ("auths", "credHelpers"))

    @property
    def store(self) -> str | None:
        """The helper that keeps all logins."""
        name = self.document.get("credsStore")
        return name if isinstance(name, str) and name else None

    def helper(self, keys: Iterable[str]) -> tuple[str, str] | None:
        """The first helper named for one of `keys`, and that key."""
        helpers = self._members("credHelpers")
        for key in keys:
            name = helpers.get(key)
            if isinstance(name, str) and name:
                return name, key
        return None

    def auth(self, keys: Iterable[str]) -> Auth | None:
        """The first login that the file itself has for one of `keys`.  Raises FileInvalid."""
        auths = self._members("auths")
        for key in keys:
            entry = auths.get(key)
            found = self._entry(key, entry) if isinstance(entry, dict) else None
            if found is not None:
                return found
        return None

    def _entry(self, key: str, entry: dict[str, object]) -> Auth | None:
        def text(name: str) -> str:
            value = entry.get(name)
            return value if isinstance(value, str) else ""

        user, password = text("username"), text("password")
        if not (user and password) and text("auth"):
            try:
                pair = base64.b64decode(text("auth"), validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                pair = ""
            user, colon, password = pair.partition(":")
            password = password.strip("\0")
            if not colon:
                # The value is not told: it may be a password all the same.
                where = f"auths.{key}.auth"
                raise FileInvalid(self.path, Fault(where, "is not base64 of user:password"))
        if text("identitytoken"):
            return IdentityToken(text("identitytoken"), user)
        if text("registrytoken"):
            return Bearer(text("registrytoken"))
        return Basic(user, password) if user and password else None

    def with_entry(self, key: str, entry: dict[str, str]) -> ConfigFile:
        """The same with a login under `key`; an empty entry says that a helper keeps it."""
        auths = {**self._members("auths"), key: entry}
        return ConfigFile(self.path, {**self.document, "auths": auths})

    def without(self, keys: Iterable[str]) -> ConfigFile:
        gone = set(keys)
        auths = {key: entry for key, entry in self._members("auths").items() if key not in gone}
        return ConfigFile(self.path, {**self.document, "auths": auths})

    def write(self) -> None:
        """Put it in its place in one step, for its owner alone (0600).  Raises FileInvalid.

        A symbolic link stays one: what it leads to is written.
        """
        place = os.path.realpath(self.path)
        draft = f"{place}.{secrets.token_hex(8)}"
        content = json.dumps(self.document, indent="\t", ensure_ascii=False).encode() + b"\n"
        try:
            os.makedirs(os.path.dirname(place), mode=0o700, exist_ok=True)
            descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            try:
                with open(descriptor, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(draft, place)
            except BaseException:
                os.unlink(draft)
                raise
        except OSError as error:
            raise FileInvalid(self.path, Fault("", error.strerror or "cannot be written")) from None


def encode_entry(auth: Basic | IdentityToken) -> dict[str, str]:
    """A login as an entry of ``auths``."""
    password = auth.password if isinstance(auth, Basic) else ""
    entry = {"auth": base64.b64encode(f"{auth.user}:{password}".encode()).decode()}
    if isinstance(auth, IdentityToken):
        entry["identitytoken"] = auth.token
    return entry
