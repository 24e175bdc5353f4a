"""Start Granian on sockets that are the parent's, and replace workers without losing a request.

Granian lets each worker make a socket of its own, and connections that wait there are reset when
the worker ends.  So the parent makes them, one for each place of a worker, and who has the place
inherits the socket: what waits there is taken by the next one.  The kernel spreads connections over
the sockets (SO_REUSEPORT); at one socket for all, the first worker that wakes would take too many.

On SIGHUP workers read their access files again, and where the certificate has changed, others take
their place.  An old worker is told to leave (SIGUSR1): it takes no new connection, and its answers
over HTTP/1.1 say ``connection: close``, so that clients come again, to a new one.  After `LEAVE_S`
it is told to end, which HTTP/2 tells its clients (GOAWAY); what runs then may still finish.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any, Final

from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces, Loops, SSLProtocols
from granian.http import HTTP1Settings, HTTP2Settings
from granian.server.mp import MPServer

from ..oci.errors import FileInvalid
from .capacity import connections
from .sockets import BACKLOG, SPREADS, Address, beside, give_up_readers, identity
from .tls import Certificate, Pair
from .worker import Served, start

HEAD_TIMEOUT_MS: Final = 20_000  # for all lines of a request's head
# Bytes that are read from a connection at once, so also the limit of a request's head.  A body
# comes in chunks of this size, and each costs a way between two threads (decision 0034).
READ_SIZE: Final = 256 * 1024
HEAD_SIZE_HTTP_2: Final = 64 * 1024  # bytes of a request's head
STREAMS: Final = 100  # requests at once of one HTTP/2 connection
# In which a reader takes nothing of what lies in the kernel for it: longer than the edge waits.
READER_TIMEOUT_MS: Final = 40_000
LEAVE_S: Final = 3.0  # in which clients of an old worker are told to come again
DRAIN_S: Final = 0.5  # in which a server that will end says so, before it takes nothing more
START_S: Final = 60.0  # for a worker to open its store

_LOG = logging.getLogger("wasmhold")


def serve(
    load: Callable[[], Served],
    address: Address,
    *,
    workers: int = 1,
    respawn: bool = False,
    certificate: Certificate | None = None,
    shutdown_timeout_s: int,
    head_timeout_ms: int = HEAD_TIMEOUT_MS,
    reader_timeout_ms: int = READER_TIMEOUT_MS,
    when_ready: Callable[[str], None],
) -> None:
    """Serve the ASGI application that `load` makes in each of `workers` processes, until a signal.

    With `respawn` another worker takes the place of one that dies, and new ones serve a changed
    `certificate`; without it all end when one dies.  `when_ready` is called with the URL when all
    workers are there.  On SIGTERM and SIGINT no new connection is taken, and running requests have
    `shutdown_timeout_s` seconds.  Raises FileInvalid for a certificate that cannot be used.
    """
    server = _Server(
        address,
        certificate,
        respawn=respawn,
        reader_timeout_ms=reader_timeout_ms,
        when_ready=when_ready,
        workers=workers,
        http=HTTPModes.http1 if certificate is None else HTTPModes.auto,
        http1_settings=HTTP1Settings(
            header_read_timeout=head_timeout_ms, max_buffer_size=READ_SIZE
        ),
        http2_settings=HTTP2Settings(
            max_headers_size=HEAD_SIZE_HTTP_2, max_concurrent_streams=STREAMS
        ),
        backpressure=connections(workers, READ_SIZE),
        workers_kill_timeout=shutdown_timeout_s,
    )
    server.serve(target_loader=server.loader(load), wrap_loader=False)


class _Server(MPServer):
    """Granian's parent process, with one socket, certificates that change, and a way to leave."""

    def __init__(
        self,
        address: Address,
        certificate: Certificate | None,
        *,
        respawn: bool,
        reader_timeout_ms: int,
        when_ready: Callable[[str], None],
        **options: Any,
    ) -> None:
        super().__init__(
            "wasmhold",
            address=address.host,
            port=address.port,
            interface=Interfaces.ASGI,
            loop=Loops.auto,
            websockets=False,
            backlog=BACKLOG,
            respawn_failed_workers=respawn,
            log_access=False,
            log_enabled=False,
            **options,
        )
        self._address = address
        others = self.workers - 1 if SPREADS else 0
        self._sockets = [address.listening, *(beside(address.listening) for _ in range(others))]
        for listening in self._sockets:
            give_up_readers(listening, reader_timeout_ms)
        self._certificate = certificate
        self._when_ready = when_ready
        self._pair: Pair | None = None
        self._up, self._say_up = multiprocessing.Pipe(duplex=False)
        self._leaving: list[Any] = []
        self._ending = threading.Event()
        if certificate is not None:
            pair = certificate.read()
            _warn(pair)
            self._use(pair)
        # A worker inherits this: it must not die of what it does not listen for yet.
        self.on_startup(lambda: _ignore(signal.SIGUSR1, signal.SIGUSR2))

    def loader(self, load: Callable[[], Served]) -> Callable[..., Any]:
        listening = frozenset(identity(listening.fileno()) for listening in self._sockets)
        return partial(start, load, self._say_up, listening)

    def _use(self, pair: Pair) -> None:
        """Workers that start from now on serve `pair`."""
        self._pair = pair
        versions = str(SSLProtocols.tls12)
        self.ssl_ctx: Any = (
            *(True, pair.chain_path, pair.key_path, None),
            *(versions, None, [], False),
        )

    # ---- the sockets

    def _init_shared_socket(self) -> None:
        for listening in self._sockets:
            listening.set_inheritable(True)  # where workers are not forked

    def _drop_shared_socket(self) -> None:
        for listening in self._sockets:
            listening.close()

    def _spawn_worker(  # type: ignore[override]
        self, idx: int, target: Any, callback_loader: Any
    ) -> Any:
        self._sso: Any = self._sockets[idx % len(self._sockets)]
        backlog = [BACKLOG] if sys.platform.startswith(("linux", "freebsd")) else []
        self._shd: Any = SocketHolder(self._sso.fileno(), False, *backlog)  # type: ignore[call-arg]
        return super()._spawn_worker(idx, target, callback_loader)

    # ---- workers that come

    def _serve_loop(self, spawn_target: Any, target_loader: Any) -> None:
        if self._wait_for(self.wrks):
            self._when_ready(self._address.url("http" if self._pair is None else "https"))
        super()._serve_loop(spawn_target, target_loader)  # type: ignore[no-untyped-call]

    def _wait_for(self, workers: Iterable[Any]) -> bool:
        """Whether all `workers` have come up; False as soon as one dies, or the server ends."""
        workers = list(workers)
        missing = {worker.inner.pid for worker in workers}
        deadline = time.monotonic() + START_S
        while missing and time.monotonic() < deadline and not self.interrupt_signal:
            if self._up.poll(0.05):
                missing.discard(int(self._up.recv_bytes()))
            if not all(worker.is_alive() for worker in workers):
                return False
        return not missing

    def _forget_who_came(self) -> None:
        """Nobody waits for workers that take the place of dead ones, and the pipe has its end."""
        while self._up.poll():
            self._up.recv_bytes()

    def _respawn_workers(
        self, workers: list[int], spawn_target: Any, target_loader: Any, delay: float = 0
    ) -> None:
        """Put others in the place of those that died."""
        self._forget_who_came()
        for index in workers:
            _LOG.error("a worker has died: another takes its place")
            self.respawned_wrks[index] = time.monotonic()
            self.wrks[index] = self._spawn_worker(index, spawn_target, target_loader)
            self.wrks[index].start()

    def _hand_over(self, spawn_target: Any, target_loader: Any) -> bool:
        """Whether new workers are there; else the old ones go on."""
        self._forget_who_came()
        new = [
            self._spawn_worker(index, spawn_target, target_loader) for index in range(self.workers)
        ]
        for worker in new:
            worker.interrupt_by_parent = True  # while it is on trial nobody follows it
            worker.start()
        if not self._wait_for(new):
            for worker in new:
                worker.kill()
            return False
        for old in self.wrks:
            self._retire(old)
        self.wrks[:] = new
        self.interrupt_children.clear()  # one that died meanwhile has its follower
        for index, worker in enumerate(new):
            worker.interrupt_by_parent = False
            if not worker.is_alive():
                self.interrupt_children.append(index)
                self.main_loop_interrupt.set()
        return True

    # ---- workers that go

    def _retire(self, worker: Any) -> None:
        worker.interrupt_by_parent = True
        _tell(worker, signal.SIGUSR1)
        self._leaving = [other for other in self._leaving if other.is_alive()]
        self._leaving.append(worker)
        threading.Thread(target=self._see_off, args=(worker,), daemon=True).start()

    def _see_off(self, worker: Any) -> None:
        if self._ending.wait(LEAVE_S):
            return  # `_stop_workers` sees to it
        worker.terminate()
        worker.join(self.workers_kill_timeout)
        if worker.is_alive():
            worker.kill()

    def _stop_workers(self) -> None:
        if not self.interrupt_signal:
            _LOG.error("a worker has died, and no other can take its place: the server ends")
        self._ending.set()
        self.wrks += self._leaving
        for worker in self.wrks:
            worker.interrupt_by_parent = True
            _tell(worker, signal.SIGUSR2)
        time.sleep(DRAIN_S)
        super()._stop_workers()  # type: ignore[no-untyped-call]
        if self.interrupt_signal:
            # Ctrl-C reaches workers too: one that ends before its parent stops it has not failed.
            self.interrupt_children.clear()
        if self._pair is not None:
            self._pair.close()

    # ---- SIGHUP

    def _reload(self, spawn_target: Any, target_loader: Any) -> None:
        self.reload_signal = False
        self.main_loop_interrupt.clear()
        for worker in self.wrks:
            _tell(worker, signal.SIGHUP)
        if self._certificate is None or self._pair is None:
            return
        try:
            pair = self._certificate.read()
        except FileInvalid as error:
            _LOG.error("the certificate stays as it was: %s", error)
            return
        if pair.is_like(self._pair):
            pair.close()
        elif not self.respawn_failed_workers:
            pair.close()
            _LOG.error("the certificate stays as it was: with --memory a new one needs a restart")
        else:
            _warn(pair)
            old = self._pair
            self._use(pair)
            if self._hand_over(spawn_target, target_loader):
                old.close()
                _LOG.info("the certificate was replaced")
                return
            self._use(old)
            pair.close()
            if not self.interrupt_signal:
                _LOG.error(
                    "the certificate stays as it was: no worker started with the new one; "
                    "mend what it says above, then send SIGHUP again"
                )


def _warn(pair: Pair) -> None:
    for warning in pair.warnings:
        _LOG.warning("%s", warning)


def _ignore(*signals: signal.Signals) -> None:
    for number in signals:
        signal.signal(number, signal.SIG_IGN)


def _tell(worker: Any, number: signal.Signals) -> None:
    if worker.is_alive():
        with suppress(ProcessLookupError):
            os.kill(worker.inner.pid, number)
