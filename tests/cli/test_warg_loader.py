"""``wasmhold warg-loader``: packages by name, from a registry that a domain names."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.cli.program import done, wasmhold
from tests.client.recording import Says, recording
from tests.registries import serving
from tests.wasm.binaries import COMPONENT
from wasmhold.testing.covers import covers

DIGEST = "sha256:" + hashlib.sha256(COMPONENT).hexdigest()
OLD = "/.well-known/warg/registry.json"
NEW = "/.well-known/wasm-pkg/registry.json"


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """A registry with releases of ``test:pkg``, some with a prefix."""
    path = tmp_path_factory.mktemp("packages") / "pkg.wasm"
    path.write_bytes(COMPONENT)
    with serving("--log", "off") as server:
        for name in ("test/pkg", "pre/test/pkg"):
            for tag in (
                "1.0.0",
                "1.10.0",
                "1.2.0",
                "2.0.0-rc.1",
                "1.10.0_b",
                "latest",
                "sha256-00",
            ):
                done("push", path, f"{server.host}/{name}:{tag}")
        done("push", path, f"{server.host}/test/early:0.1.0-a")
        done("push", path, f"{server.host}/test/odd:1.0.0", "--artifact-type", "text/x")
        yield server.host


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def loader(*arguments, registry, **how):
    return wasmhold("warg-loader", *arguments, "--registry", registry, **how)


SHOWN = "Package: test:pkg\nVersions:\n  1.0.0\n  1.2.0\n  1.10.0\n  1.10.0+b\n  2.0.0-rc.1\n"


@covers("WL-030", "WL-031", "WL-032", "WL-039", "WL-054", "WL-011")
@pytest.mark.parametrize("action", [[], ["show"]])
def test_versions_are_shown(host, action):
    ran = loader("test:pkg", *action, registry=host)
    assert (ran.status, ran.out, ran.err) == (0, SHOWN, "")
    assert "2 tags are no versions" in loader("test:pkg", "--verbose", registry=host).err


@covers("WL-033", "WL-013")
def test_a_release_is_shown(host):
    ran = loader("test:pkg", "show", "1.2.0", registry=host)
    manifest = done("resolve", f"{host}/test/pkg:1.2.0").out.strip()
    assert ran.lines == [
        "Release: test:pkg@1.2.0",
        f"Content digest: {DIGEST}",
        f"Manifest digest: {manifest}",
        f"Size: {len(COMPONENT)}",
    ]


# fmt: off
FETCHED = [
    # arguments,                    package,        version
    (["test:pkg", "fetch", "1.0.0"],    "pkg",      "1.0.0"),
    (["test:pkg", "fetch"],             "pkg",      "1.10.0+b"),
    (["test:pkg", "fetch", "--pre"],    "pkg",      "2.0.0-rc.1"),
    (["test:pkg", "fetch", "1.10.0+b"], "pkg",      "1.10.0+b"),
    (["test:early", "fetch"],           "early",    "0.1.0-a"),
]
# fmt: on


@covers("WL-034", "WL-035", "WL-036", "WL-037", "WL-062")
@pytest.mark.parametrize(("arguments", "name", "version"), FETCHED)
def test_a_release_is_fetched(host, arguments, name, version):
    ran = loader(*arguments, registry=host)
    assert (ran.status, ran.out) == (0, ""), ran.err
    file = f"test_{name}@{version}.wasm"
    assert [path.name for path in Path().iterdir()] == [file]
    assert Path(file).read_bytes() == COMPONENT
    assert f"Fetching release details for test:{name}@{version}..." in ran.err
    assert f'Downloading content to "{file}"...' in ran.err
    is_found = len([one for one in arguments if not one.startswith("-")]) == 2
    assert ("No version specified; looking up latest release..." in ran.err) == is_found
    assert ("There are prereleases alone" in ran.err) == (name == "early")
    again = loader(*arguments, registry=host)
    assert again.status == 1
    assert f'"{file}" already exists' in again.err


WRONG = [
    # arguments,                        what is said
    ([], "Missing argument 'PACKAGE'"),
    (["test:pkg", "frob"], 'unknown subcmd "frob"'),
    (["testpkg"], "not a package, want namespace:name: 'testpkg'"),
    (["Test:pkg"], "did you mean test?"),
    (["test:pkg", "show", "1.0"], "not a semantic version, want 1.2.3: '1.0'"),
    (["test:pkg", "fetch", "9.0.0"], "there is no release test:pkg@9.0.0"),
    (["test:none"], "there is no repository"),
    (["test:odd", "fetch"], "invalid package manifest: expected 1 wasm layer; got 0"),
]


@covers("WL-030", "WL-038", "WL-051")
@pytest.mark.parametrize(("arguments", "said"), WRONG)
def test_what_is_wrong_ends_with_1(host, arguments, said):
    ran = loader(*arguments, registry=host)
    assert (ran.status, ran.out) == (1, "")
    assert said in ran.err
    assert list(Path().iterdir()) == []


def test_without_a_registry_the_error_says_what_to_give():
    ran = wasmhold("warg-loader", "test:pkg")
    assert ran.status == 1
    assert 'no registry configured for namespace "test"' in ran.err


@covers("WL-003", "WL-004", "WL-050")
@pytest.mark.parametrize("path", [OLD, NEW])
@pytest.mark.parametrize("prefix", ["pre/", "pre", ""])
def test_a_domain_says_where_its_packages_are(host, path, prefix):
    oci = {"registry": host, "namespacePrefix": prefix}
    old = {"ociRegistry": host, "ociNamespacePrefix": prefix, "wargUrl": "https://w.example"}
    body = json.dumps({"oci": oci} if path == NEW else old).encode()
    answers = {path: Says(200, {}, body)}
    with recording(lambda seen: answers.get(seen.path, Says(404))) as domain:
        ran = loader("test:pkg", registry=domain.host)
        assert (ran.status, ran.out) == (0, SHOWN), ran.err
        assert domain.lines() == [f"GET {one}" for one in ((NEW, OLD) if path == OLD else (NEW,))]
    assert ("has no slash at its end" in ran.err) == (prefix == "pre")


@covers("WL-050", "WL-061")
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Says(500), "the answer has status 500"),
        (Says(200, {}, b"[]"), "not a JSON object"),
        (Says(200, {}, b" " * 70_000), "has more than 65536 bytes"),
        (Says(200, {}, b'{"wargUrl": "https://w"}'), "speaks the warg protocol, which no longer"),
    ],
)
def test_metadata_that_cannot_be_used_is_an_error(answer, said):
    with recording(lambda seen: answer) as domain:
        ran = loader("test:pkg", registry=domain.host)
    assert ran.status == 1
    assert said in ran.err


@covers("WL-055")
def test_only_reading_requests_are_sent(host):
    """GET and HEAD of what a package needs, and all pages of tags."""
    tags = [[f"1.{n}.0" for n in range(10)], ["2.0.0", "latest"]]

    def answer(seen):
        if seen.path.startswith("/.well-known/"):
            return Says(404)
        page = int(seen.query.get("last", ["0"])[0])
        link = {} if page else {"Link": '</v2/test/pkg/tags/list?last=1>; rel="next"'}
        return Says(200, link, json.dumps({"name": "test/pkg", "tags": tags[page]}).encode())

    with recording(answer) as domain:
        ran = loader("test:pkg", registry=domain.host)
        assert ran.lines[-1] == "  2.0.0"
        assert len(ran.lines) == 13
        assert {seen.method for seen in domain.seen} == {"GET"}
        assert [seen.path for seen in domain.seen[2:]] == ["/v2/test/pkg/tags/list"] * 2


@covers("WL-037", "WL-062")
def test_content_that_is_not_what_was_said_leaves_nothing():
    layer = {"mediaType": "application/wasm", "digest": DIGEST, "size": len(COMPONENT)}
    manifest = json.dumps({"schemaVersion": 2, "config": layer, "layers": [layer]}).encode()
    image = "application/vnd.oci.image.manifest.v1+json"
    digest = "sha256:" + hashlib.sha256(manifest).hexdigest()

    def answer(seen):
        if seen.path.endswith("/tags/list"):
            return Says(200, {}, b'{"name": "test/pkg", "tags": ["1.0.0"]}')
        if "/manifests/" in seen.path:
            return Says(200, {"Content-Type": image, "Docker-Content-Digest": digest}, manifest)
        if "/blobs/" in seen.path:
            return Says(200, {}, COMPONENT[:-1] + b"x")
        return Says(404)

    with recording(answer) as domain:
        ran = loader("test:pkg", "fetch", registry=domain.host)
    assert ran.status == 1
    assert DIGEST in ran.err
    assert list(Path().iterdir()) == []
