"""The registry of the test kit is the one that is served, and does what a test tells it."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
import traceback

import pytest

from tests.client.remotes import client
from tests.protocol.test_transcripts import TRANSCRIPTS, fresh, name
from tests.registries import plan
from wasmhold.client.credentials import Anonymous, Basic, Bearer, Given
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import AuthFailed, RequestInvalid
from wasmhold.ports.runtime import run
from wasmhold.testing.covers import covers
from wasmhold.testing.logins import MODES
from wasmhold.testing.registry import SIMULATIONS, AsgiRegistry, Registry
from wasmhold.testing.repository_suite import pull, push, push_image
from wasmhold.testing.senders import to_asgi, to_url
from wasmhold.testing.transcript import Exchange, replay

DIGEST = Digest.of(b"content")


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=name)
def test_transcripts(transcript):
    made = plan(transcript.settings)
    options = {"faults": made.faults, "warnings": made.warnings}
    with Registry(settings=made.settings, **options) as registry, to_url(registry.url) as send:
        replay(transcript, send, repo=fresh())


def ask(registry, method="GET", path="/v2/", body=None):
    connection = http.client.HTTPConnection(registry.host, timeout=30)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        connection.close()


@covers("OW-190")
def test_it_answers_when_its_constructor_returns_and_leaves_nothing_behind():
    before = threading.active_count()
    for _ in range(5):
        with Registry() as registry:
            assert ask(registry)[0] == 200
        with pytest.raises(ConnectionRefusedError):
            ask(registry)
    registry.close()  # a second time is no error
    assert threading.active_count() == before


@covers("OW-190")
def test_a_client_that_speaks_asgi_needs_no_port():
    send = to_asgi(AsgiRegistry(faults=[("tags", "503:1")]))
    assert send(Exchange("GET", "/v2/", [], None, False)).status == 200
    for status in (503, 404):
        assert send(Exchange("GET", "/v2/demo/app/tags/list", [], None, False)).status == status


def test_it_may_keep_what_it_has_in_a_directory(tmp_path):
    with client() as made:
        with Registry(tmp_path) as registry:
            stored = run(push_image(made.repository(registry.host), "one", "v1"))
        with Registry(tmp_path) as registry:
            assert run(made.repository(registry.host).manifest_get("v1")) == stored


@covers("OW-054")
def test_rules_are_set_listed_and_cleared_while_it_runs():
    with Registry() as registry:
        assert registry.simulations() == []
        registry.simulate("ping", "503:1")
        assert [ask(registry)[0] for _ in range(2)] == [503, 200]
        assert registry.simulations() == [{"operation": "ping", "error": "503:1", "met": 1}]
        with pytest.raises(RequestInvalid):
            registry.simulate("ping", "200")
        registry.simulate("ping", "close")
        registry.clear()
        assert ask(registry)[0] == 200


@covers("OW-054")
def test_rules_are_set_over_http():
    with Registry() as registry:
        rule = {"operation": "ping", "error": "429"}
        status, body, _ = ask(registry, "POST", SIMULATIONS, json.dumps(rule))
        assert (status, json.loads(body)) == (200, [{**rule, "met": 0}])
        status, _, headers = ask(registry)
        assert (status, headers["wasmhold-simulated"]) == (429, "1")
        assert json.loads(ask(registry, "GET", SIMULATIONS)[1]) == [{**rule, "met": 1}]
        for wrong in ('{"operation": "ping", "error": "200"}', "[]", "x", '{"operation": 1}'):
            assert ask(registry, "POST", SIMULATIONS, wrong)[0] == 400
        assert json.loads(ask(registry, "DELETE", SIMULATIONS)[1]) == []
        assert ask(registry)[0] == 200


# ---- logins

NOBODY, ME, READER = None, Basic("me", "s3cret-me"), Basic("reader", "s3cret-reader")
WRONG, STRANGER, TOKEN = Basic("me", "wr0ng-s3cret"), Basic("x", "s3cret-me"), Bearer("s3cret-old")

# fmt: off
MATRIX = [
    # mode,            who,         may pull and push; else what is said
    ("none",           NOBODY,      True,  True),
    ("none",           WRONG,       True,  True),
    ("basic",          NOBODY,      "no credentials for it: UNAUTHORIZED: log in first", "no credentials for it"),
    ("basic",          Anonymous(), "no credentials for it", "no credentials for it"),
    ("basic",          ME,          True,  True),
    ("basic",          READER,      True,  "not allowed: DENIED: reader may not write"),
    ("basic",          WRONG,       "wrong user name or password", "wrong user name or password"),
    ("basic",          STRANGER,    "wrong user name or password", "wrong user name or password"),
    ("basic",          TOKEN,       "the scheme Basic", "the scheme Basic"),
    ("bearer",         NOBODY,      "no credentials for it: UNAUTHORIZED: ", "no credentials for it"),
    ("bearer",         ME,          True,  True),
    ("bearer",         READER,      True,  "not enough: UNAUTHORIZED: the token is not for this"),
    ("bearer",         WRONG,       "answered 401: incorrect username or password", "answered 401"),
    ("bearer",         TOKEN,       "this token is refused", "this token is refused"),
    ("expired-token",  ME,          "not enough: UNAUTHORIZED: the token is not valid", "the token is not valid"),
    ("deny-all",       NOBODY,      "not allowed: DENIED: ", "not allowed: DENIED: "),
    ("deny-all",       ME,          "not allowed: DENIED: ", "not allowed: DENIED: "),
    ("anonymous-pull", NOBODY,      True,  "no credentials for it"),
    ("anonymous-pull", ME,          True,  True),
    ("anonymous-pull", READER,      True,  "not allowed: DENIED: "),
    ("anonymous-pull", WRONG,       True,  "wrong user name or password"),
]
# fmt: on


def outcome(attempt, wanted, told):
    if wanted is True:
        run(attempt)
        return
    with pytest.raises(AuthFailed) as caught:
        run(attempt)
    assert wanted in str(caught.value)
    assert not caught.value.retryable
    said = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + "".join(told)
    assert "s3cret" not in said


@covers("OW-191", "ZL-102", "ZL-103", "ZL-105")
@pytest.mark.parametrize(("mode", "who", "pulls", "pushes"), MATRIX)
def test_who_may_do_what(mode, who, pulls, pushes):
    users = {"me": "s3cret-me", "reader": "s3cret-reader"}
    with Registry(users=users, readers=["reader"]) as registry, client() as made:
        run(push(made.repository(registry.host), b"content"))
        registry.auth = mode
        assert registry.auth == mode
        repository = made.repository(registry.host, credentials=who and Given(who))
        outcome(pull(repository, DIGEST), pulls, made.told)
        outcome(push(repository, b"another"), pushes, made.told)


@covers("OW-191")
def test_each_mode_is_tried_and_no_other():
    assert {mode for mode, *_ in MATRIX} == set(MODES)
    with pytest.raises(ValueError, match="unknown auth mode: nonsense"):
        Registry(auth="nonsense")
    assert threading.active_count() < 50


@covers("ZL-103")
def test_a_token_that_is_taken_no_more_is_fetched_again():
    with Registry(auth="bearer") as registry, client() as made:
        repository = made.repository(registry.host, credentials=Given(Basic("test", "test")))
        run(push(repository, b"content"))
        registry.forget_tokens()
        assert run(pull(repository, DIGEST)) == b"content"


# ---- connections


def talk(registry, sent):
    """What comes back for these bytes, until the server closes."""

    async def work():
        reader, writer = await asyncio.open_connection("127.0.0.1", int(registry.host[10:]))
        writer.write(sent)
        answer = await asyncio.wait_for(reader.read(), 30)
        writer.close()
        return answer

    return asyncio.run(work())


# fmt: off
TALKS = [
    # what is sent,                                                                   how the answer begins
    (b"GET /v2/ HTTP/1.0\r\nHost: x\r\n\r\n",                                         b"HTTP/1.1 200 OK\r\n"),
    (b"GET /v2/ HTTP/1.1\r\n\r\n",                                                    b"HTTP/1.1 400 Bad Request\r\n"),
    (b"PUT /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabc",                 b"HTTP/1.1 405 Method"),
    (b"PUT /v2/a/manifests/b HTTP/1.0\r\nHost: x\r\nContent-Type: application/vnd.oci.image.manifest.v1+json\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 400"),
    (b"nonsense\r\n\r\n",                                                             b""),
    (b"GET /v2/ HTTP/1.1\r\nno field\r\n\r\n",                                        b""),
    (b"GET /v2/ HTTP/1.1\r\nx: " + b"x" * 200_000 + b"\r\n\r\n",                      b""),
    (b"\x16\x03\x01\r\n\r\n",                                                              b""),
]
# fmt: on


@pytest.mark.parametrize(("sent", "begins"), TALKS)
def test_talks(sent, begins):
    with Registry() as registry:
        answer = talk(registry, sent)
        assert answer.startswith(begins)
        assert bool(answer) == bool(begins)
        assert ask(registry)[0] == 200
