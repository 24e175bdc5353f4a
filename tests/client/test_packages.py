"""A folder of packages as a place: listed, shown, got and copied as a registry's are."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.cli.program import done, wasmhold
from tests.wasm.binaries import COMPONENT, MODULE, WIT, custom
from wasmhold.client import Client, Place
from wasmhold.client.place import PlaceInvalid, PlaceKind
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import NameInvalid
from wasmhold.testing.covers import covers

FILES = {
    "test/pkg/1.0.0.wasm": MODULE,
    "test/pkg/1.10.0.wasm": COMPONENT,
    "test/pkg/1.2.0+b.wasm": WIT,
    "test/pkg/2.0.0-rc.1.wasm": COMPONENT + custom("x", b"y"),
    "test/pkg/latest.wasm": MODULE,
    "test/pkg/3.0.0.txt": b"no package",
    "test/pkg/v4.0.0.wasm": MODULE,
    "test/odd/1.0.0.wasm": b"no WebAssembly",
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, content in FILES.items():
        path = Path("packages", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@covers("WL-060")
def test_versions_are_the_names_of_files():
    told = done("package", "versions", "test:pkg", "--folder", "packages").lines
    assert told == ["Package: test:pkg", "Versions:", "  1.0.0", "  1.2.0+b", "  1.10.0", "  2.0.0-rc.1"]  # fmt: skip
    assert done("tags", "packages:packages//test/pkg").lines == [
        *("1.0.0", "1.10.0", "1.2.0_b", "2.0.0-rc.1"),
    ]


# fmt: off
GOT = [
    # what is asked for,            file
    (["test:pkg"],                  "1.10.0"),
    (["test:pkg", "--pre"],         "2.0.0-rc.1"),
    (["test:pkg@1.0.0"],            "1.0.0"),
    (["test:pkg@1.2.0+b"],          "1.2.0+b"),
]
WRONG = [
    # what is asked for,                    status, what is said
    (["get", "test:none"],                  3,      "there is no repository packages:packages//test/none"),
    (["versions", "none:pkg"],              3,      "there is no repository"),
    (["get", "test:pkg@9.0.0"],             3,      "there is no release test:pkg@9.0.0 in packages:packages//test/pkg"),
    (["show", "test:odd"],                  1,      "packages/test/odd/1.0.0.wasm: not a WebAssembly binary"),
]
# fmt: on


@covers("WL-060", "WL-008")
@pytest.mark.parametrize(("arguments", "version"), GOT)
def test_a_release_is_its_file(arguments, version):
    content = FILES[f"test/pkg/{version}.wasm"]
    told = done("package", "show", *arguments, "--folder", "packages", "--json").json
    assert (told["version"], told["digest"]) == (version, str(Digest.of(content)))
    done("package", "get", *arguments, "--folder", "packages", "-o", "out.wasm")
    assert Path("out.wasm").read_bytes() == content


@covers("WL-060")
@pytest.mark.parametrize(("arguments", "status", "said"), WRONG)
def test_what_is_not_there(arguments, status, said):
    ran = wasmhold("package", *arguments, "--folder", "packages")
    assert ran.status == status
    assert said in ran.err


@covers("WL-001", "WL-008")
def test_a_folder_is_published_by_a_copy(host):
    done("copy", "packages:packages//test/pkg", f"{host}/folder/pkg", "--all-tags")
    told = done("package", "versions", "folder:pkg", "--registry", host, "--json").json
    assert told["versions"] == ["1.0.0", "1.2.0+b", "1.10.0", "2.0.0-rc.1"]
    for version in told["versions"]:
        spec = f"folder:pkg@{version}"
        done("package", "get", spec, "--registry", host, "-o", "out.wasm")
        assert Path("out.wasm").read_bytes() == FILES[f"test/pkg/{version}.wasm"]
    done("copy", "packages:packages//test/pkg:1.0.0", "oci:layout")
    done("pull", "oci:layout:1.0.0", "-o", "out.wasm")
    assert Path("out.wasm").read_bytes() == MODULE


def test_nothing_is_written_to_it():
    before = sorted(Path("packages").rglob("*"))
    Path("app.wasm").write_bytes(MODULE)
    ran = wasmhold("push", "app.wasm", "packages:packages//test/pkg:9.0.0")
    assert ran.status == 1
    assert "cannot be written to" in ran.err
    assert wasmhold("delete", "packages:packages//test/pkg:1.0.0").status == 1
    assert sorted(Path("packages").rglob("*")) == before


def test_by_digest_alone():
    """As whoever has resolved a tag reads it, in another repository object."""

    async def work():
        async with Client() as client:
            place = client.place("packages:packages//test/pkg:1.0.0")
            found = await client.resolve(place)
            assert await client.wasm(place.at(found.digest)) == MODULE
            blob = Digest.of(WIT)
            content = []
            await client.blob(place.at(blob), content.append)
            assert b"".join(content) == WIT
            async with client.open(place) as repository:
                assert await repository.blob_size(Digest.of(b"nowhere")) is None
                assert await repository.resolve(Digest.of(b"nowhere")) is None
                assert await repository.resolve("9.0.0") is None
                assert await repository.tags("1.0.0", 1) == ["1.10.0"]

    asyncio.run(work())


# fmt: off
PLACES = [
    ("packages:/a/b//test/pkg:1.0.0",   Place(PlaceKind.PACKAGES, "/a/b", "test/pkg", "1.0.0")),
    ("packages:dir//test/pkg",          Place(PlaceKind.PACKAGES, "dir", "test/pkg")),
    ("packages:5000/test/pkg:1",        Place(PlaceKind.REGISTRY, "packages:5000", "test/pkg", "1")),
]
# fmt: on


@pytest.mark.parametrize(("text", "place"), PLACES)
def test_how_it_is_written(text, place):
    assert Place.parse(text) == place
    assert str(place) == text


def test_what_names_no_folder():
    with pytest.raises(PlaceInvalid, match="want packages:DIR//NAME"):
        Place.parse("packages://test/pkg")
    with pytest.raises(NameInvalid):
        Place.parse("packages:dir//Test/pkg")
