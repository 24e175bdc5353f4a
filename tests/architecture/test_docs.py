"""The documents say what the program does: options, examples, links."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests import options_page
from tests.registries import serving
from wasmhold.cli.commands.serve import serve
from wasmhold.cli.options.serve import OPTIONS
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


@covers("BR-110", "BR-112", "BR-114", "BR-003")
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
def test_the_table_of_options_is_that_of_their_definitions():
    text = options_page.PAGE.read_text()
    assert options_page.page(text) == text, "make docs"
    told = set(re.findall(r"`(--[a-z-]+)", text))
    assert {
        name for option in serve.params for name in (*option.opts, *option.secondary_opts)
    } <= told


@covers("BR-113")
@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_each_option_has_its_text(option):
    assert re.fullmatch(r"[A-Z][^\n]{15,}\.", option.help)
    assert re.fullmatch(r"|[`A-Z\[][^\n]+\.", option.more)


def test_the_example_of_a_configuration_is_one(tmp_path):
    (example,) = re.findall(r"^```toml\n(.*?)^```", options_page.PAGE.read_text(), re.M | re.S)
    path = tmp_path / "wasmhold.toml"
    path.write_text(example)
    ran = CliRunner().invoke(serve, ["--config", str(path), "--print-config"])
    assert ran.exit_code == 0, ran.output
    said = re.findall(r"^(\S+) = .*  # (\S+)$", ran.stdout, re.M)
    assert {key for key, source in said if source == str(path)} == set(tomllib.loads(example))


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
