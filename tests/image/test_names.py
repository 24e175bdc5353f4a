"""The names that a reader of zlayer-registry looks for, and what importing them costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import wasmhold
from wasmhold import sync
from wasmhold.testing.covers import covers

NAMES = sorted(name for names in wasmhold._NAMES.values() for name in names)


@covers("ZL-006")
@pytest.mark.parametrize("name", NAMES)
def test_each_name_is_imported_from_wasmhold(name):
    assert getattr(wasmhold, name) is not None


def test_types_and_table_name_the_same():
    tree = ast.parse(Path(wasmhold.__file__).read_text("utf-8"))
    typed = [
        f"{node.module}.{alias.name}"
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    table = [f"{module}.{name}" for module, names in wasmhold._NAMES.items() for name in names]
    assert sorted(typed) == sorted(table)


@covers("ZL-006")
def test_importing_wasmhold_imports_nothing_of_it():
    code = "import sys, wasmhold; print(*(m for m in sys.modules if m.startswith('wasmhold.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@covers("ZL-006")
def test_the_names_are_listed_and_imported_by_a_star():
    code = """
import sys, wasmhold
named = dir(wasmhold)
assert not [m for m in sys.modules if m.startswith("wasmhold.")]
from wasmhold import *
print(*(name for name in named if name in globals()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(NAMES) <= set(done.stdout.split())


def test_what_is_no_name():
    for module in (wasmhold, sync):
        with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
            module.nothing  # noqa: B018


@covers("ZL-006")
def test_the_sync_face_has_its_names():
    for name in sync._PLACES:
        assert getattr(sync, name) is not None
