"""The proxy breaks what it is told to break, and nothing else; it writes down what passed."""

from __future__ import annotations

import http.client
import os

import pytest

from tests.client.recording import Says, recording
from tests.client.remotes import client
from tests.protocol.test_transcripts import PLAIN, fresh, name
from wasmhold.client.credentials import Basic, Given
from wasmhold.client.transport import Options
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import RequestInvalid
from wasmhold.ports.runtime import run
from wasmhold.testing.covers import covers
from wasmhold.testing.effects import EFFECTS, parse_effect
from wasmhold.testing.proxy import Proxy
from wasmhold.testing.registry import Registry
from wasmhold.testing.repository_suite import pull, push
from wasmhold.testing.senders import to_url
from wasmhold.testing.transcript import Exchange, replay

DATA = bytes(range(250)) * 40
DIGEST = Digest.of(DATA)
BLOB = f"/v2/demo/app/blobs/{DIGEST}"


@pytest.fixture(scope="module")
def registry():
    with Registry() as made, client() as clients:
        run(push(clients.repository(made.host), DATA))
        yield made


@pytest.mark.parametrize("transcript", PLAIN, ids=name)
def test_without_rules_nothing_is_changed(transcript, registry):
    with Proxy(registry.host) as proxy, to_url(proxy.url) as send:
        replay(transcript, send, repo=fresh())


def ask(proxy, method="GET", path=BLOB, body=None, timeout=30):
    """Status, fields and body, which is what came of it; what broke instead."""
    connection = http.client.HTTPConnection(proxy.host, timeout=timeout)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        headers = {key.lower(): value for key, value in answer.getheaders()}
        try:
            return answer.status, headers, answer.read()
        except http.client.IncompleteRead as error:
            return answer.status, headers, error.partial
    except (http.client.HTTPException, OSError) as error:
        return type(error).__name__, {}, b""
    finally:
        connection.close()


# fmt: off
READS = [
    # error,             status,               bytes, of them other ones
    ("cut=1000",         200,                  1000,  0),
    ("cut=0",            200,                  0,     0),
    ("cut=99999",        200,                  10000, 0),
    ("truncate",         200,                  5000,  0),
    ("corrupt",          200,                  10000, 1),
    ("slow=200000",      200,                  10000, 0),
    ("wrong-digest",     200,                  10000, 0),
    ("wrong-length=1",   200,                  10000, 0),
    ("wrong-length=-9",  200,                  9991,  0),
    ("lost",             "RemoteDisconnected", 0,     0),
    ("close",            "RemoteDisconnected", 0,     0),
    ("429",              429,                  None,  None),
    ("DENIED",           403,                  None,  None),
    ("401",              401,                  None,  None),
    ("redirect",         307,                  0,     0),
    ("redirect-loop",    307,                  0,     0),
]
# fmt: on


@covers("OW-051", "OW-053")
@pytest.mark.parametrize(("error", "status", "size", "other"), READS)
def test_answers(error, status, size, other, registry):
    with Proxy(registry.host, [("blob-get", f"{error}:1")], seed=7) as proxy:
        found, headers, body = ask(proxy)
        assert found == status
        if size is not None:
            assert len(body) == size
            assert sum(a != b for a, b in zip(body, DATA, strict=False)) == other
        if isinstance(status, int):
            assert headers["wasmhold-simulated"] == "1"
        if error == "wrong-digest":
            assert Digest.parse(headers["docker-content-digest"]) != DIGEST
        if error == "redirect":
            assert headers["location"] == registry.url + BLOB
        if error == "redirect-loop":
            assert headers["location"] == proxy.url + BLOB
        if status == 429:
            assert headers["retry-after"] == "1"
        if status == 401:
            assert headers["www-authenticate"].startswith("Basic ")
        status, headers, body = ask(proxy)
        assert (status, body) == (200, DATA)
        assert "wasmhold-simulated" not in headers
        first, second = proxy.passed("blob-get")
        assert (first.error, second.error) == (f"{error}:1", None)
        assert (second.status, second.received) == (200, 10000)


@covers("OW-051")
def test_silence_lasts_until_the_client_leaves(registry):
    with Proxy(registry.host, [("*", "silence:1")]) as proxy:
        assert ask(proxy, timeout=0.2)[0] == "TimeoutError"
        assert ask(proxy)[2] == DATA


# fmt: off
WRITES = [
    # error,              status,               bytes that the registry got
    ("corrupt-request",   400,                  10000),
    ("cut-request=3000",  "RemoteDisconnected", 3000),
    ("lost",              "RemoteDisconnected", 10000),
    ("503",               503,                  0),
]
# fmt: on


@covers("OW-051")
@pytest.mark.parametrize(("error", "status", "size"), WRITES)
def test_requests(error, status, size, registry):
    path = f"/v2/demo/{error.partition('=')[0]}/blobs/uploads/?digest={DIGEST}"
    with Proxy(registry.host, [("upload-finish", error)], seed=3) as proxy:
        assert ask(proxy, "POST", path, DATA)[0] == status
        (passed,) = proxy.passed()
        assert passed.sent == size


def test_what_is_chosen_by_chance_is_chosen_by_the_seed(registry):
    def damaged(seed):
        with Proxy(registry.host, [("*", "corrupt")], seed=seed) as proxy:
            return [ask(proxy)[2] for _ in range(3)]

    assert damaged(1) == damaged(1) != damaged(2)


@covers("OW-050", "OW-052", "OW-054")
def test_rules_are_set_listed_and_cleared_while_it_runs(registry):
    with Proxy(registry.host) as proxy:
        proxy.simulate("blob-get", "500:1/name=demo/other")
        proxy.simulate("blob-get", "404:1/name=demo/app")
        assert [ask(proxy)[0] for _ in range(2)] == [404, 200]
        assert [rule["met"] for rule in proxy.simulations()] == [0, 1]
        proxy.simulate("*", "500")
        proxy.clear()
        assert ask(proxy)[0] == 200


@pytest.mark.parametrize("text", ["nonsense", "cut", "cut=x", "cut=-1", "slow=0", "lost=1", "200"])
def test_what_is_no_effect_is_refused(text):
    with pytest.raises(RequestInvalid):
        parse_effect(text)


def test_each_effect_is_tried():
    tried = {error.partition("=")[0] for error, *_ in (*READS, *WRITES)}
    assert tried | {"silence"} >= set(EFFECTS)


def test_what_passed_is_written_down_without_secrets():
    with Registry(auth="bearer") as registry, Proxy(registry.host) as proxy, client() as made:
        run(push(made.repository(proxy.host, credentials=Given(Basic("test", "test"))), DATA))
        assert "s3cret" not in repr(proxy.passed())
        kinds = [passed.kind for passed in proxy.passed()]
        assert kinds == ["ping", "upload-start", "upload-start", "upload-finish"][-len(kinds) :]
        last = proxy.passed()[-1]
        assert last.fields["authorization"] == "Bearer"
        assert (last.method, last.sent, last.status) == ("PUT", 10000, 201)
        assert last.fields["content-length"] == "10000"


def test_credentials_of_any_form_are_not_written_down(registry):
    with Proxy(registry.host) as proxy, to_url(proxy.url) as send:
        # fmt: off
        sent = [
            # field,               value,           what is written down
            ("Authorization",       "Basic s3cret", "Basic"),
            ("Authorization",       "s3cret",       ""),
            ("Proxy-Authorization", "Bearer s3cret", "Bearer"),
            ("Cookie",              "a=s3cret; b",  None),
        ]
        # fmt: on
        for name, value, shown in sent:
            send(Exchange("GET", "/v2/?token=s3cret", [(name, value)], None, False))
            assert proxy.passed()[-1].fields.get(name.lower()) == shown
        assert "s3cret" not in repr(proxy.passed())


def test_a_redirect_to_another_host_takes_no_credentials_along():
    """Those of the proxy are not sent to what is behind it."""
    seen = []

    def respond(request):
        seen.append(request)
        return Says(200, {"Content-Length": str(len(DATA))}, DATA)

    with recording(respond) as server, Proxy(server.host, [("blob-get", "redirect")]) as proxy:
        with client() as made:
            repository = made.repository(proxy.host, credentials=Given(Basic("me", "s3cret")))
            proxy.simulate("*", "401:1")
            proxy.clear()
            proxy.simulate("blob-get", "401:1")
            proxy.simulate("blob-get", "redirect")
            assert run(pull(repository, DIGEST)) == DATA
        assert proxy.passed("blob-get")[-1].fields["authorization"] == "Basic"
        assert [request.authorization for request in seen] == [None]


def test_a_registry_that_is_not_there_is_one_that_hangs_up():
    with Registry() as registry:
        pass
    with Proxy(registry.host) as proxy:
        assert ask(proxy)[0] == "RemoteDisconnected"


def test_a_large_body_passes_in_pieces():
    data = os.urandom(20_000_000)
    with Registry() as registry, Proxy(registry.host) as proxy:
        with client(Options(read_timeout_s=60)) as made:
            repository = made.repository(proxy.host)
            run(push(repository, data))
            assert run(pull(repository, Digest.of(data))) == data
