"""Start Granian on an address that is ours alone, and know the port when 0 is asked.

Granian binds with SO_REUSEPORT: a second server on the same port would silently share its
connections.  So we bind first without that option, which fails when anybody listens, then switch
it on and hold the socket, never listening on it.
"""

from __future__ import annotations

import gc
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings

from .capacity import connections

HEAD_TIMEOUT_MS: Final = 20_000  # for all lines of a request's head
# Bytes that are read from a connection at once, so also the limit of a request's head.  A body
# comes in chunks of this size, and each costs a way between two threads (decision 0034).
READ_SIZE: Final = 512 * 1024
BACKLOG: Final = 1024


@dataclass(frozen=True, slots=True)
class Address:
    """An IP address and a port; `reserved` holds it against other servers."""

    host: str
    port: int
    reserved: socket.socket

    @property
    def url(self) -> str:
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}/"


def reserve(host: str, port: int) -> Address:
    """Take an address for ourselves; port 0 takes a free one.

    Raises OSError when the name is not known or somebody listens there.
    """
    family, _, _, _, where = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    held = socket.socket(family, socket.SOCK_STREAM)
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(where)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError:
        held.close()
        raise
    name = held.getsockname()
    return Address(name[0], name[1], held)


def serve(
    load: Callable[[], Any],
    address: Address,
    *,
    workers: int = 1,
    respawn: bool = False,
    shutdown_timeout_s: int,
    head_timeout_ms: int = HEAD_TIMEOUT_MS,
    when_ready: Callable[[str], None],
) -> None:
    """Serve the ASGI application that `load` makes in each of `workers` processes, until a signal.

    When one of them dies, another takes its place with `respawn`, and all end without.
    `when_ready` is called with the URL when connections are accepted.  On SIGTERM and SIGINT no
    new connection is taken, and running requests have `shutdown_timeout_s` seconds.
    """
    server = Granian(
        "wasmhold",
        address=address.host,
        port=address.port,
        interface=Interfaces.ASGI,
        workers=workers,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(
            header_read_timeout=head_timeout_ms, max_buffer_size=READ_SIZE
        ),
        loop=Loops.auto,
        websockets=False,
        backlog=BACKLOG,
        backpressure=connections(workers, READ_SIZE),
        workers_kill_timeout=shutdown_timeout_s,
        respawn_failed_workers=respawn,
        log_access=False,
        log_enabled=False,
    )
    # Granian would answer SIGHUP with new workers, and what is in memory would go with the old one.
    server.on_startup(lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    threading.Thread(target=_watch, args=(address, when_ready), daemon=True).start()
    server.serve(target_loader=partial(_load, load), wrap_loader=False)


def _load(load: Callable[[], Any]) -> Any:
    """In the serving process: what is there from the start is nothing for the garbage collector."""
    application = load()
    gc.freeze()
    return application


def _watch(address: Address, when_ready: Callable[[str], None]) -> None:
    """Call `when_ready` once a connection is accepted: Granian itself does not tell."""
    while True:
        try:
            socket.create_connection((address.host, address.port), 1).close()
        except OSError:
            time.sleep(0.01)
        else:
            when_ready(address.url)
            return
