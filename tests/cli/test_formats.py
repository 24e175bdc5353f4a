"""What `push` writes in each format, and what `convert` makes of what is pushed."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from tests.artifact.manifests import TITLE
from tests.cli.program import done, wasmhold
from tests.registries import serving
from tests.wasm.binaries import COMPONENT, MODULE
from wasmhold.oci.digest import Digest
from wasmhold.testing.covers import covers

FORMATS = ("cncf", "wasm-to-oci", "zlayer", "compat", "image", "solo", "runwasi")
TIME = ("--created", "2024-01-02T03:04:05Z")
VARIANT = "module.wasm.image/variant"
BASE = "org.opencontainers.image.base"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("app.wasm").write_bytes(MODULE)
    Path("component.wasm").write_bytes(COMPONENT)
    return tmp_path


def manifest(place):
    """The manifest of a place, or of the one child of its index."""
    found = done("manifest", "get", place).json
    if "manifests" in found:
        (child,) = found["manifests"]
        found = done("manifest", "get", f"{place.rpartition(':')[0]}@{child['digest']}").json
    return found


def blob(place, descriptor):
    return done("blob", "get", f"{place.rpartition(':')[0]}@{descriptor['digest']}").content


@covers("CW-072", "CW-073", "CW-074", "CW-075", "CW-105")
@pytest.mark.parametrize("file", ["app.wasm", "component.wasm"])
@pytest.mark.parametrize("name", FORMATS)
def test_what_is_pushed_in_a_format_is_pulled_again(name, file):
    pushed = done("push", file, "oci:layout:1", "--format", name, *TIME, "--json").json
    again = done("push", file, "oci:other:1", "--format", name, *TIME, "-q")
    assert again.out == f"{pushed['digest']}\n"
    done("pull", "oci:layout:1", "-o", "again.wasm")
    assert Path("again.wasm").read_bytes() == Path(file).read_bytes()
    child = ("--platform", "wasip1/wasm") if name == "image" else ()
    told = done("inspect", "oci:layout:1", *child, "--json").json
    assert told["format"] == {"zlayer": "cncf"}.get(name, name)
    if name in ("compat", "image", "runwasi"):
        assert (told["kind"], told["platform"]) == ("image", "wasip1/wasm")


@covers("CW-072", "CW-104", "WO-132")
def test_a_compat_image_is_what_istio_unpacks():
    """By the steps of its `extractOCIStandardImage`: the last layer, gzip, `plugin.wasm`."""
    done("push", "app.wasm", "oci:layout:1", "--format", "compat", "--annotation", "a=b")
    found = manifest("oci:layout:1")
    assert found["annotations"] == {"a": "b", VARIANT: "compat"}
    assert found["config"]["mediaType"] == "application/vnd.oci.image.config.v1+json"
    (layer,) = found["layers"]
    assert layer["mediaType"] == "application/vnd.oci.image.layer.v1.tar+gzip"
    tar = gzip.decompress(blob("oci:layout:1", layer))
    assert tar.startswith(b"plugin.wasm\0")
    assert tar[512:520] == MODULE
    config = json.loads(blob("oci:layout:1", found["config"]))
    assert config["rootfs"] == {"type": "layers", "diff_ids": [str(Digest.of(tar))]}


# fmt: off
NAMES = [
    # format,    options,                   program that runs
    ("image",    (),                        "/app.wasm"),
    ("image",    ("--title", "run.wasm"),   "/run.wasm"),
    ("image",    ("--title", "bin/run"),    "/bin/run.wasm"),
    ("runwasi",  (),                        "app.wasm"),
    ("runwasi",  ("--title", "run"),        "run.wasm"),
    ("compat",   ("--title", "run"),        "/plugin.wasm"),
]
# fmt: on


@covers("CW-073", "CW-075", "CW-107")
@pytest.mark.parametrize(("name", "options", "entry"), NAMES)
def test_an_image_runs_its_program(name, options, entry):
    done("push", "app.wasm", "oci:layout:1", "--format", name, *options, *TIME, "--author", "me")
    config = json.loads(blob("oci:layout:1", manifest("oci:layout:1")["config"]))
    assert config["config"]["Entrypoint"] == [entry]
    assert (config["created"], config["author"]) == ("2024-01-02T03:04:05Z", "me")
    assert (config["architecture"], config["os"]) == ("wasm", "wasip1")


@covers("CW-074", "WO-132")
def test_solos_runtime_comes_from_options():
    options = ("--abi", "v0.2.1", "--abi", "v0.1.0", "--root-id", "my_root")
    done("push", "app.wasm", "oci:layout:1", "--format", "solo", *options)
    runtime, module = manifest("oci:layout:1")["layers"]
    assert json.loads(blob("oci:layout:1", runtime)) == {
        "type": "envoy_proxy",
        "abiVersions": ["v0.2.1", "v0.1.0"],
        "config": {"root_ids": ["my_root"]},
    }
    assert module["annotations"] == {TITLE: "app.wasm"}
    assert blob("oci:layout:1", module) == MODULE


# fmt: off
REFUSED = [
    # options,                                                  status, what is said
    (("--format", "image", "--title", "../up"),                 1, "is no name of a file"),
    (("--format", "runwasi", "--title", "/etc/x"),              1, "is no name of a file"),
    (("--format", "compat", "--abi", "v1"),                     1, "of the format solo alone"),
    (("--root-id", "x"),                                        1, "of the format solo alone"),
    (("--format", "compat", "--created", "today"),              2, "not a time"),
    (("--format", "compat", "--media-type", "a/b"),             1, "takes no artifact type"),
    (("--format", "spin"),                                      2, "is not one of"),
    (("--format", "provider-archive"),                          2, "is not one of"),
    (("--format", "higress"),                                   2, "is not one of"),
]
# fmt: on


@covers("CW-077")
@pytest.mark.parametrize(("options", "status", "said"), REFUSED)
def test_what_a_format_does_not_take(options, status, said):
    ran = wasmhold("push", "app.wasm", "oci:layout:1", *options)
    assert ran.status == status
    assert said in ran.err
    assert not Path("layout").exists()


@covers("CW-110")
@pytest.mark.parametrize(("size", "is_told"), [(0, True), (1, True), (2, False)])
def test_a_very_small_blob_is_pushed_with_a_warning(size, is_told):
    Path("small").write_bytes(b"x" * size)
    ran = done("push", "small", "app.wasm", "oci:layout:1")
    said = "small has fewer than 2 bytes: some registries refuse such blobs"
    assert (said in ran.err) is is_told
    assert manifest("oci:layout:1")["config"]["size"] == 2


@covers("WO-131")
@pytest.mark.parametrize("answer", ["403:9", "415:9", "400:9", "405:9"])
@pytest.mark.parametrize("name", ["cncf", "wasm-to-oci", "runwasi"])
def test_a_registry_that_knows_no_such_types(name, answer):
    with serving("--log", "off", faults=[f"manifest-put {answer}"]) as server:
        ran = wasmhold("push", "app.wasm", f"{server.host}/a:1", "--format", name)
        assert ran.status == 1
        assert ("not allowed" if answer == "403:9" else f"answered {answer[:3]}") in ran.err
        assert "hint: it may take no such media types: `push --format compat`" in ran.err
        if name == "cncf":
            ran = wasmhold("push", "app.wasm", f"{server.host}/a:1", "--format", "compat")
            assert ran.status in (1, 4)
            assert "no such media types" not in ran.err


@covers("CW-078", "CW-101", "WO-132")
@pytest.mark.parametrize("start", FORMATS)
@pytest.mark.parametrize("end", FORMATS)
def test_a_conversion_keeps_bytes_and_annotations(start, end):
    done("push", "app.wasm", "oci:layout:1", "--format", start, "--annotation", "a=b", *TIME)
    root = done("resolve", "oci:layout:1").out.strip()
    told = done("convert", "oci:layout:1", "oci:other", "--to", end, *TIME, "--json").json
    assert told["reference"] == "oci:other:1"
    done("pull", "oci:other:1", "-o", "again.wasm")
    assert Path("again.wasm").read_bytes() == MODULE
    found = manifest("oci:other:1")
    assert found["annotations"]["a"] == "b"
    assert found["annotations"][f"{BASE}.digest"] == root
    assert f"{BASE}.name" not in found["annotations"]  # it would tell the names of folders
    assert (VARIANT in found["annotations"]) is (end == "compat")
    straight = done("push", "app.wasm", "oci:third:1", "--format", end, *TIME, "--json").json
    digests = [[layer["digest"] for layer in one["layers"]] for one in (told, straight)]
    if end != "image":  # whose layer has the program's name
        assert digests[0] == digests[1]


@covers("CW-078")
def test_a_conversion_names_its_base_and_takes_the_options_of_a_push(host):
    done("push", "app.wasm", f"{host}/c/app:1", "--annotation", "a=b", "--title", "app.wasm")
    root = done("resolve", f"{host}/c/app:1").out.strip()
    options = ("--annotation", "a=c", "--annotation", "d=e")
    done("convert", f"{host}/c/app:1", f"{host}/c/app:image", "--to", "image", *options)
    found = manifest(f"{host}/c/app:image")
    assert found["annotations"] == {
        "a": "c",
        "d": "e",
        f"{BASE}.digest": root,
        f"{BASE}.name": f"{host}/c/app:1",
    }
    config = json.loads(blob(f"{host}/c/app:image", found["config"]))
    assert config["config"]["Entrypoint"] == ["/app.wasm"]
    done("convert", f"{host}/c/app@{root}", f"{host}/c/app:runwasi", "--to", "runwasi")
    found = manifest(f"{host}/c/app:runwasi")
    assert found["annotations"][f"{BASE}.name"] == f"{host}/c/app"


@covers("CW-101", "WO-132")
def test_where_a_format_is_demanded_the_error_names_the_command_that_writes_it():
    by_hand = ("--format", "files", "--media-type", "application/wasm")
    done("push", "app.wasm", "oci:layout:1", *by_hand)
    ran = wasmhold("inspect", "oci:layout:1", "--expect", "cncf")
    assert ran.status == 1
    assert "Format:        generic" in ran.lines
    assert "oci:layout:1 is not in the format cncf: it is generic" in ran.err
    assert "`wasmhold convert oci:layout:1 DESTINATION --to cncf`" in ran.err
    done("convert", "oci:layout:1", "oci:layout:2", "--to", "cncf")
    done("inspect", "oci:layout:2", "--expect", "cncf")
    done("convert", "oci:layout:1", "oci:layout:3", "--to", "image")
    done("inspect", "oci:layout:3", "--expect", "image")
    Path("notes.txt").write_text("hi")
    done("push", "notes.txt", "oci:layout:4")
    ran = wasmhold("inspect", "oci:layout:4", "--expect", "compat")
    assert ran.status == 1
    assert "is not in the format compat: it is artifact" in ran.err


def test_a_conversion_that_cannot_be():
    Path("notes.txt").write_text("hi")
    done("push", "notes.txt", "oci:layout:1")
    ran = wasmhold("convert", "oci:layout:1", "oci:other:1", "--to", "compat")
    assert ran.status == 1
    assert "is not a WebAssembly artifact" in ran.err
    assert not Path("other").exists()
    assert wasmhold("convert", "oci:layout:1", "oci:other:1", "--to", "files").status == 2
    two = ("convert", "a.example/a:1", "b.example/b:1", "--to", "cncf", "--username", "me")
    ran = wasmhold(*two, "--password-stdin", given=b"secret")
    assert ran.status == 2
    assert "to which of the two registries?" in ran.err
