"""``wasmhold pack`` and ``wasmhold unpack``."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from tests.cli.program import done, wasmhold
from tests.image.layers.archives import END, E, archive, d, f, ln
from tests.image.layers.corpus import FOREIGN, GZIP, TAR
from tests.image.layers.layouts import write_layout
from tests.image.layers.trees import read_tree
from wasmhold.oci.digest import Digest
from wasmhold.testing.covers import covers


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "site" / "css").mkdir(parents=True)
    (tmp_path / "site" / "index.html").write_text("hello\n")
    (tmp_path / "site" / "css" / "a.css").write_text("a {}\n")
    (tmp_path / "site" / "link").symlink_to("index.html")
    return tmp_path


def layout(*entries, media_type=GZIP, end=END) -> None:
    plain = archive(*entries, end=end)
    stored = plain if media_type == TAR else gzip.compress(plain)
    write_layout(Path("image"), [(stored, media_type, plain)])


@covers("ZL-850", "ZL-851", "ZL-810")
@pytest.mark.parametrize("options", [(), ("--compression", "zstd"), ("--compression", "none")])
def test_there_and_back(options):
    packed = done("pack", "site/", "-o", "oci:image:v1", *options)
    assert packed.lines[0] == "Pushed: oci:image:v1"
    unpacked = done("unpack", "oci:image:v1", "root")
    assert unpacked.lines[0] == "Unpacked: oci:image:v1"
    assert unpacked.lines[2].split()[1] == packed.lines[2].split()[1]
    assert read_tree("root") == read_tree("site")


@covers("ZL-850")
@pytest.mark.parametrize(
    ("name", "start"),
    [("a.tar", b"css/"), ("a.tar.gz", b"\x1f\x8b"), ("a.tar.zst", b"\x28\xb5\x2f\xfd")],
)
def test_a_file(name, start):
    said = done("pack", "site", "-o", name, "--json").json
    content = Path(name).read_bytes()
    assert content.startswith(start)
    assert said["digest"] == said["layers"][0]["digest"] == str(Digest.of(content))
    assert said["size"] == len(content)
    again = done("pack", "site", "-o", f"again-{name}", "-q")
    assert again.out == said["digest"] + "\n"


@covers("ZL-850")
def test_files_keep_their_names_and_the_time_is_given():
    variables = {"SOURCE_DATE_EPOCH": "86400"}
    done("pack", "site/link", "site/css", "-o", "oci:image:v1", variables=variables)
    done("unpack", "oci:image:v1", "root")
    found = read_tree("root")
    assert list(found) == ["site", "site/css", "site/css/a.css", "site/link"]
    assert os.stat("root/site/css/a.css").st_mtime == 86400
    wrong = wasmhold("pack", "site", "-o", "a.tar", variables={"SOURCE_DATE_EPOCH": "now"})
    assert (wrong.status, Path("a.tar").exists()) == (2, False)


@covers("ZL-850")
def test_the_image_says_its_platform():
    done("pack", "site", "-o", "oci:image:v1", "--platform", "linux/arm64/v8")
    manifest = done("manifest", "get", "oci:image:v1").json
    digest = manifest["config"]["digest"]
    config = json.loads(Path("image/blobs/sha256", digest.removeprefix("sha256:")).read_bytes())
    assert (config["os"], config["architecture"], config["variant"]) == ("linux", "arm64", "v8")
    assert done("pack", "site", "-o", "oci:image", "-q").out.startswith("sha256:")


def test_of_an_index_one_image():
    for architecture in ("amd64", "arm64"):
        Path("site/which").write_text(architecture)
        place = f"oci:image:{architecture}"
        done("pack", "site", "-o", place, "--platform", f"linux/{architecture}")
    children = [
        {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": (digest := done("resolve", f"oci:image:{architecture}").out.strip()),
            "size": os.stat(f"image/blobs/sha256/{digest.removeprefix('sha256:')}").st_size,
            "platform": {"os": "linux", "architecture": architecture},
        }
        for architecture in ("amd64", "arm64")
    ]
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": children,
    }
    Path("index.json").write_text(json.dumps(index))
    done("manifest", "put", "oci:image:all", "index.json")
    for architecture in ("amd64", "arm64"):
        done("unpack", "oci:image:all", architecture, "--platform", f"linux/{architecture}")
        assert Path(architecture, "which").read_text() == architecture
    missing = wasmhold("unpack", "oci:image:all", "none", "--platform", "linux/s390x")
    assert missing.status == 3
    assert "linux/amd64" in missing.err
    assert not Path("none").exists()
    assert done("unpack", "oci:image:all", "host").status == 0


@covers("ZL-810")
def test_json():
    layout(f("a", "1"), E(b"6", b"p"))
    said = done("unpack", "oci:image:v1", "root", "--json").json
    assert said["files"] == said["skipped"] == 1
    assert said["layers"][0]["entries"] == 2
    assert said["folder"] == "root"
    assert done("unpack", "oci:image:v1", "quiet", "-q").out == said["digest"] + "\n"
    assert "1 entry of devices" in done("unpack", "oci:image:v1", "other").err


# fmt: off
REFUSED = [
    # layer,                                                        type,     status, what is said
    ([ln("a", "/no/where"), f("a/x")],                              GZIP,     5, "is not unpacked"),
    ([f("../x")],                                                   GZIP,     5, "leads upwards"),
    ([f("a", "x" * 600).encode()[:700]],                            GZIP,     5, "cut off"),
    ([f("a")],                                                      FOREIGN,  1, "--force"),
    ([f("a")],                                                      "text/x", 1, "is no tar"),
]
# fmt: on


@covers("ZL-812", "ZL-824", "ZL-826")
@pytest.mark.parametrize(("entries", "media_type", "status", "said"), REFUSED)
def test_what_is_refused_leaves_nothing(entries, media_type, status, said, here):
    layout(*entries, media_type=media_type, end=b"" if said == "cut off" else END)
    ran = wasmhold("unpack", "oci:image:v1", "root")
    assert ran.status == status
    assert said in ran.err
    assert sorted(os.listdir()) == ["image", "site"]


def test_a_folder_with_content_is_left_alone():
    layout(f("a"))
    before = read_tree("site")
    ran = wasmhold("unpack", "oci:image:v1", "site")
    assert ran.status == 1
    assert "has content already" in ran.err
    assert read_tree("site") == before
    os.mkdir("empty")
    done("unpack", "oci:image:v1", "empty")
    assert list(read_tree("empty")) == ["a"]


def test_options():
    layout(f("a", mode=0o4755), d("d", 0o2755), E(b"6", b"p", mode=0o600))
    done("unpack", "oci:image:v1", "plain")
    assert read_tree("plain") == {"a": "f 755", "d": "d 755"}
    done("unpack", "oci:image:v1", "all", "--keep-setid", "--special", "create")
    assert read_tree("all") == {"a": "f 4755", "d": "d 2755", "p": "p 600 0:0"}
    assert wasmhold("unpack", "oci:image:v1", "none", "--special", "error").status == 5
    assert wasmhold("unpack", "oci:image:nothing", "none").status == 3
    assert not Path("none").exists()
