"""The transport against servers that redirect, stall, cut, answer early and show certificates."""

from __future__ import annotations

import socket
import ssl
import threading

import pytest

from tests.certificates import Authority
from tests.client.recording import Says, recording, scripted
from tests.client.remotes import client, free_port
from wasmhold.client.credentials import Basic, Given
from wasmhold.client.hosts import is_loopback
from wasmhold.client.transport import HttpTransport, Options, pools
from wasmhold.client.transport.proxies import proxy_for
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import FileInvalid, Unreachable
from wasmhold.ports.body import read_all
from wasmhold.ports.runtime import run
from wasmhold.testing.covers import covers
from wasmhold.testing.repository_suite import push

LOGIN = (b"authorization", b"Basic bWU6c2VjcmV0")


@pytest.fixture
def transport():
    made = HttpTransport(Options(connect_timeout_s=2, read_timeout_s=0.5))
    yield made
    made.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def tls(authority):
    """How a server shows a certificate of `authority`."""
    chain, key, _ = authority.issue()
    (authority.folder / "chain").write_bytes(chain)
    (authority.folder / "key").write_bytes(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.folder / "chain", authority.folder / "key")
    return context


def get(transport, url, *fields, follow=False):
    answer = transport.request("GET", url, fields, follow=follow)
    content = b"".join(iter(lambda: answer.body.read(65536), b""))
    answer.body.close()
    return answer, content


# ---- redirects


def leading(url, status=307):
    return lambda seen: Says(status, {"Location": url})


@covers("ZL-107", "DS-011")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_login_stays_with_its_host_and_a_range_goes_on(transport, status):
    with recording(lambda seen: Says(206, {}, b"part")) as there:
        with recording(leading(f"{there.url}/elsewhere?signed=1", status)) as here:
            asked = (LOGIN, (b"range", b"bytes=5-"))
            answer, content = get(transport, f"{here.url}/blob", *asked, follow=True)
            assert (answer.status, content) == (206, b"part")
            assert answer.url == f"{there.url}/elsewhere?signed=1"
            assert here.seen[0].authorization == "Basic bWU6c2VjcmV0"
            assert there.seen[0].authorization is None
            assert there.seen[0].headers["range"] == "bytes=5-"
            assert there.lines() == ["GET /elsewhere?signed=1"]


def test_a_login_goes_on_to_the_same_host(transport):
    def respond(seen):
        return Says(200) if seen.path == "/two" else Says(307, {"Location": "two"})

    with recording(respond) as here:
        get(transport, f"{here.url}/one", LOGIN, follow=True)
        assert [seen.authorization for seen in here.seen] == ["Basic bWU6c2VjcmV0"] * 2


def test_a_login_that_was_dropped_does_not_come_back(transport):
    with recording(lambda seen: Says(307, {"Location": f"{here[0].url}/end"})) as there:
        here = []

        def respond(seen):
            target = f"{there.url}/there"
            return Says(200) if seen.path == "/end" else Says(307, {"Location": target})

        with recording(respond) as server:
            here.append(server)
            get(transport, f"{server.url}/begin", LOGIN, follow=True)
            assert [seen.authorization is None for seen in server.seen] == [False, True]


@covers("ZL-107")
def test_redirects_that_are_not_followed(transport, tls, authority):
    with recording(lambda seen: Says(307, {"Location": seen.target})) as circle:
        with pytest.raises(Unreachable, match="more than 5 redirects") as caught:
            get(transport, circle.url + "/", follow=True)
        assert not caught.value.retryable
        assert len(circle.seen) == 6
        assert get(transport, circle.url + "/")[0].status == 307  # nobody asked to follow
    for target in ("ftp://host/x", "http://[broken/"):
        with recording(leading(target)) as here:
            with pytest.raises(Unreachable, match="no HTTP URL"):
                get(transport, here.url + "/", follow=True)
    with recording(lambda seen: Says(307)) as here:
        assert get(transport, here.url + "/", follow=True)[0].status == 307
    trusting = HttpTransport(Options(ca_file=str(authority.file)))
    with recording(lambda seen: Says(200)) as plain:
        with recording(leading(f"{plain.url}/x?secret=1"), tls) as here:
            with pytest.raises(Unreachable, match="from https to plain http") as caught:
                get(trusting, here.url + "/", LOGIN, follow=True)
            assert "secret" not in str(caught.value)
        assert plain.seen == []
    trusting.close()


@covers("ZL-107")
def test_blobs_alone_are_followed():
    digest = Digest.of(b"hello")
    with recording(lambda seen: Says(200, {}, b"hello")) as there:
        challenge = {"WWW-Authenticate": "Basic"}

        def respond(seen):
            if seen.authorization is None:
                return Says(401, challenge)
            return Says(307, {"Location": f"{there.url}/blob"})

        with recording(respond) as here, client() as made:
            repository = made.repository(here.host, credentials=Given(Basic("me", "secret")))
            assert run(read_all(run(repository.blob_open(digest)))) == b"hello"
            assert run(repository.blob_size(digest)) == 5
            assert all(seen.authorization is None for seen in there.seen)
            before = len(there.seen)
            with pytest.raises(Exception, match="status 307"):
                run(repository.manifest_get("v1"))
            assert len(there.seen) == before


# ---- trust


@covers("ZL-114")
def test_certificates(authority, tls):
    with recording(lambda seen: Says(200, {}, b"hello"), tls) as server:
        plain = HttpTransport()
        with pytest.raises(Unreachable, match="certificate is not trusted") as caught:
            get(plain, server.url + "/")
        assert not caught.value.retryable
        assert server.seen == []
        for options in (Options(ca_file=str(authority.file)), Options(insecure=True)):
            made = HttpTransport(options)
            assert get(made, server.url + "/")[1] == b"hello"
            made.close()
        assert plain.speaks_tls("127.0.0.1", int(server.url.rpartition(":")[2]))
        with pytest.raises(FileInvalid, match="nowhere"):
            get(HttpTransport(Options(ca_file="nowhere.pem")), server.url + "/")
        with pytest.raises(FileInvalid, match="nowhere"):
            get(HttpTransport(Options(client_certificate=("nowhere", None))), server.url + "/")
        plain.close()
        with client(Options(ca_file=str(authority.file))) as made:
            assert run(made.repository(server.host).blob_size(Digest.of(b"hello"))) == 5


@covers("ZL-114")
def test_a_certificate_of_the_client(authority):
    folder = authority.folder
    chain, key, _ = authority.issue()
    (folder / "mine").write_bytes(chain)
    (folder / "mine.key").write_bytes(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "mine", folder / "mine.key")
    context.load_verify_locations(authority.file)
    context.verify_mode = ssl.CERT_REQUIRED
    with recording(lambda seen: Says(200, {}, b"hello"), context) as server:
        mine = (str(folder / "mine"), str(folder / "mine.key"))
        made = HttpTransport(Options(ca_file=str(authority.file), client_certificate=mine))
        assert get(made, server.url + "/")[1] == b"hello"
        made.close()
        stranger = HttpTransport(Options(ca_file=str(authority.file)))
        with pytest.raises(Unreachable):
            get(stranger, server.url + "/")
        stranger.close()


@covers("ZL-114")
def test_who_speaks_tls(transport):
    with recording(lambda seen: Says(200)) as server:
        assert not transport.speaks_tls("127.0.0.1", int(server.url.rpartition(":")[2]))
        with pytest.raises(Unreachable, match="plain HTTP, not HTTPS"):
            get(transport, server.url.replace("http:", "https:") + "/")
    assert not transport.speaks_tls("127.0.0.1", free_port())


# fmt: off
LOOPBACK = [
    # host,              is loopback
    ("localhost",        True),
    ("localhost:5000",   True),
    ("127.0.0.1:5000",   True),
    ("127.8.9.1",        True),
    ("[::1]:5000",       True),
    ("localhost.example", False),
    ("127.0.0.1.example", False),
    ("10.0.0.1:5000",    False),
    ("[::2]",            False),
    ("[broken",          False),
    ("host:port",        False),
]
PROXIES = [
    # url,                     variables,                                        proxy
    ("https://a.example/x",    {},                                               None),
    ("https://a.example/x",    {"HTTPS_PROXY": "http://p:1"},                    "http://p:1"),
    ("https://a.example/x",    {"https_proxy": "p:1", "HTTPS_PROXY": "q:1"},     "http://p:1"),
    ("https://a.example/x",    {"HTTP_PROXY": "http://p:1"},                     None),
    ("http://a.example/x",     {"HTTP_PROXY": "http://p:1"},                     "http://p:1"),
    ("http://a.example/x",     {"ALL_PROXY": "http://p:1"},                      "http://p:1"),
    ("http://localhost:5000/", {"ALL_PROXY": "http://p:1"},                      None),
    ("http://127.0.0.1/",      {"ALL_PROXY": "http://p:1"},                      None),
    ("https://[::1]:5000/",    {"ALL_PROXY": "http://p:1"},                      None),
    ("https://a.example/x",    {"ALL_PROXY": "p:1", "NO_PROXY": "*"},            None),
    ("https://a.example/x",    {"ALL_PROXY": "p:1", "NO_PROXY": "b.example, a.example"}, None),
    ("https://c.a.example/x",  {"ALL_PROXY": "p:1", "NO_PROXY": ".a.example"},   None),
    ("https://c.a.example/x",  {"ALL_PROXY": "p:1", "NO_PROXY": "A.example"},    None),
    ("https://ca.example/x",   {"ALL_PROXY": "p:1", "NO_PROXY": "a.example"},    "http://p:1"),
    ("https://a.example/x",    {"ALL_PROXY": "p:1", "NO_PROXY": "a.example:443"}, None),
    ("https://a.example/x",    {"ALL_PROXY": "p:1", "NO_PROXY": "a.example:80"}, "http://p:1"),
    ("https://10.1.2.3/x",     {"ALL_PROXY": "p:1", "NO_PROXY": "10.0.0.0/8"},   None),
    ("https://11.1.2.3/x",     {"ALL_PROXY": "p:1", "NO_PROXY": "10.0.0.0/8"},   "http://p:1"),
    ("https://[fd00::1]/x",    {"ALL_PROXY": "p:1", "NO_PROXY": "fd00::1"},      None),
    ("https://a.example/x",    {"ALL_PROXY": "p:1", "NO_PROXY": ""},             "http://p:1"),
]
# fmt: on


@pytest.mark.parametrize(("host", "wanted"), LOOPBACK)
def test_loopback(host, wanted):
    assert is_loopback(host) == wanted


@covers("ZL-114")
@pytest.mark.parametrize(("url", "variables", "proxy"), PROXIES)
def test_proxies(url, variables, proxy):
    assert proxy_for(url, variables) == proxy


@covers("ZL-114")
def test_a_proxy_is_used_and_its_password_told_to_it_alone():
    with recording(lambda seen: Says(200, {}, b"by proxy")) as proxy:
        environ = {"HTTP_PROXY": f"http://me:pr0xy%20secret@{proxy.host}"}
        made = HttpTransport(Options(environ))
        assert get(made, "http://registry.example/v2/")[1] == b"by proxy"
        assert proxy.lines() == ["GET http://registry.example/v2/"]
        assert proxy.seen[0].headers["proxy-authorization"].startswith("Basic ")
        assert "pr0xy" not in repr(made._options)
        made.close()
    environ = {"HTTPS_PROXY": f"http://me:pr0xy-secret@127.0.0.1:{free_port()}"}
    made = HttpTransport(Options(environ))
    with pytest.raises(Unreachable, match=r"registry\.example: the proxy refuses") as caught:
        get(made, "https://registry.example/v2/")
    assert "pr0xy" not in str(caught.value)
    with pytest.raises(Unreachable, match="a proxy over socks5"):
        get(HttpTransport(Options({"ALL_PROXY": "socks5://p:1"})), "https://registry.example/v2/")


# ---- bodies


def test_an_answer_before_the_end_of_the_body_is_an_answer(transport):
    def early(line):
        line.request()
        line.say("413 Too Large", b"no", content_length=2, connection="close")

    sent = 0

    def pieces():
        nonlocal sent
        for _ in range(1000):
            sent += 65536
            yield bytes(65536)

    with scripted(early) as server:
        fields = [(b"content-length", b"%d" % (1000 * 65536))]
        answer = transport.request("PUT", server.url + "/x", fields, pieces())
        assert answer.status == 413
        assert answer.body.read(10) == b"no"
        assert sent < 1000 * 65536


def test_what_the_body_raises_comes_out_as_it_is(transport):
    def pieces():
        yield b"some"
        raise BrokenPipeError("of the source, not of the connection")

    with recording(lambda seen: Says(200)) as server:
        with pytest.raises(BrokenPipeError, match="of the source"):
            transport.request("PUT", server.url + "/x", [(b"content-length", b"9")], pieces())


def test_every_body_has_its_length(transport):
    with recording(lambda seen: Says(201)) as server:
        transport.request("POST", server.url + "/x").body.close()
        fields = [(b"content-length", b"5")]
        transport.request("PUT", server.url + "/x", fields, iter([b"he", b"llo"])).body.close()
        assert [seen.headers["content-length"] for seen in server.seen] == ["0", "5"]
        assert not any("transfer-encoding" in seen.headers for seen in server.seen)
        assert server.seen[1].body == b"hello"


def cut(line):
    line.request()
    line.say("200 OK", b"half", content_length=8)


def silent(line):
    line.request()
    threading.Event().wait(2)


def chunks(line):
    line.request()
    line.say("200 OK", b"4\r\nhalf\r\nZZ\r\n", transfer_encoding="chunked")


def noise(line):
    line.request()
    line.say("nonsense")


# fmt: off
BROKEN = [
    # the server,               what is said
    (cut,                       "the connection broke before the answer was whole"),
    (silent,                    r"no byte came for 0\.5 s"),
    (chunks,                    "the connection broke before the answer was whole"),
    (noise,                     "the connection broke before the answer was whole"),
    (lambda line: None,         "the connection broke before the answer was whole"),
]
# fmt: on


@pytest.mark.parametrize(("act", "said"), BROKEN)
def test_broken_answers(transport, act, said):
    with scripted(act) as server:
        with pytest.raises(Unreachable, match=said) as caught:
            get(transport, server.url + "/x?secret=1")
        assert caught.value.retryable
        assert str(caught.value).startswith(server.host)
        assert "secret" not in str(caught.value)


def test_nobody_is_there(transport):
    with pytest.raises(Unreachable, match="no connection: connection refused"):
        get(transport, f"http://127.0.0.1:{free_port()}/")
    with pytest.raises(Unreachable, match="there is no host of this name"):
        get(transport, "http://nobody.invalid/")


def test_closing_wakes_who_waits():
    made = HttpTransport(Options(read_timeout_s=60))
    asked = threading.Event()

    def stall(line):
        line.request()
        asked.set()
        line.read(1)  # until the client is gone

    failures = []

    def wait():
        try:
            get(made, server.url + "/")
        except Unreachable as error:
            failures.append(error)

    with scripted(stall) as server:
        waiting = threading.Thread(target=wait)
        waiting.start()
        assert asked.wait(10)
        made.close()
        waiting.join(10)
        with pytest.raises(Unreachable) as later:
            get(made, server.url + "/")
        failures.append(later.value)
    assert [error.retryable for error in failures] == [False, False]
    assert all("closed already" in str(error) for error in failures)


def test_connections_are_used_again(transport):
    with recording(lambda seen: Says(200, {}, b"hello")) as server:
        for _ in range(5):
            get(transport, server.url + "/")
        pool = next(iter(transport._pools()._managers.values())).connection_from_url(server.url)
        assert pool.num_connections == 1
        assert pool.num_requests == 5


def test_hosts_that_are_forgotten_are_asked_all_the_same(transport, monkeypatch):
    monkeypatch.setattr(pools, "_HOSTS", 1)
    with recording(lambda seen: Says(200, {}, b"hello")) as here:
        with recording(lambda seen: Says(200, {}, b"there")) as there:
            for _ in range(3):
                assert get(transport, here.url + "/a?b=c#d")[1] == b"hello"
                assert get(transport, there.url)[1] == b"there"
                assert len(transport._pools()._direct) == 1
            assert here.lines() == ["GET /a?b=c"] * 3
            assert there.lines() == ["GET /"] * 3


@covers("ZL-116")
def test_another_name_may_be_given():
    with recording(lambda seen: Says(200)) as server:
        made = HttpTransport(Options(user_agent="mine/1"))
        get(made, server.url + "/")
        assert server.seen[0].headers["user-agent"] == "mine/1"
        made.close()


@covers("DS-130")
def test_a_location_in_the_open_is_refused(authority, tls):
    with recording(lambda seen: Says(201)) as there:
        elsewhere = Says(202, {"Location": f"{there.url}/upload?state=secret"})
        with recording(lambda seen: elsewhere, tls) as here:
            with client(Options(ca_file=str(authority.file))) as made:
                with pytest.raises(Unreachable, match="from https to plain http://") as caught:
                    run(push(made.repository(here.host), b"hello"))
            assert "secret" not in str(caught.value)
        assert there.seen == []


def test_a_secure_connection_that_breaks_may_heal(authority, tls):
    """In the middle of a body, and before the first byte of an answer."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        for answer in (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", b""):
            connection, _ = listener.accept()
            secure = tls.wrap_socket(connection, server_side=True)
            secure.recv(1000)
            secure.sendall(answer)
            # No goodbye of TLS: the connection is gone.
            socket.socket(fileno=secure.detach()).close()

    serving = threading.Thread(target=serve)
    serving.start()
    made = HttpTransport(Options(ca_file=str(authority.file)))
    for _ in range(2):
        with pytest.raises(Unreachable) as caught:
            get(made, f"https://127.0.0.1:{listener.getsockname()[1]}/")
        assert caught.value.retryable
    serving.join()
    listener.close()
    made.close()
