"""Passwords: what is taken, how often bcrypt is asked, and what unknown names cost."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wasmhold.auth.authenticator import BasicAuthenticator, basic_challenge, parse_basic
from wasmhold.auth.htpasswd import check, hash_password
from wasmhold.auth.logins import KEPT_S, Cores, Logins
from wasmhold.auth.passwords import parse_htpasswd
from wasmhold.auth.rights import ROOT, Right
from wasmhold.oci.errors import FileInvalid, TooManyRequests, Unauthorized
from wasmhold.ports.runtime import Inline, run
from wasmhold.servers.asgi import AsyncioRuntime
from wasmhold.testing.covers import covers

SECRET = b"0123456789abcdef"
# The hashes of "secret:with:colons" and "other": cases of a table are named by them.
CHEAP = "$2b$04$6x1IhY6QYUQiUQj.f1iPn.71Pyb7Ds0nA3JgqkDHYyeXRWlIBK8ni"
DEAR = "$2b$05$x4RPBx0FZxHAeMr0l8SMLe8HLH6pYU3I4vyx6k68faNTw67CgZrJe"
USERS = {"alice": CHEAP, "bob": DEAR}


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Counted:
    """The check, and with which hashes it was called."""

    def __init__(self) -> None:
        self.hashes: list[str] = []

    def __call__(self, password: bytes, hashed: str) -> bool:
        self.hashes.append(hashed)
        return check(password, hashed)


def logins(users=USERS, clock=None, counted=None):
    runtime = Inline(clock or Clock(), lambda _: None)
    return Logins(users, counted or Counted(), Cores(runtime, 1), SECRET)


def basic(user: bytes, password: bytes) -> str:
    return "Basic " + base64.b64encode(user + b":" + password).decode()


# ---- the field

# fmt: off
FIELDS = [
    # field,                              user and password
    (basic(b"alice", b"x"),               ("alice", b"x")),
    (basic(b"alice", b"x:y:"),            ("alice", b"x:y:")),
    (basic(b"", b""),                     ("", b"")),
    (basic("zoë".encode(), "ß".encode()), ("zoë", "ß".encode())),
    ("bAsIc " + "YTpi",                   ("a", b"b")),
    ("Basic  YTpi ",                      ("a", b"b")),
    ("Basic YTpi!",                       None),  # no base64
    ("Basic YTp",                         None),  # its padding is missing
    ("Basic YWI=",                        None),  # no colon
    ("Basic ",                            None),
    ("Basic",                             None),
    ("",                                  None),
    ("Bearer YTpi",                       None),
    ("Basic é",                           None),
    (basic(b"\xff", b"x"),                None),  # no UTF-8
    (basic(b"a", b"\xff"),                None),
]
# fmt: on


@covers("OW-163")
@pytest.mark.parametrize(("authorization", "login"), FIELDS)
def test_the_field(authorization, login):
    assert parse_basic(authorization) == login


@given(st.text() | st.binary().map(lambda b: "Basic " + base64.b64encode(b).decode()))
def test_any_field_is_read_or_refused(authorization):
    login = parse_basic(authorization)
    assert login is None or (":" not in login[0] and login[1].decode() is not None)


@covers("OW-164")
def test_a_challenge_names_the_scope():
    assert basic_challenge((Right.WRITE, "a/b")) == (
        'Basic realm="wasmhold", charset="UTF-8", scope="repository:a/b:push", error="unauthorized"'
    )
    assert 'scope="registry::pull"' in basic_challenge(ROOT)
    assert 'scope="repository:a:delete"' in basic_challenge((Right.DELETE, "a"))


# ---- the file


@covers("OW-163")
@pytest.mark.parametrize("kind", ["2a", "2b", "2y", "2x"])
def test_every_kind_of_bcrypt_is_taken(kind):
    line = f"alice:{CHEAP.replace('$2b$', f'${kind}$')}\n"
    users = parse_htpasswd(f"# who\n\n  \n{line}", "f")
    assert run(logins(users).is_valid("alice", b"secret:with:colons"))
    assert not run(logins(users).is_valid("alice", b"secret"))


# fmt: off
BAD_LINES = [
    ("alice",                              "line 2: want user:hash: make the line with `wasmhold hash`"),
    (f":{CHEAP}",                          "line 2: the name is empty"),
    ("alice:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "line 2: not a bcrypt hash"),
    ("alice:$apr1$abc$xxxxxxxxxxxxxxxxxxxxxx", "line 2: not a bcrypt hash"),
    ("alice:hunter2",                      "line 2: not a bcrypt hash"),
    (f"alice:{CHEAP[:-1]}",                "line 2: not a bcrypt hash"),
    (f"alice:{CHEAP.replace('$04$', '$03$')}", "line 2: the cost of a bcrypt hash is 4 to 16"),
    (f"alice:{CHEAP.replace('$04$', '$17$')}", "line 2: the cost of a bcrypt hash is 4 to 16"),
    (f"root:{CHEAP}",                      "line 2: root is there twice"),
    (f"a\tb:{CHEAP}",                      "line 2: a name has no colon and no control character"),
]
# fmt: on


@covers("OW-163")
@pytest.mark.parametrize(("line", "said"), BAD_LINES)
def test_a_bad_line_is_told_without_its_secret(line, said):
    with pytest.raises(FileInvalid) as caught:
        parse_htpasswd(f"root:{CHEAP}\n{line}\n", "users")
    assert str(caught.value).startswith(f"users: {said}")
    assert CHEAP not in str(caught.value)
    assert "hunter2" not in str(caught.value)


@given(st.text())
def test_any_file_is_read_or_refused(text):
    try:
        parse_htpasswd(text, "x")
    except FileInvalid:
        pass


def test_a_password_that_bcrypt_cannot_hash():
    for password in (b"", b"a\0b", b"x" * 73):
        with pytest.raises(ValueError, match="the password"):
            hash_password(password, 4)


# ---- how often bcrypt is asked


@covers("OW-163")
def test_a_good_login_is_remembered_for_a_while():
    clock, counted = Clock(), Counted()
    made = logins(clock=clock, counted=counted)
    assert not made.remembers("alice", b"secret:with:colons")
    assert run(made.is_valid("alice", b"secret:with:colons"))
    assert made.remembers("alice", b"secret:with:colons")
    assert not made.remembers("alice", b"secret:with:colon")
    assert not made.remembers("bob", b"secret:with:colons")
    clock.now += KEPT_S
    assert not made.remembers("alice", b"secret:with:colons")
    clock.now -= 2 * KEPT_S  # a clock that was set back makes nothing last longer
    assert not made.remembers("alice", b"secret:with:colons")
    assert counted.hashes == [CHEAP]


@covers("OW-163")
def test_a_wrong_login_is_never_remembered():
    counted = Counted()
    made = logins(counted=counted)
    for _ in range(3):
        assert not run(made.is_valid("alice", b"wrong"))
    assert counted.hashes == [CHEAP] * 3


@covers("OW-163")
def test_an_unknown_name_costs_what_a_wrong_password_does():
    counted = Counted()
    made = logins(counted=counted)
    for password in (b"x", b"secret:with:colons", b"other"):
        assert not run(made.is_valid("eve", password))
        counted.hashes.sort()
    # One call each, always with the same hash: the one that its name chooses among the real ones.
    assert len(counted.hashes) == 3
    assert len(set(counted.hashes)) == 1
    assert counted.hashes[0] in USERS.values()
    # Another process, with another secret, chooses the same.
    again = Counted()
    other = Logins(USERS, again, Cores(Inline(Clock(), lambda _: None), 1), b"another secret!!")
    assert not run(other.is_valid("eve", b"x"))
    assert again.hashes == counted.hashes[:1]


@covers("OW-163")
def test_unknown_names_are_spread_over_the_costs():
    counted = Counted()
    made = logins(counted=counted)
    for number in range(40):
        assert not run(made.is_valid(f"eve{number}", b"x"))
    assert set(Counter(counted.hashes)) == {CHEAP, DEAR}


def test_an_empty_file_costs_a_check_too():
    counted = Counted()
    assert not run(logins({}, counted=counted).is_valid("eve", b"x"))
    (hashed,) = counted.hashes
    assert hashed.startswith("$2b$10$")


@covers("OW-163")
@pytest.mark.parametrize("password", [b"x" * 72, b"x" * 73, b"x" * 100_000, b"a\0b", b""])
def test_a_password_that_bcrypt_does_not_take_is_wrong(password):
    made = logins()
    with pytest.raises(Unauthorized, match="wrong user name or password"):
        run(BasicAuthenticator(made).authenticate(basic(b"alice", password), ROOT))


@covers("OW-163")
def test_a_long_password_is_not_cut():
    users = {"alice": hash_password(b"x" * 72, 4)}
    assert run(logins(users).is_valid("alice", b"x" * 72))
    assert not run(logins(users).is_valid("alice", b"x" * 73))


def test_nobody_who_tries_is_nobody():
    basics = BasicAuthenticator(logins())
    assert run(basics.authenticate(None, ROOT)) is None
    login = basic(b"alice", b"secret:with:colons")
    assert run(basics.authenticate(login, ROOT)) == "alice"
    for field in ("Bearer x", "Basic !"):
        with pytest.raises(Unauthorized, match="RFC 7617"):
            run(basics.authenticate(field, ROOT))


# ---- side by side


class Held:
    """A check that waits until it is let go, and knows how many run at once."""

    def __init__(self) -> None:
        self.calls, self.running, self.most = [], 0, 0
        self._lock, self.go = threading.Lock(), threading.Event()

    def __call__(self, password: bytes, hashed: str) -> bool:
        with self._lock:
            self.calls.append(password)
            self.running += 1
            self.most = max(self.most, self.running)
        assert self.go.wait(20)
        with self._lock:
            self.running -= 1
        return password == b"good"


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - a thread changes it
            await asyncio.sleep(0.001)


@covers("OW-163")
def test_one_check_serves_all_who_send_the_same():
    async def talk():
        held = Held()
        made = Logins(USERS, held, Cores(AsyncioRuntime(), 2), SECRET)
        tasks = [asyncio.create_task(made.is_valid("alice", b"good")) for _ in range(50)]
        tasks += [asyncio.create_task(made.is_valid("alice", b"bad")) for _ in range(50)]
        await until(lambda: len(held.calls) == 2)
        held.go.set()
        assert await asyncio.gather(*tasks) == [True] * 50 + [False] * 50
        assert sorted(held.calls) == [b"bad", b"good"]

    asyncio.run(talk())


@covers("OW-163")
def test_few_checks_at_once_and_few_that_wait():
    async def talk():
        held = Held()
        made = Logins(USERS, held, Cores(AsyncioRuntime(), 2, waiting=3), SECRET)
        tasks = [asyncio.create_task(made.is_valid("alice", b"%d" % i)) for i in range(8)]
        await until(lambda: sum(task.done() for task in tasks) == 3)
        held.go.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(r) for r in results] == [bool] * 5 + [TooManyRequests] * 3
        assert held.most <= 2
        assert await made.is_valid("alice", b"good")

    asyncio.run(talk())


@covers("OW-163")
def test_who_goes_away_keeps_nobody_waiting():
    async def talk():
        held = Held()
        cores = Cores(AsyncioRuntime(), 1)
        made = Logins(USERS, held, cores, SECRET)
        first = asyncio.create_task(made.is_valid("alice", b"1"))
        await until(lambda: held.calls)
        waiting = asyncio.create_task(made.is_valid("alice", b"2"))
        same = asyncio.create_task(made.is_valid("alice", b"2"))
        last = asyncio.create_task(made.is_valid("alice", b"good"))
        await asyncio.sleep(0)
        waiting.cancel()
        held.go.set()
        assert await asyncio.gather(first, same, last) == [False, False, True]
        # And the core is free again.
        assert not await made.is_valid("alice", b"3")
        assert (cores._free, len(cores._queue)) == (1, 0)

    asyncio.run(talk())
