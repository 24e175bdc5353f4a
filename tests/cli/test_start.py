"""What commands import before they answer: exact, since time is not.

The bounds are a little above what there is.  Whoever goes over one has imported something that this
command does not need, or changes the bound on purpose.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.cli.program import done
from tests.wasm.binaries import MODULE
from wasmhold.cli import COMMANDS
from wasmhold.cli.group import group

# What takes long to import; the network's comes with the first request.
SLOW = {
    "asyncio",
    "bcrypt",
    "concurrent.futures",
    "cryptography",
    "granian",
    "http.client",
    "importlib.metadata",
    "logging",
    "rich",
    "ssl",
    "subprocess",
    "tomllib",
    "urllib3",
}
CODE = """
import json, sys
from wasmhold.cli import main
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""
# fmt: off
BOUNDS = [
    # arguments,                                        modules at most
    (["--version"],                                     80),
    (["--help"],                                        130),
    (["resolve", "--help"],                             170),
    (["resolve", "oci:layout:1"],                       165),
    (["tags", "oci:layout"],                            165),
    (["push", "app.wasm", "oci:layout:2", "--quiet"],   235),
    (["pull", "oci:layout:1", "-o", "out.wasm"],        245),
]
# fmt: on


@pytest.mark.parametrize(
    ("arguments", "most"), BOUNDS, ids=lambda a: " ".join(a) if isinstance(a, list) else None
)
def test_a_command_imports_what_it_needs(arguments, most, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "app.wasm").write_bytes(MODULE)
    done("push", "app.wasm", "oci:layout:1")
    ran = subprocess.run(
        [sys.executable, "-c", CODE, *arguments], capture_output=True, text=True, check=True
    )
    modules = set(json.loads(ran.stderr.splitlines()[-1]))
    assert modules & SLOW == set()
    assert len(modules) <= most
    assert not any(one.startswith(("wasmhold.servers", "wasmhold.stores")) for one in modules)


def test_a_command_runs_with_the_collector_of_garbage():
    code = """
import gc
from wasmhold.cli import main
try:
    main()
except SystemExit:
    print(gc.isenabled(), gc.get_freeze_count() > 1000)
"""
    for arguments in (["resolve", "--help"], ["hash", "--help"], ["resolve", "oci:none:1"]):
        command = [sys.executable, "-c", code, *arguments]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
        assert ran.stdout.splitlines()[-1] == "True True"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_says_of_a_command_what_it_says_itself(name):
    made = group(COMMANDS)
    command = made.get_command(None, name)
    assert command.short_help == COMMANDS[name][1]
    assert command.name == name
