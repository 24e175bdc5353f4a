"""How a client reaches registries, and as whom."""

from __future__ import annotations

import os
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .caches.port import CacheHandle
    from .credentials import Credentials

CONCURRENCY: Final = 8  # things that are asked for, or moved, side by side


class _EveryHost:
    def __contains__(self, host: object) -> bool:
        return True


EVERY_HOST: Final[Container[str]] = _EveryHost()


@dataclass(frozen=True, slots=True)
class Settings:
    """All that is the same for what a client does.

    environ          names proxies, files of logins and tokens; that of the process by default
    default_registry of a name without a host; there is none unless it is given
    plain_http       hosts that are spoken to without TLS; on loopback that is found out
    ca_file          further authorities to trust, a PEM file
    insecure         trust anybody
    allow_private_urls: whether the URLs of a layer may lead into private networks
    client_certificate: a PEM file with a certificate, and one with its key, None for the same
    user_agent       what requests say they come from; None: wasmhold and its version
    credentials      who the user is, instead of what `environ` leads to
    credentials_file the one file with logins, in docker's form
    cache            what is read from registries is kept there, and read from there; None: not
    concurrency      things that are asked for, or moved, side by side
    retries          how often what may heal is tried again
    connect_timeout_s, read_timeout_s: for a connection, and for the next bytes; None: no bound
    """

    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    default_registry: str | None = None
    plain_http: Container[str] = ()
    ca_file: str | None = None
    insecure: bool = False
    allow_private_urls: bool = False
    client_certificate: tuple[str, str | None] | None = None
    user_agent: str | None = None
    credentials: Credentials | None = field(default=None, repr=False)
    credentials_file: str | None = None
    cache: CacheHandle | None = None
    concurrency: int = CONCURRENCY
    retries: int = 3
    connect_timeout_s: float | None = 10
    read_timeout_s: float | None = 60
