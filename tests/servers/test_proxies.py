"""Who the client is behind proxies: a table, a property, and the real server."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.registries import serving
from wasmhold.servers.proxies import MAX_PROXIES, client_address, parse_networks
from wasmhold.testing.covers import covers
from wasmhold.testing.senders import to_url
from wasmhold.testing.transcript import Exchange

TRUSTED = parse_networks(["10.0.0.0/8", "192.0.2.7", "2001:db8:1::/48"])

# fmt: off
WALKS = [
    # peer,               X-Forwarded-For,                              client
    ("203.0.113.9",        ["198.51.100.1"],                             "203.0.113.9"),
    ("203.0.113.9",        [],                                           "203.0.113.9"),
    ("10.0.0.1",           [],                                           "10.0.0.1"),
    ("10.0.0.1",           ["198.51.100.1"],                             "198.51.100.1"),
    ("192.0.2.7",          ["198.51.100.1"],                             "198.51.100.1"),
    ("192.0.2.8",          ["198.51.100.1"],                             "192.0.2.8"),
    # What the client itself has put there stands before what the proxies say.
    ("10.0.0.1",           ["1.1.1.1", "198.51.100.1"],                  "198.51.100.1"),
    ("10.0.0.1",           ["1.1.1.1", "198.51.100.1", "10.9.9.9"],      "198.51.100.1"),
    ("10.0.0.1",           ["10.2.0.1", "10.3.0.1"],                     "10.2.0.1"),
    # Malformed entries end the walk.
    ("10.0.0.1",           ["198.51.100.1", "unknown", "10.9.9.9"],      "10.9.9.9"),
    ("10.0.0.1",           ["198.51.100.1", "_hidden"],                  "10.0.0.1"),
    ("10.0.0.1",           ["198.51.100.1", "999.1.1.1"],                "10.0.0.1"),
    ("10.0.0.1",           ["fe80::1%eth0\n2026 forged"],                "10.0.0.1"),
    # IPv6, IPv4 in IPv6, ports.
    ("2001:db8:1::5",      ["2001:DB8:2:0::1"],                          "2001:db8:2::1"),
    ("::ffff:10.0.0.1",    ["198.51.100.1"],                             "198.51.100.1"),
    ("10.0.0.1",           ["::ffff:198.51.100.1"],                      "198.51.100.1"),
    ("10.0.0.1",           ["198.51.100.1:4711"],                        "198.51.100.1"),
    ("10.0.0.1",           ["[2001:db8:2::1]:4711"],                     "2001:db8:2::1"),
    ("-",                  ["198.51.100.1"],                             "-"),
    # The length is bounded.
    ("10.0.0.1",           ["198.51.100.1"] + ["10.0.0.2"] * MAX_PROXIES, "10.0.0.2"),
]
# fmt: on


@covers("OW-158")
@pytest.mark.parametrize(("peer", "forwarded", "client"), WALKS)
def test_the_last_address_that_is_no_trusted_proxy(peer, forwarded, client):
    assert client_address(peer, forwarded, TRUSTED) == client


@given(
    before=st.lists(st.text(max_size=20) | st.ip_addresses().map(str), max_size=5),
    client=st.ip_addresses(v=4, network="198.51.100.0/24"),
    proxies=st.lists(st.ip_addresses(v=4, network="10.0.0.0/8").map(str), max_size=5),
)
def test_nothing_that_a_client_sends_changes_who_it_is(before, client, proxies):
    assert client_address("10.0.0.1", [*before, str(client), *proxies], TRUSTED) == str(client)
    assert client_address(str(client), [*before, *proxies], TRUSTED) == str(client)


@pytest.mark.parametrize("text", ["10.0.0.1/8", "localhost", "", "10.0.0.0/33"])
def test_a_wrong_network_is_named(text):
    with pytest.raises(ValueError, match="a trusted proxy is an address or a network"):
        parse_networks(["10.0.0.0/8", text])


@covers("OW-158")
@pytest.mark.parametrize(
    ("flags", "client"),
    [((), "127.0.0.1"), (("--trusted-proxy", "127.0.0.0/8"), "198.51.100.1")],
)
def test_the_log_tells_the_client(flags, client):
    with serving("--log", "json", *flags) as server:
        with to_url(server.url) as send:
            headers = [("X-Forwarded-For", "1.1.1.1"), ("X-Forwarded-For", "198.51.100.1")]
            send(Exchange("GET", "/v2/", headers, None, False))
        time.sleep(0.4)
        lines = [line for line in server.log.read_text().splitlines() if line[0] == "{"]
    assert [json.loads(line)["client"] for line in lines if '"ping"' in line] == [client]
