"""What an option is: its name gives the flag, the variable and the key in a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import click

from .kinds import SWITCH, Kind, Value

VARIABLES: Final = "WASMHOLD_"


@dataclass(frozen=True, slots=True)
class Option:
    """One option, whatever it is given by.

    name       as the flag without its dashes: ``min-free``
    default    as it would be given; empty: there is none
    help       one sentence
    more       what else the documentation says, in Markdown
    unset      what holds where there is no default, in Markdown
    split_at   an option that may be repeated: the characters that part its values in a variable
    """

    name: str
    kind: Kind
    help: str
    default: str = ""
    metavar: str | None = None
    more: str = ""
    unset: str = ""
    split_at: str = ""

    @property
    def flag(self) -> str:
        return f"--{self.name}"

    @property
    def variable(self) -> str:
        return VARIABLES + self.name.upper().replace("-", "_")

    @property
    def is_repeatable(self) -> bool:
        return bool(self.split_at)

    @property
    def is_switch(self) -> bool:
        return self.kind is SWITCH

    @property
    def opposite(self) -> str:
        """The flag that switches it off, so that a flag can also take back what a file says."""
        bare = self.name.removeprefix("no-")
        return f"--no-{self.name}" if bare == self.name else f"--{bare}"

    @property
    def default_value(self) -> Value:
        """What holds where nobody says anything; None or () where there is no default."""
        if self.default:
            return self.kind.parse(self.default)
        return () if self.is_repeatable else None

    def for_click(self) -> click.Option:
        """The flag; its value is text, so that it is checked as that of any source is."""
        again = " May be given again." if self.is_repeatable else ""
        default = f"  [default: {self.default}]" if self.default not in ("", "false") else ""
        text = self.help + again + default
        if self.is_switch:
            return click.Option([f"{self.flag}/{self.opposite}"], default=None, help=text)
        return click.Option(
            [self.flag],
            type=str,
            multiple=self.is_repeatable,
            metavar=self.metavar or self.kind.metavar,
            help=text,
        )
