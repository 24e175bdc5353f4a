"""``wasmhold hash`` and ``wasmhold version``."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import bcrypt
import pytest
from click.testing import CliRunner

from wasmhold import __version__
from wasmhold.auth.passwords import parse_htpasswd
from wasmhold.cli.commands.hash import hash_
from wasmhold.testing.covers import covers

PROGRAM = [sys.executable, "-m", "wasmhold"]
QUICK = ["--cost", "4"]

# fmt: off
PASSWORDS = [
    # standard input,   the password
    (b"secret",         b"secret"),
    (b"secret\n",       b"secret"),
    (b"secret\r\n",     b"secret"),
    (b" a b \n",        b" a b "),
    (b"\xc3\xbc\xff\n", b"\xc3\xbc\xff"),
    (b"x" * 72,         b"x" * 72),
]
WRONG = [
    # arguments,            standard input,     what is said
    ([],                    b"",                "the password is empty"),
    ([],                    b"\n",              "the password is empty"),
    ([],                    b"x" * 73,          "more than 72 bytes"),
    ([],                    b"x" * 100_000,     "more than 72 bytes"),
    ([],                    b"a\0b",            "has a NUL"),
    ([],                    b"a\nb\n",          "more than one line"),
    (["a:b"],               b"x",               "no colon"),
    ([""],                  b"x",               "is no name of a user"),
    (["a\nb"],              b"x",               "is no name of a user"),
    (["#a"],                b"x",               "is no name of a user"),
    ([" a"],                b"x",               "is no name of a user"),
    (["--cost", "3"],       b"x",               "--cost"),
    (["--cost", "17"],      b"x",               "--cost"),
    (["--pass", ""],        b"",                "the password is empty"),
]
# fmt: on


@covers("OW-100")
@pytest.mark.parametrize(("given", "password"), PASSWORDS)
def test_a_hash_is_that_of_the_password(given, password):
    ran = CliRunner().invoke(hash_, QUICK, input=given)
    assert ran.exit_code == 0
    assert bcrypt.checkpw(password, ran.stdout.rstrip("\n").encode())
    assert ran.stderr == ""


@covers("OW-100")
def test_a_line_is_one_of_a_password_file():
    ran = CliRunner().invoke(hash_, [*QUICK, "alice"], input=b"secret\n")
    users = parse_htpasswd(ran.stdout, "file")
    assert bcrypt.checkpw(b"secret", users["alice"].encode())
    assert users["alice"].startswith("$2b$04$")


@covers("OW-100")
def test_a_password_in_the_arguments_is_taken_with_a_warning():
    ran = CliRunner().invoke(hash_, [*QUICK, "--pass", "secret"])
    assert bcrypt.checkpw(b"secret", ran.stdout.rstrip("\n").encode())
    assert ran.stderr.startswith("warning: --pass shows the password")
    assert ran.stdout.count("\n") == 1


@covers("OW-100", "OW-102")
@pytest.mark.parametrize(("arguments", "given", "said"), WRONG)
def test_what_cannot_be_hashed_is_told(arguments, given, said):
    ran = CliRunner().invoke(hash_, ["--cost", "4", *arguments], input=given)
    assert ran.exit_code == 2
    assert said in ran.stderr
    assert ran.stdout == ""


@covers("OW-100")
def test_a_terminal_is_asked_twice_and_shows_nothing():
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [*PROGRAM, "hash", *QUICK, "alice"])
    shown, answers = b"", [b"one\n", b"two\n", b"secret\n", b"secret\n"]
    while True:
        try:
            shown += os.read(terminal, 1024)
        except OSError:  # the child has ended
            break
        if answers and shown.endswith(b": "):
            shown += b"|"
            os.write(terminal, answers.pop(0))
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0
    assert shown.count(b"Password: |") == 2
    assert shown.count(b"|") == 4
    assert b"secret" not in shown
    line = shown.splitlines()[-1].decode()
    assert bcrypt.checkpw(b"secret", parse_htpasswd(line, "file")["alice"].encode())


@covers("OW-100")
def test_version_tells_also_what_it_runs_on():
    told = json.loads(subprocess.check_output([*PROGRAM, "version", "--json"]))
    assert told["version"] == __version__
    assert told["python"] == ".".join(map(str, sys.version_info[:3]))


@covers("OW-100")
@pytest.mark.parametrize("argument", ["--version", "version"])
def test_to_say_the_version_nothing_is_imported(argument):
    code = (
        "import sys; sys.argv = ['wasmhold', sys.argv[1]]\n"
        "from wasmhold.cli import main; main()\n"
        "print(sorted({'asyncio', 'bcrypt', 'click', 'granian'} & set(sys.modules)))"
    )
    told = subprocess.check_output([sys.executable, "-c", code, argument], text=True)
    assert told == f"wasmhold {__version__}\n[]\n"
