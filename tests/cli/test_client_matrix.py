"""Who gets in, by real commands: outcome, exit status, message; and no secret in any output."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest

from tests.cli.program import done, wasmhold
from tests.client.remotes import needs, olareg
from wasmhold.auth.htpasswd import hash_password
from wasmhold.testing.covers import covers
from wasmhold.testing.proxy import Proxy
from wasmhold.testing.registry import Registry

USERS = {"me": "s3cret-me", "reader": "s3cret-reader"}
DENIED, ALLOWED = 4, 0


def login(user, password):
    return base64.b64encode(f"{user}:{password}".encode()).decode()


SECRETS = (
    "s3cret",
    *(login(user, word) for user, word in (*USERS.items(), ("me", "wr0ng-s3cret"))),
)


class Giver:
    """Ways to give a login: each method gives flags, standard input and variables."""

    def __init__(self, registry, folder):
        self.registry, self.folder = registry, folder

    def config(self, document):
        (self.folder / "config.json").write_text(json.dumps(document))
        return [], b"", {"DOCKER_CONFIG": str(self.folder)}

    def nothing(self, _):
        return [], b"", {}

    def flags(self, who):
        user, _, password = who.partition(":")
        return ["--username", user, "--password-stdin"], f"{password}\n".encode(), {}

    def variables(self, who):
        user, _, password = who.partition(":")
        return [], b"", {"WASMHOLD_USERNAME": user, "WASMHOLD_PASSWORD": password}

    def file(self, who):
        return self.config({"auths": {self.registry.host: {"auth": login(*who.split(":"))}}})

    def helper(self, who):
        user, _, password = who.partition(":")
        program = self.folder / "docker-credential-here"
        program.write_text(f'#!/bin/sh\necho \'{{"Username":"{user}","Secret":"{password}"}}\'\n')
        program.chmod(0o755)
        flags, given, variables = self.config({"credHelpers": {self.registry.host: "here"}})
        return flags, given, {**variables, "PATH": f"{self.folder}:{os.environ['PATH']}"}

    def no_helper(self, _):
        return self.config({"credsStore": "that-is-missing"})

    def identity(self, who):
        token = self.registry.identity_token(who) if who in USERS else "s3cret-identity"
        entry = {"auth": login("00000000-0000-0000-0000-000000000000", ""), "identitytoken": token}
        return self.config({"auths": {self.registry.host: entry}})


ME, READER, WRONG = "me:s3cret-me", "reader:s3cret-reader", "me:wr0ng-s3cret"

# fmt: off
MATRIX = [
    # registry,        given by,    login,    pull,    push,    what is said of what is refused
    ("none",           "nothing",   None,     ALLOWED, ALLOWED, None),
    ("none",           "flags",     ME,       ALLOWED, ALLOWED, None),
    ("anonymous-pull", "nothing",   None,     ALLOWED, DENIED,  "there are no credentials for it: UNAUTHORIZED: log in first"),
    ("anonymous-pull", "no_helper", None,     ALLOWED, DENIED,  "docker-credential-that-is-missing"),
    ("anonymous-pull", "file",      ME,       ALLOWED, ALLOWED, None),
    ("basic",          "nothing",   None,     DENIED,  DENIED,  "there are no credentials for it"),
    ("basic",          "flags",     ME,       ALLOWED, ALLOWED, None),
    ("basic",          "variables", ME,       ALLOWED, ALLOWED, None),
    ("basic",          "file",      ME,       ALLOWED, ALLOWED, None),
    ("basic",          "helper",    ME,       ALLOWED, ALLOWED, None),
    ("basic",          "flags",     WRONG,    DENIED,  DENIED,  "wrong user name or password"),
    ("basic",          "file",      WRONG,    DENIED,  DENIED,  "wrong user name or password"),
    ("basic",          "helper",    WRONG,    DENIED,  DENIED,  "wrong user name or password"),
    ("basic",          "identity",  "me",     DENIED,  DENIED,  "there is an identity token alone"),
    ("basic",          "file",      READER,   ALLOWED, DENIED,  "not allowed: DENIED: reader may not write in the repository demo/app"),
    ("bearer",         "nothing",   None,     DENIED,  DENIED,  "there are no credentials for it"),
    ("bearer",         "flags",     ME,       ALLOWED, ALLOWED, None),
    ("bearer",         "variables", ME,       ALLOWED, ALLOWED, None),
    ("bearer",         "file",      ME,       ALLOWED, ALLOWED, None),
    ("bearer",         "helper",    ME,       ALLOWED, ALLOWED, None),
    ("bearer",         "identity",  "me",     ALLOWED, ALLOWED, None),
    ("bearer",         "identity",  "reader", ALLOWED, DENIED,  "credentials for it are not enough: UNAUTHORIZED: the token is not for this"),
    ("bearer",         "identity",  "nobody", DENIED,  DENIED,  "answered 401: this identity token is not valid"),
    ("bearer",         "flags",     WRONG,    DENIED,  DENIED,  "answered 401: incorrect username or password"),
    ("bearer",         "helper",    WRONG,    DENIED,  DENIED,  "answered 401: incorrect username or password"),
    ("bearer",         "file",      READER,   ALLOWED, DENIED,  "credentials for it are not enough: UNAUTHORIZED: the token is not for this"),
    ("expired-token",  "flags",     ME,       DENIED,  DENIED,  "not enough: UNAUTHORIZED: the token is not valid"),
    ("expired-token",  "identity",  "me",     DENIED,  DENIED,  "not enough: UNAUTHORIZED: the token is not valid"),
    ("deny-all",       "nothing",   None,     DENIED,  DENIED,  "not allowed: DENIED: "),
    ("deny-all",       "file",      ME,       DENIED,  DENIED,  "not allowed: DENIED: "),
]
# fmt: on


@pytest.fixture(scope="module")
def registry():
    with Registry(users=USERS, readers=["reader"]) as made:
        yield made


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("app.txt").write_text("content")
    return tmp_path


@covers("OW-191", "ZL-102", "ZL-103", "ZL-105", "ZL-106", "ZL-110")
@pytest.mark.parametrize(("mode", "way", "who", "pull", "push", "said"), MATRIX)
def test_matrix(mode, way, who, pull, push, said, registry, here):
    place = f"{registry.host}/demo/app:v1"
    registry.auth = "none"
    done("push", "app.txt", place)
    # What is there already is not pushed again.
    Path("app.txt").write_text(f"new, {mode} {way} {who}")
    registry.auth = mode
    options, given, variables = getattr(Giver(registry, here), way)(who)
    heard = ""
    for status, command in (
        (pull, ["pull", place, "-o", "out/"]),
        (push, ["push", "app.txt", place + "2"]),
    ):
        ran = wasmhold(*command, "--debug", *options, given=given, variables=variables)
        assert ran.status == status, ran.err
        told = ran.out + ran.err
        assert not [secret for secret in SECRETS if secret in told]
        assert "Bearer " not in told
        heard += told
        if status == DENIED:
            assert "error: " in ran.err
            assert "hint: log in with `wasmhold login HOST`, or with docker" in ran.err
        else:
            assert "Traceback" not in told
    assert said is None or said in heard
    assert DENIED in (pull, push) or said is None


# fmt: off
ORDER = [
    # by flags, by variables, by the file, status
    (ME,        WRONG,        WRONG,       ALLOWED),
    (WRONG,     ME,           ME,          DENIED),
    (None,      ME,           WRONG,       ALLOWED),
    (None,      WRONG,        ME,          DENIED),
    (None,      None,         ME,          ALLOWED),
]
# fmt: on


@covers("ZL-112")
@pytest.mark.parametrize(("by_flags", "by_variables", "by_file", "status"), ORDER)
def test_flags_go_before_variables_and_those_before_files(
    by_flags, by_variables, by_file, status, registry, here
):
    registry.auth = "none"
    done("push", "app.txt", f"{registry.host}/demo/app:v1")
    registry.auth = "basic"
    giver = Giver(registry, here)
    options, given, _ = giver.flags(by_flags) if by_flags else ([], b"", {})
    variables = {
        **giver.file(by_file)[2],
        **(giver.variables(by_variables)[2] if by_variables else {}),
    }
    ran = wasmhold(
        "resolve", f"{registry.host}/demo/app:v1", *options, given=given, variables=variables
    )
    assert ran.status == status, ran.err


@covers("ZL-107")
@pytest.mark.parametrize("mode", ["basic", "bearer"])
def test_a_redirect_to_another_host_takes_no_credentials_along(mode, registry, here):
    registry.auth = "none"
    with (
        Proxy(registry.host) as elsewhere,
        Proxy(elsewhere.host, [("blob-get", "redirect")]) as proxy,
    ):
        done("push", "app.txt", f"{proxy.host}/demo/app:v1")
        registry.auth = mode
        flags = ["--username", "me", "--password-stdin", "--debug"]
        ran = wasmhold(
            "pull", f"{proxy.host}/demo/app:v1", "-o", "out/", *flags, given=b"s3cret-me"
        )
        # It gets there without them, and the registry there wants a login.
        assert ran.status == DENIED
        assert not [secret for secret in SECRETS if secret in ran.out + ran.err]
        redirected = [p for p in elsewhere.passed("blob-get") if p.fields["host"] == elsewhere.host]
        assert redirected
        assert all("authorization" not in passed.fields for passed in redirected)
        assert any("authorization" in passed.fields for passed in proxy.passed("blob-get"))


@pytest.mark.peer
@needs("olareg")
def test_olareg_with_its_own_tokens(here):
    hashed = hash_password(b"s3cret-me", 5).replace("$2b$", "$2a$")
    rules = here / "rules.yaml"
    rules.write_text(
        f'users: {{me: {{cred: "{hashed}"}}}}\n'
        'acls: [{repo: "*", members: [me], access: ["*"]},'
        ' {repo: "public/*", anonymous: true, access: [read]}]\n'
    )
    with olareg(here, "--auth-token-opaque", str(rules)) as server:
        flags = ["--username", "me", "--password-stdin", "--debug"]
        for name in ("public/app", "private/app"):
            done("push", "app.txt", f"{server.host}/{name}:v1", *flags, given=b"s3cret-me")
        # fmt: off
        outcomes = [
            # repository,    flags,  given,           status
            ("public/app",   [],     b"",             ALLOWED),
            ("private/app",  [],     b"",             DENIED),
            ("private/app",  flags,  b"s3cret-me",    ALLOWED),
            ("private/app",  flags,  b"wr0ng-s3cret", DENIED),
            ("public/app",   flags,  b"wr0ng-s3cret", DENIED),
        ]
        # fmt: on
        for name, options, given, status in outcomes:
            ran = wasmhold("resolve", f"{server.host}/{name}:v1", *options, given=given)
            assert ran.status == status, (name, ran.err)
            assert "s3cret" not in ran.out + ran.err
