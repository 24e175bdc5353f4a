"""What a serving process is told: the configuration of `serve`, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from ..registry import Settings
from ..servers.asgi import BODY_IDLE_S, SEND_IDLE_S

Verbosity: TypeAlias = Literal["trace", "debug", "info", "warn", "error"]
VERBOSITIES: Final[tuple[Verbosity, ...]] = ("trace", "debug", "info", "warn", "error")


@dataclass(frozen=True, slots=True)
class Plan:
    """All that the serving process needs to know; it must survive the way into that process.

    It names files of secrets, and holds none.
    """

    settings: Settings
    root: str | None  # the store's directory; None: in memory
    workers: int  # processes that serve together
    durable: bool  # against power loss
    min_free: int | None  # bytes of the disk that pushes leave; None: the store's own rule
    htpasswd: str | None  # file of users and bcrypt hashes
    access: str | None  # file of groups and rules
    anonymous: Literal["pull", "push"] | None  # what who has not logged in may do
    tls_cert: str | None  # PEM file, the whole chain
    tls_key: str | None  # PEM file
    rate_limit: float  # requests in a second from one address; 0: no bound
    trusted_proxies: tuple[str, ...]  # networks whose X-Forwarded-For is believed
    warnings: tuple[str, ...]
    faults: tuple[tuple[str, str], ...]
    log: str
    verbosity: Verbosity
    metrics: bool
    body_idle_s: float = BODY_IDLE_S
    send_idle_s: float = SEND_IDLE_S
