"""A guard is taken out of the product's source, and the model is run over the copy."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def mutate(folder, store, name, mutant):
    """A copy of the product, below `folder`, without one guard of a `store`.

    `mutant` has a `module` of the store and `edits` of it: what is there exactly once, and what
    takes its place.
    """
    package = Path(folder) / "wasmhold"
    shutil.copytree(ROOT / "src/wasmhold", package, ignore=shutil.ignore_patterns("__pycache__"))
    path = package / "stores" / store / f"{mutant.module}.py"
    text = path.read_text()
    for old, new in mutant.edits:
        times = text.count(old)
        assert times == 1, f"{name}: {mutant.module}.py has {old!r} {times} times"
        text = text.replace(old, new)
    path.write_text(text)


def elsewhere(module, folder, *arguments):
    """What ``python -m module ...`` prints, run on the copy in `folder`."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.stdout.strip()
