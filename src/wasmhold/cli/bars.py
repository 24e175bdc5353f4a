"""Bars at the bottom of a terminal, one for each blob that takes a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TextIO

from ..oci.descriptor import Descriptor
from ..oci.digest import Digest
from .words import size

LEAST: Final = 8 << 20  # bytes; what is smaller is there before anybody has read its bar
_EVERY_S: Final = 0.1
_BAR: Final = 20  # characters
_UP_AND_CLEAR: Final = "\x1b[%dA\x1b[J"


class Bars:
    """Draws to `out`, which is a terminal `width` characters wide."""

    def __init__(self, out: TextIO, width: int, now: Callable[[], float] = time.monotonic) -> None:
        self._out, self._width, self._now = out, width, now
        self._running: dict[Digest, tuple[Descriptor, float, int, int]] = {}
        self._drawn = 0  # lines
        self._last = 0.0

    def start(self, of: Descriptor) -> None:
        if of.size >= LEAST:
            self._running[of.digest] = (of, self._now(), -1, 0)

    def advance(self, of: Descriptor, at: int) -> None:
        if of.digest not in self._running:
            return
        _, since, first, _ = self._running[of.digest]
        # What was there before we began to look is no speed.
        self._running[of.digest] = (of, since, at if first < 0 else first, at)
        if self._now() - self._last >= _EVERY_S:
            self._draw()

    def finish(self, of: Descriptor) -> None:
        self._running.pop(of.digest, None)

    def tell(self, line: str) -> None:
        """A line that stays, above the bars."""
        self._clear()
        self._out.write(f"{line}\n")
        self._draw()

    def close(self) -> None:
        self._running.clear()
        self._clear()
        self._out.flush()

    def _clear(self) -> None:
        if self._drawn:
            self._out.write(_UP_AND_CLEAR % self._drawn)
            self._drawn = 0

    def _draw(self) -> None:
        self._clear()
        now = self._last = self._now()
        for of, since, first, at in self._running.values():
            line = bar(of, at, max(at - max(first, 0), 0) / max(now - since, 0.001))
            self._out.write(f"{line[: self._width - 1]}\n")
            self._drawn += 1
        self._out.flush()


def bar(of: Descriptor, at: int, rate: float) -> str:
    """One line: name, bar, bytes, bytes per second, seconds left."""
    filled = _BAR * at // of.size if of.size else _BAR
    left = f", {(of.size - at) / rate:.0f} s left" if rate > 0 else ""
    name = f"{of.digest.algorithm}:{of.digest.encoded[:12]}"
    return (
        f"{name}  [{'#' * filled}{' ' * (_BAR - filled)}] "
        f"{size(at)} of {size(of.size)}, {size(int(rate))}/s{left}"
    )
