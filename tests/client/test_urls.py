"""Content behind URLs that others have written: where they may lead, and what is taken from there."""

from __future__ import annotations

import socket
import ssl

import pytest

from tests.certificates import Authority
from tests.client.recording import Line, Recorder, Says, recording, scripted
from tests.client.remotes import Hurried
from wasmhold.client.opening import Opener
from wasmhold.client.reader import Reader
from wasmhold.client.settings import EVERY_HOST, Settings
from wasmhold.client.transport import HttpTransport, Options, Reach
from wasmhold.client.transport.reach import is_public
from wasmhold.client.urls import (
    UrlBlob,
    UrlRefused,
    fetch_url,
    foreign_blobs,
    is_elsewhere,
)
from wasmhold.client.verify import pour
from wasmhold.oci.descriptor import Descriptor
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import (
    ArtifactInvalid,
    AuthFailed,
    BlobUnknown,
    Denied,
    DigestMismatch,
    Entry,
    SizeInvalid,
    StoreUnavailable,
    TooLarge,
    Unreachable,
)
from wasmhold.ports.runtime import run
from wasmhold.protocol.errors import RemoteError
from wasmhold.testing.covers import covers

CONTENT = bytes(range(256)) * 1000
LAYER = Descriptor("application/x", Digest.of(CONTENT), len(CONTENT))

# ---- addresses

# fmt: off
ADDRESSES = [
    # address,                    is it public
    ("8.8.8.8",                   True),
    ("93.184.216.34",             True),
    ("2606:4700:4700::1111",      True),
    ("::ffff:8.8.8.8",            True),
    ("64:ff9b::8.8.8.8",          True),
    ("2002:808:808::1",           True),
    ("127.0.0.1",                 False),
    ("127.8.9.10",                False),
    ("0.0.0.0",                   False),
    ("10.1.2.3",                  False),
    ("172.16.0.1",                False),
    ("192.168.1.1",               False),
    ("169.254.169.254",           False),  # where clouds tell secrets
    ("100.64.0.1",                False),
    ("192.0.2.1",                 False),
    ("198.18.0.1",                False),
    ("224.0.0.1",                 False),
    ("240.0.0.1",                 False),
    ("255.255.255.255",           False),
    ("::",                        False),
    ("::1",                       False),
    ("fe80::1",                   False),
    ("fe80::1%eth0",              False),
    ("fc00::1",                   False),
    ("fd00:ec2::254",             False),
    ("fec0::1",                   False),
    ("ff02::1",                   False),
    ("2001:db8::1",               False),
    ("::ffff:127.0.0.1",          False),
    ("::ffff:169.254.169.254",    False),
    ("::127.0.0.1",               False),
    ("64:ff9b::10.0.0.1",         False),
    ("64:ff9b::7f00:1",           False),
    ("2002:7f00:1::",             False),
]
URLS = [
    # URL,                        hosts of plain HTTP,    private too,  may it be asked
    ("https://example.com/a",     (),                     False,        True),
    ("https://127.0.0.1/a",       (),                     False,        True),  # its address is looked at later
    ("http://example.com/a",      (),                     False,        False),
    ("http://example.com/a",      ("example.com",),       False,        True),
    ("http://example.com:81/a",   ("example.com",),       False,        False),
    ("http://user:x@example.com/a", ("example.com",),     False,        True),
    ("http://example.com/a",      EVERY_HOST,             False,        True),
    ("http://example.com/a",      (),                     True,         False),
    ("http://localhost:81/a",     (),                     True,         True),
    ("http://localhost:81/a",     (),                     False,        False),
    ("ftp://example.com/a",       EVERY_HOST,             True,         False),
    ("file:///etc/passwd",        EVERY_HOST,             True,         False),
    ("/etc/passwd",               EVERY_HOST,             True,         False),
]
# fmt: on


@covers("ZL-206")
@pytest.mark.parametrize(("address", "public"), ADDRESSES)
def test_public_addresses(address, public):
    assert is_public(address) is public


@covers("ZL-206", "ZL-208")
@pytest.mark.parametrize(("url", "plain_http", "private", "allowed"), URLS)
def test_urls_that_may_be_asked(url, plain_http, private, allowed):
    try:
        Reach(plain_http, private).check(url)
    except Unreachable as error:
        assert not error.retryable
        assert "is not over https" in str(error)
        assert "user" not in str(error)
        found = False
    else:
        found = True
    assert found is allowed


# ---- connections: 127.0.0.1 is taken for a public address, and all others of loopback are not


class Names:
    """What names mean: one list of addresses for each look-up, the last one from then on."""

    def __init__(self, monkeypatch) -> None:
        self.meanings: dict[str, list[list[str]]] = {}
        self.asked: list[str] = []
        self._real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self.look_up)

    def look_up(self, host, port, *args, **kwargs):
        if host not in self.meanings:
            return self._real(host, port, *args, **kwargs)
        self.asked.append(host)
        meaning = self.meanings[host]
        addresses = meaning.pop(0) if len(meaning) > 1 else meaning[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in addresses]


@pytest.fixture
def names(monkeypatch):
    monkeypatch.setattr(
        "wasmhold.client.transport.reach.is_public", lambda text: text == "127.0.0.1"
    )
    return Names(monkeypatch)


@pytest.fixture
def bounded():
    made = HttpTransport(Options(reach=Reach(EVERY_HOST), connect_timeout_s=5))
    yield made
    made.close()


def get(transport, url):
    answer = transport.request("GET", url, follow=True)
    content = b"".join(iter(lambda: answer.body.read(65536), b""))
    answer.body.close()
    return content


def port_of(server: Recorder) -> str:
    return server.host.rpartition(":")[2]


def untouched(listener: socket.socket) -> bool:
    """Whether nobody has connected: a connection would wait to be accepted."""
    listener.setblocking(False)
    try:
        listener.accept()
    except BlockingIOError:
        return True
    return False


HIDDEN = ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.0.0.1", "[::ffff:127.0.0.1]"]


@covers("ZL-206")
@pytest.mark.parametrize("host", HIDDEN)
def test_a_private_address_is_not_even_connected_to(bounded, host):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://{host}:{listener.getsockname()[1]}/layer"
        with pytest.raises(Unreachable, match=r"is no public one") as caught:
            get(bounded, url)
        assert not caught.value.retryable
        assert untouched(listener)


@covers("ZL-206")
def test_a_redirect_to_a_private_address_is_not_followed(bounded, names):
    with socket.create_server(("127.0.0.2", 0)) as listener:
        target = f"http://127.0.0.2:{listener.getsockname()[1]}/secrets"
        with recording(lambda seen: Says(307, {"Location": target})) as server:
            with pytest.raises(Unreachable, match=r"127\.0\.0\.2 is no public one"):
                get(bounded, f"{server.url}/layer")
            assert server.lines() == ["GET /layer"]
        assert untouched(listener)


@covers("ZL-206")
def test_a_redirect_leads_to_listed_hosts_alone(names):
    with recording(lambda seen: Says(200, {}, CONTENT)) as there:
        with recording(lambda seen: Says(302, {"Location": f"{there.url}/layer"})) as here:
            transport = HttpTransport(Options(reach=Reach([here.host])))
            with pytest.raises(Unreachable, match="is not over https"):
                get(transport, f"{here.url}/layer")
            transport.close()
        assert there.seen == []


@covers("ZL-206")
def test_redirects_are_five_at_most(bounded, names):
    with recording(lambda seen: Says(307, {"Location": seen.target})) as circle:
        with pytest.raises(Unreachable, match="more than 5 redirects"):
            get(bounded, f"{circle.url}/layer")
        assert len(circle.seen) == 6


@covers("ZL-206")
def test_a_name_is_looked_up_once_for_each_connection(bounded, names):
    """With another address at the next look-up, as who rebinds a name would have it."""
    with socket.create_server(("127.0.0.2", 0)) as listener:
        port = listener.getsockname()[1]
        names.meanings["rebound.test"] = [["127.0.0.1"], ["127.0.0.2"]]
        with recording(lambda seen: Says(200, {"Connection": "close"}, b"fine")) as server:
            # The right port at the wrong address, and the other way round.
            assert get(bounded, f"http://rebound.test:{port_of(server)}/") == b"fine"
            assert names.asked == ["rebound.test"]
            assert server.seen[0].headers["host"] == f"rebound.test:{port_of(server)}"
            with pytest.raises(Unreachable, match=r"127\.0\.0\.2 is no public one"):
                get(bounded, f"http://rebound.test:{port_of(server)}/")
            with pytest.raises(Unreachable, match=r"127\.0\.0\.2 is no public one"):
                get(bounded, f"http://rebound.test:{port}/")
            assert len(server.seen) == 1
        assert untouched(listener)


@covers("ZL-206")
def test_of_several_addresses_the_public_ones_are_used(bounded, names):
    with recording(lambda seen: Says(200, {}, b"fine")) as server:
        with socket.create_server(("127.0.0.2", int(port_of(server)))) as listener:
            names.meanings["several.test"] = [["127.0.0.2", "127.0.0.1"]]
            assert get(bounded, f"http://several.test:{port_of(server)}/") == b"fine"
            assert untouched(listener)


@covers("ZL-206")
def test_the_next_address_is_tried_where_nothing_listens(bounded, names, monkeypatch):
    monkeypatch.setattr(
        "wasmhold.client.transport.reach.is_public", lambda text: text.startswith("127.")
    )
    with recording(lambda seen: Says(200, {}, b"fine")) as server:
        names.meanings["several.test"] = [["127.0.0.3", "127.0.0.1"], ["127.0.0.3"]]
        assert get(bounded, f"http://several.test:{port_of(server)}/") == b"fine"
        bounded.close()
    other = HttpTransport(Options(reach=Reach(EVERY_HOST)))
    with pytest.raises(Unreachable, match="no connection"):
        get(other, f"http://several.test:{port_of(server)}/")
    other.close()


@covers("ZL-206")
def test_a_certificate_is_for_the_name_and_not_for_its_address(names, tmp_path):
    authority = Authority(tmp_path)
    chain, key, _ = authority.issue()
    (tmp_path / "chain").write_bytes(chain)
    (tmp_path / "key").write_bytes(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "chain", tmp_path / "key")
    transport = HttpTransport(Options(ca_file=str(authority.file), reach=Reach()))
    with recording(lambda seen: Says(200, {}, b"fine"), context) as server:
        names.meanings |= {"localhost": [["127.0.0.1"]], "other.test": [["127.0.0.1"]]}
        assert get(transport, f"https://localhost:{port_of(server)}/") == b"fine"
        with pytest.raises(Unreachable, match="certificate is not trusted"):
            get(transport, f"https://other.test:{port_of(server)}/")
    transport.close()


@covers("ZL-206")
def test_a_proxy_would_connect_to_what_it_likes(names):
    with recording(lambda seen: Says(200, {}, b"of the proxy")) as proxy:
        environ = {"http_proxy": proxy.url}
        names.meanings["elsewhere.test"] = [["127.0.0.2"]]
        for private, content in ((False, None), (True, b"of the proxy")):
            reach = Reach(EVERY_HOST, private)
            transport = HttpTransport(Options(environ=environ, reach=reach))
            if content is None:
                with pytest.raises(Unreachable, match="is no public one"):
                    get(transport, "http://elsewhere.test/")
                assert proxy.seen == []
            else:
                assert get(transport, "http://elsewhere.test/") == content
            transport.close()


@pytest.mark.parametrize("host", ["no-such-name.invalid", "a" * 70, "a..b"])
def test_names_that_mean_nothing(bounded, host):
    with pytest.raises(Unreachable):
        get(bounded, f"https://{host}/")


# ---- layers


@pytest.fixture
def near():
    """A transport for servers of the test."""
    made = HttpTransport(Options(reach=Reach(private=True)))
    yield made
    made.close()


def read(transport, url, descriptor=LAYER, start=0):
    runtime, content = Hurried(), bytearray()
    blob = UrlBlob(transport, runtime, url, descriptor)
    source = Reader(blob, descriptor, runtime, lambda event: None, lambda: False)
    run(pour(source, descriptor, runtime, content.extend))
    return bytes(content)


def whole(seen):
    return Says(200, {}, CONTENT)


@covers("ZL-107", "ZL-206")
def test_a_layer_comes_without_a_login(near):
    with recording(whole) as server:
        assert read(near, f"{server.url}/layer?sig=1") == CONTENT
        assert server.lines() == ["GET /layer?sig=1"]
        assert server.seen[0].authorization is None


@covers("ZL-206")
def test_a_download_goes_on_where_it_broke(near):
    def breaks(line: Line) -> None:
        line.request()
        line.say("200 OK", CONTENT[:1000], Content_Length=len(CONTENT))

    def goes_on(line: Line) -> None:
        _, headers = line.request()
        first = int(headers["range"].removeprefix("bytes=").removesuffix("-"))
        part = f"bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}"
        rest = CONTENT[first:]
        line.say("206 Partial Content", rest, Content_Length=len(rest), Content_Range=part)

    with scripted(breaks, goes_on) as server:
        assert read(near, f"{server.url}/layer") == CONTENT

    def knows_no_ranges(line: Line) -> None:
        line.request()
        line.say("200 OK", CONTENT, Content_Length=len(CONTENT))

    with scripted(breaks, knows_no_ranges) as server:
        assert read(near, f"{server.url}/layer") == CONTENT


@covers("ZL-206")
def test_a_layer_whose_size_is_not_said(near):
    def chunked(line: Line) -> None:
        line.request()
        chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(CONTENT), CONTENT)
        line.say("200 OK", chunks, Transfer_Encoding="chunked")

    with scripted(chunked) as server:
        assert read(near, f"{server.url}/layer") == CONTENT


# fmt: off
BAD_LAYERS = [
    # answer,                                    error
    (Says(200, {}, b""),                         SizeInvalid),
    (Says(200, {}, CONTENT[:-1]),                SizeInvalid),
    (Says(200, {}, CONTENT + b"x"),              SizeInvalid),
    (Says(200, {}, CONTENT[:-1] + b"x"),         DigestMismatch),
    (Says(404, {}, b"not here"),                 UrlRefused),
    (Says(204),                                  UrlRefused),
    (Says(401, {"WWW-Authenticate": "Basic"}),   UrlRefused),
]
# fmt: on


@covers("ZL-206")
@pytest.mark.parametrize(("says", "error"), BAD_LAYERS)
def test_what_is_not_the_layer(near, says, error):
    with recording(lambda seen: says) as server:
        with pytest.raises(error) as caught:
            read(near, f"{server.url}/layer?sig=secret")
        assert "secret" not in str(caught.value)
        assert len(server.seen) == 1


def test_the_first_urls_are_tried_in_their_order(near):
    urls = tuple(f"https://host{number}.test/layer" for number in range(9))
    found = foreign_blobs(near, Hurried(), Descriptor("application/x", LAYER.digest, 1, urls=urls))
    assert [blob.place for blob in found] == list(urls[:5])


# fmt: off
REFUSALS = [
    # what a registry said,                                     are the URLs tried
    (BlobUnknown("demo/app", "sha256:…"),                       True),
    (AuthFailed("localhost", "no", 401),                        True),
    (AuthFailed("localhost", "no token"),                       True),
    (RemoteError(401, [], None),                                True),
    (RemoteError(403, [], None),                                True),
    (RemoteError(404, [], None),                                True),
    (RemoteError(410, [], None),                                True),
    (RemoteError(400, [Entry("BLOB_UNKNOWN", "")], None),       True),
    (RemoteError(500, [Entry("NAME_UNKNOWN", "")], None),       True),
    (RemoteError(400, [Entry("DENIED", "")], None),             False),
    (RemoteError(500, [], None),                                False),
    (RemoteError(429, [], None),                                False),
    (Unreachable("localhost", "no connection"),                 False),
    (StoreUnavailable("later"),                                 False),
    (Denied("a file"),                                          False),
]
# fmt: on


@covers("ZL-206")
@pytest.mark.parametrize(("error", "elsewhere"), REFUSALS)
def test_when_the_urls_are_tried(error, elsewhere):
    assert is_elsewhere(error) is elsewhere


def test_a_client_certificate_is_for_registries_alone(tmp_path):
    settings = Settings(environ={}, client_certificate=(str(tmp_path / "none.pem"), None))
    opener = Opener(settings, Hurried(), print)
    assert opener.transport._options.client_certificate is not None
    assert opener.outside._options.client_certificate is None
    assert opener.outside._options.reach == Reach()
    opener.close()


# ---- whole archives


def fetch(transport, url, max_size=LAYER.size, digest=None, fields=()):
    content = bytearray()
    found = run(
        fetch_url(
            transport,
            Hurried(),
            url,
            content.extend,
            max_size=max_size,
            digest=digest,
            fields=fields,
        )
    )
    return found, bytes(content)


@covers("ZL-208")
@pytest.mark.parametrize("algorithm", [None, "sha256", "sha512"])
def test_all_that_is_behind_a_url(near, algorithm):
    digest = None if algorithm is None else Digest.of(CONTENT, algorithm)
    with recording(whole) as server:
        found, content = fetch(near, f"{server.url}/a.tar", digest=digest)
        assert content == CONTENT
        assert (found.digest, found.size) == (digest or LAYER.digest, len(CONTENT))


def unsaid(line: Line) -> None:
    line.request()
    line.say("200 OK", b"%x\r\n%s\r\n0\r\n\r\n" % (len(CONTENT), CONTENT), Transfer_Encoding="chunked")  # fmt: skip


@covers("ZL-208")
def test_more_than_is_wanted(near):
    with recording(whole) as server:
        with pytest.raises(TooLarge, match="larger than 255999 bytes"):
            fetch(near, f"{server.url}/a.tar", max_size=LAYER.size - 1)
    with scripted(unsaid) as server:
        with pytest.raises(TooLarge):
            fetch(near, f"{server.url}/a.tar", max_size=LAYER.size - 1)


@covers("ZL-208")
def test_other_bytes_and_none(near):
    with recording(whole) as server:
        with pytest.raises(DigestMismatch):
            fetch(near, f"{server.url}/a.tar", digest=Digest.of(b"other"))
    with recording(lambda seen: Says(200)) as server:
        with pytest.raises(ArtifactInvalid, match=r"/a\.tar is empty"):
            fetch(near, f"{server.url}/a.tar?sig=1")
    with recording(lambda seen: Says(403)) as server:
        with pytest.raises(UrlRefused, match=r"/a\.tar answered 403"):
            fetch(near, f"{server.url}/a.tar?sig=1")


LOGIN = (b"authorization", b"Basic bWU6c2VjcmV0")


@covers("ZL-208")
def test_a_login_is_for_its_host(near):
    with recording(whole) as there:
        with recording(lambda seen: Says(302, {"Location": f"{there.url}/b.tar"})) as here:
            fetch(near, f"{here.url}/a.tar", fields=[LOGIN])
            assert here.seen[0].authorization == "Basic bWU6c2VjcmV0"
            assert there.seen[0].authorization is None


@covers("ZL-208")
def test_a_login_does_not_go_out_in_the_open(names):
    names.meanings["plain.test"] = [["127.0.0.1"]]
    with recording(whole) as server:
        url = f"http://plain.test:{port_of(server)}/a.tar"
        strict = HttpTransport(Options(reach=Reach()))
        with pytest.raises(Unreachable, match="is not over https"):
            fetch(strict, url, fields=[LOGIN])
        assert server.seen == []
        listed = HttpTransport(Options(reach=Reach([f"plain.test:{port_of(server)}"])))
        assert fetch(listed, url, fields=[LOGIN])[1] == CONTENT
        for transport in (strict, listed):
            transport.close()
