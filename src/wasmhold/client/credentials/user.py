"""The logins that the user's machine has already, as docker, podman and oras keep them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping

from ...oci.errors import FileInvalid, WasmholdError
from ...ports.runtime import Runtime
from .auth import Auth, Basic, IdentityToken
from .files import ConfigFile, encode_entry, key_of, keys_of
from .helpers import Helper, HelperFailed, of_platform


def docker_file(environ: Mapping[str, str]) -> str:
    """``$DOCKER_CONFIG/config.json``, else ``~/.docker/config.json``."""
    folder = environ.get("DOCKER_CONFIG") or os.path.join(_home(environ), ".docker")
    return os.path.join(folder, "config.json")


def files_of(environ: Mapping[str, str]) -> list[str]:
    """All files that may have logins, in the order in which they are asked."""
    configuration = environ.get("XDG_CONFIG_HOME") or os.path.join(_home(environ), ".config")
    folders = [environ.get("XDG_RUNTIME_DIR"), configuration]
    return [
        *filter(None, [environ.get("REGISTRY_AUTH_FILE")]),
        docker_file(environ),
        *(os.path.join(folder, "containers", "auth.json") for folder in folders if folder),
    ]


def _home(environ: Mapping[str, str]) -> str:
    return environ.get("HOME") or environ.get("USERPROFILE") or ""


class UserCredentials:
    """Reads the files when a registry first asks for a login, and asks a helper once per registry.

    What cannot be read or asked is told to `warn`, with the name of the file or program, and
    counts as knowing nothing: public content stays readable.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        runtime: Runtime,
        warn: Callable[[str], None],
        files: Iterable[str],
        own: str,
    ) -> None:
        self._environ, self._runtime, self._warn = environ, runtime, warn
        self._paths, self._own = list(files), own
        self._files: list[ConfigFile] | None = None
        self._asked: dict[tuple[str, str], Auth | None] = {}
        self._lock = threading.Lock()

    @classmethod
    def load(
        cls,
        environ: Mapping[str, str],
        runtime: Runtime,
        warn: Callable[[str], None],
        file: str | None = None,
    ) -> UserCredentials:
        """Those of `environ`; with `file` those of this file alone."""
        if file is not None:
            return cls(environ, runtime, warn, [file], file)
        own = environ.get("REGISTRY_AUTH_FILE") or docker_file(environ)
        return cls(environ, runtime, warn, files_of(environ), own)

    async def get(self, host: str, path: str) -> Auth | None:
        return await self._runtime.offload(self._find, host, path)

    async def store(self, host: str, auth: Basic | IdentityToken) -> str:
        """Keep a login, where docker or podman would; says where: a file or a program.

        Raises FileInvalid (a broken file is not overwritten); HelperFailed.
        """
        return await self._runtime.offload(self._store, host, auth)

    async def erase(self, host: str) -> list[str]:
        """Forget the logins to `host` wherever one is kept; says where that was.

        Raises FileInvalid; HelperFailed.
        """
        return await self._runtime.offload(self._erase, host)

    def _find(self, host: str, path: str) -> Auth | None:
        # One thread asks, the others get what it got: a helper may open a window.
        with self._lock:
            if self._files is None:
                self._files = list(self._read())
            for file in self._files:
                found = self._in_file(file, host, path)
                if found is not None:
                    return found
            if not any(file.has_logins or file.store for file in self._files):
                name = of_platform(self._environ)
                return self._ask(name, key_of(host)) if name else None
            return None

    def _read(self) -> Iterable[ConfigFile]:
        for path in self._paths:
            try:
                file = ConfigFile.read(path)
            except FileInvalid as error:
                self._warn(f"credentials cannot be read: {error}")
                continue
            if file is not None:
                yield file

    def _in_file(self, file: ConfigFile, host: str, path: str) -> Auth | None:
        """As docker looks: the registry's helper, else the one for all, else the file itself."""
        keys = list(keys_of(host, path))
        special = file.helper(keys)
        if special is not None:
            return self._ask(*special)
        found = self._ask(file.store, key_of(host)) if file.store else None
        if found is not None:
            return found
        try:
            return file.auth(keys)
        except FileInvalid as error:
            self._warn(f"credentials cannot be read: {error}")
            return None

    def _ask(self, name: str, server: str) -> Auth | None:
        if (name, server) not in self._asked:
            try:
                found = Helper(name, self._environ).get(server)
            except HelperFailed as error:
                self._warn(f"no credentials for {server}: {error}")
                found = None
            self._asked[name, server] = found
        return self._asked[name, server]

    def _store(self, host: str, auth: Basic | IdentityToken) -> str:
        with self._lock:
            file = ConfigFile.read(self._own) or ConfigFile(self._own)
            special = file.helper(keys_of(host))
            name, key = special or (file.store, key_of(host))
            if name is None and not file.has_logins:
                name = of_platform(self._environ)
                if name is not None:
                    file = ConfigFile(file.path, {**file.document, "credsStore": name})
            if name is not None:
                helper = Helper(name, self._environ)
                helper.store(key, auth)
                file.with_entry(key, {}).write()
                place = helper.program
            else:
                file.with_entry(key, encode_entry(auth)).write()
                place = file.path
            self._forget()
            return place

    def _erase(self, host: str) -> list[str]:
        places: list[str] = []
        failed: WasmholdError | None = None
        with self._lock:
            for path in self._paths:
                try:
                    places += self._erase_in(path, host)
                except (FileInvalid, HelperFailed) as error:
                    failed = failed or error
            self._forget()
        if failed is not None:
            raise failed
        return places

    def _erase_in(self, path: str, host: str) -> Iterable[str]:
        file = ConfigFile.read(path)
        if file is None:
            return
        special = file.helper(keys_of(host))
        name, key = special or (file.store, key_of(host))
        rest = file.without(keys_of(host))
        if rest.document.get("auths") != file.document.get("auths", {}):
            rest.write()
            yield path
        if name is not None:
            helper = Helper(name, self._environ)
            if helper.erase(key):
                yield helper.program

    def _forget(self) -> None:
        """What was read and asked before is out of date."""
        self._files = None
        self._asked.clear()
