"""Who gets in, with what, and what goes out to whom: a matrix, and no secret in any output."""

from __future__ import annotations

import base64
import json
import traceback
from contextlib import contextmanager

import pytest

from tests.client.recording import Says, recording
from tests.client.remotes import client, free_port, needs, olareg
from tests.registries import serving
from wasmhold.auth.htpasswd import hash_password
from wasmhold.client.credentials import (
    Anonymous,
    Basic,
    Bearer,
    Chain,
    GitHubToken,
    Given,
    IdentityToken,
)
from wasmhold.oci import media_types
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import AuthFailed, Unreachable
from wasmhold.ports.runtime import run
from wasmhold.protocol.errors import RemoteError
from wasmhold.testing.covers import covers
from wasmhold.testing.repository_suite import push, push_image

PASSWORD, WRONG = "s3cret-päss:word", "wr0ng-secret"
IDENTITY = "identity-secret"
SECRETS = (
    PASSWORD,
    WRONG,
    IDENTITY,
    base64.b64encode(f"me:{PASSWORD}".encode()).decode(),
    base64.b64encode(f"me:{WRONG}".encode()).decode(),
    "token-secret",
)
ME, STRANGER = Basic("me", PASSWORD), Basic("me", WRONG)
INDEX = (
    b'{"schemaVersion": 2, "mediaType": "%s", "manifests": []}' % media_types.IMAGE_INDEX.encode()
)


def tells_no_secret(error, told=()):
    """Neither an error with all that led to it, nor a warning."""
    said = "".join(traceback.format_exception(error)) + repr(error) + "".join(told)
    assert not [secret for secret in SECRETS if secret in said]


class Registry:
    """A registry with one manifest behind tokens, and its token server.

    `rights` of a user, None for nobody, are the actions that a token of theirs may have.
    """

    def __init__(self, **settings):
        self.rights = settings.pop("rights", {"me": {"pull", "push"}})
        self.post = settings.pop("post", True)  # does the token server know POST?
        self.life = settings.pop("life", None)
        self.issued_at = settings.pop("issued_at", None)
        self.scope = settings.pop("scope", True)  # does a challenge name its scope?
        self.member = settings.pop("member", "token")
        self.refuses_all = False
        self.made = 0
        self.tokens: dict[str, str] = {}  # token to granted scope
        self.realm = ""
        assert not settings

    def tokens_for(self, seen):
        if seen.method == "POST":
            if not self.post:
                return Says(405)
            form = seen.form
            if form["refresh_token"] != [IDENTITY] or form["grant_type"] != ["refresh_token"]:
                return Says(401, body=b'{"error":"invalid_grant","error_description":"unknown"}')
            user, scopes = "me", form["scope"][0].split()
        else:
            user, scopes = None, seen.query.get("scope", [])
            if seen.authorization is not None:
                pair = base64.b64decode(seen.authorization.removeprefix("Basic ")).decode()
                user, _, password = pair.partition(":")
                if password not in (PASSWORD, IDENTITY):
                    return Says(401, body=b'{"details":"incorrect username or password"}')
                user = "me"
        may = self.rights.get(user, set())
        granted = []
        for scope in scopes:
            resource, _, actions = scope.rpartition(":")
            granted.append(f"{resource}:{','.join(a for a in actions.split(',') if a in may)}")
        self.made += 1
        token = f"token-secret-{self.made}"
        self.tokens[token] = " ".join(granted)
        answer = {self.member: token}
        if self.life is not None:
            answer["expires_in"] = self.life
        if self.issued_at is not None:
            answer["issued_at"] = self.issued_at
        return Says(200, body=json.dumps(answer).encode())

    def respond(self, seen):
        name = seen.path.removeprefix("/v2/").rpartition("/manifests/")[0] or "demo/app"
        action = "push" if seen.method in ("POST", "PUT") else "pull"
        scope = self.tokens.get((seen.authorization or "").removeprefix("Bearer "), "")
        if self.refuses_all or f"repository:{name}:" not in scope or action not in scope:
            challenge = f'Bearer realm="{self.realm}",service="here"'
            if self.scope:
                challenge += f',scope="repository:{name}:pull{",push" if action == "push" else ""}"'
            if scope:
                challenge += ',error="insufficient_scope"'
            body = b'{"errors":[{"code":"UNAUTHORIZED","message":"not this token"}]}'
            return Says(401, {"WWW-Authenticate": challenge}, body)
        if seen.method == "POST":
            return Says(202, {"Location": "/v2/demo/app/blobs/uploads/1"})
        if seen.method == "PUT":
            digest = seen.query.get("digest", [str(Digest.of(seen.body))])[0]
            return Says(201, {"Docker-Content-Digest": digest, "Location": "/x"})
        digest = str(Digest.of(INDEX))
        headers = {"Content-Type": media_types.IMAGE_INDEX, "Docker-Content-Digest": digest}
        return Says(200, headers, INDEX)


@contextmanager
def tokens(**settings):
    """The registry, its server and that of its tokens."""
    registry = Registry(**settings)
    with recording(registry.tokens_for) as issuer, recording(registry.respond) as server:
        registry.realm = f"{issuer.url}/token?from=registry"
        yield registry, server, issuer


def read(made, host, auth=None, name="demo/app"):
    given = None if auth is None else Given(auth)
    return run(made.repository(host, name, given).manifest_get("v1"))


# fmt: off
MATRIX = [
    # rights of nobody and me,               post,  credentials,            outcome
    ({None: {"pull"}},                       True,  None,                   "read"),
    ({None: {"pull"}},                       True,  Anonymous(),            "read"),
    ({"me": {"pull"}},                       True,  None,                   "no credentials for it: UNAUTHORIZED: not this token"),
    ({"me": {"pull"}},                       True,  Anonymous(),            "no credentials for it"),
    ({"me": {"pull"}},                       True,  ME,                     "read"),
    ({"me": {"pull"}},                       True,  STRANGER,               "answered 401: incorrect username or password"),
    ({"me": set()},                          True,  ME,                     "credentials for it are not enough: UNAUTHORIZED: not this token"),
    ({"me": {"pull"}},                       True,  IdentityToken(IDENTITY), "read"),
    ({"me": {"pull"}},                       False, IdentityToken(IDENTITY), "read"),
    ({"me": {"pull"}},                       True,  IdentityToken(WRONG),   "answered 401: unknown"),
    ({"me": {"pull"}},                       False, IdentityToken(WRONG),   "answered 401: incorrect username or password"),
    ({"me": {"pull"}},                       True,  Bearer("token-secret"), "this token is refused"),
]
# fmt: on


@covers("ZL-102", "ZL-105", "ZL-106", "ZL-116")
@pytest.mark.parametrize(("rights", "post", "auth", "outcome"), MATRIX)
def test_bearer(rights, post, auth, outcome):
    with tokens(rights=rights, post=post) as (_, server, issuer), client() as made:
        if outcome == "read":
            assert read(made, server.host, auth).content == INDEX
        else:
            with pytest.raises(AuthFailed, match=outcome) as caught:
                read(made, server.host, auth)
            tells_no_secret(caught.value, made.told)
            assert str(caught.value).startswith(server.host)
        # No ping; the request itself is tried first, and no credentials go to the registry.
        assert server.lines()[0] == "GET /v2/demo/app/manifests/v1"
        assert server.seen[0].authorization is None
        assert not any("Basic" in (seen.authorization or "") for seen in server.seen)
        assert not any(IDENTITY in (seen.authorization or "") for seen in server.seen)
        for seen in (*server.seen, *issuer.seen):
            assert seen.headers["user-agent"].startswith("wasmhold/")
            assert seen.headers["accept-encoding"] == "identity"
        if issuer.seen and issuer.seen[0].method == "GET":
            query = issuer.seen[0].query
            assert query["service"] == ["here"]
            assert query["scope"] == ["repository:demo/app:pull"]
            assert query["from"] == ["registry"]
            assert (issuer.seen[0].authorization or "").startswith("Basic") == (
                auth in (ME, STRANGER)
            )


@covers("ZL-103")
def test_a_token_is_used_as_long_as_it_lives():
    # fmt: off
    lives = [
        # expires_in, issued_at,              seconds later, tokens made
        (None,        None,                   49,            1),
        (None,        None,                   51,            2),
        (300,         None,                   289,           1),
        (300,         None,                   291,           2),
        (300,         "2001-01-01T00:00:00Z", 1,             2),
        (300,         "2099-01-01T00:00:00Z", 289,           1),
        (300,         "yesterday",            289,           1),
        ("long",      None,                   51,            2),
    ]
    # fmt: on
    for life, issued_at, later, made_tokens in lives:
        with tokens(life=life, issued_at=issued_at) as (registry, server, _), client() as made:
            repository = made.repository(server.host, credentials=Given(ME))
            run(repository.manifest_get("v1"))
            made.runtime.ahead = later
            run(repository.manifest_get("v1"))
            assert registry.made == made_tokens
            # The first 401 is the only one: what was asked for once is sent along.
            assert len(server.seen) == 3


@covers("ZL-103", "WO-062")
def test_a_refused_token_is_fetched_once_more():
    with tokens(life=3600) as (registry, server, _), client() as made:
        repository = made.repository(server.host, credentials=Given(ME))
        run(repository.manifest_get("v1"))
        registry.tokens.clear()  # it is not taken any more
        run(repository.manifest_get("v1"))
        assert registry.made == 2
        registry.refuses_all = True
        with pytest.raises(AuthFailed, match="not enough") as caught:
            run(repository.manifest_get("v1"))
        assert caught.value.answer_status == 401
        assert registry.made <= 4


@covers("ZL-104")
def test_credentials_belong_to_the_call():
    with tokens() as (_, server, _), client() as made:
        with pytest.raises(AuthFailed):
            read(made, server.host)
        read(made, server.host, ME)
        with pytest.raises(AuthFailed):
            read(made, server.host)
        with pytest.raises(AuthFailed):
            read(made, server.host, STRANGER)


@covers("ZL-102", "ZL-256", "WO-063", "WK-176")
@pytest.mark.parametrize("scope", [True, False])
@pytest.mark.parametrize("member", ["token", "access_token"])
def test_a_push_asks_for_more_than_a_pull(scope, member):
    with tokens(scope=scope, member=member) as (_, server, issuer), client() as made:
        repository = made.repository(server.host, credentials=Given(ME))
        run(repository.manifest_get("v1"))
        run(push(repository, b"content"))
        asked = [seen.query["scope"] for seen in issuer.seen]
        assert asked == [["repository:demo/app:pull"], ["repository:demo/app:pull,push"]]


def test_a_token_that_ends_before_the_bytes_are_sent():
    """What was sent is lost, its state is asked, and it goes on with a new token."""
    with tokens() as (registry, server, _), client() as made:
        usual = registry.respond
        bodies = []

        def respond(seen):
            if seen.method == "PUT" and seen.body:
                registry.tokens.clear()
            answer = usual(seen)
            if seen.method == "PATCH" and answer.status == 200:
                bodies.append(seen.body)
                there = {"Location": seen.target, "Range": f"0-{len(seen.body) - 1}"}
                return Says(202, there)
            if "uploads/1" in seen.path and seen.method == "GET" and answer.status == 200:
                return Says(204, {"Location": seen.target, "Range": "0-0"})
            return Says(404) if seen.method == "HEAD" else answer

        registry.respond = respond
        with recording(lambda seen: registry.respond(seen)) as again:
            repository = made.repository(again.host, credentials=Given(ME))
            run(push(repository, b"content"))
            assert [seen.method for seen in again.seen] == [
                *("POST", "POST"),  # without a token, with one
                "PUT",  # which has ended
                *("HEAD", "GET"),  # is it there, where does it stand: with a new one
                *("PATCH", "PUT"),
            ]
            assert bodies == [b"content"]
        assert server.seen == []


def test_what_is_written_to_is_asked_with_the_right_to_push():
    """A repository that is not there yet: a token that may read alone gets nothing from it."""
    with tokens() as (registry, server, issuer), client() as made:
        repository = made.repository(server.host, credentials=Given(ME), to_write=True)
        run(repository.blob_size(Digest.of(b"x")))
        run(push(repository, b"content"))
        assert [seen.query["scope"] for seen in issuer.seen] == [["repository:demo/app:pull,push"]]
        assert registry.made == 1


def test_many_at_once_ask_once():
    with tokens() as (registry, server, _), client() as made:
        repository = made.repository(server.host, credentials=Given(ME))
        digests = [Digest.of(bytes([number])) for number in range(30)]
        run(made.runtime.map(repository.blob_size, digests, 8))
        assert registry.made == 1
        # Those that set out before the first was answered, once each.
        assert sum(seen.authorization is None for seen in server.seen) <= 8


def test_a_mount_asks_for_its_source_too():
    with tokens() as (_, server, issuer), client() as made:
        source = made.repository(server.host, "demo/other", Given(ME))
        here = made.repository(server.host, credentials=Given(ME))
        assert not run(here.blob_mount(Digest.of(b"x"), source))
        assert issuer.seen[0].query["scope"] == [
            "repository:demo/app:pull,push",
            "repository:demo/other:pull",
        ]
        # A mount that was none leaves no upload behind.
        assert server.lines()[-1] == "DELETE /v2/demo/app/blobs/uploads/1"


def test_a_token_that_may_only_read():
    with tokens(rights={"me": {"pull"}}) as (_, server, _), client() as made:
        repository = made.repository(server.host, credentials=Given(ME))
        run(repository.manifest_get("v1"))
        with pytest.raises(AuthFailed, match="credentials for it are not enough") as caught:
            run(push(repository, b"content"))
        tells_no_secret(caught.value, made.told)
        assert not any(seen.method == "PUT" for seen in server.seen)


REALMS = [
    # the realm,                           credentials, what is said
    ("http://tokens.example/token", ME, "speaks plain HTTP: credentials are not sent"),
    (
        "http://tokens.example/token?a=s",
        IdentityToken(IDENTITY),
        "http://tokens.example/token speaks",
    ),
    ("ftp://tokens.example/token", ME, "no HTTP URL"),
    ("http://[broken/", ME, "no HTTP URL"),
]


@covers("ZL-107")
@pytest.mark.parametrize(("realm", "auth", "said"), REALMS)
def test_realms_that_get_no_credentials(realm, auth, said):
    with tokens() as (registry, server, _), client() as made:
        registry.realm = realm
        with pytest.raises(AuthFailed, match=said) as caught:
            read(made, server.host, auth)
        tells_no_secret(caught.value)


ANSWERS = [
    # the token server,                              error,       what is said
    (Says(200, body=b"<html>"), AuthFailed, "has no token"),
    (Says(200, body=b"[]"), AuthFailed, "has no token"),
    (Says(200, body=b'{"token":"a\\r\\nb: c"}'), AuthFailed, "has no token"),
    (Says(302, {"Location": "https://other.example"}), RemoteError, "302"),
    (
        Says(403, body=b'{"errors":[{"code":"DENIED","message":"not you"}]}'),
        AuthFailed,
        "answered 403: not you",
    ),
    (Says(500, body=b"oops"), RemoteError, "500"),
    (Says(429, {"Retry-After": "9999"}), RemoteError, "429"),
]


@covers("ZL-105")
@pytest.mark.parametrize(("answer", "error", "said"), ANSWERS)
def test_token_servers_that_give_none(answer, error, said):
    registry = Registry()
    with recording(lambda seen: answer) as issuer, recording(registry.respond) as server:
        registry.realm = f"{issuer.url}/token"
        with client() as made, pytest.raises(error, match=said) as caught:
            read(made, server.host, ME)
        tells_no_secret(caught.value)
        assert len(issuer.seen) == (4 if answer.status == 500 else 1)


CHALLENGES = [
    # what it asks for,                                credentials, what is said
    (None, ME, "login by nothing that is known"),
    ("Negotiate", ME, "login by negotiate"),
    ('Bearer service="x"', ME, "login by bearer"),
    ('Basic realm="x"', None, "no credentials for it"),
    ('Basic realm="x"', STRANGER, "the login of me is refused: no"),
    ('Basic realm="x"', IdentityToken(IDENTITY), "an identity token alone"),
    ('Basic realm="x"', Bearer("token-secret"), "this token is refused"),
]


@covers("WO-062", "ZL-102")
@pytest.mark.parametrize(("challenge", "auth", "said"), CHALLENGES)
def test_challenges_that_are_not_met(challenge, auth, said):
    headers = {} if challenge is None else {"WWW-Authenticate": challenge}
    body = b'{"errors":[{"code":"no"}]}'
    with recording(lambda seen: Says(401, headers, body)) as server, client() as made:
        if challenge is None:
            said = "no"
        with pytest.raises(AuthFailed, match=said) as caught:
            read(made, server.host, auth)
        tells_no_secret(caught.value)
        assert not any(IDENTITY in (seen.authorization or "") for seen in server.seen)


def test_not_allowed_is_said_with_the_words_of_the_registry():
    body = b'{"errors":[{"code":"DENIED","message":"not for you"}]}'
    with recording(lambda seen: Says(403, body=body)) as server, client() as made:
        with pytest.raises(AuthFailed, match="not allowed: DENIED: not for you") as caught:
            read(made, server.host, ME)
        assert caught.value.answer_status == 403
        assert len(server.seen) == 1


@covers("ZL-100", "ZL-111", "ZL-113")
def test_sources():
    token = GitHubToken({"GHCR_TOKEN": "one", "GITHUB_TOKEN": "two"})
    chain = Chain(Given(ME, "a.example"), token, Given(Anonymous()))
    assert run(chain.get("a.example", "x")) == ME
    assert run(chain.get("ghcr.io", "x")) == Basic("_token", "one")
    assert run(chain.get("b.example", "x")) == Anonymous()
    assert run(GitHubToken({"GITHUB_TOKEN": "two"}).get("ghcr.io", "x")) == Basic("_token", "two")
    assert run(GitHubToken({}).get("ghcr.io", "x")) is None
    assert run(Chain(token).get("ghcr.io.example", "x")) is None
    for auth in (ME, Bearer("token-secret"), IdentityToken(IDENTITY)):
        assert not [secret for secret in SECRETS if secret in repr(auth) + str(auth)]


# ---- servers that are no test's


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    users = tmp_path_factory.mktemp("users") / "users"
    users.write_text(f"me:{hash_password(PASSWORD.encode(), 5)}\n")
    with serving("--htpasswd", str(users), "--anonymous", "pull", "--log", "json") as server:
        yield server


@covers("WO-063", "WK-175")
def test_our_own_with_basic(guarded):
    with client() as made:
        for auth in (None, Anonymous(), STRANGER, IdentityToken(IDENTITY)):
            given = None if auth is None else Given(auth)
            repository = made.repository(guarded.host, credentials=given)
            with pytest.raises(AuthFailed) as caught:
                run(push(repository, b"content"))
            tells_no_secret(caught.value, made.told)
        repository = made.repository(guarded.host, credentials=Given(ME))
        stored = run(push_image(repository, "one", "v1"))
        assert run(made.repository(guarded.host).manifest_get("v1")) == stored
        assert not [secret for secret in SECRETS if secret in guarded.log.read_text()]


@covers("ZL-106")
@pytest.mark.peer
@needs("olareg")
@pytest.mark.parametrize("external", [True, False])
def test_olareg_with_tokens(tmp_path, external):
    rules = tmp_path / "rules.yaml"
    hashed = hash_password(PASSWORD.encode(), 5).replace("$2b$", "$2a$")
    rules.write_text(
        f'users: {{me: {{cred: "{hashed}"}}}}\n'
        'acls: [{repo: "*", members: [me], access: ["*"]},'
        ' {repo: "public/*", anonymous: true, access: [read]}]\n'
    )
    port = free_port()
    flags = ["--auth-token-opaque", str(rules)]
    if external:
        flags += ["--external-url", f"http://127.0.0.1:{port}"]
    with olareg(tmp_path, *flags, port=port) as server, client() as made:
        mine = made.repository(server.host, "public/app", Given(ME))
        stored = run(push_image(mine, "one", "v1"))
        assert run(mine.manifest_get("v1")) == stored
        assert run(made.repository(server.host, "public/app").manifest_get("v1")) == stored
        for auth in (None, STRANGER):
            given = None if auth is None else Given(auth)
            with pytest.raises(AuthFailed) as caught:
                run(made.repository(server.host, "private/app", given).manifest_get("v1"))
            tells_no_secret(caught.value, made.told)


@covers("ZL-114", "WO-021")
def test_plain_http_is_for_loopback_and_who_is_named():
    with client(retries=0) as made:
        assert made.network.base("registry.example:5000") == "https://registry.example:5000"
        assert made.network.base("docker.io") == "https://registry-1.docker.io"
        with recording(lambda seen: Says(200)) as server:
            assert made.network.base(server.host) == server.url
    with client(plain_http=("registry.example:5000",)) as made:
        assert made.network.base("registry.example:5000") == "http://registry.example:5000"
        assert made.network.base("registry.example") == "https://registry.example"
    with client(retries=0) as made, pytest.raises(Unreachable):
        read(made, f"127.0.0.1:{free_port()}")
