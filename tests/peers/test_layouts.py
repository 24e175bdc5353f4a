"""Other tools read our repositories in place, and write theirs beside them, while we serve."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.peers.test_clients import needs, push_image, run
from tests.registries import Server, serving
from tests.stores.layouts import Layout, read_tags
from wasmhold.oci import media_types
from wasmhold.stores.directory import paths
from wasmhold.testing.covers import covers
from wasmhold.testing.senders import to_url
from wasmhold.testing.transcript import Exchange, Send

pytestmark = pytest.mark.peer

NAMES = ["demo", "foo/blobs", "foo/index.json"]
PATIENCE_S = 10.0


def wait_for(what: Callable[[], object]) -> object:
    """The first answer that is true."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = what()
        if found or time.monotonic() > deadline:
            assert found
            return found
        time.sleep(0.05)


def folder(root: Path, name: str) -> Path:
    return root / paths.repository(name).folder


@pytest.fixture(params=NAMES)
def name(request) -> str:
    return request.param


@pytest.fixture
def root(tmp_path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def served(root) -> Iterator[Server]:
    with serving("--log", "off", store=("--root", str(root))) as running:
        yield running


@pytest.fixture
def pushed(served, root, name) -> dict[str, bytes]:
    """Content of a repository that we serve, when its index.json says so.

    ``v1`` is an index, ``one`` one of its manifests.
    """
    content = push_image(served, name)
    one = next(data for data in content.values() if b'"layers": [' in data)
    with to_url(served.url) as send:
        headers = [("Content-Type", media_types.IMAGE_MANIFEST)]
        put = Exchange("PUT", f"/v2/{name}/manifests/one", headers, [one], False)
        assert send(put).status == 201
    index = folder(root, name) / "index.json"
    wait_for(lambda: index.exists() and sorted(read_tags(index.parent)) == ["one", "v1"])
    return content


def get(send: Send, path: str) -> tuple[int, bytes]:
    accept = ", ".join(sorted(media_types.MANIFESTS | media_types.INDEXES))
    answer = send(Exchange("GET", path, [("Accept", accept)], None, False))
    return answer.status, answer.body


def is_all_there(server: Server, name: str, tag: str, content: dict[str, bytes]) -> bool:
    """Whether the tag is served; then every byte is what it was."""
    with to_url(server.url) as send:
        status, body = get(send, f"/v2/{name}/manifests/{tag}")
        if status != 200:
            return False
        assert f"sha256:{hashlib.sha256(body).hexdigest()}" in content
        for digest, wanted in content.items():
            found = [get(send, f"/v2/{name}/{kind}/{digest}") for kind in ("blobs", "manifests")]
            assert (200, wanted) in found
    return True


def read_layout(folder: Path) -> dict[str, bytes]:
    files = (folder / "blobs/sha256").iterdir()
    return {f"sha256:{file.name}": file.read_bytes() for file in files}


@pytest.fixture
def source(tmp_path) -> Path:
    """A small layout that no registry has seen."""
    layout = Layout(tmp_path / "source")
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}
    kind = "application/vnd.oci.image.config.v1+json"
    manifest = layout.manifest(config=layout.blob(json.dumps(config).encode(), kind))
    layout.path("sha256:" + hashlib.sha256(b"{}").hexdigest()).unlink()
    layout.add(manifest, "v1")
    layout.write()
    return layout.folder


# ---- they read ours


@needs("skopeo")
@covers("BR-082", "OW-171")
def test_skopeo_reads(pushed, root, name, tmp_path):
    place = f"oci:{folder(root, name)}:v1"
    raw = run("skopeo", "inspect", "--raw", place, cwd=tmp_path)
    assert f"sha256:{hashlib.sha256(raw.encode()).hexdigest()}" in pushed
    as_it_is = ("--all", "--preserve-digests", "--dest-oci-accept-uncompressed-layers")
    run("skopeo", "--insecure-policy", "copy", *as_it_is, place, "oci:out:v1", cwd=tmp_path)
    assert read_layout(tmp_path / "out") == pushed


@needs("oras")
@covers("BR-082", "OW-171")
def test_oras_reads(pushed, root, name, tmp_path):
    place = f"{folder(root, name)}:v1"
    tags = run("oras", "repo", "tags", "--oci-layout", folder(root, name), cwd=tmp_path)
    assert tags.split() == ["one", "v1"]
    run(
        *("oras", "copy", "--from-oci-layout", place, "--to-oci-layout", "out:v1"),
        cwd=tmp_path,
    )
    assert read_layout(tmp_path / "out") == pushed


@needs("umoci")
@covers("BR-082", "OW-171")
def test_umoci_reads(pushed, root, name, tmp_path):
    layout = folder(root, name)
    tags = run("umoci", "list", "--layout", layout, cwd=tmp_path)
    assert sorted(tags.split()) == ["one", "v1"]
    found = run("umoci", "stat", "--json", "--image", f"{layout}:one", cwd=tmp_path)
    assert "history" in json.loads(found)


@needs("regctl")
@covers("BR-082", "OW-171")
def test_regctl_reads(pushed, root, name, tmp_path):
    place = f"ocidir://{folder(root, name)}"
    assert run("regctl", "tag", "ls", place, cwd=tmp_path).split() == ["one", "v1"]
    run("regctl", "image", "copy", f"{place}:v1", "ocidir://out:v1", cwd=tmp_path)
    assert read_layout(tmp_path / "out") == pushed


# ---- they write, while we serve


def with_skopeo(source: Path, to: Path, tag: str, cwd: Path) -> None:
    run("skopeo", "--insecure-policy", "copy", f"oci:{source}:v1", f"oci:{to}:{tag}", cwd=cwd)


def with_oras(source: Path, to: Path, tag: str, cwd: Path) -> None:
    place = ("--from-oci-layout", f"{source}:v1", "--to-oci-layout", f"{to}:{tag}")
    run("oras", "copy", *place, cwd=cwd)


def with_regctl(source: Path, to: Path, tag: str, cwd: Path) -> None:
    run("regctl", "image", "copy", f"ocidir://{source}:v1", f"ocidir://{to}:{tag}", cwd=cwd)


def with_umoci(source: Path, to: Path, tag: str, cwd: Path) -> None:
    if not to.exists():
        run("umoci", "init", "--layout", to, cwd=cwd)
    run("umoci", "new", "--image", f"{to}:{tag}", cwd=cwd)


WRITERS = [
    pytest.param(write, marks=needs(program), id=program)
    for program, write in {
        "skopeo": with_skopeo,
        "oras": with_oras,
        "regctl": with_regctl,
        "umoci": with_umoci,
    }.items()
]


@pytest.mark.parametrize("write", WRITERS)
@covers("OW-170", "BR-082")
def test_a_layout_that_is_written_into_the_root_is_served(
    write, served, root, name, source, tmp_path
):
    layout = folder(root, name)
    layout.parent.mkdir(exist_ok=True)
    write(source, layout, "v1", tmp_path)
    wait_for(lambda: is_all_there(served, name, "v1", read_layout(layout)))
    with to_url(served.url) as send:
        assert json.loads(get(send, "/v2/_catalog")[1])["repositories"] == [name]


@pytest.mark.parametrize("write", WRITERS)
@covers("OW-172")
def test_what_is_added_to_a_repository_that_we_serve_is_served(
    write, pushed, served, root, name, source, tmp_path
):
    layout = folder(root, name)
    write(source, layout, "added", tmp_path)
    wait_for(lambda: is_all_there(served, name, "added", read_layout(layout)))
    assert is_all_there(served, name, "v1", pushed)
    wait_for(lambda: sorted(read_tags(layout)) == ["added", "one", "v1"])
    # Ours again, and then theirs again.
    push_image(served, f"{name}/other")
    write(source, layout, "v1", tmp_path)
    moved = read_tags(layout)["v1"]
    assert moved not in pushed

    def is_moved() -> bool:
        with to_url(served.url) as send:
            body = get(send, f"/v2/{name}/manifests/v1")[1]
        return f"sha256:{hashlib.sha256(body).hexdigest()}" == moved

    wait_for(is_moved)


@needs("umoci")
@covers("OW-172")
def test_what_umoci_removes_is_gone(pushed, served, root, name, tmp_path):
    run("umoci", "remove", "--image", f"{folder(root, name)}:one", cwd=tmp_path)
    with to_url(served.url) as send:
        wait_for(lambda: get(send, f"/v2/{name}/manifests/one")[0] == 404)
        assert get(send, f"/v2/{name}/manifests/v1")[0] == 200


@needs("regctl")
@covers("OW-172")
def test_what_regctl_removes_is_gone(pushed, served, root, name, tmp_path):
    run("regctl", "tag", "rm", f"ocidir://{folder(root, name)}:v1", cwd=tmp_path)
    with to_url(served.url) as send:
        wait_for(lambda: get(send, f"/v2/{name}/manifests/v1")[0] == 404)


def referrers(server: Server, name: str, subject: str) -> list[str]:
    with to_url(server.url) as send:
        found = json.loads(get(send, f"/v2/{name}/referrers/{subject}")[1])
    return [entry["artifactType"] for entry in found["manifests"]]


@needs("oras")
@covers("DS-097", "OW-150")
def test_what_oras_attaches_is_a_referrer(served, root, name, source, tmp_path):
    layout = folder(root, name)
    layout.parent.mkdir(exist_ok=True)
    with_oras(source, layout, "v1", tmp_path)
    (tmp_path / "note.txt").write_text("note")
    attach = ("oras", "attach", "--oci-layout", "--artifact-type", "application/x.note")
    run(*attach, f"{layout}:v1", "note.txt", cwd=tmp_path)
    subject = read_tags(layout)["v1"]
    wait_for(lambda: referrers(served, name, subject) == ["application/x.note"])


@needs("regctl")
@covers("DS-097", "OW-151")
def test_what_regctl_attaches_is_a_referrer(served, root, name, source, tmp_path):
    """It keeps referrers under the fallback tag, which stays readable."""
    layout = folder(root, name)
    layout.parent.mkdir(exist_ok=True)
    with_regctl(source, layout, "v1", tmp_path)
    (tmp_path / "note.txt").write_text("note")
    put = ("regctl", "artifact", "put", "--artifact-type", "application/x.note")
    subject = read_tags(layout)["v1"]
    run(*put, "--file", "note.txt", "--subject", f"ocidir://{layout}:v1", cwd=tmp_path)
    wait_for(lambda: referrers(served, name, subject) == ["application/x.note"])
    with to_url(served.url) as send:
        assert get(send, f"/v2/{name}/manifests/{subject.replace(':', '-')}")[0] == 200
    found = run("regctl", "artifact", "list", f"ocidir://{layout}:v1", cwd=tmp_path)
    assert "application/x.note" in found


# ---- a folder moves between two registries


@contextmanager
def olareg(root: Path) -> Iterator[Server]:
    root.mkdir(exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["olareg", "serve", "--dir", str(root), "--addr", "127.0.0.1", "--port", str(port)]
    log = root.parent / "olareg.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:

        def answers() -> bool:
            with to_url(f"http://127.0.0.1:{port}/") as send:
                try:
                    return get(send, "/v2/")[0] == 200
                except OSError:
                    return False

        wait_for(answers)
        yield Server(process, f"http://127.0.0.1:{port}/", log)
    finally:
        process.terminate()
        process.wait(30)


def attach(server: Server, name: str, subject: dict[str, object]) -> str:
    """Push a referrer; its digest."""
    empty = {
        "mediaType": "application/vnd.oci.empty.v1+json",
        "digest": f"sha256:{hashlib.sha256(b'{}').hexdigest()}",
        "size": 2,
    }
    document = {
        "schemaVersion": 2,
        "mediaType": media_types.IMAGE_MANIFEST,
        "artifactType": "application/x.note",
        "config": empty,
        "layers": [empty],
        "subject": subject,
    }
    content = json.dumps(document).encode()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    with to_url(server.url) as send:
        upload = f"/v2/{name}/blobs/uploads/?digest={empty['digest']}"
        assert send(Exchange("POST", upload, [], [b"{}"], False)).status == 201
        headers = [("Content-Type", media_types.IMAGE_MANIFEST)]
        put = Exchange("PUT", f"/v2/{name}/manifests/{digest}", headers, [content], False)
        assert send(put).status == 201
    return digest


@needs("olareg")
@covers("OW-170", "OW-173", "DS-097")
def test_a_folder_of_olareg(root, tmp_path):
    with olareg(root) as theirs:
        content = push_image(theirs, "demo")
        with to_url(theirs.url) as send:
            body = get(send, "/v2/demo/manifests/v1")[1]
        subject = {
            "mediaType": media_types.IMAGE_INDEX,
            "digest": f"sha256:{hashlib.sha256(body).hexdigest()}",
            "size": len(body),
        }
        attach(theirs, "demo", subject)
    with serving("--log", "off", store=("--root", str(root))) as ours:
        assert is_all_there(ours, "demo", "v1", content)
        assert referrers(ours, "demo", str(subject["digest"])) == ["application/x.note"]
        more = push_image(ours, "more")
        push_image(ours, "demo/inner")
        ours.stop()
    with olareg(root) as theirs:
        assert is_all_there(theirs, "demo", "v1", content)
        assert is_all_there(theirs, "more", "v1", more)
        assert referrers(theirs, "demo", str(subject["digest"])) == ["application/x.note"]
