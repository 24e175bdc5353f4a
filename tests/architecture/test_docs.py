"""The documents say what the program does: options, examples, links."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import tomllib
from contextlib import suppress
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
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
BLOCKS = [
    (page, f"{page.name}-{i}", kind, code)
    for page in PAGES
    for i, (kind, code) in enumerate(BLOCK.findall(page.read_text()))
]
DEFAULT_ROOT = ".local/share/wasmhold/registry"  # of `make run`, in a home
# By page and first command.  What keeps one from being run here, and where it is tried instead.
NOT_RUN = {
    ("README.md", "make run"):
        "make runs these tests; tests/clean_debian.sh runs it",
    ("index.md", "make setup"): "make runs these tests; tests/clean_debian.sh runs it",
    ("operations.md", "useradd --system --home-dir /var/lib/wasmhold --shell /usr/sbin/nologin wasmhold"):
        "it makes a user of the host; tests/clean_debian.sh runs it",
    ("operations.md", "podman build --file docs/examples/Containerfile --tag wasmhold ."):
        "it loads an image; test_examples.py runs the steps that need no network",
    ("operations.md", "systemctl daemon-reload"):
        "it needs systemd as the first process; test_examples.py checks the unit",
    ("operations.md", "systemctl stop wasmhold"): "it needs systemd as the first process",
}  # fmt: skip
# Whose examples in Python want a registry at a name that is not ours.
RUN_ELSEWHERE = {"migrating-from-zlayer-registry.md": "tests/image/test_examples.py"}
# What a reader needs beside the shell's own; blocks that name one run where it is on PATH.
PROGRAMS = ("crane", "curl", "openssl", "oras", "regctl", "rsync", "skopeo", "umoci", "wkg")

COMMAND = re.compile(rf"    (\S*/)?(wasmhold|make|systemctl|{'|'.join(PROGRAMS)}) [^:]")


def is_run(page: Path, kind: str, code: str) -> bool:
    if kind == "python" and page.name in RUN_ELSEWHERE:
        return False
    first = re.split(r"\s+#|\n", code, maxsplit=1)[0]
    return (page.name, first) not in NOT_RUN


def examples(wanted: str) -> list[object]:
    return [
        pytest.param(page, code, id=name)
        for page, name, kind, code in BLOCKS
        if kind == wanted and is_run(page, kind, code)
    ]


@covers("BR-003", "BR-112")
@pytest.mark.parametrize(("page", "code"), examples("python"))
def test_python_runs_as_it_stands(page, code):
    exec(compile(code, str(page), "exec"), {})


@covers("BR-110", "BR-114")
@pytest.mark.parametrize(("page", "code"), examples("sh"))
def test_commands_run_as_they_stand(page, code, tmp_path):
    """In a folder of their own, beside the registry of `make run`.

    Tests run side by side, so two ports are other numbers here: 5000, of that registry, and 5001,
    which the commands may use themselves.  tests/clean_debian.sh pastes the guide unchanged.
    """
    named = set(re.findall(r"[a-z]+", re.sub(r"(^|\s)#.*", "", code)))
    if "backup" in named:
        named.add("rsync")  # docs/examples/backup.sh calls it
    missing = [program for program in PROGRAMS if program in named and not shutil.which(program)]
    if missing:
        pytest.skip(f"not on PATH: {', '.join(missing)}")
    here, home = tmp_path / "here", tmp_path / "home"
    here.mkdir()
    (here / "docs").symlink_to(ROOT / "docs")
    with serving("--log", "off", store=("--root", str(home / DEFAULT_ROOT))) as server:
        for port, ours in (("5000", server.port), ("5001", free_port())):
            code = re.sub(rf"(?<=:){port}\b", str(ours), code)
        status, said = pasted(
            code,
            here,
            {
                **{k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "WASMHOLD_"))},
                "HOME": str(home),
                "DIR": str(home / DEFAULT_ROOT),
                "BACKUP": str(tmp_path / "backup"),
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            },
        )
    assert status == 0, said


def pasted(code: str, folder: Path, environment: dict[str, str]) -> tuple[int, str]:
    """The exit status and what was said; what it has left running ends too."""
    with tempfile.TemporaryFile("w+") as out:
        shell = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", code],
            cwd=folder,
            env=environment,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
        try:
            status = shell.wait(120)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()
        out.seek(0)
        return status, out.read()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def test_what_is_not_run_is_a_shell_s_and_still_there():
    left = [
        (page, code)
        for page, _, kind, code in BLOCKS
        if kind == "sh" and not is_run(page, kind, code)
    ]
    assert len(left) == len(NOT_RUN)
    for page, code in left:
        subprocess.run(["bash", "-n", "-c", code], check=True)
        for path in re.findall(r"(?:docs|requirements)/\S+", code):
            assert (ROOT / path).exists(), f"{page.name}: {path}"


@covers("BR-114")
def test_no_command_stands_where_it_is_not_run():
    """A command is in a block of its language, or in the middle of a sentence."""
    for page in PAGES:
        if "decisions" in page.parts:
            continue
        for line in FENCED.sub("", page.read_text()).splitlines():
            assert not COMMAND.match(line), f"{page.name}: {line}"


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


def test_what_is_run_elsewhere_is_run_there():
    for page, test in RUN_ELSEWHERE.items():
        assert page in (ROOT / test).read_text()


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@covers("BR-114")
def test_links_to_headings_lead_somewhere():
    for page in PAGES:
        for target, heading in re.findall(r"\]\(([^)#:]*)#([^)]*)\)", page.read_text()):
            text = (page.parent / target if target else page).read_text()
            headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
            slugs = {re.sub(r"[^a-z0-9 _-]", "", h.lower()).replace(" ", "-") for h in headings}
            assert heading in slugs, f"{page.name}: {target}#{heading}"


def test_alarms_are_about_metrics_that_there_are():
    listed = set(re.findall(r"wasmhold_[a-z_]+", (ROOT / "docs/metrics.md").read_text()))
    used = set(re.findall(r"wasmhold_[a-z_]+", (ROOT / "docs/operations.md").read_text()))
    assert used
    assert used <= listed


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
