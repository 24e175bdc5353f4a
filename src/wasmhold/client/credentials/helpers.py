"""Programs that keep logins: ``docker-credential-NAME``.

Source: docker/docker-credential-helpers, "Development".
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from typing import Final

from ...oci.errors import WasmholdError
from ...protocol.errors import plain_words
from .auth import Auth, Basic, IdentityToken

TIMEOUT_S: Final = 10.0
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_IDENTITY: Final = "<token>"  # as the user's name: the secret is an identity token
# The words of every helper for "nothing is kept for this server".
_NOT_FOUND: Final = "credentials not found in native keychain"
_OF_PLATFORM: Final = {
    "darwin": ("osxkeychain",),
    "win32": ("wincred",),
    "linux": ("pass", "secretservice"),
}


class HelperFailed(WasmholdError):
    """A helper is missing, fails, or answers what is none; `program` is its name."""

    def __init__(self, program: str, reason: str) -> None:
        super().__init__(f"{program}: {reason}")
        self.program, self.reason = program, reason


class Helper:
    def __init__(self, name: str, environ: Mapping[str, str], timeout_s: float = TIMEOUT_S) -> None:
        self.program = f"docker-credential-{name}"
        self._is_name = _NAME.fullmatch(name) is not None
        self._environ, self._timeout_s = environ, timeout_s

    def get(self, server: str) -> Auth | None:
        """The login that it keeps for `server`.  Raises HelperFailed."""
        said = self._run("get", server)
        if said is None:
            return None
        try:
            answer = json.loads(said)
            user, secret = answer["Username"], answer["Secret"]
        except (ValueError, TypeError, KeyError, RecursionError):
            user, secret = None, None
        if not isinstance(user, str) or not isinstance(secret, str):
            raise HelperFailed(self.program, "its answer is no JSON with Username and Secret")
        if not secret:
            return None
        return IdentityToken(secret) if user == _IDENTITY else Basic(user, secret)

    def store(self, server: str, auth: Basic | IdentityToken) -> None:
        """Keep a login.  Raises HelperFailed."""
        if isinstance(auth, Basic):
            user, secret = auth.user, auth.password
        else:
            user, secret = _IDENTITY, auth.token
        given = json.dumps({"ServerURL": server, "Username": user, "Secret": secret})
        try:
            self._run("store", given)
        except HelperFailed as error:
            # A helper may repeat what it was given.
            raise HelperFailed(error.program, error.reason.replace(secret, "...")) from None

    def erase(self, server: str) -> bool:
        """Forget the login; False where it knew none.  Raises HelperFailed."""
        return self._run("erase", server) is not None

    def _run(self, action: str, given: str) -> str | None:
        """What it says on standard output, None for "not found"."""
        path = shutil.which(self.program, path=self._environ.get("PATH", ""))
        if not self._is_name or path is None:
            raise HelperFailed(self.program, "there is no such program on PATH")
        try:
            ran = subprocess.run(
                [path, action],
                input=given.encode(),
                env=dict(self._environ),
                capture_output=True,
                timeout=self._timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise HelperFailed(self.program, f"no answer within {self._timeout_s:g} s") from None
        except OSError as error:
            raise HelperFailed(self.program, error.strerror or "it cannot be run") from None
        said = ran.stdout.decode(errors="replace")
        if ran.returncode == 0:
            return said
        if _NOT_FOUND in said.lower():
            return None
        words = plain_words(ran.stderr.decode(errors="replace")) or plain_words(said)
        raise HelperFailed(self.program, words or f"it ended with status {ran.returncode}")


def of_platform(environ: Mapping[str, str]) -> str | None:
    """The helper that docker uses here where nobody has chosen one; None where none is there."""
    for name in _OF_PLATFORM.get(sys.platform, ()):
        if shutil.which(f"docker-credential-{name}", path=environ.get("PATH", "")):
            return name
    return None
