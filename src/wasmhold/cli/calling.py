"""A command that talks to places: its common options, its client, and how its errors are told."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import click

from ..client.place import Place, PlaceInvalid, PlaceKind
from ..client.settings import EVERY_HOST, Settings
from ..oci.errors import Cancelled, WasmholdError
from ..sync import Client
from .group import WrongUse
from .options.client import OPTIONS, PASSWORD, USERNAME
from .options.sources import resolve_without_file
from .progress import Progress
from .words import plain

if TYPE_CHECKING:
    from ..client.caches.port import CacheHandle
    from ..client.credentials import Basic, Given

# One JSON object in place of lines for people.
JSON: Final = click.option("--json", "as_json", is_flag=True, help="One JSON object.")
_MAX_PASSWORD: Final = 65536  # bytes of standard input; a token may be long


@dataclass(frozen=True, slots=True)
class Call:
    """What a command works with."""

    client: Client
    progress: Progress
    has_login: bool

    @property
    def is_quiet(self) -> bool:
        return self.progress.is_quiet

    def place(self, text: str) -> Place:
        """Raises InputError."""
        return self.client.place(text)

    def place_of_no_file(self, text: str) -> Place:
        """Of text that would rather be a file, which is not there.  Raises InputError."""
        try:
            return self.client.place(text)
        except PlaceInvalid as error:
            reason = f"there is no such file, and as a place: {error.reason}"
            raise PlaceInvalid(reason, error.text, error.span) from None

    def refuse_one_login(self, start: Place, end: Place) -> None:
        """Raises WrongUse for two registries, since nobody can say which one it is for."""
        are_two = start.kind is end.kind is PlaceKind.REGISTRY and start.where != end.where
        if self.has_login and are_two:
            raise WrongUse(
                "--username: to which of the two registries? use `wasmhold login` for both"
            )

    def show(self, document: object, *, err: bool = False) -> None:
        """One JSON document, or one of several, on a line of its own."""
        import json

        click.echo(json.dumps(document), err=err)

    def note(self, text: str) -> None:
        """For the user's eyes: not with --quiet."""
        if not self.is_quiet:
            click.echo(text, err=True)


class ClientCommand(click.Command):
    """Its function gets a Call as its first argument, by ``click.pass_obj``.

    `takes_login`: there are options for a login of this call alone.
    """

    def __init__(
        self,
        name: str | None,
        params: list[click.Parameter] | None = None,
        takes_login: bool = True,
        **more: Any,
    ) -> None:
        common = _common(takes_login)
        self._names = {option.name for option in common if option.name is not None}
        super().__init__(name, params=[*(params or []), *common], **more)

    def invoke(self, ctx: click.Context) -> Any:
        flags = {name: ctx.params.pop(name) for name in self._names}
        progress = Progress(is_quiet=flags["quiet"])
        settings = self.settings(flags, ctx, progress)
        with _calling(settings, progress, is_debugged=flags["debug"]) as call:
            ctx.obj = call
            return super().invoke(ctx)

    def settings(
        self, flags: Mapping[str, Any], ctx: click.Context, progress: Progress
    ) -> Settings:
        """What `flags` and the environment say.  Raises WrongUse."""
        return _settings(flags)


def _common(takes_login: bool) -> list[click.Parameter]:
    password = click.Option(
        ["--password-stdin"], is_flag=True, help="Read the password from standard input."
    )
    return [
        *(one.for_click() for one in OPTIONS if takes_login or one is not USERNAME),
        *([password] if takes_login else []),
        click.Option(["-q", "--quiet"], is_flag=True, help="Results alone, no progress."),
        click.Option(["--debug"], is_flag=True, help="Show where an error comes from."),
    ]


@contextmanager
def _calling(settings: Settings, progress: Progress, *, is_debugged: bool) -> Iterator[Call]:
    """Errors of the library become those of the program; what was begun is cleared away."""
    try:
        with (
            closing(progress),
            Client(settings, warn=progress.warn, listener=progress) as client,
            _interruptible(client),
        ):
            yield Call(client, progress, settings.credentials is not None)
    except (Cancelled, KeyboardInterrupt):
        raise click.Abort from None
    except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
        raise
    except Exception as error:
        if is_debugged:
            import traceback

            lines = traceback.format_exc().splitlines()
            click.echo("\n".join(map(plain, lines)), err=True)
        from .failing import failure

        raise failure(error) from error


def _settings(flags: Mapping[str, Any]) -> Settings:
    held = resolve_without_file(OPTIONS, flags, os.environ)
    value = {name: given.value for name, given in held.items()}
    login = None
    if "password_stdin" in flags:
        login = _login(value["username"], password_stdin=flags["password_stdin"])
    return Settings(
        default_registry=value["registry"],
        plain_http=EVERY_HOST if value["plain-http"] else (),
        allow_private_urls=True,  # the user has written them
        ca_file=value["ca-file"],
        insecure=value["insecure"],
        credentials=None if login is None else _given(login),
        credentials_file=value["registry-config"],
        cache=_cache(value["cache"], held["cache"].place),
        concurrency=value["concurrency"],
        retries=value["retries"],
    )


def _cache(text: str, called: str) -> CacheHandle | None:
    """Raises CommandFailed."""
    if text == "off":
        return None
    from ..client.caches.config import CacheConfig
    from .failing import failure

    try:
        return CacheConfig.parse(text, os.environ, called).build()
    except WasmholdError as error:
        raise failure(error) from error


def _given(login: Basic) -> Given:
    from ..client.credentials import Given

    return Given(login)


def _login(user: str | None, *, password_stdin: bool) -> Basic | None:
    if user is None:
        if password_stdin:
            raise WrongUse("--password-stdin wants --username USER")
        return None
    password = read_password() if password_stdin else os.environ.get(PASSWORD.variable)
    if password is None:
        raise WrongUse(f"--username wants --password-stdin, or {PASSWORD.variable}")
    from ..client.credentials import Basic

    return Basic(user, password)


def read_password() -> str:
    """Standard input without the end of its last line.  Raises WrongUse."""
    content = sys.stdin.buffer.read(_MAX_PASSWORD + 1)
    try:
        password = content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise WrongUse("the password on standard input is not UTF-8") from None
    if not password or len(content) > _MAX_PASSWORD:
        raise WrongUse("standard input has no password, or more than one")
    return password


@contextmanager
def _interruptible(client: Client) -> Iterator[None]:
    """Ctrl-C wakes whoever waits for a registry; what is half done is cleared away then."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        client.cancel()
        # Its locks may be held by the very code that was interrupted here.
        threading.Thread(target=client.close, daemon=True).start()
        raise KeyboardInterrupt

    before = {one: signal.signal(one, interrupt) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
