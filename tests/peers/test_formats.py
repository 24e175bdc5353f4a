"""The formats that are images, and Solo's pair, beside the tools that load, check and move them."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.cli.program import done
from tests.client.remotes import distribution, olareg
from tests.registries import serving
from tests.wasm.binaries import COMPONENT, custom
from wasmhold.testing.covers import covers

pytestmark = pytest.mark.peer

PROGRAM = COMPONENT + custom("notes", b"x" * 10_000)
WASM = ("--override-os", "wasip1", "--override-arch", "wasm")


@pytest.fixture(scope="module", params=["wasmhold", "olareg", "distribution"])
def host(request, tmp_path_factory):
    if request.param == "wasmhold":
        with serving("--log", "off") as server:
            yield server.host
        return
    if shutil.which(request.param) is None:
        pytest.skip(f"not on PATH: {request.param}")
    started = olareg if request.param == "olareg" else distribution
    with started(tmp_path_factory.mktemp(request.param)) as server:
        yield server.host


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("app.wasm").write_bytes(PROGRAM)
    return tmp_path


def run(*command: str) -> bytes:
    if shutil.which(command[0]) is None:
        pytest.skip(f"not on PATH: {command[0]}")
    ran = subprocess.run(command, capture_output=True, timeout=120)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def pushed(host: str, name: str, *options: str) -> str:
    place = f"{host}/formats/{name}:1"
    done("push", "app.wasm", place, "--format", name, *options)
    return place


@covers("CW-072", "CW-073", "CW-104", "CW-105")
@pytest.mark.parametrize(("name", "file"), [("compat", "plugin.wasm"), ("image", "app.wasm")])
def test_crane_finds_a_whole_image_and_its_program(host, name, file):
    """Istio and Envoy Gateway read images by crane's library."""
    place = pushed(host, name)
    which = ("--insecure", "--platform", "wasip1/wasm")
    run("crane", "validate", *which, "--remote", place)
    with tarfile.open(fileobj=io.BytesIO(run("crane", "export", *which, place, "-"))) as archive:
        assert archive.getnames() == [file]
        assert archive.extractfile(file).read() == PROGRAM
    config = json.loads(run("crane", "config", *which, place))
    assert (config["architecture"], config["os"]) == ("wasm", "wasip1")


@covers("CW-072", "CW-073", "CW-105")
@pytest.mark.parametrize(("name", "file"), [("compat", "plugin.wasm"), ("image", "app.wasm")])
def test_skopeo_moves_an_image_and_umoci_unpacks_it(host, name, file):
    place = pushed(host, name)
    source = ("--src-tls-verify=false", f"docker://{place}")
    run("skopeo", *WASM, "copy", *source, "oci:layout:1")
    # A runtime's bundle it makes for linux alone; the layer is the same.
    run("umoci", "raw", "unpack", "--rootless", "--image", "layout:1", "rootfs")
    (found,) = Path("rootfs").iterdir()
    assert (found.name, found.read_bytes()) == (file, PROGRAM)
    assert found.stat().st_mode & 0o777 == 0o644
    run("skopeo", *WASM, "copy", *source, "docker-archive:saved.tar:demo/app:1")
    assert os.path.getsize("saved.tar") > 0


@covers("CW-075", "CW-107")
def test_tools_for_images_move_runwasis(host):
    place = pushed(host, "runwasi")
    run("skopeo", *WASM, "copy", "--src-tls-verify=false", f"docker://{place}", "oci:layout:1")
    assert done("resolve", "oci:layout:1").out == done("resolve", place).out
    config = json.loads(run("crane", "config", "--insecure", place))
    assert config["config"]["Entrypoint"] == ["app.wasm"]
    assert config["rootfs"]["diff_ids"] == []


@covers("CW-074")
def test_oras_pulls_solos_pair(host):
    place = pushed(host, "solo", "--root-id", "my_root", "--title", "filter.wasm")
    run("oras", "pull", "--plain-http", "-o", "theirs", place)
    assert Path("theirs/filter.wasm").read_bytes() == PROGRAM
    runtime = json.loads(Path("theirs/runtime-config.json").read_text())
    assert runtime == {
        "type": "envoy_proxy",
        "abiVersions": [],
        "config": {"root_ids": ["my_root"]},
    }


@pytest.mark.parametrize("name", ["compat", "image", "solo", "runwasi"])
def test_regctl_copies_each(host, name):
    place = pushed(host, name)
    copy = f"{place}-copy"
    run("regctl", "--host", f"reg={host},tls=disabled", "image", "copy", place, copy)
    assert done("resolve", copy).out == done("resolve", place).out


@covers("CW-078", "CW-101")
def test_wkg_reads_what_was_pushed_by_hand_when_it_is_converted(host):
    Path("app.wasm").write_bytes(COMPONENT)
    place = f"{host}/formats/hand:1"
    run("oras", "push", "--plain-http", place, "app.wasm:application/wasm")
    refused = ["wkg", "oci", "pull", "--insecure", host, place, "-o", "theirs.wasm"]
    if shutil.which("wkg") is not None:
        assert subprocess.run(refused, capture_output=True, timeout=60).returncode != 0
    done("convert", place, f"{host}/formats/hand:2", "--to", "cncf")
    run("wkg", "oci", "pull", "--insecure", host, f"{host}/formats/hand:2", "-o", "theirs.wasm")
    assert Path("theirs.wasm").read_bytes() == COMPONENT
