"""The script for backups: what was acknowledged before it began is in the copy, whatever goes on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.registries import serving
from tests.stores.directories import opened
from tests.stores.test_check import EMPTY, push, push_blob
from wasmhold.oci.digest import Digest
from wasmhold.oci.media_types import IMAGE_MANIFEST
from wasmhold.ports.runtime import run
from wasmhold.stores.directory.findings import Rules
from wasmhold.testing.covers import covers
from wasmhold.testing.senders import to_url
from wasmhold.testing.transcript import Exchange

SCRIPT = Path(__file__).parents[2] / "docs/examples/backup.sh"
STEPS = 3

pytestmark = pytest.mark.skipif(shutil.which("rsync") is None, reason="not on PATH: rsync")


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


def back_up(root: Path, copy: Path) -> None:
    subprocess.run(["sh", SCRIPT, root, copy], check=True, timeout=60)


def fsck(root: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "wasmhold", "fsck", "--root", str(root), *flags],
        capture_output=True,
        text=True,
        timeout=60,
    )


@contextmanager
def backing_up(root: Path, copy: Path, folder: Path):
    """The script, held behind each copy; `copied(n)` waits for the nth, `go(n)` lets it go on."""
    shim = folder / "rsync"
    shim.write_text(
        f'#!/bin/sh\n{shutil.which("rsync")} "$@"\nstatus=$?\n'
        f"cd {folder}\nn=0\nwhile [ -e copied.$n ]; do n=$((n + 1)); done\ntouch copied.$n\n"
        "while [ ! -e go.$n ]; do sleep 0.01; done\nexit $status\n"
    )
    shim.chmod(0o755)
    process = subprocess.Popen(["sh", SCRIPT, root, copy], env=environment(folder))

    def copied(step: int) -> None:
        deadline = time.monotonic() + 30
        while not (folder / f"copied.{step}").exists():
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.005)

    try:
        yield copied, lambda step: (folder / f"go.{step}").touch()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


def move(store):
    push(store, "demo", "moves", text="second")


def add(store):
    push(store, "new/app", "v1", text="of a new repository")
    push(store, "demo", "v3", text="new")


def delete(store):
    run(store.tag_delete("demo", "goes", guard=lambda *_: None))


def refer(store):
    subject = run(store.tag_get("demo", "stays"))
    push(store, "demo", subject=subject, text="a signature")


def collect(store):
    move(store)
    while run(store.collect(0, untagged=False)).changed:
        pass


@covers("BR-115")
@pytest.mark.parametrize("step", range(STEPS))
@pytest.mark.parametrize("change", [move, add, delete, refer, collect], ids=lambda c: c.__name__)
def test_changes_between_its_copies_take_nothing_away(change, step, tmp_path):
    root, copy, folder = tmp_path / "root", tmp_path / "copy", tmp_path / "shim"
    root.mkdir()
    folder.mkdir()
    with opened(root) as store:
        digests = {tag: push(store, "demo", tag, text=tag) for tag in ("stays", "moves", "goes")}
        note = push(store, "demo", subject=digests["stays"], text="note")
        push_blob(store, "demo", b"nobody refers to it yet")
        with backing_up(root, copy, folder) as (copied, go):
            for number in range(STEPS):
                copied(number)
                if number == step:
                    change(store)
                go(number)
        run(store.settle())
    with opened(copy) as store:
        found = []
        run(store.check(Rules(repair=True), found.append))
        assert not [finding for finding in found if finding.is_damage]
        assert run(store.tag_get("demo", "stays")) == digests["stays"]
        moved = run(store.tag_get("demo", "moves"))
        for digest in (*digests.values(), note, moved):
            assert Digest.of(run(store.manifest_get("demo", digest)).content) == digest


@covers("BR-115")
@pytest.mark.slow
def test_a_server_is_backed_up_while_it_is_pushed_to(tmp_path):
    root, copy = tmp_path / "root", tmp_path / "copy"
    pushed: list[tuple[str, bytes]] = []  # tag and manifest, as they were acknowledged
    stop = threading.Event()

    def go_on(url: str) -> None:
        """Push until told to stop; every fourth time a tag moves that was there."""
        with to_url(url) as send:
            n = 0
            while not stop.is_set():
                n += 1
                layer = b"layer %d" % n
                digest = Digest.of(layer)
                answer = send(
                    Exchange("POST", f"/v2/demo/blobs/uploads/?digest={digest}", [], [layer], False)
                )
                assert answer.status == 201
                content = (
                    f'{{"schemaVersion":2,"mediaType":"{IMAGE_MANIFEST}","config":'
                    f'{{"mediaType":"{EMPTY}","digest":"{digest}","size":{len(layer)}}},"layers":[]}}'
                ).encode()
                tag = "moves" if n % 4 == 0 else f"t{n}"
                headers = [("Content-Type", IMAGE_MANIFEST)]
                put = Exchange("PUT", f"/v2/demo/manifests/{tag}", headers, [content], False)
                assert send(put).status == 201
                pushed.append((tag, content))

    with serving("--log", "off", store=("--root", str(root), "--workers", "2")) as server:
        client = threading.Thread(target=go_on, args=(server.url,))
        client.start()
        try:
            for _ in range(2):  # into nothing, then over what is there
                while len(pushed) < 100:
                    time.sleep(0.01)
                before = list(pushed)
                back_up(root, copy)
                pushed_meanwhile = len(pushed) - len(before)
        finally:
            stop.set()
            client.join()
    assert pushed_meanwhile > 0
    checked = fsck(copy, "--repair")
    assert checked.returncode == 0, checked.stdout
    with serving("--log", "off", store=("--root", str(copy))) as server, to_url(server.url) as send:
        for tag, content in before:
            for reference in (tag, Digest.of(content)):
                got = send(Exchange("GET", f"/v2/demo/manifests/{reference}", [], None, False))
                assert got.status == 200
                assert tag == "moves" or got.body == content
            blob = json.loads(content)["config"]["digest"]
            got = send(Exchange("GET", f"/v2/demo/blobs/{blob}", [], None, False))
            assert Digest.of(got.body) == Digest.parse(blob)
