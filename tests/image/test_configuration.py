"""How a puller is made, changed and closed; what the environment says; credentials."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import json
import subprocess
import sys

import pytest

from tests.client.remotes import Hurried
from tests.image.hub import CONTENTS, Hub, hub, routed
from wasmhold import sync
from wasmhold.client.caches.blob_cache import BlobCache
from wasmhold.client.caches.config import CacheInvalid
from wasmhold.client.caches.format import CacheFormatError
from wasmhold.client.caches.port import RecordKey
from wasmhold.client.credentials import Anonymous, Basic, Bearer, RegistryAuth
from wasmhold.client.place import PlaceInvalid
from wasmhold.client.platforms import PlatformInvalid
from wasmhold.client.runtime import ThreadRuntime
from wasmhold.client.transport import HttpTransport
from wasmhold.image import ImagePuller, blocking
from wasmhold.image.errors import AuthFailed, NotFound
from wasmhold.image.events import Warned
from wasmhold.image.options import Changes, Configuration, Options
from wasmhold.image.policy import PullPolicy, SourcePolicy
from wasmhold.image.puller import Puller
from wasmhold.oci.errors import NameInvalid, Unreachable
from wasmhold.ports.runtime import run
from wasmhold.testing.covers import covers

TEST = Basic("test", "test")


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    monkeypatch.setattr(blocking, "ThreadRuntime", Hurried)


@pytest.fixture(name="hub")
def a_hub():
    with hub() as made:
        yield made


# ---- made and closed


@covers("ZL-150", "ZL-151")
def test_it_may_be_made_outside_of_a_loop_and_closed_by_hand(hub: Hub, tmp_path):
    hub.image("app")
    # Any cache, or none.
    for cache in (None, BlobCache(), BlobCache.memory(), BlobCache.open(tmp_path / "cache")):
        puller = ImagePuller(cache)

        async def work(puller=puller):
            _, layers = await puller.pull(f"{hub.host}/app:v1")
            assert [await layer.read() for layer in layers] == CONTENTS
            await puller.aclose()

        asyncio.run(work())
    asyncio.run(ImagePuller().aclose())


@covers("ZL-151")
def test_a_changed_copy_uses_the_same_connections(hub: Hub):
    stored = hub.index("multi")
    image = f"{hub.host}/multi:v1"

    async def work():
        async with ImagePuller(platform="linux/amd64") as puller:
            other = puller.replace(platform="linux/arm64", policy=PullPolicy.IF_NOT_PRESENT)
            assert (await puller.fetch_manifest(image)).digest == stored["linux/amd64"].digest
            hub.asked()
            assert (await other.fetch_manifest(image)).digest == stored["linux/arm64"].digest
            assert hub.asked() == ["GET manifests"]  # the index is in the same cache
            assert other.connections is puller.connections
            assert other.stats is puller.stats
            async with puller.replace(BlobCache.memory()) as fresh:
                await fresh.fetch_manifest(image)
            assert hub.asked() == ["GET manifests"] * 2
            # What a copy used lives on when the copy is closed.
            await puller.fetch_manifest(image)

    asyncio.run(work())
    with blocking.ImagePuller(platform="linux/amd64") as puller:
        with puller.replace(platform="linux/arm64") as other:
            assert other.fetch_manifest(image).digest == stored["linux/arm64"].digest
            assert other.stats is puller.stats
        assert puller.fetch_manifest(image).digest == stored["linux/amd64"].digest


# fmt: off
REFUSED = [
    # options,                            error
    ({"policy": "sometimes"},             ValueError),
    ({"source_policy": "elsewhere"},      ValueError),
    ({"concurrency": 0},                  ValueError),
    ({"platform": "linux"},               PlatformInvalid),
    ({"default_registry": "no host"},     PlaceInvalid),
    ({"default_registry": "ghcr.io/x"},   PlaceInvalid),
    ({"mirrors": {"a.b": ["mirror"]}},    PlaceInvalid),
    ({"mirrors": {"a.b": "m.example"}},   PlaceInvalid),
    ({"mirrors": {"a.b": ["http://m.example"]}}, PlaceInvalid),
    ({"mirrors": {"a.b": ["m.example/"]}}, NameInvalid),
]
# fmt: on


@covers("ZL-151")
@pytest.mark.parametrize(("options", "error"), REFUSED)
def test_what_is_wrong_is_said_when_it_is_made(options, error):
    with pytest.raises(error):
        ImagePuller(**options)
    with pytest.raises(error):
        blocking.ImagePuller().replace(**options)


def test_options_and_configuration_have_the_same_names():
    names = {one.name for one in dataclasses.fields(Configuration)}
    assert names == Options.__annotations__.keys() | Changes.__annotations__.keys()
    for name in names:
        assert name in Configuration.__doc__


@covers("ZL-153", "ZL-114", "ZL-116")
def test_defaults_and_how_registries_are_reached():
    settings = Configuration().settings()
    assert (settings.connect_timeout_s, settings.read_timeout_s) == (30, 300)
    assert Configuration().concurrency == 4
    assert (settings.environ, settings.retries) == ({}, 3)
    told = Configuration(
        insecure_hosts={"registry:5000"},
        ca_file="ca.pem",
        client_cert="both.pem",
        proxy="http://proxy:3128",
        user_agent="mine/1",
    ).settings()
    assert "registry:5000" in told.plain_http
    assert (told.ca_file, told.client_certificate) == ("ca.pem", ("both.pem", None))
    assert told.environ["https_proxy"] == told.environ["http_proxy"] == "http://proxy:3128"
    assert Configuration(client_cert=("c", "k")).settings().client_certificate == ("c", "k")
    assert told.user_agent == "mine/1"


@covers("ZL-116")
def test_the_user_agent_can_be_another(hub: Hub):
    hub.image("app")
    for agent, said in ((None, "wasmhold/"), ("mine/1", "mine/1")):
        with blocking.ImagePuller(user_agent=agent) as puller:
            puller.fetch_manifest(f"{hub.host}/app:v1")
        assert hub.proxy.passed()[-1].fields["user-agent"].startswith(said)


@covers("ZL-114")
def test_a_host_that_is_not_listed_is_spoken_to_over_tls(hub: Hub, monkeypatch):
    asked = []

    def request(self, method, url, *arguments, **options):
        asked.append(url.partition("/v2/")[0])
        raise Unreachable("host", "stop here", retryable=False)

    monkeypatch.setattr(HttpTransport, "request", request)
    with blocking.ImagePuller(insecure_hosts=["registry:5000"]) as puller:
        for image in ("registry:5000/app", "ghcr.io/app", "app.example/app"):
            with pytest.raises(Unreachable):
                puller.pull(image)
    assert asked == ["http://registry:5000", "https://ghcr.io", "https://app.example"]


# ---- the environment


@covers("ZL-152", "ZL-560", "ZL-563")
def test_an_environment_says_everything(hub: Hub, tmp_path, monkeypatch):
    hub.image("svc", tag="latest")
    (tmp_path / "config.json").write_text(
        json.dumps({"auths": {"registry.example": {"username": "test", "password": "test"}}})
    )
    environ = {
        "WASMHOLD_CACHE": "disk",
        "WASMHOLD_CACHE_DIR": str(tmp_path / "cache"),
        "WASMHOLD_DEFAULT_REGISTRY": "registry.example",
        "DOCKER_CONFIG": str(tmp_path),
        "HOME": str(tmp_path),
    }
    hub.registry.auth = "basic"
    with routed(monkeypatch, registry_example=hub.host):
        with blocking.ImagePuller.from_env(environ) as puller:
            manifest, _ = puller.pull("svc")
            with pytest.raises(AuthFailed):
                puller.pull("svc", RegistryAuth.Anonymous)
        # What is given goes before that.
        with blocking.ImagePuller.from_env(environ, default_registry=None) as puller:
            with pytest.raises(NotFound, match="set default_registry"):
                puller.pull("svc")

        async def work():
            async with await ImagePuller.from_env(environ, policy="never") as other:
                return (await other.fetch_manifest("svc")).digest

        assert asyncio.run(work()) == manifest.digest
    cache = BlobCache.open(tmp_path / "cache").engine(ThreadRuntime())
    record = run(cache.record_get(RecordKey("registry.example", "svc", "latest")))
    assert record.original == "svc"


@covers("ZL-152")
def test_the_environment_of_the_process_is_not_read(hub: Hub, monkeypatch):
    hub.image("app")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("WASMHOLD_DEFAULT_REGISTRY", hub.host)
    monkeypatch.setenv("HOME", "/nowhere")
    with blocking.ImagePuller() as puller:
        puller.pull(f"{hub.host}/app:v1")
        with pytest.raises(NotFound):
            puller.pull("app:v1")


@covers("ZL-152")
def test_a_tier_that_cannot_start(tmp_path):
    (tmp_path / "file").write_text("no cache")
    environ = {"WASMHOLD_CACHE": str(tmp_path / "file"), "HOME": str(tmp_path)}
    with pytest.raises(CacheFormatError):
        blocking.ImagePuller.from_env(environ)
    told = []
    with blocking.ImagePuller.from_env(
        environ, optional_tiers=True, on_event=told.append
    ) as puller:
        assert puller.lookup("app") is None
        with pytest.raises(NotFound):
            puller.pull("app")
    (warned,) = [event for event in told if isinstance(event, Warned)]
    assert warned.code == "cache-start"
    assert str(tmp_path / "file") in warned.text
    # What is no name of a cache is a mistake in any case.
    with pytest.raises(CacheInvalid, match="WASMHOLD_CACHE"):
        blocking.ImagePuller.from_env({"WASMHOLD_CACHE": "nonsense"}, optional_tiers=True)


# ---- credentials


@covers("ZL-100")
def test_names_of_credentials():
    assert RegistryAuth.Basic("u", "p") == Basic("u", "p") == RegistryAuth.Basic("u", "p")
    assert RegistryAuth.Bearer("t") == Bearer("t") != RegistryAuth.Bearer("s")
    assert RegistryAuth.Anonymous == Anonymous()
    assert "secret" not in repr([RegistryAuth.Basic("u", "secret"), RegistryAuth.Bearer("secret")])


# fmt: off
LOGINS = [
    ("user", "password", Basic("user", "password")),
    ("user", "",         Basic("user", "")),
    ("",     "token",    Bearer("token")),
    ("<token>", "token", Bearer("token")),
    ("_token", "token",  Basic("_token", "token")),
]
# fmt: on


@covers("ZL-012")
@pytest.mark.parametrize(("user", "password", "auth"), LOGINS)
def test_a_token_that_is_given_as_a_password(user, password, auth):
    assert RegistryAuth.of(user, password) == auth


@covers("ZL-101", "ZL-104")
@pytest.mark.parametrize("mode", ["basic", "bearer"])
def test_credentials_belong_to_the_call(hub: Hub, mode):
    hub.image("private")
    hub.registry.auth = mode
    image = f"{hub.host}/private:v1"
    for given in (None, RegistryAuth.Basic("test", "test")):
        with blocking.ImagePuller() as puller:
            for _ in range(2):
                with pytest.raises(AuthFailed):
                    puller.pull(image)
                # What the cache has by now is not shown to who may not read it.
                assert puller.pull(image, TEST).layers[0].read() == CONTENTS[0]
                with pytest.raises(AuthFailed):
                    puller.pull(image, RegistryAuth.Anonymous)
                with pytest.raises(AuthFailed):
                    puller.pull(image, RegistryAuth.Basic("test", "wrong"))
        if given is None:
            continue

        class Source:
            async def get(self, host, path, given=given):
                assert (host, path) == (hub.host, "private")
                return given

        with blocking.ImagePuller(credentials=Source()) as puller:
            assert puller.pull(image).layers[0].read() == CONTENTS[0]
            with pytest.raises(AuthFailed):
                puller.pull(image, RegistryAuth.Anonymous)


@covers("ZL-103")
def test_what_was_learnt_about_logging_in_is_used_by_the_next_pull(hub: Hub):
    hub.image("private")
    hub.registry.auth = "basic"
    with blocking.ImagePuller() as puller:
        puller.pull(f"{hub.host}/private:v1", TEST)
        hub.asked()
        puller.pull(f"{hub.host}/private:v1", TEST)
        assert hub.asked() == ["HEAD manifests"]


# ---- faces and parts


def test_both_faces_have_the_same_methods():
    public = {
        name
        for name, method in inspect.getmembers(Puller, inspect.iscoroutinefunction)
        if not name.startswith("_")
    } | {"from_env", "replace", "stats"}
    for name in public:
        assert hasattr(blocking.ImagePuller, name), name
    ours, theirs = ImagePuller.from_env, blocking.ImagePuller.from_env
    assert inspect.signature(ours) == inspect.signature(theirs)
    for name in ("from_env", "replace", "__init__"):
        a, b = getattr(ImagePuller, name), getattr(blocking.ImagePuller, name)
        assert (a.__doc__, inspect.signature(a)) == (b.__doc__, inspect.signature(b))


@covers("ZL-001", "ZL-006")
def test_the_sync_face_works_inside_of_a_loop_too(hub: Hub):
    hub.image("app")

    async def work():
        with sync.ImagePuller() as puller:
            return [layer.read() for layer in puller.pull(f"{hub.host}/app:v1").layers]

    assert asyncio.run(work()) == CONTENTS


# fmt: off
ALONE = [
    # one of the four parts,                                   what it does without
    ("from wasmhold.artifact import detect_artifact_type",     {"client", "image", "servers"}),
    ("from wasmhold.client.caches.blob_cache import BlobCache", {"image", "servers", "stores"}),
    ("from wasmhold.client.credentials import UserCredentials", {"image", "servers", "stores"}),
    ("from wasmhold.image import ImagePuller",                 {"servers", "registry", "cli"}),
]
# fmt: on


@covers("ZL-001", "ZL-013")
@pytest.mark.parametrize(("line", "without"), ALONE)
def test_each_part_can_be_used_alone(line, without):
    code = f"{line}\nimport sys\nprint(*{{m.split('.')[1] for m in sys.modules if m.startswith('wasmhold.')}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not without & {*done.stdout.split()}


# fmt: off
HOMES = {
    "client":   ["BlobCache", "LocalRegistry", "UserCredentials"],
    "artifact": ["ArtifactType", "WasiVersion", "detect_artifact_type", "extract_wasm_info"],
    "image":    ["ImagePuller", "ImageConfig", "PullPolicy"],
    "wasm":     ["is_wasm"],
    "oci":      ["Manifest", "Descriptor", "Digest"],
}
# fmt: on


@covers("ZL-013")
def test_each_name_has_its_home():
    import wasmhold

    for home, names in HOMES.items():
        for name in names:
            assert getattr(wasmhold, name).__module__.startswith(f"wasmhold.{home}"), name


@covers("ZL-181", "ZL-203", "ZL-920")
def test_policies_may_be_given_by_their_names():
    made = ImagePuller(source_policy="s3_first", policy="never").configuration
    assert SourcePolicy(made.source_policy) is SourcePolicy.SHARED_FIRST
    with_policy = [
        name
        for name, method in inspect.getmembers(Puller, inspect.iscoroutinefunction)
        if "policy" in inspect.signature(method).parameters
    ]
    verbs = inspect.getmembers(Puller, inspect.iscoroutinefunction)
    public = [verb for name, verb in verbs if not name.startswith("_")]
    assert all("on_event" in inspect.signature(verb).parameters for verb in public)
    pulls = [name for name in dir(Puller) if name.startswith(("pull", "fetch", "open"))]
    assert {*pulls} <= {*with_policy}
