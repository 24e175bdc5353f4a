"""Manifests of a puller: exact, checked, chosen; what is refused, and why."""

from __future__ import annotations

import json
from functools import cached_property

import pytest

from tests.client.remotes import Hurried
from tests.image.hub import Hub, hub, index_of, on, put_image
from wasmhold.client.caches.blob_cache import BlobCache
from wasmhold.client.caches.port import RecordKey
from wasmhold.client.opening import Opener
from wasmhold.client.runtime import ThreadRuntime
from wasmhold.client.transport import Answer
from wasmhold.image import blocking
from wasmhold.image.errors import (
    AuthFailed,
    DigestMismatch,
    ImageNotFound,
    NotFound,
    RateLimited,
    RegistryError,
    RemoteError,
    UnsupportedManifest,
)
from wasmhold.image.policy import Source
from wasmhold.oci import media_types
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import ManifestInvalid, ManifestTooLarge
from wasmhold.oci.limits import MANIFEST
from wasmhold.ports.runtime import run
from wasmhold.testing.covers import covers
from wasmhold.testing.repository_suite import document, named, push

ImagePuller = blocking.ImagePuller


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    monkeypatch.setattr(blocking, "ThreadRuntime", Hurried)


@pytest.fixture(name="hub")
def a_hub():
    with hub() as made:
        yield made


class Content:
    def __init__(self, content):
        self.content = content

    def read(self, size):
        piece, self.content = self.content[:size], self.content[size:]
        return piece

    def close(self):
        pass


class Answering:
    """A transport of which every answer is the same."""

    def __init__(self, content: bytes, media_type: str, digest: Digest | None = None):
        self.content, self.media_type, self.digest = content, media_type, digest
        self.accepts: list[str] = []

    def request(self, method, url, fields=(), body=None, *, follow=False):
        self.accepts += [value.decode() for key, value in fields if key == b"accept"]
        answered = [
            (b"content-type", self.media_type.encode()),
            (b"content-length", b"%d" % len(self.content)),
        ]
        if self.digest is not None:
            answered.append((b"docker-content-digest", str(self.digest).encode()))
        content = b"" if method == "HEAD" else self.content
        return Answer(200, answered, Content(content), url)

    def close(self):
        pass


@pytest.fixture
def answering(monkeypatch):
    def install(*what):
        transport = Answering(*what)
        made = cached_property(lambda opener: transport)
        made.__set_name__(Opener, "transport")
        monkeypatch.setattr(Opener, "transport", made)
        return transport

    return install


@covers("ZL-160", "ZL-164", "ZL-502", "ZL-503")
def test_a_manifest_is_the_exact_bytes_that_came(hub: Hub):
    repository = hub.at("exact")
    config = run(push(repository, b"{}"))
    odd = document(
        mediaType=media_types.IMAGE_MANIFEST,
        config=config.to_json(),
        layers=[],
        **{"an unknown member": [1, 2, {"three": None}]},
    )
    run(repository.manifest_put(odd, ["v1"]))
    cache = BlobCache.memory()
    for policy, source in (("newer", Source.ORIGIN), ("never", Source.CACHE)):
        with ImagePuller(cache, policy=policy) as puller:
            manifest = puller.fetch_manifest(f"{hub.host}/exact:v1")
            assert (manifest.raw, manifest.digest) == (odd.content, odd.digest)
            assert (manifest.size, manifest.media_type) == (len(odd.content), odd.media_type)
            assert manifest.source is source
            again, digest = puller.pull_manifest(f"{hub.host}/exact:v1")
            assert (again.raw, digest) == (odd.content, str(odd.digest))
    runtime = ThreadRuntime()
    record = run(cache.engine(runtime).record_get(RecordKey(hub.host, "exact", "v1")))
    assert record.top == named(odd)
    assert record.original == f"{hub.host}/exact:v1"


@covers("ZL-161")
def test_oci_types_are_asked_for_first(answering):
    content = b'{"schemaVersion":2,"config":{},"layers":[]}'
    transport = answering(content, media_types.IMAGE_MANIFEST)
    with ImagePuller() as puller, pytest.raises(ManifestInvalid):
        puller.fetch_manifest("ghcr.io/app")
    assert transport.accepts == [
        ", ".join(
            [
                media_types.IMAGE_MANIFEST,
                media_types.IMAGE_INDEX,
                media_types.DOCKER_MANIFEST,
                media_types.DOCKER_LIST,
            ]
        )
    ]


SCHEMA_1 = json.dumps(
    {"schemaVersion": 1, "name": "app", "tag": "latest", "fsLayers": [], "signatures": [{}]}
).encode()


@covers("ZL-161")
@pytest.mark.parametrize(
    "media_type",
    [
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    ],
)
@pytest.mark.parametrize("digest", [None, Digest.of(b"what is signed")])
def test_schema_1_is_refused(answering, media_type, digest):
    answering(SCHEMA_1, media_type, digest)
    with ImagePuller() as puller, pytest.raises(UnsupportedManifest) as caught:
        puller.fetch_manifest("ghcr.io/app")
    assert caught.value.media_type == media_type
    assert caught.value.reference == "latest"


@covers("ZL-161")
def test_a_manifest_has_a_limit(answering):
    answering(b'{"a":"' + b"x" * MANIFEST + b'"}', media_types.IMAGE_MANIFEST)
    with ImagePuller() as puller, pytest.raises(ManifestTooLarge):
        puller.fetch_manifest("ghcr.io/app")


@covers("ZL-165")
@pytest.mark.parametrize("effect", ["corrupt", "wrong-digest"])
@pytest.mark.parametrize("by", ["tag", "digest"])
def test_a_manifest_is_checked_against_every_digest_that_is_known(hub: Hub, effect, by):
    stored = hub.image("checked")
    reference = ":v1" if by == "tag" else f"@{stored.digest}"
    cache = BlobCache.memory()
    hub.proxy.simulate("manifest-get", effect)
    with ImagePuller(cache) as puller:
        with pytest.raises(DigestMismatch):
            puller.fetch_manifest(f"{hub.host}/checked{reference}")
        assert puller.lookup(f"{hub.host}/checked{reference}") is None


@covers("ZL-165")
@pytest.mark.parametrize("digest", [None, "right", "other"])
def test_a_registry_need_not_say_the_digest(answering, digest):
    descriptor = {"mediaType": "a/b", "digest": str(Digest.of(b"{}")), "size": 2}
    members = {"schemaVersion": 2, "config": descriptor, "layers": []}
    content = json.dumps(members).encode()
    right = Digest.of(content)
    said = {"right": right, "other": Digest.of(b"other")}.get(digest)
    answering(content, media_types.IMAGE_MANIFEST, said)
    with ImagePuller() as puller:
        if digest == "other":
            with pytest.raises(DigestMismatch):
                puller.fetch_manifest("ghcr.io/app")
        else:
            assert puller.fetch_manifest("ghcr.io/app").digest == right
            assert puller.fetch_manifest(f"ghcr.io/app@{right}").digest == right


# ---- indexes


@covers("ZL-162")
def test_nested_indexes_are_followed(hub: Hub):
    repository = hub.at("nested")
    wanted = run(put_image(repository, [b"wanted"]))
    inner = on(wanted, "linux/amd64")
    levels = []
    for level in range(4):
        stored = index_of(inner)
        run(repository.manifest_put(stored, [f"level{level + 1}"]))
        levels.append(stored)
        inner = on(stored, "linux/amd64")
    with ImagePuller(platform="linux/amd64") as puller:
        manifest = puller.fetch_manifest(f"{hub.host}/nested:level3")
        assert manifest.digest == wanted.digest
        above = []
        index = manifest.index
        while index is not None:
            above.append(index.digest)
            index = index.index
        assert above == [one.digest for one in levels[:3]]
        with pytest.raises(ManifestInvalid, match="nested too deep"):
            puller.fetch_manifest(f"{hub.host}/nested:level4")


@covers("ZL-162")
def test_an_index_that_leads_back_to_itself(answering):
    """Nobody can make one with sha256; a registry may still answer as if there were one."""
    from wasmhold.image.manifests import Manifests, PulledManifest
    from wasmhold.image.puller import Puller

    stored = index_of(on(index_of(), "linux/amd64"))
    descriptor = on(stored, "linux/amd64")
    index = PulledManifest(
        media_types.IMAGE_INDEX,
        manifests=(descriptor,),
        digest=stored.digest,
        raw=stored.content,
        source=Source.CACHE,
    )

    class Looping(Manifests):
        async def root(self, call):
            return index

    with ImagePuller(platform="linux/amd64") as puller:
        inner: Puller = puller._puller
        inner.manifests.__class__ = Looping
        with pytest.raises(ManifestInvalid, match="leads back to itself"):
            puller.fetch_manifest("ghcr.io/app")


def test_root_and_child(hub: Hub):
    stored = hub.index("multi")
    with ImagePuller() as puller:
        root = puller.fetch_root(f"{hub.host}/multi:v1")
        assert (root.digest, root.is_index) == (stored["index"].digest, True)
        child = puller.fetch_child(f"{hub.host}/multi:v1", root, root.manifests[1])
        assert child.digest == stored["linux/arm64"].digest
        assert child.index is root


# ---- resolve, lookup


@covers("ZL-172")
def test_resolve_asks_the_registry(hub: Hub):
    stored = hub.image("resolved")
    with ImagePuller() as puller:
        hub.asked()
        assert puller.resolve(f"{hub.host}/resolved:v1") == named(stored)
        assert puller.resolve(f"{hub.host}/resolved@{stored.digest}").digest == stored.digest
        assert puller.resolve(f"{hub.host}/resolved:none") is None
        assert puller.resolve(f"{hub.host}/nothing:v1") is None
        assert hub.asked() == ["HEAD manifests"] * 4
        hub.proxy.simulate("*", "503")
        with pytest.raises(RemoteError):
            puller.resolve(f"{hub.host}/resolved:v1")


@covers("ZL-189")
def test_lookup_asks_nobody(hub: Hub):
    stored = hub.image("looked")
    cache = BlobCache.memory()
    with ImagePuller(cache) as puller:
        assert puller.lookup(f"{hub.host}/looked:v1") is None
        assert hub.asked() == []
        puller.fetch_manifest(f"{hub.host}/looked:v1")
        hub.asked()
        assert puller.lookup(f"{hub.host}/looked:v1").digest == stored.digest
        assert puller.lookup(f"{hub.host}/looked@{stored.digest}").digest == stored.digest
        assert hub.asked() == []


# ---- errors


@covers("ZL-007", "ZL-008")
def test_what_is_not_there_says_where_and_what(hub: Hub):
    hub.image("there")
    with ImagePuller() as puller:
        with pytest.raises(NotFound) as caught:
            puller.pull(f"{hub.host}/there:other")
        assert (caught.value.name, caught.value.reference) == (f"{hub.host}/there", "other")
        assert isinstance(caught.value, RegistryError)
        for policy in ("never",):
            with pytest.raises(ImageNotFound) as missing:
                puller.pull(f"{hub.host}/there:other", policy=policy)
            error = missing.value
            assert (error.registry, error.reference) == (hub.host, f"{hub.host}/there:other")
            assert error.reason
            assert error.hint
            assert "unknown" not in str(error)


# fmt: off
ANSWERS = [
    ("401", AuthFailed), ("403", AuthFailed), ("429", RateLimited), ("400", RemoteError),
    ("503", RemoteError), ("404", NotFound),
]
# fmt: on


@covers("ZL-007")
@pytest.mark.parametrize(("status", "kind"), ANSWERS)
def test_each_answer_has_its_error(hub: Hub, status, kind):
    hub.proxy.simulate("*", status)
    with ImagePuller() as puller, pytest.raises(RegistryError) as caught:
        puller.pull(f"{hub.host}/app:v1")
    error = caught.value
    assert type(error) is kind or isinstance(error, NotFound)
    if isinstance(error, AuthFailed):
        assert error.registry == hub.host
    if isinstance(error, AuthFailed | RemoteError):
        assert str(error.answer_status) == status
