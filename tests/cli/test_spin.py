"""Applications of Spin: what a pull writes of them, what it refuses, and what is told."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path

import pytest

from tests.artifact.manifests import IMAGE, OLD_WASM, UNKNOWN, WASM
from tests.cli.program import done, wasmhold
from tests.cli.test_client_pulls import PLACE, artifact, here, tar
from tests.wasm.binaries import COMPONENT, MODULE
from wasmhold.oci.digest import Digest
from wasmhold.testing.covers import covers

__all__ = ["here"]

SPIN = "application/vnd.fermyon.spin.application.v1+config"
DATA = "application/vnd.wasm.content.layer.v1+data"
ARCHIVE = "application/vnd.wasm.content.bundle.v1.tar+gzip"
PAGE = b"<h1>hello</h1>" * 20


def content(of, *, inline=False):
    """As a lock says where the content `of` is."""
    said = {"digest": str(Digest.of(of))}
    return said | ({"inline": base64.b64encode(of).decode()} if inline else {})


def component(name="web", source=MODULE, **files):
    """`files`: paths, with ``__`` for a slash, to what `content` says."""
    return {
        "id": name,
        "source": {"content_type": "application/wasm", **content(source)},
        "files": [{"path": path.replace("__", "/"), **said} for path, said in files.items()],
    }


def lock(*components):
    return json.dumps({"spin_lock_version": 1, "triggers": [], "components": components}).encode()


def application(locked, *layers):
    return artifact((IMAGE, b'{"os":"Wasip1"}'), *layers, (SPIN, locked))


def written(folder="out"):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


BOTH = lock(
    component("web", MODULE, index=content(PAGE), a__b=content(b"x", inline=True)),
    component("api", COMPONENT, index=content(PAGE)),
)
FILES = {
    "api.wasm": COMPONENT,
    "api/index": PAGE,
    "spin.lock": BOTH,
    "web.wasm": MODULE,
    "web/a/b": b"x",
    "web/index": PAGE,
}
WASMS = ((OLD_WASM, MODULE), (WASM, COMPONENT))
HOSTILE = tar(("../up", PAGE), ("/etc/x", b"no"), ("link", "/etc/passwd"), ("other", b"other"))


LAYERS = [
    ((DATA, PAGE),),
    ((ARCHIVE, gzip.compress(tar(("static/index", PAGE)))),),
    ((ARCHIVE, gzip.compress(HOSTILE)),),
    ((ARCHIVE, tar(("a", b"1"))), (ARCHIVE, tar(("b", PAGE)))),
]


@covers("CW-081", "CW-042")
@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("option", [("--out-dir", "out"), ("-o", "out/")])
def test_an_application_becomes_its_files(layers, option):
    application(BOTH, *WASMS, *layers)
    done("pull", PLACE, *option)
    assert written() == FILES
    told = done("pull", PLACE, *option, "--json").json
    assert sorted(told["files"]) == [f"out/{name}" for name in FILES]
    assert told["kind"] == "spin"


@covers("CW-043", "CW-081")
def test_the_older_form_has_its_lock_as_the_config():
    locked = lock(component())
    artifact((SPIN, locked), (OLD_WASM, MODULE))
    done("pull", PLACE, "--out-dir", "out")
    assert written() == {"web.wasm": MODULE, "spin.lock": locked}


@covers("CW-081")
def test_what_a_component_needs_is_written_beside_it():
    needs = component() | {
        "dependencies": {"wasi:http/types@0.2.0": {"source": content(COMPONENT), "export": None}}
    }
    application(lock(needs), *WASMS)
    done("pull", PLACE, "--out-dir", "out")
    assert [*written()] == ["spin.lock", "web.wasi_http_types@0.2.0.wasm", "web.wasm"]


@covers("CW-081", "CW-077")
def test_without_a_folder_the_error_lists_the_components():
    application(BOTH, *WASMS, (DATA, PAGE))
    ran = wasmhold("pull", PLACE, "-o", "out.wasm")
    assert ran.status == 1
    assert "is a Spin application, its components: web, api; --out-dir DIR writes all" in ran.err
    assert not Path("out.wasm").exists()
    done("pull", PLACE, "-o", "out.wasm", "--layer", "1")
    assert Path("out.wasm").read_bytes() == COMPONENT
    ran = wasmhold("pull", PLACE, "-o", "out.wasm", "--out-dir", "out")
    assert ran.status == 2


# fmt: off
REFUSED = [
    # components of the lock,                                           what is said
    ([component("../up")],                                              "is no name of a file"),
    ([component("..", a=content(PAGE))],                                "is no name of a file"),
    ([component(web__a=content(PAGE), **{"../../x": content(PAGE)})],   "is no name of a file"),
    ([component(**{"a//b": content(PAGE)})],                            "is no name of a file"),
    ([component(**{"C:\\x": content(PAGE)})],                           "is no name of a file"),
    ([component(a=content(PAGE), a__b=content(PAGE))],                  "would be a file, and a folder"),
    ([component("spin.lock", a=content(PAGE))],                         "would be a file, and a folder"),
    ([component(), component(source=COMPONENT)],                        "two files of the application are called 'web.wasm'"),
    ([component(a=content(b"gone"))],                                   "does not hold the content of web/a"),
    ([component(a={"digest": "sha256:1"})],                             "want 64 lower-case hex digits"),
    ([component(a={"source": "file:///etc/passwd"})],                   "has neither a digest nor its content"),
    ([component(a={"inline": "%%"})],                                   "a of component web"),
    ([component(a=content(PAGE) | {"inline": "eA=="})],                 "has other content than its digest says"),
    ([{"id": 1}],                                                       "is no name of a file"),
    ([{"id": "web"}],                                                   "component web has no source"),
    ([{"id": "web", "source": content(MODULE), "files": [1]}],          "want a list of objects"),
]
# fmt: on


@covers("CW-081")
@pytest.mark.parametrize(("components", "said"), REFUSED, ids=range(len(REFUSED)))
def test_a_lock_that_is_wrong_or_hostile(components, said):
    application(lock(*components), *WASMS, (DATA, PAGE))
    ran = wasmhold("pull", PLACE, "--out-dir", "inner/out")
    assert ran.status == 1
    assert said in ran.err
    assert not Path("inner/out/spin.lock").exists()
    assert not Path("inner/up.wasm").exists()
    assert wasmhold("inspect", PLACE).status == 0


@covers("CW-081")
def test_a_link_on_the_way_is_not_followed():
    application(BOTH, *WASMS, (DATA, PAGE))
    Path("out").mkdir()
    Path("elsewhere").mkdir()
    Path("out/web").symlink_to(Path("elsewhere").resolve())
    ran = wasmhold("pull", PLACE, "--out-dir", "out")
    assert ran.status != 0
    assert [*Path("elsewhere").iterdir()] == []


@covers("CW-081")
def test_an_archive_has_bounds():
    application(BOTH, *WASMS, (ARCHIVE, gzip.compress(tar(("a", bytes((256 << 20) + 1))))))
    ran = wasmhold("pull", PLACE, "--out-dir", "out")
    assert ran.status == 1
    assert "unpacks to more than" in ran.err
    assert [path.name for path in Path("out").iterdir() if path.name.startswith(".")] == []
    application(BOTH, *WASMS, (ARCHIVE, b"no archive"))
    assert "cannot be unpacked" in wasmhold("pull", PLACE, "--out-dir", "out").err


PROVIDER = "application/vnd.wasmcloud.provider.archive"
HIGRESS = "application/vnd.module.wasm.spec.v1+yaml"
TAR = "application/vnd.oci.image.layer.v1.tar+gzip"
# fmt: off
FOREIGN = {
    "spin": lambda: application(BOTH, *WASMS, (DATA, PAGE)),
    "provider-archive": lambda: artifact((f"{PROVIDER}.config", b"{}"), (f"{PROVIDER}.layer.v1+par", b"par")),
    "higress": lambda: artifact((UNKNOWN, b"{}"), (HIGRESS, b"a: b"), (TAR, gzip.compress(tar(("plugin.wasm", MODULE))))),
}
# fmt: on

# What is said when it is to become another format.
CONVERTED = {
    "spin": "is a Spin application, its components: web, api",
    "provider-archive": f"{PLACE}: not a WebAssembly binary",
    "higress": "",
}


@covers("CW-077")
@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_kind_is_listed_and_copied_and_never_written(kind):
    descriptor = FOREIGN[kind]()
    told = done("inspect", PLACE, "--json").json
    assert told["format"] == kind
    assert told["components"] == (["web", "api"] if kind == "spin" else None)
    lines = done("inspect", PLACE).lines
    assert f"Format:        {kind}" in lines
    if kind == "spin":
        assert lines[lines.index("Components:") + 1 :][:2] == ["  web", "  api"]
    done("copy", PLACE, "oci:copied:1")
    assert done("resolve", "oci:copied:1").out.strip() == descriptor["digest"]
    assert wasmhold("convert", PLACE, "oci:copied:2", "--to", kind).status == 2
    ran = wasmhold("convert", PLACE, "oci:copied:2", "--to", "cncf")
    assert (ran.status, CONVERTED[kind] in ran.err) == (0 if kind == "higress" else 1, True)
