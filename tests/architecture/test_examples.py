"""The examples for operators: what they name exists, and what can be run of them here runs."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.registries import serving
from wasmhold.cli.options.serve import OPTIONS
from wasmhold.servers.capacity import CONNECTIONS

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs/examples"
UNIT = EXAMPLES / "wasmhold.service"
PROGRAM = Path(sys.executable).parent / "wasmhold"
BY_FLAG = {option.flag: option for option in OPTIONS}
BY_VARIABLE = {option.variable: option for option in OPTIONS}


def unit() -> configparser.ConfigParser:
    # A key may stand twice: the last one is enough here.
    read = configparser.ConfigParser(strict=False, interpolation=None, delimiters="=")
    read.optionxform = str
    read.read(UNIT)
    return read


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


def test_the_unit_starts_what_there_is():
    service = unit()["Service"]
    program, command, *arguments = shlex.split(service["ExecStart"])
    assert (Path(program).name, command) == ("wasmhold", "serve")
    given = dict(zip(arguments[::2], arguments[1::2], strict=True))
    assert set(given) <= {"--config", *BY_FLAG}
    assert seconds(given["--shutdown-timeout"]) < seconds(service["TimeoutStopSec"])
    assert given["--root"] == f"/var/lib/{service['StateDirectory']}"
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    # Workers that get SIGTERM beside their parent would end before they are told to drain.
    assert service["KillMode"] == "mixed"
    assert service["ProtectSystem"] == "strict"
    assert int(service["LimitNOFILE"]) > 2 * CONNECTIONS


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="not on PATH: systemd-analyze")
def test_systemd_takes_the_unit(tmp_path):
    here = tmp_path / UNIT.name
    here.write_text(UNIT.read_text().replace("/opt/wasmhold/bin/wasmhold", str(PROGRAM)))
    ran = subprocess.run(
        ["systemd-analyze", "verify", str(here)], capture_output=True, text=True, timeout=60
    )
    assert (ran.returncode, ran.stdout) == (0, "")
    assert UNIT.name not in ran.stderr  # what it says of other units is not ours


def instructions() -> list[tuple[str, str]]:
    text = (EXAMPLES / "Containerfile").read_text().replace("\\\n", " ")
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return [tuple(line.split(" ", 1)) for line in lines]


def one(name: str) -> str:
    found = [value for key, value in instructions() if key == name]
    return found[-1]


def test_the_image_names_what_there_is():
    known = {"FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL"}
    known |= {"HEALTHCHECK", "ENTRYPOINT", "CMD"}
    assert {key for key, _ in instructions()} == known
    for key, value in instructions():
        if key == "COPY" and "--from" not in value:
            for source in value.split()[:-1]:
                assert (ROOT / source).exists(), source
        if key == "FROM":
            version = re.search(r"python:3\.(\d+)-slim", value)
            assert version
            assert int(version[1]) >= 11
        if key == "RUN" and "pip install" in value:
            assert "--require-hashes" in value or "--no-index" in value
            for file in re.findall(r"--requirement (\S+)", value):
                assert "--hash=" in (ROOT / file).read_text()
    variables = dict(value.split("=", 1) for key, value in instructions() if key == "ENV")
    for name, value in variables.items():
        BY_VARIABLE[name].kind.parse(value)
    assert one("EXPOSE") == variables["WASMHOLD_LISTEN"].rpartition(":")[2]
    assert json.loads(one("VOLUME")) == [variables["WASMHOLD_ROOT"]]
    assert int(variables["WASMHOLD_SHUTDOWN_TIMEOUT"]) < 10
    assert one("USER").isdecimal()
    assert one("USER") != "0"
    assert json.loads(one("ENTRYPOINT"))[0].endswith("/bin/wasmhold")
    assert json.loads(one("CMD")) == ["serve"]


def test_the_health_check_of_the_image_tells_alive_from_dead():
    command = json.loads(one("HEALTHCHECK").partition("CMD ")[2])
    with serving("--log", "off") as server:
        check = [sys.executable, *command[1:]]
        check[-1] = check[-1].replace("127.0.0.1:5000", server.host)
        assert subprocess.run(check, timeout=30).returncode == 0
        assert server.stop() == 0
        assert subprocess.run(check, timeout=30, capture_output=True).returncode != 0


def test_the_image_without_a_word_on_users_does_not_start(tmp_path):
    variables = dict(value.split("=", 1) for key, value in instructions() if key == "ENV")
    variables |= {"WASMHOLD_LISTEN": "0.0.0.0:0", "WASMHOLD_ROOT": str(tmp_path / "registry")}
    ran = subprocess.run(
        [PROGRAM, "serve"], env=variables, capture_output=True, text=True, timeout=30
    )
    assert ran.returncode == 2
    assert "--anonymous" in ran.stderr


@pytest.mark.slow
def test_the_wheel_of_the_image_is_built_and_serves(tmp_path):
    """The steps of the build that need no network: the wheel, installed beside what there is."""
    step = next(v for k, v in instructions() if k == "RUN" and "pip wheel" in v)
    wheel = [sys.executable, "-m", *step.replace("/wheel", str(tmp_path)).split()]
    wheel[2:3] = ["pip"]
    subprocess.run(wheel, cwd=ROOT, check=True, capture_output=True, timeout=120)
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--find-links"]
    target = tmp_path / "installed"
    subprocess.run(
        [*install, str(tmp_path), "--target", str(target), "wasmhold"],
        check=True,
        capture_output=True,
        timeout=120,
    )
    ready = tmp_path / "ready"
    command = [sys.executable, "-m", "wasmhold", "serve", "--memory", "--listen", "127.0.0.1:0"]
    process = subprocess.Popen(
        [*command, "--ready-file", str(ready)], env={"PYTHONPATH": str(target)}, cwd=tmp_path
    )
    try:
        deadline = time.monotonic() + 30
        while not ready.exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        with urllib.request.urlopen(f"{ready.read_text().strip()}v2/") as answer:
            assert answer.status == 200
    finally:
        process.terminate()
        assert process.wait(30) == 0


def test_the_proxy_lets_pass_what_a_registry_needs():
    text = (EXAMPLES / "nginx.conf").read_text()
    for line in (
        "client_max_body_size 0;",
        "proxy_request_buffering off;",
        "proxy_set_header Host $http_host;",
        "X-Forwarded-For",
    ):
        assert line in text
    assert "--trusted-proxy" in text
    assert "--trusted-proxy" in BY_FLAG
