"""The cache in an object store, without a network: the suite, hostile objects, outages, tiers."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import aclosing, closing
from dataclasses import replace

import pytest

import wasmhold
from wasmhold import sync
from wasmhold.client.aio import AsyncioRuntime
from wasmhold.client.caches.shared import FAILURES, REST_S, ObjectCache, Outage
from wasmhold.client.caches.shared_config import LOCAL_SIZE, PREFIX, ObjectCacheConfig
from wasmhold.client.place import PlaceInvalid
from wasmhold.client.runtime import ThreadRuntime
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import (
    BlobUnknown,
    ContentDamaged,
    DigestMismatch,
    MissingExtraError,
    StoreUnavailable,
)
from wasmhold.oci.limits import MIB
from wasmhold.ports.runtime import run
from wasmhold.stores.bucket.obstore import SMALL
from wasmhold.stores.bucket.port import Ambiguous
from wasmhold.testing.cache_suite import CACHE_CHECKS, check_cache, keep, read, record
from wasmhold.testing.covers import covers
from wasmhold.testing.repository_suite import Source, descriptor_of, image

KINDS = ["memory", "folder", "tiers"]


def made(kind, path):
    config = ObjectCacheConfig("memory://")
    if kind == "folder":
        config = ObjectCacheConfig((path / "a folder").as_uri())
    if kind == "tiers":
        config = replace(config, local_dir=path / "near")
    return ObjectCache(config)


@covers("ZL-500", "ZL-501", "ZL-502", "ZL-503", "ZL-504", "ZL-546", "ZL-547")
@pytest.mark.parametrize("name", CACHE_CHECKS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_suite(kind, name, tmp_path):
    check_cache(made(kind, tmp_path).engine, [name])


@pytest.mark.parametrize("name", CACHE_CHECKS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_suite_under_asyncio(kind, name, tmp_path):
    async def work():
        with closing(AsyncioRuntime()) as runtime:
            await CACHE_CHECKS[name](made(kind, tmp_path).engine(runtime), runtime)

    asyncio.run(work())


@covers("ZL-541", "ZL-547")
def test_its_objects_have_names_that_cannot_collide(tmp_path):
    cache = made("folder", tmp_path)
    engine = cache.engine(ThreadRuntime())
    blob, manifest = run(keep(engine, b"blob")), image(descriptor_of(b"config"))
    run(engine.manifest_put(manifest))
    run(engine.record_put(record("host:5000", "a/b", "1")))
    folder = tmp_path / "a folder"
    names = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    assert names == [
        f"wasmhold/blobs/manifests/sha256/{manifest.digest.encoded}",
        "wasmhold/blobs/refs/host%3A5000/a/b/_tags/1.json",
        f"wasmhold/blobs/sha256/{blob.digest.encoded}",
    ]
    assert cache.key_for_digest(str(blob.digest)) == names[2]
    assert (folder / cache.key_for_digest(blob.digest)).read_bytes() == b"blob"

    async def methods():
        assert await (await ObjectCache.open(cache.config)).count() == 2
        assert await cache.digests() == [blob.digest]
        await cache.delete(blob.digest)
        assert await cache.get(blob.digest) is None
        await cache.clear()
        assert await cache.count() == 0
        assert await cache.records() == []

    asyncio.run(methods())


# ---- what others put there


@pytest.fixture
def shared(tmp_path):
    """A cache in a folder, whose files a test may change."""
    return made("folder", tmp_path)


def file_of(cache, tmp_path, name):
    path = tmp_path / "a folder" / PREFIX / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


RIGHT = b"right" * 500_000

# fmt: off
BLOBS = [
    # what lies there,       its bytes,                 how many come out at most
    ("a flipped bit",        b"R" + RIGHT[1:],          len(RIGHT) - 1),
    ("the last bit flipped", RIGHT[:-1] + b"T",         len(RIGHT) - 1),
    ("cut",                  RIGHT[:-1],                len(RIGHT) - 2),
    ("longer",               RIGHT + b"!",              len(RIGHT)),
    ("one byte",             b"r",                      0),
    ("nothing",              b"",                       0),
]
# fmt: on


@pytest.mark.parametrize(("what", "there", "most"), BLOBS, ids=[row[0] for row in BLOBS])
@covers("ZL-541", "ZL-505")
def test_wrong_bytes_never_come_out_whole_and_go(shared, tmp_path, what, there, most):
    digest = Digest.of(RIGHT)
    path = file_of(shared, tmp_path, f"sha256/{digest.encoded}")
    path.write_bytes(there)
    engine = shared.engine(ThreadRuntime())
    came = []

    async def read_it():
        async with aclosing(await engine.blob_open(digest)) as body:
            async for chunk in body:
                came.append(chunk)

    with pytest.raises(ContentDamaged):
        run(read_it())
    assert sum(map(len, came)) <= most
    assert not path.exists()
    assert run(engine.blob_size(digest)) is None
    run(keep(engine, RIGHT))
    assert run(read(engine, digest)) == RIGHT


@covers("ZL-544", "ZL-505")
@pytest.mark.parametrize(("what", "there", "most"), BLOBS, ids=[row[0] for row in BLOBS])
def test_wrong_bytes_come_no_nearer(tmp_path, what, there, most):
    config = replace(made("folder", tmp_path).config, local_dir=tmp_path / "near")
    cache, digest = ObjectCache(config), Digest.of(RIGHT)
    path = file_of(cache, tmp_path, f"sha256/{digest.encoded}")
    path.write_bytes(there)
    with pytest.raises(BlobUnknown):
        run(cache.engine(ThreadRuntime()).blob_open(digest))
    assert not path.exists()
    assert [p for p in (tmp_path / "near").rglob("*") if p.name == digest.encoded] == []


MANIFEST = image(descriptor_of(b"config"))
OTHER = image(descriptor_of(b"other"))

MANIFESTS = [
    ("another manifest", OTHER.content),
    ("one more space", MANIFEST.content + b" "),
    ("no JSON", b"\xff\xfe"),
    ("nothing", b""),
    ("too much", bytes(SMALL + 1)),
]


@pytest.mark.parametrize(("what", "there"), MANIFESTS, ids=[row[0] for row in MANIFESTS])
@covers("ZL-541", "ZL-505")
def test_a_wrong_manifest_is_a_miss_and_goes(shared, tmp_path, what, there):
    path = file_of(shared, tmp_path, f"manifests/sha256/{MANIFEST.digest.encoded}")
    path.write_bytes(there)
    engine = shared.engine(ThreadRuntime())
    assert run(engine.manifest_get(MANIFEST.digest)) is None
    assert not path.exists()
    run(engine.manifest_put(MANIFEST))
    assert run(engine.manifest_get(MANIFEST.digest)) == MANIFEST


def test_what_is_right_and_no_manifest_is_a_miss(shared, tmp_path):
    content = b'{"mediaType": 5}'
    digest = Digest.of(content)
    file_of(shared, tmp_path, f"manifests/sha256/{digest.encoded}").write_bytes(content)
    assert run(shared.engine(ThreadRuntime()).manifest_get(digest)) is None


RECORD = record("host", "a/b", "1")


@covers("ZL-541")
def test_a_wrong_record_is_a_miss(shared, tmp_path):
    engine = shared.engine(ThreadRuntime())
    run(engine.record_put(RECORD))
    path = file_of(shared, tmp_path, "refs/host/a/b/_tags/1.json")
    right = path.read_bytes()
    for there in (b"", b"{}", b"null", right[:-5], bytes(SMALL + 1), right.replace(b"a/b", b"a/c")):
        path.write_bytes(there)
        assert run(engine.record_get(RECORD.key)) is None
    path.write_bytes(right)
    path.with_name("2.json").write_bytes(right)
    file_of(shared, tmp_path, "refs/other/1.json").write_bytes(b"")
    file_of(shared, tmp_path, "sha256/abc").write_bytes(b"no blob")

    async def listed():
        return [r async for r in engine.records()], [k async for k in engine.blobs()]

    assert run(listed()) == ([RECORD], [])


@covers("ZL-546")
def test_wrong_bytes_never_get_a_name(shared, tmp_path):
    for content in (b"x", bytes(9 * MIB)):
        right = descriptor_of(content)
        with pytest.raises(DigestMismatch):
            run(shared.engine(ThreadRuntime()).blob_put(right, Source(b"y" * len(content))))
    assert [p for p in (tmp_path / "a folder").rglob("*") if p.is_file()] == []


# ---- outages


class Clock(ThreadRuntime):
    """A runtime whose time is told."""

    def __init__(self):
        super().__init__()
        self.time = 1e9
        self.now = lambda: self.time


def failing(engine, *errors):
    """Let the bucket of an engine fail for ever, with these errors in turn; how often it did."""
    asked = []

    async def fail(*arguments):
        asked.append(arguments)
        raise errors[len(asked) % len(errors)]

    for name in ("get", "size", "open_data", "put_data", "delete", "list"):
        setattr(engine._bucket, name, fail)
    return asked


ERRORS = [StoreUnavailable("no answer"), Ambiguous("no answer")]


async def calls(engine):
    """Everything that a puller asks for: a miss each time, or an error; what came of it."""
    blob = descriptor_of(b"blob")
    outcomes = []
    for call in (
        engine.blob_size(blob.digest),
        engine.manifest_get(MANIFEST.digest),
        engine.record_get(RECORD.key),
        engine.blob_put(blob, Source(b"blob")),
        engine.manifest_put(MANIFEST),
        engine.record_put(RECORD),
    ):
        try:
            outcomes.append(await call)
        except StoreUnavailable:
            outcomes.append("error")
    try:
        await engine.blob_open(blob.digest)
    except BlobUnknown:
        outcomes.append(None)
    except StoreUnavailable:
        outcomes.append("error")
    return outcomes


@covers("ZL-548")
def test_after_three_failures_it_is_left_alone_for_half_a_minute(tmp_path):
    assert (FAILURES, REST_S) == (3, 30)
    runtime = Clock()
    engine = made("memory", tmp_path).engine(runtime)
    works = dict(vars(engine._bucket))
    asked = failing(engine, *ERRORS)
    assert run(calls(engine)) == ["error"] * 3 + [None] * 4
    assert len(asked) == 3
    runtime.time += 29.5
    assert run(calls(engine)) == [None] * 7
    assert len(asked) == 3
    runtime.time += 0.5
    assert run(calls(engine)) == ["error"] + [None] * 6  # it still fails: another half minute
    assert len(asked) == 4
    runtime.time += 30
    vars(engine._bucket).clear()
    vars(engine._bucket).update(works)
    assert "error" not in run(calls(engine))
    assert run(engine.manifest_get(MANIFEST.digest)) == MANIFEST
    failing(engine, *ERRORS)
    assert run(calls(engine)).count("error") == 3  # what it did before is forgotten


@covers("ZL-548")
def test_the_engines_of_a_cache_know_the_same(tmp_path):
    cache, runtime = made("memory", tmp_path), Clock()
    first, second = cache.engine(runtime), cache.engine(runtime)
    failing(first, *ERRORS)
    run(calls(first))
    asked = failing(second, *ERRORS)
    assert run(calls(second)) == [None] * 7
    assert asked == []


@covers("ZL-548")
def test_what_a_user_asks_for_is_an_error_also_in_a_rest(tmp_path):
    engine = made("memory", tmp_path).engine(Clock())
    failing(engine, *ERRORS)
    run(calls(engine))

    async def first_of(listed):
        async for one in listed:
            return one

    digest = Digest.of(b"x")
    for call in (
        engine.blob_delete(digest),
        engine.manifest_delete(digest),
        engine.record_delete(RECORD.key),
        first_of(engine.blobs()),
        first_of(engine.manifests()),
        first_of(engine.records()),
    ):
        with pytest.raises(StoreUnavailable):
            run(call)


@covers("ZL-548")
def test_a_source_that_fails_says_nothing_about_the_store(tmp_path):
    runtime = Clock()
    engine = made("memory", tmp_path).engine(runtime)
    blob = descriptor_of(bytes(9 * MIB))
    for sent in (b"", bytes(9 * MIB - 1)):
        for _ in range(FAILURES + 1):
            with pytest.raises(StoreUnavailable, match="of the source"):
                run(engine.blob_put(blob, Source(sent, error=StoreUnavailable("of the source"))))
    run(engine.blob_put(blob, Source(bytes(9 * MIB))))
    assert run(engine.blob_size(blob.digest)) == 9 * MIB


@covers("ZL-548")
def test_a_body_that_breaks_counts(tmp_path):
    runtime = Clock()
    engine = made("memory", tmp_path).engine(runtime)
    blob = run(keep(engine, bytes(3 * MIB)))
    whole = engine._bucket.open_data

    async def broken(chunks):
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk
                raise StoreUnavailable("it went away")

    async def open_data(key):
        size, chunks = await whole(key)
        return size, broken(chunks)

    engine._bucket.open_data = open_data
    with pytest.raises(StoreUnavailable, match="went away"):
        run(read(engine, blob.digest))
    failing(engine, *ERRORS)
    assert run(calls(engine)).count("error") == FAILURES - 1


@covers("ZL-548")
def test_who_may_only_read_reads_on(tmp_path):
    engine = made("memory", tmp_path).engine(Clock())
    blob = run(keep(engine, b"blob"))
    refused = StoreUnavailable("403")
    refused.retryable = False
    asked = []

    async def refuse(*arguments):
        asked.append(arguments)
        raise refused

    engine._bucket.put_data = refuse
    for number in range(FAILURES + 2):
        call = keep(engine, b"%d" % number)
        if number < FAILURES:
            with pytest.raises(StoreUnavailable):
                run(call)
        else:
            run(call)
        assert run(read(engine, blob.digest)) == b"blob"
    assert len(asked) == FAILURES


def test_a_clock_that_is_put_back_makes_no_long_rest():
    outage = Outage()
    for _ in range(FAILURES):
        outage.failed(1e9)
    assert outage.is_resting(1e9 + 29)
    assert not outage.is_resting(1e9 + 30)
    assert not outage.is_resting(1e9 - 3600)


# ---- tiers


@covers("ZL-544")
def test_what_is_read_comes_nearer(tmp_path):
    far = made("folder", tmp_path)
    blob = run(keep(far.engine(ThreadRuntime()), RIGHT))
    run(far.engine(ThreadRuntime()).manifest_put(MANIFEST))
    engine = ObjectCache(replace(far.config, local_dir=tmp_path / "near")).engine(Clock())
    assert run(read(engine, blob.digest, 7)) == RIGHT[7:]
    assert run(engine.manifest_get(MANIFEST.digest)) == MANIFEST
    near = {p.name for p in (tmp_path / "near").rglob("*") if p.is_file()}
    assert {blob.digest.encoded, MANIFEST.digest.encoded} <= near
    failing(engine._far, *ERRORS)
    assert run(read(engine, blob.digest)) == RIGHT
    assert run(engine.manifest_get(MANIFEST.digest)) == MANIFEST


@covers("ZL-544")
def test_near_by_there_may_be_no_room(tmp_path):
    config = replace(made("folder", tmp_path).config, local_dir=tmp_path / "near")
    assert config.local_max_size == LOCAL_SIZE == 1024 * MIB
    engine = ObjectCache(replace(config, local_max_size="1MiB")).engine(ThreadRuntime())
    blob = run(keep(engine, RIGHT))
    assert run(read(engine, blob.digest)) == RIGHT
    assert [p for p in (tmp_path / "near").rglob("*") if p.name == blob.digest.encoded] == []


@covers("ZL-544")
def test_what_is_put_may_go_near_by_before_it_is_far(tmp_path):
    """Somebody else made room, say: it is read where it came from."""
    config = replace(made("folder", tmp_path).config, local_dir=tmp_path / "near")
    engine, blob = ObjectCache(config).engine(ThreadRuntime()), descriptor_of(RIGHT)
    put = engine._near.blob_put

    async def put_and_lose(descriptor, source):
        await put(descriptor, source)
        await engine._near.blob_delete(descriptor.digest)

    engine._near.blob_put = put_and_lose
    run(engine.blob_put(blob, Source(RIGHT)))
    assert run(read(made("folder", tmp_path).engine(ThreadRuntime()), blob.digest)) == RIGHT


@covers("ZL-544")
def test_what_a_tag_led_to_is_asked_of_the_far_one(tmp_path):
    far = made("folder", tmp_path)
    engine = ObjectCache(replace(far.config, local_dir=tmp_path / "near")).engine(ThreadRuntime())
    run(engine.record_put(RECORD))
    newer = record("host", "a/b", "1", "newer")
    run(far.engine(ThreadRuntime()).record_put(newer))
    assert run(engine.record_get(RECORD.key)) == newer


# ---- configurations


R2 = ObjectCacheConfig.cloudflare_r2("b", "acc")
B2 = ObjectCacheConfig.backblaze_b2("b", "us-west-004")

# fmt: off
PRESETS = [
    (R2,                                                   "auto",        "https://acc.r2.cloudflarestorage.com", True),
    (B2,                                                   "us-west-004", "https://s3.us-west-004.backblazeb2.com", False),
    (ObjectCacheConfig.wasabi("b", "eu-central-1"),        "eu-central-1", "https://s3.eu-central-1.wasabisys.com", False),
    (ObjectCacheConfig.minio("b", "http://minio:9000"),    "us-east-1",   "http://minio:9000", True),
    (ObjectCacheConfig.minio("b", "https://m", "eu"),      "eu",          "https://m", True),
]
PLACES = [
    # configuration,                                       URL of the store,   keys begin with
    (ObjectCacheConfig("b"),                               "s3://b",           "wasmhold/blobs/"),
    (ObjectCacheConfig("s3://b"),                          "s3://b",           "wasmhold/blobs/"),
    (ObjectCacheConfig("s3://b/"),                         "s3://b",           "wasmhold/blobs/"),
    (ObjectCacheConfig("s3://b/a/c/"),                     "s3://b",           "a/c/"),
    (ObjectCacheConfig("s3://b/a", "x"),                   "s3://b",           "x/"),
    (ObjectCacheConfig("b", ""),                           "s3://b",           ""),
    (ObjectCacheConfig("b", "/x/y/"),                      "s3://b",           "x/y/"),
    (ObjectCacheConfig("gs://b/a"),                        "gs://b",           "a/"),
    (ObjectCacheConfig("az://acc/con"),                    "az://acc/con",     "wasmhold/blobs/"),
    (ObjectCacheConfig("file:///a/b"),                     "file:///a/b",      "wasmhold/blobs/"),
    (ObjectCacheConfig("memory://"),                       "memory://",        "wasmhold/blobs/"),
]
WRONG = [
    # what is given,                                      what is said
    (("http://host/x",),                                  "want one of s3://"),
    (("s3://",),                                          "the name of a bucket"),
    (("",),                                               "the name of a bucket"),
    (("s3://b:5",),                                       "the name of a bucket"),
    (("s3://key:hidden@b",),                              "keys do not belong into a URL"),
    (("s3://b?secret=hidden",),                           "nothing behind the path"),
    (("s3://b/../c",),                                    "none of dots"),
    (("s3://b/a//c",),                                    "no empty part"),
    (("az://acc",),                                       "az://ACCOUNT/CONTAINER"),
    (("file://host/x",),                                  "file:///FOLDER"),
    (("file:///",),                                       "file:///FOLDER"),
    (("gs://b", None, "eu"),                              "for s3:// alone"),
    (("b", None, None, "ftp://h"),                        "https://HOST"),
    (("b", None, None, "minio:9000"),                     "https://HOST"),
    (("b", None, None, "https://me:hidden@h"),            "keys do not belong into a URL"),
]
# fmt: on


@pytest.mark.parametrize(("config", "region", "endpoint", "path_style"), PRESETS)
@covers("ZL-542")
def test_presets(config, region, endpoint, path_style):
    assert (config.url, config.region, config.endpoint) == ("b", region, endpoint)
    assert config.path_style is path_style
    assert ObjectCache(config).place == "s3://b/wasmhold/blobs"


@covers("ZL-543", "ZL-542")
def test_a_configuration_is_changed_by_keywords():
    given = ObjectCacheConfig.cloudflare_r2("b", "acc", prefix="p", local_dir="d", local_max_size=5)
    assert (given.key_prefix, given.local_dir, given.local_max_size) == ("p/", "d", 5)
    assert replace(given, prefix="q").key_prefix == "q/"
    with pytest.raises(TypeError):
        ObjectCacheConfig()  # there is no bucket unless one is named


@pytest.mark.parametrize(("config", "url", "prefix"), PLACES)
@covers("ZL-540")
def test_where_it_lies(config, url, prefix):
    assert (config.store_url, config.key_prefix) == (url, prefix)


@pytest.mark.parametrize(("given", "said"), WRONG)
@covers("ZL-540")
def test_what_names_no_cache(given, said):
    with pytest.raises(PlaceInvalid) as caught:
        ObjectCacheConfig(*given)
    assert said in str(caught.value)
    assert "hidden" not in caught.value.show()


@covers("ZL-545")
def test_keys_are_in_no_text():
    keys = dict.fromkeys(("access_key_id", "secret_access_key", "session_token"), "hidden")
    config = ObjectCacheConfig("b", region="eu", **keys)
    cache = ObjectCache(config)
    for thing in (config, cache, cache._connection, cache.place, cache.engine(ThreadRuntime())):
        assert "hidden" not in f"{thing!r} {thing}"
    assert cache._connection.reads.config["secret_access_key"] == "hidden"


@covers("ZL-541", "ZL-006")
def test_without_an_event_loop(tmp_path):
    config = wasmhold.ObjectCacheConfig(tmp_path.as_uri())
    assert wasmhold.S3CacheConfig is wasmhold.ObjectCacheConfig
    cache = sync.ObjectCache.open(config)
    digest = cache.put(b"blob")
    assert cache.get(digest) == b"blob"
    assert (tmp_path / cache.key_for_digest(digest)).read_bytes() == b"blob"
    assert cache.info().blobs == 1
    assert cache.verify().count == 1
    cache.clear()
    assert cache.count() == 0


@covers("ZL-003", "ZL-005")
def test_without_the_package(tmp_path):
    """In a process of its own, which cannot import obstore: only this kind of cache misses it."""
    program = f"""
import sys
sys.modules["obstore"] = None
from wasmhold.client.caches.blob_cache import BlobCache
from wasmhold.client.caches.shared import ObjectCache
from wasmhold.client.caches.shared_config import ObjectCacheConfig
from wasmhold.oci.errors import MissingExtraError
BlobCache.memory(), BlobCache.open({str(tmp_path / "cache")!r})
try:
    ObjectCache(ObjectCacheConfig("bucket"))
except MissingExtraError as error:
    print(error.extra, error)
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ran.stdout.startswith("s3 ")
    assert "pip install 'wasmhold[s3]'" in ran.stdout
    assert issubclass(MissingExtraError, Exception)
