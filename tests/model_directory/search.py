"""Running searches, in this process and, for mutants, in another one on a changed copy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from .explore import exhaust, explain
from .mutants import MUTANTS
from .scenarios import ALL

ROOT = Path(__file__).parents[2]
MODELLED = ("oci", "ports", "stores")


def run(search):
    """What the search found, explained, or None."""
    scenario = ALL[search.scenario]
    _, _, trace, text = exhaust(scenario, search.kills, search.switches)
    if trace is None:
        assert text is None, text
        return None
    return f"{text}\n{explain(scenario, trace, search.kills)}"


def mutate(name, folder):
    """A copy of what is modelled, below `folder`, without one guard."""
    package = Path(folder) / "wasmhold"
    for part in (*MODELLED, "testing"):
        shutil.copytree(
            ROOT / "src/wasmhold" / part,
            package / part,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    shutil.copy(ROOT / "src/wasmhold/__init__.py", package)
    mutant = MUTANTS[name]
    path = package / "stores" / "directory" / f"{mutant.module}.py"
    text = path.read_text()
    for old, new in mutant.edits:
        assert text.count(old) == 1, (
            f"{name}: {mutant.module}.py has {old!r} {text.count(old)} times"
        )
        text = text.replace(old, new)
    path.write_text(text)


def elsewhere(folder, *arguments):
    """``python -m tests.model_directory ...`` on the copy in `folder`; what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.model_directory", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.stdout.strip()
