"""``wasmhold wasm-to-oci``: that tool's command lines, its output and its statuses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.program import done, wasmhold
from tests.registries import serving
from tests.wasm.binaries import COMPONENT, MODULE
from wasmhold import __version__
from wasmhold.cli.compat.wasm_to_oci import parse_duration
from wasmhold.testing.covers import covers

# Of tiny.wasm, eight bytes, as wasm-to-oci 0.1.2 pushes it.
MANIFEST = "sha256:991378d850a97babc9643914fb6db5f3fad0156181739b843999eeb444000f97"
LAYER = "sha256:93a44bbb96c751218e4c00d479e4c14358122a389acca16205b1e4d0dc5f9476"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("tiny.wasm").write_bytes(MODULE)
    return tmp_path


def face(*arguments, **how):
    return wasmhold("wasm-to-oci", *arguments, **how)


@covers("WO-010", "WO-024", "WO-025", "WO-026", "WO-040", "WO-042", "WO-130")
def test_push_and_pull_say_what_the_old_tool_says(host, here):
    place = f"{host}/demo/tiny:v1"
    pushed = face("push", "tiny.wasm", place)
    assert pushed.status == 0
    assert pushed.lines == [
        f"Pushed: {place}",
        "Size: 8",
        f"Digest: {MANIFEST}",
        f"Layer: {LAYER}",
    ]
    pulled = face("pull", place)
    assert pulled.lines == [
        f"Pulled: {place}",
        "Size: 8",
        f"Digest: {LAYER}",
        f"Manifest: {MANIFEST}",
    ]
    assert Path("module.wasm").read_bytes() == MODULE
    assert face("push", "tiny.wasm", place, "--quiet").out == f"{MANIFEST}\n"
    told = face("pull", place, "--json").json
    assert told == {
        "reference": place,
        "manifestDigest": MANIFEST,
        "layerDigest": LAYER,
        "size": 8,
        "mediaType": "application/vnd.wasm.content.layer.v1+wasm",
        "artifactKind": "wasm-to-oci",
    }


@covers("WO-012", "WO-023", "WO-046")
@pytest.mark.parametrize(
    "arguments",
    [
        ["pull", "-o", "q.wasm", "PLACE"],
        ["pull", "PLACE", "-oq.wasm"],
        ["pull", "--out=q.wasm", "PLACE"],
        ["pull", "PLACE", "--out", "q.wasm"],
        ["--log", "error", "pull", "PLACE", "-o", "q.wasm"],
        ["-t", "5s", "pull", "-o", "q.wasm", "PLACE", "--timeout", "1m30s"],
    ],
)
def test_flags_stand_anywhere(host, here, arguments):
    place = f"{host}/demo/flags:1"
    assert face("push", "tiny.wasm", place).status == 0
    umask = os.umask(0o022)
    try:
        ran = face(*(place if one == "PLACE" else one for one in arguments))
    finally:
        os.umask(umask)
    assert ran.status == 0, ran.err
    assert Path("q.wasm").stat().st_mode & 0o777 == 0o755


@covers("WO-012")
def test_a_dash_is_standard_output_with_the_module_alone(host, here):
    place = f"{host}/demo/dash:1"
    face("push", "tiny.wasm", place)
    ran = face("pull", place, "-o", "-")
    assert ran.content == MODULE
    assert f"Pulled: {place}" in ran.err
    assert not Path("-").exists()


@covers("WO-042", "CW-101", "CW-102")
@pytest.mark.parametrize("format_", ["cncf", "zlayer", "wasm-to-oci", "files"])
def test_every_format_is_pulled(host, here, format_):
    Path("c.wasm").write_bytes(COMPONENT)
    place = f"{host}/demo/formats:{format_}"
    more = ["--media-type", "application/wasm"] if format_ == "files" else []
    done("push", "c.wasm", place, "--format", format_, *more)
    assert face("pull", place).status == 0
    assert Path("module.wasm").read_bytes() == COMPONENT


@covers("WO-034", "WO-035")
def test_a_push_without_a_tag(host, here):
    place = f"{host}/demo/untagged"
    assert face("push", "tiny.wasm", place).lines[0] == f"Pushed: {place}@{MANIFEST}"
    assert done("tags", place).out == ""
    assert face("push", "tiny.wasm", place, "--default-tag").lines[0] == f"Pushed: {place}:latest"
    assert face("push", "tiny.wasm", f"{place}@sha256:{'0' * 64}").status == 1


# fmt: off
WRONG = [
    # arguments,                                        what is said
    (["push", "tiny.wasm"],                             "Missing argument"),
    (["push", "tiny.wasm", "h.example/a:1", "more"],    "unexpected extra argument"),
    (["pull"],                                          "Missing argument"),
    (["pull", "h.example/a:1", "more"],                 "unexpected extra argument"),
    (["bogus"],                                         "No such command 'bogus'"),
    (["--bogus"],                                       "No such option"),
    (["--log", "bogus", "pull", "h.example/a:1"],       'unknown log level: "bogus"'),
    (["pull", "h.example/a:1", "--log", "bogus"],       'unknown log level: "bogus"'),
    (["pull", "h.example/a:1", "-t", "soon"],           "'soon' is no time"),
    (["push", "tiny.wasm", "h.example/a:1", "--sign"],  "nothing was pushed"),
    (["pull", "h.example/a:1", "--sign"],               "nothing was pulled"),
    (["push", "none.wasm", "h.example/a:1"],            "none.wasm: No such file"),
    (["push", "tiny.wasm", "myimage:1"],                "no registry given"),
    (["push", "tiny.wasm", "h.example/UPPER:1"],        "must be lower case"),
    (["pull", "h.example/a"],                           "did you mean h.example/a:latest?"),
    (["pull", "h.example/a@sha256:12"],                 "want 64"),
    (["pull", "h.example/a:1", "-o", "no/a.wasm"],      "there is no folder"),
]
# fmt: on


@covers("WO-010", "WO-011", "WO-013", "WO-017", "WO-022", "WO-027", "WO-047", "WO-050")
@pytest.mark.parametrize(
    ("arguments", "said"), WRONG, ids=lambda a: " ".join(a) if isinstance(a, list) else None
)
def test_what_is_wrong_ends_with_1(here, arguments, said):
    ran = face(*arguments)
    assert (ran.status, ran.out) == (1, "")
    assert said in ran.err
    assert "\nhint: " in ran.err
    assert [path.name for path in Path().iterdir()] == ["tiny.wasm"]


@covers("WO-027", "WO-045", "WO-048")
def test_what_is_not_there_or_no_wasm_ends_with_1(host, here):
    assert face("pull", f"{host}/demo/none:1").status == 1
    Path("notes.txt").write_text("hello")
    done("push", "notes.txt", f"{host}/demo/notes:1")
    ran = face("pull", f"{host}/demo/notes:1")
    assert ran.status == 1
    assert f"{host}/demo/notes:1 is not a WebAssembly artifact: found config" in ran.err
    assert wasmhold("pull", f"{host}/demo/notes:1", "-o", "x.wasm").status == 1
    refused = face("push", "notes.txt", f"{host}/demo/x:1")
    assert refused.status == 1
    assert "only 5 bytes: 68 65 6c 6c" in refused.err
    assert face("push", "notes.txt", f"{host}/demo/x:1", "--force").status == 0


@covers("WO-014", "WO-016", "WO-019")
@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--server", "https://notary.example"], "trust servers of Notary v1 are not supported"),
        (["-d", "folder"], "there are no trust folders"),
        (["--dir", "folder"], "there are no trust folders"),
        (["--insecure"], "certificates are not checked"),
    ],
)
@pytest.mark.parametrize("is_before", [True, False])
def test_what_is_ignored_is_told_once(host, here, flags, said, is_before):
    command = ["push", "tiny.wasm", f"{host}/demo/ignored:1"]
    ran = face(*(flags + command if is_before else command + flags))
    assert ran.status == 0, ran.err
    assert ran.err.count(said) == 1
    assert ran.out.startswith("Pushed: ")


@covers("WO-017")
def test_a_level_hides_what_is_told(host, here):
    command = ["push", "tiny.wasm", f"{host}/demo/levels:1", "--server", "x"]
    assert face(*command, "--log", "error").err == ""
    assert "warning: " in face(*command, "--log", "debug").err


@covers("WO-018")
def test_times():
    told = {"5s": 5, "1m30s": 90, "5": 5, "0": 0, "1.5h": 5400, "250ms": 0.25, "2h1m": 7260}
    assert {text: parse_duration(text) for text in told} == told
    for text in ("", "s", "5 s", "-1s", "1d", "five"):
        with pytest.raises(ValueError, match="is no time"):
            parse_duration(text)


@covers("WO-022")
def test_help_and_version(here):
    assert face().out == face("--help").out == face("help").out
    assert face("help", "push").out == face("push", "--help").out
    assert face("help", "bogus").status == 1
    assert "wasm-to-oci" in face("--version").out
    assert "complete" in face("completion", "bash").out


@covers("WO-020", "WO-021", "WO-032", "WO-033")
def test_pushing_twice_sends_no_body_and_no_ping(here):
    with serving("--log", "text") as server:
        place = f"{server.host}/demo/twice:1"
        for _ in range(2):
            assert face("push", "tiny.wasm", place, "--use-http").status == 0
        server.stop()
        log = server.log.read_text()
    assert 'GET "/v2/" ' not in log
    assert log.count('PUT "/v2/demo/twice/blobs/uploads/') == 2
    assert log.count('PUT "/v2/demo/twice/manifests/') == 1
    assert log.count('HEAD "/v2/demo/twice/') >= 4


@covers("WO-030", "WO-031")
def test_a_large_file_goes_in_chunks_and_asks_first(here):
    with Path("large.wasm").open("wb") as file:
        file.write(MODULE + b"\0\xfe\xff\xff\x1f\x01x")  # a custom section of 64 MiB
        file.truncate(len(MODULE) + 5 + (64 << 20) - 2)
    with serving("--log", "text", "--verbosity", "trace") as server:
        assert face("push", "large.wasm", f"{server.host}/demo/large:1").status == 0
        server.stop()
        log = server.log.read_text()
    assert log.count(" upload-chunk 202 ") == 2
    first = log.index("/v2/demo/large/blobs/sha256")
    assert (
        first
        < log.index("/v2/demo/large/blobs/uploads/")
        < log.index('PUT "/v2/demo/large/manifests')
    )
    assert f"wasmhold/{__version__}" in log


@covers("WO-004b")
def test_the_documents_say_that_its_types_are_unofficial():
    docs = Path(__file__).parents[2] / "docs"
    for page in ("client.md", "artifacts.md"):
        assert "media types are unofficial" in " ".join((docs / page).read_text().split())


@covers("CW-080", "WO-046")
def test_the_program_itself(host, here):
    command = [sys.executable, "-m", "wasmhold", "wasm-to-oci"]
    place = f"{host}/demo/program:1"
    subprocess.run([*command, "push", "tiny.wasm", place], check=True, capture_output=True)
    ran = subprocess.run([*command, "pull", place], check=True, capture_output=True, text=True)
    assert ran.stdout.splitlines()[0] == f"Pulled: {place}"
    assert os.access("module.wasm", os.X_OK)
