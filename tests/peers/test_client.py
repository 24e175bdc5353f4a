"""What our commands push, other tools pull; what they push, ours do; and layouts both ways."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.program import done
from tests.client.remotes import distribution, olareg
from tests.registries import serving
from tests.wasm.binaries import COMPONENT, MODULE
from wasmhold.testing.covers import covers

pytestmark = pytest.mark.peer


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


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("app.wasm").write_bytes(COMPONENT)
    Path("module.wasm").write_bytes(MODULE)
    Path("notes.txt").write_text("hello")
    return tmp_path


def run(*command: str) -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"not on PATH: {command[0]}")
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


# fmt: off
# How each tool reads what we pushed: the digest that it finds, and the files that it writes.
PULLS = {
    "oras":   ("oras", "pull", "--plain-http", "-o", "theirs", "PLACE"),
    "wkg":    ("wkg", "oci", "pull", "--insecure", "HOST", "PLACE", "-o", "theirs.wasm"),
}
DIGESTS = {
    "oras":   ("oras", "resolve", "--plain-http", "PLACE"),
    "crane":  ("crane", "digest", "--insecure", "PLACE"),
    "regctl": ("regctl", "--host", "reg=HOST,tls=disabled", "manifest", "head", "PLACE"),
}
# What each tool pushes, under which name ours finds it.
PUSHES = {
    "oras":   ("oras", "push", "--plain-http", "PLACE", "notes.txt:text/plain"),
    "wkg":    ("wkg", "oci", "push", "--insecure", "HOST", "PLACE", "app.wasm"),
    "regctl": ("regctl", "--host", "reg=HOST,tls=disabled", "artifact", "put", "--artifact-type",
               "text/x", "-m", "text/plain", "-f", "notes.txt", "--file-title", "PLACE"),
}
# fmt: on


def command(words: tuple[str, ...], host: str, place: str) -> list[str]:
    return [word.replace("HOST", host).replace("PLACE", place) for word in words]


@covers("WO-029", "WO-130", "CW-070")
@pytest.mark.parametrize("tool", DIGESTS)
@pytest.mark.parametrize("format_", ["cncf", "wasm-to-oci", "zlayer", "files"])
def test_others_find_what_we_pushed(host, here, tool, format_):
    place = f"{host}/ours/{tool}:{format_}"
    digest = done("push", "app.wasm", place, "--format", format_, "-q").out.strip()
    assert run(*command(DIGESTS[tool], host, place)).strip() == digest


@covers("WO-029", "CW-070")
def test_wkg_pulls_what_we_pushed(host, here):
    place = f"{host}/ours/wkg:1"
    done("push", "app.wasm", place)
    run(*command(PULLS["wkg"], host, place))
    assert Path("theirs.wasm").read_bytes() == COMPONENT


def test_oras_pulls_what_we_pushed(host, here):
    place = f"{host}/ours/files:1"
    done("push", "app.wasm", "notes.txt", place, "--artifact-type", "text/x")
    run(*command(PULLS["oras"], host, place))
    assert Path("theirs/app.wasm").read_bytes() == COMPONENT
    assert Path("theirs/notes.txt").read_text() == "hello"


@covers("CW-025")
def test_wkg_writes_the_same_bytes_in_its_style(host, here):
    theirs, ours = f"{host}/style/theirs:1", f"{host}/style/ours:1"
    run(*command(PUSHES["wkg"], host, theirs))
    manifest = done("manifest", "get", theirs).json
    config = done("blob", "get", f"{host}/style/theirs@{manifest['config']['digest']}").json
    title = manifest["layers"][0].get("annotations", {}).get("org.opencontainers.image.title")
    titled = ["--no-title"] if title is None else ["--title", title]
    more = []
    for key, value in (manifest.get("annotations") or {}).items():
        more += ["--annotation", f"{key}={value}"]
    done(
        *("push", "app.wasm", ours, "--manifest-style", "wkg", *titled, *more),
        *("--created", config["created"][:19] + "Z"),
    )
    mine = done("manifest", "get", ours).json
    assert list(mine) == sorted(mine)
    assert mine["layers"] == manifest["layers"]
    if config["created"].endswith("Z") and len(config["created"]) == 20:
        assert done("resolve", ours).out == done("resolve", theirs).out


@covers("WO-029", "CW-102")
@pytest.mark.parametrize("tool", PUSHES)
def test_we_pull_what_others_pushed(host, here, tool):
    place = f"{host}/theirs/{tool}:1"
    run(*command(PUSHES[tool], host, place))
    if tool == "wkg":
        done("pull", place, "-o", "out.wasm")
        assert Path("out.wasm").read_bytes() == COMPONENT
        assert done("inspect", place, "--json", "--download").json["kind"] == "component"
    else:
        done("pull", place, "-o", "out/")
        assert Path("out/notes.txt").read_text() == "hello"


def test_referrers_are_seen_by_both(host, here):
    place = f"{host}/ours/subject:1"
    done("push", "app.wasm", place)
    ours = done("attach", "notes.txt", place, "--artifact-type", "text/ours", "--json").json[
        "digest"
    ]
    run("oras", "attach", "--plain-http", "--artifact-type", "text/theirs", place, "notes.txt")
    told = json.loads(run("oras", "discover", "--plain-http", "--format", "json", place))
    assert ours in {one["digest"] for one in told.get("referrers") or told["manifests"]}
    found = done("referrers", place, "--json").json
    assert {one["artifactType"] for one in found} == {"text/ours", "text/theirs"}


@pytest.mark.parametrize("kind", ["oci", "oci-archive"])
def test_skopeo_reads_and_writes_our_layouts(here, kind):
    done("push", "app.wasm", f"{kind}:ours:1")
    ours = done("resolve", f"{kind}:ours:1").out.strip()
    run("skopeo", "copy", f"{kind}:ours:1", "oci:theirs:1")
    assert done("resolve", "oci:theirs:1").out.strip() == ours
    run("skopeo", "copy", "oci:theirs:1", "oci-archive:archive.tar:1")
    done("pull", "oci-archive:archive.tar:1", "-o", "out.wasm")
    assert Path("out.wasm").read_bytes() == COMPONENT
