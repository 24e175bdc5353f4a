"""Archives behind URLs become files, or nothing."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from tests.client.recording import Says, recording
from wasmhold.client.credentials import Anonymous, Basic, Bearer, IdentityToken
from wasmhold.client.settings import Settings
from wasmhold.client.urls import UrlRefused
from wasmhold.image import archives, archives_blocking
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import (
    ArtifactInvalid,
    AuthFailed,
    DigestMismatch,
    TooLarge,
    Unreachable,
)
from wasmhold.testing.covers import covers

CONTENT = b"a whole archive" * 10_000
NEAR = Settings(environ={}, allow_private_urls=True)


def by_loop(*args, **how):
    return asyncio.run(archives.fetch_archive(*args, **how))


FACES = [by_loop, archives_blocking.fetch_archive]


@pytest.fixture(name="fetch", params=FACES, ids=["loop", "blocking"])
def a_face(request):
    return request.param


def test_both_faces_are_one():
    one, two = archives.fetch_archive, archives_blocking.fetch_archive
    assert inspect.signature(one) == inspect.signature(two)
    assert one.__doc__ == two.__doc__


@covers("ZL-208")
@pytest.mark.parametrize("digest", [None, Digest.of(CONTENT), str(Digest.of(CONTENT, "sha512"))])
def test_a_file(fetch, tmp_path, digest):
    with recording(lambda seen: Says(200, {}, CONTENT)) as server:
        path = tmp_path / "image.tar"
        found = fetch(f"{server.url}/image.tar", path, settings=NEAR, digest=digest)
        assert path.read_bytes() == CONTENT
        assert found.size == len(CONTENT)
        assert str(found.digest) == str(digest or Digest.of(CONTENT))
        assert server.lines() == ["GET /image.tar"]
        assert server.seen[0].authorization is None


# fmt: off
REFUSED = [
    # answer,                  what is told beside it,                  error
    (Says(200, {}, CONTENT),   {"max_size": len(CONTENT) - 1},          TooLarge),
    (Says(200, {}, CONTENT),   {"digest": str(Digest.of(b"other"))},    DigestMismatch),
    (Says(200, {}, CONTENT),   {"settings": Settings(environ={})},      Unreachable),
    (Says(200),                {},                                      ArtifactInvalid),
    (Says(500, {}, b"broken"), {},                                      UrlRefused),
]
# fmt: on


@covers("ZL-208")
@pytest.mark.parametrize(("says", "how", "error"), REFUSED)
def test_nothing_is_left_of_what_is_refused(fetch, tmp_path, says, how, error):
    (tmp_path / "image.tar").write_bytes(b"what was there")
    with recording(lambda seen: says) as server:
        with pytest.raises(error):
            fetch(f"{server.url}/a?secret=1", tmp_path / "image.tar", **{"settings": NEAR, **how})
    assert (tmp_path / "image.tar").read_bytes() == b"what was there"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_that_cannot_be(fetch, tmp_path):
    with recording(lambda seen: Says(200, {}, CONTENT)) as server:
        with pytest.raises(ArtifactInvalid, match="there is no folder"):
            fetch(f"{server.url}/image.tar", tmp_path / "none" / "image.tar", settings=NEAR)
        assert server.seen == []


# fmt: off
LOGINS = [
    # auth,                     what is sent
    (Basic("me", "secret"),     "Basic bWU6c2VjcmV0"),
    (Bearer("token"),           "Bearer token"),
    (Anonymous(),               None),
    (None,                      None),
]
# fmt: on


@covers("ZL-208")
@pytest.mark.parametrize(("auth", "sent"), LOGINS)
def test_a_login(fetch, tmp_path, auth, sent):
    with recording(lambda seen: Says(200, {}, CONTENT)) as server:
        fetch(f"{server.url}/image.tar", tmp_path / "image.tar", auth, settings=NEAR)
        assert server.seen[0].authorization == sent


@covers("ZL-208")
def test_a_login_goes_to_no_host_of_plain_http_that_is_not_listed(fetch, tmp_path):
    with recording(lambda seen: Says(200, {}, CONTENT)) as server:
        other = f"http://127.0.0.1.nip.invalid:{server.host.rpartition(':')[2]}/image.tar"
        with pytest.raises(Unreachable, match="is not over https") as caught:
            fetch(other, tmp_path / "image.tar", Basic("me", "secret"), settings=NEAR)
        assert "secret" not in str(caught.value)
        assert server.seen == []
        with pytest.raises(AuthFailed, match="want Basic or Bearer"):
            fetch(server.url, tmp_path / "x", IdentityToken("token"), settings=NEAR)
