"""``wasmhold login``: keep a login, where docker would."""

from __future__ import annotations

import sys

import click

from ..calling import Call, ClientCommand


@click.command(cls=ClientCommand, short_help="log in to a registry", takes_login=False)
@click.argument("host")
@click.option("-u", "--username", metavar="USER", help="Asked for where it is missing.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.pass_obj
def login(call: Call, host: str, username: str | None, password_stdin: bool) -> None:
    """Try a login to the registry HOST, and keep it for later in docker's file, or its helper.

    The password is asked for on a terminal, and otherwise read from standard input.
    """
    from ..calling import read_password

    user = username or click.prompt("Username", err=True)
    if password_stdin or not sys.stdin.isatty():
        password = read_password()
    else:
        password = click.prompt("Password", hide_input=True, err=True)
    kept = call.client.login(host, user, password)
    call.note(f"logged in to {host} as {user}; the login is kept in {kept}")
