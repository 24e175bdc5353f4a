"""``wasmhold gc`` and ``wasmhold fsck``: what they say, and their exit statuses."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.registries import serving
from tests.stores.directories import opened
from tests.stores.layouts import read_tags
from tests.stores.test_check import LAYER, overwrite, push, push_blob
from wasmhold.cli.commands.fsck import fsck
from wasmhold.cli.commands.gc import gc
from wasmhold.oci import media_types
from wasmhold.oci.digest import Digest
from wasmhold.ports.runtime import run
from wasmhold.stores.directory import paths
from wasmhold.stores.directory.findings import Finding, Kind, Rules
from wasmhold.testing.covers import covers
from wasmhold.testing.senders import to_url
from wasmhold.testing.transcript import Exchange

NOBODY = Digest.of(b"nobody")


def wasmhold(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "wasmhold", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def root(tmp_path) -> Path:
    """A manifest with a tag, and a blob that nobody refers to."""
    with opened(tmp_path) as store:
        push(store, "demo", "v1")
        push_blob(store, "demo", b"nobody")
        run(store.settle())
    return tmp_path


@covers("OW-174")
def test_a_dry_run_then_the_real_one(root):
    blob = root / "demo/blobs/sha256" / NOBODY.encoded
    would = wasmhold("gc", "--root", root, "--grace", 0, "--dry-run")
    assert would.returncode == 0, would.stderr
    assert would.stdout.splitlines() == [
        f"would remove demo: {NOBODY} (6 bytes): no manifest refers to it",
        "would remove 1 thing, would free 6 bytes",
    ]
    assert blob.exists()
    did = wasmhold("gc", "--root", root, "--grace", 0, "--json")
    assert did.returncode == 0, did.stderr
    *removals, last = map(json.loads, did.stdout.splitlines())
    assert removals[0] == {
        "removed": str(NOBODY),
        "repository": "demo",
        "rule": "no manifest refers to it",
        "size": 6,
    }
    assert last["summary"] == {"dryRun": False, "rounds": 2, "count": len(removals), "freed": 6}
    assert not blob.exists()
    assert "removed 0 things, freed 0 bytes" in wasmhold("gc", "--root", root, "--grace", 0).stdout


def test_what_is_young_stays(root):
    assert "removed 0 things" in wasmhold("gc", "--root", root).stdout


def test_why_a_digest_is_kept(root):
    told = wasmhold("gc", "--root", root, "--explain", LAYER)
    assert told.returncode == 0
    assert told.stdout.startswith("demo: referred to by sha256:")
    assert told.stdout.endswith("tags v1\n")
    told = wasmhold("gc", "--root", root, "--explain", NOBODY, "--json")
    assert json.loads(told.stdout) == {
        "repository": "demo",
        "isKept": False,
        "isManifest": False,
        "manifests": [],
        "tags": [],
    }
    missing = wasmhold("gc", "--root", root, "--explain", Digest.of(b"unknown"))
    assert missing.returncode == 3
    assert missing.stderr.startswith("error: no repository has sha256:")
    assert "hint: " in missing.stderr


@covers("OW-176")
def test_damage_is_found_repaired_and_deleted(root):
    whole = wasmhold("fsck", "--root", root)
    assert whole.returncode == 0, whole.stderr
    assert whole.stdout == (
        "checked 1 repository, 1 manifest, 1 tag, 4 blobs: read "
        + whole.stdout.rpartition("read ")[2]
    )
    overwrite(root / "demo/blobs/sha256" / LAYER.encoded, b"LAYER")
    found = wasmhold("fsck", "--root", root, "--json")
    assert found.returncode == 1
    finding, last = map(json.loads, found.stdout.splitlines())
    assert finding == {
        "finding": "blob-damaged",
        "repository": "demo",
        "digest": str(LAYER),
        "what": f"{LAYER} is other bytes than that",
        "repair": "",
        "isDamage": True,
    }
    assert last["summary"]["damage"] == 1
    assert found.stderr.startswith(f"error: {root} is damaged: 1 finding\nhint: ")
    assert wasmhold("fsck", "--root", root, "--repair").returncode == 1
    assert wasmhold("fsck", "--root", root, "--repair", "--delete-broken").returncode == 1
    assert wasmhold("fsck", "--root", root).returncode == 0


# fmt: off
WRONG = [
    # arguments,                                    status, what is said
    (["gc"],                                        2,      "--root"),
    (["gc", "--root", "{root}", "--grace", "-1"],   2,      "--grace"),
    (["gc", "--root", "{root}", "--explain", "x"],  2,      "not a digest"),
    (["gc", "--root", "{root}/demo"],               3,      "is no directory that wasmhold serves"),
    (["fsck"],                                      2,      "--root"),
    (["fsck", "--root", "{root}", "--rate", "0"],   2,      "--rate"),
    (["fsck", "--root", "/nowhere"],                3,      "is no directory that wasmhold serves"),
]
# fmt: on


@pytest.mark.parametrize(("arguments", "status", "said"), WRONG)
def test_wrong_use(arguments, status, said, root):
    ran = wasmhold(*(argument.format(root=root) for argument in arguments))
    assert ran.returncode == status
    assert ran.stderr.startswith("error: ")
    assert said in ran.stderr
    assert "\nhint: " in ran.stderr
    assert ran.stdout == ""


def test_a_store_of_another_format(root):
    (root / ".wasmhold/format").write_text('{"format": 99}')
    for command in ("gc", "fsck"):
        ran = wasmhold(command, "--root", root)
        assert ran.returncode == 1
        assert "format 99" in ran.stderr


def test_the_guide_names_every_option_and_finding():
    text = (Path(__file__).parents[2] / "docs/store.md").read_text()
    for command, heading in ((gc, "## Collection"), (fsck, "## Check and repair")):
        section = text.partition(heading)[2].partition("\n## ")[0]
        told = set(re.findall(r"^\| `(--[a-z-]+)", section, re.MULTILINE))
        assert told == {option.opts[0] for option in command.params}
    findings = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
    assert set(Kind) <= {kind.strip("`") for row in findings for kind in row.split(", ")}
    assert f"| {gc.params[3].default} |" in text


def test_a_copy_is_a_backup(root, tmp_path_factory):
    backup = tmp_path_factory.mktemp("backup") / "root"
    subprocess.run(["cp", "-a", root, backup], check=True)
    ran = wasmhold("fsck", "--root", backup)
    assert (ran.returncode, ran.stdout.count("\n")) == (0, 1)
    blob, pool = backup / "demo/blobs/sha256" / LAYER.encoded, backup / paths.pool(LAYER)
    assert blob.stat().st_ino == pool.stat().st_ino


@covers("OW-174")
def test_beside_a_server(tmp_path):
    """Both see what the other does."""
    with serving("--log", "off", store=("--root", str(tmp_path))) as server:
        with to_url(server.url) as send:
            path = f"/v2/demo/blobs/uploads/?digest={NOBODY}"
            assert send(Exchange("POST", path, [], [b"nobody"], False)).status == 201
            assert wasmhold("fsck", "--root", tmp_path).returncode == 0
            told = wasmhold("gc", "--root", tmp_path, "--grace", 0)
            assert "freed 6 bytes" in told.stdout
            blob = f"/v2/demo/blobs/{NOBODY}"
            assert send(Exchange("GET", blob, [], None, False)).status == 404
            assert send(Exchange("POST", path, [], [b"nobody"], False)).status == 201
            assert send(Exchange("GET", blob, [], None, False)).body == b"nobody"


@covers("OW-171")
def test_a_server_that_stops_leaves_its_index_written(tmp_path):
    with serving("--log", "off", store=("--root", str(tmp_path), "--workers", "2")) as server:
        with to_url(server.url) as send:
            content = b'{"schemaVersion":2,"manifests":[]}'
            headers = [("Content-Type", media_types.IMAGE_INDEX)]
            tags = [f"t{i}" for i in range(20)]
            for tag in tags:
                put = Exchange("PUT", f"/v2/demo/manifests/{tag}", headers, [content], False)
                assert send(put).status == 201
        server.stop()
    assert read_tags(tmp_path / "demo").keys() == {*tags}
    assert [*(tmp_path / ".wasmhold/dirty").iterdir()] == []


@covers("OW-172", "OW-176")
def test_what_is_in_motion_is_no_damage(tmp_path):
    """A check, and a collection, beside two workers that take pushes and deletes."""
    stop = threading.Event()
    failed: list[object] = []

    def push_and_delete(url: str, number: int) -> None:
        with to_url(url) as send:

            def put(reference: str, document: dict[str, object]) -> str:
                content = json.dumps({"schemaVersion": 2, **document}).encode()
                headers = [("Content-Type", str(document["mediaType"]))]
                path = f"/v2/demo/manifests/{reference}"
                status = send(Exchange("PUT", path, headers, [content], False)).status
                if status != 201:
                    failed.append(status)
                return str(Digest.of(content))

            for i in itertools.count():
                if stop.is_set():
                    return
                data = f"{number} {i}".encode()
                path = f"/v2/demo/blobs/uploads/?digest={Digest.of(data)}"
                send(Exchange("POST", path, [], [data], False))
                blob = {"mediaType": "a/b", "digest": str(Digest.of(data)), "size": len(data)}
                image = {"mediaType": media_types.IMAGE_MANIFEST, "config": blob, "layers": []}
                digest = put(f"t{number}", image)
                subject = {"mediaType": media_types.IMAGE_MANIFEST, "digest": digest, "size": 1}
                note = put(f"n{number}", {**image, "subject": subject})
                for gone in (digest, note) if i % 2 else ():
                    send(Exchange("DELETE", f"/v2/demo/manifests/{gone}", [], None, False))

    found: list[Finding] = []
    with serving("--log", "off", store=("--root", str(tmp_path), "--workers", "2")) as server:
        threads = [
            threading.Thread(target=push_and_delete, args=(server.url, number)) for number in (1, 2)
        ]
        for thread in threads:
            thread.start()
        try:
            with opened(tmp_path) as store:
                until = time.monotonic() + 4
                while time.monotonic() < until:
                    run(store.check(Rules(), found.append))
                    run(store.clean(60, untagged=False, dry_run=False, told=lambda removal: None))
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        server.stop()
    assert failed == []
    assert [finding.line for finding in found if finding.is_damage] == []
    assert wasmhold("fsck", "--root", tmp_path).returncode == 0
