"""The sockets that the parent listens on, and how one knows them again.

The kernel spreads connections over several sockets of one address (SO_REUSEPORT): at one socket for
all workers, the first that wakes would take too many.
"""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass
from typing import Final, TypeAlias

BACKLOG: Final = 1024  # connections that wait to be taken

Identity: TypeAlias = tuple[int, int]  # of a file: its device, and its number there

# Whether connections to one port are spread over its sockets.
SPREADS: Final = sys.platform == "linux"


@dataclass(frozen=True, slots=True)
class Address:
    """An IP address and a port, and the first socket that listens there."""

    host: str
    port: int
    listening: socket.socket

    def url(self, scheme: str) -> str:
        return f"{scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}/"


def reserve(host: str, port: int) -> Address:
    """Take an address for ourselves; port 0 takes a free one.

    Connections wait there until `serve`.  Raises OSError when the name is not known or somebody
    listens there.
    """
    family, _, _, _, where = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit it.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listening.bind(where)
        if SPREADS:
            # Only now: with it, we would be bound beside whoever listens.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    name = listening.getsockname()
    return Address(name[0], name[1], listening)


def beside(first: socket.socket) -> socket.socket:
    """Another socket that listens where `first` does."""
    listening = socket.socket(first.family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listening.bind(first.getsockname())
    listening.listen(BACKLOG)
    return listening


def give_up_readers(listening: socket.socket, timeout_ms: int) -> None:
    """Connections inherit it: the kernel ends one whose reader takes nothing.

    The edge gives such an answer up before, but Granian goes on to write what it holds of it, for
    as long as the reader stays.
    """
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms)


def identity(descriptor: int) -> Identity:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino
