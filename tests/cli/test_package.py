"""``wasmhold package``: versions, a release, and its file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.program import done, wasmhold
from tests.cli.test_warg_loader import DIGEST, SHOWN, here, host
from tests.wasm.binaries import COMPONENT
from wasmhold.testing.covers import covers

__all__ = ["here", "host"]


@covers("WL-005", "WL-006", "WL-031")
def test_versions_are_listed(host):
    ran = done("package", "versions", "test:pkg", "--registry", host)
    assert (ran.out, ran.err) == (SHOWN, "")
    told = done("package", "versions", "test:pkg", "--registry", host, "--json").json
    assert told == {
        "package": "test:pkg",
        "versions": ["1.0.0", "1.2.0", "1.10.0", "1.10.0+b", "2.0.0-rc.1"],
    }


@covers("WL-031", "WL-033")
def test_a_release_is_shown(host):
    manifest = done("resolve", f"{host}/test/pkg:1.2.0").out.strip()
    ran = done("package", "show", "test:pkg@1.2.0", "--registry", host)
    assert ran.lines == [
        "Release: test:pkg@1.2.0",
        f"Content digest: {DIGEST}",
        f"Manifest digest: {manifest}",
        f"Size: {len(COMPONENT)}",
    ]
    told = done("package", "show", "test:pkg", "--registry", host, "--pre", "--json").json
    assert told["version"] == "2.0.0-rc.1"
    assert (told["digest"], told["mediaType"]) == (DIGEST, "application/wasm")


# fmt: off
GOT = [
    # arguments,                            file
    (["test:pkg@1.0.0"],                    "test_pkg@1.0.0.wasm"),
    (["test:pkg"],                          "test_pkg@1.10.0+b.wasm"),
    (["test:pkg", "--pre"],                 "test_pkg@2.0.0-rc.1.wasm"),
    (["test:early"],                        "test_early@0.1.0-a.wasm"),
    (["test:pkg", "-o", "out.wasm"],        "out.wasm"),
]
# fmt: on


@covers("WL-001", "WL-006", "WL-034", "WL-036")
@pytest.mark.parametrize(("arguments", "file"), GOT)
def test_a_release_is_got(host, arguments, file):
    told = done("package", "get", *arguments, "--registry", host, "--json").json
    assert told["file"] == file
    assert Path(file).read_bytes() == COMPONENT
    assert [path.name for path in Path().iterdir()] == [file]
    ran = wasmhold("package", "get", *arguments, "--registry", host)
    assert ran.status == (0 if "-o" in arguments else 1)
    assert ("There are prereleases alone" in ran.err) is (arguments == ["test:early"])
    if "-o" not in arguments:
        assert f'"{file}" already exists' in ran.err
    quiet = done("package", "get", *arguments[:1], "--registry", host, "-q", "-o", "quiet.wasm")
    assert (quiet.out, quiet.err) == (f"{DIGEST}\n", "")


@covers("WL-007", "WL-001")
@pytest.mark.parametrize("name", ["cncf", "wasm-to-oci", "zlayer"])
def test_a_release_may_be_in_any_layout_of_one_layer(host, name):
    Path("a.wasm").write_bytes(COMPONENT)
    done("push", "a.wasm", f"{host}/layout/{name}:1.0.0", "--format", name)
    done("package", "get", f"layout:{name}", "--registry", host, "-o", "out.wasm")
    assert Path("out.wasm").read_bytes() == COMPONENT


# fmt: off
WRONG = [
    # arguments,                        status, what is said
    (["versions", "testpkg"],           2,      "not a package, want namespace:name"),
    (["versions", "test:none"],         3,      "there is no repository"),
    (["show", "test:pkg@9.0.0"],        3,      "there is no release test:pkg@9.0.0"),
    (["get", "test:pkg@1.0"],           2,      "not a semantic version"),
    (["get", "test:odd"],               1,      "expected 1 wasm layer; got 0"),
    (["frob"],                          2,      "No such command"),
]
# fmt: on


@covers("WL-038")
@pytest.mark.parametrize(("arguments", "status", "said"), WRONG)
def test_what_is_wrong_has_the_statuses_of_our_own_commands(host, arguments, status, said):
    registry = ("--registry", host) if len(arguments) > 1 else ()
    ran = wasmhold("package", *arguments, *registry)
    assert ran.status == status
    assert said in ran.err
    assert list(Path().iterdir()) == []


@covers("WL-015")
def test_no_command_but_the_faces_has_the_name_of_another_program():
    lines = done("--help").out.partition("Commands:")[2].splitlines()
    names = {line.split()[0] for line in lines if line.strip()}
    assert {"warg-loader", "wasm-to-oci"} <= names
    assert not names & {"wkg", "warg", "oras", "crane", "skopeo", "regctl", "docker"}
