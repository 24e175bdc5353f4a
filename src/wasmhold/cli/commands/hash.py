"""``wasmhold hash``: a line of a password file."""

from __future__ import annotations

import sys
from typing import Final

import click

from ...auth.htpasswd import hash_password
from ...auth.passwords import MAX_COST, fault_of_name, parse_htpasswd
from ..group import WrongUse

_COST: Final = 10  # 48 ms for a login that is not remembered
_MAX_LINE: Final = 4096  # bytes; a password has 72 at most


@click.command("hash", short_help="make a line of a password file")
@click.argument("user", required=False)
@click.option(
    "--cost",
    metavar="N",
    type=click.IntRange(4, MAX_COST),
    default=_COST,
    show_default=True,
    help="Each more doubles the time of a login, and of guessing.",
)
@click.option("--pass", "password", metavar="TEXT", help="Better on standard input.")
def hash_(user: str | None, cost: int, password: str | None) -> None:
    """Print ``USER:HASH`` for the file of ``serve --htpasswd``, or the hash alone without USER.

    The password is asked for on a terminal, and otherwise one line of standard input.
    """
    if password is not None:
        click.echo(
            "warning: --pass shows the password to all users of this host, and in the history of "
            "the shell: give it on standard input",
            err=True,
        )
        secret = password.encode("utf-8", "surrogateescape")
    elif sys.stdin.isatty():
        asked: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        secret = asked.encode("utf-8", "surrogateescape")
    else:
        secret = _first_line()
    try:
        line = hash_password(secret, cost)
    except ValueError as error:
        raise WrongUse(str(error)) from None
    if user is not None:
        line = f"{user}:{line}"
        _check_line(line, user)
    click.echo(line)


def _first_line() -> bytes:
    """What stands on standard input, without the end of its only line.  Raises WrongUse."""
    content = sys.stdin.buffer.read(_MAX_LINE)
    line = content.removesuffix(b"\n").removesuffix(b"\r")
    if b"\n" in line:
        raise WrongUse("standard input has more than one line: want the password alone")
    return line


def _check_line(line: str, user: str) -> None:
    """A line that nobody could log in with, or that reads as another, is told now."""
    reason = fault_of_name(user)
    if reason is None and user not in parse_htpasswd(line, "standard output"):
        reason = "a password file would not read it so"
    if reason is not None:
        raise WrongUse(f"{user!r} is no name of a user: {reason}")
