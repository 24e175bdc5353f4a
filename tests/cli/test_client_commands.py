"""The commands of the client against a registry: what they print, do, and end with."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.program import done, wasmhold
from tests.client.recording import Says, recording
from tests.registries import serving
from tests.wasm.binaries import COMPONENT, MODULE
from wasmhold.testing.covers import covers

EPOCH = {"SOURCE_DATE_EPOCH": "1704164645"}
# The digest of a CNCF artifact of MODULE, made at that time (cncf-wasm.md, vectors).
DIGEST = "sha256:9d5512f60176e01268551e6d5cde10918b0a0446eee4466279db4b4e43fea9d8"
LAYER = "sha256:93a44bbb96c751218e4c00d479e4c14358122a389acca16205b1e4d0dc5f9476"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("app.wasm").write_bytes(MODULE)
    Path("component.wasm").write_bytes(COMPONENT)
    Path("notes.txt").write_text("hello")
    return tmp_path


@pytest.fixture
def name(host, request):
    """A repository of the test's own."""
    return f"{host}/t/{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]}"


@covers("CW-070", "CW-010", "WO-024", "WO-026", "WO-130")
def test_a_module_is_pushed_and_pulled(name, here):
    pushed = done("push", "app.wasm", f"{name}:1", variables=EPOCH)
    assert pushed.out == f"Pushed: {name}:1\nSize: 8\nDigest: {DIGEST}\n"
    assert done("resolve", f"{name}:1").out == f"{DIGEST}\n"
    pulled = done("pull", f"{name}:1", "-o", "again.wasm")
    assert pulled.out == f"Pulled: {name}:1\nSize: 8\nDigest: {DIGEST}\n"
    assert Path("again.wasm").read_bytes() == MODULE
    assert done("push", "app.wasm", f"{name}:1", "-q", variables=EPOCH).out == f"{DIGEST}\n"
    assert done("pull", f"{name}:1", "-q", "-o", "again.wasm").err == ""


@covers("CW-080")
@pytest.mark.parametrize(("before", "after"), [(None, 0o644), (0o600, 0o600), (0o755, 0o755)])
def test_a_new_file_has_its_mode_an_old_one_keeps_it(name, here, before, after):
    done("push", "app.wasm", f"{name}:1")
    if before is not None:
        Path("out.wasm").touch(before)
        Path("out.wasm").chmod(before)
    umask = os.umask(0o022)
    try:
        done("pull", f"{name}:1", "-o", "out.wasm")
    finally:
        os.umask(umask)
    assert Path("out.wasm").stat().st_mode & 0o777 == after


# fmt: off
FORMATS = [
    # options,                              format told,    layer's media type
    ([],                                    "cncf",         "application/wasm"),
    (["--format", "cncf"],                  "cncf",         "application/wasm"),
    (["--format", "wasm-to-oci"],           "wasm-to-oci",  "application/vnd.wasm.content.layer.v1+wasm"),
    (["--format", "zlayer"],                "cncf",         "application/wasm"),
    (["--manifest-style", "wkg"],           "cncf",         "application/wasm"),
]
# fmt: on


@covers("CW-070", "CW-071", "CW-076", "CW-025", "WO-134", "WO-135", "CW-102", "CW-103")
@pytest.mark.parametrize(("options", "told", "media_type"), FORMATS)
def test_each_format_is_written_read_and_told(name, here, options, told, media_type):
    done("push", "component.wasm", f"{name}:1", *options)
    found = done("inspect", f"{name}:1", "--json", "--download").json
    assert (found["kind"], found["format"]) == ("component", told)
    # The old format does not say what its layer is.
    kind = None if "wasm-to-oci" in options else "component"
    assert done("inspect", f"{name}:1", "--json").json["kind"] == kind
    assert [layer["mediaType"] for layer in found["layers"]] == [media_type]
    done("pull", f"{name}:1", "-o", "again.wasm")
    assert Path("again.wasm").read_bytes() == COMPONENT


@covers("CW-010", "CW-018", "WO-006", "WO-007", "CW-025")
def test_what_a_config_says_comes_from_options(name, here):
    config = {}
    for number, options in enumerate(
        (["--created", "none"], ["--created", "2024-01-02T03:04:05Z", "--target", "a:b/c"], [])
    ):
        done("push", "component.wasm", f"{name}:{number}", *options, variables=EPOCH)
        manifest = done("manifest", "get", f"{name}:{number}").json
        digest = manifest["config"]["digest"]
        config[number] = done("blob", "get", f"{name}@{digest}").json
    assert config[0]["created"] == "1970-01-01T00:00:00Z"
    assert config[1]["created"] == config[2]["created"] == "2024-01-02T03:04:05Z"
    assert config[1]["component"]["target"] == "a:b/c"

    said = ["--format", "wasm-to-oci", "--annotation", "b=2", "--annotation", "a=1"]
    done("push", "app.wasm", f"{name}:t", *said, "--title", "my title")
    manifest = done("manifest", "get", f"{name}:t").json
    assert list(manifest["annotations"].items()) == [("a", "1"), ("b", "2")]
    (layer,) = manifest["layers"]
    assert layer["annotations"] == {"org.opencontainers.image.title": "my title"}
    done("push", "app.wasm", f"{name}:u", *said, "--no-title")
    assert "annotations" not in done("manifest", "get", f"{name}:u").json["layers"][0]


@covers("WO-009")
@pytest.mark.parametrize("format_", ["cncf", "wasm-to-oci", "zlayer"])
def test_what_is_no_wasm_is_refused_before_a_request(here, format_):
    ran = wasmhold("push", "notes.txt", "127.0.0.1:1/a:1", "--format", format_)
    assert ran.status == 1
    assert "notes.txt: not a WebAssembly binary" in ran.err
    Path("broken.wasm").write_text("hello")
    assert wasmhold("push", "broken.wasm", "127.0.0.1:1/a:1").status == 1
    forced = wasmhold("push", "notes.txt", "oci:layout:1", "--format", format_, "--force")
    assert forced.status == 0


def test_files_are_layers_with_titles(name, here):
    Path("sub").mkdir()
    done(
        "push",
        "app.wasm",
        "notes.txt",
        f"{name}:1",
        "--artifact-type",
        "text/x",
        "--media-type",
        "a/b",
    )
    manifest = done("manifest", "get", f"{name}:1").json
    assert manifest["artifactType"] == "text/x"
    assert [layer["mediaType"] for layer in manifest["layers"]] == ["a/b", "a/b"]
    pulled = done("pull", f"{name}:1", "-o", "out/", "--json").json
    assert pulled["files"] == ["out/app.wasm", "out/notes.txt"]
    assert Path("out/notes.txt").read_text() == "hello"


@covers("WO-044")
@pytest.mark.parametrize("title", ["../x", "/x", "a/../../x", "a//b", "", "a\\b", "a\nb", "."])
def test_a_title_never_leads_out_of_the_folder(name, here, title):
    done("blob", "put", name, "notes.txt")
    digest = "sha256:" + hashlib.sha256(b"hello").hexdigest()
    layer = {"mediaType": "a/b", "digest": digest, "size": 5}
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": layer,
        "layers": [layer | {"annotations": {"org.opencontainers.image.title": title}}],
    }
    done("manifest", "put", f"{name}:1", "-", given=json.dumps(manifest).encode())
    before = sorted(Path().rglob("*"))
    ran = wasmhold("pull", f"{name}:1", "-o", "out/")
    assert ran.status == 1
    assert "no name of a file" in ran.err
    assert sorted(Path().rglob("*")) == before


def test_a_link_in_the_folder_is_not_followed(name, here):
    done("push", "notes.txt", f"{name}:1")
    manifest = done("manifest", "get", f"{name}:1").json
    manifest["layers"][0]["annotations"]["org.opencontainers.image.title"] = "sub/notes.txt"
    done("manifest", "put", f"{name}:2", "-", given=json.dumps(manifest).encode())
    Path("elsewhere").mkdir()
    Path("out").mkdir()
    Path("out/sub").symlink_to("../elsewhere")
    ran = wasmhold("pull", f"{name}:2", "-o", "out/")
    assert ran.status == 5
    assert "symbolic link" in ran.err
    assert list(Path("elsewhere").iterdir()) == []
    assert [path.name for path in Path("out").iterdir()] == ["sub"]


@covers("WO-034", "WO-035", "WO-036")
def test_a_reference_says_under_which_name_it_is_pushed(name, here):
    pushed = done("push", "app.wasm", name, variables=EPOCH)
    assert pushed.lines[0] == f"Pushed: {name}@{DIGEST}"
    wrong = "sha256:" + "0" * 64
    for reference in (f"{name}@{wrong}", f"{name}:1@{wrong}"):
        ran = wasmhold("push", "app.wasm", reference, variables=EPOCH)
        assert ran.status == 5
        assert f"names {wrong}, but the content is {DIGEST}" in ran.err
    assert done("tags", name).out == ""
    done("push", "app.wasm", f"{name}:1@{DIGEST}", variables=EPOCH)
    assert done("tags", name).lines == ["1"]


def test_copies_between_places(name, here):
    done("push", "app.wasm", f"{name}:1", variables=EPOCH)
    places = ["oci:layout", "oci-archive:a.tar.gz", "store:store//x/y", f"{name}2"]
    for source, destination in zip([name, *places], places, strict=False):
        ran = done("copy", f"{source}:1", destination)
        assert ran.out == f"Copied: {destination}\nDigest: {DIGEST}\n"
        assert done("resolve", f"{destination}:1").out == f"{DIGEST}\n"
    plan = done("copy", f"{name}:1", "oci:other:x", "--plan", "--json").json
    assert plan["tags"] == {DIGEST: ["x"]}
    assert len(plan["blobs"]) == 2
    assert not Path("other").exists()
    again = done("copy", f"{name}:1", "oci:layout:1", "--json").json
    assert (again["blobs"], again["manifests"], again["moved"]) == (0, 0, 0)
    done("tag", f"{name}:1", "2", "3")
    done("copy", name, "oci:all", "--all-tags")
    assert done("tags", "oci:all").lines == ["1", "2", "3"]


def test_referrers_come_as_a_tree(name, here):
    done("push", "app.wasm", f"{name}:1", variables=EPOCH)
    first = done("attach", "notes.txt", f"{name}:1", "--artifact-type", "text/sbom", "--json").json
    assert first["reference"] == f"{name}@{first['digest']}"
    done("attach", "notes.txt", first["reference"], "--artifact-type", "text/sig")
    tree = done("referrers", f"{name}:1")
    assert [line.strip(" │└─├") for line in tree.lines][1::2] == ["text/sbom", "text/sig"]
    assert done("referrers", f"{name}:1", "--depth", "1", "--json").json[0]["referrers"] == []
    assert done("referrers", f"{name}:1", "--artifact-type", "text/sig").lines == [f"{name}:1"]
    done("copy", f"{name}:1", "oci:layout", "--recursive")
    assert (
        done("referrers", "oci:layout:1", "--json").json
        == done("referrers", f"{name}:1", "--json").json
    )


def test_lists_tags_and_deletes(name, here):
    host, _, path = name.partition("/")
    digest = done("push", "app.wasm", f"{name}:1", "-q").out.strip()
    assert done("tag", f"{name}:1", "2", "3").out == f"{digest}\n"
    assert done("tags", name).lines == ["1", "2", "3"]
    assert path in done("repos", host).lines
    assert path in done("repos", host, "--json").json
    done("delete", f"{name}:2")
    assert done("tags", name, "--json").json == ["1", "3"]
    done("delete", f"{name}@{digest}")
    assert wasmhold("resolve", f"{name}:1").status == 3
    assert wasmhold("delete", f"{name}:1@{digest}").status == 2


def test_blobs_and_manifests_as_they_are(name, here):
    digest = done("blob", "put", name, "app.wasm").out.strip()
    assert digest == LAYER
    assert done("blob", "get", f"{name}@{digest}").content == MODULE
    done("blob", "get", f"{name}@{digest}", "-o", "copy.wasm")
    assert Path("copy.wasm").read_bytes() == MODULE
    done("push", "app.wasm", f"{name}:1")
    content = done("manifest", "get", f"{name}:1").content
    Path("manifest.json").write_bytes(content)
    put = done("manifest", "put", f"{name}:2", "manifest.json", "--json").json
    assert put["digest"] == "sha256:" + hashlib.sha256(content).hexdigest()


@covers("CW-100", "WO-136")
def test_inspect_tells_every_kind(name, here):
    found = done("inspect", "app.wasm", "--json").json
    assert (found["kind"], found["size"], found["digest"]) == ("module", 8, LAYER)
    assert found["tags"] is found["referrers"] is found["format"] is None
    done("push", "notes.txt", f"{name}:1", "--artifact-type", "application/spdx+json")
    found = done("inspect", f"{name}:1", "--json").json
    assert (found["kind"], found["format"], found["tags"]) == ("sbom", None, ["1"])
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [],
    }
    done("manifest", "put", f"{name}:2", "-", given=json.dumps(index).encode())
    assert done("inspect", f"{name}:2", "--json").json["kind"] == "index"
    assert "Kind:          index" in done("inspect", f"{name}:2").lines


# fmt: off
NO_TAG = "no tag and no digest given; did you mean 127.0.0.1:1/a:latest?"
WRONG = [
    # arguments,                                            status, what is said
    (["resolve", "demo:1"],                                 2,  "no registry given"),
    (["resolve", "myimage:1"],                              2,  "no registry given"),
    (["resolve", "http://h.example/a:1"],                   2,  "has no scheme"),
    (["resolve", "127.0.0.1:1/a"],                          2,  NO_TAG),
    (["resolve", "127.0.0.1:1/UPPER:1"],                    2,  "must be lower case"),
    (["resolve", "127.0.0.1:1/a:b:c"],                      2,  "not a tag"),
    (["resolve", "127.0.0.1:1/a@sha256:12"],                2,  "want 64"),
    (["resolve", "127.0.0.1:1/a@md5:12"],                   2,  "unknown digest algorithm"),
    (["resolve", "oci:"],                                   2,  "want oci:PATH"),
    (["resolve", "store:dir"],                              2,  "want store:DIR//NAME"),
    (["resolve", "store:dir//a:1"],                         3,  "there is no repository"),
    (["resolve", "oci:none:1"],                             3,  "no manifest 1"),
    (["tags", "oci:none"],                                  3,  "there is no repository"),
    (["resolve", "127.0.0.1:1/a:1", "--retries", "0"],      1,  "connection refused"),
    (["push", "none.wasm", "127.0.0.1:1/a:1"],              1,  "none.wasm: No such file"),
    (["push", "app.wasm"],                                  2,  "Missing argument"),
    (["push", "app.wasm", "oci:l", "--annotation", "x"],    2,  "is not KEY=VALUE"),
    (["push", "app.wasm", "oci:l", "--annotation", "=x"],   2,  "is not KEY=VALUE"),
    (["push", "app.wasm", "oci:l", "--annotation", "a=1", "--annotation", "a=2"], 2, "given twice"),
    (["push", "app.wasm", "oci:l", "--title", "a", "--no-title"], 2, "do not go together"),
    (["push", "app.wasm", "oci:l", "--created", "now"],     2,  "not a time"),
    (["push", "notes.txt", "oci:l", "--artifact-type", "foo"], 2, "not a media type"),
    (["push", "notes.txt", "oci:l", "--media-type", "a b/c"], 2, "not a media type"),
    (["push", "app.wasm", "notes.txt", "oci:l", "--format", "cncf"], 1, "has one file"),
    (["push", "app.wasm", "app.wasm", "oci:l"],             1,  "two files have one name"),
    (["push", "app.wasm", "oci:l", "--format", "cncf", "--artifact-type", "a/b"], 1, "gives the types"),
    (["pull", "oci:none:1", "-o", "no/folder/a.wasm"],      1,  "there is no folder"),
    (["copy", "oci:none:1", "oci:l"],                       3,  "no manifest 1"),
    (["copy", "oci:none:1", "oci:l", "--platform", "x"],    2,  "want os/architecture"),
    (["copy", "oci:none:1", "oci:l", "--all-tags"],         2,  "want no tag"),
    (["copy", "h.example/a:1", "i.example/a:1", "--username", "u", "--password-stdin"], 2, "which of the two"),
    (["blob", "get", "oci:none:1"],                         2,  "named by its digest"),
    (["repos", "nohost"],                                   2,  "want the host"),
    (["repos", "store:dir//a"],                             2,  "want the host"),
    (["repos", "store:dir"],                                3,  "there is no repository store:dir"),
    (["login", "nohost", "-u", "u"],                        2,  "want the host"),
    (["resolve", "h.example/a:1", "--username", "u"],       2,  "wants --password-stdin"),
    (["resolve", "h.example/a:1", "--password-stdin"],      2,  "wants --username"),
    (["resolve", "h.example/a:1", "--registry", "x"],       2,  "is not the HOST"),
    (["resolve", "h.example/a:1", "--concurrency", "0"],    2,  "no whole number of 1"),
    (["manifest", "put", "oci:l:1", "notes.txt"],           1,  "not JSON"),
    (["frobnicate"],                                        2,  "No such command"),
    (["pul", "h.example/a:1"],                              2,  "Did you mean 'pull'?"),
    (["cache", "inf"],                                      2,  "Did you mean 'info'?"),
    (["completion"],                                        2,  "\n  bash,\n"),
    (["resolve", "a:1"],                                    2,  "--registry HOST is for names without"),
    (["inspect", "none.wasm"],                              2,  "there is no such file"),
    (["wasm", "info", "none.wasm"],                         2,  "there is no such file"),
    (["import", "none.tar", "oci:l"],                       1,  "none.tar: No such file"),
    (["resolve", "oci:none:1", "--cache", "c"],             2,  "--cache: want off"),
    (["resolve", "oci:none:1", "--cache", "./app.wasm"],    1,  "WASMHOLD_CACHE_DIR, names the cache"),
    (["cache", "info", "--cache", "off"],                   2,  "off keeps nothing"),
    (["inspect", "notes.txt"],                              1,  "not a WebAssembly binary"),
    (["pull", "h.invalid/a:1", "--ca-file", "none.pem", "--retries", "0"], 1, "none.pem"),
]
# fmt: on


@pytest.mark.parametrize("group", [(), ("cache",), ("package",)])
def test_a_group_alone_is_told_how_it_is_used(group):
    ran = wasmhold(*group)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("Usage: wasmhold")
    assert "\nhint: " not in ran.err


def test_the_repositories_of_a_folder(here):
    for name in ("demo/b", "demo/a"):
        done("push", "app.wasm", f"store:images//{name}:1")
    assert done("repos", "store:images").lines == ["demo/a", "demo/b"]
    assert done("repos", "store:images", "--json").json == ["demo/a", "demo/b"]


@covers("WO-027", "WO-030", "WO-037", "WO-038", "WO-047", "WO-050")
@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    WRONG,
    ids=lambda a: " ".join(a) if isinstance(a, list) else None,
)
def test_what_is_wrong_is_told_with_a_status_and_a_hint(here, arguments, status, said):
    before = sorted(Path().rglob("*"))
    ran = wasmhold(*arguments, given=b"secret-word")
    assert (ran.status, ran.out) == (status, "")
    assert said in ran.err
    assert ran.err.startswith("error: ")
    assert "\nhint: " in ran.err
    assert "Traceback" not in ran.err
    assert "secret-word" not in ran.err
    assert sorted(Path().rglob("*")) == before


@covers("WO-027", "WO-048")
def test_the_cause_names_the_side_and_the_registrys_words(name, here):
    ran = wasmhold("copy", f"{name}:none", "oci:layout:1")
    assert ran.status == 3
    assert ran.err.startswith("error: reading none failed\ncause: source ")
    with serving("--log", "off", "--no-push") as server:
        ran = wasmhold("push", "app.wasm", f"{server.host}/a:1")
    assert ran.status == 1
    assert f"cause: destination {server.host}/a: " in ran.err
    assert "UNSUPPORTED" in ran.err


def test_with_debug_there_is_a_traceback(here):
    ran = wasmhold("resolve", "oci:none:1", "--debug")
    assert ran.status == 3
    assert "Traceback" in ran.err


def test_a_fault_of_our_own_is_no_traceback(here, monkeypatch):
    monkeypatch.setattr("wasmhold.client.opening.Opener.open", lambda *_, **__: 1 / 0)
    ran = wasmhold("resolve", "oci:none:1")
    assert ran.status == 1
    assert ran.err.startswith("error: a fault of wasmhold itself: ZeroDivisionError")
    assert "--debug" in ran.err
    assert "Traceback" not in ran.err


def test_what_a_killed_pull_has_left_is_removed_by_the_next(here):
    done("push", "app.wasm", "oci:layout:1")
    Path(".wasmhold-0123.part").write_bytes(b"half")
    done("pull", "oci:layout:1", "-o", "out.wasm")
    assert not list(Path().glob(".wasmhold-*"))


def test_what_strangers_wrote_does_not_steer_the_terminal(here):
    def answer(seen):
        if seen.path.endswith("/tags/list"):
            return Says(200, {}, json.dumps({"name": "a", "tags": ["1\x1b[2J"]}).encode())
        if seen.path.endswith("/_catalog"):
            return Says(200, {}, json.dumps({"repositories": ["a\x9b2J"]}).encode())
        error = {"errors": [{"code": "X", "message": "\x1b[2J"}]}
        return Says(400, {}, json.dumps(error).encode())

    with recording(answer) as server:
        for arguments in (
            ["tags", f"{server.host}/a"],
            ["repos", server.host],
            ["resolve", f"{server.host}/a:1"],
        ):
            ran = wasmhold(*arguments)
            assert all(c.isprintable() or c == "\n" for c in ran.out + ran.err)


@covers("WO-037")
def test_a_name_without_a_host_is_in_the_default_registry(name, here):
    host, _, path = name.partition("/")
    done("push", "app.wasm", f"{path}:1", variables={"WASMHOLD_REGISTRY": host})
    assert done("resolve", f"{path}:1", "--registry", host).out == done("resolve", f"{name}:1").out


def test_variables_of_one_command_do_not_disturb_another(here):
    variables = {
        "WASMHOLD_REGISTRY": "h.example",
        "WASMHOLD_PASSWORD": "x",
        "WASMHOLD_RETRIES": "1",
    }
    assert wasmhold("serve", "--print-config", variables=variables).status == 0
    ran = wasmhold("serve", "--print-config", variables={"WASMHOLD_REGISTRX": "h.example"})
    assert "did you mean WASMHOLD_REGISTRY?" in ran.err
    assert wasmhold("tags", "oci:none", variables={"WASMHOLD_LISTEN": "x"}).status == 3


@covers("WO-046", "WO-049", "WO-051", "WO-052")
def test_a_pull_that_fails_changes_nothing(here):
    Path("out.wasm").write_bytes(b"before")
    with serving("--log", "off") as server:
        done("push", "app.wasm", f"{server.host}/a:1")
        manifest = done("manifest", "get", f"{server.host}/a:1").json
    done("push", "app.wasm", "oci:layout:1")
    path = Path("layout/blobs/sha256", LAYER.partition(":")[2])
    for content, said in ((b"\0asm\x02\0\0\0", "the content is"), (MODULE + b"x", "were promised")):
        path.unlink()
        path.write_bytes(content)
        ran = wasmhold("pull", "oci:layout:1", "-o", "out.wasm")
        assert ran.status == 5
        assert said in ran.err
        assert Path("out.wasm").read_bytes() == b"before"
        assert not list(Path().glob(".wasmhold-*"))
    assert manifest["layers"][0]["digest"] == LAYER


def test_ctrl_c_leaves_nothing_half_done(here):
    with serving("--log", "off") as server:
        Path("big.bin").write_bytes(bytes(64 << 20))
        done("push", "big.bin", f"{server.host}/a:1")
        command = [sys.executable, "-m", "wasmhold", "pull", f"{server.host}/a:1", "-o", "out/"]
        os.kill(server.process.pid, 0)
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
        for pid in server.pids():
            os.kill(pid, signal.SIGSTOP)
        try:
            deadline = time.monotonic() + 10
            while (
                not list(Path().glob("out/.wasmhold-*"))
                and time.monotonic() < deadline
                and process.poll() is None
            ):
                for pid in server.pids():
                    os.kill(pid, signal.SIGCONT)
                time.sleep(0.01)
                for pid in server.pids():
                    os.kill(pid, signal.SIGSTOP)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=30)
        finally:
            for pid in server.pids():
                os.kill(pid, signal.SIGCONT)
    assert process.returncode == 130, err
    assert b"Traceback" not in err
    assert list(Path("out").glob("*")) + list(Path("out").glob(".*")) == []


@covers("WO-064", "WO-065")
def test_logins(here):
    from wasmhold.auth.htpasswd import hash_password

    Path("users").write_text("alice:" + hash_password(b"secret-word", 4) + "\n")
    Path("config").mkdir()
    Path("config/config.json").write_text('{"other": [1]}')
    env = {"DOCKER_CONFIG": "config", "PATH": "/nowhere"}
    with serving("--log", "off", "--htpasswd", str(Path("users").absolute())) as server:
        place = f"{server.host}/a:1"
        ran = wasmhold("push", "app.wasm", place, variables=env)
        assert ran.status == 4
        assert "log in with `wasmhold login HOST`" in ran.err
        given = ["--username", "alice", "--password-stdin"]
        assert (
            wasmhold("push", "app.wasm", place, *given, given=b"wrong", variables=env).status == 4
        )
        done("push", "app.wasm", place, *given, given=b"secret-word\n", variables=env)
        by_variable = env | {"WASMHOLD_USERNAME": "alice", "WASMHOLD_PASSWORD": "secret-word"}
        done("resolve", place, variables=by_variable)

        wrong = wasmhold("login", server.host, "-u", "alice", given=b"wrong", variables=env)
        assert wrong.status == 4
        kept = done("login", server.host, "-u", "alice", given=b"secret-word", variables=env)
        assert "secret-word" not in kept.err + kept.out
        document = json.loads(Path("config/config.json").read_text())
        assert document["other"] == [1]
        assert Path("config/config.json").stat().st_mode & 0o777 == 0o600
        done("resolve", place, variables=env)
        done("logout", server.host, variables=env)
        assert wasmhold("resolve", place, variables=env).status == 4
        assert "there was no login" in done("logout", server.host, variables=env).err
        assert done(
            "push", "app.wasm", place, "--debug", *given, given=b"secret-word", variables=env
        )


@covers("WO-022")
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell):
    assert "_WASMHOLD_COMPLETE" in done("completion", shell).out
    command = [sys.executable, "-m", "wasmhold"]
    variables = {
        "_WASMHOLD_COMPLETE": "bash_complete",
        "COMP_WORDS": "wasmhold res",
        "COMP_CWORD": "1",
    }
    told = subprocess.check_output(command, env={**os.environ, **variables}, text=True)
    assert told == "plain,resolve\n"


def test_a_reader_that_has_enough_is_no_error(name, here):
    done("push", "app.wasm", f"{name}:1")
    done("tag", f"{name}:1", *(f"t{n}" for n in range(50)))
    script = f"{sys.executable} -m wasmhold tags {name} | head -n 1"
    ran = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == ("1\n", "")
