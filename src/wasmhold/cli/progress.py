"""What a copy tells on standard error: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from typing import Final

import click

from ..client.events import Advanced, Event, Failed, Finished, Mounted, Started
from ..oci.descriptor import Descriptor
from ..oci.digest import Digest
from .bars import Bars
from .words import plain, size

_EVERY_S: Final = 2.0  # so often a line tells how far a blob is


class Progress:
    """A listener; ``--quiet`` leaves warnings alone."""

    def __init__(self, *, is_quiet: bool) -> None:
        self.is_quiet = is_quiet
        self._is_told = True
        self._bars = None if is_quiet else _bars()
        self._since: dict[Digest, float] = {}
        self._last = time.monotonic()

    def level(self, *, is_told: bool) -> None:
        """Whether anything is told at all."""
        self._is_told = is_told
        if not is_told:
            self._bars = None

    def warn(self, text: str) -> None:
        if self._is_told:
            self._tell(f"warning: {text}")

    def close(self) -> None:
        """Nothing moves any more: whatever comes now stays."""
        if self._bars is not None:
            self._bars.close()

    def __call__(self, event: Event) -> None:
        if self.is_quiet or not self._is_told:
            return
        of, bars = event.descriptor, self._bars
        match event:
            case Started():
                self._since[of.digest] = time.monotonic()
                if bars is not None:
                    bars.start(of)
            case Advanced():
                self._advance(of, event.at)
            case Mounted():
                self._end(of, "mounted")
            case Finished():
                tags = f", tagged {', '.join(event.tags)}" if event.tags else ""
                self._end(of, f"{of.media_type}{tags}")
            case Failed() if event.again:
                self._tell(f"{_name(of)}  {event.error}; trying again")

    def _advance(self, of: Descriptor, at: int) -> None:
        if self._bars is not None:
            self._bars.advance(of, at)
            return
        now = time.monotonic()
        if at < of.size and now - self._last >= _EVERY_S:
            self._last = now
            rate = at / max(now - self._since.get(of.digest, now), 0.001)
            self._tell(f"{_name(of)}  {size(at)} of {size(of.size)}, {size(int(rate))}/s")

    def _end(self, of: Descriptor, what: str) -> None:
        if self._bars is not None:
            self._bars.finish(of)
        self._tell(f"{_name(of)}  {size(of.size)}, {what}")

    def _tell(self, line: str) -> None:
        line = plain(line)
        if self._bars is not None:
            self._bars.tell(line)
        else:
            click.echo(line, err=True)


def _name(of: Descriptor) -> str:
    return f"{of.digest.algorithm}:{of.digest.encoded[:12]}"


def _bars() -> Bars | None:
    """Where lines can be drawn anew."""
    if not sys.stderr.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return None
    import shutil

    return Bars(sys.stderr, shutil.get_terminal_size().columns)
