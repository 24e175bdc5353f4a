"""The edge without a server: what reaches it that the servers we run would not let through."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.registries import application
from wasmhold.oci.errors import (
    ContentDamaged,
    OutOfSpace,
    StoreUnavailable,
    TooManyRequests,
    Unauthorized,
)
from wasmhold.ports.actor import ANYBODY
from wasmhold.ports.body import PIECE, BytesBody
from wasmhold.protocol import Response
from wasmhold.protocol import operations as op
from wasmhold.registry import Registry
from wasmhold.servers.access_log import FORMATS, AccessLog, Line
from wasmhold.servers.answer import Answer
from wasmhold.servers.asgi import AsyncioRuntime, Edge, SystemRandomness
from wasmhold.servers.request_body import RequestBody
from wasmhold.stores.memory import MemoryStore
from wasmhold.testing.covers import covers


def talk(edge, method="GET", path="/v2/", fields=(), messages=(), version="1.1"):
    """Status, fields and body of the answer; `messages` are what `receive` gives."""
    messages = list(messages or [{"type": "http.request", "body": b""}])
    sent = []

    async def receive():
        if messages:
            return messages.pop(0)
        return await asyncio.Event().wait()

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": version,
        "method": method,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": list(fields),
        "client": ("192.0.2.1", 7),
    }
    asyncio.run(edge(scope, receive, send))
    assert [message["more_body"] for message in sent[1:]] == [True] * (len(sent) - 2) + [False]
    head = dict(sent[0]["headers"])
    return sent[0]["status"], head, b"".join(message["body"] for message in sent[1:])


HOST = (b"host", b"x")


# fmt: off
AMBIGUOUS = [
    [],
    [HOST, HOST],
    [(b"host", b"")],
    [HOST, (b"content-length", b"5"), (b"transfer-encoding", b"chunked")],
    [HOST, (b"content-length", b"5"), (b"content-length", b"5")],
]
# fmt: on


@covers("BR-087", "BR-088")
@pytest.mark.parametrize("fields", AMBIGUOUS)
def test_what_could_be_read_in_two_ways_is_refused(fields):
    status, head, body = talk(Edge(application()), fields=fields)
    assert status == 400
    assert head[b"connection"] == b"close"
    assert json.loads(body)["errors"][0]["code"] == "UNSUPPORTED"


def test_http_2_needs_no_host_field():
    assert talk(Edge(application()), fields=[], version="2")[0] == 200


# fmt: off
LEFT = [
    # its length,  bytes in a piece, pieces that are read
    (5000,         1000,             5),
    (None,         1000,             5),
    (9_000_000,    1000,             0),
    (None,         800_000,          2),
]
# fmt: on


@pytest.mark.parametrize(("length", "size", "read"), LEFT)
def test_of_what_nobody_wants_only_a_short_rest_is_read(length, size, read):
    pieces = [{"type": "http.request", "body": b"x" * size, "more_body": i < 4} for i in range(5)]

    async def receive():
        return pieces.pop(0)

    asyncio.run(RequestBody(receive, length, 1).skip())
    assert len(pieces) == 5 - read


@covers("BR-092", "OW-111")
@pytest.mark.parametrize(("version", "said"), [("1.1", b"close"), ("2", None)])
def test_a_process_that_ends_tells_its_clients_to_come_again(version, said):
    edge = Edge(application())
    assert b"connection" not in talk(edge, fields=[HOST], version=version)[1]
    edge.draining = True
    # HTTP/2 forbids the field, and has its own way.
    assert talk(edge, fields=[HOST], version=version)[1].get(b"connection") == said


# fmt: off
BROKEN = [
    # messages                                                                       status
    ([{"type": "http.request", "body": b"abc", "more_body": True}, {"type": "http.disconnect"}], 400),
    ([{"type": "http.request", "body": b"abc", "more_body": False}],                 400),
    ([{"type": "http.request", "body": b"abcdefgh", "more_body": False}],            400),
    ([{"type": "http.request", "body": b"abc", "more_body": True}],                  408),
]
# fmt: on


@covers("BR-088", "BR-069")
@pytest.mark.parametrize(("messages", "status"), BROKEN)
def test_bodies_that_break(messages, status):
    edge = Edge(application(), body_idle_s=0.05)
    fields = [HOST, (b"content-length", b"5"), (b"content-type", b"a/b")]
    found, head, _ = talk(edge, "PUT", "/v2/a/manifests/v1", fields, messages)
    assert found == status
    if messages[-1].get("more_body", True):
        assert head[b"connection"] == b"close"


@covers("BR-068")
def test_a_fault_of_ours_tells_nothing(caplog):
    made = application()

    async def perform(actor, operation, body):
        raise RuntimeError("/secret/path")

    made.registry.perform = perform
    status, head, body = talk(Edge(made), fields=[HOST])
    assert status == 500
    assert head[b"content-type"] == b"application/json"
    assert json.loads(body)["errors"][0]["code"] == "UNKNOWN"
    assert b"secret" not in body
    assert "/secret/path" in caplog.text


class Streamed:
    """A body that is not in memory."""

    file = None

    def __init__(self, size, *chunks):
        self.size, self.chunks, self.is_open = size, chunks, True

    async def __aiter__(self):
        for chunk in self.chunks:
            yield chunk

    async def aclose(self):
        self.is_open = False


# fmt: off
STREAMS = [
    Streamed(5, b"he", b"llo"),
    Streamed(None, b"he", b"llo"),
    Streamed(0),
    Streamed(None),
    Streamed(3 << 20, *[b"x" * (1 << 20)] * 3),
    BytesBody(b"x" * (1 << 20)),
]
# fmt: on


@covers("BR-105")
@pytest.mark.parametrize("stream", STREAMS)
def test_bodies_are_sent_whole_and_ended(stream):
    made = application()

    async def handle(request, body, address):
        return Response(200, [], stream), None, ANYBODY

    made.handle = handle
    expected = getattr(stream, "content", b"") or b"".join(getattr(stream, "chunks", ()))
    assert talk(Edge(made), fields=[HOST])[2] == expected
    assert not getattr(stream, "is_open", False)


@pytest.mark.parametrize(("size", "messages"), [(PIECE, 1), (PIECE + 1, 3), (None, 4)])
def test_a_short_body_is_one_message(size, messages):
    """What fits into the server's queue makes nobody wait, however many chunks it has."""
    chunks = [b"x" * 100, b"x" * 100, b"x" * ((size or PIECE) - 200)]
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(Answer(Response(200, [], Streamed(size, *chunks)), send, 30).send())
    assert len(sent[1:]) == messages
    assert b"".join(message["body"] for message in sent[1:]) == b"".join(chunks)


@covers("BR-070")
@pytest.mark.parametrize("first", [(), (b"he",)])
def test_a_body_that_breaks_before_its_first_byte_is_sent_has_an_answer(first, caplog):
    class Broken(Streamed):
        async def __aiter__(self):
            for chunk in first:
                yield chunk
            raise StoreUnavailable("/secret/path")

    made = application()

    async def handle(request, body, address):
        return Response(200, [(b"content-length", b"5")], Broken(5)), None, ANYBODY

    made.handle = handle
    status, _, body = talk(Edge(made), fields=[HOST])
    assert status == 500
    assert b"secret" not in body


# fmt: off
STORE_ERRORS = [
    (StoreUnavailable("x"), 503, "UNAVAILABLE"),
    (OutOfSpace("x"),       507, "OUT_OF_SPACE"),
    (ContentDamaged("x"),   500, "UNKNOWN"),
    (TooManyRequests(3),    429, "TOOMANYREQUESTS"),
    (Unauthorized("Basic"), 401, "UNAUTHORIZED"),
]
# fmt: on


@covers("BR-070", "BR-067", "DS-014")
@pytest.mark.parametrize(("error", "status", "code"), STORE_ERRORS)
def test_what_the_store_says_is_told(error, status, code):
    made = application()

    async def tags(name, after, limit):
        raise error

    made.registry.store.tags = tags
    found, head, body = talk(Edge(made), path="/v2/a/tags/list", fields=[HOST])
    assert found == status
    assert json.loads(body)["errors"][0]["code"] == code
    assert (b"retry-after" in head) == (status in (429, 503))


def test_a_body_that_is_too_short_is_cut():
    made = application()

    async def handle(request, body, address):
        return Response(200, [(b"content-length", b"5")], Streamed(5, b"hell")), None, ANYBODY

    made.handle = handle
    with pytest.raises(ConnectionAbortedError):
        talk(Edge(made), fields=[HOST])


@pytest.mark.parametrize("form", FORMATS)
def test_the_access_log_has_one_line_for_each_request(form, tmp_path):
    path = tmp_path / "log"
    with path.open("wb") as out:
        edge = Edge(application(), log=AccessLog(out.fileno(), FORMATS[form]))
        talk(edge, path='/v2/a"\nforged/tags/list', fields=[HOST])
        for _ in range(255):
            talk(edge, fields=[HOST])
    lines = path.read_text().splitlines()
    assert len(lines) == 256
    assert '\\"\\nforged' in lines[0]
    assert "192.0.2.1" in lines[0]
    if form == "json":
        first = json.loads(lines[0])
        assert first["target"] == '/v2/a"\nforged/tags/list'
        assert json.loads(lines[1])["operation"] == "ping"


def test_the_log_is_flushed_soon_and_survives_a_closed_pipe(tmp_path):
    path = tmp_path / "log"

    async def serve_one(edge):
        async def receive():
            return {"type": "http.request", "body": b""}

        async def send(message):
            pass

        scope = {"type": "http", "http_version": "1.1", "method": "GET", "raw_path": b"/v2/"}
        await edge({**scope, "query_string": b"", "headers": [HOST]}, receive, send)
        await asyncio.sleep(0.3)

    with path.open("wb") as out:
        asyncio.run(serve_one(Edge(application(), log=AccessLog(out.fileno(), FORMATS["text"]))))
        assert b" ping 200 2 " in path.read_bytes()
    closed = AccessLog(out_of_use(), FORMATS["text"])
    closed.add(Line("1-1", "-", None, "GET", "/", "-", 200, 0, 1.0))
    closed.flush()
    assert not closed.waiting


def out_of_use() -> int:
    """A descriptor that nobody has."""
    import os

    read, write = os.pipe()
    os.close(read)
    os.close(write)
    return write


def test_lifespan_keeps_the_store_and_ends_in_peace(caplog):
    made = application()
    calls = []

    async def maintain(told):
        calls.append(1)
        if len(calls) == 1:
            raise StoreUnavailable("later")
        return 60.0

    made.registry.store.maintain = maintain

    async def live():
        messages = asyncio.Queue()
        sent = []
        task = asyncio.create_task(Edge(made)({"type": "lifespan"}, messages.get, keep(sent)))
        await messages.put({"type": "lifespan.startup"})
        await asyncio.sleep(0.05)
        await messages.put({"type": "lifespan.shutdown"})
        await task
        return [message["type"] for message in sent]

    assert asyncio.run(live()) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert calls == [1]
    assert "upkeep of the store failed" in caplog.text


@covers("BR-106")
def test_a_collection_lets_requests_pass():
    store = MemoryStore(AsyncioRuntime(), SystemRandomness())
    registry = Registry(store)
    content = b'{"schemaVersion":2,"manifests":[]}'

    async def collect_beside_a_ticker():
        for i in range(5000):
            put = op.PutManifest(f"repo{i % 10}", f"t{i}")
            await registry.perform(ANYBODY, put, BytesBody(content))
        task, passed = asyncio.create_task(store.collect(0)), 0
        while not task.done():
            await asyncio.sleep(0)
            passed += 1
        await task
        return passed

    # Not how long, which is the machine's, but how often others were let pass.
    assert asyncio.run(collect_beside_a_ticker()) > 10


def keep(sent):
    async def send(message):
        sent.append(message)

    return send
