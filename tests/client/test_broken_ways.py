"""Copies on ways that break: each ends whole or with a clear error, and goes on where it stood.

``python -m tests.client.trial 500 SEED`` is the same at length.
"""

from __future__ import annotations

import os
import threading
import time
import traceback
from contextlib import aclosing

import pytest

from tests.client.graphs import holdings
from tests.client.remotes import client
from tests.client.test_places import PLACES
from tests.client.trial import Impatient, small_chunks, trial
from wasmhold.client.copy import copy
from wasmhold.client.credentials import Basic, Given
from wasmhold.client.failure import CopyFailed
from wasmhold.client.places import memory
from wasmhold.client.places.memory import MemoryRepository
from wasmhold.client.runtime import ThreadRuntime
from wasmhold.client.transport import Options as Reach
from wasmhold.oci.errors import Cancelled
from wasmhold.ports.runtime import run
from wasmhold.testing.proxy import Proxy
from wasmhold.testing.registry import Registry
from wasmhold.testing.repository_suite import descriptor_of, image, push

SEED = int(os.environ.get("TRIAL_SEED", "13"))
SIZE = 1_000_000


@pytest.fixture(scope="module")
def registry():
    with Registry() as made:
        yield made


@pytest.mark.parametrize("number", range(60))
def test_by_chance(number, registry):
    with small_chunks():
        outcome = trial(registry, SEED, number)
    assert not outcome.faults, f"python -m tests.client.trial 1 {SEED} {number}: {outcome}"


def test_a_client_that_does_not_verify_is_found(registry, monkeypatch):
    async def pour(source, descriptor, runtime, write):
        async with aclosing(await source.open(0)) as body:
            async for chunk in body:
                write(chunk)

    # Whose downloads are all damaged, into memory.
    seed, number = 13, 78
    with small_chunks():
        assert not trial(registry, seed, number).faults
        monkeypatch.setattr(memory, "pour", pour)
        assert "blobs: sha512:" in " ".join(trial(registry, seed, number).faults)


async def one_image(place):
    layer = await push(place, bytes(range(250)) * (SIZE // 250))
    await place.manifest_put(image(await push(place, b"{}"), layer), ["v1"])
    return layer


# fmt: off
DOWN = [
    # what meets downloads,                      from where they are asked
    ([],                                         [0]),
    (["cut=400000:1"],                           [0, 400000]),
    (["cut=400000:1", "cut=100000:2"],           [0, 400000, 500000, 600000]),
    (["cut=0:2"],                                [0, 0, 0]),
    (["truncate:1"],                             [0, 500000]),
    (["truncate:2"],                             [0, 500000, 750000]),
    (["503:2"],                                  [0, 0, 0]),
    (["lost:1", "close:1", "cut=7:1"],           [0, 0, 0, 7]),
    (["cut=400000:1", "silence:1"],              [0, 400000, 400000]),
    (["cut=400000:1", "429:1", "redirect:1"],    [0, 400000, 400000]),
    (["slow=4000000:1"],                         [0]),
]
THIRDS = ["0-299999", "300000-599999", "600000-899999", "900000-999999"]
UP = [
    # what meets chunks,                         which are sent,                              bytes that go a second time
    ([],                                         THIRDS,                                      0),
    # Of a chunk that broke our registry keeps nothing (BR-069); those before stay.
    (["slow=9999999:2", "cut-request=120000:1"], THIRDS[:3] + ["600000-749999", "750000-899999", "900000-999999"], 120_000),
    (["slow=9999999:1", "lost:1"],               THIRDS[:2] + ["600000-749999", "750000-899999", "900000-999999"], 0),
    (["slow=9999999:2", "503:1"],                THIRDS[:3] + ["600000-749999", "750000-899999", "900000-999999"], 0),
]
# fmt: on


@pytest.mark.parametrize(("errors", "starts"), DOWN)
def test_a_download_goes_on_where_it_broke(errors, starts, registry, tmp_path):
    with client(Reach(read_timeout_s=2), runtime=Impatient()) as made:
        clean = made.repository(registry.host, "down/app")
        layer = run(one_image(clean))
        with Proxy(registry.host) as proxy:

            async def work():
                async with aclosing(PLACES["oci"](tmp_path)) as target:
                    await push(target, b"{}")  # so that the layer alone is read
                    for error in errors:
                        proxy.simulate("blob-get", error)
                    source = made.repository(proxy.host, "down/app")
                    await copy(source, "v1", target, ["v1"], runtime=made.runtime)
                    assert await holdings(target) == await holdings(clean)

            run(work())
            asked = proxy.passed("blob-get")
            assert all(str(layer.digest) in passed.target for passed in asked)
            ranges = [passed.fields.get("range", "bytes=0-") for passed in asked]
            assert ranges == [f"bytes={start}-" for start in starts]
            came = sum(p.received for p in asked if p.status in (200, 206))
            # A redirect leads around the proxy.
            assert came == (SIZE if "redirect:1" not in errors else 400_000)


@pytest.mark.parametrize(("errors", "ranges", "again"), UP)
def test_an_upload_goes_on_where_it_broke(errors, ranges, again, registry):
    name = f"up/number{UP.index((errors, ranges, again))}"
    with client(runtime=Impatient()) as made, Proxy(registry.host) as proxy, small_chunks():
        for error in errors:
            proxy.simulate("upload-chunk", error)

        async def work():
            source = MemoryRepository(ThreadRuntime())
            await one_image(source)
            target = made.repository(proxy.host, name, to_write=True)
            await copy(source, "v1", target, ["v1"], runtime=made.runtime)
            assert await holdings(made.repository(registry.host, name)) == await holdings(source)

        run(work())
        chunks = proxy.passed("upload-chunk")
        assert [passed.fields["content-range"] for passed in chunks] == ranges
        assert sum(passed.sent for passed in chunks) == SIZE + again
        assert len(proxy.passed("upload-status")) == (ranges != THIRDS)


def test_cancelled_while_nothing_comes(registry, tmp_path):
    """Who leaves does not wait for a registry that has fallen silent."""
    with client(Reach(read_timeout_s=300), runtime=ThreadRuntime()) as made:
        run(one_image(made.repository(registry.host, "cancel/app")))
        with Proxy(registry.host, [("blob-get", "silence")]) as proxy:

            async def work():
                source = made.repository(proxy.host, "cancel/app")
                async with aclosing(PLACES["oci"](tmp_path)) as target:
                    await copy(source, "v1", target, ["v1"], runtime=made.runtime)

            raised = []

            def attempt():
                try:
                    run(work())
                except Exception as error:
                    raised.append(error)

            copying = threading.Thread(target=attempt)
            copying.start()
            while not proxy.passed("blob-get"):
                time.sleep(0.01)
            made.runtime.cancel()
            made.transport.close()
            copying.join(60)
            assert isinstance(raised[0], Cancelled | CopyFailed)
            assert not [
                path for path in tmp_path.rglob("*") if path.is_file() and ".part" in path.name
            ]


def test_credentials_stay_with_the_registry_also_where_it_breaks(registry):
    """Nothing that broke tells them to anybody else, or in an error."""
    secret = Given(Basic("me", "s3cret"))
    for error in ("401", "401:1", "redirect", "redirect-loop", "500", "cut=10"):
        with (
            client(runtime=Impatient()) as made,
            Proxy(registry.host, [("blob-get", error)]) as proxy,
        ):
            run(one_image(made.repository(registry.host, "secret/app")))
            target = MemoryRepository(ThreadRuntime())
            source = made.repository(proxy.host, "secret/app", secret)
            try:
                run(copy(source, "v1", target, ["v1"], runtime=made.runtime))
            except CopyFailed as failed:
                said = "".join(traceback.format_exception(failed))
                assert "s3cret" not in said
                assert "bWU6czNjcmV0" not in said  # the same in base 64
            else:
                assert error in ("401:1", "redirect", "cut=10")


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_manifest_that_was_damaged_on_its_way_is_sent_once_more(algorithm, registry):
    source = MemoryRepository(ThreadRuntime())
    stored = image(descriptor_of(b"{}"), annotations={"x": "y" * 5000}, algorithm=algorithm)
    run(push(source, b"{}"))
    run(source.manifest_put(stored, ["v1"]))
    rules = [("manifest-put", "corrupt-request:1")]
    with client(runtime=Impatient()) as made, Proxy(registry.host, rules, seed=1) as proxy:
        target = made.repository(proxy.host, f"again/{algorithm}", to_write=True)
        run(copy(source, "v1", target, ["v1"], runtime=made.runtime))
        assert run(target.manifest_get("v1")) == stored
        assert [passed.status for passed in proxy.passed("manifest-put")] == [400, 201]


def test_a_tag_never_moves_to_what_was_damaged_on_its_way(registry):
    """Also where what came is a manifest still: of its annotation one letter is another."""
    source = MemoryRepository(ThreadRuntime())

    async def write():
        config = await push(source, b"{}")
        await source.manifest_put(image(config, config, annotations={"x": "y" * 5000}), ["v1"])

    run(write())
    for seed in range(10):
        rules = [("manifest-put", "corrupt-request")]
        with client(runtime=Impatient()) as made, Proxy(registry.host, rules, seed=seed) as proxy:
            target = made.repository(proxy.host, "damaged/app", to_write=True)
            with pytest.raises(CopyFailed, match=r"DIGEST_INVALID|MANIFEST_INVALID"):
                run(copy(source, "v1", target, ["v1"], runtime=made.runtime))
            assert run(made.repository(registry.host, "damaged/app").resolve("v1")) is None
