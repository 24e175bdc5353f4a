"""The documents say what the program does: options, examples, links."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.registries import serving
from wasmhold.cli.commands.serve import serve
from wasmhold.oci import limits
from wasmhold.testing.covers import covers

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXAMPLES = [
    pytest.param(page, kind, code, id=f"{page.name}-{i}")
    for page in PAGES
    for i, (kind, code) in enumerate(BLOCK.findall(page.read_text()))
]
PROGRAMS = ("oras", "curl")


@covers("BR-110", "BR-112", "BR-003")
@pytest.mark.parametrize(("page", "kind", "code"), EXAMPLES)
def test_examples_run_as_they_stand(page, kind, code, tmp_path):
    if kind == "python":
        exec(compile(code, str(page), "exec"), {})
        return
    if "make " in code:
        pytest.skip("make runs this test itself; the script for a clean Debian runs the block")
    missing = [program for program in PROGRAMS if program in code and not shutil.which(program)]
    if missing:
        pytest.skip(f"not on PATH: {', '.join(missing)}")
    with serving("--log", "off") as server:
        ran = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", code.replace("127.0.0.1:5000", server.host)],
            cwd=tmp_path,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@covers("BR-113")
def test_every_option_is_in_the_configuration():
    text = (ROOT / "docs/configuration.md").read_text()
    told = set(re.findall(r"^\| `(--[a-z-]+)", text, re.MULTILINE))
    assert told == {option.opts[0] for option in serve.params}
    assert f"`--manifest-limit BYTES` | {limits.MANIFEST} |" in text


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_architecture_names_every_folder():
    text = (ROOT / "docs/architecture.md").read_text()
    folders = {path.parent.name for path in (ROOT / "src/wasmhold").glob("*/__init__.py")}
    assert folders <= set(re.findall(r"^\| `([a-z]+)` \|", text, re.MULTILINE))


@covers("BR-111")
def test_the_api_page_names_every_endpoint():
    from wasmhold.protocol import operations as op

    text = (ROOT / "docs/http-api.md").read_text()
    for operation in op.Operation.__args__:
        for endpoint in re.findall(r"end-\d+[a-c]?", operation.__doc__ or ""):
            assert f"[{endpoint}]" in text, f"{operation.__name__}: {endpoint}"
