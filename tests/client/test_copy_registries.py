"""The copy engine with registries on either side: ours, and others where they are on PATH."""

from contextlib import aclosing

import pytest

from tests.client.graphs import GRAPHS, holdings
from tests.client.remotes import Client, client, distribution, needs, olareg
from tests.client.test_places import PLACES
from tests.registries import serving
from wasmhold.client.copy import copy, copy_all
from wasmhold.client.events import Mounted, Side
from wasmhold.client.failure import CopyFailed
from wasmhold.client.places.memory import MemoryRepository
from wasmhold.client.plan import Options
from wasmhold.client.runtime import ThreadRuntime
from wasmhold.oci.errors import ManifestUnknown
from wasmhold.ports.runtime import run
from wasmhold.testing.repository_suite import push_image

ALL = Options(referrers=True)

# fmt: off
REFUSED = {
    # What a registry does not take, and what of its words is told.
    ("distribution", "foreign_layers"): "MANIFEST_BLOB_UNKNOWN",  # no URL is allowed by default
    ("distribution", "sha512"):         "keeps no manifests by sha512",
}
# fmt: on


@pytest.fixture(scope="module", params=["wasmhold", "olareg", "distribution"])
def registry(request, tmp_path_factory):
    """Its host."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "wasmhold":
        with serving("--log", "off") as server:
            yield request.param, server.url.removeprefix("http://").rstrip("/")
        return
    mark = needs(request.param)
    if mark.args[0]:
        pytest.skip(mark.kwargs["reason"])
    with {"olareg": olareg, "distribution": distribution}[request.param](folder) as server:
        yield request.param, server.url.removeprefix("http://").rstrip("/")


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("place", PLACES)
def test_to_a_registry_and_back(registry, place, graph, tmp_path):
    kind, host = registry
    name = f"{place.split(',')[0]}/{graph.replace('_', '-')}{len(place)}"
    with client(runtime=ThreadRuntime()) as made:
        remote = made.repository(host, name, to_write=True)

        async def work():
            source, target = PLACES[place](tmp_path), PLACES[place](tmp_path)
            async with aclosing(source), aclosing(target), aclosing(remote):
                await GRAPHS[graph](source)
                await source.flush()
                wanted = await holdings(source)
                if (kind, graph) in REFUSED:
                    with pytest.raises(CopyFailed, match=REFUSED[kind, graph]) as caught:
                        await copy_all(source, remote, runtime=made.runtime, options=ALL)
                    assert caught.value.side is Side.DESTINATION
                    return
                there = await copy_all(source, remote, runtime=made.runtime, options=ALL)
                assert there.blobs > 0
                again = await copy_all(source, remote, runtime=made.runtime, options=ALL)
                assert (again.blobs, again.manifests) == (0, 0)
                await copy_all(remote, target, runtime=made.runtime, options=ALL)
                found = await holdings(target)
                # Tags of lists of referrers are tags too, where a registry needs them.
                assert wanted["tags"].items() <= found["tags"].items()
                assert wanted["manifests"].items() <= found["manifests"].items()
                assert wanted["blobs"].items() == found["blobs"].items()

        run(work())


def test_between_repositories_of_a_registry_blobs_are_mounted(registry):
    _, host = registry
    with client(runtime=ThreadRuntime()) as made:
        here = made.repository(host, "mount/here", to_write=True)
        there = made.repository(host, "mount/there", to_write=True)

        async def work():
            events = []
            await GRAPHS["nested_indexes"](here)
            done = await copy(
                here, "v1", there, ["v1"], runtime=made.runtime, listener=events.append
            )
            assert await holdings(there) == await holdings(here)
            return done, sum(isinstance(event, Mounted) for event in events)

        done, mounted = run(work())
        assert (done.mounted, done.moved, mounted) == (6, 0, 6)


def test_what_is_not_there_is_told_with_its_side(registry):
    _, host = registry
    with client(runtime=ThreadRuntime()) as made:
        remote = made.repository(host, "absent/app")
        with pytest.raises(CopyFailed) as caught:
            run(copy(remote, "v1", MemoryRepository(made.runtime), runtime=made.runtime))
    assert caught.value.side is Side.SOURCE
    assert isinstance(caught.value.cause, ManifestUnknown)
    assert f"{host}/absent/app" in str(caught.value)


def test_a_registry_that_is_gone_is_told(tmp_path):
    made = Client(runtime=ThreadRuntime(), retries=0)
    remote = made.repository("127.0.0.1:1", "demo/app", to_write=True)

    async def work():
        source = MemoryRepository(made.runtime)
        await push_image(source, "one", "v1")
        with pytest.raises(CopyFailed) as caught:
            await copy(source, "v1", remote, ["v1"], runtime=made.runtime)
        assert caught.value.side is Side.DESTINATION
        assert caught.value.retryable
        assert "127.0.0.1:1" in str(caught.value)

    run(work())
    made.transport.close()
