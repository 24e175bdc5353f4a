"""Names of hosts: loopback, Docker Hub's several names, and what is one origin.

Sources: RFC 9110, 4.3.1; RFC 6454.
"""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import urlsplit

DOCKER_HUB: Final = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_PORTS: Final = {"http": 80, "https": 443}


def split_host(host: str) -> tuple[str, int | None]:
    """``[::1]:5000`` becomes (``::1``, 5000); without a port None.  Raises ValueError."""
    parts = urlsplit(f"//{host}")
    return parts.hostname or "", parts.port


def is_loopback(host: str) -> bool:
    """Whether `host`, with or without a port, is this machine by its name alone."""
    try:
        name, _ = split_host(host)
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def contact(host: str) -> str:
    """The host that serves the API for `host`: Docker Hub's has another name (ZL-051)."""
    return "registry-1.docker.io" if host in DOCKER_HUB else host


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port; two URLs with the same are one origin.  Raises ValueError."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme)


def host_of(url: str) -> str:
    """Host and port, for messages: a user may be a secret."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        return "what is no URL"


def without_query(url: str) -> str:
    """`url` for messages: what is behind the question mark may be a secret, so may a user."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "what is no URL"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
