"""Which proxy the environment asks for: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from ..hosts import is_loopback


def proxy_for(url: str, environ: Mapping[str, str]) -> str | None:
    """The URL of the proxy for `url`, None where the way is direct; loopback always is.

    Names in lower case go first.  A proxy without a scheme is one over HTTP.
    """
    parts = urlsplit(url)
    proxy = _variable(environ, f"{parts.scheme}_proxy") or _variable(environ, "all_proxy")
    host = parts.hostname or ""
    if not proxy or is_loopback(parts.netloc.rpartition("@")[2]):
        return None
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if any(_covers(rule, host, port) for rule in _variable(environ, "no_proxy").split(",")):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _variable(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name) or environ.get(name.upper()) or ""


def _covers(rule: str, host: str, port: int) -> bool:
    """Is `host` meant by an entry of NO_PROXY: ``*``, a domain, an address, a network, a port?"""
    rule = rule.strip().lower()
    if rule in ("", "*"):
        return rule == "*"
    if "/" in rule:
        try:
            return ipaddress.ip_address(host) in ipaddress.ip_network(rule, strict=False)
        except ValueError:
            return False
    name, colon, wanted = rule.rpartition(":")
    if colon and wanted.isdecimal() and "]" not in wanted and name.count(":") == 0:
        if int(wanted) != port:
            return False
        rule = name
    rule = rule.strip("[]").removeprefix("*").removeprefix(".")
    return host == rule or host.endswith(f".{rule}")
