"""The options of all commands that talk to a registry."""

from __future__ import annotations

from typing import Final

from ...client.place import is_host
from ...client.settings import CONCURRENCY
from .kinds import FILE, SWITCH, TEXT, Kind, whole
from .option import Option


def _parse_host(text: str) -> str:
    if not is_host(text):
        raise ValueError(f"{text!r} is not the HOST[:PORT] of a registry")
    return text


HOST: Final = Kind("HOST", _parse_host)

# What it says is looked at where it is used: few calls have one.
CACHE: Final = Kind("off|disk|DIR|URL", str)

USERNAME: Final = Option(
    "username",
    TEXT,
    "Log in as this user; the password comes from --password-stdin.",
    metavar="USER",
)

OPTIONS: Final = (
    Option("registry", HOST, "The registry of a name that has no host."),
    Option(
        "plain-http",
        SWITCH,
        "Speak HTTP without TLS; for loopback addresses it is found out.",
        "false",
    ),
    Option("ca-file", FILE, "Trust the authorities in this PEM file too."),
    Option("insecure", SWITCH, "Trust any certificate.", "false"),
    USERNAME,
    Option("registry-config", FILE, "Logins are in this file, in the form of docker."),
    Option(
        "cache",
        CACHE,
        "Keep what registries give, and take it from there: `disk` for the user's own folder.",
        "off",
    ),
    Option("concurrency", whole("N", 1), "Things that are moved side by side.", str(CONCURRENCY)),
    Option("retries", whole("N", 0), "How often what may heal is tried again.", "3"),
)

# Of `client.caches.config`, as a server may meet them in its environment.
OF_CACHES: Final = tuple(
    Option(name, TEXT, "")
    for name in (
        "cache-dir",
        "cache-max-size",
        "shared-cache",
        "s3-region",
        "s3-endpoint",
        "s3-path-style",
        "default-registry",
    )
)

# A flag would show it to all users of the host.
PASSWORD: Final = Option("password", TEXT, "The password of --username.")
