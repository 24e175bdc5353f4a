"""Pullers that share a cache on a real S3 server: filling, an outage in the middle, wrong bytes."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count

import pytest

from tests.cli.program import done, wasmhold
from tests.image.hub import CONTENTS, Hub, hub
from tests.s3 import ACCESS_KEY, SECRET_KEY, Gateway, needs_versitygw
from tests.servers.test_edge import until
from wasmhold.client.caches.blob_cache import BlobCache
from wasmhold.client.caches.shared import ObjectCache
from wasmhold.client.caches.shared_config import ObjectCacheConfig
from wasmhold.client.runtime import ThreadRuntime
from wasmhold.image import PullPolicy, Source
from wasmhold.image.blocking import ImagePuller
from wasmhold.image.events import Warned
from wasmhold.oci.digest import Digest
from wasmhold.oci.limits import MIB
from wasmhold.ports.runtime import run
from wasmhold.testing.cache_suite import CACHE_CHECKS, check_cache, keep
from wasmhold.testing.covers import covers

pytestmark = [pytest.mark.peer, needs_versitygw]

_number = count()


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("s3") / "root") as running:
        running.make_bucket("bucket")
        yield running


@pytest.fixture
def own_server(tmp_path) -> Iterator[Gateway]:
    """One that a test may stop."""
    with Gateway(tmp_path / "root") as running:
        running.make_bucket("bucket")
        yield running


def shared(server: Gateway, prefix: str = "shared/", **options) -> ObjectCache:
    return ObjectCache(ObjectCacheConfig("bucket", prefix, **server.options, **options))


@pytest.fixture(name="hub", scope="module")
def a_hub():
    with hub() as made:
        yield made


class Clocked(ThreadRuntime):
    """A runtime whose time is told, and a cache that has it."""

    def __init__(self, cache):
        super().__init__()
        self.time = time.time()
        self.now = lambda: self.time
        self._cache = cache

    def engine(self, runtime):
        return self._cache.engine(self)


class Told:
    """A listener that keeps warnings."""

    def __init__(self):
        self.warnings = []

    def __call__(self, event):
        if isinstance(event, Warned):
            self.warnings.append(event)

    def codes(self):
        codes, self.warnings = [one.code for one in self.warnings], []
        return codes


def pulled(puller, reference, **options):
    """Where the layers came from; their content is what it has to be."""
    manifest, layers = puller.pull(reference, **options)
    assert [layer.read() for layer in layers] == CONTENTS
    assert Digest.of(manifest.raw) == manifest.digest
    return [layer.source for layer in layers]


@pytest.mark.parametrize("name", CACHE_CHECKS)
@pytest.mark.parametrize("near", [False, True])
@covers("ZL-500", "ZL-546", "ZL-547")
def test_the_suite(server, tmp_path, name, near):
    options = {"local_dir": tmp_path / "near"} if near else {}
    check_cache(shared(server, f"suite{next(_number)}/", **options).engine, [name])


@covers("ZL-541", "ZL-150")
def test_what_one_left_another_pulls_without_a_network(server, tmp_path):
    """A fills the shared cache; the registry ends; B, with an empty cache, has all of it."""
    told = Told()
    with hub() as here:
        stored = here.image("demo/app")
        index = here.index("demo/multi")["index"]
        host = here.host
        with ImagePuller(BlobCache.open(tmp_path / "a"), shared_cache=shared(server)) as a:
            assert pulled(a, f"{host}/demo/app:v1") == [Source.ORIGIN] * 3
            a.pull(f"{host}/demo/multi:v1", platform="linux/amd64")
    own = BlobCache.open(tmp_path / "b")
    with ImagePuller(own, shared_cache=shared(server), on_event=told) as b:
        assert (
            pulled(b, f"{host}/demo/app:v1", policy=PullPolicy.IF_NOT_PRESENT)
            == [Source.SHARED] * 3
        )
        found = b.fetch_manifest(f"{host}/demo/app@{stored.digest}")
        assert (found.raw, found.digest) == (stored.content, stored.digest)
        # By default the registry would be asked whether it is new; it does not answer.
        assert pulled(b, f"{host}/demo/app:v1") == [Source.CACHE] * 3
        multi = b.fetch_manifest(f"{host}/demo/multi:v1", platform="linux/amd64")
        assert multi.index.digest == index.digest
        b.pull(f"{host}/demo/multi:v1", platform="linux/amd64")
    assert told.codes() == []
    assert (
        ObjectCache(shared(server).config)
        .key_for_digest(stored.digest)
        .startswith("shared/sha256/")
    )


@covers("ZL-548")
def test_an_outage_is_a_miss_with_a_warning_and_then_a_rest(own_server, hub: Hub):
    hub.image("outage")
    reference, told = f"{hub.host}/outage:v1", Told()
    cache = Clocked(shared(own_server))
    with ImagePuller(shared_cache=cache, on_event=told, policy="if_not_present") as first:
        pulled(first, reference)
    assert told.codes() == []
    own_server.stop()

    def pull_anew():
        with ImagePuller(shared_cache=cache, on_event=told, policy="if_not_present") as puller:
            return pulled(puller, reference)

    assert pull_anew() == [Source.ORIGIN] * 3
    warned = list(told.warnings)
    assert set(told.codes()) <= {"cache-read", "cache-write"}
    assert 3 <= len(warned) <= 3 + 4  # those that were under way together
    for one in warned:
        assert "s3://bucket" in one.text
        assert ACCESS_KEY not in one.text
        assert SECRET_KEY not in one.text
    cache.time += 29
    assert pull_anew() == [Source.ORIGIN] * 3
    assert told.codes() == []
    cache.time += 2
    assert pull_anew() == [Source.ORIGIN] * 3
    assert 1 <= len(told.codes()) <= 4  # it was tried again
    own_server.start()
    cache.time += 31
    assert pull_anew() == [Source.SHARED] * 3
    assert told.codes() == []


@covers("ZL-548")
def test_who_may_only_read_reads_on(own_server, hub: Hub):
    hub.image("reading")
    hub.image("filling", contents=[b"%d" % number for number in range(8)])
    told, cache = Told(), shared(own_server)
    with ImagePuller(shared_cache=cache, policy="if_not_present") as first:
        pulled(first, f"{hub.host}/reading:v1")
    own_server.stop()
    own_server.start("--readonly")
    with ImagePuller(shared_cache=cache, on_event=told, policy="if_not_present") as puller:
        puller.pull(f"{hub.host}/filling:v1")
        assert 3 <= len(told.warnings) <= 3 + 4
        assert all("403" in one.text for one in told.warnings)
        assert set(told.codes()) == {"cache-write"}
        assert pulled(puller, f"{hub.host}/reading:v1") == [Source.SHARED] * 3
    assert told.codes() == []


@covers("ZL-541", "ZL-545", "ZL-547", "ZL-560")
def test_the_command_line_uses_it(server, tmp_path):
    """Reached by variables; what one copy left, the next one has without the registry."""
    variables = {
        "WASMHOLD_S3_ENDPOINT": server.options["endpoint"],
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    }
    cache = ("--cache", "s3://bucket/line")

    def line(*arguments):
        return done(*arguments, *cache, variables=variables)

    with hub() as here:
        stored = here.image("demo/app")
        reference = f"{here.host}/demo/app@{stored.digest}"
        line("copy", reference, f"oci:{tmp_path}/one:v1")
        here.asked()
        line("copy", reference, f"oci:{tmp_path}/two:v1")
        assert not any("blobs" in asked for asked in here.asked())
    assert "4 blobs, 1 manifest" in line("cache", "info").out
    assert "read 5 things" in line("cache", "verify").out
    line("cache", "clear")
    assert "0 blobs, 0 manifests" in line("cache", "info").out
    wrong = wasmhold("cache", "info", *cache, variables=variables | {"AWS_SECRET_ACCESS_KEY": "no"})
    assert wrong.status != 0
    assert "SignatureDoesNotMatch" in wrong.err
    assert ACCESS_KEY not in wrong.err


@covers("ZL-548", "ZL-546")
def test_a_server_that_ends_in_the_middle_of_a_blob(own_server, hub: Hub, tmp_path):
    """The rest comes from the registry, behind the bytes that are here."""
    content = random.Random(1).randbytes(40 * MIB)
    hub.image("middle", contents=[content])
    reference, told, cache = f"{hub.host}/middle:v1", Told(), shared(own_server)
    with ImagePuller(BlobCache.open(tmp_path / "a"), shared_cache=cache) as first:
        first.pull(reference)
    with ImagePuller(
        BlobCache.open(tmp_path / "b"), shared_cache=cache, on_event=told, policy="if_not_present"
    ) as puller:
        progressed = []

        def stop_at_once(event):
            told(event)
            if getattr(event, "done", 0) and not progressed:
                progressed.append(event.done)
                own_server.stop()

        before = len(hub.proxy.passed())
        (layer,) = puller.pull(reference, on_event=stop_at_once).layers
        assert layer.read() == content
        assert layer.source is Source.ORIGIN
        assert progressed
        assert progressed[0] < len(content)
        assert told.codes()
        asked = [one for one in hub.proxy.passed()[before:] if "/blobs/" in one.target]
        assert len(asked) == 1


@covers("ZL-548")
def test_a_server_that_ends_under_a_stream(own_server, hub: Hub):
    """Where the own cache has no room, the blob is read from the shared one, and then is not."""
    content = random.Random(2).randbytes(40 * MIB)
    hub.image("stream", contents=[content])
    reference, told, cache = f"{hub.host}/stream:v1", Told(), shared(own_server)
    with ImagePuller(BlobCache.memory(64 * MIB), shared_cache=cache) as first:
        first.pull(reference)
    with ImagePuller(
        BlobCache.memory(MIB), shared_cache=cache, on_event=told, policy="if_not_present"
    ) as puller:
        (layer,) = puller.pull(reference).layers
        assert layer.source is Source.SHARED
        came = []
        with layer.open() as stream:
            for chunk in stream:
                came.append(bytes(chunk))
                if len(came) == 3:
                    own_server.stop()
        assert b"".join(came) == content
        assert "cache-read" in told.codes()


WRONG = {
    "flipped": lambda right: b"!" + right[1:],
    "cut": lambda right: right[:-1],
    "longer": lambda right: right + b"!",
    "empty": lambda right: b"",
}


@pytest.mark.parametrize("how", WRONG)
@covers("ZL-541", "ZL-505")
def test_wrong_objects_are_a_miss_and_never_cached(server, hub: Hub, tmp_path, how):
    prefix = f"wrong{next(_number)}/"
    stored = hub.image(f"wrong-{how}")
    reference, cache, told = f"{hub.host}/wrong-{how}:v1", shared(server, prefix), Told()
    with ImagePuller(shared_cache=cache) as first:
        pulled(first, reference)
    bucket = server.root / "bucket" / prefix
    digests = [Digest.of(content) for content in CONTENTS]
    blobs = [bucket / "sha256" / digest.encoded for digest in digests]
    manifest = bucket / "manifests" / "sha256" / stored.digest.encoded
    for path in (*blobs, manifest):
        path.write_bytes(WRONG[how](path.read_bytes()))
    own = BlobCache.open(tmp_path / "own")
    with ImagePuller(own, shared_cache=cache, on_event=told, policy="if_not_present") as puller:
        assert pulled(puller, reference) == [Source.ORIGIN] * 3
        assert pulled(puller, reference) == [Source.CACHE] * 3
    # What was wrong is gone, and right again by this pull.
    for path, content in zip((*blobs, manifest), (*CONTENTS, stored.content), strict=True):
        assert path.read_bytes() == content
    assert asyncio.run(own.verify()).damaged == ()
    assert set(told.codes()) <= {"cache-read"}


WRITER = """
import sys
from wasmhold.client.caches.shared import ObjectCache
from wasmhold.client.caches.shared_config import ObjectCacheConfig
from wasmhold.client.runtime import ThreadRuntime
from wasmhold.ports.runtime import run
from wasmhold.testing.cache_suite import keep
endpoint, access, secret = sys.argv[1:]
config = ObjectCacheConfig(
    "bucket", "kills/", endpoint=endpoint, access_key_id=access, secret_access_key=secret
)
engine = ObjectCache(config).engine(ThreadRuntime())
content = b"wasm" * (12 << 20)
print("begun", flush=True)
run(keep(engine, content))
"""


@covers("ZL-546", "ZL-541")
def test_a_writer_that_is_killed_leaves_no_object(server):
    """At any moment: an object is there whole, or not at all."""
    content = b"wasm" * (12 * MIB)
    engine = shared(server, "kills/").engine(ThreadRuntime())
    path = server.root / "bucket" / "kills" / "sha256" / Digest.of(content).encoded
    chance = random.Random(5)
    for _ in range(6):
        options = server.options
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, *options.values()], stdout=subprocess.PIPE
        )
        assert writer.stdout.readline() == b"begun\n"
        time.sleep(chance.random() * 0.6)
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait(20)
        writer.stdout.close()
        assert not path.exists() or path.read_bytes() == content
        run(engine.blob_delete(Digest.of(content)))
    blob = run(keep(engine, content))
    assert run(engine.blob_size(blob.digest)) == len(content)
    until(path.exists)
