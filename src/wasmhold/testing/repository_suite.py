"""What every place must do: run `check_repository` against yours.

    from wasmhold.testing.repository_suite import check_repository

    def test_my_place():
        check_repository(lambda: MyPlace(...))

Each check gets a repository of its own, which is empty, and closes it.  A place whose ports suspend
brings its own `drive`, such as ``asyncio.run``.  Source: `ports.repository`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing
from typing import Any, Final, Protocol

from ..oci import media_types
from ..oci.descriptor import Descriptor
from ..oci.digest import Digest
from ..oci.errors import (
    BlobUnknown,
    DigestMismatch,
    ManifestUnknown,
    NameUnknown,
    SizeInvalid,
    StoreUnavailable,
    WasmholdError,
)
from ..oci.limits import MIB
from ..ports.body import Body, BytesSource, read_all
from ..ports.repository import BlobSource, Repository
from ..ports.runtime import run
from ..ports.store import StoredManifest
from .store_suite import Chunks

Check = Callable[[Repository], Coroutine[Any, Any, None]]

REPOSITORY_CHECKS: Final[dict[str, Check]] = {}


def check_repository(
    make: Callable[[], Repository],
    names: Sequence[str] | None = None,
    *,
    drive: Callable[[Coroutine[Any, Any, None]], object] = run,
) -> None:
    """Run the checks, or those that are named.  Raises AssertionError, or what the place raises."""

    async def checked(check: Check) -> None:
        async with aclosing(make()) as repository:
            await check(repository)

    for name in names if names is not None else REPOSITORY_CHECKS:
        drive(checked(REPOSITORY_CHECKS[name]))


def _check(check: Check) -> Check:
    REPOSITORY_CHECKS[check.__name__.replace("_", "-")] = check
    return check


# ---- what the checks are made of


class Source:
    """`ports.repository.BlobSource` of bytes; knows the bodies that it gave."""

    def __init__(self, *chunks: bytes, error: Exception | None = None) -> None:
        self.opened: list[Chunks] = []
        self._content, self._error = b"".join(chunks), error

    async def open(self, start: int) -> Body:
        content = self._content[start:]
        pieces = [content[at : at + 1000] for at in range(0, len(content), 1000)]
        body = Chunks(*pieces, error=self._error)
        body.size = len(content)
        self.opened.append(body)
        return body


def descriptor_of(
    content: bytes, media_type: str = "application/octet-stream", algorithm: str = "sha256"
) -> Descriptor:
    return Descriptor(media_type, Digest.of(content, algorithm), len(content))


async def push(
    repository: Repository,
    content: bytes,
    media_type: str = "application/octet-stream",
    algorithm: str = "sha256",
) -> Descriptor:
    descriptor = descriptor_of(content, media_type, algorithm)
    await repository.blob_put(descriptor, BytesSource(content))
    return descriptor


class KeepsBlobs(Protocol):
    """What repositories and caches have in common."""

    async def blob_size(self, digest: Digest) -> int | None: ...
    async def blob_open(self, digest: Digest, start: int = 0) -> Body: ...
    async def blob_put(self, descriptor: Descriptor, source: BlobSource) -> None: ...


async def pull(place: KeepsBlobs, digest: Digest, start: int = 0) -> bytes:
    async with aclosing(await place.blob_open(digest, start)) as body:
        content = await read_all(body)
        assert body.size in (None, len(content))
        return content


async def refuse_wrong_bytes(place: KeepsBlobs) -> None:
    """Other bytes, too few, too many, and a source that breaks leave nothing."""
    right = descriptor_of(b"x" * 5000)
    wrong: list[tuple[Source, type[WasmholdError]]] = [
        (Source(b"y" * 5000), DigestMismatch),
        (Source(b"x" * 4999), SizeInvalid),
        (Source(b"x" * 5001), SizeInvalid),
        (Source(), SizeInvalid),
        (Source(b"x" * 3000, error=StoreUnavailable("simulated")), StoreUnavailable),
        (Source(b"y" * 3000, error=StoreUnavailable("simulated")), StoreUnavailable),
    ]
    for source, error in wrong:
        await refused(error, place.blob_put(right, source))
        assert all(body.closed for body in source.opened)
        assert await place.blob_size(right.digest) is None
        await refused(BlobUnknown, place.blob_open(right.digest))
    await place.blob_put(right, Source(b"x" * 5000))
    assert await pull(place, right.digest) == b"x" * 5000


def document(algorithm: str = "sha256", /, **members: Any) -> StoredManifest:
    """A manifest whose bytes must come back as they are: with spaces and a newline at its end."""
    content = json.dumps({"schemaVersion": 2, **members}, indent=1).encode() + b"   \n"
    media_type = str(members["mediaType"])
    return StoredManifest(Digest.of(content, algorithm), media_type, content)


def image(
    config: Descriptor, *layers: Descriptor, algorithm: str = "sha256", **members: Any
) -> StoredManifest:
    return document(
        algorithm,
        mediaType=media_types.IMAGE_MANIFEST,
        config=config.to_json(),
        layers=[layer.to_json() for layer in layers],
        **members,
    )


def index(*children: StoredManifest, **members: Any) -> StoredManifest:
    manifests = [named(child).to_json() for child in children]
    return document(mediaType=media_types.IMAGE_INDEX, manifests=manifests, **members)


def named(stored: StoredManifest) -> Descriptor:
    """How others refer to a manifest."""
    return stored.descriptor


async def push_image(
    repository: Repository, text: str, *tags: str, **members: Any
) -> StoredManifest:
    config = await push(repository, f"config of {text}".encode())
    layer = await push(repository, f"layer of {text}".encode())
    stored = image(config, layer, **members)
    await repository.manifest_put(stored, tags)
    return stored


async def refused(wanted: type[WasmholdError], attempt: Coroutine[Any, Any, object]) -> None:
    try:
        await attempt
    except wanted:
        return
    raise AssertionError(f"{wanted.__name__} was to be raised")


async def no_tags(repository: Repository) -> bool:
    try:
        return not await repository.tags()
    except NameUnknown:
        return True


# ---- blobs


@_check
async def a_blob_comes_back_from_any_byte(repository: Repository) -> None:
    await _comes_back(repository, "sha256")


@_check
async def a_blob_with_sha512(repository: Repository) -> None:
    await _comes_back(repository, "sha512")


async def _comes_back(repository: Repository, algorithm: str) -> None:
    content = bytes(range(256)) * 5000
    descriptor = await push(repository, content, algorithm=algorithm)
    assert await repository.blob_size(descriptor.digest) == len(content)
    for start in (0, 1, 999, 1000, len(content) - 1, len(content)):
        assert await pull(repository, descriptor.digest, start) == content[start:]


@_check
async def an_empty_blob_is_a_blob(repository: Repository) -> None:
    descriptor = await push(repository, b"")
    assert await repository.blob_size(descriptor.digest) == 0
    assert await pull(repository, descriptor.digest) == b""


@_check
async def a_blob_of_many_chunks(repository: Repository) -> None:
    content = b"wasm" * (MIB // 2)
    descriptor, source = descriptor_of(content), Source(content)
    await repository.blob_put(descriptor, source)
    assert all(body.closed for body in source.opened)
    assert await pull(repository, descriptor.digest) == content


@_check
async def what_is_not_there(repository: Repository) -> None:
    digest = Digest.of(b"nobody has this")
    assert await repository.blob_size(digest) is None
    await refused(BlobUnknown, repository.blob_open(digest))
    for reference in (digest, "absent"):
        assert await repository.resolve(reference) is None
        await refused(ManifestUnknown, repository.manifest_get(reference))
    assert await no_tags(repository)
    assert await repository.referrers(digest) == []


@_check
async def a_blob_may_come_twice(repository: Repository) -> None:
    first, second = await push(repository, b"twice"), await push(repository, b"twice")
    assert first == second
    assert await pull(repository, first.digest) == b"twice"


@_check
async def wrong_bytes_are_never_seen(repository: Repository) -> None:
    await refuse_wrong_bytes(repository)


class _Stranger:
    """A place that no other one knows."""

    place = "stranger"


@_check
async def a_mount_from_a_stranger_changes_nothing(repository: Repository) -> None:
    digest = Digest.of(b"over there")
    stranger: Any = _Stranger()
    assert not await repository.blob_mount(digest, stranger)
    assert await repository.blob_size(digest) is None


# ---- manifests


@_check
async def a_manifest_comes_back_byte_for_byte(repository: Repository) -> None:
    stored = await push_image(repository, "one", "v1", "latest")
    await repository.flush()
    for reference in ("v1", "latest", stored.digest):
        assert await repository.manifest_get(reference) == stored
        found = await repository.resolve(reference)
        assert found is not None
        assert (found.media_type, found.digest, found.size) == (
            stored.media_type,
            stored.digest,
            len(stored.content),
        )


@_check
async def a_manifest_without_a_tag(repository: Repository) -> None:
    stored = await push_image(repository, "untagged")
    assert await repository.manifest_get(stored.digest) == stored
    await repository.flush()
    assert await repository.manifest_get(stored.digest) == stored
    assert await no_tags(repository)


@_check
async def a_manifest_with_sha512(repository: Repository) -> None:
    config = await push(repository, b"config", algorithm="sha512")
    stored = image(config, algorithm="sha512")
    await repository.manifest_put(stored, ["long"])
    await repository.flush()
    assert await repository.manifest_get("long") == stored
    assert await repository.manifest_get(stored.digest) == stored


@_check
async def an_index_and_its_children(repository: Repository) -> None:
    children = [await push_image(repository, text) for text in ("one", "two")]
    nested = index(*children)
    await repository.manifest_put(nested)
    top = index(nested, children[0], annotations={"a": "b"})
    await repository.manifest_put(top, ["top"])
    await repository.flush()
    assert await repository.manifest_get("top") == top
    for stored in (*children, nested):
        assert await repository.manifest_get(stored.digest) == stored
    assert await repository.tags() == ["top"]


@_check
async def a_manifest_that_is_something_else_is_refused(repository: Repository) -> None:
    stored = image(await push(repository, b"config"))
    lie = StoredManifest(Digest.of(b"other"), stored.media_type, stored.content)
    await refused(DigestMismatch, repository.manifest_put(lie, ["lie"]))
    assert await repository.resolve("lie") is None
    assert await repository.resolve(lie.digest) is None


# ---- tags


@_check
async def tags_come_in_pages(repository: Repository) -> None:
    tags = ["B", "_x", "a", "a.b", "a1", "z"]
    stored = await push_image(repository, "one", *reversed(tags))
    assert await repository.manifest_get("a.b") == stored
    await repository.flush()
    assert await repository.tags() == tags
    found: list[str] = []
    while page := await repository.tags(found[-1] if found else "", 2):
        assert len(page) <= 2
        found += page
    assert found == tags
    assert await repository.tags("a", 1) == ["a.b"]


@_check
async def a_tag_moves_and_what_it_left_stays(repository: Repository) -> None:
    one = await push_image(repository, "one", "v1", "keep")
    two = await push_image(repository, "two", "v1")
    await repository.flush()
    assert await repository.manifest_get("v1") == two
    assert await repository.manifest_get("keep") == one
    await repository.manifest_put(two, ["keep"])
    await repository.flush()
    assert await repository.manifest_get("keep") == two
    assert await repository.manifest_get(one.digest) == one


@_check
async def a_tag_goes_and_its_manifest_stays(repository: Repository) -> None:
    stored = await push_image(repository, "one", "v1", "v2")
    await repository.flush()
    await repository.tag_delete("v1")
    assert await repository.resolve("v1") is None
    await refused(ManifestUnknown, repository.tag_delete("v1"))
    await repository.tag_delete("v2")
    await repository.flush()
    assert await repository.tags() == []
    assert await repository.manifest_get(stored.digest) == stored


@_check
async def a_manifest_goes_with_its_tags(repository: Repository) -> None:
    one = await push_image(repository, "one", "v1", "v2")
    two = await push_image(repository, "two", "v3")
    await repository.flush()
    await repository.manifest_delete(one.digest)
    await refused(ManifestUnknown, repository.manifest_delete(one.digest))
    await repository.flush()
    assert await repository.tags() == ["v3"]
    assert await repository.resolve(one.digest) is None
    assert await repository.manifest_get("v3") == two
    await repository.manifest_put(one, ["v1"])
    await repository.flush()
    assert await repository.manifest_get("v1") == one


# ---- referrers


@_check
async def referrers_of_referrers(repository: Repository) -> None:
    subject = named(await push_image(repository, "subject", "v1"))
    note, scan = "application/x.note", "application/x.scan"
    one = await push_image(repository, "one", subject=subject.to_json(), artifactType=note)
    two = await push_image(
        repository, "two", subject=subject.to_json(), artifactType=scan, annotations={"a": "b"}
    )
    three = await push_image(repository, "three", subject=named(one).to_json())
    await repository.flush()
    found = await repository.referrers(subject.digest)
    assert [d.digest for d in found] == sorted([one.digest, two.digest])
    scans = await repository.referrers(subject.digest, scan)
    assert [(d.digest, d.artifact_type, d.annotations) for d in scans] == [
        (two.digest, scan, {"a": "b"})
    ]
    assert [d.digest for d in await repository.referrers(one.digest)] == [three.digest]
    assert await repository.referrers(three.digest) == []


@_check
async def a_referrer_that_is_gone_is_not_listed(repository: Repository) -> None:
    subject = named(await push_image(repository, "subject", "v1"))
    one = await push_image(repository, "one", subject=subject.to_json())
    await repository.flush()
    await repository.manifest_delete(one.digest)
    await repository.flush()
    assert await repository.referrers(subject.digest) == []
