"""A folder that others change while it is used: a miss or an error, never wrong bytes."""

from __future__ import annotations

import os
from contextlib import aclosing

import pytest

from wasmhold.client.caches.blob_cache import BlobCache
from wasmhold.client.runtime import ThreadRuntime
from wasmhold.oci.errors import BlobUnknown, ContentDamaged, WasmholdError
from wasmhold.oci.limits import MIB
from wasmhold.ports.runtime import run
from wasmhold.testing.cache_suite import keep, read

CONTENT = os.urandom(3 * MIB)


def file_of(path, digest):
    return path / "blobs" / digest.algorithm / digest.encoded


def flip(path, at):
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(b"!!")


def test_a_file_that_changes_while_it_is_verified(tmp_path):
    digest = run(keep(BlobCache.open(tmp_path / "c").engine(ThreadRuntime()), CONTENT)).digest
    engine = BlobCache.open(tmp_path / "c").engine(ThreadRuntime())
    feed = engine._feed

    async def then_it_changes(*arguments):
        await feed(*arguments)
        flip(file_of(tmp_path / "c", digest), 0)

    engine._feed = then_it_changes
    try:
        assert run(read(engine, digest)) == CONTENT
    except (BlobUnknown, ContentDamaged):
        pass
    engine._feed = feed
    with pytest.raises((BlobUnknown, ContentDamaged)):
        run(read(engine, digest))


@pytest.mark.parametrize("harm", [flip, os.truncate])
def test_a_file_that_changes_while_it_is_read(tmp_path, harm):
    engine = BlobCache.open(tmp_path / "c").engine(ThreadRuntime())
    digest = run(keep(engine, CONTENT)).digest

    async def work():
        got = b""
        async with aclosing(await engine.blob_open(digest)) as body:
            async for chunk in body:
                if not got:
                    harm(file_of(tmp_path / "c", digest), 2 * MIB)
                got += chunk
        return got

    with pytest.raises(WasmholdError):
        run(work())


@pytest.mark.parametrize("what", [lambda p: p.symlink_to("x"), os.mkfifo])
def test_a_lock_that_is_something_else(tmp_path, what):
    engine = BlobCache.open(tmp_path / "c", max_size=4 * MIB).engine(ThreadRuntime())
    run(keep(engine, CONTENT))
    (tmp_path / "c" / "lock").unlink(missing_ok=True)
    what(tmp_path / "c" / "lock")
    run(keep(engine, bytes(2 * MIB)))
