"""``wasmhold wasm …``: zlayer's commands, in the words of push and inspect."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.program import done, wasmhold
from tests.wasm import binaries as b
from wasmhold.artifact import extract_wasm_info
from wasmhold.testing import Registry
from wasmhold.testing.covers import covers


@pytest.fixture(autouse=True)
def _files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("app.wasm").write_bytes(b.MODULE)
    Path("component.wasm").write_bytes(b.COMPONENT)
    Path("text.wasm").write_bytes(b"\x7fELF text")


# fmt: off
EXPORTS = [
    # name,                       to,             where it can be read
    ("app",                       None,           "oci:app-oci"),
    ("app:v1",                    None,           "oci:app-oci:v1"),
    ("ghcr.io/org/app:v1",        None,           "oci:app-oci:v1"),
    ("localhost:5000/org/app",    None,           "oci:app-oci"),
    ("app:v1@sha256:abc",         "out/lay",      "oci:out/lay:v1"),
    ("app:v1",                    "a.tar",        "oci-archive:a.tar:v1"),
    ("app:v1",                    "a.tar.gz",     "oci-archive:a.tar.gz:v1"),
    ("app:v1",                    "a.tar.zst",    "oci-archive:a.tar.zst:v1"),
]
# fmt: on


@covers("ZL-655")
@pytest.mark.parametrize(("name", "to", "place"), EXPORTS)
def test_export(name, to, place):
    options = [] if to is None else ["--to", to]
    first = done("wasm", "export", "app.wasm", "--name", name, *options, "--json").json
    at = place if place.endswith(":v1") else f"{place}@{first['digest']}"
    assert first["reference"] == at
    manifest = done("manifest", "get", at).out
    info = extract_wasm_info(manifest)
    assert info is not None
    assert (info.module_name, info.manifest_digest) == ("app.wasm", first["digest"])
    again = done("wasm", "export", "app.wasm", "--name", name, *options, "--json").json
    assert again["digest"] == first["digest"]
    other = done(
        "wasm", "export", "component.wasm", "--name", f"{name.partition('@')[0]}", *options
    )
    assert first["digest"] not in other.out
    assert done("inspect", f"{at.partition('@')[0].removesuffix(':v1')}@{first['digest']}").out


@covers("ZL-652", "ZL-655")
def test_export_writes_a_layout_of_zlayers_form():
    done("wasm", "export", "app.wasm", "--name", "app:v1", "--format", "zlayer", "--to", "lay",
         "--annotation", "k=v")  # fmt: skip
    assert json.loads(Path("lay/oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    (entry,) = json.loads(Path("lay/index.json").read_text())["manifests"]
    assert entry["annotations"] == {"org.opencontainers.image.ref.name": "v1"}
    manifest = json.loads(Path("lay/blobs/sha256", entry["digest"][7:]).read_text())
    assert manifest["artifactType"] == "application/vnd.wasm.module.v1+wasm"
    assert manifest["annotations"] == {"k": "v", "org.opencontainers.image.title": "app"}


@covers("ZL-653")
def test_a_time_is_written_when_it_is_given():
    def created(*options, variables=None):
        made = done("wasm", "export", "app.wasm", "--name", "app", "--json", *options,
                    variables=variables).json  # fmt: skip
        manifest = json.loads(done("manifest", "get", made["reference"]).out)
        digest = manifest["config"]["digest"]
        return json.loads(done("blob", "get", f"oci:app-oci@{digest}").out)["created"]

    assert created() == "1970-01-01T00:00:00Z"
    assert created("--created", "2024-01-02T03:04:05Z") == "2024-01-02T03:04:05Z"
    assert created(variables={"SOURCE_DATE_EPOCH": "1704164645"}) == "2024-01-02T03:04:05Z"


@covers("ZL-650", "ZL-655")
def test_what_cannot_be_exported():
    ran = wasmhold("wasm", "export", "text.wasm", "--name", "app")
    assert (ran.status, "7f 45 4c 46" in ran.err) == (1, True)
    assert not Path("app-oci").exists()
    for name in ("", "org/", ":v1", "app:"):
        assert wasmhold("wasm", "export", "app.wasm", "--name", name).status == 2


# fmt: off
DESCRIBED = [
    ("app.wasm",       "module",     "wasip1",  1,   "wasm32-wasip1"),
    ("component.wasm", "component",  "wasip2",  13,  "wasm32-wasip2"),
]
# fmt: on


@covers("ZL-656")
@pytest.mark.parametrize(("file", "kind", "version", "number", "target"), DESCRIBED)
def test_info_and_validate(file, kind, version, number, target):
    """Of a file, and of the same pushed anywhere."""
    for format_, media_type in (
        ("cncf", "application/wasm"),
        ("wasm-to-oci", "application/vnd.wasm.content.layer.v1+wasm"),
    ):
        place = f"oci:lay:{format_}"
        done("wasm", "push", file, place, "--format", format_)
        facts = done("wasm", "info", place, "--json").json
        assert facts == {
            "reference": place,
            "type": kind,
            "wasiVersion": version,
            "binaryVersion": number,
            "size": 8,
            "mediaType": media_type,
            "targetTriple": target,
        }
        of_file = done("wasm", "info", file, "--json").json
        assert of_file == facts | {"reference": file, "mediaType": "application/wasm"}
        for what in (file, place):
            assert done("wasm", "validate", what).out == f"{what} is a valid {kind}\n"
            assert done("wasm", "validate", what, "--json").json == {
                "reference": what,
                "valid": True,
                "type": kind,
            }
        lines = done("wasm", "info", place).lines
        assert [line.split(":")[0] for line in lines] == [
            "Reference", "Type", "WASI version", "Binary version", "Size", "Media type", "Target",
        ]  # fmt: skip
        for fact in (kind, version, str(number), "8 bytes", media_type, target):
            assert any(line.endswith(f" {fact}") for line in lines)


@covers("ZL-656")
def test_what_is_no_webassembly():
    done("push", "text.wasm", "oci:lay:files", "--format", "files")
    done("push", "text.wasm", "oci:lay:forced", "--force")
    done("push", "app.wasm", "component.wasm", "oci:lay:two", "--media-type", "application/wasm")
    for what, said in (
        ("text.wasm", "starts with 7f 45 4c 46"),
        ("oci:lay:forced", "starts with 7f 45 4c 46"),
        ("oci:lay:files", "it is artifact"),
        ("oci:lay:two", "it is artifact"),
    ):
        for command in ("validate", "info"):
            ran = wasmhold("wasm", command, what)
            assert (ran.status, ran.out) == (1, "")
            assert said in ran.err
    assert wasmhold("wasm", "validate", "oci:lay:none").status == 3


@covers("ZL-656", "ZL-930")
def test_push_is_push(tmp_path):
    with Registry() as registry:
        place = f"{registry.host}/demo/app:1"
        pushed = done("wasm", "push", "app.wasm", place, "--plain-http", "--created", "none")
        assert pushed.out == (
            done("push", "app.wasm", place, "--plain-http", "--created", "none").out
        )
        assert done("wasm", "info", place, "--plain-http", "--json").json["type"] == "module"
