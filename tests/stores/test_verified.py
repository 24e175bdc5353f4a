"""A flipped bit on the disk never leaves as a whole answer; pushing again mends it."""

import pytest

from tests.stores.directories import opened
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import ContentDamaged
from wasmhold.ports.body import BytesBody
from wasmhold.ports.runtime import run
from wasmhold.stores.directory import blobs
from wasmhold.testing.covers import covers

CONTENT = bytes(range(256)) * 4096  # 1 MiB: several pieces
DIGEST = Digest.of(CONTENT)


async def push(store, content=CONTENT):
    session = await store.upload_open("a", "sha256")
    await store.upload_commit("a", session, 0, BytesBody(content), Digest.of(content))


async def pull(store, start=0, stop=None, digest=DIGEST):
    """What came, until an error or the end."""
    body = await store.blob_open("a", digest, start, stop)
    got = b""
    try:
        async for piece in body:
            got += piece
    except ContentDamaged as error:
        return got, error
    finally:
        await body.aclose()
    return got, None


def flip(folder, at):
    for path in [*folder.rglob(DIGEST.encoded)][:1]:  # hard links: one file
        data = bytearray(path.read_bytes())
        data[at] ^= 1
        path.write_bytes(data)


@covers("BR-077")
def test_what_is_right_is_verified_once(tmp_path):
    with opened(tmp_path) as store:
        run(push(store))
    with opened(tmp_path) as store:
        body = run(store.blob_open("a", DIGEST))
        assert body.file is None  # hashed on its way
        run(body.aclose())
        assert run(pull(store)) == (CONTENT, None)
        body = run(store.blob_open("a", DIGEST))
        assert body.file is not None  # from now on the fast way
        run(body.aclose())


@covers("BR-077")
@pytest.mark.parametrize("at", [0, 500_000, len(CONTENT) - 1])
def test_a_flipped_bit_never_leaves_whole(tmp_path, at):
    with opened(tmp_path) as store:
        run(push(store))
    flip(tmp_path, at)
    with opened(tmp_path) as store:
        got, error = run(pull(store))
        assert isinstance(error, ContentDamaged)
        assert len(got) < len(CONTENT)
        # Nor as a part.
        with pytest.raises(ContentDamaged):
            run(pull(store, 10, 20))


def test_a_change_after_the_first_read_is_seen(tmp_path):
    with opened(tmp_path) as store:
        run(push(store))
        assert run(pull(store))[1] is None
        flip(tmp_path, 7)
        assert isinstance(run(pull(store))[1], ContentDamaged)


def test_pushing_again_mends(tmp_path):
    with opened(tmp_path) as store:
        run(push(store))
    flip(tmp_path, 7)
    with opened(tmp_path) as store:
        run(push(store))
        assert run(pull(store)) == (CONTENT, None)
        assert run(pull(store, 10, 20)) == (CONTENT[10:20], None)


def test_a_part_of_what_is_too_large_is_served_unseen(tmp_path, monkeypatch):
    monkeypatch.setattr(blobs, "PART_LIMIT", 1000)
    with opened(tmp_path) as store:
        run(push(store))
    with opened(tmp_path) as store:
        assert run(pull(store, 10, 20)) == (CONTENT[10:20], None)


def test_the_empty_blob(tmp_path):
    with opened(tmp_path) as store:
        run(push(store, b""))
    with opened(tmp_path) as store:
        assert run(pull(store, digest=Digest.of(b""))) == (b"", None)
