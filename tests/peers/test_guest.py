"""The core runs in a Wasm guest: every transcript, inside a component without WASI.

Needs componentize-py on PATH and the module `wasmtime` (``pip install wasmtime``).
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest

from wasmhold.testing.covers import covers
from wasmhold.testing.transcript import Answer, Exchange, Send, parse, replay

HERE = Path(__file__).parent
DATA = HERE.parent / "data/protocol"
SOURCE = HERE.parents[1] / "src/wasmhold"
GUEST_SAFE = ("auth", "oci", "ports", "protocol", "registry", "faults", "stores")
TRANSCRIPTS = [
    transcript
    for path in sorted(DATA.glob("*.http"))
    # Four megabytes through a list<u8> are more than this host takes back.
    if not (transcript := parse(path.read_text(), path.stem)).settings
    and path.stem != "manifest-large"
]

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(
        shutil.which("componentize-py") is None or importlib.util.find_spec("wasmtime") is None,
        reason="componentize-py is not on PATH, or the module wasmtime is not installed",
    ),
]


@pytest.fixture(scope="module")
def guest(tmp_path_factory) -> Send:
    folder = tmp_path_factory.mktemp("guest")
    package = folder / "wasmhold"
    for name in GUEST_SAFE:
        shutil.copytree(SOURCE / name, package / name, ignore=shutil.ignore_patterns("htpasswd.py"))
    (package / "servers").mkdir()
    for name in (
        "__init__.py",
        "servers/__init__.py",
        "servers/application.py",
        "servers/rate_limit.py",
    ):
        shutil.copy(SOURCE / name, package / name)
    for name in ("guest.py", "registry.wit"):
        shutil.copy(HERE / "guest" / name, folder)
    command = ["componentize-py", "-d", "registry.wit", "-w", "registry", "componentize"]
    subprocess.run([*command, "--stub-wasi", "guest", "-o", "guest.wasm"], cwd=folder, check=True)

    import wasmtime
    from wasmtime import component

    engine = wasmtime.Engine()
    store = wasmtime.Store(engine)
    made = component.Component.from_file(engine, str(folder / "guest.wasm"))
    instance = component.Linker(engine).instantiate(store, made)
    handle = instance.get_func(store, instance.get_export_index(store, "handle"))

    def send(exchange: Exchange) -> Answer:
        path, _, query = exchange.target.partition("?")
        body = b"".join(exchange.chunks or ())
        fields = [(key.lower(), value) for key, value in exchange.headers]
        if exchange.chunks is not None and not exchange.is_chunked:
            fields.append(("content-length", str(len(body))))
        status, head, content = handle(store, exchange.method, path, query, fields, body)
        handle.post_return(store)
        return Answer(status, [tuple(field) for field in head], bytes(content))

    return send


@covers("BR-001")
@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda transcript: transcript.name)
def test_guest(transcript, guest):
    replay(transcript, guest, repo=f"guest/{transcript.name}")
