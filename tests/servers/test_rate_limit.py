"""How many requests one address or user may send; time is a number that the test moves."""

from __future__ import annotations

import json
import random

import pytest

from tests.registries import application, serving
from wasmhold.auth.htpasswd import hash_password
from wasmhold.oci.errors import TooManyRequests
from wasmhold.ports.body import BytesBody
from wasmhold.ports.runtime import run
from wasmhold.protocol import Request
from wasmhold.servers.rate_limit import CELLS, WAYS, TableLimiter, by_address, by_user
from wasmhold.servers.shared import Shared
from wasmhold.testing.covers import covers
from wasmhold.testing.senders import to_url
from wasmhold.testing.transcript import Exchange

SECRET = b"sixteen bytes of"


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def table(cells: int = CELLS) -> memoryview:
    return memoryview(bytearray(8 * cells)).cast("Q")


def passes(limiter: TableLimiter, key: str, count: int) -> int:
    """How many of `count` requests are let pass."""
    passed = 0
    for _ in range(count):
        try:
            limiter.check(key)
        except TooManyRequests:
            continue
        passed += 1
    return passed


@covers("OW-107", "OW-158")
@pytest.mark.parametrize("rate", [1, 3, 10, 1000])
def test_a_second_gives_so_many_and_so_many_at_once(rate):
    clock = Clock()
    limiter = TableLimiter(rate, table(), SECRET, clock)
    assert passes(limiter, "a", 3 * rate) == rate
    assert passes(limiter, "b", 1) == 1
    clock.now += 1 / rate + 1e-5
    assert passes(limiter, "a", 3) == 1
    clock.now += 100
    assert passes(limiter, "a", 3 * rate) == rate
    # Over a long time no more than that: ten seconds in steps of a hundredth.
    passed = 0
    for _ in range(1000):
        clock.now += 0.01
        passed += passes(limiter, "a", rate)
    assert 10 * rate - 1 <= passed <= 10 * rate + 1


@covers("OW-158", "DS-014")
@pytest.mark.parametrize(("rate", "retry_after"), [(10, 1), (1, 1), (0.1, 10), (0.25, 4)])
def test_when_to_come_again_is_computed_and_true(rate, retry_after):
    clock = Clock()
    limiter = TableLimiter(rate, table(), SECRET, clock)
    passes(limiter, "a", 20)
    with pytest.raises(TooManyRequests) as caught:
        limiter.check("a")
    assert caught.value.retry_after_s == retry_after
    clock.now += retry_after + 1e-5
    assert passes(limiter, "a", 1) == 1


def test_two_workers_share_one_limit():
    clock, cells = Clock(), table()
    one, other = (TableLimiter(10, cells, SECRET, clock) for _ in range(2))
    assert passes(one, "a", 6) + passes(other, "a", 6) == 10


@covers("OW-158")
def test_more_addresses_than_cells_let_more_pass_never_fewer():
    clock, cells = Clock(), table(WAYS * 8)
    limiter = TableLimiter(2, cells, SECRET, clock)
    for i in range(10_000):
        limiter.check(f"address {i}")  # each is new: none is refused
    assert len(cells) == WAYS * 8


def test_broken_cells_hold_nobody_longer_than_the_window():
    chance = random.Random(7)
    clock, cells = Clock(), table(WAYS * 64)
    limiter = TableLimiter(5, cells, SECRET, clock)
    for i in range(len(cells)):
        cells[i] = chance.getrandbits(64)
    clock.now += 1.01
    assert all(passes(limiter, f"address {i}", 1) for i in range(200))


# fmt: off
SAME = [
    ("192.0.2.1",       "192.0.2.1",               True),
    ("192.0.2.1",       "192.0.2.2",               False),
    ("2001:db8::1",     "2001:db8::ffff:0:0:1",    True),
    ("2001:db8::1",     "2001:db8:0:1::1",         False),
    ("-",               "-",                       True),
]
# fmt: on


@pytest.mark.parametrize(("one", "other", "is_same"), SAME)
def test_an_ipv6_customer_has_a_network_of_64_bits(one, other, is_same):
    assert (by_address(one) == by_address(other)) == is_same
    assert by_user(one) != by_address(one)


@covers("OW-107")
def test_the_body_of_a_refused_request_is_not_read():
    class Unread(BytesBody):
        async def __aiter__(self):
            raise AssertionError("read")
            yield b""

    made = application()
    made._limiter = TableLimiter(1, table(), SECRET, Clock())
    ping = Request("GET", "/v2/", "", [(b"host", b"x")])
    assert run(made.handle(ping, BytesBody(), "192.0.2.1")).response.status == 200
    put = Request("PUT", "/v2/a/manifests/b", "", [(b"host", b"x")])
    answered = run(made.handle(put, Unread(b"{}"), "192.0.2.1"))
    assert answered.response.status == 429
    assert run(made.handle(ping, BytesBody(), "192.0.2.2")).response.status == 200


@covers("OW-107", "OW-158")
@pytest.mark.parametrize("workers", [1, 2])
def test_the_limit_is_the_servers(workers, tmp_path):
    store = ("--root", str(tmp_path), "--workers", str(workers))
    # One request in ten minutes: whatever this machine is busy with, none comes free meanwhile.
    with serving("--log", "off", "--rate-limit", "0.00166", store=store) as server:
        statuses, last = [], None
        for _ in range(10):
            with to_url(server.url) as send:  # a connection each, so that all workers are met
                last = send(Exchange("GET", "/v2/", [], None, False))
                statuses.append(last.status)
        assert statuses == [200] + [429] * 9
        assert json.loads(last.body)["errors"][0]["code"] == "TOOMANYREQUESTS"
        assert 500 < int(dict(last.headers)["retry-after"]) <= 603
        with to_url(server.url) as send:
            assert send(Exchange("GET", "/metrics", [], None, False)).status == 429
            for _ in range(5):
                assert send(Exchange("GET", "/healthz", [], None, False)).status == 200
                assert send(Exchange("GET", "/readyz", [], None, False)).status == 200


@covers("OW-158")
def test_a_user_has_a_limit_over_all_addresses(tmp_path):
    users = tmp_path / "users"
    users.write_text(f"alice:{hash_password(b'secret', 4)}\n")
    users.chmod(0o600)
    flags = ("--htpasswd", str(users), "--rate-limit", "0.00166", "--trusted-proxy", "127.0.0.1")
    login = ("Authorization", "Basic YWxpY2U6c2VjcmV0")
    with serving("--log", "off", *flags) as server, to_url(server.url) as send:
        statuses = [
            send(Exchange("GET", "/v2/", [login, ("X-Forwarded-For", f)], None, False)).status
            for f in ("192.0.2.1", "192.0.2.2", "192.0.2.3")
        ]
    assert statuses == [200, 429, 429]


def test_a_table_starts_empty_with_a_secret_of_its_own():
    shared = Shared(8, 600, CELLS)
    assert len(shared.table) == CELLS
    assert not any(shared.table[:64])
    assert len(shared.secret) == 16
    assert any(shared.secret)
