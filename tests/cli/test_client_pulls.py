"""What a pull gives of artifacts that others wrote; what it refuses."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest

from tests.artifact.manifests import (
    CNCF,
    EMPTY,
    IMAGE,
    MODULE_WASM,
    OLD_WASM,
    TAR_GZIP,
    TITLE,
    UNKNOWN,
    WASM,
)
from tests.certificates import Authority
from tests.cli.program import done, wasmhold
from tests.registries import serving
from tests.wasm.binaries import COMPONENT, MODULE, WIT
from wasmhold.oci.digest import Digest
from wasmhold.testing.covers import covers

PLACE = "oci:layout:1"
TAR = TAR_GZIP.removesuffix("+gzip")
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def blob(media_type, content, title=None):
    Path("blob").write_bytes(content)
    done("blob", "put", "oci:layout", "blob")
    Path("blob").unlink()
    described = {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content)}
    return described | ({"annotations": {TITLE: title}} if title is not None else {})


def artifact(config, *layers, place=PLACE, **more):
    """An artifact of ``(media type, content[, title])``; its descriptor."""
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": blob(*config),
        "layers": [blob(*layer) for layer in layers],
        **more,
    }
    return put(document, place)


def put(document, place=PLACE):
    content = json.dumps(document).encode()
    done("manifest", "put", place, "-", given=content)
    media_type = document["mediaType"]
    return {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content)}


def index(*children):
    """Of ``(descriptor, platform)``."""
    entries = []
    for child, platform in children:
        system, _, architecture = (platform or "").partition("/")
        more = {"platform": {"os": system, "architecture": architecture}} if platform else {}
        entries.append(child | more)
    return put({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})


def tar(*members):
    """Of ``(name, content)``; what is no bytes is a link to there."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            else:
                info.type, info.linkname = tarfile.SYMTYPE, content
                archive.addfile(info)
    return out.getvalue()


def pulled(*options):
    done("pull", PLACE, "-o", "out.wasm", *options)
    return Path("out.wasm").read_bytes()


def refused(*options):
    before = sorted(Path().rglob("*"))
    ran = wasmhold("pull", PLACE, "-o", "out.wasm", *options)
    assert sorted(Path().rglob("*")) == before
    return ran


RUN = json.dumps({"os": "wasi", "architecture": "wasm", "config": {"Entrypoint": ["/b.wasm"]}})
# fmt: off
LAYERS = [
    # layer's type, its content,                                        file
    (TAR,           tar(("a/plugin.wasm", MODULE), ("b.wasm", b"x")),   MODULE),
    (TAR_GZIP,      gzip.compress(tar(("plugin.wasm", MODULE))),        MODULE),
    (TAR_GZIP,      tar(("plugin.wasm", MODULE)),                       MODULE),
    (TAR,           tar(("a.wasm", b"x"), ("b.wasm", MODULE)),          MODULE),
    (TAR,           tar(("./only.wasm", COMPONENT), ("README", b"x")),  COMPONENT),
]
HOSTILE = [
    # layer's content,                                                  what is said
    (b"no archive",                                                     "cannot be unpacked"),
    (gzip.compress(b"x" * 600)[:-20],                                   "cannot be unpacked"),
    (tar(("README", b"x")),                                             "has no Wasm file"),
    (tar(("a.wasm", MODULE), ("c.wasm", MODULE)),                       "has several Wasm files"),
    (tar(("only.wasm", "/etc/passwd")),                                 "has no Wasm file"),
    (gzip.compress(tar(*((f"{n}", b"") for n in range(10_001)))),       "more than 10000 entries"),
    (gzip.compress(tar(("a", bytes((256 << 20) + 1)))),                 "unpacks to more than"),
]
# fmt: on


@covers("CW-083")
@pytest.mark.parametrize(("media_type", "content", "file"), LAYERS, ids=range(len(LAYERS)))
def test_an_image_gives_its_program(media_type, content, file):
    artifact((IMAGE, RUN.encode()), (media_type, content))
    assert pulled() == file


@covers("CW-083")
@pytest.mark.parametrize(
    ("content", "said"), HOSTILE, ids=lambda v: v if isinstance(v, str) else ""
)
def test_an_image_that_is_none_or_hostile_gives_nothing(content, said):
    artifact((IMAGE, RUN.encode()), (TAR_GZIP, content))
    ran = refused()
    assert ran.status == 1
    assert said in ran.err


@covers("CW-082")
def test_a_provider_archive_is_written_as_it_is():
    provider = "application/vnd.wasmcloud.provider.archive.config"
    layer = "application/vnd.wasmcloud.provider.archive.layer.v1+par"
    artifact((provider, b"{}"), (layer, b"archive"))
    ran = done("pull", PLACE, "-o", "out.par")
    assert "no WebAssembly" in ran.err
    assert Path("out.par").read_bytes() == b"archive"


@covers("CW-084")
def test_a_wit_package_is_a_file():
    Path("wit.wasm").write_bytes(WIT)
    done("push", "wit.wasm", PLACE)
    assert pulled() == WIT
    assert done("inspect", PLACE, "--json", "--download").json["kind"] == "wit-package"


def test_without_titles_a_folder_gets_the_program():
    place = f"store:{Path.cwd()}/store//demo/app"
    Path("app.wasm").write_bytes(COMPONENT)
    done("push", "app.wasm", f"{place}:1.0")
    assert "wrote into/app.wasm" in done("pull", "-o", "into/", f"{place}:1.0").err
    assert Path("into/app.wasm").read_bytes() == COMPONENT

    artifact((UNKNOWN, b"{}"), ("text/plain", b"notes"))
    ran = wasmhold("pull", "-o", "nothing/", PLACE)
    assert ran.status == 1
    assert "is not a WebAssembly artifact" in ran.err
    assert not Path("nothing").exists()


@covers("CW-004")
def test_side_layers_of_a_cncf_artifact_are_left_out_when_that_is_allowed():
    side = "application/vnd.wassette.policy+yaml"
    artifact((CNCF, b"{}"), (WASM, MODULE), (side, b"policy"))
    ran = refused()
    assert ran.status == 1
    assert "--allow-extra-layers" in ran.err
    assert pulled("--allow-extra-layers") == MODULE
    artifact((CNCF, b"{}"), (WASM, MODULE), (WASM, COMPONENT))
    assert "a CNCF artifact has one" in refused("--allow-extra-layers", "--layer", "0").err


@covers("WO-043")
def test_of_several_wasm_layers_one_is_chosen():
    artifact((UNKNOWN, b"{}"), (OLD_WASM, MODULE, "one"), (OLD_WASM, COMPONENT, "two"))
    artifact((EMPTY, b"{}"), (MODULE_WASM, MODULE), place="oci:layout:other")
    config = ("application/vnd.wasm.config.v1+json", b"{}")
    artifact(config, (OLD_WASM, MODULE, "one"), (OLD_WASM, COMPONENT, "two"))
    ran = refused()
    assert ran.status == 1
    assert "choose with --layer N or --title NAME" in ran.err
    assert pulled("--layer", "0") == MODULE
    assert pulled("--title", "two") == COMPONENT
    assert "no layer 2" in refused("--layer", "2").err
    assert wasmhold("wasm-to-oci", "pull", PLACE, "--layer", "1").status == 0
    assert Path("module.wasm").read_bytes() == COMPONENT


@covers("WO-041")
def test_of_an_index_the_wasm_child_is_taken():
    old = artifact((CNCF, b"{}"), (WASM, MODULE), place="oci:layout:a")
    new = artifact((CNCF, b"{}"), (WASM, COMPONENT), place="oci:layout:b")
    text = artifact((UNKNOWN, b"{}"), ("text/plain", b"hi"), place="oci:layout:c")
    index((old, "wasip1/wasm"), (new, "wasip2/wasm"), (text, "linux/amd64"))
    assert pulled() == COMPONENT
    assert pulled("--platform", "wasip1/wasm") == MODULE
    ran = refused("--platform", "linux/arm64")
    assert ran.status == 3
    assert "for linux/arm64; it has linux/amd64, wasip1/wasm, wasip2/wasm" in ran.err
    index((old, "wasip1/wasm"), (new, "wasip1/wasm"))
    assert "several children of wasip1/wasm" in refused("--platform", "wasip1/wasm").err
    index((old, None), (text, None))
    assert pulled() == MODULE
    index((old, None), (new, None))
    ran = refused()
    assert ran.status == 1
    assert old["digest"] in ran.err
    assert new["digest"] in ran.err


@covers("WO-045", "CW-101")
def test_what_is_no_wasm_says_what_it_is():
    artifact((UNKNOWN, b"{}"), ("text/plain", b"hi", "notes.txt"))
    ran = refused()
    assert ran.status == 1
    assert (
        f"{PLACE} is not a WebAssembly artifact: found config {UNKNOWN}, layers text/plain"
        in ran.err
    )


@covers("WO-015", "WO-019")
def test_an_authority_of_the_users_own(tmp_path):
    certificate, key = Authority(tmp_path).files()
    Path("app.wasm").write_bytes(MODULE)
    tls = ("--tls-cert", str(certificate), "--tls-key", str(key))
    authority = str(tmp_path / "ca.crt")
    with serving("--log", "off", *tls) as server:
        place = f"{server.host}/demo/app:1"
        ran = wasmhold("push", "app.wasm", place, "--retries", "0")
        assert ran.status == 1
        assert "certificate" in ran.err
        done("push", "app.wasm", place, "--ca-file", authority)
        done("wasm-to-oci", "pull", place, "--tlscacert", authority)
        done("wasm-to-oci", "--tlscacert", authority, "pull", place)
        done("resolve", place, "--insecure")


@covers("WO-039")
@pytest.mark.parametrize(("answer", "status"), [("503:3", 0), ("429:3", 0), ("503:9", 1)])
def test_what_may_heal_is_tried_again(answer, status):
    Path("app.wasm").write_bytes(MODULE)
    with serving("--log", "off", faults=[f"manifest-put {answer}"]) as server:
        ran = wasmhold("push", "app.wasm", f"{server.host}/demo/app:1")
        assert ran.status == status, ran.err
        assert wasmhold("resolve", f"{server.host}/demo/app:1").status == (3 if status else 0)
