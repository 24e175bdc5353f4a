"""Several stores over one bucket, as replicas are; parts, buffers, ages."""

import pytest

from wasmhold.oci import media_types
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import (
    ContentDamaged,
    DigestMismatch,
    ManifestUnknown,
    PreconditionFailed,
    RangeInvalid,
    UploadUnknown,
)
from wasmhold.oci.limits import KIB, MIB
from wasmhold.ports.body import read_all
from wasmhold.ports.runtime import Inline, run
from wasmhold.stores import pieces
from wasmhold.stores.bucket import keys, staging
from wasmhold.stores.bucket.cells import GONE
from wasmhold.stores.bucket.port import Unsupported
from wasmhold.stores.bucket.store import BucketStore
from wasmhold.stores.memory import MemoryBucket
from wasmhold.testing import store_suite as suite
from wasmhold.testing.covers import covers
from wasmhold.testing.store_suite import Chunks

from .test_memory import Counter


class Replicas:
    """Stores that share a bucket and a clock."""

    def __init__(self, count=2):
        self.time = 1e9
        self.runtime = Inline(lambda: self.time, lambda seconds: None)
        self.bucket = MemoryBucket(self.runtime)
        chance = Counter()
        self.stores = [BucketStore(self.bucket, self.runtime, chance) for _ in range(count)]

    def keys(self, prefix=""):
        return [entry.key for entry in run(self.bucket.list(prefix, "", 1000)).entries]


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@covers("BR-038", "BR-035")
def test_an_upload_goes_from_replica_to_replica(algorithm):
    one, two = Replicas().stores
    session = run(one.upload_open("a", algorithm))
    for i, store in enumerate([one, two, one, one, two]):
        assert run(store.upload_append("a", session, 3 * i, Chunks(b"%03d" % i))) == 3 * i + 3
    content = b"000001002003004last"
    digest = Digest.of(content, algorithm)
    assert run(one.upload_commit("a", session, 15, Chunks(b"last"), digest)) == len(content)
    for store in (one, two):
        assert run(suite.pull(store, "a", digest)) == content
        assert run(store.upload_commit("a", session, 15, Chunks(b"last"), digest)) == len(content)


@covers("BR-038", "BR-036")
def test_what_another_replica_appended_is_verified():
    """Two replicas append other bytes of the same length; a hash that is remembered is no use."""
    replicas = Replicas()
    one, two = replicas.stores
    session = run(one.upload_open("a", "sha256"))
    run(one.upload_append("a", session, 0, Chunks(b"one")))
    run(replicas.bucket.delete(replicas.keys("data/")[0]))
    # The session as if it had been two's bytes that won.
    entry = replicas.keys("u/")[0]
    cells = two._cells
    cell = run(cells.read(entry))
    run(cells.write(entry, cell, cell.state, cell.payload.rsplit(" ", 2)[0]))
    run(two.upload_append("a", session, 0, Chunks(b"two")))
    with pytest.raises(DigestMismatch):
        run(one.upload_commit("a", session, 3, Chunks(), Digest.of(b"one")))


@covers("BR-035")
def test_of_two_writers_at_one_offset_one_wins():
    replicas = Replicas()
    one, two = replicas.stores
    session = run(one.upload_open("a", "sha256"))

    class Meanwhile(Chunks):
        async def __aiter__(self):
            await two.upload_append("a", session, 0, Chunks(b"two"))
            yield b"one, and longer"

    with pytest.raises(RangeInvalid) as caught:
        run(one.upload_append("a", session, 0, Meanwhile()))
    assert caught.value.expected == 3
    assert len(replicas.keys("data/")) == 1
    run(one.upload_commit("a", session, None, Chunks(), Digest.of(b"two")))
    with pytest.raises(UploadUnknown):
        run(one.upload_append("a", session, 0, Chunks(b"x")))


def test_an_append_during_a_commit_is_not_committed_unseen():
    replicas = Replicas()
    one, two = replicas.stores
    session = run(one.upload_open("a", "sha256"))

    class Meanwhile(Chunks):
        async def __aiter__(self):
            await two.upload_append("a", session, 0, Chunks(b"two"))
            yield b"one"

    with pytest.raises(RangeInvalid):
        run(one.upload_commit("a", session, 0, Meanwhile(), Digest.of(b"one")))
    assert run(one.upload_status("a", session)) == 3
    assert len(replicas.keys("data/")) == 1


def test_a_session_that_ends_during_a_commit():
    replicas = Replicas()
    one, two = replicas.stores
    session = run(one.upload_open("a", "sha256"))

    class Meanwhile(Chunks):
        async def __aiter__(self):
            await two.upload_cancel("a", session)
            yield b"one"

    with pytest.raises(UploadUnknown):
        run(one.upload_commit("a", session, 0, Meanwhile(), Digest.of(b"one")))
    for _ in range(4):
        run(one.collect(0))
    assert replicas.keys() == []


@covers("BR-036")
def test_a_wrong_digest_leaves_no_bytes():
    replicas = Replicas(1)
    (store,) = replicas.stores
    session = run(store.upload_open("a", "sha256"))
    run(store.upload_append("a", session, 0, Chunks(b"abc")))
    with pytest.raises(DigestMismatch):
        run(store.upload_commit("a", session, 3, Chunks(b"def"), Digest.of(b"other")))
    assert replicas.keys("data/") == []


def test_a_blob_that_is_there_keeps_its_bytes_and_the_new_ones_go():
    replicas = Replicas(1)
    (store,) = replicas.stores
    run(suite.push(store, "a", b"bytes"))
    (kept,) = replicas.keys("data/")
    run(suite.push(store, "a", b"bytes"))
    run(suite.push(store, "b", b"bytes"))
    assert replicas.keys("data/") == [kept]


@covers("BR-035")
def test_a_large_body_becomes_several_parts(monkeypatch):
    monkeypatch.setattr(staging, "PART", 2 * MIB)
    replicas = Replicas(1)
    (store,) = replicas.stores
    content = bytes(range(256)) * (4 * KIB) * 5 + b"tail"
    pieces = [content[i : i + 300_000] for i in range(0, len(content), 300_000)]
    session = run(store.upload_open("a", "sha256"))
    digest = Digest.of(content)
    run(store.upload_commit("a", session, 0, Chunks(*pieces), digest))
    assert len(replicas.keys("data/")) == 3
    assert run(suite.pull(store, "a", digest)) == content
    middle = run(store.blob_open("a", digest, 2 * MIB - 5, 4 * MIB + 700_000))
    assert run(read_all(middle)) == content[2 * MIB - 5 : 4 * MIB + 700_000]


def test_pieces_shrink_when_the_buffers_are_spent(monkeypatch):
    monkeypatch.setattr(pieces, "BUFFERS", MIB)
    replicas = Replicas(1)
    (store,) = replicas.stores
    sizes = []
    put_data = replicas.bucket.put_data

    async def watched(key, chunks):
        async def each():
            async for chunk in chunks:
                sizes.append(len(chunk))
                yield chunk

        return await put_data(key, each())

    monkeypatch.setattr(replicas.bucket, "put_data", watched)
    chunks = [bytes(64 * KIB)] * 32

    class Nested(Chunks):
        async def __aiter__(self):
            yield b"first"
            await suite.push(store, "a", b"small")
            await store.upload_commit(
                "a", await store.upload_open("a", "sha256"), 0, Chunks(*chunks),
                Digest.of(b"".join(chunks)),
            )  # fmt: skip

    session = run(store.upload_open("a", "sha256"))
    run(store.upload_commit("a", session, 0, Nested(), Digest.of(b"first")))
    assert sizes == [5, *[128 * KIB] * 16, 5]
    sizes.clear()
    run(store.upload_append("a", run(store.upload_open("a", "sha256")), 0, Chunks(bytes(3 * MIB))))
    run(store.upload_append("a", run(store.upload_open("a", "sha256")), 0, Chunks(*chunks)))
    assert sizes == [3 * MIB, MIB, MIB]
    assert store._uploads.staging.buffers.buffered == 0


def test_memory_is_read_in_small_pieces():
    (store,) = Replicas(1).stores
    session = run(store.upload_open("a", "sha256"))
    digest = Digest.of(bytes(MIB + 1))
    run(store.upload_commit("a", session, 0, Chunks(bytes(MIB + 1)), digest))

    async def sizes():
        body = await store.blob_open("a", digest, 1)
        return [len(chunk) async for chunk in body]

    assert run(sizes()) == [256 * KIB] * 4


def test_a_reader_whose_blob_is_collected_behind_it():
    (store,) = Replicas(1).stores
    digest = run(suite.push(store, "a", b"bytes"))
    body = run(store.blob_open("a", digest))
    run(suite.collect(store))
    with pytest.raises(ContentDamaged):
        run(read_all(body))
    run(body.aclose())


@covers("DS-054", "BR-034")
def test_a_session_expires_after_a_day():
    replicas = Replicas(1)
    (store,) = replicas.stores
    session = run(store.upload_open("a", "sha256"))
    run(store.upload_append("a", session, 0, Chunks(b"abc")))
    replicas.time += 23 * 3600
    run(suite.collect(store))
    assert run(store.upload_append("a", session, 3, Chunks(b"def"))) == 6
    replicas.time += 23 * 3600
    run(suite.collect(store))
    assert run(store.upload_status("a", session)) == 6
    replicas.time += 3600
    freed = sum(r.freed for r in run(suite.collect(store)))
    assert freed == 6
    assert replicas.keys() == []
    with pytest.raises(UploadUnknown):
        run(store.upload_status("a", session))


@covers("BR-140")
def test_maintain_collects_what_is_old():
    replicas = Replicas(1)
    (store,) = replicas.stores
    run(store.maintain())
    run(suite.push(store, "a", b"orphan"))
    for _ in range(8):
        replicas.time += 3600
        assert run(store.maintain()) == 3600
    assert replicas.keys() == []


def test_without_delete_if_match_the_stubs_stay():
    replicas = Replicas(1)
    (store,) = replicas.stores

    async def unsupported(key, etag):
        raise Unsupported

    replicas.bucket.remove = unsupported
    for _ in range(2):
        digest = run(suite.push_image(store, "a", "x", "t"))
        run(store.manifest_delete("a", digest, suite.allow))
        run(suite.collect(store))
        assert replicas.keys("data/") == []
        assert run(store.repositories("", 10)) == []
        assert run(store.tags("a", "", 10)) is None
    assert run(store.tag_get("a", "t")) is None
    assert replicas.keys("b/") != []


def test_a_refused_put_leaves_stubs_alone():
    replicas = Replicas(1)
    (store,) = replicas.stores
    config = run(suite.push(store, "a", b"config"))
    subject = {"mediaType": media_types.IMAGE_MANIFEST, "digest": str(config), "size": 1}

    def refuse(tag, current):
        raise PreconditionFailed(tag, None)

    with pytest.raises(PreconditionFailed):
        run(suite.put(store, "a", suite.image(config, subject=subject), "t", guard=refuse))
    assert run(store.repositories("", 10)) == []
    assert replicas.keys("r/a/_x") == replicas.keys("r/a/_r") == []
    run(suite.collect(store))
    assert replicas.keys() == []


def dangling():
    """A delete of a manifest that died before it came to the tag."""
    (store,) = Replicas(1).stores
    digest = run(suite.push_image(store, "a", "one", "t"))
    key = keys.manifest("a", digest)
    cell = run(store._cells.read(key))
    run(store._cells.write(key, cell, GONE, cell.payload))
    return store, digest


def absent_only(tag, current):
    if current is not None:
        raise PreconditionFailed(tag, str(current))


def test_a_tag_whose_manifest_is_gone_is_absent_for_the_guard():
    store, digest = dangling()
    assert run(store.tag_get("a", "t")) in (None, digest)
    assert run(store.manifest_get("a", digest)) is None
    config = run(suite.push(store, "a", b"config"))
    two = run(suite.put(store, "a", suite.image(config), "t", guard=absent_only))
    assert run(store.tag_get("a", "t")) == two
    with pytest.raises(PreconditionFailed):
        run(suite.put(store, "a", suite.image(config), "t", guard=absent_only))


def test_a_delete_that_died_is_finished_by_its_repeat():
    store, digest = dangling()
    with pytest.raises(ManifestUnknown):
        run(store.manifest_delete("a", digest, suite.allow))
    assert run(store.tag_get("a", "t")) is None
    assert run(store.tags("a", "", 10)) == []


def test_a_delete_that_died_is_finished_by_a_collection():
    store, _ = dangling()
    run(suite.collect(store))
    assert run(store.tag_get("a", "t")) is None
    assert run(store.repositories("", 10)) == []


def test_the_same_bytes_as_another_media_type():
    (store,) = Replicas(1).stores
    config = run(suite.push(store, "a", b"config"))
    members = {"config": {"mediaType": "a/b", "digest": str(config), "size": 6}, "layers": []}
    stored, _ = suite.document(**members)
    for media_type in (media_types.IMAGE_MANIFEST, media_types.DOCKER_MANIFEST):
        pushed = suite.StoredManifest(stored.digest, media_type, stored.content)
        manifest = suite.parse_manifest(stored.content, media_type)
        run(suite.put(store, "a", (pushed, manifest)))
        assert run(store.manifest_get("a", stored.digest)) == pushed


def test_bodies_are_closed_when_the_digest_is_wrong():
    (store,) = Replicas(1).stores
    session = run(store.upload_open("a", "sha256"))
    body = Chunks(b"abc")
    with pytest.raises(DigestMismatch):
        run(store.upload_commit("a", session, 0, body, Digest.of(b"x")))
    assert body.closed


def test_a_chunk_in_a_buffer_that_is_used_again():
    (store,) = Replicas(1).stores
    buffer = bytearray(b"first")

    class Reused(Chunks):
        async def __aiter__(self):
            yield memoryview(buffer)
            buffer[:] = b"other"
            yield memoryview(buffer)

    session = run(store.upload_open("a", "sha256"))
    digest = Digest.of(b"firstother")
    run(store.upload_commit("a", session, 0, Reused(), digest))
    assert run(suite.pull(store, "a", digest)) == b"firstother"


def test_an_upload_of_an_empty_body_needs_no_part():
    replicas = Replicas(1)
    run(suite.push(replicas.stores[0], "a", b""))
    assert replicas.keys("data/") == []
    run(suite.push(replicas.stores[0], "a", b"x"))
