"""Connections, kept open and shared by all threads; the one door to urllib3."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from weakref import WeakSet

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    InvalidChunkLength,
    LocationParseError,
    LocationValueError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

from ...oci.errors import Fault, FileInvalid, Unreachable
from ..hosts import host_of
from .port import PIECE, Answer

if TYPE_CHECKING:
    from .http import Options
    from .reach import Reach

_HOSTS = 64  # whose pools are remembered
_PROBE_S = 2.0  # seconds for the first byte of a handshake on loopback


class _Patient:
    """A connection that gives a body the time of a read, not of a connect, and can be cut off."""

    sock: socket.socket | None
    host: str
    port: int

    def __init__(
        self,
        *args: Any,
        opened: Callable[[Any], None],
        patience_s: float | None,
        reach: Reach | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._opened, self._patience_s, self._reach = opened, patience_s, reach

    def _new_conn(self) -> socket.socket:
        """Where not every address will do, the name is looked up here, and not once more."""
        if self._reach is None:
            return self._connected()
        name = self.host
        try:
            found = socket.getaddrinfo(name.strip("[]"), self.port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError) as error:
            raise NameResolutionError(name, self, error) from error  # type: ignore[arg-type]
        failed: Exception | None = None
        for address in self._reach.among(name, (str(info[4][0]) for info in found)):
            self.host = address
            try:
                return self._connected()
            except (NewConnectionError, ConnectTimeoutError) as error:
                failed = error
            finally:
                self.host = name  # a certificate is for the name
        assert failed is not None
        raise failed

    def _connected(self) -> socket.socket:
        sock: socket.socket = super()._new_conn()  # type: ignore[misc]
        return sock

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        # Whoever asked for connections to strangers needs no warning at each of them.
        self.is_verified = True
        self._opened(self)

    def endheaders(self, *args: Any, **kwargs: Any) -> None:
        super().endheaders(*args, **kwargs)  # type: ignore[misc]
        if self.sock is not None:
            self.sock.settimeout(self._patience_s)

    def cut(self) -> None:
        """Wake whoever waits for this connection: it is over."""
        sock = self.sock
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class _HttpConnection(_Patient, HTTPConnection):
    pass


class _HttpsConnection(_Patient, HTTPSConnection):
    pass


class _SourceFailed(Exception):
    """The body could not be read: no fault of the connection, which urllib3 would take it for."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class Pools:
    """One pool of connections for each way: direct, or by a proxy."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._managers: dict[tuple[str, str | None], urllib3.PoolManager] = {}
        self._direct: dict[tuple[str, str], HTTPConnectionPool] = {}
        self._live: WeakSet[_Patient] = WeakSet()
        self._is_closed = False
        self._timeout = urllib3.Timeout(
            connect=options.connect_timeout_s, read=options.read_timeout_s
        )

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Iterable[bytes] | None,
        proxy: str | None,
    ) -> Answer:
        host = host_of(url)
        try:
            asked, target = self._way(url, proxy)
            raw = asked.urlopen(
                method,
                target,
                body=None if body is None else _guarded(body),
                headers=dict(headers),
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                timeout=self._timeout,
            )
        except _SourceFailed as failed:
            raise failed.error from None
        except (LocationParseError, LocationValueError):
            raise Unreachable(host, "this is no URL that can be asked", retryable=False) from None
        except HTTPError as error:
            raise self._unreachable(host, error) from error
        fields = [
            (key.lower().encode("latin-1"), value.encode("latin-1"))
            for key, value in raw.headers.iteritems()
        ]
        return Answer(raw.status, fields, _Content(raw, partial(self._unreachable, host)), url)

    def speaks_tls(self, host: str, port: int) -> bool:
        hello = ssl.MemoryBIO()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.wrap_bio(ssl.MemoryBIO(), hello, server_hostname=host).do_handshake()
        except ssl.SSLWantReadError:
            pass
        try:
            with socket.create_connection((host, port), timeout=_PROBE_S) as connection:
                # The empty line ends what a server of plain HTTP takes for a broken request: it
                # answers at once.
                connection.sendall(hello.read() + b"\r\n\r\n")
                return connection.recv(1) in (b"\x16", b"\x15")  # a handshake, or an alert
        except OSError:
            return False

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            for connection in list(self._live):
                connection.cut()
            for manager in self._managers.values():
                manager.clear()

    def _opened(self, connection: _Patient) -> None:
        with self._lock:
            self._live.add(connection)
            if self._is_closed:
                connection.cut()

    def _way(
        self, url: str, proxy: str | None
    ) -> tuple[HTTPConnectionPool | urllib3.PoolManager, str]:
        """What to ask, and for which target: a proxy wants the whole URL.

        Without one a manager would take each URL apart twice more: 45 of a request's 290 µs.
        """
        parts = urlsplit(url)
        manager = self._manager(parts.scheme, proxy)
        if proxy is not None:
            return manager, url
        key = (parts.scheme, parts.netloc)
        pool = self._direct.get(key)
        if pool is None:
            pool = manager.connection_from_url(f"{parts.scheme}://{parts.netloc}")
            if len(self._direct) >= _HOSTS:
                self._direct.clear()
            self._direct[key] = pool
        return pool, f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"

    def _manager(self, scheme: str, proxy: str | None) -> urllib3.PoolManager:
        with self._lock:
            key = (scheme, proxy)
            if key not in self._managers:
                self._managers[key] = self._new_manager(scheme, proxy)
            return self._managers[key]

    def _new_manager(self, scheme: str, proxy: str | None) -> urllib3.PoolManager:
        settings: dict[str, Any] = {"maxsize": self._options.connections}
        if scheme == "https":
            settings["ssl_context"] = self._context()
        if proxy is None:
            manager = urllib3.PoolManager(**settings)
        else:
            manager = self._proxied(proxy, settings)
        manager.pool_classes_by_scheme = {
            "http": self._pool(HTTPConnectionPool, _HttpConnection),
            "https": self._pool(HTTPSConnectionPool, _HttpsConnection),
        }
        return manager

    def _pool(
        self, kind: type[HTTPConnectionPool], connection: type[_HttpConnection | _HttpsConnection]
    ) -> type[HTTPConnectionPool]:
        """A class of pools whose connections are ours."""
        options = self._options
        made = partial(
            connection,
            opened=self._opened,
            patience_s=options.read_timeout_s,
            reach=options.reach,
        )
        return type(kind.__name__, (kind,), {"ConnectionCls": made})

    def _proxied(self, proxy: str, settings: dict[str, Any]) -> urllib3.PoolManager:
        parts = urlsplit(proxy)
        host = parts.netloc.rpartition("@")[2]
        if parts.scheme not in ("http", "https"):
            raise Unreachable(
                host, f"a proxy over {parts.scheme} is none that we can use", retryable=False
            )
        if parts.scheme == "https":
            settings["proxy_ssl_context"] = self._context()
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            settings["proxy_headers"] = urllib3.make_headers(proxy_basic_auth=login)
        return urllib3.ProxyManager(f"{parts.scheme}://{host}", **settings)

    def _context(self) -> ssl.SSLContext:
        """What we trust: the system's authorities and `ca_file`.  Raises FileInvalid."""
        options = self._options
        context = ssl.create_default_context()
        if options.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if options.ca_file is not None:
            try:
                context.load_verify_locations(options.ca_file)
            except (OSError, ssl.SSLError) as error:
                raise FileInvalid(options.ca_file, Fault("", _why(error))) from None
        if options.client_certificate is not None:
            try:
                context.load_cert_chain(*options.client_certificate)
            except (OSError, ssl.SSLError) as error:
                raise FileInvalid(options.client_certificate[0], Fault("", _why(error))) from None
        return context

    def _unreachable(self, host: str, error: HTTPError) -> Unreachable:
        """What urllib3 says, in plain words: its own have addresses of objects, and queries."""
        options = self._options
        if self._is_closed:
            return Unreachable(host, "this client is closed already", retryable=False)
        match error:
            case ProxyError():
                return Unreachable(host, "the proxy refuses, or cannot be reached")
            case SSLError():
                return _no_trust(host, error)
            case NameResolutionError():
                return Unreachable(host, "there is no host of this name")
            case NewConnectionError():
                return Unreachable(host, f"no connection: {_why(error.__cause__)}")
            case ConnectTimeoutError():
                return Unreachable(host, f"no connection within {options.connect_timeout_s:g} s")
            case ReadTimeoutError():
                return Unreachable(host, f"no byte came for {options.read_timeout_s:g} s")
            case ProtocolError() | InvalidChunkLength():
                return Unreachable(host, "the connection broke before the answer was whole")
        return Unreachable(host, f"no answer that is HTTP ({type(error).__name__})")


class _Content:
    def __init__(self, raw: urllib3.BaseHTTPResponse, translate: Any) -> None:
        self._raw, self._translate = raw, translate

    def read(self, size: int = PIECE) -> bytes:
        try:
            return self._raw.read(size, decode_content=False)
        except HTTPError as error:
            raise self._translate(error) from error

    def close(self) -> None:
        # Not to its end: what is not wanted is not read, and that connection is gone.
        self._raw.close()
        self._raw.release_conn()


def _guarded(body: Iterable[bytes]) -> Iterator[bytes]:
    try:
        yield from body
    except Exception as error:
        raise _SourceFailed(error) from error


def _why(error: BaseException | None) -> str:
    text = getattr(error, "strerror", None) or getattr(error, "reason", None)
    return str(text).lower() if text else "it was refused"


def _no_trust(host: str, error: SSLError) -> Unreachable:
    inner = error.args[0] if error.args else None
    if isinstance(inner, ssl.SSLCertVerificationError):
        reason = f"its certificate is not trusted: {inner.verify_message}"
        return Unreachable(host, reason, retryable=False)
    why = getattr(inner, "reason", None) or "the handshake failed"
    if why in ("WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"):
        return Unreachable(host, "it speaks plain HTTP, not HTTPS", retryable=False)
    return Unreachable(host, f"the secure connection broke: {why}")
