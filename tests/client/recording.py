"""Servers that write down what they are asked, and answer as a test tells them."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Seen:
    """A request; names of `headers` are lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query)

    @property
    def form(self) -> dict[str, list[str]]:
        return parse_qs(self.body.decode())

    @property
    def authorization(self) -> str | None:
        return self.headers.get("authorization")


@dataclass(frozen=True)
class Says:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass
class Recorder:
    url: str  # without a slash at its end
    seen: list[Seen] = field(default_factory=list)

    @property
    def host(self) -> str:
        return self.url.partition("//")[2]

    def lines(self) -> list[str]:
        return [f"{seen.method} {seen.target}" for seen in self.seen]


@contextmanager
def recording(
    respond: Callable[[Seen], Says], tls: ssl.SSLContext | None = None
) -> Iterator[Recorder]:
    """A server that answers with `respond`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            size = int(self.headers.get("content-length", 0))
            headers = {key.lower(): value for key, value in self.headers.items()}
            seen = Seen(self.command, self.path, headers, self.rfile.read(size))
            recorder.seen.append(seen)
            says = respond(seen)
            self.send_response(says.status)
            if "Content-Length" not in says.headers:
                self.send_header("Content-Length", str(len(says.body)))
            for key, value in says.headers.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(says.body)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    # A broken connection is what some tests are about.
    server.handle_error = lambda *args: None  # type: ignore[method-assign]
    scheme = "http"
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    recorder = Recorder(f"{scheme}://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield recorder
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Line:
    """One connection of a scripted server."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._file = connection.makefile("rb")

    def request(self) -> tuple[str, dict[str, str]] | None:
        """First line and headers; the body is left to `read`.  None at the end."""
        first = self._file.readline().decode().strip()
        if not first:
            return None
        headers = {}
        while line := self._file.readline().decode().strip():
            key, _, value = line.partition(":")
            headers[key.lower()] = value.strip()
        return first, headers

    def read(self, size: int) -> bytes:
        return self._file.read(size)

    def say(self, head: str, body: bytes = b"", **headers: object) -> None:
        """Send a status line, `headers` (``_`` for ``-``) and what there is of a body."""
        lines = [f"HTTP/1.1 {head}"]
        lines += [f"{key.replace('_', '-')}: {value}" for key, value in headers.items()]
        self._connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)

    def close(self) -> None:
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._file.close()
        self._connection.close()


@contextmanager
def scripted(*script: Callable[[Line], None]) -> Iterator[Recorder]:
    """A server whose first connections follow `script`, one entry each; later ones the last.

    Connections that begin with no HTTP, to try TLS, do not count.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    recorder = Recorder(f"http://127.0.0.1:{listener.getsockname()[1]}")
    todo: Sequence[Callable[[Line], None]] = list(script)
    lock = threading.Lock()
    threads: list[threading.Thread] = []
    ended = threading.Event()

    def serve(connection: socket.socket) -> None:
        nonlocal todo
        connection.settimeout(20)
        with suppress(OSError):
            if connection.recv(1, socket.MSG_PEEK) == b"\x16":
                connection.close()
                return
            with lock:
                act, todo = todo[0], todo[1:] or todo
            line = Line(connection)
            try:
                act(line)
            finally:
                line.close()

    def accept() -> None:
        while not ended.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=serve, args=(connection,), daemon=True))
            threads[-1].start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield recorder
    finally:
        ended.set()
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join(5)
        for thread in threads:
            thread.join(5)
