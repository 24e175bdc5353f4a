"""Who may import whom.  This table is the architecture; change it on purpose, in its own commit."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from wasmhold.testing.covers import covers

SOURCE = Path(__file__).parents[2] / "src" / "wasmhold"

# fmt: off
PURE = {"oci", "wasm", "artifact", "package", "ports", "protocol", "registry", "faults"}
# What also runs in a Wasm guest: no event loop, no thread, no import inside a function.
GUEST_SERVERS = ("servers/__init__.py", "servers/application.py", "servers/rate_limit.py")
GUEST_SAFE = (*(f"{folder}/" for folder in PURE), "auth/", "stores/", *GUEST_SERVERS)
# What a guest does without: locks between processes, the network, bcrypt.
NATIVE_ONLY = {"stores/directory/flock.py", "stores/bucket/obstore.py", "auth/htpasswd.py"}
NATIVE_MODULES = tuple(f"{file.removesuffix('.py')}/" for file in NATIVE_ONLY)
GUEST_MODULES = tuple(f"{file.removesuffix('.py')}/" for file in GUEST_SERVERS)
MAY_IMPORT: dict[str, set[str] | None] = {
    "oci":      set(),
    "wasm":     set(),
    "artifact": {"oci", "wasm", "semver"},
    "package":  {"oci", "artifact", "semver"},
    "ports":    {"oci"},
    "protocol": {"oci", "ports"},
    "registry": {"oci", "protocol", "ports"},
    "faults":   {"oci", "protocol", "ports"},
    "auth":     {"oci", "protocol", "ports"},
    "stores":   {"oci", "ports"},
    "servers":  {"oci", "protocol", "ports", "registry", "auth", "faults"},
    "client":   {"oci", "wasm", "artifact", "package", "semver", "protocol", "ports"},
    "image":    {"oci", "wasm", "artifact", "protocol", "ports", "client"},
    "testing":  {
        "oci", "wasm", "artifact", "protocol", "ports", "registry", "auth", "faults", "stores",
        "servers", "client", "image",
    },
    "cli":      None,  # anything
}
# Where what is kept apart meets.
MAY_ALSO_IMPORT = {
    "client/places/store.py": {"registry", "stores"},
    "client/caches/shared.py": {"stores"},
}
# Beside the commands: what takes long to import, and most who import its module never need.
LAZY = {
    "client/transport/http.py", "client/opening.py", "client/verbs.py", "client/caches/shared.py",
    "client/caches/config.py", "client/caches/methods.py",
}
# Each dependency has one door.
DOORS = {
    "granian": "servers/granian.py",
    "click":   "cli/",
    "bcrypt":  "auth/htpasswd.py",
    "obstore": "stores/bucket/obstore.py",
    "urllib3": "client/transport/pools.py",
}
# What is pure knows no event loop, socket, clock, randomness, file or environment.
NOT_IN_PURE = {
    "asyncio", "ctypes", "datetime", "fcntl", "glob", "http", "io", "multiprocessing", "os",
    "pathlib", "random", "secrets", "select", "shutil", "signal", "socket", "ssl", "subprocess",
    "tempfile", "threading", "time", "uuid",
}
NOT_IN_A_GUEST = {
    "asyncio", "concurrent", "ctypes", "fcntl", "multiprocessing", "mmap", "selectors", "signal",
    "socket", "ssl", "subprocess", "threading",
}
# fmt: on


def imports(path: Path, tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything that `path` imports, relative names made absolute."""
    package = ("wasmhold", *path.relative_to(SOURCE).parent.parts)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *filter(None, [node.module])))
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def inner_imports(tree: ast.AST) -> Iterator[int]:
    """Lines of imports inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for inner in ast.walk(node):
                if isinstance(inner, ast.Import | ast.ImportFrom):
                    yield inner.lineno


def faults(path: Path, source: bytes | None = None) -> Iterator[str]:
    inside = path.relative_to(SOURCE)
    here = inside.parts[0] if len(inside.parts) > 1 else "cli"
    tree = ast.parse(path.read_bytes() if source is None else source)
    is_guest_safe = (
        inside.as_posix().startswith(GUEST_SAFE) and inside.as_posix() not in NATIVE_ONLY
    )
    for line, name in imports(path, tree):
        top, _, rest = name.partition(".")
        there = rest.partition(".")[0]
        where = f"{inside}:{line}"
        if top == "wasmhold":
            allowed = MAY_IMPORT[here]
            also = MAY_ALSO_IMPORT.get(inside.as_posix(), set())
            if allowed is not None and there not in allowed | also | {here, "__version__"}:
                yield f"{where}: {here} may not import {there}"
            target = rest.replace(".", "/") + "/"
            if is_guest_safe and (
                target.startswith(NATIVE_MODULES)
                or (there == "servers" and not target.startswith(GUEST_MODULES))
            ):
                yield f"{where}: a guest has no {target}"
        elif top in sys.stdlib_module_names:
            if here in PURE and top in NOT_IN_PURE:
                yield f"{where}: the core may not import {top}; ask for a port"
            if is_guest_safe and top in NOT_IN_A_GUEST:
                yield f"{where}: a guest has no {top}"
        elif not inside.as_posix().startswith(DOORS.get(top, "no door")):
            yield f"{where}: {top} has its door at {DOORS.get(top)}"
    if here != "cli" and inside.as_posix() not in LAZY:
        for line in inner_imports(tree):
            yield f"{inside}:{line}: imports stand at the top"


FILES = sorted(SOURCE.rglob("*.py"))


@covers("BR-001", "BR-004", "BR-007", "BR-008", "BR-127")
@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports(path):
    assert list(faults(path)) == []


def test_the_table_names_every_package():
    packages = {p.parent.name for p in SOURCE.glob("*/__init__.py")}
    assert packages == MAY_IMPORT.keys()


# fmt: off
WRONG = [
    # file,                 line that is put into it,                   what is said
    ("registry/uploads.py", b"import asyncio",                          "ask for a port"),
    ("registry/uploads.py", b"import granian",                          "has its door at"),
    ("registry/uploads.py", b"from ..stores.memory import MemoryStore", "may not import stores"),
    ("oci/digest.py",       b"from ..protocol import read",             "may not import protocol"),
    ("stores/memory.py",    b"import threading",                        "a guest has no threading"),
    ("stores/memory.py",    b"from .directory.flock import flock",      "a guest has no stores"),
    ("auth/logins.py",      b"from .htpasswd import check",             "a guest has no auth"),
    ("auth/logins.py",      b"from ..registry import Registry",         "may not import registry"),
    ("servers/application.py", b"from .metrics import Counters",        "a guest has no servers"),
    ("stores/memory.py",    b"def f():\n    import json",               "stand at the top"),
]
# fmt: on


@pytest.mark.parametrize(("file", "line", "said"), WRONG)
def test_what_is_wrong_is_found(file, line, said):
    path = SOURCE / file
    assert any(said in fault for fault in faults(path, path.read_bytes() + b"\n" + line + b"\n"))
