"""Requests over urllib3, with our own redirects.

urllib3 takes 60 ms to import, so it comes with the first request.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit

from ... import __version__
from ...oci.errors import Unreachable
from ...protocol.messages import Fields
from ...protocol.messages import field as first
from ..hosts import host_of, origin, without_query
from .port import Answer
from .proxies import proxy_for
from .reach import Reach

if TYPE_CHECKING:
    from .pools import Pools

MAX_REDIRECTS: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})


@dataclass(frozen=True, slots=True)
class Options:
    """How to reach registries.  `environ` names proxies; the library never reads it by itself.

    `ca_file`: further authorities to trust (PEM). `insecure`: trust anybody.  `client_certificate`:
    a PEM file with a certificate, and one with its key, None where it is the same.  `reach`: where
    requests may lead, None for anywhere.  Times are seconds, None for no bound; there is none for a
    whole transfer.
    """

    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca_file: str | None = None
    insecure: bool = False
    client_certificate: tuple[str, str | None] | None = None
    reach: Reach | None = None
    connect_timeout_s: float | None = 10
    read_timeout_s: float | None = 60
    connections: int = 32  # of one host that are kept open
    user_agent: str = f"wasmhold/{__version__}"


class HttpTransport:
    def __init__(self, options: Options | None = None) -> None:
        self._options = options or Options()
        self._made: Pools | None = None
        self._lock = threading.Lock()

    def request(
        self,
        method: str,
        url: str,
        fields: Fields = (),
        body: Iterable[bytes] | None = None,
        *,
        follow: bool = False,
    ) -> Answer:
        headers = {key.decode(): value.decode("latin-1") for key, value in fields}
        headers.setdefault("user-agent", self._options.user_agent)
        # A digest is over the bytes as they are stored.
        headers.setdefault("accept-encoding", "identity")
        if body is None and method in _WITH_BODY:
            headers.setdefault("content-length", "0")
        for _ in range(MAX_REDIRECTS + 1):
            proxy = self._proxy(url)
            answer = self._pools().send(method, url, headers, body, proxy)
            if not follow or answer.status not in _REDIRECTS:
                return answer
            location = first(answer.fields, b"location")
            if location is None:
                return answer
            answer.body.close()
            there = _redirected(url, location)
            if origin(there) != origin(url):
                headers.pop("authorization", None)
            url = there
        raise Unreachable(host_of(url), f"more than {MAX_REDIRECTS} redirects", retryable=False)

    def _proxy(self, url: str) -> str | None:
        """The proxy for `url`.  Raises Unreachable for a URL that is not to be asked."""
        options = self._options
        if options.reach is not None:
            options.reach.check(url)
            if not options.reach.private:
                return None  # a proxy connects to what it likes
        return proxy_for(url, options.environ)

    def speaks_tls(self, host: str, port: int) -> bool:
        return self._pools().speaks_tls(host, port)

    def close(self) -> None:
        if self._made is not None:
            self._made.close()

    def _pools(self) -> Pools:
        with self._lock:
            if self._made is None:
                from .pools import Pools

                self._made = Pools(self._options)
            return self._made


def _redirected(url: str, location: str) -> str:
    """Where a redirect leads.  Raises Unreachable where we do not go."""
    host = host_of(url)
    try:
        there = urljoin(url, location)
        scheme, name, _ = origin(there)
    except ValueError:
        scheme, name, there = "", "", ""
    if scheme not in ("http", "https") or not name:
        raise Unreachable(host, "a redirect leads to what is no HTTP URL", retryable=False)
    if scheme == "http" and urlsplit(url).scheme == "https":
        raise Unreachable(
            host, f"a redirect leads from https to plain {without_query(there)}", retryable=False
        )
    return there
