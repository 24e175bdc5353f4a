"""Policies, tiers and names against registries: which requests go out, and which never do."""

from __future__ import annotations

import pytest

from tests.client.remotes import Hurried
from tests.image.hub import CONTENTS, Hub, hub, put_image, routed
from wasmhold.client.caches.blob_cache import BlobCache
from wasmhold.client.places.memory import MemoryRepository
from wasmhold.client.runtime import ThreadRuntime
from wasmhold.image import blocking
from wasmhold.image.blocking import ImagePuller
from wasmhold.image.errors import AmbiguousReference, ImageNotFound, RegistryError
from wasmhold.image.events import Stale
from wasmhold.image.policy import Source
from wasmhold.oci.errors import AuthFailed, NameUnknown, NotFound, Unreachable
from wasmhold.ports.runtime import run
from wasmhold.protocol.errors import RemoteError
from wasmhold.testing.covers import covers


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    monkeypatch.setattr(blocking, "ThreadRuntime", Hurried)


@pytest.fixture(name="hub")
def a_hub():
    with hub() as made:
        yield made


class Images:
    """Images of this machine: `wasmhold.image.options.LocalHandle`, and its engine."""

    def __init__(self) -> None:
        self.repositories: dict[str, MemoryRepository] = {}

    def put(self, name, contents=CONTENTS, *tags):
        repository = self.repositories.setdefault(name, MemoryRepository(ThreadRuntime(), name))
        return run(put_image(repository, contents, *(tags or ("v1",))))

    def engine(self, runtime):
        return self

    async def repository(self, name):
        if name not in self.repositories:
            raise NameUnknown(name)
        return self.repositories[name]

    async def names(self):
        return sorted(self.repositories)


# ---- pull policies


@covers("ZL-183", "ZL-203", "ZL-184")
def test_always_takes_the_manifest_from_its_origin(hub: Hub):
    hub.image("app")
    with ImagePuller() as puller:
        puller.pull(f"{hub.host}/app:v1")
        hub.asked()
        puller.pull(f"{hub.host}/app:v1", policy="always")
        assert hub.asked() == ["GET manifests"]
        # What cannot be had anew does not take away what is here.
        hub.proxy.simulate("manifest-get", "corrupt")
        with pytest.raises(Exception, match="the content is"):
            puller.pull(f"{hub.host}/app:v1", policy="always")
        hub.asked()
        assert puller.pull(f"{hub.host}/app:v1", policy="never").manifest.source is Source.CACHE
        assert hub.asked() == []


@covers("ZL-185", "ZL-203")
def test_never_opens_no_socket(hub: Hub, monkeypatch):
    stored = hub.index("multi")
    cache = BlobCache.memory()
    image = f"{hub.host}/multi:v1"
    with ImagePuller(cache, platform="linux/amd64", policy="never") as puller:
        with monkeypatch.context() as patched, routed(patched) as nobody:
            with pytest.raises(ImageNotFound, match="policy=never") as caught:
                puller.pull(image)
            assert caught.value.registry == hub.host
            assert caught.value.hint
            with pytest.raises(NotFound):
                puller.pull_blob(image, str(stored["linux/amd64"].digest))
            assert nobody.taken() == []
    with ImagePuller(cache, platform="linux/amd64") as puller:
        manifest, _ = puller.pull(image)
    with routed(monkeypatch) as nobody, ImagePuller(cache, policy="never") as puller:
        again, layers = puller.pull(image, platform="linux/amd64")
        assert (again.digest, again.index.digest) == (manifest.digest, manifest.index.digest)
        assert [layer.read() for layer in layers] == [b"linux/amd64" * 100]
        assert puller.lookup(image, platform="linux/amd64").digest == manifest.digest
        # The index is here; its other child is not.
        assert puller.lookup(image, platform="linux/arm64") is None
        assert puller.lookup(f"{hub.host}/multi:other") is None
        with pytest.raises(ImageNotFound):
            puller.pull(image, platform="linux/arm64")
        assert nobody.taken() == []


@covers("ZL-186", "ZL-203")
def test_if_not_present_asks_for_what_is_not_here_alone(hub: Hub):
    hub.image("app")
    with ImagePuller(policy="if_not_present") as puller:
        puller.pull(f"{hub.host}/app:v1")
        assert hub.asked()
        hub.image("app", contents=[b"another"])
        assert puller.pull(f"{hub.host}/app:v1").layers[0].read() == CONTENTS[0]
        assert hub.asked() == []


@covers("ZL-187", "ZL-053")
def test_newer_compares_with_a_head(hub: Hub):
    hub.image("app")
    image = f"{hub.host}/app:v1"
    with ImagePuller() as puller:
        puller.pull(image)
        hub.asked()
        puller.fetch_manifest(image)
        assert hub.asked() == ["HEAD manifests"]
        hub.image("app", contents=[b"another"])
        assert puller.pull(image).layers[0].read() == b"another"
        assert sorted(hub.asked()) == ["GET blobs"] * 2 + ["GET manifests", "HEAD manifests"]
        # A tag of any name may move; one that is said to be pinned is not asked about.
        pinned = puller.replace(pinned_tags=lambda reference: reference.tag == "v1")
        pinned.fetch_manifest(image)
        assert hub.asked() == []
        manifest = puller.fetch_manifest(f"{image}@{puller.fetch_manifest(image).digest}")
        assert hub.asked() == ["HEAD manifests"]
        puller.fetch_manifest(f"{hub.host}/app@{manifest.digest}")
        assert hub.asked() == []


# fmt: off
OUTAGES = [
    # what the registry does,   stale may be used:   what comes
    ("500",                     True,                "stale"),
    ("503",                     True,                "stale"),
    ("429",                     True,                "stale"),
    ("close",                   True,                "stale"),
    ("503",                     False,               RemoteError),
    ("close",                   False,               Unreachable),
    ("401",                     True,                AuthFailed),
    ("403",                     True,                AuthFailed),
    ("404",                     True,                NotFound),
]
# fmt: on


@covers("ZL-187", "ZL-920")
@pytest.mark.parametrize(("effect", "stale", "comes"), OUTAGES)
def test_newer_when_the_registry_cannot_say(hub: Hub, effect, stale, comes):
    hub.image("app")
    told = []
    with ImagePuller(stale_if_error=stale, on_event=told.append) as puller:
        first, _ = puller.pull(f"{hub.host}/app:v1")
        assert first.stale is False
        hub.proxy.simulate("*", effect)
        if comes == "stale":
            manifest, layers = puller.pull(f"{hub.host}/app:v1")
            assert manifest.stale
            assert manifest.digest == first.digest
            assert [layer.read() for layer in layers] == CONTENTS
            (event,) = [event for event in told if isinstance(event, Stale)]
            assert event.reference == f"{hub.host}/app:v1"
            assert event.reason
        else:
            with pytest.raises(comes):
                puller.pull(f"{hub.host}/app:v1")
            assert not any(isinstance(event, Stale) for event in told)
    # What is not here cannot be stale.
    with ImagePuller(on_event=told.append) as puller, pytest.raises(RegistryError):
        puller.pull(f"{hub.host}/app:v1")


def test_what_comes_of_a_stale_index_is_stale(hub: Hub):
    hub.index("multi")
    told = []
    with ImagePuller(platform="linux/arm64", on_event=told.append) as puller:
        puller.pull(f"{hub.host}/multi:v1")
        hub.proxy.simulate("*", "503")
        manifest = puller.fetch_manifest(f"{hub.host}/multi:v1")
        assert manifest.stale
        assert manifest.index.stale


# ---- tiers and source policies


@pytest.fixture
def tiers(hub: Hub, monkeypatch):
    """Another image under the same tag in each place, and a puller of all of them."""

    class Tiers:
        def __init__(self):
            self.local, self.cache, self.shared = Images(), BlobCache.memory(), BlobCache.memory()
            self.image = f"{name}/app:v1"

        def put(self, source):
            if source is Source.LOCAL:
                self.local.put(self.image.partition(":")[0], [source.value.encode()])
            elif source is Source.ORIGIN:
                hub.image("app", contents=[source.value.encode()])
            else:
                hub.image("app", contents=[source.value.encode()])
                with ImagePuller(self.cache if source is Source.CACHE else self.shared) as puller:
                    puller.pull(self.image)
                hub.asked()

        def pull(self, **options):
            with ImagePuller(
                self.cache, shared_cache=self.shared, local_registry=self.local, **options
            ) as puller:
                manifest, layers = puller.pull(self.image)
                return manifest.source, layers[0].read().decode()

    name = "registry.example"
    with routed(monkeypatch, registry_example=hub.host):
        yield Tiers()


ALL = [Source.ORIGIN, Source.SHARED, Source.CACHE, Source.LOCAL]

# fmt: off
FOUND = [
    # places that have it,                     source policy,     policy,             found
    (ALL,                                      "local_first",     "if_not_present",   "local"),
    ([Source.ORIGIN, Source.SHARED, Source.CACHE], "local_first", "if_not_present",   "cache"),
    ([Source.ORIGIN, Source.SHARED],           "local_first",     "if_not_present",   "shared"),
    ([Source.ORIGIN],                          "local_first",     "if_not_present",   "origin"),
    ([Source.ORIGIN, Source.SHARED, Source.CACHE], "shared_first", "if_not_present",  "shared"),
    ([Source.ORIGIN, Source.CACHE],            "shared_first",    "if_not_present",   "cache"),
    (ALL,                                      "shared_first",    "if_not_present",   "local"),
    (ALL,                                      "remote_only",     "if_not_present",   "origin"),
    (ALL,                                      "local_first",     "always",           "origin"),
    (ALL,                                      "local_only",      "newer",            "local"),
    ([Source.ORIGIN, Source.SHARED, Source.CACHE], "local_only",  "newer",            "cache"),
    ([Source.ORIGIN, Source.SHARED],           "local_only",      "newer",            None),
    ([Source.ORIGIN, Source.SHARED],           "local_first",     "never",            None),
    (ALL,                                      "local_only",      "always",           None),
    (ALL,                                      "remote_only",     "never",            None),
]
# fmt: on


@covers("ZL-180", "ZL-181", "ZL-182")
@pytest.mark.parametrize(("having", "sources", "policy", "found"), FOUND)
def test_which_place_an_image_comes_from(hub, tiers, having, sources, policy, found):
    # The origin's is put last, since the caches take theirs from it.
    for source in sorted(having, key=lambda source: source is Source.ORIGIN):
        tiers.put(source)
    if found is None:
        with pytest.raises(ImageNotFound):
            tiers.pull(source_policy=sources, policy=policy)
        assert hub.asked() == []
        return
    source, content = tiers.pull(source_policy=sources, policy=policy)
    assert (source.value, content) == (found, found)
    if found != "origin":
        assert hub.asked() == []


@covers("ZL-182")
def test_remote_only_falls_back_on_nothing_and_local_only_asks_nobody(hub, tiers):
    for source in (Source.SHARED, Source.CACHE, Source.LOCAL):
        tiers.put(source)
    hub.proxy.simulate("*", "503")
    with pytest.raises(RemoteError):
        tiers.pull(source_policy="remote_only")
    tiers.cache = tiers.shared = BlobCache.memory()
    tiers.local = Images()
    with pytest.raises(ImageNotFound, match="source_policy=local_only") as caught:
        tiers.pull(source_policy="local_only")
    assert caught.value.registry == "local"


@covers("ZL-182")
def test_a_blob_in_the_cache_may_be_used_by_every_policy(hub, tiers):
    tiers.put(Source.CACHE)
    assert tiers.pull(source_policy="remote_only") == (Source.ORIGIN, "cache")
    assert hub.asked() == ["GET manifests"]


@covers("ZL-188")
def test_what_a_farther_place_gave_is_copied_into_the_nearer_ones(hub: Hub):
    stored = hub.index("multi")
    image = f"{hub.host}/multi:v1"
    own, shared, other = BlobCache.memory(), BlobCache.memory(), BlobCache.memory()
    options = {"platform": "linux/amd64", "policy": "if_not_present"}
    with ImagePuller(own, shared_cache=shared, **options) as puller:
        puller.pull(image)
    hub.asked()
    # Somebody else, with an empty cache of their own.
    with ImagePuller(other, shared_cache=shared, **options) as puller:
        manifest, layers = puller.pull(image)
        assert manifest.source is manifest.index.source is Source.SHARED
        assert [layer.source for layer in layers] == [Source.SHARED]
    with ImagePuller(other, **options) as puller:
        manifest, layers = puller.pull(image)
        assert manifest.source is Source.CACHE
        assert manifest.digest == stored["linux/amd64"].digest
        assert layers[0].read() == b"linux/amd64" * 100
    assert hub.asked() == []


# ---- names of this machine


@covers("ZL-060", "ZL-058", "ZL-059")
def test_a_bare_name_that_is_here_is_sent_to_nobody(monkeypatch):
    images = Images()
    images.put("svc", CONTENTS, "latest")
    with routed(monkeypatch) as nobody, ImagePuller(local_registry=images) as puller:
        manifest, layers = puller.pull("svc")
        assert manifest.source is Source.LOCAL
        assert [layer.read() for layer in layers] == CONTENTS
        assert puller.pull_blob("svc", str(layers[1].digest)) == CONTENTS[1]
        with pytest.raises(ImageNotFound, match="set default_registry") as caught:
            puller.pull("other")
        assert "docker.io/library/other:latest" in caught.value.hint
        with pytest.raises(NotFound):
            puller.resolve("svc")
        with pytest.raises(NotFound):
            puller.pull_blob("svc", "sha256:" + "0" * 64)
        assert nobody.taken() == []


@covers("ZL-060", "ZL-059")
def test_with_a_default_registry_a_bare_name_is_sent_there_only(hub: Hub, monkeypatch):
    hub.image("alpine", tag="latest")
    with routed(monkeypatch, registry_example=hub.host) as transport:
        cache, told = BlobCache.memory(), []
        with ImagePuller(
            cache, default_registry=" registry.example ", on_event=told.append
        ) as puller:
            manifest, layers = puller.pull("alpine")
            assert [layer.read() for layer in layers] == CONTENTS
            assert puller.resolve("alpine").digest == manifest.digest
            asked = transport.taken()
            assert {one.split()[0] for one in asked} == {"registry.example"}
            assert told[0].reference == "registry.example/alpine:latest"
        # What came from there is never taken for Docker Hub's image of that name.
        with ImagePuller(cache, policy="never") as puller:
            assert puller.lookup("registry.example/alpine") is not None
            for name in ("alpine", "docker.io/library/alpine", "docker.io/alpine"):
                assert puller.lookup(name) is None
        assert ImagePuller(default_registry="  ").replace()._puller.configuration.registry is None


@covers("ZL-055")
def test_a_qualified_name_matches_the_same_host_and_path_only(monkeypatch):
    images = Images()
    images.put("svc", [b"mine"], "1.2")
    images.put("ghcr.io/team/svc", [b"team's"], "1.3")
    images.put("library/nginx", [b"nginx"], "1.2")
    with routed(monkeypatch), ImagePuller(local_registry=images, policy="never") as puller:
        for image in ("ghcr.io/team/svc:1.2", "ghcr.io/other/svc:1.3", "docker.io/team/svc:1.3"):
            assert puller.lookup(image) is None
        assert puller.pull("ghcr.io/team/svc:1.3").layers[0].read() == b"team's"
        assert puller.pull("docker.io/library/nginx:1.2").layers[0].read() == b"nginx"
        # A bare name may be short for the last parts of another one.
        assert puller.pull("svc:1.2").layers[0].read() == b"mine"
        assert puller.pull("svc:1.3").layers[0].read() == b"team's"
        assert puller.pull("team/svc:1.3").layers[0].read() == b"team's"
        assert puller.lookup("other/svc:1.3") is None


@covers("ZL-055")
def test_two_images_that_a_bare_name_may_mean():
    images = Images()
    for name in ("ghcr.io/a/svc", "quay.io/b/svc"):
        images.put(name, [b"the same"], "1")
        images.put(name, [name.encode()], "2")
    with ImagePuller(local_registry=images) as puller:
        assert puller.pull("svc:1").layers[0].read() == b"the same"
        with pytest.raises(AmbiguousReference) as caught:
            puller.pull("svc:2")
        assert caught.value.reference == "svc:2"
        assert [choice.partition("@")[0] for choice in caught.value.choices] == [
            "ghcr.io/a/svc",
            "quay.io/b/svc",
        ]


@covers("ZL-700", "ZL-180", "ZL-060")
def test_a_folder_of_images_is_the_first_place(hub: Hub, tmp_path, monkeypatch):
    from wasmhold.sync import LocalRegistry

    stored = run(put_image(hub.at("source"), [b"from the folder"], "1.0"))
    images = LocalRegistry(tmp_path / "images")
    for blob in (b"config of from the folder", b"from the folder"):
        images.put_blob("ghcr.io/team/svc", blob)
    images.put_manifest("ghcr.io/team/svc", "1.0", stored.content)
    with routed(monkeypatch) as nobody:
        with ImagePuller(local_registry=images, policy="if_not_present") as puller:
            for name in ("ghcr.io/team/svc:1.0", "svc:1.0", "team/svc:1.0"):
                manifest, layers = puller.pull(name)
                assert manifest.source is Source.LOCAL
                assert layers[0].source is Source.LOCAL
                assert layers[0].read() == b"from the folder"
                assert layers[0].path is None
        with ImagePuller(local_registry=images) as puller:
            # What names no registry is compared with none.
            assert puller.fetch_manifest("svc:1.0").digest == stored.digest
        assert nobody.taken() == []
