"""In the serving process: what the parent says is heard there, and how it leaves.

On SIGHUP what the operator may have changed is read again; SIGUSR1 says to leave, SIGUSR2 that the
server ends.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Final, Protocol

from ..oci.errors import WasmholdError
from .sockets import Identity, identity

UP_AFTER_S: Final = 0.05

_LOG = logging.getLogger("wasmhold")


class Served(Protocol):
    """An ASGI application that hears what the parent says.

    `draining`: it says on every answer that its connection ends, and is not ready.
    """

    draining: bool

    def refresh(self) -> None:
        """Read again what the operator may have changed."""


def start(load: Callable[[], Served], up: Connection, listening: frozenset[Identity]) -> Served:
    """What serves; `listening`: the parent's sockets."""
    try:
        application = load()
    except WasmholdError as error:
        _LOG.error("a worker cannot start: %s", error)
        sys.exit(1)
    loop = asyncio.get_event_loop()  # Granian has set it
    loop.add_signal_handler(signal.SIGHUP, application.refresh)
    loop.add_signal_handler(signal.SIGUSR1, _leave, application, listening)
    loop.add_signal_handler(signal.SIGUSR2, _drain, application)
    # The loop runs once for the lifespan, then for good; a signal between the two would be lost.
    loop.call_later(UP_AFTER_S, up.send_bytes, b"%d" % os.getpid())
    gc.freeze()  # what is there from the start is nothing for the garbage collector
    return application


def _drain(application: Served) -> None:
    application.draining = True


def _leave(application: Served, listening: frozenset[Identity]) -> None:
    """Take no new connection, as others do, and let those that are there come to an end.

    Nothing in Granian does the first alone.  So the descriptor becomes that of a socket to which
    nobody can connect: the one that listens is the parent's, and stays open.
    """
    _drain(application)
    try:
        nobody = socket.socket(socket.AF_UNIX)
        nobody.bind("")  # a name that the kernel makes up
        nobody.listen()
        nobody.setblocking(False)
        for name in os.listdir("/dev/fd"):
            with suppress(OSError):
                if identity(int(name)) in listening:
                    os.dup2(nobody.fileno(), int(name))
        nobody.detach()
    except OSError:
        # Not on this system: a connection that comes within the last moment may be reset.
        _LOG.debug("a leaving worker goes on taking connections", exc_info=True)
