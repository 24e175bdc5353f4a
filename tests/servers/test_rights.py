"""Who may do what, asked over real sockets: callers × operations × repositories.

`MAY` says by hand what each caller may do in each repository; what an answer must be follows.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.registries import Server, serving
from wasmhold.auth.htpasswd import hash_password
from wasmhold.oci.media_types import IMAGE_INDEX, IMAGE_MANIFEST
from wasmhold.testing.covers import covers
from wasmhold.testing.senders import to_url
from wasmhold.testing.transcript import Answer, Exchange, Send

PASSWORDS = {name: f"{name}:of course" for name in ("alice", "bob", "ci", "robot", "carol")}
CALLERS = {
    **PASSWORDS,
    "nobody": None,
    "unknown": "alice:of course",  # a user that there is not, with a password that there is
    "wrong": "robot:of course",  # alice with the password of another
}
NAMES = {"unknown": "eve", "wrong": "alice"}

ACCESS = """
[groups]
outer = {members = ["middle", "outer"]}
middle = {members = ["inner"]}
inner = {members = ["carol", "outer"]}

[[acls]]
repo = "*"
members = ["alice"]
access = ["*"]

[[acls]]
repo = "team/*"
members = ["bob"]
access = ["read"]

[[acls]]
repo = "team/*"
members = ["ci"]
access = ["pull", "push"]

[[acls]]
repo = "team/*"
members = ["robot"]
access = ["write"]

[[acls]]
repo = "team/*"
members = ["outer"]
access = ["read", "delete"]

[[acls]]
repo = "team/top"
members = ["bob", "ci", "outer"]
access = []

[[acls]]
repo = "public/*"
anonymous = true
access = ["read"]
"""

# fmt: off
# r: read, w: write, d: delete; 401 where the login itself is refused.
REPOS =       ("team/app", "team/nil", "team/top", "public/lib", "secret/box", "secret/nil", "")
MAY = {
    "alice":   ("rwd",     "rwd",      "rwd",      "rwd",        "rwd",        "rwd",        "r"),
    "bob":     ("r",       "r",        "",         "",           "",           "",           "r"),
    "ci":      ("rw",      "rw",       "",         "",           "",           "",           "r"),
    "robot":   ("w",       "w",        "w",        "",           "",           "",           "r"),
    "carol":   ("rd",      "rd",       "",         "",           "",           "",           "r"),
    "nobody":  ("",        "",         "",         "r",          "",           "",           ""),
    "unknown": (401,)*7,
    "wrong":   (401,)*7,
}
# fmt: on
ABSENT = {"team/nil", "secret/nil"}
LAYER, CONFIG = b"layer", b"{}"


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def described(media_type: str, content: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest(content), "size": len(content)}


MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": IMAGE_MANIFEST,
        "config": described("application/json", CONFIG),
        "layers": [described("a/layer", LAYER)],
    }
).encode()
REFERRER = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": IMAGE_INDEX,
        "artifactType": "a/signature",
        "manifests": [],
        "subject": described(IMAGE_MANIFEST, MANIFEST),
    }
).encode()
LACKING = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": IMAGE_MANIFEST,
        "config": described("application/json", b"never pushed"),
        "layers": [],
    }
).encode()
M, L = digest(MANIFEST), digest(LAYER)
SPARE = b"no manifest needs it"
UP = "blobs/uploads/"
AS_MANIFEST = ("Content-Type", IMAGE_MANIFEST)


@dataclass(frozen=True)
class Ask:
    """A request, the right it needs, and its status in a repository with content and without.

    `target` without a leading slash stands in the repository; ``{session}`` is a new one.
    """

    right: str
    method: str
    target: str
    there: int
    absent: int = 0
    body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()


# fmt: off
AT_ROOT = [
    Ask("r", "GET",    "/v2/",                             200),
    Ask("r", "HEAD",   "/v2/",                             200),
    Ask("r", "GET",    "/v2",                              301),
    Ask("r", "GET",    "/v2/_catalog",                     200),
    Ask("r", "HEAD",   "/v2/_catalog",                     200),
    Ask("r", "GET",    "/v2/_catalog?n=1&last=a",          200),
]
IN_A_REPOSITORY = [
    Ask("r", "GET",    "manifests/v1",                     200, 404),
    Ask("r", "HEAD",   "manifests/v1",                     200, 404),
    Ask("r", "GET",    "manifests/none",                   404, 404),
    Ask("r", "GET",    f"manifests/{M}",                   200, 404),
    Ask("r", "HEAD",   f"manifests/{M}",                   200, 404),
    Ask("r", "GET",    f"manifests/{M}",                   304, 404, headers=(("If-None-Match", f'"{M}"'),)),
    Ask("r", "GET",    f"blobs/{L}",                       200, 404),
    Ask("r", "HEAD",   f"blobs/{L}",                       200, 404),
    Ask("r", "GET",    f"blobs/{L}",                       206, 404, headers=(("Range", "bytes=0-1"),)),
    Ask("r", "HEAD",   f"blobs/{digest(b'none')}",         404, 404),
    Ask("r", "GET",    "tags/list",                        200, 404),
    Ask("r", "GET",    f"referrers/{M}",                   200, 200),
    Ask("w", "POST",   UP,                                 202, 202),
    Ask("w", "POST",   f"{UP}?digest={L}",                 201, 400, body=LAYER),
    Ask("w", "POST",   f"{UP}?digest={L}",                 400, 400, body=b"other"),
    Ask("w", "POST",   f"{UP}?mount={digest(b'none')}&from=public/lib", 202, 202),
    Ask("w", "POST",   f"{UP}?mount={digest(b'none')}",    202, 202),
    Ask("w", "PATCH",  "{session}",                        202, 202, body=LAYER),
    Ask("w", "GET",    "{session}",                        204, 204),
    Ask("w", "DELETE", "{session}",                        204, 204),
    Ask("w", "PUT",    "{session}?digest=" + digest(b"x"), 400, 400, body=b"other"),
    Ask("w", "GET",    UP + "0" * 36,                      404, 404),
    Ask("w", "DELETE", UP + "0" * 36,                      404, 404),
    Ask("w", "PATCH",  UP + "0" * 36,                      404, 404, body=b"x"),
    Ask("w", "PUT",    "manifests/v1",                     201, 400, MANIFEST, (AS_MANIFEST,)),
    Ask("w", "PUT",    "manifests/v2",                     400, 400, LACKING, (AS_MANIFEST,)),
    Ask("w", "PUT",    f"manifests/{M}?tag=v3",            201, 400, MANIFEST, (AS_MANIFEST,)),
    Ask("d", "DELETE", "manifests/v3",                     202, 404),
    Ask("d", "DELETE", "manifests/none",                   404, 404),
    Ask("d", "DELETE", f"manifests/{digest(b'none')}",     404, 404),
    Ask("d", "DELETE", f"blobs/{digest(SPARE)}",           202, 404),
    Ask("d", "DELETE", f"blobs/{L}",                       405, 404),
    Ask("d", "DELETE", f"manifests/{M}",                   202, 404),
]
# fmt: on


class Site:
    """A registry with content, and a way to ask as somebody."""

    def __init__(self, server: Server, send: Send) -> None:
        self.server, self._send = server, send

    def ask(
        self,
        caller: str,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> Answer:
        login = CALLERS[caller]
        fields = list(headers)
        if login is not None:
            user = NAMES.get(caller, caller)
            encoded = base64.b64encode(f"{user}:{login}".encode()).decode()
            fields.append(("Authorization", f"Basic {encoded}"))
        chunks = None if body is None else [body]
        return self._send(Exchange(method, target, fields, chunks, False))

    def fill(self, repo: str) -> None:
        for content in (LAYER, CONFIG, SPARE):
            target = f"/v2/{repo}/{UP}?digest={digest(content)}"
            assert self.ask("alice", "POST", target, content).status == 201
        documents = ((MANIFEST, "v1"), (MANIFEST, "v3"), (REFERRER, digest(REFERRER)))
        for content, reference in documents:
            kind = json.loads(content)["mediaType"]
            target = f"/v2/{repo}/manifests/{reference}"
            answer = self.ask("alice", "PUT", target, content, (("Content-Type", kind),))
            assert answer.status == 201

    def run(self, caller: str, repo: str, ask: Ask) -> Answer:
        target = ask.target
        if "{session}" in target:
            opened = self.ask("alice", "POST", f"/v2/{repo}/{UP}")
            target = target.replace("{session}", dict(opened.headers)["location"])
        elif not target.startswith("/"):
            target = f"/v2/{repo}/{target}"
        return self.ask(caller, ask.method, target, ask.body, ask.headers)


@pytest.fixture(scope="module", params=[1, 2])
def site(request, tmp_path_factory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("rights")
    users = folder / "users"
    hashes = {name: hash_password(word.encode(), 4) for name, word in PASSWORDS.items()}
    users.write_text("".join(f"{name}:{hashed}\n" for name, hashed in hashes.items()))
    access = folder / "access.toml"
    access.write_text(ACCESS)
    store = ["--root", str(folder / "root"), "--workers", str(request.param), "--no-sync"]
    flags = ("--htpasswd", str(users), "--access", str(access), "--log", "off", "--no-metrics")
    with serving(*flags, store=store) as server, to_url(server.url) as send:
        made = Site(server, send)
        for repo in REPOS:
            if repo and repo not in ABSENT:
                made.fill(repo)
        yield made


def expected(caller: str, repo: str, ask: Ask) -> int:
    may = MAY[caller][REPOS.index(repo)]
    if may == 401:
        return 401
    if ask.right in may:
        return ask.absent if repo in ABSENT else ask.there
    return 401 if caller == "nobody" else 403


def error_of(answer: Answer) -> dict[str, object]:
    return json.loads(answer.body)["errors"][0]


@covers("OW-160", "OW-164", "BR-120", "OW-109")
@pytest.mark.parametrize("repo", REPOS)
@pytest.mark.parametrize("caller", CALLERS)
def test_the_table(site, caller, repo):
    rows = IN_A_REPOSITORY if repo else AT_ROOT
    wrong = []
    for ask in rows:
        if repo in ABSENT and ask.target == f"{UP}?digest={L}" and ask.body == LAYER:
            continue  # it would make the repository
        answer, wanted = site.run(caller, repo, ask), expected(caller, repo, ask)
        headers = dict(answer.headers)
        if answer.status != wanted:
            wrong.append(f"{ask.method} {ask.target}: {answer.status}, want {wanted}")
        # A refusal with a challenge, or none; nothing else is in it.
        assert ("www-authenticate" in headers) == (answer.status == 401)
        if answer.status in (401, 403):
            assert headers.keys() <= {
                *("content-type", "content-length", "docker-distribution-api-version", "server"),
                *("date", "x-request-id", "www-authenticate", "connection"),
            }
            if ask.method != "HEAD":
                code = {401: "UNAUTHORIZED", 403: "DENIED"}[answer.status]
                assert error_of(answer)["code"] == code
        if wanted < 300 and ask.right == "d":
            site.fill(repo)
    assert wrong == []


def test_the_table_is_as_long_as_it_should_be():
    rows = len(CALLERS) * ((len(REPOS) - 1) * len(IN_A_REPOSITORY) + len(AT_ROOT))
    assert rows >= 200


def without_what_differs_anyway(answer: Answer, repo: str) -> tuple[object, ...]:
    def same(text: str) -> str:
        text = re.sub("[0-9a-f]{8}-[0-9a-f-]{27}", "SESSION", text)
        return text.replace(repo, "REPO")

    headers = [
        (key, same(value)) for key, value in answer.headers if key not in ("date", "x-request-id")
    ]
    return answer.status, headers, same(answer.body.decode())


@covers("OW-164", "BR-120")
@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("pair", [("team/app", "team/nil"), ("secret/box", "secret/nil")])
def test_a_refusal_tells_nothing_of_what_there_is(site, caller, pair):
    compared = 0
    for ask in IN_A_REPOSITORY:
        statuses = [expected(caller, repo, ask) for repo in pair]
        if statuses[0] not in (401, 403) or "{session}" in ask.target:
            continue
        one, other = (without_what_differs_anyway(site.run(caller, r, ask), r) for r in pair)
        assert one == other
        compared += 1
    assert compared or caller == "alice"


@covers("OW-164")
def test_a_session_of_another_is_refused_like_one_that_is_not(site):
    location = dict(site.ask("alice", "POST", f"/v2/secret/box/{UP}").headers)["location"]
    for method in ("GET", "DELETE", "PATCH"):
        answers = [
            without_what_differs_anyway(site.ask("ci", method, target), "secret/box")
            for target in (location, f"/v2/secret/box/{UP}{'0' * 36}")
        ]
        assert answers[0] == answers[1]
        assert answers[0][0] == 403
    assert site.ask("alice", "GET", location).status == 204


# ---- what looks at several repositories


@covers("OW-140")
def test_a_mount_reads_its_source(site):
    content = b"only in the secret box"
    target = f"/v2/secret/box/{UP}?digest={digest(content)}"
    assert site.ask("alice", "POST", target, content).status == 201
    rows = [
        # caller,  digest,          ?from=,        status
        ("alice", digest(content), "secret/box", 201),
        ("alice", digest(content), None, 201),
        ("ci", digest(content), "secret/box", 202),
        ("ci", digest(content), "secret/nil", 202),
        ("ci", digest(content), None, 202),
        ("ci", digest(b"none"), "secret/box", 202),
        ("ci", L, "team/app", 201),
        ("ci", L, "public/lib", 202),  # open to those who are not logged in
        ("ci", L, "team/top", 202),
        ("ci", L, None, 201),
        ("robot", L, "team/app", 202),
        ("robot", L, None, 202),
    ]
    for number, (caller, wanted, source, status) in enumerate(rows):
        # Into repositories of its own, so that no row finds what another has mounted.
        repo = f"team/mount{number}"
        target = f"/v2/{repo}/{UP}?mount={wanted}" + (f"&from={source}" if source else "")
        answer = site.ask(caller, "POST", target)
        assert (number, answer.status) == (number, status)
        there = site.ask("alice", "HEAD", f"/v2/{repo}/blobs/{wanted}").status
        assert there == (200 if status == 201 else 404)


@covers("OW-140")
def test_a_mount_that_is_refused_looks_like_one_without_source(site):
    def mount(source):
        target = f"/v2/team/app/{UP}?mount={digest(CONFIG)}"
        answer = site.ask("robot", "POST", target + source)
        return without_what_differs_anyway(answer, "team/app")

    # There, not there, no such repository, may not be read, no name at all.
    sources = ("secret/box", "secret/nil", "team/top", "no/such", "team/app")
    assert len({repr(mount(f"&from={source}")) for source in sources}) == 1
    assert mount("&from=secret/box") == mount("")


def pages(site, caller, n):
    """The names of each page, and all that the answers say."""
    target, found, said = f"/v2/_catalog?n={n}", [], ""
    while target:
        answer = site.ask(caller, "GET", target)
        assert answer.status == 200
        found.append(json.loads(answer.body)["repositories"])
        link = dict(answer.headers).get("link", "")
        said += f"{without_what_differs_anyway(answer, 'REPO')}"
        target = link.partition("<")[2].partition(">")[0]
    return found, said


@covers("OW-143")
def test_the_catalog_names_nothing_hidden(site):
    hidden = [f"secret/{a}{b}" for a in "abc" for b in "abc"] + ["aaa", "zzz", "team.secret"]
    shown = ["team/c1", "team/c2", "team/c3", "team/c4"]
    for repo in hidden + shown:
        document = b'{"schemaVersion":2,"manifests":[]}'
        target = f"/v2/{repo}/manifests/v1"
        kind = (("Content-Type", IMAGE_INDEX),)
        assert site.ask("alice", "PUT", target, document, kind).status == 201
    everything = [repo for repo in [*REPOS, *hidden, *shown] if repo and repo not in ABSENT]
    for caller in ("alice", "bob", "ci", "robot", "carol"):
        may = [
            repo
            for repo in sorted(everything)
            if caller == "alice"
            or (caller != "robot" and repo.startswith("team/") and repo != "team/top")
        ]
        for n in (1, 2, 3, 5, 100):
            found, said = pages(site, caller, n)
            assert [name for page in found for name in page] == may
            assert all(len(page) == n for page in found[:-1])
            for repo in set(everything) - set(may):
                assert repo not in said
                assert repo.replace("/", "%2F") not in said


@covers("OW-164")
def test_referrers_of_another_repository_are_not_told(site):
    answer = site.ask("bob", "GET", f"/v2/team/c9/referrers/{M}")
    assert (answer.status, json.loads(answer.body)["manifests"]) == (200, [])


# ---- before there is a body, or an operation


def test_a_refused_body_is_not_read(site):
    for who, status in (("Basic eDp5", 401), (None, 401)):
        with socket.create_connection(("127.0.0.1", site.server.port), 20) as connection:
            lines = [
                f"POST /v2/team/app/{UP}?digest={L} HTTP/1.1",
                "Host: x",
                "Content-Length: 1000000000",
            ]
            if who:
                lines.append(f"Authorization: {who}")
            connection.sendall("\r\n".join([*lines, "", ""]).encode())
            # The answer and the end come while the body is not sent.
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
        assert answer.startswith(f"HTTP/1.1 {status} ".encode())
        assert answer.lower().count(b"connection: close") == 1


# fmt: off
UNREAD = [
    # What is no operation is answered from the request alone, whoever asks.
    ("GET",  "/v3",                    404),
    ("GET",  "/v2/secret/box",         404),
    ("GET",  "/v2/Secret/tags/list",   400),
    ("POST", "/v2/secret/box/tags/list", 405),
    ("GET",  "/v2/secret/box/blobs/x", 400),
]
# fmt: on


@pytest.mark.parametrize(("method", "target", "status"), UNREAD)
def test_what_is_no_operation_is_the_same_for_everybody(site, method, target, status):
    answers = {
        repr(without_what_differs_anyway(site.ask(caller, method, target), "REPO"))
        for caller in CALLERS
    }
    assert len(answers) == 1
    assert site.ask("nobody", method, target).status == status
