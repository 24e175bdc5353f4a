"""A server with passwords: how it starts, what it says, and that it follows its files."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.registries import Server, serving
from wasmhold.auth.htpasswd import hash_password
from wasmhold.testing.covers import covers
from wasmhold.testing.senders import to_url
from wasmhold.testing.transcript import Exchange

PASSWORD = "a:secret word"
HASH = hash_password(PASSWORD.encode(), 4)
OTHER = hash_password(b"another", 4)


def users(folder: Path, text: str, mode: int = 0o600) -> str:
    """A password file, put into its place in one step."""
    beside, path = folder / "users.new", folder / "users"
    beside.write_text(text)
    beside.chmod(mode)
    beside.replace(path)
    return str(path)


def ping(server: Server, login: str | None = None) -> int:
    headers = []
    if login is not None:
        encoded = base64.b64encode(login.encode()).decode()
        headers.append(("Authorization", f"Basic {encoded}"))
    with to_url(server.url) as send:
        return send(Exchange("GET", "/v2/", headers, None, False)).status


def answers(server: Server, login: str | None = None) -> int | None:
    """The status of a ping; None while nobody takes connections."""
    try:
        return ping(server, login)
    except OSError:
        return None


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# fmt: off
REFUSED = [
    # flags,                                            what is said
    (["--htpasswd", "missing"],                         "missing: cannot be read"),
    (["--access", "missing"],                           "missing: cannot be read"),
    (["--htpasswd", "bad"],                             "line 1: not a bcrypt hash"),
    (["--access", "bad"],                               "bad: not TOML"),
    (["--access", "good", "--anonymous", "pull"],       "say it in the access file"),
    (["--listen", "0.0.0.0:0"],                         "is not loopback"),
]
# fmt: on


@covers("OW-103", "OW-109", "OW-162")
@pytest.mark.parametrize(("flags", "said"), REFUSED)
def test_what_is_refused_at_the_start(flags, said, tmp_path):
    (tmp_path / "bad").write_text(f"alice:{PASSWORD}\n")
    (tmp_path / "good").write_text("acls = []\n")
    ran = subprocess.run(
        [sys.executable, "-m", "wasmhold", "serve", "--memory", "--listen", "127.0.0.1:0", *flags],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 2
    assert said in ran.stderr
    assert PASSWORD not in ran.stderr
    assert "Traceback" not in ran.stderr


@covers("OW-103", "BR-120")
def test_an_open_address_with_passwords_is_taken(tmp_path):
    flags = ("--listen", "0.0.0.0:0", "--htpasswd", users(tmp_path, f"alice:{HASH}\n"))
    with serving(*flags, "--log", "off") as server:
        server.url = server.url.replace("0.0.0.0", "127.0.0.1")
        assert ping(server, f"alice:{PASSWORD}") == 200
        assert ping(server) == 401


@covers("BR-080")
def test_a_file_that_everybody_may_read_is_warned_of_once(tmp_path):
    path = users(tmp_path, f"alice:{HASH}\n", 0o644)
    root = ("--root", str(tmp_path / "root"), "--workers", "2")
    with serving("--htpasswd", path, store=root) as server:
        assert server.log.read_text().count(f"chmod o-r {path}") == 1
    with serving("--htpasswd", users(tmp_path, f"alice:{HASH}\n", 0o640)) as server:
        assert "chmod" not in server.log.read_text()


@covers("OW-162", "OW-163")
@pytest.mark.parametrize("how", ["looked at", "SIGHUP"])
def test_all_workers_follow_the_file(how, tmp_path):
    path = users(tmp_path, f"alice:{HASH}\n")
    root = ("--root", str(tmp_path / "root"), "--workers", "2")
    with serving("--htpasswd", path, "--log", "off", store=root) as server:
        # New connections each time: both workers have remembered the login.
        assert [ping(server, f"alice:{PASSWORD}") for _ in range(10)] == [200] * 10
        users(tmp_path, f"alice:{OTHER}\n")
        if how == "SIGHUP":
            server.process.send_signal(signal.SIGHUP)
        good, deadline = 0, time.monotonic() + 20
        while good < 10:
            assert time.monotonic() < deadline
            good = good + 1 if ping(server, "alice:another") == 200 else 0
            time.sleep(0.05)
        assert [ping(server, f"alice:{PASSWORD}") for _ in range(10)] == [401] * 10


@covers("OW-162")
def test_a_worker_that_finds_a_broken_file_lets_nobody_in_until_it_is_mended(tmp_path):
    path = users(tmp_path, f"alice:{HASH}\n")
    with serving(
        "--htpasswd", path, "--log", "off", store=("--root", str(tmp_path / "r"))
    ) as server:
        users(tmp_path, "broken\n")
        assert ping(server, f"alice:{PASSWORD}") == 200  # this worker knows the last good one
        (first,) = (pid for pid in server.pids() if pid != server.process.pid)
        os.kill(first, signal.SIGKILL)
        until(lambda: any(pid not in (first, server.process.pid) for pid in server.pids()))
        until(lambda: "nobody is let in until it is mended" in server.log.read_text())
        until(lambda: answers(server, f"alice:{PASSWORD}") == 503)
        assert answers(server) == 503
        users(tmp_path, f"alice:{HASH}\n")
        until(lambda: answers(server, f"alice:{PASSWORD}") == 200)
        assert server.stop() == 0


@covers("OW-162", "OW-163")
def test_no_secret_is_in_any_log(tmp_path):
    path = users(tmp_path, f"alice:{HASH}\n")
    flags = ("--htpasswd", path, "--log", "json", "--verbosity", "trace")
    with serving(*flags) as server:
        assert ping(server, f"alice:{PASSWORD}") == 200
        assert ping(server, f"alice:{PASSWORD}!") == 401
        assert ping(server, "no colon") == 401
        users(tmp_path, f"alice:{OTHER}\nbob:hunter2\n")
        deadline = time.monotonic() + 20
        while "line 2: not a bcrypt hash" not in server.log.read_text():
            assert time.monotonic() < deadline
            assert ping(server, f"alice:{PASSWORD}") == 200  # the last good one
            time.sleep(0.1)
        assert server.stop() == 0
        said = server.log.read_text()
    assert '"user":"alice"' in said
    encoded = base64.b64encode(f"alice:{PASSWORD}".encode()).decode()
    for secret in (PASSWORD, "hunter2", HASH, OTHER, encoded, encoded[:-4]):
        assert secret not in said
