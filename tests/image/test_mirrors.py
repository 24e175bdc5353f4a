"""Mirrors: asked in order before the origin, as themselves, and never believed."""

from __future__ import annotations

import pytest

from tests.client.remotes import Hurried
from tests.image.hub import CONTENTS, hub, routed
from wasmhold.client.credentials import Basic, Chain, Given, RegistryAuth
from wasmhold.image import blocking
from wasmhold.image.blocking import ImagePuller
from wasmhold.image.connections import REST_S
from wasmhold.image.events import Warned
from wasmhold.image.policy import Source
from wasmhold.oci.errors import AuthFailed, NotFound
from wasmhold.testing.covers import covers

IMAGE = "registry.example/team/app:v1"
MIRRORS = {"registry.example": ["one.example", "two.example/copies"]}


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    monkeypatch.setattr(blocking, "ThreadRuntime", Hurried)


@pytest.fixture(name="world")
def a_world(monkeypatch):
    """An origin and two mirrors, the second of which has a folder for it."""

    class World:
        pass

    world = World()
    with hub() as world.origin, hub() as world.one, hub() as world.two:
        with routed(
            monkeypatch,
            registry_example=world.origin.host,
            one_example=world.one.host,
            two_example=world.two.host,
        ) as world.transport:
            yield world


def hosts(world):
    return [one.split()[0] for one in world.transport.taken()]


@covers("ZL-115")
def test_the_first_mirror_that_has_it_gives_all_of_it(world):
    for place, name in ((world.origin, "team/app"), (world.two, "copies/team/app")):
        place.image(name)
    with ImagePuller(mirrors=MIRRORS) as puller:
        manifest, layers = puller.pull(IMAGE)
        assert manifest.source is Source.MIRROR
        assert {layer.source for layer in layers} == {Source.MIRROR}
        assert [layer.read() for layer in layers] == CONTENTS
        assert set(hosts(world)) == {"one.example", "two.example"}
        # What the mirror has is what the tag is compared with.
        assert puller.fetch_manifest(IMAGE).digest == manifest.digest
        assert hosts(world) == ["one.example", "two.example"]
        # Another registry has no mirror.
        with pytest.raises(NotFound):
            puller.pull("one.example/team/app:v1")


# fmt: off
BAD = [
    # what a mirror does,   for which operation,  and whether that is told
    ("404",                 "*",                  False),
    ("401",                 "*",                  True),
    ("403",                 "*",                  True),
    ("503",                 "*",                  True),
    ("close",               "*",                  True),
    ("corrupt",             "manifest-get",       True),
    ("wrong-digest",        "manifest-get",       True),
    ("corrupt",             "blob-get",           True),
    ("truncate",            "blob-get",           True),
    ("404",                 "blob-get",           False),
    ("wrong-length=5",      "blob-get",           True),
]
# fmt: on


@covers("ZL-115", "ZL-159")
@pytest.mark.parametrize(("effect", "operation", "is_told"), BAD)
def test_a_mirror_that_fails_or_lies_is_passed_over(world, effect, operation, is_told):
    for place in (world.origin, world.one):
        place.image("team/app")
    world.one.proxy.simulate(operation, effect)
    told = []
    with ImagePuller(mirrors=MIRRORS, on_event=told.append) as puller:
        manifest, layers = puller.pull(IMAGE)
        assert [layer.read() for layer in layers] == CONTENTS
        taken = [manifest.source, *{layer.source for layer in layers}]
        broken = [operation in ("*", wanted) for wanted in ("manifest-get", "blob-get")]
        assert taken == [Source.ORIGIN if is_broken else Source.MIRROR for is_broken in broken]
        said = {event.code for event in told if isinstance(event, Warned)}
        assert said == ({"mirror"} if is_told else set())


@covers("ZL-115", "ZL-051")
@pytest.mark.parametrize("host", ["docker.io", "index.docker.io", "registry-1.docker.io"])
def test_mirrors_of_docker_hub_by_any_of_its_names(world, host):
    world.one.image("library/alpine", tag="3")
    with ImagePuller(mirrors={host: ["one.example"]}) as puller:
        assert puller.fetch_manifest("docker.io/alpine:3").source is Source.MIRROR
    assert hosts(world) == ["one.example"]


@covers("ZL-115")
def test_a_mirror_that_is_down_has_a_rest(world):
    for place in (world.origin, world.one):
        place.image("team/app")
    world.one.proxy.simulate("*", "503")
    with ImagePuller(mirrors=MIRRORS, policy="always") as puller:
        with pytest.warns(UserWarning, match="one.example/team/app is passed over"):
            puller.fetch_manifest(IMAGE)
        assert hosts(world) == ["one.example"] * 4 + ["two.example", "registry.example"]
        puller.fetch_manifest(IMAGE)
        assert hosts(world) == ["two.example", "registry.example"]
        world.one.proxy.clear()
        puller._runtime.ahead = REST_S
        assert puller.fetch_manifest(IMAGE).source is Source.MIRROR
        assert hosts(world) == ["one.example"]


@covers("ZL-115", "ZL-101", "ZL-107")
def test_a_mirror_gets_its_own_credentials_alone(world):
    world.origin.registry.auth = world.one.registry.auth = "basic"
    for place in (world.origin, world.one):
        place.registry.auth = "none"
        place.image("team/app")
        place.registry.auth = "basic"
    right, wrong = Basic("test", "test"), Basic("test", "wrong")
    with ImagePuller(mirrors=MIRRORS) as puller:
        # The login of the call is the origin's: the mirror sees none of it.
        with pytest.warns(UserWarning, match="one.example/team/app is passed over"):
            manifest, _ = puller.pull(IMAGE, right)
        assert manifest.source is Source.ORIGIN
    seen = [passed.fields.get("authorization") for passed in world.one.proxy.passed()[1:]]
    assert set(seen) == {None}
    logins = Chain(Given(right, "one.example"), Given(wrong))
    with ImagePuller(mirrors=MIRRORS, credentials=logins) as puller:
        assert puller.pull(IMAGE).manifest.source is Source.MIRROR
        with pytest.raises(AuthFailed):
            puller.replace(mirrors={}).pull(IMAGE, policy="always")
        with pytest.raises(AuthFailed):
            puller.replace(mirrors={}).pull(IMAGE, RegistryAuth.Anonymous, policy="always")
