"""The examples of the guide for zlayer-registry's users, run as they stand.

A registry stands in the place of ghcr.io, and a folder in that of /var/lib/wasmhold.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import wasmtime

import wasmhold
from tests.artifact import manifests as m
from tests.image.artifacts import Part, put_artifact, titled
from tests.image.hub import Hub, hub
from tests.wasm import binaries as b
from wasmhold import sync
from wasmhold.client.transport import HttpTransport
from wasmhold.testing.covers import covers

PAGE = Path(__file__).parents[2] / "docs/migrating-from-zlayer-registry.md"
FOLDER = "/var/lib/wasmhold"
HOST = "ghcr.io"
# What writes a line to standard output, by WASI's first preview.
SAYS_HELLO = """
(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 8) "hello from wasm\\0a")
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 8))
    (i32.store (i32.const 4) (i32.const 16))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 100)))))
"""


def blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def block(part: str) -> str:
    """The one example that has `part`."""
    (found,) = [code for code in blocks() if part in code]
    return found


@pytest.fixture(name="hub", scope="module")
def a_hub():
    with hub() as made:
        made.image("org/image", "latest")
        put_artifact(made.at("org/module"), Part(m.CNCF), [titled(m.WASM, b.MODULE, "app.wasm")])
        yield made


@pytest.fixture(name="run")
def a_run(hub: Hub, tmp_path, monkeypatch):
    """Runs an example; gives what it defines, to call it."""
    request = HttpTransport.request
    there, here = f"https://{HOST}/", f"http://{hub.host}/"

    def elsewhere(self, method, url, *more, **and_more):
        answer = request(self, method, url.replace(there, here), *more, **and_more)
        fields = [(k, re.sub(rb"http://127[^/]+/", there.encode(), v)) for k, v in answer.fields]
        return replace(answer, fields=fields, url=answer.url.replace(here, there))

    monkeypatch.setattr(HttpTransport, "request", elsewhere)

    def run(code: str, **given: object) -> dict[str, object]:
        names = {"__name__": "example", **given}
        exec(compile(code.replace(FOLDER, str(tmp_path)), str(PAGE), "exec"), names)
        return names

    hub.asked()
    return run


def call(names, function: str, *arguments: object) -> None:
    asyncio.run(names[function](*arguments))


@covers("ZL-001", "ZL-150", "ZL-201", "ZL-930")
def test_pull_an_image(hub: Hub, run, tmp_path, capsys):
    code = block("async def pull_image")
    call(run(code), "pull_image")
    assert capsys.readouterr().out == "Pulled image with 3 layers\n"
    assert sorted(hub.asked()) == ["GET blobs"] * 4 + ["GET manifests"]
    # Once more in another process, which reaches no ghcr.io.
    again = code.replace(FOLDER, str(tmp_path)).replace(", auth)", ", auth, policy=IF_NOT_PRESENT)")
    script = f"""
import asyncio
from wasmhold import PullPolicy
IF_NOT_PRESENT = PullPolicy.IF_NOT_PRESENT
{again}
asyncio.run(pull_image())
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": ":".join(sys.path), "https_proxy": "http://127.0.0.1:1"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "Pulled image with 3 layers\n"), done.stderr
    assert hub.asked() == []


# fmt: off
TOLD = [
    # artifact type,                              config,   layers,                                      what is printed
    (None,                                        m.IMAGE,  [(m.TAR_GZIP, None)],                        "This is a container image"),
    ("application/vnd.wasm.component.v1+wasm",    m.OLD,    [(m.OLD_WASM, "module.wasm")],               "This is a WASM artifact with WASI wasip2"),
    ("application/vnd.wasm.module.v1+wasm",       m.CNCF,   [(m.WASM, None)],                            "This is a WASM artifact with WASI wasip1"),
]
# fmt: on


@covers("ZL-600", "ZL-610", "ZL-615")
@pytest.mark.parametrize(("artifact_type", "config", "layers", "said"), TOLD)
def test_tell_them_apart(run, capsys, artifact_type, config, layers, said):
    names = run(block("def check_artifact"))
    types, titles = zip(*layers, strict=True)
    manifest = m.manifest(
        config, *types, artifact_type=artifact_type, titles=[t for t in titles if t]
    )
    names["check_artifact"](manifest)
    first, *rest = capsys.readouterr().out.splitlines()
    assert first == said
    if artifact_type is None:
        assert rest == []
    else:
        assert rest == [
            f"WASM layer digest: {manifest.layers[0].digest}",
            "WASM size: 8 bytes",
            f"Module name: {titles[0]}",
        ]


@covers("ZL-600", "ZL-601", "ZL-602")
def test_the_values(run):
    run(block("a = ArtifactType.Wasm(WasiVersion.Preview2)"))


@covers("ZL-220", "ZL-930")
def test_pull_webassembly(hub: Hub, run, capsys):
    call(run(block("async def pull_wasm")), "pull_wasm", f"{HOST}/org/module:v1")
    assert capsys.readouterr().out == "Pulled WASM module: 8 bytes\nWASI version: wasip1\n"
    assert hub.asked() == ["GET manifests", "GET blobs"]


@covers("ZL-222", "ZL-930")
def test_what_it_is_without_pulling_it(hub: Hub, run, capsys):
    names = run(block("async def check_wasm"))
    before = len(hub.proxy.passed("blob-get"))
    call(names, "check_wasm", f"{HOST}/org/module:v1")
    digest = hub.proxy.passed("blob-get")[-1].target.rpartition("/")[2]
    assert capsys.readouterr().out.splitlines() == [
        "Image is a WASM artifact:",
        "  WASI version: wasip1",
        f"  Layer digest: {digest}",
        "  Size: 8 bytes",
    ]
    assert hub.asked() == ["GET manifests", "GET blobs"]
    (asked,) = hub.proxy.passed("blob-get")[before:]
    assert (asked.fields["range"], asked.received <= 8) == ("bytes=0-7", True)
    call(names, "check_wasm", f"{HOST}/org/image:latest")
    assert capsys.readouterr().out == "Image is a container (not WASM)\n"
    assert hub.asked() == ["GET manifests"]


@covers("ZL-160", "ZL-930")
def test_in_a_pipeline(hub: Hub, run, capfd):
    """The module really runs."""
    content = bytes(wasmtime.wat2wasm(SAYS_HELLO))
    stored = put_artifact(hub.at("org/hello"), Part(m.CNCF), [Part(m.WASM, content)])
    ran: list[str] = []

    async def pull_and_run_container(image: str) -> None:
        ran.append(image)

    runtime = run(block("async def run_wasm_module"))["run_wasm_module"]
    names = run(
        block("async def handle_image"),
        pull_and_run_container=pull_and_run_container,
        run_wasm_module=runtime,
    )
    call(names, "handle_image", f"{HOST}/org/hello:v1")
    assert capfd.readouterr().out == "hello from wasm\n"
    assert hub.asked() == ["GET manifests", "HEAD manifests", "GET blobs"]
    call(names, "handle_image", f"{HOST}/org/hello@{stored.digest}")
    assert capfd.readouterr().out == "hello from wasm\n"
    assert hub.asked() == []
    call(names, "handle_image", f"{HOST}/org/image:latest")
    assert (ran, hub.asked()) == ([f"{HOST}/org/image:latest"], ["GET manifests"])


def test_a_digest_is_fetched_once(hub: Hub, run, capfd):
    """The same from an empty cache."""
    content = bytes(wasmtime.wat2wasm(SAYS_HELLO))
    stored = put_artifact(hub.at("org/hello"), Part(m.CNCF), [Part(m.WASM, content)])
    runtime = run(block("async def run_wasm_module"))["run_wasm_module"]
    names = run(block("async def handle_image"), run_wasm_module=runtime)
    call(names, "handle_image", f"{HOST}/org/hello@{stored.digest}")
    assert capfd.readouterr().out == "hello from wasm\n"
    assert hub.asked() == ["GET manifests", "GET blobs"]


@covers("ZL-930")
def test_without_an_event_loop(hub: Hub, run):
    names = run(block("from wasmhold.sync import BlobCache"))
    assert (names["wasm_bytes"], len(names["layers"])) == (b.MODULE, 3)
    asked = hub.asked()
    assert asked.count("GET manifests") == 2
    assert asked.count("GET blobs") == 5

    async def inside() -> None:
        """A loop runs in this very thread."""
        names = run(block("from wasmhold.sync import BlobCache"))
        assert names["wasm_bytes"] == b.MODULE

    asyncio.run(inside())
    assert hub.asked() == ["HEAD manifests"] * 2


@covers("ZL-254", "ZL-650", "ZL-930")
def test_build_and_push(hub: Hub, run, tmp_path):
    path = tmp_path / "hello.wasm"
    path.write_bytes(b.COMPONENT)
    names = run(block("def publish"))
    digest = names["publish"](str(path), f"{HOST}/org/published:v1")
    with sync.ImagePuller() as puller:
        manifest = puller.fetch_manifest(f"{hub.host}/org/published:v1")
    assert str(manifest.digest) == digest
    assert manifest.annotations == {"org.example.team": "web"}


@covers("ZL-930")
def test_keep_export_and_import(hub: Hub, run, tmp_path):
    names = run(block("def keep"))
    digest = names["keep"](str(tmp_path))
    with sync.ImagePuller() as puller:
        assert str(puller.resolve(f"{hub.host}/org/image:latest").digest) == digest
    asked = hub.asked()
    assert asked.count("GET manifests") == 1
    assert asked.count("GET blobs") == 4


def test_each_example_is_run_here():
    tested = Path(__file__).read_text()
    parts = re.findall(r'block\(\s*"([^"]+)"', tested)
    assert len({block(part) for part in parts}) == len(blocks())


@covers("ZL-006")
def test_names_in_the_table_are_there():
    rows = re.findall(r"^\| [^|]+ \| ([^|]+) \|$", PAGE.read_text(), re.MULTILINE)[2:]
    names = [name for row in rows for name in re.findall(r"`([A-Z]\w+(?:\.\w+)?|[a-z_]+)`", row)]
    assert len(names) > 30
    for name in names:
        owner, _, method = name.partition(".")
        found = getattr(wasmhold, owner)
        assert not method or getattr(found, method) is not None, name
