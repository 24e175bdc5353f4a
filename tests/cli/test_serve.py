from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request

import pytest
from click.testing import CliRunner

from tests.registries import serving
from wasmhold import __version__
from wasmhold.cli.commands.serve import serve
from wasmhold.testing.covers import covers


def wasmhold(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "wasmhold", *arguments], capture_output=True, text=True, timeout=30
    )


def test_errors_say_what_and_what_next():
    ran = wasmhold("serve", "--memory", "--listen", "x")
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert ran.stderr.startswith("error: --listen: 'x' is not HOST:PORT")
    assert ran.stderr.endswith("hint: wasmhold serve --help\n")


@pytest.mark.parametrize("arguments", [["--version"], ["version"]])
def test_version(arguments):
    assert wasmhold(*arguments).stdout == f"wasmhold {__version__}\n"


def test_help_names_the_commands():
    assert "serve" in wasmhold("--help").stdout
    assert wasmhold("serve", "--help").returncode == 0
    assert wasmhold("nonsense").returncode == 2


# fmt: off
WRONG = [
    # arguments,                                            what is said
    (["--memory", "--root", "x"],                           "--root"),
    (["--memory", "--workers", "2"],                        "--workers"),
    (["--memory", "--no-sync"],                             "--no-sync"),
    (["--workers", "0"],                                    "--workers"),
    (["--memory", "--listen", "5000"],                      "HOST:PORT"),
    (["--memory", "--listen", "localhost:99999"],           "HOST:PORT"),
    (["--memory", "--listen", ":5000"],                     "HOST:PORT"),
    (["--memory", "--listen", "0.0.0.0:0"],                 "is not loopback"),
    (["--memory", "--listen", "example.org:0"],             "is not loopback"),
    (["--memory", "--listen", "[::]:0"],                    "is not loopback"),
    (["--memory", "--manifest-limit", "0"],                 "--manifest-limit"),
    (["--memory", "--warning", "a\nb"],                     "printable"),
    (["--memory", "--warning", "x" * 5000],                 "4096"),
    (["--memory", "--faults", "/nowhere"],                  "--faults"),
    (["--memory", "--log", "xml"],                          "--log"),
    (["--memory", "--min-free", "1GiB"],                    "--min-free"),
    (["--min-free", "1 gig"],                               "is no size"),
    (["--min-free", "GiB"],                                 "is no size"),
    (["--memory", "--unknown"],                             "--unknown"),
]
FAULTS = [
    # file,                                                 what is said
    ("x",                                                   "want [[fault]]"),
    ("[[fault]]\noperation='tags'",                         "want [[fault]]"),
    ("[[fault]]\noperation='nonsense'\nerror='500'",        "no such operation"),
    ("[[fault]]\noperation='tags'\nerror='200'",            "a status of 400 to 599"),
    ("[[fault]]\noperation='tags'\nerror='NONSENSE'",       "or one of BLOB_UNKNOWN"),
]
# fmt: on


@covers("OW-102", "OW-103", "DS-121")
@pytest.mark.parametrize(("arguments", "said"), WRONG)
def test_wrong_use_is_told(arguments, said):
    ran = CliRunner().invoke(serve, arguments)
    assert ran.exit_code == 2
    assert said in ran.output
    assert "Traceback" not in ran.output


@pytest.mark.parametrize(("content", "said"), FAULTS)
def test_wrong_faults_are_told(content, said, tmp_path):
    path = tmp_path / "faults.toml"
    path.write_text(content)
    ran = CliRunner().invoke(serve, ["--memory", "--faults", str(path)])
    assert ran.exit_code == 2
    assert said in ran.output


def test_a_name_that_is_not_known_is_told():
    ran = wasmhold("serve", "--memory", "--listen", "no.such.host.invalid:0", "--anonymous", "pull")
    assert ran.returncode == 1
    assert "cannot listen on no.such.host.invalid:0" in ran.stderr


@covers("BR-005", "OW-103", "BR-143")
def test_it_says_where_it_serves_and_ends_in_peace():
    with serving("--log", "text") as server:
        with urllib.request.urlopen(f"{server.url}v2/") as answer:
            assert answer.status == 200
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(20) == 0
        log = server.log.read_text()
    assert f"wasmhold: serving {server.url} (memory, 1 worker)\n" in log
    assert ' GET "/v2/" ping 200 2 ' in log
    assert "Traceback" not in log


@covers("BR-005", "OW-104")
@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_in_a_directory_is_there_again(workers, tmp_path):
    root = tmp_path / "registry"
    store = ["--root", str(root), "--workers", str(workers)]
    content, tag = b'{"schemaVersion":2,"manifests":[]}', "v2/demo/app/manifests/V1"
    index = "application/vnd.oci.image.index.v1+json"
    said = f"(directory {root}, {workers} worker{'s' if workers > 1 else ''})"
    with serving("--log", "off", store=store) as server:
        request = urllib.request.Request(
            f"{server.url}{tag}", content, {"Content-Type": index}, method="PUT"
        )
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 201
        assert f"wasmhold: serving {server.url} {said}\n" in server.log.read_text()
        assert server.stop() == 0
    with serving("--log", "off", store=[*store, "--no-sync"]) as server:
        with urllib.request.urlopen(f"{server.url}{tag}") as answer:
            assert answer.read() == content
        assert "a power loss may take" in server.log.read_text()
        server.kill()


@pytest.mark.parametrize("workers", [1, 2])
def test_another_takes_the_place_of_a_worker_that_dies(workers, tmp_path):
    store = ["--root", str(tmp_path), "--workers", str(workers)]
    with serving("--log", "off", store=store) as server:
        first = {pid for pid in server.pids() if pid != server.process.pid}
        os.kill(min(first), signal.SIGKILL)
        deadline = time.monotonic() + 30
        now = set()
        while len(now - first) < 1 or len(now - {min(first)}) < workers:
            assert time.monotonic() < deadline
            time.sleep(0.05)
            now = {pid for pid in server.pids() if pid != server.process.pid}
        for _ in range(10):
            with contextlib.suppress(OSError):
                with urllib.request.urlopen(f"{server.url}v2/") as answer:
                    assert answer.status == 200
                break
            time.sleep(0.2)
        else:
            raise AssertionError("nobody answers")
        assert server.stop() == 0


def test_the_default_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with serving("--log", "off", store=[]) as server:
        assert f"(directory {tmp_path}/wasmhold/registry, 1 worker)" in server.log.read_text()


def test_a_directory_that_cannot_be_used_is_told(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "new/.wasmhold").mkdir(parents=True)
    (tmp_path / "new/.wasmhold/format").write_text('{"format": 2}')
    for root, said in (("file", "File exists"), ("new", "format 2, this version knows 1")):
        ran = wasmhold("serve", "--root", str(tmp_path / root))
        assert ran.returncode == 1
        assert ran.stderr.startswith(f"error: cannot use {tmp_path / root}: ")
        assert said in ran.stderr
        assert "hint: choose another directory with --root" in ran.stderr


def test_a_file_that_nobody_could_wait_for_is_told(tmp_path):
    ran = wasmhold("serve", "--memory", "--ready-file", str(tmp_path / "none" / "ready"))
    assert ran.returncode == 1
    assert ran.stderr.startswith(f"error: cannot write {tmp_path}/none/ready\nhint: ")


@covers("BR-143")
def test_the_file_of_the_url_is_there_as_long_as_the_registry(tmp_path):
    ready = tmp_path / "ready"
    stale = "http://127.0.0.1:1/\n"
    ready.write_text(stale)  # of one that was killed
    command = [sys.executable, "-m", "wasmhold", "serve", "--memory", "--listen", "127.0.0.1:0"]
    process = subprocess.Popen([*command, "--ready-file", str(ready), "--log", "off"])
    try:
        deadline, text = time.monotonic() + 30, stale
        while text == stale:
            assert time.monotonic() < deadline
            time.sleep(0.01)
            with contextlib.suppress(FileNotFoundError):
                text = ready.read_text()
        taken = text.strip().removeprefix("http://").rstrip("/")
        second = wasmhold("serve", "--memory", "--listen", taken, "--ready-file", str(ready))
        assert second.returncode == 1
        assert ready.exists()
    finally:
        process.terminate()
        assert process.wait(30) == 0
    assert not ready.exists()


@pytest.mark.parametrize("host", ["localhost", "[::1]"])
def test_other_names_of_loopback(host):
    with serving("--listen", f"{host}:0") as server:
        with urllib.request.urlopen(f"{server.url}v2/") as answer:
            assert answer.status == 200


def test_anonymous_pull_is_read_only():
    with serving("--listen", "0.0.0.0:0", "--anonymous", "pull", "--log", "off") as server:
        request = urllib.request.Request(
            f"http://127.0.0.1:{server.port}/v2/a/blobs/uploads/", method="POST"
        )
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request)
        assert caught.value.code == 403
        caught.value.close()
