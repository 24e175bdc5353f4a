"""What binaries say and how they are put into registries, beside the tools of others."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from tests.registries import Server, serving
from tests.wasm import binaries
from wasmhold.artifact import (
    Artifact,
    WasiVersion,
    WasmConfig,
    cncf,
    detect,
    detect_artifact_type,
    how_to_read,
    wasm_to_oci,
    zlayer,
)
from wasmhold.oci.digest import Digest
from wasmhold.oci.manifest import parse_manifest
from wasmhold.sync import ImagePuller
from wasmhold.testing.covers import covers
from wasmhold.wasm import BinaryKind, read_binary

pytestmark = pytest.mark.peer


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"not on PATH: {program}")


CREATED = "2024-01-02T03:04:05Z"
WIT = """package demo:greeting@1.2.3;

interface names { variant name { known(string), unknown } greet: func(to: name) -> result<string>; }
interface resources { resource r { constructor(); use-it: func(); } use names.{name}; n: func() -> name; }
world greeter {
  import resources;
  import log: func(line: string);
  import inline: interface { f: func() -> list<u8>; }
  export names;
  export run: func();
}
"""

APP = """import wit_world
from wit_world import exports


class WitWorld(wit_world.WitWorld):
    def run(self):
        pass


class Names(exports.Names):
    def greet(self, to):
        return "hello"
"""


@pytest.fixture(scope="module")
def server():
    with serving("--log", "off") as running:
        yield running


def run(*command: object, cwd: Path) -> str:
    ran = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def wit_package(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wit")
    (folder / "wit").mkdir()
    (folder / "wit" / "greeting.wit").write_text(WIT)
    run("wkg", "wit", "build", "-o", "greeting.wasm", cwd=folder)
    return folder / "greeting.wasm"


@pytest.fixture(scope="module")
def component(tmp_path_factory) -> Path:
    if shutil.which("componentize-py") is None:
        pytest.skip("not on PATH: componentize-py")
    folder = tmp_path_factory.mktemp("component")
    (folder / "greeting.wit").write_text(WIT)
    (folder / "app.py").write_text(APP)
    run(
        *("componentize-py", "-d", "greeting.wit", "-w", "greeter", "componentize", "app"),
        *("-o", "greeter.wasm"),
        cwd=folder,
    )
    return folder / "greeter.wasm"


@pytest.fixture
def binary(request) -> Path:
    return request.getfixturevalue(request.param)


def get(server: Server, path: str) -> bytes:
    wanted = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    with urlopen(Request(f"{server.url}v2/{path}", headers=wanted), timeout=30) as answer:
        return answer.read()


def push(server: Server, name: str, built: Artifact, layer: bytes) -> None:
    """What was built, by plain HTTP, at the tag ``1``."""

    def send(method: str, path: str, body: bytes, **headers: str) -> None:
        request = Request(f"{server.url}v2/{name}/{path}", body, headers, method=method)
        with urlopen(request, timeout=30) as answer:
            assert answer.status == 201

    octets = {"Content-Type": "application/octet-stream"}
    for content in (built.config, layer):
        send("POST", f"blobs/uploads/?digest={Digest.of(content)}", content, **octets)
    kind = {"Content-Type": built.descriptor.media_type}
    send("PUT", "manifests/1", built.manifest, **kind)


@needs("wkg")
@covers("CW-013", "CW-016", "CW-017", "CW-020", "CW-064")
@pytest.mark.parametrize("binary", ["wit_package", "component"], indirect=True)
def test_imports_and_exports_are_those_that_wkg_finds(server, binary):
    run("wkg", "oci", "push", "--insecure", server.host, f"{server.host}/their/{binary.stem}:1", binary, cwd=binary.parent)  # fmt: skip
    content = get(server, f"their/{binary.stem}/manifests/1")
    manifest = parse_manifest(content)
    kind = detect(manifest)
    assert str(kind) == "cncf"
    (layer,) = how_to_read(manifest, kind).layers
    assert layer.digest == Digest.of(binary.read_bytes())

    config = get(server, f"their/{binary.stem}/blobs/{manifest.config.digest}")
    theirs = WasmConfig.parse(config)
    theirs.check(manifest)
    read = read_binary(binary.read_bytes())
    assert list(theirs.doubts(read)) == []
    ours, theirs = [e.name for e in read.exports], theirs.component
    assert [e.name for e in read.imports] == list(theirs.imports)
    if read.kind is BinaryKind.WIT_PACKAGE:
        assert sorted(ours) == sorted(theirs.exports)  # theirs have no order
        return
    assert read.kind is BinaryKind.COMPONENT
    assert ours == list(theirs.exports)


@needs("wkg")
@covers("CW-025")
def test_the_style_of_wkg_is_its_very_bytes(server, component):
    run("wkg", "oci", "push", "--insecure", server.host, f"{server.host}/their/style:1", component.name, cwd=component.parent)  # fmt: skip
    content = get(server, "their/style/manifests/1")
    manifest = parse_manifest(content)
    config = get(server, f"their/style/blobs/{manifest.config.digest}")
    ours = cncf.build(
        read_binary(component.read_bytes()),
        manifest.layers[0].digest,
        created=CREATED,
        title=component.name,
        style=cncf.Style.WKG,
    )
    created = json.loads(config)["created"]
    assert re.fullmatch(r"[0-9T:-]+\.[0-9]+Z", created)  # theirs has a fraction of a second
    assert ours.config == config.replace(created.encode(), CREATED.encode())
    ours_with_their_config = ours.manifest.replace(
        str(ours.config_descriptor.digest).encode(), str(manifest.config.digest).encode()
    ).replace(b'"size":%d' % len(ours.config), b'"size":%d' % len(config))
    assert ours_with_their_config == content


@needs("wkg")
@covers("CW-028")
@pytest.mark.parametrize("binary", ["wit_package", "component"], indirect=True)
def test_wkg_takes_what_is_built(server, binary, tmp_path):
    content = binary.read_bytes()
    read, digest = read_binary(content), Digest.of(content)
    forms = {
        "cncf": cncf.build(read, digest, created=CREATED, title=binary.name),
        "wkg": cncf.build(read, digest, created=CREATED, style=cncf.Style.WKG),
        "zlayer": zlayer.build(read, digest, name=binary.stem),
    }
    for form, built in forms.items():
        push(server, f"ours/{binary.stem}-{form}", built, content)
        run("wkg", "oci", "pull", "--insecure", server.host, "-o", f"{form}.wasm", f"{server.host}/ours/{binary.stem}-{form}:1", cwd=tmp_path)  # fmt: skip
        assert (tmp_path / f"{form}.wasm").read_bytes() == content


@needs("wkg")
@needs("oras")
@covers("ZL-614", "ZL-618", "ZL-652")
def test_what_others_push_has_a_version(server, tmp_path):
    """By its config, or by eight bytes of the layer; its manifest alone does not say it."""
    host = server.host
    for name, content in (("core", binaries.MODULE), ("other", binaries.COMPONENT)):
        (tmp_path / f"{name}.wasm").write_bytes(content)
        run("wkg", "oci", "push", "--insecure", host, f"{host}/known/by-wkg:{name}", f"{name}.wasm", cwd=tmp_path)  # fmt: skip
        run("oras", "push", "--plain-http", f"{host}/known/by-oras:{name}", f"{name}.wasm:application/wasm", cwd=tmp_path)  # fmt: skip
    # fmt: off
    expected = [
        # image,         before it is pulled,        when it is
        ("by-oras:core",  ("wasip1", "preamble"),     ("wasip1", "preamble")),
        ("by-oras:other", ("wasip2", "preamble"),     ("wasip2", "preamble")),
        ("by-wkg:other",  ("wasip2", "config-blob"),  ("wasip2", "preamble")),
        # wkg writes of any file that it is a component; the bytes are right.
        ("by-wkg:core",   ("wasip2", "config-blob"),  ("wasip1", "preamble")),
    ]
    # fmt: on
    with ImagePuller() as puller:
        for image, before, pulled in expected:
            reference = f"{host}/known/{image}"
            rule = detect_artifact_type(puller.fetch_manifest(reference))
            assert rule.wasi_version() is WasiVersion.Unknown
            info = puller.get_wasm_info(reference)
            assert info is not None
            assert (str(info.wasi_version), info.decided_by) == before
            content, info = puller.pull_wasm(reference)
            assert content == (tmp_path / f"{image.partition(':')[2]}.wasm").read_bytes()
            assert (str(info.wasi_version), info.decided_by) == pulled


@needs("wkg")
def test_wkg_refuses_the_old_format(server, tmp_path):
    built = wasm_to_oci.build(Digest.of(binaries.MODULE), 8, title="tiny.wasm")
    push(server, "ours/old", built, binaries.MODULE)
    ran = subprocess.run(
        ["wkg", "oci", "pull", "--insecure", server.host, f"{server.host}/ours/old:1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode != 0


SHOW = """
const module = new WebAssembly.Module(require("fs").readFileSync(process.argv[1]));
console.log(JSON.stringify([
  WebAssembly.Module.imports(module).map(({kind, module, name}) => [kind, name, module]),
  WebAssembly.Module.exports(module).map(({kind, name}) => [kind, name, ""]),
]));
"""


@needs("node")
def test_imports_and_exports_of_a_module_are_those_that_node_finds(tmp_path):
    b = binaries
    imports = (
        b.imported("env", "f", b"\x00\x00"),
        b.imported("env", "t", b"\x01\x70\x01\x01\x02"),
        b.imported("env", "m", b"\x02\x00\x01"),
        b.imported("é", "", b"\x03\x7f\x01"),
    )
    exports = (
        b.exported("run", 0),
        b.exported("", 1),
        b.exported("memory", 2),
        b.exported("🦀", 3),
    )
    module = (
        b.MODULE
        + b.custom("note", b"anything")
        + b.section(1, b.vector(b"\x60\x00\x00"))
        + b.section(2, b.vector(*imports))
        + b.section(7, b.vector(*exports))
    )
    path = tmp_path / "module.wasm"
    path.write_bytes(module)
    found = json.loads(run("node", "-e", SHOW, path, cwd=tmp_path).replace("function", "func"))
    read = read_binary(module)
    ours = [[[e.sort, e.name, e.module] for e in of] for of in (read.imports, read.exports)]
    assert ours == found
