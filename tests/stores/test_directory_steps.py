"""The directory store, call by call: order and syncs, what a read costs, and each call broken."""

import os
import time
from contextlib import contextmanager

import pytest

from tests.stores.directories import inline, opened
from tests.stores.recording import Recording
from wasmhold.oci import media_types
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import OutOfSpace, StoreUnavailable
from wasmhold.oci.manifest import parse_manifest
from wasmhold.ports.body import BytesBody
from wasmhold.ports.runtime import run
from wasmhold.stores.directory import paths
from wasmhold.stores.directory.flock import flock
from wasmhold.stores.directory.native import NativeFiles
from wasmhold.testing import store_suite as suite
from wasmhold.testing.covers import covers

CONFIG, LAYER = b"the config", b"the layer"
IMAGE = suite.image(Digest.of(CONFIG))
REFERRER = suite.image(
    Digest.of(CONFIG),
    subject={
        "mediaType": media_types.IMAGE_MANIFEST,
        "digest": str(IMAGE[0].digest),
        "size": 1,
    },
)
INDEX = suite.index(
    {"mediaType": media_types.IMAGE_MANIFEST, "digest": str(IMAGE[0].digest), "size": 1}
)
SHA512 = Digest.of(LAYER, "sha512")


@contextmanager
def recorded(folder):
    """A store with something in it, whose calls are written down."""
    native = NativeFiles(str(folder), inline(), locks=flock, durable=False)
    recording = Recording(native)
    with opened(folder, files=recording) as store:
        run(suite.push(store, "a", CONFIG))
        run(suite.push(store, "b", b"of another"))
        run(suite.put(store, "a", IMAGE, "t"))
        run(suite.push(store, "a", b"beside"))  # so that all there is to know is known
        store._disk._durable.drop(paths.repository("a").manifest(IMAGE[0].digest))
        recording.calls.clear()
        yield store, recording
    native.close()


# ---- what is done

WRITES = {"create", "append", "sync", "sync_folder", "link", "symlink", "rename", "unlink"}
NAMES = {
    Digest.of(CONFIG).encoded: "config",
    Digest.of(LAYER).encoded: "layer",
    SHA512.encoded: "layer",
    IMAGE[0].digest.encoded: "image",
    REFERRER[0].digest.encoded: "referrer",
    INDEX[0].digest.encoded: "index",
}


def shortened(calls):
    """The calls that change something, without those about the session and the mark."""
    for kind, path in calls:
        parts = path.replace("sha256:", "").split("/")
        if (
            kind not in WRITES
            or parts[-1].startswith("state")
            or parts[1] in ("dirty", "committed")
        ):
            continue
        if parts[1] == "tmp":
            parts = ["tmp"]
        elif parts[1] == "uploads":
            parts = [parts[3]]
        elif parts[1] == "pool":
            parts = ["pool", parts[-1]]
        elif parts[0] == "a":
            parts = [part for part in parts[1:] if part not in (".wasmhold", "sha256")]
        yield f"{kind} {'/'.join(NAMES.get(part, part) for part in parts)}"


async def push(store):
    await suite.push(store, "a", LAYER)


async def mount(store):
    await store.blob_mount("a", Digest.of(b"of another"), "b")


async def put(store):
    await suite.put(store, "a", REFERRER, "u")


async def put_index(store):
    await suite.put(store, "a", INDEX)


async def retag(store):
    await suite.put(store, "a", IMAGE, "t", "u")


async def delete_tag(store):
    await store.tag_delete("a", "t", suite.allow)


async def delete(store):
    await store.manifest_delete("a", IMAGE[0].digest, suite.allow)


async def delete_blob(store):
    await store.blob_delete("a", Digest.of(b"beside"))


STEPS = {
    push: """append data, sync data, link pool/layer, link blobs/layer, sync_folder blobs,
        unlink data""",
    mount: "link blobs/*, sync_folder blobs",
    put: """create tmp, sync tmp, link blobs/referrer, unlink tmp, sync_folder blobs,
        symlink manifests/referrer, sync_folder referrers, symlink referrers/image/referrer,
        sync_folder manifests, sync_folder referrers/image,
        symlink tmp, rename tags/u, sync_folder tags""",
    put_index: """create tmp, sync tmp, link blobs/index, unlink tmp, sync_folder manifests,
        sync_folder blobs, symlink manifests/index, sync_folder manifests""",
    retag: """sync_folder blobs, symlink manifests/image, sync_folder manifests,
        symlink tmp, symlink tmp, rename tags/t, rename tags/u, sync_folder tags""",
    delete_tag: "unlink tags/t, sync_folder tags",
    delete: "unlink tags/t, sync_folder tags, unlink manifests/image, sync_folder manifests",
    delete_blob: "sync_folder manifests, unlink blobs/*, sync_folder blobs",
}


@pytest.mark.parametrize("operation", STEPS, ids=lambda operation: operation.__name__)
@covers("BR-018", "BR-075", "BR-076", "BR-077")
def test_order_and_syncs(operation, tmp_path):
    with recorded(tmp_path) as (store, recording):
        run(operation(store))
        done = list(shortened(recording.calls))
    want = [step.strip() for step in STEPS[operation].replace("\n", " ").split(",")]
    assert len(done) == len(want), done
    for step, wanted in zip(done, want, strict=True):
        folders = wanted.endswith("*") and step.startswith(wanted[:-1])
        assert step == wanted or folders, done


def test_a_known_manifest_costs_a_tag(tmp_path):
    with recorded(tmp_path) as (store, recording):
        time.sleep(0.03)  # what is younger may be confused with what comes in its place
        run(retag(store))
        recording.calls.clear()
        run(suite.put(store, "a", IMAGE, "v"))
        done = list(shortened(recording.calls))
        assert done == ["symlink tmp", "rename tags/v", "sync_folder tags"]
        run(delete(store))
        recording.calls.clear()
        run(suite.put(store, "a", IMAGE, "v"))
        assert "sync_folder manifests" in shortened(recording.calls)  # it is another one


# ---- what a read costs

READS = [
    # what,                                                        calls: cold, warm
    (lambda s: s.tag_get("a", "t"), ["readlink"], ["readlink"]),
    (
        lambda s: s.manifest_get("a", IMAGE[0].digest),
        ["readlink", "read"],
        ["readlink"],
    ),
    (lambda s: s.blob_stat("a", Digest.of(CONFIG)), ["stat"], ["stat"]),
    (lambda s: open_and_close(s), ["stat", "open_body"], ["stat", "open_body"]),
    (lambda s: s.tags("a", "", 10), ["stat", "names"], ["stat"]),
    (
        lambda s: s.referrers("a", IMAGE[0].digest, None, 10),
        ["names", "readlink", "readlink", "read"],
        ["names", "readlink"],
    ),
]


async def open_and_close(store):
    await (await store.blob_open("a", Digest.of(CONFIG))).aclose()


@pytest.mark.parametrize("number", range(len(READS)))
def test_what_a_read_costs(number, tmp_path):
    read, cold, warm = READS[number]
    with recorded(tmp_path) as (store, _):
        run(suite.put(store, "a", REFERRER))
    time.sleep(0.03)  # a folder that has just changed is read again
    recording = Recording(NativeFiles(str(tmp_path), inline(), locks=flock))
    with opened(tmp_path, files=recording) as store:
        run(store.tag_get("a", "unknown"))  # the first look at the repository
        for want in (cold, warm):
            recording.calls.clear()
            run(read(store))
            assert [kind for kind, _ in recording.calls] == want
    recording.files.close()


# ---- each call broken


def check_whole(root):
    """What others see is right, whatever broke."""
    for name in ("a", "b", "c"):
        of = paths.repository(name)
        meta = root / of.meta
        for blob in (root / of.blobs).glob("*/*"):
            digest = Digest(blob.parent.name, blob.name)
            assert Digest.of(blob.read_bytes(), digest.algorithm) == digest
        for link in meta.glob("manifests/*"):
            digest = paths.read_digest(link.name)
            manifest = parse_manifest((root / of.blob(digest)).read_bytes(), os.readlink(link))
            for child in manifest.children:
                assert (root / of.blob(child.digest)).exists()
        for link in meta.glob("tags/*"):
            digest = paths.read_short(os.readlink(link))
            assert os.path.lexists(root / of.manifest(digest))


def commit(session):
    async def operation(store):
        body = BytesBody(LAYER[4:])
        assert await store.upload_commit("a", session, 4, body, Digest.of(LAYER)) == len(LAYER)

    return operation


async def push_sha512(store):
    session = await store.upload_open("c", "sha256")
    await store.upload_commit("c", session, 0, BytesBody(LAYER), SHA512)


async def collect(store):
    await store.collect(0, untagged=True)


async def stands(store, operation, session):
    """What the operation is for has come about."""
    if operation in (push, commit):
        assert await suite.pull(store, "a", Digest.of(LAYER)) == LAYER
    elif operation is push_sha512:
        assert await suite.pull(store, "c", SHA512) == LAYER
    elif operation is mount:
        assert await suite.pull(store, "a", Digest.of(b"of another")) == b"of another"
    elif operation is put:
        assert await store.tag_get("a", "u") == REFERRER[0].digest
        found = await store.referrers("a", IMAGE[0].digest, None, 10)
        assert [descriptor.digest for descriptor in found] == [REFERRER[0].digest]
    elif operation is put_index:
        assert await store.manifest_get("a", INDEX[0].digest) == INDEX[0]
    elif operation is retag:
        assert await store.tags("a", "", 10) == ["t", "u"]
    elif operation in (delete_tag, delete):
        assert await store.tag_get("a", "t") is None
    elif operation is delete_blob:
        assert await store.blob_stat("a", Digest.of(b"beside")) is None


BROKEN = [push, commit, push_sha512, mount, put, put_index, retag, delete_tag, delete,
          delete_blob, collect]  # fmt: skip
GONE = {delete_tag: "ManifestUnknown", delete: "ManifestUnknown", delete_blob: "BlobUnknown"}


@pytest.mark.parametrize(
    ("error", "late"), [(OutOfSpace, False), (StoreUnavailable, True)], ids=["before", "after"]
)
@pytest.mark.parametrize("operation", BROKEN, ids=lambda operation: operation.__name__)
@covers("BR-018", "BR-070", "BR-079")
def test_each_call_broken(operation, error, late, tmp_path):
    number = 0
    while True:
        number += 1
        root = tmp_path / str(number)
        root.mkdir()
        with recorded(root) as (store, recording):
            session, ran = None, operation
            if operation is commit:
                session = run(store.upload_open("a", "sha256"))
                run(store.upload_append("a", session, 0, BytesBody(LAYER[:4])))
                ran = commit(session)
            recording.calls.clear()
            recording.breaks_at, recording.error, recording.late = number, error, late
            failed = None
            try:
                run(ran(store))
            except error as raised:
                failed = raised
            was_broken = len(recording.calls) >= number
            recording.breaks_at = None
            check_whole(root)
            if failed is not None:
                try:
                    run(ran(store))
                except Exception as raised:
                    # What broke was the answer alone.
                    assert type(raised).__name__ == GONE.get(operation), raised
            run(stands(store, operation, session))
            check_whole(root)
            run(suite.collect(store))
            check_whole(root)
            if operation not in (collect, delete):
                run(stands_after_collection(store, operation))
        if not was_broken:
            return


async def stands_after_collection(store, operation):
    if operation in (put, put_index, retag):
        await stands(store, operation, None)
