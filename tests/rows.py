"""Which rows of docs/requirements are named by a test: ``python tests/rows.py [--strict]``.

A row says what wasmhold does.  A test names the rows that it holds with ``@covers("DS-022")``, a
transcript with a line ``# Covers: DS-022, DS-023``.  Read as text and syntax tree, with the
standard library alone, so that it tells the truth also where the tests do not run.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
REQUIREMENTS = ROOT / "docs" / "requirements"
TESTS = ROOT / "tests"
SUITES = ROOT / "src" / "wasmhold" / "testing"  # tests that anybody can run over a store

_ID = re.compile(r"[A-Z]{2}-[0-9]{3}[a-z]?")
_BAR = re.compile(r"(?<!\\)\|")  # of a table; \| is text
_COVERS = re.compile(r"^#.*\bCovers:(.*)$")
_RULE = re.compile(r"\|(?: *:?-+:? *\|){3}")
_HEAD = ["id", "what wasmhold does", "when"]


@dataclass(frozen=True, slots=True)
class Row:
    """One requirement; `file` is the name of its document, `when` is empty for what holds now."""

    id: str
    text: str
    when: str
    file: str
    line: int

    @property
    def is_later(self) -> bool:
        return self.when == "later"


@dataclass(frozen=True, slots=True)
class Named:
    """A test says that it holds the row `id`."""

    id: str
    where: str


def cells(line: str) -> list[str]:
    """The cells of a line of a table, without the blanks around them."""
    return [cell.strip() for cell in _BAR.split(line.strip())[1:-1]]


def read_document(path: Path) -> tuple[list[Row], list[str]]:
    """The rows of one document, and what is wrong with its table."""
    rows: list[Row] = []
    faults: list[str] = []
    tables = 0
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if not line.startswith("|"):
            continue
        where = f"{path.name}:{number}"
        if _RULE.fullmatch(line.strip()):
            tables += 1
            continue
        found = cells(line)
        if found == _HEAD:
            continue
        if len(found) != 3:
            faults.append(f"{where}: {len(found)} cells, want id, text and when")
        elif _ID.fullmatch(found[0]) is None:
            faults.append(f"{where}: {found[0]!r} is no id")
        elif not found[1]:
            faults.append(f"{where}: {found[0]} says nothing")
        elif found[2] not in ("", "later"):
            faults.append(f"{where}: when is {found[2]!r}, want nothing or later")
        else:
            rows.append(Row(found[0], found[1], found[2], path.name, number))
    if tables != 1:
        faults.append(f"{path.name}: {tables} tables, want one")
    return rows, faults


def read_documents(folder: Path = REQUIREMENTS) -> tuple[list[Row], list[str]]:
    """All rows, in the order of the documents; what is wrong, ids that are there twice too."""
    rows: list[Row] = []
    faults: list[str] = []
    for path in sorted(folder.glob("*.md")):
        if path.name != "README.md":
            found, wrong = read_document(path)
            rows += found
            faults += wrong
    first: dict[str, Row] = {}
    for row in rows:
        before = first.setdefault(row.id, row)
        if before is not row:
            faults.append(
                f"{row.file}:{row.line}: {row.id} is there twice, first {before.file}:{before.line}"
            )
    return rows, faults


def _called(node: ast.Call) -> str:
    function = node.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def named_in_python(source: str, where: str) -> Iterator[Named]:
    """Every ``covers("…")``.  Raises ValueError for an argument that cannot be read here."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or _called(node) != "covers":
            continue
        for argument in node.args:
            if not isinstance(argument, ast.Constant) or not isinstance(argument.value, str):
                raise ValueError(f"{where}:{argument.lineno}: covers() wants ids as they are")
            yield Named(argument.value, f"{where}:{argument.lineno}")


def named_in_transcript(text: str, where: str) -> Iterator[Named]:
    """Every id behind ``Covers:`` in a comment."""
    for number, line in enumerate(text.splitlines(), 1):
        if match := _COVERS.match(line):
            for word in re.split(r"[,\s]+", match[1].strip().removesuffix(".")):
                if word:
                    yield Named(word, f"{where}:{number}")


def read_tests(folder: Path = TESTS) -> Iterator[Named]:
    """What all tests, transcripts and public suites name.  Raises ValueError, SyntaxError."""
    for path in sorted([*folder.rglob("*.py"), *SUITES.glob("*_suite.py")]):
        source = path.read_text("utf-8")
        if "covers" in source:
            yield from named_in_python(source, path.relative_to(ROOT).as_posix())
    for path in sorted((folder / "data" / "protocol").glob("*.http")):
        yield from named_in_transcript(path.read_text("utf-8"), path.relative_to(ROOT).as_posix())


def main(arguments: list[str]) -> int:
    if not set(arguments) <= {"--strict"}:
        print("usage: python tests/rows.py [--strict]", file=sys.stderr)
        return 2
    rows, faults = read_documents()
    named = list(read_tests())
    listed = {row.id for row in rows}
    faults += [
        f"{n.where}: {n.id} is no row of docs/requirements" for n in named if n.id not in listed
    ]
    covered = {n.id for n in named} & listed
    open_rows = [row for row in rows if not row.is_later and row.id not in covered]

    file = ""
    for row in open_rows:
        if row.file != file:
            file = row.file
            print(f"{file}: no test names")
        print(f"  {row.id}  {row.text[:88]}{'…' if len(row.text) > 88 else ''}")
    for fault in faults:
        print(fault, file=sys.stderr)
    later = sum(row.is_later for row in rows)
    print(
        f"{len(rows)} rows, {len(covered)} named by a test, {later} later, "
        f"{len(open_rows)} without a test"
    )
    return 1 if faults or ("--strict" in arguments and open_rows) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
