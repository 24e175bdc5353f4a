"""What is between us and a place, step by step: the first that fails is what is wrong.

Nothing is written anywhere.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from ..artifact import detect
from ..oci.errors import AuthFailed, NameUnknown, Unreachable, WasmholdError
from ..protocol.errors import RemoteError
from .catalog import ping
from .credentials import Anonymous, Basic
from .credentials.files import ConfigFile
from .credentials.user import files_of
from .hosts import contact, split_host
from .opening import Opener
from .place import Place, PlaceKind
from .pull import read_manifest

_CONNECT_S = 10.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One step; `hint` is what to do where it is not well."""

    step: str
    is_well: bool
    told: str
    hint: str | None = None


async def diagnose(opener: Opener, place: Place | None) -> AsyncIterator[Finding]:
    """Look at the set-up here, then at `place`; ends at the first step that is not well."""
    async for found in _local(opener, place):
        yield found
    if place is None:
        return
    steps = [_tags, _manifest]
    if place.kind is PlaceKind.REGISTRY:
        steps = [_name, _connection, _interface, *steps]
    for step in steps:
        found = await step(opener, place)
        yield found
        if not found.is_well:
            return


async def _local(opener: Opener, place: Place | None) -> AsyncIterator[Finding]:
    one = opener.settings.credentials_file
    for path in [one] if one else files_of(opener.settings.environ):
        found = await opener.runtime.offload(_file, path)
        if found is not None:
            yield found
    if place is None or place.kind is not PlaceKind.REGISTRY:
        return
    auth = await opener.credentials.get(place.where, place.name)
    if auth is None or isinstance(auth, Anonymous):
        yield Finding("login", True, f"none for {place.where}: what is public can be read")
    else:
        who = auth.user if isinstance(auth, Basic) else "whom a token names"
        yield Finding("login", True, f"for {place.where} as {who}")


def _file(path: str) -> Finding | None:
    try:
        found = ConfigFile.read(path)
    except WasmholdError as error:
        hint = "mend the file, or name one with --registry-config"
        return Finding("logins", False, str(error), hint)
    return None if found is None else Finding("logins", True, f"{path} can be read")


async def _tried(
    step: str, hint: str, opener: Opener, function: Callable[[Place], str], place: Place
) -> Finding:
    try:
        return Finding(step, True, await opener.runtime.offload(function, place))
    except OSError as error:
        return Finding(step, False, error.strerror or str(error), hint)


def _target(place: Place) -> tuple[str, int]:
    name, port = split_host(contact(place.where))
    return name, port or 443


async def _name(opener: Opener, place: Place) -> Finding:
    def look_up(place: Place) -> str:
        name, port = _target(place)
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
        return f"{name} is {', '.join(sorted({str(one[4][0]) for one in found}))}"

    return await _tried("name", "is the host written rightly?", opener, look_up, place)


async def _connection(opener: Opener, place: Place) -> Finding:
    def connect(place: Place) -> str:
        target = _target(place)
        with socket.create_connection(target, _CONNECT_S):
            return f"something listens on {target[0]} port {target[1]}"

    hint = "is the registry running, and is the port right? a proxy is not looked at here"
    return await _tried("connection", hint, opener, connect, place)


async def _interface(opener: Opener, place: Place) -> Finding:
    base = await opener.runtime.offload(opener.network.base, place.where)
    try:
        await ping(opener.network, place.where, opener.credentials)
    except AuthFailed as error:
        return Finding("registry", False, str(error), f"log in with `wasmhold login {place.where}`")
    except Unreachable as error:
        hint = "--ca-file names an authority of your own, --plain-http speaks HTTP"
        return Finding("registry", False, str(error), hint)
    except RemoteError as error:
        return Finding("registry", False, str(error), f"{base}/v2/ is no registry")
    return Finding("registry", True, f"{base}/v2/ is a registry, and lets us in")


async def _tags(opener: Opener, place: Place) -> Finding:
    try:
        repository = await opener.open(place)
        try:
            found = await repository.tags("", 1000)
        finally:
            await repository.aclose()
    except NameUnknown:
        return Finding("repository", False, "there is no such repository", "push makes it")
    except WasmholdError as error:
        return Finding("repository", False, str(error), "is there a right to read it?")
    return Finding("repository", True, f"it can be read, and has {len(found)} tags")


async def _manifest(opener: Opener, place: Place) -> Finding:
    if place.reference is None:
        return Finding("content", True, "no tag or digest was given")
    try:
        repository = await opener.open(place)
        try:
            found, manifest = await read_manifest(repository, place.reference)
        finally:
            await repository.aclose()
    except WasmholdError as error:
        return Finding("content", False, str(error), "`wasmhold tags` says what there is")
    return Finding("content", True, f"{found.digest}, {found.media_type}, kind {detect(manifest)}")
