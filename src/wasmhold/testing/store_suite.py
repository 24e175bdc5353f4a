"""What every store must do: run `check_store` against yours.

    from wasmhold.testing.store_suite import check_store

    def test_my_store():
        check_store(MyStore)

Each check gets a store of its own.  A store whose ports suspend brings its own `drive`, such as
``asyncio.run``.  Source: `ports.store`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing
from typing import Any, Final

from ..oci import media_types
from ..oci.digest import Digest
from ..oci.errors import (
    BlobInUse,
    BlobUnknown,
    BodyCut,
    DigestMismatch,
    ManifestBlobUnknown,
    ManifestUnknown,
    PreconditionFailed,
    RangeInvalid,
    UploadUnknown,
    WasmholdError,
)
from ..oci.limits import KIB, MIB
from ..oci.manifest import Manifest, parse_manifest
from ..ports.body import BytesBody, read_all
from ..ports.runtime import run
from ..ports.store import Collected, Store, StoredManifest
from .covers import covers

Check = Callable[[Store], Coroutine[Any, Any, None]]

CHECKS: Final[dict[str, Check]] = {}


def check_store(
    make_store: Callable[[], Store],
    names: Sequence[str] | None = None,
    *,
    drive: Callable[[Coroutine[Any, Any, None]], object] = run,
) -> None:
    """Run the checks, or those that are named.  Raises AssertionError, or what the store raises."""
    for name in names if names is not None else CHECKS:
        drive(CHECKS[name](make_store()))


def _check(check: Check) -> Check:
    CHECKS[check.__name__.replace("_", "-")] = check
    return check


# ---- what the checks are made of


class Chunks:
    """A body in chunks that may break off, and knows whether it was closed."""

    file = None

    def __init__(self, *chunks: bytes, error: Exception | None = None) -> None:
        self.size: int | None = None
        self.closed = False
        self._chunks, self._error = chunks, error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk
        if self._error is not None:
            raise self._error

    async def aclose(self) -> None:
        self.closed = True


async def push(store: Store, name: str, content: bytes) -> Digest:
    """A blob, in a session of its own."""
    digest = Digest.of(content)
    session = await store.upload_open(name, "sha256")
    assert await store.upload_commit(name, session, 0, BytesBody(content), digest) == len(content)
    return digest


async def pull(store: Store, name: str, digest: Digest) -> bytes:
    async with aclosing(await store.blob_open(name, digest)) as body:
        return await read_all(body)


def _descriptor(digest: Digest, media_type: str, **more: object) -> dict[str, object]:
    return {"mediaType": media_type, "digest": str(digest), "size": 1, **more}


def image(
    config: Digest, *layers: Digest | dict[str, object], **members: object
) -> tuple[StoredManifest, Manifest]:
    """An image manifest over blobs; a layer may be a whole descriptor."""
    return document(
        mediaType=media_types.IMAGE_MANIFEST,
        config=_descriptor(config, "application/vnd.example.config"),
        layers=[
            layer if isinstance(layer, dict) else _descriptor(layer, "application/wasm")
            for layer in layers
        ],
        **members,
    )


def index(*children: dict[str, object], **members: object) -> tuple[StoredManifest, Manifest]:
    return document(mediaType=media_types.IMAGE_INDEX, manifests=list(children), **members)


def document(algorithm: str = "sha256", /, **members: object) -> tuple[StoredManifest, Manifest]:
    # Spaces and a newline at the end: the bytes must come back as they are.
    content = json.dumps({"schemaVersion": 2, **members}, indent=1).encode() + b"   \n"
    manifest = parse_manifest(content)
    stored = StoredManifest(Digest.of(content, algorithm), manifest.media_type, content)
    return stored, manifest


def allow(tag: str, current: Digest | None) -> None:
    """The guard that lets everything pass."""


async def put(
    store: Store,
    name: str,
    pushed: tuple[StoredManifest, Manifest],
    *tags: str,
    guard: Callable[[str, Digest | None], None] = allow,
    sparse: bool = False,
) -> Digest:
    stored, manifest = pushed
    await store.manifest_put(name, stored, manifest, tags=tags, guard=guard, sparse=sparse)
    return stored.digest


async def push_image(store: Store, name: str, text: str, *tags: str) -> Digest:
    """An image with a config of its own."""
    config = await push(store, name, f"config of {text}".encode())
    return await put(store, name, image(config, annotations={"text": text}), *tags)


async def raises(error: type[WasmholdError], operation: Awaitable[object]) -> Any:
    try:
        await operation
    except error as raised:
        return raised
    raise AssertionError(f"no {error.__name__} was raised")


async def collect(store: Store, *, untagged: bool = False) -> list[Collected]:
    """Rounds until one changes nothing."""
    rounds: list[Collected] = []
    while not rounds or rounds[-1].changed:
        assert len(rounds) < 20, "collection does not come to rest"
        rounds.append(await store.collect(0, untagged=untagged))
    return rounds


# ---- blobs and uploads


@_check
@covers("BR-025", "BR-027", "DS-026", "DS-028")
async def a_blob_comes_back_byte_for_byte(store: Store) -> None:
    content = bytes(range(256)) * 5000
    digest = await push(store, "a/b", content)
    assert await store.blob_stat("a/b", digest) == len(content)
    assert await pull(store, "a/b", digest) == content


@_check
@covers("DS-028")
async def an_empty_blob_is_a_blob(store: Store) -> None:
    digest = await push(store, "a", b"")
    assert await store.blob_stat("a", digest) == 0
    assert await pull(store, "a", digest) == b""


@_check
@covers("BR-025", "DS-029")
async def a_range_of_a_blob(store: Store) -> None:
    content = bytes(i * 7 % 251 for i in range(700 * KIB))
    digest = Digest.of(content)
    session = await store.upload_open("a", "sha256")
    half = 300 * KIB
    await store.upload_append("a", session, 0, BytesBody(content[:half]))
    await store.upload_commit("a", session, half, BytesBody(content[half:]), digest)
    size = len(content)
    for start, stop in [(0, 0), (0, 1), (5, 9), (half - 1, half + 1), (half, size), (size, size)]:
        body = await store.blob_open("a", digest, start, stop)
        async with aclosing(body):
            assert body.size == stop - start
            assert await read_all(body) == content[start:stop]


@_check
async def a_body_that_is_not_read_to_its_end_can_be_closed(store: Store) -> None:
    digest = await push(store, "a", b"x" * MIB)
    body = await store.blob_open("a", digest)
    async for _ in body:
        break
    await body.aclose()
    unread = await store.blob_open("a", digest)
    await unread.aclose()


@_check
@covers("BR-025", "BR-028", "DS-026", "DS-102")
async def an_unknown_blob(store: Store) -> None:
    digest = Digest.of(b"nobody has pushed this")
    assert await store.blob_stat("a", digest) is None
    await raises(BlobUnknown, store.blob_open("a", digest))
    await raises(BlobUnknown, store.blob_delete("a", digest))


@_check
@covers("BR-029", "BR-141", "DS-027")
async def a_blob_belongs_to_its_repository(store: Store) -> None:
    digest = await push(store, "a", b"mine")
    assert await store.blob_stat("b", digest) is None
    await raises(BlobUnknown, store.blob_open("b", digest))


@_check
@covers("BR-026", "DS-116")
async def pushing_a_blob_again_succeeds(store: Store) -> None:
    for name in ("a", "a", "b"):
        assert await pull(store, name, await push(store, name, b"twice")) == b"twice"
    await store.blob_delete("a", Digest.of(b"twice"))
    assert await pull(store, "a", await push(store, "a", b"twice")) == b"twice"


@_check
@covers("BR-036", "DS-051")
async def pushing_a_blob_again_verifies_what_comes(store: Store) -> None:
    digest = await push(store, "a", b"right")
    session = await store.upload_open("a", "sha256")
    wrong = store.upload_commit("a", session, 0, BytesBody(b"wrong"), digest)
    error = await raises(DigestMismatch, wrong)
    assert (error.expected, error.actual) == (str(digest), str(Digest.of(b"wrong")))
    assert await pull(store, "a", digest) == b"right"


@_check
@covers("BR-037", "DS-055")
async def a_mount_is_a_link(store: Store) -> None:
    digest = await push(store, "a", b"shared")
    assert await store.blob_mount("b", digest, "nobody") is None
    assert await store.blob_stat("b", digest) is None
    assert await store.blob_mount("b", digest, "a") == 6
    assert await pull(store, "b", digest) == b"shared"
    assert await store.blob_mount("c", digest, None) == 6
    assert await pull(store, "c", digest) == b"shared"
    assert await store.blob_mount("b", digest, "a") == 6
    assert await store.blob_mount("c", Digest.of(b"unknown"), None) is None


@_check
@covers("BR-028", "DS-102", "DS-104")
async def a_blob_that_is_deleted_stays_in_other_repositories(store: Store) -> None:
    digest = await push(store, "a", b"shared")
    await store.blob_mount("b", digest, "a")
    await store.blob_delete("a", digest)
    assert await store.blob_stat("a", digest) is None
    await raises(BlobUnknown, store.blob_delete("a", digest))
    await collect(store)
    assert await store.blob_stat("b", digest) is None or await pull(store, "b", digest) == b"shared"


@_check
@covers("DS-105")
async def a_blob_in_use_is_not_deleted(store: Store) -> None:
    config = await push(store, "a", b"config")
    await put(store, "a", image(config))
    await raises(BlobInUse, store.blob_delete("a", config))
    assert await pull(store, "a", config) == b"config"


@_check
@covers("BR-034", "DS-040")
async def a_session_is_a_uuid_of_its_repository(store: Store) -> None:
    session, other = [await store.upload_open("a", "sha256") for _ in range(2)]
    assert session != other
    parts = session.split("-")
    assert [len(part) for part in parts] == [8, 4, 4, 4, 12]
    assert set("".join(parts)) <= set("0123456789abcdef")
    assert (parts[2][0], parts[3][0] in "89ab") == ("4", True)
    for name, wanted in (("b", session), ("a", session[:-1] + "z")):
        body = Chunks(b"x")
        await raises(UploadUnknown, store.upload_status(name, wanted))
        await raises(UploadUnknown, store.upload_append(name, wanted, 0, body))
        assert body.closed
        body = Chunks(b"x")
        await raises(UploadUnknown, store.upload_commit(name, wanted, 0, body, Digest.of(b"x")))
        assert body.closed
        await raises(UploadUnknown, store.upload_cancel(name, wanted))
    assert await store.upload_status("a", session) == 0


@_check
@covers("BR-035", "BR-037", "DS-044", "DS-046", "DS-048", "DS-049")
async def chunks_become_a_blob(store: Store) -> None:
    session = await store.upload_open("a", "sha256")
    assert await store.upload_append("a", session, 0, Chunks(b"ab", b"c")) == 3
    assert await store.upload_append("a", session, None, Chunks(b"de")) == 5
    assert await store.upload_append("a", session, 5, Chunks()) == 5
    assert await store.upload_status("a", session) == 5
    digest = Digest.of(b"abcdefg")
    assert await store.upload_commit("a", session, 5, Chunks(b"f", b"g"), digest) == 7
    assert await pull(store, "a", digest) == b"abcdefg"


@_check
@covers("BR-035", "DS-047", "DS-114")
async def a_chunk_out_of_order_is_refused_and_the_session_lives(store: Store) -> None:
    session = await store.upload_open("a", "sha256")
    await store.upload_append("a", session, 0, Chunks(b"abc"))
    for offset in (0, 2, 4):
        body = Chunks(b"x")
        error = await raises(RangeInvalid, store.upload_append("a", session, offset, body))
        assert (error.expected, error.got, body.closed) == (3, offset, True)
        body = Chunks(b"x")
        commit = store.upload_commit("a", session, offset, body, Digest.of(b"x"))
        error = await raises(RangeInvalid, commit)
        assert (error.expected, error.got, body.closed) == (3, offset, True)
    assert await store.upload_status("a", session) == 3
    await store.upload_commit("a", session, 3, Chunks(), Digest.of(b"abc"))


@_check
@covers("BR-035")
async def a_body_that_breaks_leaves_the_session_as_it_was(store: Store) -> None:
    session = await store.upload_open("a", "sha256")
    await store.upload_append("a", session, 0, Chunks(b"abc"))
    body = Chunks(b"x" * 3 * MIB, error=BodyCut())
    await raises(BodyCut, store.upload_append("a", session, 3, body))
    assert body.closed
    body = Chunks(b"x", error=BodyCut())
    await raises(BodyCut, store.upload_commit("a", session, 3, body, Digest.of(b"abcx")))
    assert body.closed
    assert await store.upload_status("a", session) == 3
    assert await store.upload_append("a", session, 3, Chunks(b"d")) == 4
    await store.upload_commit("a", session, 4, Chunks(), Digest.of(b"abcd"))
    assert await pull(store, "a", Digest.of(b"abcd")) == b"abcd"


@_check
@covers("BR-036", "DS-051")
async def a_wrong_digest_drops_the_session(store: Store) -> None:
    session = await store.upload_open("a", "sha256")
    await store.upload_append("a", session, 0, Chunks(b"abc"))
    digest = Digest.of(b"other")
    await raises(DigestMismatch, store.upload_commit("a", session, 3, Chunks(), digest))
    await raises(UploadUnknown, store.upload_status("a", session))
    assert await store.blob_stat("a", digest) is None


@_check
@covers("BR-036")
async def a_commit_that_is_repeated_succeeds(store: Store) -> None:
    digest = Digest.of(b"abc")
    for _ in range(2):  # a new blob; one that is there already
        session = await store.upload_open("a", "sha256")
        for _ in range(3):
            body = Chunks(b"abc")
            assert await store.upload_commit("a", session, 0, body, digest) == 3
            assert body.closed
        other = store.upload_commit("a", session, 0, Chunks(b"x"), Digest.of(b"x"))
        await raises(UploadUnknown, other)
        await raises(UploadUnknown, store.upload_append("a", session, None, Chunks(b"x")))
        await raises(UploadUnknown, store.upload_cancel("a", session))
    assert await pull(store, "a", digest) == b"abc"


@_check
@covers("BR-037", "DS-053")
async def a_cancelled_session_is_gone(store: Store) -> None:
    session = await store.upload_open("a", "sha256")
    await store.upload_append("a", session, 0, Chunks(b"abc"))
    await store.upload_cancel("a", session)
    await raises(UploadUnknown, store.upload_cancel("a", session))
    await raises(UploadUnknown, store.upload_status("a", session))
    await raises(UploadUnknown, store.upload_append("a", session, 3, Chunks(b"x")))
    commit = store.upload_commit("a", session, 3, Chunks(), Digest.of(b"abc"))
    await raises(UploadUnknown, commit)


@_check
@covers("DS-005", "DS-042", "DS-052", "DS-112")
async def any_algorithm_whatever_the_session_was_opened_with(store: Store) -> None:
    for opened in ("sha256", "sha512"):
        for asked in ("sha256", "sha512"):
            content = f"{opened} {asked}".encode()
            digest = Digest.of(content, asked)
            session = await store.upload_open("a", opened)
            await store.upload_append("a", session, 0, Chunks(content[:4]))
            await store.upload_append("a", session, 4, Chunks(content[4:8]))
            await store.upload_commit("a", session, None, Chunks(content[8:]), digest)
            assert await pull(store, "a", digest) == content
            session = await store.upload_open("a", opened)
            await store.upload_append("a", session, 0, Chunks(content))
            wrong = Digest.of(b"wrong", asked)
            await raises(DigestMismatch, store.upload_commit("a", session, None, Chunks(), wrong))


@_check
@covers("BR-035")
async def large_bodies_in_chunks_of_any_size(store: Store) -> None:
    chunks = [bytes([i % 256]) * size for i, size in enumerate([1, 3 * MIB, 17, MIB, MIB - 1, 5])]
    content = b"".join(chunks)
    session = await store.upload_open("a", "sha256")
    await store.upload_append("a", session, 0, Chunks(*chunks[:3]))
    digest = Digest.of(content)
    await store.upload_commit("a", session, None, Chunks(*chunks[3:]), digest)
    assert await pull(store, "a", digest) == content


# ---- manifests and tags


@_check
@covers("BR-030", "BR-031", "DS-020", "DS-021", "DS-060")
async def a_manifest_comes_back_byte_for_byte(store: Store) -> None:
    pushed = image(await push(store, "a", b"config"))
    digest = await put(store, "a", pushed, "v1", "v2")
    assert await store.manifest_get("a", digest) == pushed[0]
    assert await store.tag_get("a", "v1") == await store.tag_get("a", "v2") == digest


@_check
@covers("DS-067")
async def a_manifest_of_any_length(store: Store) -> None:
    config = await push(store, "a", b"config")
    for extra in (0, 1, 2, 3, 4, 5, 6, 7, 8, 4 * MIB - KIB):
        pushed = image(config, annotations={"x": "y" * extra})
        digest = await put(store, "a", pushed)
        assert await store.manifest_get("a", digest) == pushed[0]


@_check
@covers("DS-023", "DS-071")
async def a_manifest_by_sha512(store: Store) -> None:
    config = await push(store, "a", b"config")
    pushed = document(
        "sha512",
        mediaType=media_types.IMAGE_MANIFEST,
        config=_descriptor(config, "application/vnd.example.config"),
        subject=_descriptor(Digest.of(b"s", "sha512"), media_types.IMAGE_MANIFEST),
    )
    digest = await put(store, "a", pushed, "t")
    assert await store.tag_get("a", "t") == digest
    assert await store.manifest_get("a", digest) == pushed[0]
    found = await store.referrers("a", Digest.of(b"s", "sha512"), None, 10)
    assert [descriptor.digest for descriptor in found] == [digest]


@_check
@covers("DS-024")
async def unknown_manifests_and_tags(store: Store) -> None:
    await push_image(store, "a", "x", "t")
    for name, tag in (("a", "u"), ("b", "t")):
        assert await store.tag_get(name, tag) is None
        assert await store.manifest_get(name, Digest.of(b"unknown")) is None
        await raises(ManifestUnknown, store.tag_delete(name, tag, allow))
        await raises(ManifestUnknown, store.manifest_delete(name, Digest.of(b"unknown"), allow))


@_check
@covers("DS-066")
async def absent_children_are_named_together(store: Store) -> None:
    config = await push(store, "a", b"config")
    one, two = Digest.of(b"one"), Digest.of(b"two")
    foreign = _descriptor(Digest.of(b"3"), "application/wasm", urls=["https://example.com/3"])
    windows = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
    layers = (two, config, one, two, foreign, _descriptor(Digest.of(b"4"), windows))
    error = await raises(ManifestBlobUnknown, put(store, "a", image(config, *layers), "t"))
    assert error.digests == (str(two), str(one))
    assert await store.tag_get("a", "t") is None
    assert await store.manifest_get("a", image(config, *layers)[0].digest) is None
    assert await store.tags("a", "", 10) in (None, [])
    await store.blob_delete("a", config)  # what was refused refers to nothing


@_check
@covers("DS-066")
async def sparse_content_is_taken(store: Store) -> None:
    pushed = image(Digest.of(b"elsewhere"), Digest.of(b"elsewhere too"))
    digest = await put(store, "a", pushed, "t", sparse=True)
    assert await store.tag_get("a", "t") == digest
    content = b"elsewhere"
    await push(store, "a", content)
    await raises(BlobInUse, store.blob_delete("a", Digest.of(content)))
    await collect(store)
    assert await pull(store, "a", Digest.of(content)) == content


@_check
@covers("DS-066", "DS-064")
async def an_index_holds_manifests_and_blobs(store: Store) -> None:
    child = await push_image(store, "a", "child")
    blob = await push(store, "a", b"beside")
    children = (
        _descriptor(child, media_types.IMAGE_MANIFEST),
        _descriptor(blob, "application/wasm"),
    )
    digest = await put(store, "a", index(*children), "t")
    await collect(store, untagged=True)
    assert await store.tag_get("a", "t") == digest
    assert await store.manifest_get("a", child) is not None
    assert await pull(store, "a", blob) == b"beside"
    error = await raises(ManifestBlobUnknown, put(store, "b", index(*children)))
    assert error.digests == (str(child), str(blob))
    await put(store, "b", index())


@_check
@covers("BR-031", "DS-068")
async def a_tag_moves(store: Store) -> None:
    one = await push_image(store, "a", "one", "t", "u")
    two = await push_image(store, "a", "two", "t")
    assert await store.tag_get("a", "t") == two
    assert await store.tag_get("a", "u") == one
    assert await store.manifest_get("a", one) is not None


@_check
@covers("BR-031", "DS-069")
async def the_guard_sees_the_present_and_ends_the_operation(store: Store) -> None:
    one = await push_image(store, "a", "one", "t")
    seen: list[tuple[str, Digest | None]] = []

    def refuse(tag: str, current: Digest | None) -> None:
        seen.append((tag, current))
        if tag == "t":
            raise PreconditionFailed(tag, None if current is None else str(current))

    config = await push(store, "a", b"config")
    two = image(config)
    await raises(PreconditionFailed, put(store, "a", two, "new", "t", guard=refuse))
    assert seen[-1] == ("t", one)
    assert set(seen) <= {("new", None), ("t", one)}
    assert await store.tag_get("a", "t") == one
    assert await store.tag_get("a", "new") is None
    assert await store.manifest_get("a", two[0].digest) is None
    await raises(PreconditionFailed, store.tag_delete("a", "t", refuse))
    await raises(PreconditionFailed, store.manifest_delete("a", one, refuse))
    assert await store.tag_get("a", "t") == one
    assert await store.manifest_get("a", one) is not None
    assert await store.tags("a", "", 10) == ["t"]


@_check
async def the_guard_sees_none_where_the_manifest_is_gone(store: Store) -> None:
    one = await push_image(store, "a", "one", "t")
    await store.manifest_delete("a", one, allow)

    def absent_only(tag: str, current: Digest | None) -> None:
        if current is not None:
            raise PreconditionFailed(tag, str(current))

    config = await push(store, "a", b"config")
    two = await put(store, "a", image(config), "t", guard=absent_only)
    assert await store.tag_get("a", "t") == two


@_check
@covers("DS-100")
async def deleting_a_tag_leaves_the_manifest(store: Store) -> None:
    digest = await push_image(store, "a", "one", "t", "u")
    await store.tag_delete("a", "t", allow)
    assert await store.tag_get("a", "t") is None
    assert await store.tag_get("a", "u") == digest
    assert await store.manifest_get("a", digest) is not None
    assert await store.tags("a", "", 10) == ["u"]
    await raises(ManifestUnknown, store.tag_delete("a", "t", allow))


@_check
@covers("DS-101", "DS-116")
async def deleting_a_manifest_takes_its_tags(store: Store) -> None:
    one = await push_image(store, "a", "one", *(f"t{i}" for i in range(12)))
    two = await push_image(store, "a", "two", "t3", "other")
    await store.manifest_delete("a", one, allow)
    assert await store.manifest_get("a", one) is None
    assert await store.tags("a", "", 100) == ["other", "t3"]
    assert await store.tag_get("a", "t0") is None
    assert await store.tag_get("a", "t3") == two
    await raises(ManifestUnknown, store.manifest_delete("a", one, allow))
    assert await push_image(store, "a", "one", "t0") == one
    assert await store.tag_get("a", "t0") == one


@_check
@covers("BR-032", "DS-080", "DS-081", "DS-082", "DS-083", "DS-118")
async def tags_in_pages(store: Store) -> None:
    assert await store.tags("a", "", 10) is None
    names = sorted(["_", "A", "Z", "a", "a.b", "a-b", "b", "v1.10", "v1.9", *map(str, range(30))])
    await push_image(store, "a", "x", *names)
    await push_image(store, "a/b", "x", "not-mine")
    assert await store.tags("a", "", 1000) == names
    assert await store.tags("a", "", 0) == []
    found: list[str] = []
    while page := await store.tags("a", found[-1] if found else "", 7):
        assert len(page) <= 7
        found += page
    assert found == names
    assert await store.tags("a", "a", 2) == ["a-b", "a.b"]
    assert await store.tags("a", "a+", 2) == ["a-b", "a.b"]  # a name that does not exist
    assert await store.tags("a", "z", 10) == []


@_check
@covers("DS-099", "BR-033")
async def repositories_in_pages(store: Store) -> None:
    names = sorted(
        ["a", "a-b", "a.b", "a/b", "a/b/c", "a0", "b", "blobs/uploads", "z/_".rstrip("_/")]
    )
    await push(store, "only/blobs", b"x")
    for name in names:
        await push_image(store, name, "x")
    assert await store.repositories("", 100) == names
    found: list[str] = []
    while page := await store.repositories(found[-1] if found else "", 2):
        found += page
    assert found == names
    assert await store.repositories("a/a", 2) == ["a/b", "a/b/c"]


@_check
@covers("DS-082")
async def a_repository_without_manifests_is_gone_when_it_is_collected(store: Store) -> None:
    digest = await push_image(store, "a", "x", "t")
    await store.manifest_delete("a", digest, allow)
    assert await store.tags("a", "", 10) in (None, [])
    await collect(store)
    assert await store.tags("a", "", 10) is None
    assert await store.repositories("", 10) == []
    await push_image(store, "a", "x", "t")
    assert await store.repositories("", 10) == ["a"]
    assert await store.tags("a", "", 10) == ["t"]


# ---- referrers


@_check
@covers("DS-065", "DS-070", "DS-090", "DS-092", "DS-093", "DS-094")
async def referrers_in_pages(store: Store) -> None:
    subject = Digest.of(b"a subject that is not here")
    assert await store.referrers("a", subject, None, 10) == []
    config = await push(store, "a", b"{}")
    pushed = [
        image(
            config,
            subject=_descriptor(subject, media_types.IMAGE_MANIFEST),
            annotations={"number": str(i)},
            **({"artifactType": "application/vnd.example"} if i % 2 else {}),
        )
        for i in range(9)
    ]
    for one in pushed:
        await put(store, "a", one)
    await put(store, "a", image(config))
    want = sorted(
        (m.descriptor(s.digest, len(s.content)) for s, m in pushed), key=lambda d: str(d.digest)
    )
    assert await store.referrers("a", subject, None, 100) == want
    assert await store.referrers("a", subject, want[3].digest, 2) == want[4:6]
    assert await store.referrers("b", subject, None, 10) == []
    assert await store.referrers("a", subject, None, 0) == []
    first = want[0]
    assert first.artifact_type in ("application/vnd.example", "application/vnd.example.config")


@_check
@covers("DS-103")
async def a_deleted_manifest_is_no_referrer(store: Store) -> None:
    subject = await push_image(store, "a", "subject", "t")
    config = await push(store, "a", b"{}")
    referrer = image(config, subject=_descriptor(subject, media_types.IMAGE_MANIFEST))
    for _ in range(2):
        digest = await put(store, "a", referrer)
        assert [d.digest for d in await store.referrers("a", subject, None, 10)] == [digest]
        await store.manifest_delete("a", digest, allow)
        assert await store.referrers("a", subject, None, 10) == []
    digest = await put(store, "a", referrer)
    await store.manifest_delete("a", subject, allow)
    assert [d.digest for d in await store.referrers("a", subject, None, 10)] == [digest]


# ---- collection


@_check
@covers("BR-140", "BR-124", "OW-174")
async def what_is_referred_to_stays(store: Store) -> None:
    untagged = await push_image(store, "a", "untagged")
    tagged = await push_image(store, "a", "tagged", "t")
    config = await push(store, "a", b"{}")
    referrer = await put(
        store, "a", image(config, subject=_descriptor(tagged, media_types.IMAGE_MANIFEST))
    )
    child = await push_image(store, "a", "child")
    parent = await put(store, "a", index(_descriptor(child, media_types.IMAGE_MANIFEST)), "i")
    blob = await push(store, "a", b"config of tagged")
    await collect(store)
    for digest in (untagged, tagged, referrer, child, parent):
        assert await store.manifest_get("a", digest) is not None
    await collect(store, untagged=True)
    assert await store.manifest_get("a", untagged) is None
    for digest in (tagged, referrer, child, parent):
        assert await store.manifest_get("a", digest) is not None
    assert await pull(store, "a", blob) == b"config of tagged"
    assert await store.tags("a", "", 10) == ["i", "t"]
    assert [d.digest for d in await store.referrers("a", tagged, None, 10)] == [referrer]


@_check
@covers("BR-140", "BR-108", "BR-124", "OW-174")
async def what_nobody_refers_to_is_removed(store: Store) -> None:
    content = b"x" * 100_000
    orphan = await push(store, "a", content)
    await store.blob_mount("b", orphan, "a")
    digest = await push_image(store, "a", "x", "t")
    config = Digest.of(b"config of x")
    rounds = await collect(store)
    assert sum(r.freed for r in rounds) == len(content)
    assert sum(r.removed for r in rounds) >= 1
    assert await store.blob_stat("a", orphan) is None
    assert await store.blob_stat("b", orphan) is None
    assert await store.blob_mount("c", orphan, None) is None
    await store.manifest_delete("a", digest, allow)
    rounds = await collect(store)
    assert sum(r.freed for r in rounds) == len(b"config of x")
    assert await store.blob_stat("a", config) is None
    assert await collect(store) == [Collected(0, 0, False)]
    assert await pull(store, "a", await push(store, "a", content)) == content


@_check
@covers("BR-140", "DS-054")
async def what_is_young_stays(store: Store) -> None:
    orphan = await push(store, "a", b"young")
    session = await store.upload_open("a", "sha256")
    await store.upload_append("a", session, 0, Chunks(b"abc"))
    for _ in range(5):
        collected = await store.collect(3600)
        assert (collected.removed, collected.freed) == (0, 0)
    assert await pull(store, "a", orphan) == b"young"
    await collect(store)
    assert await store.upload_status("a", session) == 3


@_check
async def repositories_inside_repositories_are_collected_apart(store: Store) -> None:
    names = ["a", "a/0", "a/b", "a/b/c", "a-b", "b"]
    for name in names:
        await push_image(store, name, name, "t")
        await push(store, name, f"orphan of {name}".encode())
    await collect(store, untagged=True)
    for name in names:
        digest = await store.tag_get(name, "t")
        assert digest is not None
        assert await store.manifest_get(name, digest) is not None
        assert await store.blob_stat(name, Digest.of(f"config of {name}".encode())) is not None
        assert await store.blob_stat(name, Digest.of(f"orphan of {name}".encode())) is None


@_check
@covers("OW-118", "BR-126")
async def more_than_a_page_of_everything(store: Store) -> None:
    count = 1100
    config = await push(store, "a", b"config")
    digest = await put(store, "a", image(config), *(f"t{i:05}" for i in range(count)))
    for i in range(count):
        await push(store, "a", str(i).encode())
    assert await store.tags("a", "", 5000) == [f"t{i:05}" for i in range(count)]
    rounds = await collect(store)
    assert sum(r.freed for r in rounds) == sum(len(str(i)) for i in range(count))
    await store.manifest_delete("a", digest, allow)
    assert await store.tags("a", "", 10) in (None, [])
    await collect(store)
    assert await store.repositories("", 10) == []


@_check
async def maintain_says_when_it_wants_to_be_called(store: Store) -> None:
    assert 0 <= await store.maintain() <= 24 * 3600
    await store.settle()
