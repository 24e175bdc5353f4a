"""Real clients push and pull real content: bytes identical, each way, and between each other."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.registries import Server, serving
from wasmhold.oci import media_types
from wasmhold.testing.covers import covers
from wasmhold.testing.senders import to_url
from wasmhold.testing.transcript import Exchange, Send

pytestmark = pytest.mark.peer


def needs(*programs: str) -> pytest.MarkDecorator:
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not on PATH: {', '.join(missing)}")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving("--log", "off") as running:
        yield running


@pytest.fixture(scope="session")
def component(tmp_path_factory) -> Path:
    """A component of 10 MB and more: a Python one, where componentize-py is on PATH.

    Elsewhere one that is a custom section of the same size: wkg looks at the sections.
    """
    folder = tmp_path_factory.mktemp("component")
    built = folder / "hello.wasm"
    if shutil.which("componentize-py"):
        (folder / "hello.wit").write_text(
            "package demo:hello;\nworld hello { export hello: func() -> string; }\n"
        )
        (folder / "app.py").write_text(
            "import wit_world\n\n\nclass WitWorld(wit_world.WitWorld):\n"
            "    def hello(self) -> str:\n        return 'hello'\n"
        )
        run(
            *("componentize-py", "-d", "hello.wit", "-w", "hello", "componentize", "--stub-wasi"),
            *("app", "-o", built),
            cwd=folder,
        )
    else:
        print("componentize-py is not on PATH: random bytes in a section stand for the code")
        section = b"\x04fill" + os.urandom(12 << 20)
        # Its length as LEB128, in five bytes.
        size = bytes(len(section) >> 7 * i & 0x7F | 0x80 for i in range(4)) + b"\0"
        built.write_bytes(b"\0asm\x0d\0\x01\0" + b"\0" + size + section)
    assert built.stat().st_size > 10_000_000
    return built


def run(*command: object, cwd: Path, home: Path | None = None) -> str:
    """A program's standard output; its errors are the test's."""
    environment = {**os.environ, "HOME": str(home or cwd), "NO_COLOR": "1"}
    ran = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, f"{command}: {ran.stdout}{ran.stderr}"
    return ran.stdout


def push_image(server: Server, repo: str) -> dict[str, bytes]:
    """A multi-platform image, pushed by plain HTTP: digest to bytes of all that it has."""
    with to_url(server.url) as send:
        return _push_image(send, repo)


def _push_image(send: Send, repo: str) -> dict[str, bytes]:
    content: dict[str, bytes] = {}

    def keep(data: bytes) -> dict[str, object]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        content[digest] = data
        return {"digest": digest, "size": len(data)}

    def put(document: dict[str, object], reference: str | None) -> dict[str, object]:
        data = json.dumps({"schemaVersion": 2, **document}).encode()
        described = {"mediaType": document["mediaType"], **keep(data)}
        path = f"/v2/{repo}/manifests/{reference or described['digest']}"
        headers = [("Content-Type", str(document["mediaType"]))]
        assert send(Exchange("PUT", path, headers, [data], False)).status == 201
        return described

    images = []
    for architecture in ("amd64", "arm64"):
        layer = tar_layer(architecture)
        config = {
            "architecture": architecture,
            "os": "linux",
            "rootfs": {
                "type": "layers",
                "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"],
            },
        }
        parts = [(json.dumps(config).encode(), "config"), (layer, "layer")]
        described = {}
        for data, role in parts:
            described[role] = keep(data)
            path = f"/v2/{repo}/blobs/uploads/?digest={described[role]['digest']}"
            assert send(Exchange("POST", path, [], [data], False)).status == 201
        kind = "application/vnd.oci.image"
        images.append(
            {
                **put(
                    {
                        "mediaType": media_types.IMAGE_MANIFEST,
                        "config": {"mediaType": f"{kind}.config.v1+json", **described["config"]},
                        "layers": [{"mediaType": f"{kind}.layer.v1.tar", **described["layer"]}],
                    },
                    None,
                ),
                "platform": {"architecture": architecture, "os": "linux"},
            }
        )
    put({"mediaType": media_types.IMAGE_INDEX, "manifests": images}, "v1")
    return content


def tar_layer(text: str) -> bytes:
    import io
    import tarfile

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("hello.txt")
        info.size = len(text)
        archive.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


def in_layout(folder: Path) -> dict[str, bytes]:
    """Digest to bytes of all that an OCI image layout holds."""
    return {
        f"{path.parent.name}:{path.name}": path.read_bytes() for path in folder.glob("blobs/*/*")
    }


def stored(server: Server, repo: str, digests: dict[str, bytes]) -> None:
    """Every manifest and blob is in the registry, byte for byte."""
    with to_url(server.url) as send:
        for digest, data in digests.items():
            answers = [
                send(Exchange("GET", f"/v2/{repo}/{kind}/{digest}", [], None, False))
                for kind in ("manifests", "blobs")
            ]
            assert data in [answer.body for answer in answers if answer.status == 200]


@covers("BR-006", "BR-097", "OW-195")
@needs("oras")
def test_oras_component(server, component, tmp_path):
    place = f"{server.host}/oras/hello:1.0"
    run("oras", "push", "--plain-http", place, "hello.wasm:application/wasm", cwd=component.parent)
    run("oras", "pull", "--plain-http", place, cwd=tmp_path)
    assert (tmp_path / "hello.wasm").read_bytes() == component.read_bytes()
    assert run("oras", "repo", "tags", "--plain-http", f"{server.host}/oras/hello", cwd=tmp_path)
    assert "oras/hello" in run("oras", "repo", "ls", "--plain-http", server.host, cwd=tmp_path)


@covers("BR-006", "DS-092")
@needs("oras")
def test_oras_referrers(server, component, tmp_path):
    place = f"{server.host}/oras/referred:1.0"
    (tmp_path / "hello.wasm").write_bytes(component.read_bytes())
    (tmp_path / "sbom.json").write_text('{"sbom": true}')
    (tmp_path / "signature").write_text("signed")
    plain = "--plain-http"
    run("oras", "push", plain, place, "hello.wasm:application/wasm", cwd=tmp_path)
    kind = "application/vnd.example.sbom"
    run("oras", "attach", plain, "--artifact-type", kind, place, "sbom.json", cwd=tmp_path)
    found = json.loads(run("oras", "discover", plain, "--format", "json", place, cwd=tmp_path))
    (sbom,) = found["referrers"]
    assert sbom["artifactType"] == kind
    # A referrer of the referrer.
    there = f"{server.host}/oras/referred@{sbom['digest']}"
    kind = "application/vnd.example.signature"
    run("oras", "attach", plain, "--artifact-type", kind, there, "signature", cwd=tmp_path)
    copy = f"{server.host}/oras/copied:1.0"
    both = ("--from-plain-http", "--to-plain-http")
    run("oras", "copy", "-r", *both, place, copy, cwd=tmp_path)
    again = json.loads(run("oras", "discover", plain, "--format", "json", copy, cwd=tmp_path))
    (copied,) = again["referrers"]
    assert copied["digest"] == sbom["digest"]
    assert [inner["artifactType"] for inner in copied["referrers"]] == [kind]


@covers("BR-006")
@needs("oras")
def test_oras_image(server, tmp_path):
    content = push_image(server, "oras/image")
    layout = tmp_path / "layout"
    source = f"{server.host}/oras/image:v1"
    run(
        "oras", "copy", "--from-plain-http", "--to-oci-layout", source, f"{layout}:v1", cwd=tmp_path
    )
    assert in_layout(layout) == content
    back = f"{server.host}/oras/again:v1"
    run("oras", "copy", "--from-oci-layout", "--to-plain-http", f"{layout}:v1", back, cwd=tmp_path)
    stored(server, "oras/again", content)


@covers("BR-006")
@needs("crane", "oras")
def test_crane(server, component, tmp_path):
    content = push_image(server, "crane/image")
    layout = tmp_path / "layout"
    run("crane", "pull", "--format=oci", f"{server.host}/crane/image:v1", layout, cwd=tmp_path)
    assert in_layout(layout).items() >= content.items()
    run(
        "crane",
        "copy",
        f"{server.host}/crane/image:v1",
        f"{server.host}/crane/again:v2",
        cwd=tmp_path,
    )
    stored(server, "crane/again", content)
    # Its `push` takes layouts and tar files of images; a component travels as what oras made.
    place = f"{server.host}/crane/hello:1.0"
    run("oras", "push", "--plain-http", place, "hello.wasm:application/wasm", cwd=component.parent)
    run("crane", "copy", place, f"{server.host}/crane/hello-again:1.0", cwd=tmp_path)
    manifest = json.loads(
        run("crane", "manifest", f"{server.host}/crane/hello-again:1.0", cwd=tmp_path)
    )
    digest = manifest["layers"][0]["digest"]
    stored(server, "crane/hello-again", {digest: component.read_bytes()})
    assert run("crane", "ls", f"{server.host}/crane/again", cwd=tmp_path).split() == ["v2"]
    assert "crane/again" in run("crane", "catalog", server.host, cwd=tmp_path).split()
    digest = run("crane", "digest", f"{server.host}/crane/again:v2", cwd=tmp_path).strip()
    run("crane", "delete", f"{server.host}/crane/again@{digest}", cwd=tmp_path)
    assert run("crane", "ls", f"{server.host}/crane/again", cwd=tmp_path).split() == []


@covers("BR-006", "DS-070")
@needs("regctl")
def test_regctl(server, component, tmp_path):
    content = push_image(server, "regctl/image")
    run("regctl", "registry", "set", server.host, "--tls", "disabled", cwd=tmp_path)
    layout = tmp_path / "layout"
    run(
        "regctl",
        "image",
        "copy",
        f"{server.host}/regctl/image:v1",
        f"ocidir://{layout}:v1",
        cwd=tmp_path,
    )
    assert in_layout(layout) == content
    run(
        "regctl",
        "image",
        "copy",
        f"ocidir://{layout}:v1",
        f"{server.host}/regctl/again:v1",
        cwd=tmp_path,
    )
    stored(server, "regctl/again", content)
    place = f"{server.host}/regctl/hello:1.0"
    put = ("regctl", "artifact", "put", "--artifact-type", "application/vnd.wasm.config.v0+json")
    run(*put, "--file-media-type", "application/wasm", "-f", component, place, cwd=tmp_path)
    out = tmp_path / "got.wasm"
    run("sh", "-c", f"regctl artifact get {place} > {out}", cwd=tmp_path)
    assert out.read_bytes() == component.read_bytes()
    note = tmp_path / "note"
    note.write_text("note")
    run(*put[:-1], "application/vnd.example.note", "--subject", place, "-f", note, cwd=tmp_path)
    listed = run("regctl", "artifact", "list", place, "--format", "{{json .}}", cwd=tmp_path)
    assert "application/vnd.example.note" in listed
    assert run("regctl", "tag", "ls", f"{server.host}/regctl/hello", cwd=tmp_path).split() == [
        "1.0"
    ]
    run("regctl", "tag", "rm", place, cwd=tmp_path)
    assert run("regctl", "tag", "ls", f"{server.host}/regctl/hello", cwd=tmp_path).split() == []


@covers("BR-006")
@needs("skopeo", "oras")
def test_skopeo(server, component, tmp_path):
    content = push_image(server, "skopeo/image")
    layout = tmp_path / "layout"
    source = f"docker://{server.host}/skopeo/image:v1"
    all_of_it = ("skopeo", "copy", "--all", "--preserve-digests")
    run(*all_of_it, "--src-tls-verify=false", source, f"oci:{layout}:v1", cwd=tmp_path)
    assert in_layout(layout) == content
    back = f"docker://{server.host}/skopeo/again:v1"
    run(*all_of_it, "--dest-tls-verify=false", f"oci:{layout}:v1", back, cwd=tmp_path)
    stored(server, "skopeo/again", content)
    tags = run("skopeo", "list-tags", "--tls-verify=false", back.rpartition(":")[0], cwd=tmp_path)
    assert json.loads(tags)["Tags"] == ["v1"]
    inspected = run("skopeo", "inspect", "--tls-verify=false", back, cwd=tmp_path)
    assert json.loads(inspected)["Architecture"] == "amd64"
    place = f"{server.host}/skopeo/hello:1.0"
    run("oras", "push", "--plain-http", place, "hello.wasm:application/wasm", cwd=component.parent)
    here, there = f"docker://{place}", f"docker://{server.host}/skopeo/moved:1.0"
    both = ("--src-tls-verify=false", "--dest-tls-verify=false")
    run("skopeo", "copy", "--preserve-digests", *both, here, there, cwd=tmp_path)
    digest = f"sha256:{hashlib.sha256(component.read_bytes()).hexdigest()}"
    stored(server, "skopeo/moved", {digest: component.read_bytes()})
    run("skopeo", "delete", "--tls-verify=false", there, cwd=tmp_path)


@covers("BR-006")
@needs("wkg")
def test_wkg(server, component, tmp_path):
    place = f"{server.host}/wkg/hello:1.0.0"
    run("wkg", "oci", "push", "--insecure", server.host, place, component, cwd=tmp_path)
    out = tmp_path / "got.wasm"
    run("wkg", "oci", "pull", "--insecure", server.host, place, "-o", out, cwd=tmp_path)
    assert out.read_bytes() == component.read_bytes()
