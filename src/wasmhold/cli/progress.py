"""What a copy tells, as plain lines on standard error."""

from __future__ import annotations

import time
from typing import Final

import click

from ..client.events import Advanced, Event, Failed, Finished, Mounted, Started
from ..oci.digest import Digest
from .words import size

_EVERY_S: Final = 2.0  # so often is told how far a blob is


class Progress:
    """A listener; ``--quiet`` leaves warnings alone."""

    def __init__(self, *, is_quiet: bool) -> None:
        self.is_quiet = is_quiet
        self._is_told = True
        self._since: dict[Digest, float] = {}
        self._told = time.monotonic()

    def level(self, *, is_told: bool) -> None:
        """Whether anything is told at all."""
        self._is_told = is_told

    def warn(self, text: str) -> None:
        if self._is_told:
            click.echo(f"warning: {text}", err=True)

    def __call__(self, event: Event) -> None:
        if self.is_quiet or not self._is_told:
            return
        of = event.descriptor
        name = f"{of.digest.algorithm}:{of.digest.encoded[:12]}"
        match event:
            case Started():
                self._since[of.digest] = time.monotonic()
            case Advanced():
                now = time.monotonic()
                if event.at < of.size and now - self._told >= _EVERY_S:
                    self._told = now
                    rate = event.at / max(now - self._since.get(of.digest, now), 0.001)
                    self._tell(f"{name}  {size(event.at)} of {size(of.size)}, {size(int(rate))}/s")
            case Mounted():
                self._tell(f"{name}  {size(of.size)}, mounted")
            case Finished():
                tags = f", tagged {', '.join(event.tags)}" if event.tags else ""
                self._tell(f"{name}  {size(of.size)}, {of.media_type}{tags}")
            case Failed() if event.again:
                self._tell(f"{name}  {event.error}; trying again")

    def _tell(self, line: str) -> None:
        click.echo(line, err=True)
