"""The project's own habits."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from wasmhold.testing.covers import covers

ROOT = Path(__file__).parents[2]


@covers("BR-011", "BR-095")
def test_ci_checks_all_of_it():
    script = (ROOT / ".ci/run").read_text()
    for word in ("setup", "lint", "types", "test", "coverage", "rows"):
        assert re.search(rf"^make {word}$", script, re.MULTILINE)
    assert "--fail-under=95" in (ROOT / "Makefile").read_text()


def test_requirements_have_hashes_and_no_addresses():
    for path in (ROOT / "requirements").glob("*.txt"):
        text = path.read_text()
        assert "://" not in text
        pins = re.findall(r"^[a-z0-9-]+==.*\\$", text, re.MULTILINE)
        assert pins
        assert text.count("--hash=sha256:") >= len(pins)


@covers("BR-099")
def test_the_bench_runs():
    code = "import manifest_get; assert manifest_get.core_us(count=50) > 0"
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "bench", capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
