"""The bucket over obstore: in memory, in a folder, and on a real S3 server; and its errors."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from threading import Event, Thread

import pytest

from tests.s3 import ACCESS_KEY, SECRET_KEY, Gateway, free_port, needs_versitygw
from wasmhold.client.aio import AsyncioRuntime
from wasmhold.client.opening import SystemRandomness
from wasmhold.oci.errors import ContentDamaged, OutOfSpace, StoreUnavailable
from wasmhold.oci.limits import KIB, MIB
from wasmhold.ports.runtime import Inline, run
from wasmhold.stores.bucket import obstore
from wasmhold.stores.bucket.obstore import PART, SMALL, ObstoreBucket, connect
from wasmhold.stores.bucket.port import Absent, Ambiguous, Conflict, Unsupported
from wasmhold.stores.bucket.store import BucketStore
from wasmhold.testing.covers import covers
from wasmhold.testing.store_suite import CHECKS, check_store

INLINE = Inline(time.time, time.sleep)
SERVER = pytest.param("server", marks=[pytest.mark.peer, needs_versitygw])
LONG = "more-than-a-page-of-everything"

_number = count()


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("s3") / "root") as running:
        running.make_bucket("bucket")
        yield running


@pytest.fixture
def make(request, tmp_path):
    """A function that makes empty buckets of the kind that the test names."""

    def bucket(runtime=INLINE) -> ObstoreBucket:
        prefix = f"p{next(_number)}/"
        if kind == "server":
            made = connect("s3://bucket", **request.getfixturevalue("server").options)
        else:
            made = connect({"memory": "memory://", "folder": tmp_path.as_uri()}[kind])
        return ObstoreBucket(made, runtime, prefix)

    kind = request.param
    return bucket


kinds = pytest.mark.parametrize("make", ["memory", "folder", SERVER], indirect=True)
with_conditions = pytest.mark.parametrize("make", ["memory", SERVER], indirect=True)


async def pieces(*given: bytes, error: BaseException | None = None):
    for piece in given:
        yield piece
    if error is not None:
        raise error


def keys(bucket, prefix="", after="", limit=1000):
    return [entry.key for entry in run(bucket.list(prefix, after, limit)).entries]


async def content(bucket, key, start, stop):
    return b"".join([piece async for piece in bucket.read_data(key, start, stop)])


# ---- the whole store, over it


@pytest.mark.parametrize("name", [name for name in CHECKS if name != LONG])
@with_conditions
def test_a_store_over_it(make, name):
    check_store(lambda: BucketStore(make(), INLINE, SystemRandomness()), [name])


@pytest.mark.slow
@with_conditions
def test_a_large_store_over_it(make):
    check_store(lambda: BucketStore(make(), INLINE, SystemRandomness()), [LONG])


# ---- call by call


@with_conditions
def test_conditions(make):
    bucket = make()
    assert run(bucket.get("k")) is None
    first = run(bucket.create("k", b"1"))
    with pytest.raises(Conflict):
        run(bucket.create("k", b"2"))
    second = run(bucket.replace("k", b"2", first))
    assert run(bucket.get("k")) == (b"2", second)
    for key, etag in [("k", first), ("absent", first)]:
        with pytest.raises(Conflict):
            run(bucket.replace(key, b"3", etag))
    (entry,) = run(bucket.list("", "")).entries
    assert (entry.key, entry.size, entry.etag) == ("k", 1, second)
    assert abs(entry.modified - time.time()) < 60
    assert run(bucket.get("k")) == (b"2", second)


def test_a_folder_has_no_conditions(tmp_path):
    bucket = ObstoreBucket(connect(tmp_path.as_uri()), INLINE)
    etag = run(bucket.create("k", b"1"))
    with pytest.raises(Conflict):
        run(bucket.create("k", b"2"))
    for call in (bucket.replace("k", b"2", etag), bucket.remove("k", etag)):
        with pytest.raises(Unsupported):
            run(call)
    assert run(bucket.get("k")) == (b"1", etag)
    assert keys(bucket) == ["k"]


@pytest.mark.peer
@needs_versitygw
def test_a_delete_on_a_condition(server):
    bucket = ObstoreBucket(connect("s3://bucket", **server.options), INLINE, "removing/")
    old = run(bucket.create("k", b"1"))
    new = run(bucket.replace("k", b"2", old))
    with pytest.raises(Conflict):
        run(bucket.remove("k", old))
    assert run(bucket.get("k")) == (b"2", new)
    for _ in range(2):
        run(bucket.remove("k", new))
        assert keys(bucket) == []


@pytest.mark.peer
@needs_versitygw
def test_a_server_that_ignores_the_condition_is_found_out(server, monkeypatch):
    bucket = ObstoreBucket(connect("s3://bucket", **server.options), INLINE, "ignoring/")
    sent = []

    def ignoring(scheme, host, target, etag):
        sent.append(target)
        bucket._delete(target.partition("?")[0].removeprefix("/bucket/"))
        return 204

    monkeypatch.setattr(bucket, "_send_delete", ignoring)
    etag = run(bucket.create("k", b"1"))
    for _ in range(2):
        with pytest.raises(Unsupported):
            run(bucket.remove("k", etag))
    assert keys(bucket) == ["k"]
    assert len(sent) == 1


SIZES = [0, 1, 256 * KIB, MIB + 1, PART - 1, PART, PART + 1, 3 * PART + 5]


@kinds
@covers("ZL-546")
def test_data_of_any_size(make):
    bucket = make()
    for size in SIZES:
        whole = random.Random(size).randbytes(size)
        cut = [whole[at : at + 700_001] for at in range(0, size, 700_001)]
        assert run(bucket.put_data("d", pieces(*cut))) == size
        assert run(bucket.size("d")) == size
        assert run(bucket.has("d"))
        found, chunks = run(bucket.open_data("d"))
        assert found == size

        async def all_of(chunks=chunks):
            return b"".join([chunk async for chunk in chunks])

        assert run(all_of()) == whole
        for start, stop in [(0, size), (size // 3, size), (size // 3, size // 2), (size, size)]:
            assert run(content(bucket, "d", start, stop)) == whole[start:stop]
    assert keys(bucket) == ["d"]


@kinds
def test_pieces_are_small(make):
    bucket = make()
    run(bucket.put_data("d", pieces(bytes(3 * MIB))))

    async def largest():
        return max([len(piece) async for piece in bucket.read_data("d", 1, 3 * MIB)])

    assert run(largest()) <= 256 * KIB


class Broken(Exception):
    pass


@kinds
@covers("ZL-546")
def test_chunks_that_break_leave_nothing(make):
    bucket = make()
    for size in (0, 10, PART + 1, 3 * PART):
        cut = [bytes(MIB)] * (size // MIB) + [bytes(size % MIB)]
        with pytest.raises(Broken):
            run(bucket.put_data("d", pieces(*cut, error=Broken())))
        assert not run(bucket.has("d"))
    run(bucket.put_data("d", pieces(b"old")))
    with pytest.raises(Broken):
        run(bucket.put_data("d", pieces(bytes(PART), b"new", error=Broken())))
    assert run(content(bucket, "d", 0, 3)) == b"old"
    assert keys(bucket) == ["d"]


@kinds
def test_under_asyncio(make):
    import asyncio

    async def both_ways():
        runtime = AsyncioRuntime()
        bucket = make(runtime)
        given = [bytes([i]) * MIB for i in range(20)]
        try:
            assert await bucket.put_data("d", pieces(*given)) == 20 * MIB
            assert await content(bucket, "d", MIB, 20 * MIB) == b"".join(given[1:])

            async def never():
                yield bytes(PART + 1)
                await asyncio.Event().wait()

            writing = asyncio.create_task(bucket.put_data("never", never()))
            await asyncio.sleep(0.05)
            writing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await writing
            assert not await bucket.has("never")
        finally:
            runtime.close()

    asyncio.run(both_ways())


@kinds
def test_what_is_absent(make):
    bucket = make()
    assert run(bucket.size("d")) is None
    assert not run(bucket.has("d"))
    run(bucket.delete("d"))
    with pytest.raises(Absent):
        run(content(bucket, "d", 0, 1))
    with pytest.raises(Absent):
        run(bucket.open_data("d"))
    run(bucket.put_data("d", pieces(b"x")))
    run(bucket.delete("d"))
    assert not run(bucket.has("d"))


@kinds
def test_lists(make):
    bucket = make()
    names = [
        *("a", "b/1", "b/sha256:0", "b/sha256:1", "b/sha512:0", "b-/x", "c/%3A!/ü", "c/0/_t/x"),
        *("c/0/y", "c/00", "c/_t/x"),
    ]
    for name in names:
        run(bucket.put_data(name, pieces(b"x")))
    names.sort(key=str.encode)
    for prefix in ("", "b", "b/", "b/sha", "b/sha256:", "c/", "c/0", "c/0/", "d", "zz/"):
        want = [name for name in names if name.startswith(prefix) and name > prefix]
        assert keys(bucket, prefix) == want
        for at in range(len(want)):
            assert keys(bucket, prefix, want[at]) == want[at + 1 :]
            for limit in (1, 2, len(want)):
                page = run(bucket.list(prefix, want[at], limit))
                assert [entry.key for entry in page.entries] == want[at + 1 :][:limit]
                assert page.more == (len(want[at + 1 :]) > limit)


@kinds
def test_more_than_a_page(make):
    bucket = make()
    names = [f"k/{i:04}" for i in range(1003)]
    for name in names:
        run(bucket.put_data(name, pieces(b"x")))
    first = run(bucket.list("k/", "", 5000))
    assert [entry.key for entry in first.entries] == names[:1000]
    assert first.more
    last = run(bucket.list("k/", names[999]))
    assert [entry.key for entry in last.entries] == names[1000:]
    assert not last.more


@kinds
def test_prefixes_are_worlds_of_their_own(make):
    one, two = make(), make()
    run(one.put_data("k", pieces(b"x")))
    assert keys(one) == ["k"]
    assert keys(two) == []


@kinds
def test_what_is_too_large_for_a_small_object(make):
    bucket = make()
    run(bucket.put_data("k", pieces(bytes(SMALL))))
    found = run(bucket.get("k"))
    assert len(found[0]) == SMALL
    run(bucket.put_data("k", pieces(bytes(SMALL + 1))))
    with pytest.raises(ContentDamaged):
        run(bucket.get("k"))


# ---- errors


DENIED = (
    "<Error><Code>SignatureDoesNotMatch</Code><Message>other</Message>"
    f"<AWSAccessKeyId>{ACCESS_KEY}</AWSAccessKeyId><StringToSign>{SECRET_KEY}</StringToSign></Error>"
)


class Scripted(BaseHTTPRequestHandler):
    """Answers everything with the status and body that its server's `script` is, or gives."""

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        script = self.server.script
        status, body = script(self.command, self.path) if callable(script) else script
        self.server.asked += 1
        if status is None:
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"an-etag"')
        self.end_headers()
        self.wfile.write(body.encode())

    do_GET = do_PUT = do_POST = do_DELETE = answer

    def log_message(self, *arguments) -> None:
        """Nothing."""


@pytest.fixture
def scripted():
    with ThreadingHTTPServer(("127.0.0.1", 0), Scripted) as httpd:
        httpd.asked = 0
        Thread(target=httpd.serve_forever, daemon=True).start()
        yield httpd
        httpd.shutdown()


def address_of(server):
    """What `connect` wants to know."""
    return {
        "endpoint": f"http://127.0.0.1:{server.server_port}",
        "access_key_id": ACCESS_KEY,
        "secret_access_key": SECRET_KEY,
    }


# fmt: off
ANSWERS = [
    # status, body,     of a read,         of a write,       what is said
    (403,  DENIED,      StoreUnavailable,  StoreUnavailable, "403 Forbidden, SignatureDoesNotMatch"),
    (404,  "<Error><Code>NoSuchBucket</Code></Error>",
                        StoreUnavailable,  StoreUnavailable, "there is no such bucket"),
    (500,  "",          StoreUnavailable,  Ambiguous,        "500 Internal Server Error"),
    (503,  "<Error><Code>SlowDown</Code></Error>",
                        StoreUnavailable,  Ambiguous,        "503 Service Unavailable, SlowDown"),
    (507,  "",          OutOfSpace,        OutOfSpace,       "507"),
    (None, "",          StoreUnavailable,  Ambiguous,        "Request"),
]
# fmt: on


@pytest.mark.parametrize(("status", "body", "reads", "writes", "said"), ANSWERS)
@covers("ZL-545")
def test_answers_become_errors_without_secrets(
    scripted, monkeypatch, status, body, reads, writes, said
):
    monkeypatch.setattr(obstore, "_RETRIES", 0)
    scripted.script = status, body
    made = connect("s3://bucket", session_token=SECRET_KEY, **address_of(scripted))
    bucket = ObstoreBucket(made, INLINE)
    calls = [
        (reads, bucket.get("k")),
        (reads, bucket.open_data("k")),
        (reads, content(bucket, "k", 0, 9)),
        (writes, bucket.create("k", b"x")),
        (writes, bucket.put_data("k", pieces(b"x"))),
        (reads, bucket.list("k/", "")),
    ]
    if status != 404:  # that is no error for who wants it gone, and a conflict for who knew it
        calls += [(writes, bucket.replace("k", b"x", "y")), (writes, bucket.delete("k"))]
    for kind, call in calls:
        with pytest.raises(kind) as caught:
            run(call)
        text = f"{caught.value} {caught.value!r} {made!r}"
        assert ACCESS_KEY not in text
        assert SECRET_KEY not in text
        assert caught.value.__suppress_context__
        assert said in str(caught.value)


UPLOAD = "<InitiateMultipartUploadResult><UploadId>an-id</UploadId></InitiateMultipartUploadResult>"


@pytest.mark.parametrize("breaks", [True, False])
@covers("ZL-546")
def test_parts_are_given_up_when_the_chunks_break(scripted, breaks):
    asked = []

    def answer(method, target):
        query = target.partition("?")[2]
        asked.append((method, query.rstrip("=")))
        if query.startswith("uploads"):
            return 200, UPLOAD
        return (204, "") if method == "DELETE" else (200, "<r><ETag>e</ETag></r>")

    scripted.script = answer
    bucket = ObstoreBucket(connect("s3://bucket", **address_of(scripted)), INLINE)
    chunks = pieces(*[bytes(MIB)] * 20, error=Broken() if breaks else None)
    if breaks:
        with pytest.raises(Broken):
            run(bucket.put_data("d", chunks))
    else:
        assert run(bucket.put_data("d", chunks)) == 20 * MIB
    assert asked[0] == ("POST", "uploads")
    assert asked[-1] == ("DELETE" if breaks else "POST", "uploadId=an-id")
    assert {method for method, _ in asked[1:-1]} == {"PUT"}


def test_sending_may_take_longer_than_silence(scripted, monkeypatch):
    monkeypatch.setattr(obstore, "_SILENCE_S", 0.2)
    shut = Event()

    def answer(method, target):
        shut.wait(1)
        return 200, ""

    scripted.script = answer
    bucket = ObstoreBucket(connect("s3://bucket", **address_of(scripted)), INLINE)
    assert run(bucket.put_data("d", pieces(b"x"))) == 1
    with pytest.raises(StoreUnavailable, match="Timeout"):
        run(bucket.get("d"))
    shut.set()


def test_nobody_listens():
    port = free_port()
    options = {
        "endpoint": f"http://127.0.0.1:{port}",
        "access_key_id": "a",
        "secret_access_key": "b",
    }
    bucket = ObstoreBucket(connect("s3://bucket", **options), INLINE)
    for call in (bucket.get("k"), bucket.create("k", b""), bucket.put_data("k", pieces(b"x"))):
        with pytest.raises(StoreUnavailable, match="Connection refused"):
            run(call)


@covers("ZL-545")
def test_no_conditional_write_is_repeated(scripted):
    scripted.script = 500, ""
    bucket = ObstoreBucket(connect("s3://bucket", **address_of(scripted)), INLINE)
    for call, times in [
        (bucket.create("k", b""), 1),
        (bucket.replace("k", b"", "e"), 1),
        (bucket.get("k"), 1 + obstore._RETRIES),
    ]:
        scripted.asked = 0
        with pytest.raises((Ambiguous, StoreUnavailable)):
            run(call)
        assert scripted.asked == times


# fmt: off
ENDPOINTS = [
    # endpoint,                        path style, asked at,                                  by path
    ("https://s3.eu.example.com",      False,      "https://bucket.s3.eu.example.com",        False),
    ("https://s3.eu.example.com:8443", False,      "https://bucket.s3.eu.example.com:8443",   False),
    ("https://bucket.s3.example.com",  False,      "https://bucket.s3.example.com",           False),
    ("https://s3.eu.example.com",      True,       "https://s3.eu.example.com",               True),
    ("http://127.0.0.1:9000",          False,      "http://127.0.0.1:9000",                   True),
    ("http://[::1]:9000",              False,      "http://[::1]:9000",                       True),
    ("http://localhost:9000",          False,      "http://localhost:9000",                   True),
]
# fmt: on


@pytest.mark.parametrize(("endpoint", "path_style", "at", "by_path"), ENDPOINTS)
@covers("ZL-540")
def test_where_a_bucket_is_asked_for(endpoint, path_style, at, by_path):
    made = connect("s3://bucket", endpoint=endpoint, path_style=path_style, region="eu")
    config = made.reads.config
    assert config["endpoint"] == at
    assert config["virtual_hosted_style_request"] is not by_path
    assert config["region"] == "eu"
    assert made.reads.client_options["allow_http"] == str(endpoint.startswith("http:")).lower()
