"""Blobs on broken ways: downloads and uploads go on where they stand, and end whole or clearly."""

from __future__ import annotations

import os
from contextlib import aclosing, contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.client.recording import Says, recording, scripted
from tests.client.remotes import client
from wasmhold.client import uploads
from wasmhold.client.credentials import Basic, Given
from wasmhold.client.events import nobody
from wasmhold.client.places import remote
from wasmhold.client.reader import Reader
from wasmhold.oci import media_types
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import (
    AuthFailed,
    BlobUnknown,
    Cancelled,
    DigestMismatch,
    ManifestInvalid,
    ManifestTooLarge,
    ManifestUnknown,
    SizeInvalid,
    Unreachable,
    Unsupported,
)
from wasmhold.ports.body import BytesSource, read_all
from wasmhold.ports.runtime import run
from wasmhold.ports.store import StoredManifest
from wasmhold.protocol.errors import RemoteError
from wasmhold.protocol.read_response import ResponseInvalid
from wasmhold.testing.covers import covers
from wasmhold.testing.repository_suite import Source, descriptor_of, pull, push

DATA = os.urandom(10_000)
SIZE = len(DATA)
DIGEST = Digest.of(DATA)


# ---- downloads


def part(start, stop=SIZE, *, status=206, size=SIZE):
    """A connection that answers with bytes `start` to `stop`, and then is cut."""

    def act(line):
        request = line.request()
        assert request is not None
        asked.append(request[1].get("range"))
        headers = {"content_length": size - start}
        if status == 206:
            headers["content_range"] = f"bytes {start}-{size - 1}/{size}"
        line.say(str(status), DATA[start:stop], **headers)

    return act


asked: list[str | None] = []


def download(*script, start=0):
    """What comes, the ranges that were asked for, and how long it would have waited."""
    asked.clear()
    with scripted(*script) as server, client() as made:

        async def read():
            reader = Reader(
                made.repository(server.host),
                descriptor_of(DATA),
                made.runtime,
                nobody,
                lambda: False,
            )
            async with aclosing(await reader.open(start)) as body:
                return await read_all(body)

        return run(read()), list(asked), made.runtime.waits


@covers("DS-129")
def test_a_cut_download_goes_on():
    content, ranges, waits = download(
        part(0, 6000, status=200), part(6000, 6001), part(6001, 9999), part(9999)
    )
    assert content == DATA
    assert ranges == [None, "bytes=6000-", "bytes=6001-", "bytes=9999-"]
    assert len(waits) == 3


def test_a_registry_that_knows_no_ranges_begins_again():
    content, ranges, _ = download(part(0, 6000, status=200), part(0, status=200))
    assert content == DATA
    assert ranges == [None, "bytes=6000-"]
    assert download(part(0, status=200), start=9000)[0] == DATA[9000:]


def test_a_download_that_never_goes_on_ends():
    with pytest.raises(Unreachable, match="the connection broke"):
        download(part(0, 100, status=200), part(100, 100))
    assert len(asked) < 10


# fmt: off
WRONG = [
    # the second answer,                    what comes of it
    (part(5000),                            ResponseInvalid),
    (part(6000, size=9000),                 SizeInvalid),
    (part(0, status=200, size=9000),        SizeInvalid),
]
# fmt: on


@pytest.mark.parametrize(("second", "error"), WRONG)
def test_a_registry_that_goes_on_elsewhere_is_refused(second, error):
    with pytest.raises(error):
        download(part(0, 6000, status=200), second)


def test_a_blob_from_behind_its_end_is_empty():
    def respond(seen):
        if "range" in seen.headers:
            return Says(416, {"Content-Range": "bytes */5"})
        return Says(404, body=b'{"errors":[{"code":"BLOB_UNKNOWN"}]}')

    with recording(respond) as server, client() as made:
        assert run(pull(made.repository(server.host), DIGEST, 5)) == b""
        with pytest.raises(BlobUnknown):
            run(made.repository(server.host).blob_open(DIGEST))


@covers("ZL-222")
def test_the_first_bytes_of_a_blob():
    def respond(seen):
        asked.append(seen.headers.get("range"))
        if seen.path.endswith(str(Digest.of(b""))):
            return Says(416, {"Content-Range": "bytes */0"})
        return Says(206, {"Content-Range": f"bytes 0-7/{SIZE}"}, DATA[:8])

    asked.clear()
    with recording(respond) as server, client() as made:
        repository = made.repository(server.host)
        assert run(repository.blob_start(DIGEST, 8)) == DATA[:8]
        assert run(repository.blob_start(Digest.of(b""), 8)) == b""
    assert asked == ["bytes=0-7"] * 2


@covers("ZL-222")
def test_the_first_bytes_from_a_registry_that_knows_no_ranges():
    """It would send all of it: nobody reads that, and the connection ends."""
    with scripted(part(0, 100, status=200)) as server, client() as made:
        assert run(made.repository(server.host).blob_start(DIGEST, 8)) == DATA[:8]


def test_a_download_ends_when_it_shall():
    with scripted(part(0, status=200)) as server, client() as made:
        body = run(made.repository(server.host).blob_open(DIGEST))
        made.runtime.cancel()
        with pytest.raises(Cancelled):
            run(read_all(body))
        run(body.aclose())


# ---- what is tried again


# fmt: off
HEALING = [
    # answers before the good one,                           what comes of it,  how long was waited
    ([Says(500)],                                            None,              [(0.1, 0.3)]),
    ([Says(408), Says(502), Says(504)],                      None,              [(0.1, 0.3), (0.2, 0.6), (0.4, 1.2)]),
    ([Says(503, {"Retry-After": "7"})],                      None,              [(7, 7)]),
    ([Says(429, {"Retry-After": "0"})],                      None,              [(0.1, 0.3)]),
    ([Says(429, {"Retry-After": "soon"})],                   None,              [(0.1, 0.3)]),
    ([Says(429, {"Retry-After": "61"})],                     RemoteError,       []),
    ([Says(500)] * 4,                                        RemoteError,       [(0.1, 0.3), (0.2, 0.6), (0.4, 1.2)]),
    ([Says(400)],                                            RemoteError,       []),
    ([Says(403)],                                            AuthFailed,        []),
    ([Says(501)],                                            RemoteError,       []),
]
# fmt: on


@pytest.mark.parametrize(("answers", "error", "waits"), HEALING)
def test_what_may_heal_is_tried_again(answers, error, waits):
    todo = list(answers)

    def respond(seen):
        return todo.pop(0) if todo else Says(200, {"Content-Length": "5"})

    with recording(respond) as server, client() as made:
        attempt = made.repository(server.host).blob_size(DIGEST)
        if error is None:
            assert run(attempt) == 5
        else:
            with pytest.raises(error):
                run(attempt)
        assert len(made.runtime.waits) == len(waits)
        for waited, (least, most) in zip(made.runtime.waits, waits, strict=True):
            assert least <= waited <= most


def test_a_refusal_says_all_that_it_says():
    body = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down","detail":{"a":1}}]}'
    with recording(lambda seen: Says(429, {"Retry-After": "99"}, body)) as server:
        with client() as made, pytest.raises(RemoteError) as caught:
            run(made.repository(server.host).blob_size(DIGEST))
        # A HEAD has no body: a GET tells why.
        with client() as made, pytest.raises(RemoteError) as caught:
            run(made.repository(server.host).manifest_get("v1"))
    error = caught.value
    assert (error.answer_status, error.retry_after_s, error.retryable) == (429, 99, True)
    assert error.codes == {"TOOMANYREQUESTS"}
    assert error.answers[0].detail == {"a": 1}
    assert "slow down" in str(error)


@covers("DS-122")
def test_warnings_are_told_once():
    value = '299 - "this name \\"moves\\"", 299 - "soon", 199 - "not one of these"'
    answer = Says(200, {"Content-Length": "5", "Warning": value})
    with recording(lambda seen: answer) as server, client() as made:
        for _ in range(2):
            assert run(made.repository(server.host).blob_size(DIGEST)) == 5
        assert made.told == [f'{server.host} says: this name "moves"', f"{server.host} says: soon"]


# ---- uploads


class Registry:
    """Holds one upload; `faults` are what happens to the requests with a body, in turn.

    A fault is a tuple with a count of bytes: so many of the body are kept, then the connection is
    cut; an answer to a body that is dropped; "lost": it is kept, and never answered; or None.
    """

    def __init__(self, *faults, chunk_min=None, claims=None):
        self.faults, self.chunk_min, self.claims = list(faults), chunk_min, claims
        self.held = b""
        self.blobs: dict[str, bytes] = {}
        self.lines: list[str] = []
        self.received = 0
        self.session = 0

    def serve(self, line):
        while (request := line.request()) is not None:
            first, headers = request
            method, target, _ = first.split()
            self.lines.append(f"{method} {target}")
            size = int(headers.get("content-length", 0))
            if method in ("PATCH", "PUT") and size:
                fault = self.faults.pop(0) if self.faults else None
                if isinstance(fault, tuple):
                    kept = line.read(min(fault[0], size))
                    self.held += kept
                    self.received += len(kept)
                    return
                body = line.read(size)
                self.received += len(body)
                if isinstance(fault, Says):
                    line.say(str(fault.status), fault.body, content_length=len(fault.body))
                    continue
                if fault == "lost":
                    self.store(target, body)
                    return
            else:
                body = b""
            self.answer(line, method, target, body, headers)

    def store(self, target, body):
        digest = target.rpartition("digest=")[2]
        content = self.held + body
        if str(Digest.of(content)) != digest:
            return False
        self.blobs[digest] = content
        return True

    def answer(self, line, method, target, body, headers):
        here = {"location": f"up/{self.session}?state=a%2Fb", "content_length": 0}
        if method == "POST":
            self.session += 1
            self.held = b""
            here["location"] = f"/v2/demo/app/blobs/uploads/up/{self.session}?state=a%2Fb"
            if self.chunk_min:
                here["oci_chunk_min_length"] = self.chunk_min
            line.say("202", **here)
        elif method == "PATCH":
            start = int(headers["content-range"].partition("-")[0])
            assert headers["content-type"] == "application/octet-stream"
            if start != len(self.held):
                line.say("416", **self.stands(here))
                return
            self.held += body
            line.say("202", **self.stands(here))
        elif method == "GET":
            line.say("204", **self.stands(here))
        elif method == "PUT" and self.store(target, body):
            line.say("201", content_length=0, location="/x")
        elif method == "PUT":
            answer = b'{"errors":[{"code":"DIGEST_INVALID","message":"other bytes"}]}'
            line.say("400", answer, content_length=len(answer))
        elif method == "HEAD":
            found = self.blobs.get(target.rpartition("/")[2])
            line.say("404" if found is None else "200", content_length=len(found or b""))
        elif method == "DELETE":
            line.say("204")

    def stands(self, here):
        held = len(self.held) if self.claims is None else self.claims
        return {
            **here,
            "location": "/v2/demo/app/blobs/uploads/" + here["location"],
            "range": f"0-{held - 1}",
        }

    def methods(self):
        return " ".join(line.partition(" ")[0] for line in self.lines)


@contextmanager
def uploading(*faults, **settings):
    registry = Registry(*faults, **settings)
    with scripted(registry.serve) as server, client() as made:
        yield registry, made.repository(server.host), made


@pytest.fixture
def small(monkeypatch):
    """Everything that is measured in mebibytes is a thousand bytes."""
    monkeypatch.setattr(uploads, "CHUNK", 4000)
    monkeypatch.setattr(uploads, "_LEAST_CHUNK", 1000)
    monkeypatch.setattr(uploads, "_PROGRESS", 1000)


def refuse(status, code="X"):
    return Says(status, body=b'{"errors":[{"code":"%s"}]}' % code.encode())


@covers("DS-130", "ZL-250")
def test_a_small_blob_is_two_requests():
    with uploading() as (registry, repository, _):
        run(push(repository, DATA))
        assert registry.blobs[str(DIGEST)] == DATA
        assert registry.lines == [
            "POST /v2/demo/app/blobs/uploads/",
            # Whatever query the location has, the digest comes behind it.
            f"PUT /v2/demo/app/blobs/uploads/up/1?state=a%2Fb&digest={DIGEST}",
        ]


# fmt: off
WAYS = [
    # what happens to bodies,                         methods,                                       bytes sent
    ([],                                              "POST PATCH PATCH PATCH PUT",                  10_000),
    ([(1500,)],                                       "POST PATCH GET PATCH PATCH PATCH PATCH PATCH PUT", 10_000),
    ([None, (500,), (0,), (500,)],                    None,                                          10_000),
    ([None, None, (2000,)],                           "POST PATCH PATCH PATCH HEAD GET PUT",         10_000),
    ([refuse(503)],                                   "POST PATCH GET PATCH PATCH PATCH PATCH PATCH PUT", 14_000),
    ([refuse(416)],                                   "POST PATCH GET PATCH PATCH PATCH PATCH PATCH PUT", 14_000),
    ([refuse(404)],                                   "POST PATCH GET PATCH PATCH PATCH PATCH PATCH PUT", 14_000),
    ([refuse(405)],                                   "POST PATCH DELETE POST PUT",                  14_000),
    ([None, refuse(400)],                             "POST PATCH PATCH DELETE POST PUT",            18_000),
]
# fmt: on


@covers("DS-130", "ZL-250")
@pytest.mark.parametrize(("faults", "methods", "sent"), WAYS)
def test_a_large_blob_goes_on_from_where_it_stands(small, faults, methods, sent):
    with uploading(*faults) as (registry, repository, _):
        run(push(repository, DATA))
        assert registry.blobs[str(DIGEST)] == DATA
        assert methods in (None, registry.methods())
        assert registry.received == sent


def test_a_small_blob_that_broke_goes_on_in_chunks(small):
    content, digest = DATA[:3000], Digest.of(DATA[:3000])
    with uploading((1200,)) as (registry, repository, _):
        run(push(repository, content))
        assert registry.methods() == "POST PUT HEAD GET PATCH PUT"
        assert registry.received == 3000
        assert registry.blobs[str(digest)] == content
    with uploading("lost") as (registry, repository, _):
        run(push(repository, content))
        assert registry.methods() == "POST PUT HEAD"


def test_a_chunk_is_as_long_as_the_registry_wants(small):
    with uploading(chunk_min=6000) as (registry, repository, _):
        run(push(repository, DATA))
        assert registry.methods() == "POST PATCH PATCH PUT"


def test_damage_on_the_way_is_sent_anew():
    with uploading(refuse(400, "DIGEST_INVALID")) as (registry, repository, _):
        run(push(repository, DATA))
        assert registry.methods() == "POST PUT DELETE HEAD POST PUT"


# fmt: off
ENDINGS = [
    # what happens to bodies,                       error,        methods at the end
    ([refuse(413)],                                 RemoteError,  "POST PUT DELETE"),
    ([refuse(400, "DIGEST_INVALID")] * 4,           RemoteError,  "POST PUT DELETE"),
    ([refuse(500)] * 9,                             RemoteError,  "DELETE"),
    ([refuse(507)],                                 RemoteError,  "POST PUT DELETE"),
    ([(0,)] * 9,                                    Unreachable,  "DELETE"),
    ([refuse(403)],                                 AuthFailed,   "POST PUT DELETE"),
]
# fmt: on


@covers("DS-130")
@pytest.mark.parametrize(("faults", "error", "ending"), ENDINGS)
def test_an_upload_that_cannot_be_is_given_up(faults, error, ending):
    with uploading(*faults) as (registry, repository, _):
        with pytest.raises(error):
            run(push(repository, DATA))
        assert registry.methods().endswith(ending)
        assert registry.blobs == {}


def test_a_registry_that_claims_what_it_never_got_is_not_believed(small):
    with uploading(claims=9000) as (registry, repository, _):
        with pytest.raises(Unreachable, match="claims bytes that were never sent"):
            run(push(repository, DATA))
        assert registry.blobs == {}


def test_wrong_bytes_do_not_end_an_upload():
    """The last of them is never sent: not even a registry that checks nothing keeps them."""
    # fmt: off
    wrong = [
        # what the source has,     error
        (b"x" * 10_000,            DigestMismatch),
        (DATA[:-1],                SizeInvalid),
        (DATA + b"x",              SizeInvalid),
        (b"",                      SizeInvalid),
    ]
    # fmt: on
    for content, error in wrong:
        with uploading() as (registry, repository, _):
            source = Source(content)
            with pytest.raises(error):
                run(repository.blob_put(descriptor_of(DATA), source))
            assert all(body.closed for body in source.opened)
            assert registry.received < len(DATA)
            assert registry.blobs == {}


def test_a_source_is_read_once(small):
    with uploading(None, (1000,)) as (registry, repository, _):
        source = Source(DATA)
        run(repository.blob_put(descriptor_of(DATA), source))
        assert registry.blobs[str(DIGEST)] == DATA
        # From its beginning, and once more from where it broke.
        assert len(source.opened) == 2


def test_an_upload_ends_when_it_shall():
    with uploading() as (registry, repository, made):
        made.runtime.cancel()
        with pytest.raises(Cancelled):
            run(repository.blob_put(descriptor_of(DATA), BytesSource(DATA)))
        assert registry.blobs == {}


@covers("DS-131")
def test_another_algorithm_is_said_and_one_that_is_not_kept_is_told():
    content = b"content"
    digest = Digest.of(content, "sha512")

    def respond(seen):
        if seen.method == "POST":
            return Says(202, {"Location": "/v2/demo/app/blobs/uploads/1"})
        if seen.method == "PUT":
            return Says(201, {"Docker-Content-Digest": str(Digest.of(content))})
        return Says(404)

    with recording(respond) as server, client() as made:
        with pytest.raises(Unsupported, match="cannot keep sha512 digests"):
            run(push(made.repository(server.host), content, algorithm="sha512"))
        assert server.lines()[0] == "POST /v2/demo/app/blobs/uploads/?digest-algorithm=sha512"
        assert str(digest) in server.lines()[1]


@covers("DS-130")
def test_a_location_elsewhere_gets_no_login_and_none_in_the_open():
    with recording(lambda seen: Says(201, {"Location": "/x"})) as there:

        def respond(seen):
            if seen.authorization is None:
                return Says(401, {"WWW-Authenticate": "Basic"})
            return Says(202, {"Location": f"{there.url}/upload?id=1"})

        with recording(respond) as here, client() as made:
            run(push(made.repository(here.host, credentials=Given(Basic("me", "x"))), b"hello"))
            assert [seen.authorization for seen in there.seen] == [None]
            assert there.lines() == [f"PUT /upload?id=1&digest={Digest.of(b'hello')}"]


@pytest.mark.parametrize("location", ["ftp://host/x", "http://[host/x", "http://host:99999/x"])
def test_a_location_that_is_no_url_of_http(location):
    with recording(lambda seen: Says(202, {"Location": location})) as here:
        with (
            client() as made,
            pytest.raises((Unreachable, ResponseInvalid), match="leads to what is no"),
        ):
            run(push(made.repository(here.host), b"hello"))


_FAULTS = st.one_of(
    st.none(),
    st.integers(0, 4000).map(lambda count: (count,)),
    st.sampled_from([400, 404, 416, 429, 500, 503]).map(refuse),
    st.just(refuse(400, "DIGEST_INVALID")),
    st.just("lost"),
)


@settings(max_examples=60)
@given(st.lists(_FAULTS, max_size=12), st.sampled_from([0, 1, 3000, 4000, 4001, SIZE]))
def test_whatever_happens_it_ends_whole_or_with_an_error(faults, size):
    content = DATA[:size]
    whole = uploads.CHUNK, uploads._LEAST_CHUNK, uploads._PROGRESS
    uploads.CHUNK, uploads._LEAST_CHUNK, uploads._PROGRESS = 4000, 1000, 1000
    try:
        with uploading(*faults) as (registry, repository, _):
            try:
                run(push(repository, content))
            except (RemoteError, Unreachable):
                # It gave up, and told the registry so; what is there all the same is right.
                assert registry.methods().endswith(("DELETE", "POST", "HEAD", "GET"))
            else:
                assert registry.blobs == {str(Digest.of(content)): content}
            assert all(str(Digest.of(kept)) == name for name, kept in registry.blobs.items())
            assert registry.received <= (len(faults) + 2) * SIZE
    finally:
        uploads.CHUNK, uploads._LEAST_CHUNK, uploads._PROGRESS = whole


# ---- manifests and lists

INDEX = b'{"schemaVersion":2,"mediaType":"%s","manifests":[]}' % media_types.IMAGE_INDEX.encode()


def manifest(**headers):
    values = {
        "Content-Type": media_types.IMAGE_INDEX,
        "Docker-Content-Digest": str(Digest.of(INDEX)),
        **{key.replace("_", "-"): value for key, value in headers.items()},
    }
    return lambda seen: Says(200, {k: v for k, v in values.items() if v is not None}, INDEX)


# fmt: off
LIES = [
    # the server,                                              asked for,           error
    (manifest(Docker_Content_Digest=str(DIGEST)),              "v1",                DigestMismatch),
    (manifest(Docker_Content_Digest=str(DIGEST)),              Digest.of(INDEX),    DigestMismatch),
    (manifest(),                                               DIGEST,              DigestMismatch),
    (manifest(Docker_Content_Digest=None),                     DIGEST,              DigestMismatch),
    (manifest(Content_Type=media_types.IMAGE_MANIFEST),        "v1",                ManifestInvalid),
    (lambda seen: Says(200, {}, b"x" * (5 << 20)),             "v1",                ManifestTooLarge),
    (lambda seen: Says(404),                                   "v1",                ManifestUnknown),
    (lambda seen: Says(204),                                   "v1",                ResponseInvalid),
]
# fmt: on


@covers("DS-129")
@pytest.mark.parametrize(("respond", "reference", "error"), LIES)
def test_manifests_that_are_not_what_was_asked_for(respond, reference, error):
    with recording(respond) as server, client() as made, pytest.raises(error):
        run(made.repository(server.host).manifest_get(reference))


@covers("DS-129")
def test_a_head_that_says_too_little_is_asked_again():
    for missing in ({"Docker_Content_Digest": None}, {"Content_Type": None}):
        with recording(manifest(**missing)) as server, client() as made:
            found = run(made.repository(server.host).resolve("v1"))
            assert (found.media_type, found.size) == (media_types.IMAGE_INDEX, len(INDEX))
            assert found.digest == Digest.of(INDEX)
            assert [seen.method for seen in server.seen] == ["HEAD", "GET"]
            for kind in (*media_types.MANIFESTS, *media_types.INDEXES):
                assert all(kind in seen.headers["accept"] for seen in server.seen)


@covers("DS-130")
def test_lists_follow_what_they_are_given():
    pages = {
        "/v2/demo/app/tags/list?n=1000": ('["b"]', "<list?cache=x%2Fy&page=1>; rel=next"),
        "/v2/demo/app/tags/list?cache=x%2Fy&page=1": ('["a","B"]', '</other?x=1>; rel="next"'),
        "/other?x=1": ("null", None),
    }

    def respond(seen):
        tags, link = pages[seen.target]
        headers = {} if link is None else {"Link": link}
        return Says(200, headers, b'{"name":"demo/app","tags":%s}' % tags.encode())

    with recording(respond) as server, client() as made:
        repository = made.repository(server.host)
        assert run(repository.tags(limit=2)) == ["B", "a"]
        assert run(repository.tags("a", 2)) == ["b"]
        assert len(server.seen) == 3


def test_a_list_in_a_circle_ends(monkeypatch):
    monkeypatch.setattr(remote, "_MAX_PAGES", 5)
    answer = Says(200, {"Link": "</v2/demo/app/tags/list>; rel=next"}, b'{"tags":["a"]}')
    with recording(lambda seen: answer) as server, client() as made:
        with pytest.raises(ResponseInvalid, match="more than 5 pages"):
            run(made.repository(server.host).tags())
        assert len(server.seen) == 5


@covers("ZL-259")
def test_a_manifest_that_is_something_else_is_never_sent():
    with recording(lambda seen: Says(500)) as server, client() as made:
        lie = StoredManifest(DIGEST, media_types.IMAGE_INDEX, INDEX)
        with pytest.raises(DigestMismatch):
            run(made.repository(server.host).manifest_put(lie))
        assert server.seen == []
