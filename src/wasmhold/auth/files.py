"""Password and access files: read at the start, and again when they change."""

from __future__ import annotations

import logging
import os
import stat
import tomllib
from collections.abc import Callable
from typing import Final, Generic, Literal, TypeVar

from ..oci.document import parse_object
from ..oci.errors import Fault, FileInvalid, ManifestInvalid, StoreUnavailable
from ..oci.limits import MIB
from ..ports.runtime import Randomness
from .access import Access, for_everybody, parse_access
from .authenticator import BasicAuthenticator
from .logins import Check, Cores, Logins
from .passwords import parse_htpasswd
from .policy import Policy
from .rights import Right

T = TypeVar("T")

Anonymous = Literal["pull", "push"]

LOOK_S: Final = 1.0  # between two looks at the files
_MAX: Final = 16 * MIB  # bytes of a file
_ANONYMOUS: Final[dict[str | None, tuple[Right, ...]]] = {
    None: (),
    "pull": (Right.READ,),
    "push": (Right.READ, Right.WRITE),
}

_LOG = logging.getLogger("wasmhold")


class _Watched(Generic[T]):
    """A file; `value` is what it said when it was last read and good.

    `is_public`: everybody on this host may read it.
    """

    def __init__(self, path: str, parse: Callable[[str, str], T]) -> None:
        """`parse` gets the text and the path.  Raises FileInvalid."""
        self.path, self._parse = path, parse
        self._seen: tuple[int, ...] | None = None
        self._complaint = ""
        self.is_public = False
        self.value = self._read()

    def look(self, *, again: bool = False) -> bool:
        """Read it if it has changed; with `again` in any case.  Whether there is a new `value`.

        What is broken is said once, and changes nothing.
        """
        try:
            if _mark(os.stat(self.path)) == self._seen and not again:
                return False
            self.value = self._read()
        except OSError as error:
            self._complain(str(_unreadable(self.path, error)))
            return False
        except FileInvalid as error:
            self._complain(str(error))
            return False
        self._complaint = ""
        return True

    def _complain(self, what: str) -> None:
        if what != self._complaint:
            _LOG.error("%s; what it said before stays in force", what)
            self._complaint = what

    def _read(self) -> T:
        self._seen = None  # a file that cannot be read is tried again
        try:
            # To open a pipe would wait for whoever writes into it.
            if not stat.S_ISREG(os.stat(self.path).st_mode):
                raise FileInvalid(self.path, Fault("", "not a regular file"))
            with open(self.path, "rb") as file:
                found = os.fstat(file.fileno())
                content = file.read(_MAX + 1)
        except OSError as error:
            raise _unreadable(self.path, error) from None
        # Marked as it was before it was read: what is written meanwhile is a change.
        self._seen = _mark(found)
        self.is_public = bool(found.st_mode & stat.S_IROTH)
        if len(content) > _MAX:
            raise FileInvalid(self.path, Fault("", f"larger than {_MAX} bytes"))
        try:
            text = content.decode()
        except UnicodeDecodeError as error:
            raise FileInvalid(self.path, Fault(f"byte {error.start}", "not UTF-8")) from None
        return self._parse(text, self.path)


def _mark(found: os.stat_result) -> tuple[int, ...]:
    return found.st_mtime_ns, found.st_size, found.st_ino


def _unreadable(path: str, error: OSError) -> FileInvalid:
    return FileInvalid(path, Fault("", f"cannot be read: {error.strerror or error}"))


def read_access(text: str, path: str) -> Access:
    """An access file: JSON where its name ends so, else TOML.  Raises FileInvalid."""
    try:
        if path.endswith(".json"):
            document: dict[str, object] = parse_object(text.encode())
        else:
            document = tomllib.loads(text)
    except ManifestInvalid as error:
        raise FileInvalid(path, *error.faults) from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise FileInvalid(path, Fault("", f"not TOML: {error}")) from None
    return parse_access(document, path)


class AccessFiles:
    """The policy of a password file, an access file, or both.

    Users of the access file join those of the password file.  Without an access file users may do
    everything, and others what `anonymous` says.
    """

    def __init__(
        self,
        htpasswd: str | None,
        access: str | None,
        anonymous: Anonymous | None,
        *,
        check: Check,
        cores: Cores,
        randomness: Randomness,
    ) -> None:
        """Raises FileInvalid."""
        self._anonymous = anonymous
        self._check, self._cores, self._secret = check, cores, randomness.token(32)
        self._htpasswd = None if htpasswd is None else _Watched(htpasswd, parse_htpasswd)
        self._access = None if access is None else _Watched(access, read_access)
        self._looked = self._cores.runtime.now()
        self._policy = self._combined()

    def warnings(self) -> list[str]:
        """What an operator should know about the files, one sentence each."""
        public: list[str] = []
        if self._htpasswd is not None and self._htpasswd.is_public:
            public.append(self._htpasswd.path)
        if self._access is not None and self._access.is_public and self._access.value.users:
            public.append(self._access.path)
        found = [
            f"{path} holds password hashes and everybody on this host may read it: chmod o-r {path}"
            for path in public
        ]
        nobody = self._policy.authenticator is None
        if nobody and self._access is not None and self._access.value.names_users:
            path = self._access.path
            found.append(f"{path} names users and nobody can log in: give --htpasswd as well")
        return found

    def current(self) -> Policy:
        now = self._cores.runtime.now()
        # A clock that was set back must not keep the files from being looked at.
        if not 0 <= now - self._looked < LOOK_S:
            self._looked = now
            self._look()
        return self._policy

    def refresh(self) -> None:
        """Read the files again, and forget all logins."""
        self._look(again=True)

    def _look(self, *, again: bool = False) -> None:
        files = [file for file in (self._htpasswd, self._access) if file is not None]
        changed = [file.look(again=again) for file in files]
        if any(changed):
            try:
                self._policy = self._combined()
            except FileInvalid as error:
                _LOG.error("%s; what was said before stays in force", error)

    def _combined(self) -> Policy:
        users = dict(self._htpasswd.value) if self._htpasswd is not None else {}
        if self._access is None:
            access = for_everybody(
                users=self._htpasswd is not None, anonymous=_ANONYMOUS[self._anonymous]
            )
        else:
            access = self._access.value
            faults = [
                Fault(f"users.{name}", "the password file has this name too: take one out")
                for name in access.users
                if name in users
            ]
            if faults:
                raise FileInvalid(self._access.path, *faults)
            users.update(access.users)
        if self._htpasswd is None and not users:
            return Policy(access)
        logins = Logins(users, self._check, self._cores, self._secret)
        return Policy(access, BasicAuthenticator(logins))


class WhenReadable:
    """The policy of files that are broken when a worker takes the place of one that died.

    The server has started with good ones, so it goes on: this worker answers nothing but
    StoreUnavailable until somebody has mended them.
    """

    def __init__(self, read: Callable[[], AccessFiles], now: Callable[[], float]) -> None:
        """`read` raises FileInvalid while they are broken; `now` gives seconds."""
        self._read_files, self._now = read, now
        self._files: AccessFiles | None = None
        self._tried = 0.0
        self._try()

    def current(self) -> Policy:
        """Raises StoreUnavailable."""
        if self._files is None and not 0 <= self._now() - self._tried < LOOK_S:
            self._try()
        if self._files is None:
            raise StoreUnavailable("the access files cannot be read; the server's log says more")
        return self._files.current()

    def refresh(self) -> None:
        if self._files is None:
            self._try()
        else:
            self._files.refresh()

    def _try(self) -> None:
        self._tried = self._now()
        try:
            self._files = self._read_files()
        except FileInvalid as error:
            _LOG.error("%s; nobody is let in until it is mended", error)
