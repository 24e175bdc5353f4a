"""A bucket that fails at the k-th request, for each k of each operation that writes.

After that the store is whole, and the operation, asked again, succeeds.
"""

import itertools

import pytest

from wasmhold.oci import media_types
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import (
    BlobUnknown,
    ManifestUnknown,
    OutOfSpace,
    RangeInvalid,
    StoreUnavailable,
    UploadUnknown,
)
from wasmhold.ports.body import BytesBody
from wasmhold.ports.runtime import Inline, run
from wasmhold.stores.bucket.port import Ambiguous, BucketError, Conflict
from wasmhold.stores.bucket.store import BucketStore
from wasmhold.stores.memory import MemoryBucket
from wasmhold.testing import store_suite as suite
from wasmhold.testing.covers import covers

from .test_memory import Counter

CONDITIONAL = {"create", "replace", "remove"}
WRITES = {*CONDITIONAL, "delete", "put_data"}


class FailingBucket:
    """Fails at request number `at`, counted from `arm`, in the way that `fault` says."""

    def __init__(self, bucket):
        self._bucket, self._left, self._fault = bucket, 0, ""
        self.failed = False

    def arm(self, fault, at):
        self._fault, self._left, self.failed = fault, at, False

    def _is_hit(self, kind):
        wanted = CONDITIONAL if self._fault == "conflict" else WRITES
        if self._fault == "unavailable" or kind in wanted:
            self._left -= 1
            self.failed = self.failed or self._left == 0
            return self._left == 0
        return False

    def __getattr__(self, kind):
        call = getattr(self._bucket, kind)
        if kind == "read_data":
            return call

        async def request(*arguments):
            if not self._is_hit(kind):
                return await call(*arguments)
            match self._fault:
                case "conflict":
                    raise Conflict
                case "lost":
                    raise Ambiguous
                case "applied":
                    await call(*arguments)
                    raise Ambiguous
                case "unavailable":
                    raise StoreUnavailable("no answer")
                case "out of space":
                    raise OutOfSpace("full")

        return request


FAULTS = ["conflict", "lost", "applied", "unavailable", "out of space"]
CONTENT = b"the last bytes"
DIGEST = Digest.of(CONTENT)


def subject_of(digest):
    return {"mediaType": media_types.IMAGE_MANIFEST, "digest": str(digest), "size": 1}


# Each operation: what is there before, the operation, what must hold when it has succeeded.


async def nothing(store):
    return None


async def session(store):
    return await store.upload_open("a", "sha256")


async def session_of_known_blob(store):
    await suite.push(store, "b", CONTENT)
    return await session(store)


async def tagged(store):
    digest = await suite.push_image(store, "a", "one", "t", "u", "v")
    await suite.push(store, "a", b"config")
    return digest


async def referrer(store):
    subject = await tagged(store)
    config = await suite.push(store, "a", b"{}")
    return await suite.put(
        store, "a", suite.image(config, subject=subject_of(subject)), "signature"
    )


async def orphans(store):
    await tagged(store)
    await suite.push(store, "a", CONTENT)
    await suite.push(store, "b", CONTENT)
    await store.collect(0)
    await store.collect(0)


async def open_(store, _):
    assert await store.upload_status("a", await session(store)) == 0


async def append(store, upload):
    assert await store.upload_append("a", upload, 0, BytesBody(CONTENT)) == len(CONTENT)


async def commit(store, upload):
    size = await store.upload_commit("a", upload, 0, BytesBody(CONTENT), DIGEST)
    assert size == len(CONTENT)
    assert await suite.pull(store, "a", DIGEST) == CONTENT


async def cancel(store, upload):
    await store.upload_cancel("a", upload)


async def mount(store, _):
    assert await store.blob_mount("c", DIGEST, None) == len(CONTENT)
    assert await suite.pull(store, "c", DIGEST) == CONTENT


async def put(store, one):
    config = Digest.of(b"config")
    pushed = suite.image(config, subject=subject_of(one), annotations={"new": "yes"})
    digest = await suite.put(store, "a", pushed, "t", "new")
    assert await store.tag_get("a", "t") == await store.tag_get("a", "new") == digest
    assert await store.manifest_get("a", digest) == pushed[0]
    assert [d.digest for d in await store.referrers("a", one, None, 10)] == [digest]


async def put_known(store, one):
    pushed = suite.image(Digest.of(b"config of one"), annotations={"text": "one"})
    assert await suite.put(store, "a", pushed, "t", "new") == one
    assert await store.tags("a", "", 10) == ["new", "t", "u", "v"]


async def delete_tag(store, _):
    await store.tag_delete("a", "t", suite.allow)


async def delete_manifest(store, digest):
    await store.manifest_delete("a", digest, suite.allow)
    assert await store.manifest_get("a", digest) is None


async def delete_blob(store, _):
    await store.blob_delete("b", DIGEST)


async def collect(store, _):
    await store.collect(0)


async def collect_untagged(store, _):
    await store.collect(0, untagged=True)


# fmt: off
OPERATIONS = {
    "open a session":        (nothing, open_, ()),
    "append":                (session, append, (RangeInvalid,)),
    "commit":                (session, commit, ()),
    "commit a known blob":   (session_of_known_blob, commit, ()),
    "cancel":                (session, cancel, (UploadUnknown,)),
    "mount":                 (session_of_known_blob, mount, ()),
    "put a manifest":        (tagged, put, ()),
    "put it again":          (tagged, put_known, ()),
    "delete a tag":          (tagged, delete_tag, (ManifestUnknown,)),
    "delete a manifest":     (tagged, delete_manifest, (ManifestUnknown,)),
    "delete a referrer":     (referrer, delete_manifest, (ManifestUnknown,)),
    "delete a blob":         (session_of_known_blob, delete_blob, (BlobUnknown,)),
    "collect":               (orphans, collect, ()),
    "collect untagged":      (orphans, collect_untagged, ()),
}
# fmt: on


async def check_whole(store, half_way=False):
    """What is listed can be read, and what can be read is right.

    `half_way`: a delete may have stopped between a manifest and its tags, which count as absent.
    """
    for name in await store.repositories("", 100):
        for tag in await store.tags(name, "", 100) or []:
            digest = await store.tag_get(name, tag)
            found = await store.manifest_get(name, digest)
            if found is None and half_way:
                continue
            assert found is not None
            assert Digest.of(found.content) == digest
            manifest = suite.parse_manifest(found.content)
            for child in manifest.children:
                assert Digest.of(await suite.pull(store, name, child.digest)) == child.digest
    for name in "abc":
        if await store.blob_stat(name, DIGEST) is not None:
            assert await suite.pull(store, name, DIGEST) == CONTENT


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", OPERATIONS)
@covers("BR-026", "BR-036", "BR-140")
def test_fault_at_every_request(name, fault):
    prepare, operation, already = OPERATIONS[name]
    for at in itertools.count(1):
        runtime = Inline(lambda: 1e9, lambda seconds: None)
        bucket = FailingBucket(MemoryBucket(runtime))
        store = BucketStore(bucket, runtime, Counter())
        given = run(prepare(store))
        bucket.arm(fault, at)
        failed = False
        try:
            run(operation(store, given))
        except (StoreUnavailable, OutOfSpace, *already):
            failed = True
        except BucketError as error:
            raise AssertionError(f"{type(error).__name__} reached the caller") from error
        reached = bucket.failed
        bucket.arm("", 0)
        run(check_whole(store, half_way=failed))
        if failed:
            try:
                run(operation(store, given))
            except already:
                pass  # it had been applied; that could not be told
            run(check_whole(store))
        run(suite.collect(store))
        run(check_whole(store))
        if not reached:
            assert at > 1 or fault == "conflict"
            return
        assert at < 500


def test_too_many_conflicts_end():
    runtime = Inline(lambda: 1e9, lambda seconds: None)
    bucket = MemoryBucket(runtime)
    store = BucketStore(bucket, runtime, Counter())
    run(suite.push_image(store, "a", "one", "t"))

    async def conflict(*arguments):
        raise Conflict

    bucket.replace = conflict
    with pytest.raises(StoreUnavailable):
        run(suite.push_image(store, "a", "two", "t"))
    with pytest.raises(StoreUnavailable):
        run(store.tag_delete("a", "t", suite.allow))
