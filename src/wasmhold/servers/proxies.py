"""Who the client is when proxies stand before us.  Source: the field X-Forwarded-For, by use."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, TypeAlias

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Networks: TypeAlias = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]

MAX_PROXIES: Final = 32  # that are believed one after the other


def parse_networks(texts: Sequence[str]) -> Networks:
    """Networks (``10.0.0.0/8``) and addresses.  Raises ValueError, which names the wrong one."""
    found = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text))
        except ValueError as error:
            raise ValueError(f"a trusted proxy is an address or a network: {error}") from None
    return tuple(found)


@lru_cache(maxsize=4096)
def parse_address(text: str) -> Address | None:
    """An address as a proxy writes it, also ``1.2.3.4:80`` and ``[::1]:80``; None for all else.

    An IPv4 address that IPv6 carries is the IPv4 address.
    """
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        # What stands behind % is the name of an interface: any text at all.
        found = ipaddress.ip_address(text if "%" not in text else "")
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def client_address(peer: str, forwarded: Sequence[str], trusted: Networks) -> str:
    """The last address that no trusted proxy has; `forwarded` is in the order of the field.

    Only what a trusted proxy has appended is believed.  Where it is no address, or where there is
    nothing, the client is the proxy itself.
    """
    address = parse_address(peer)
    if address is None:
        return peer
    for text in reversed(forwarded[-MAX_PROXIES:]):
        if not any(address in network for network in trusted):
            break
        before = parse_address(text)
        if before is None:
            break
        address = before
    return str(address)
