"""The OCI conformance suite against a real server; its program is looked for as `conformance`.

What it says is counted from its report: its exit status is 0 where it has not run, and a skip
does not show in its total.
"""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from tests.registries import serving
from wasmhold.auth.htpasswd import hash_password
from wasmhold.testing.covers import covers

PROGRAM = shutil.which("conformance")

# fmt: off
RUNS = [
    # OCI_VERSION, further settings,            passed, workers on a directory (0: in memory), a login
    ("dev",        {"OCI_DATA_SPARSE": "true"}, 1032,   0,                                     False),
    ("1.1",        {},                          860,    0,                                     False),
    ("dev",        {"OCI_DATA_SPARSE": "true"}, 1032,   1,                                     False),
    ("dev",        {"OCI_DATA_SPARSE": "true"}, 1032,   2,                                     False),
    ("dev",        {"OCI_DATA_SPARSE": "true"}, 1032,   2,                                     True),
]
# fmt: on


_COUNT = re.compile(r"^  (Disabled|Skip|Pass|FAIL|Error|Total)\.+: +([0-9]+)$", re.MULTILINE)


def judge(text: str) -> dict[str, int]:
    """How many checks ended how, from the report's own table.

    junit.xml is no help there: it lists the leaves alone, and calls both skipped what the
    registry lacks (Skip) and what the settings leave out (Disabled).
    """
    return {key: int(count) for key, count in _COUNT.findall(text)}


@covers("BR-098", "BR-142", "OW-192", "OW-163", "DS-027")
@pytest.mark.peer
@pytest.mark.skipif(PROGRAM is None, reason="the program `conformance` is not on PATH")
@pytest.mark.parametrize(("version", "settings", "passed", "workers", "login"), RUNS)
def test_conformance(version, settings, passed, workers, login, tmp_path):
    store = ["--root", str(tmp_path / "root"), "--workers", str(workers)]
    flags = ["--sparse", "--log", "off"]
    if login:
        users = tmp_path / "users"
        users.write_text(f"suite:{hash_password(b'its password', 5)}\n")
        flags += ["--htpasswd", str(users)]
        settings = {**settings, "OCI_USERNAME": "suite", "OCI_PASSWORD": "its password"}
    with serving(*flags, store=store if workers else ["--memory"]) as server:
        environment = {
            "HOME": str(tmp_path),
            "OCI_REGISTRY": server.host,
            "OCI_TLS": "disabled",
            "OCI_VERSION": version,
            "OCI_RESULTS_DIR": str(tmp_path),
            **settings,
        }
        ran = subprocess.run(
            [PROGRAM], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=250
        )
    report = tmp_path / "junit.xml"
    assert report.exists(), f"the suite wrote no report: {ran.stdout[-2000:]}{ran.stderr[-2000:]}"
    found = judge(ran.stdout)
    print(f"conformance {version}: {found}")
    bad = [line for line in ran.stdout.splitlines() if line.endswith((": FAIL", ": Error"))]
    assert not bad
    assert found["FAIL"] == found["Error"] == found["Skip"] == 0
    # A registry that takes anonymous mounts is asked four questions more than one that skips them.
    assert found["Pass"] == passed
