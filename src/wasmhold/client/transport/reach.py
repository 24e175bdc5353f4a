"""Where requests may lead, when it is not the user who has written their URL.

A manifest can name any URL for its layers: this machine, the service with a cloud's secrets, what
stands behind the same wall.  So only hosts of the public internet are asked, and only by TLS.
Names are looked up once, and only addresses that were looked at are connected to: a name that means
another address a moment later (DNS rebinding) gains nothing.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final
from urllib.parse import urlsplit

from ...oci.errors import Unreachable
from ..hosts import is_loopback, without_query

# IPv4 inside of IPv6, by a gateway (RFC 6052).
_GATEWAY: Final = IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Reach:
    """`plain_http`: hosts that may be asked without TLS; `private`: any address will do."""

    plain_http: Container[str] = ()
    private: bool = False

    def check(self, url: str) -> None:
        """Raises Unreachable for a URL that is not to be asked."""
        try:
            parts = urlsplit(url)
        except ValueError:
            raise Unreachable("what is no URL", "it cannot be asked", retryable=False) from None
        host = parts.netloc.rpartition("@")[2]
        if parts.scheme == "https":
            return
        if parts.scheme == "http" and (
            host in self.plain_http or (self.private and is_loopback(host))
        ):
            return
        raise Unreachable(
            host,
            f"{without_query(url)} is not over https, and its host is not listed for plain HTTP",
            retryable=False,
        )

    def among(self, host: str, addresses: Iterable[str]) -> list[str]:
        """The addresses of `host` that may be connected to, at least one.  Raises Unreachable."""
        found = list(dict.fromkeys(addresses))
        allowed = [one for one in found if self.private or is_public(one)]
        if not allowed:
            raise Unreachable(
                host,
                f"its address {', '.join(found[:3])} is no public one, and what others refer to is "
                "not fetched from there unless allow_private_urls is set",
                retryable=False,
            )
        return allowed


def is_public(text: str) -> bool:
    """Whether an address belongs to the public internet, also the one that is inside of another."""
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _GATEWAY:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if address.is_site_local:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved)
