"""``wasmhold export`` and ``import``: what they print, write, and end with."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from tests.cli.program import done, wasmhold
from tests.client.docker_archives import as_old_docker, layer, packed
from tests.client.recording import Says, recording
from tests.wasm.binaries import MODULE
from wasmhold.testing.covers import covers

APP = "store:images//demo/app:1.0"


@pytest.fixture
def digest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("app.wasm").write_bytes(MODULE)
    return done("push", "app.wasm", APP, "-q", "--created", "none").out.strip()


@covers("ZL-750", "ZL-760")
def test_out_and_in_again(digest):
    ran = done("export", APP, "app.tar.gz")
    size = Path("app.tar.gz").stat().st_size
    assert ran.out == f"Exported: app.tar.gz\nSize: {size}\nDigest: {digest}\n"
    assert done("export", APP, "app.tar.gz", "-q").out == f"{digest}\n"
    ran = done("import", "app.tar.gz", "store:others")
    assert ran.out == f"Imported: docker.io/demo/app:1.0\nDigest: {digest}\n"
    assert done("resolve", "store:others//demo/app:1.0").out == f"{digest}\n"
    assert done("import", "app.tar.gz", "store:others", "-q").out == f"{digest}\n"


def test_as_json(digest):
    told = done("export", APP, "app.tar", "--json").json
    assert told["root"]["digest"] == digest
    assert (told["path"], told["layers"], told["skipped"]) == ("app.tar", 1, [])
    assert told["size"] == Path("app.tar").stat().st_size
    assert done("import", "app.tar", "oci:layout", "--json").json == [
        {
            "digest": digest,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "name": "oci:layout",
            "tags": ["1.0"],
            "layers": 1,
        }
    ]


@covers("ZL-208")
def test_from_a_url_that_the_user_has_written(digest):
    """Of this machine or a private network, as anywhere; over plain HTTP elsewhere if told so."""
    done("export", APP, "app.tar")
    content = Path("app.tar").read_bytes()
    with recording(lambda seen: Says(200, {}, content)) as server:
        done("import", f"{server.url}/app.tar", "store:others")
        assert done("resolve", "store:others//demo/app:1.0").out == f"{digest}\n"
        ran = wasmhold("import", "http://example.invalid/app.tar", "store:others")
        assert ran.status == 1
        assert "is not over https" in ran.err
        assert server.lines() == ["GET /app.tar"]


def test_by_way_of_a_pipe(digest):
    done("export", APP, "app.tar")
    ran = done("export", APP, "-")
    assert ran.content == Path("app.tar").read_bytes()
    done("import", "-", "store:others", "--name", "other:2", given=ran.content)
    assert done("tags", "store:others//other").out == "2\n"


def test_dockers_archives(digest):
    done("export", APP, "app.tar", "--format", "docker")
    with tarfile.open("app.tar") as archive:
        (one,) = json.load(archive.extractfile("manifest.json"))
    assert one["RepoTags"] == ["demo/app:1.0"]
    Path("old.tar").write_bytes(packed(as_old_docker([layer("x")], ["a:1", "b:2"])))
    assert done("import", "old.tar", "store:old").out.startswith("Imported: a:1\nDigest: ")
    assert done("tags", "store:old//b").out == "2\n"
    assert done("copy", "docker-archive:old.tar", "oci:layout", "-q").out
    assert done("tags", "docker-archive:old.tar:b").out == "2\n"
    done("copy", APP, "docker-archive:both.tar")
    done("copy", "docker-archive:old.tar:a:1", "docker-archive:both.tar")
    ran = wasmhold("resolve", "docker-archive:both.tar")
    assert (ran.status, "a:1, demo/app:1.0" in ran.err) == (3, True)


def test_a_docker_archive_of_one_image_needs_no_name(digest):
    Path("old.tar").write_bytes(packed(as_old_docker([layer("x")], ["a:1", "b:2"])))
    done("unpack", "docker-archive:old.tar", "tree")
    assert [*Path("tree").iterdir()]
    done("copy", APP, "docker-archive:app.tar")
    told = done("inspect", "docker-archive:app.tar", "--json").json["reference"]
    assert told == f"docker-archive:app.tar@{digest}"
    assert done("resolve", told).out == f"{digest}\n"
    done("convert", "docker-archive:app.tar", "oci:layout", "--to", "compat")
    assert done("tags", "oci:layout").out == "1.0\n"


# fmt: off
WRONG = [
    # arguments,                                             status, what is said
    (["export", "store:images//demo/app:2", "x.tar"],        3, "no manifest 2"),
    (["export", "store:images//demo/app", "x.tar"],          2, "no tag and no digest"),
    (["export", "demo/app:1.0", "x.tar"],                    2, "no registry given"),
    (["export", APP, "nowhere/", "--format", "docker"],      1, "is a folder"),
    (["export", APP, "x.tar", "--platform", "x"],            2, "want os/architecture"),
    (["import", "absent.tar", "store:others"],               1, "absent.tar"),
    (["import", "app.wasm", "store:others"],                 5, "is no archive that can be read"),
    (["import", "app.tar", "others"],                        2, "no registry given"),
    (["import", "app.tar", "store:others", "--name", "X"],   2, "lower case"),
    (["import", "app.tar", "store:others", "--select", "2"], 3, "no manifest 2"),
    (["import", "app.tar", "store:others", "--max-size", "1"],      1, "more than 1 bytes"),
    (["import", "app.tar", "store:others", "--max-size", "x"],      2, "no size"),
    (["import", "app.tar", "store:o", "--select", "1", "--platform", "a/b"], 2, "want one of them"),
    (["copy", "oci:layout:1.0", "docker-archive:x.tar"],     2, "wants a whole name"),
    (["resolve", "docker-archive:app.tar"],                  5, "is no docker archive"),
]
# fmt: on


@pytest.mark.parametrize(("arguments", "status", "said"), WRONG)
def test_what_is_wrong(arguments, status, said, digest):
    done("export", APP, "app.tar")
    done("copy", APP, "oci:layout")
    before = sorted(path.name for path in Path().iterdir())
    ran = wasmhold(*arguments)
    assert ran.status == status, ran.err
    assert said in ran.err
    assert "hint: " in ran.err
    assert ran.out == ""
    assert sorted(path.name for path in Path().iterdir()) == before


def test_what_is_left_out_is_said(digest):
    config = {"mediaType": "application/x", "digest": digest, "size": 0}
    foreign = {
        "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "digest": f"sha256:{'a' * 64}",
        "size": 7,
        "urls": ["https://example.com/layer"],
    }
    Path("config").write_bytes(done("manifest", "get", APP).content)
    config["size"] = Path("config").stat().st_size
    done("blob", "put", "store:images//windows", "config")
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
        "layers": [foreign],
    }
    Path("manifest.json").write_text(json.dumps(manifest))
    done("manifest", "put", "store:images//windows:1", "manifest.json")
    ran = done("export", "store:images//windows:1", "w.tar", "--json")
    assert [one["digest"] for one in ran.json["skipped"]] == [foreign["digest"]]
    assert "what belongs elsewhere, 1 layer, was left out" in ran.err
