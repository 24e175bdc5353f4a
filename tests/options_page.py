"""The table of options in docs/configuration.md: ``python -m tests.options_page`` writes it anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wasmhold.cli.options.option import Option
from wasmhold.cli.options.serve import OPTIONS

PAGE = Path(__file__).parents[1] / "docs" / "configuration.md"
BEGIN = (
    "<!-- From here `make docs` writes: the texts stand in src/wasmhold/cli/options/serve.py. -->\n"
)
END = "<!-- To here. -->\n"


def page(text: str) -> str:
    """`text` with the table that the definitions give."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{''.join(table())}\n{END}{after}"


def table() -> Iterator[str]:
    yield "| option | default | variable | key | meaning |\n"
    yield "| --- | --- | --- | --- | --- |\n"
    for option in OPTIONS:
        cells = (_flags(option), _default(option), f"`{option.variable}`", f"`{option.name}`")
        yield f"| {' | '.join((*cells, _meaning(option)))} |\n"


def _flags(option: Option) -> str:
    if option.is_switch:
        return f"`{option.flag}`, `{option.opposite}`"
    metavar = (option.metavar or option.kind.metavar).replace("|", "\\|")
    return f"`{option.flag} {metavar}`"


def _default(option: Option) -> str:
    return f"`{option.default}`" if option.default else option.unset


def _meaning(option: Option) -> str:
    again = ""
    if option.is_repeatable:
        parted = "commas or newlines" if "," in option.split_at else "newlines"
        again = f"May be given again; {parted} part the values of the variable."
    return " ".join(filter(None, (option.help, option.more, again)))


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
