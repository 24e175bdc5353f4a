"""What is told while things move: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.program import done
from wasmhold.cli.bars import LEAST, Bars, bar
from wasmhold.oci.descriptor import Descriptor
from wasmhold.oci.digest import Digest

MIB = 1 << 20
LARGE = Descriptor("a/b", Digest("sha256", "ab" * 32), 20 * MIB)
OTHER = Descriptor("a/b", Digest("sha256", "cd" * 32), 40 * MIB)
SMALL = Descriptor("a/b", Digest("sha256", "ef" * 32), LEAST - 1)


@pytest.mark.parametrize(
    ("at", "rate", "told"),
    [
        (0, 0, "[                    ] 0 bytes of 20.0 MiB, 0 bytes/s"),
        (5 * MIB, MIB, "[#####               ] 5.0 MiB of 20.0 MiB, 1.0 MiB/s, 15 s left"),
        (20 * MIB, MIB, "[####################] 20.0 MiB of 20.0 MiB, 1.0 MiB/s, 0 s left"),
    ],
)
def test_a_bar(at, rate, told):
    assert bar(LARGE, at, rate) == f"sha256:abababababab  {told}"


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_bars_are_drawn_anew_and_leave_nothing_but_lines():
    out, clock = io.StringIO(), Clock()
    bars = Bars(out, 60, clock)

    def shown():
        said = out.getvalue()
        out.seek(0)
        out.truncate()
        return said

    for of in (LARGE, OTHER, SMALL):
        bars.start(of)
    clock.now = 1.0
    bars.advance(LARGE, MIB)
    first = shown()
    assert first.count("\n") == 2  # the small one has no bar
    assert all(len(line) < 60 for line in first.splitlines())
    clock.now = 1.05
    bars.advance(LARGE, 2 * MIB)
    bars.advance(SMALL, 1)
    assert shown() == ""  # at most ten times in a second
    clock.now = 1.2
    bars.advance(OTHER, MIB)
    assert shown().startswith("\x1b[2A\x1b[J")
    bars.finish(LARGE)
    bars.tell("a line")
    assert re.fullmatch(r"\x1b\[2A\x1b\[Ja line\nsha256:cdcd[^\n]*\n", shown())
    bars.close()
    assert shown() == "\x1b[1A\x1b[J"
    bars.close()
    assert shown() == ""


def on_a_terminal(*arguments, **variables):
    """What the program shows on a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "wasmhold", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", **variables},
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # the other side is closed
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    assert process.wait(60) == 0
    return shown.decode()


@pytest.mark.parametrize(
    ("options", "variables", "has_bars"),
    [([], {}, True), ([], {"TERM": "dumb"}, False), (["--quiet"], {}, False)],
)
def test_a_terminal_shows_bars(tmp_path, monkeypatch, options, variables, has_bars):
    monkeypatch.chdir(tmp_path)
    Path("big.bin").write_bytes(bytes(64 * MIB))
    shown = on_a_terminal("push", "big.bin", "oci:layout:1", *options, **variables)
    assert ("\x1b[" in shown) == has_bars
    assert (" of 64.0 MiB, " in shown) == has_bars  # how far depends on the disk
    assert ("64.0 MiB, application/octet-stream" in shown) == (options == [])


def test_elsewhere_there_are_lines_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("hello")
    told = done("push", "notes.txt", "oci:layout:1").err
    assert "\x1b" not in told
    assert len(told.splitlines()) == 3
    assert "tagged 1" in told
