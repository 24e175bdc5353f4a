"""The logins that a machine has: docker's and podman's files, and their helpers."""

from __future__ import annotations

import base64
import json
import os
import stat

import pytest

from tests.client.recording import Says, recording
from tests.client.remotes import client
from wasmhold.client.credentials import Basic, Bearer, IdentityToken, UserCredentials
from wasmhold.client.credentials.helpers import Helper, HelperFailed
from wasmhold.client.runtime import ThreadRuntime
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import AuthFailed, FileInvalid
from wasmhold.ports.runtime import run
from wasmhold.testing.covers import covers

HUB = "https://index.docker.io/v1/"


def pair(text):
    return base64.b64encode(text.encode()).decode()


def login(text):
    return {"auth": pair(text)}


class Home:
    """A user's home; `told` are the warnings."""

    def __init__(self, folder):
        self.folder, self.told = folder, []
        self.environ = {"HOME": str(folder), "PATH": str(folder / "bin")}
        (folder / "bin").mkdir()

    def file(self, path, document):
        """Write a file of logins; text as it is."""
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(document if isinstance(document, str) else json.dumps(document))
        return place

    def docker(self, document):
        return self.file(".docker/config.json", document)

    def helper(self, name, script):
        place = self.folder / "bin" / f"docker-credential-{name}"
        place.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
        place.chmod(0o755)

    def keeping(self, name):
        """A helper that keeps what it is given, each server in a file, and counts its calls."""
        kept = self.folder / f"kept-{name}"
        kept.mkdir()
        self.helper(
            name,
            f'cd {kept}; echo "$1" >> calls; input=$(cat)\n'
            "name() { echo \"$1\" | tr -c 'a-zA-Z0-9\\n' _; }\n"
            "case $1 in\n"
            'store) server=$(echo "$input" | sed \'s/.*ServerURL": "\\([^"]*\\)".*/\\1/\')\n'
            '  echo "$input" > "kept.$(name "$server")";;\n'
            'get) cat "kept.$(name "$input")" 2>/dev/null ||\n'
            '  { echo "credentials not found in native keychain"; exit 1; };;\n'
            'erase) rm "kept.$(name "$input")" 2>/dev/null ||\n'
            '  { echo "credentials not found in native keychain"; exit 1; };;\n'
            "esac",
        )
        return kept

    def credentials(self, **settings):
        return UserCredentials.load(self.environ, ThreadRuntime(), self.told.append, **settings)

    def get(self, host, path="demo/app"):
        return run(self.credentials().get(host, path))


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


ME = Basic("me", "secret")
# fmt: off
ENTRIES = [
    # an entry of auths,                                            what it is
    (login("me:secret"),                                            ME),
    (login("me:sec:ret"),                                           Basic("me", "sec:ret")),
    (login("zoë:pässword"),                                         Basic("zoë", "pässword")),
    (login("me:secret\0"),                                          ME),
    ({"username": "me", "password": "secret"},                      ME),
    ({"username": "me", "password": "secret", **login("other:x")},  ME),
    ({"username": "", "password": "", **login("me:secret")},        ME),
    ({**login("me:"), "identitytoken": "i"},                        IdentityToken("i", "me")),
    ({"identitytoken": "i"},                                        IdentityToken("i")),
    ({"registrytoken": "r"},                                        Bearer("r")),
    ({},                                                            None),
    ({"email": "me@example"},                                       None),
    ("me:secret",                                                   None),
    (login("me:"),                                                  None),
]
KEYS = [
    # keys in the file,                                 host,             path,       which one
    (["a.example"],                                     "a.example",      "x/y",      "a.example"),
    (["a.example"],                                     "b.a.example",    "x/y",      None),
    (["a.example"],                                     "a.example:5000", "x/y",      None),
    (["a.example:5000"],                                "a.example:5000", "x/y",      "a.example:5000"),
    (["https://a.example"],                             "a.example",      "x/y",      "https://a.example"),
    (["http://a.example/v1/", "https://a.example/v2/"], "a.example",      "x/y",      "https://a.example/v2/"),
    (["https://a.example", "a.example"],                "a.example",      "x/y",      "a.example"),
    (["a.example", "a.example/x", "a.example/x/y"],     "a.example",      "x/y",      "a.example/x/y"),
    (["a.example", "a.example/x"],                      "a.example",      "x/y",      "a.example/x"),
    (["a.example", "a.example/x"],                      "a.example",      "xx/y",     "a.example"),
    (["docker.io", "index.docker.io", HUB],             "docker.io",      "library/a", HUB),
    (["registry-1.docker.io", "docker.io", "index.docker.io"], "docker.io", "a",      "index.docker.io"),
    (["registry-1.docker.io", "docker.io"],             "index.docker.io", "a",       "docker.io"),
    (["registry-1.docker.io"],                          "docker.io",      "a",        "registry-1.docker.io"),
    (["docker.io", "docker.io/me"],                     "docker.io",      "me/a",     "docker.io/me"),
]
# fmt: on


@covers("ZL-110", "WL-010", "WO-055")
@pytest.mark.parametrize(("entry", "auth"), ENTRIES)
def test_entries(home, entry, auth):
    home.docker({"auths": {"a.example": entry}})
    assert home.get("a.example") == auth
    assert home.told == []


@covers("ZL-051", "ZL-110", "WO-056", "WO-057")
@pytest.mark.parametrize(("keys", "host", "path", "found"), KEYS)
def test_keys(home, keys, host, path, found):
    home.docker({"auths": {key: login(f"{key.replace(':', '_')}:x") for key in keys}})
    wanted = None if found is None else Basic(found.replace(":", "_"), "x")
    assert home.get(host, path) == wanted


@covers("ZL-110", "WO-064")
def test_files_are_asked_in_order(home):
    home.environ["XDG_RUNTIME_DIR"] = str(home.folder / "run")
    assert home.get("a.example") is None
    places = [
        ".config/containers/auth.json",
        "run/containers/auth.json",
        ".docker/config.json",
    ]
    for place in places:
        home.file(place, {"auths": {"a.example": login(f"{place}:x")}})
        assert home.get("a.example") == Basic(place, "x")
    home.environ["DOCKER_CONFIG"] = str(home.folder / "elsewhere")
    assert home.get("a.example") == Basic("run/containers/auth.json", "x")
    home.file("elsewhere/config.json", {"auths": {"a.example": login("docker:x")}})
    assert home.get("a.example") == Basic("docker", "x")
    home.environ["REGISTRY_AUTH_FILE"] = str(home.folder / "podman.json")
    home.file("podman.json", {"auths": {"a.example": login("podman:x")}})
    assert home.get("a.example") == Basic("podman", "x")
    named = home.credentials(file=str(home.folder / "run/containers/auth.json"))
    assert run(named.get("a.example", "x")) == Basic("run/containers/auth.json", "x")


# fmt: off
BROKEN = [
    # the file,                                                 what is said
    ('{"auths": {',                                             "line 1: not JSON"),
    ('{\n\n"auths": {]}',                                       "line 3: not JSON"),
    ("[]",                                                      "not a JSON object"),
    ("\udcff",                                                  "not JSON in UTF-8"),
    ("[" * 100_000,                                             "not JSON"),
    ('{"auths": {"a.example": {"auth": "c2VjcmV0"}}}',          "auths.a.example.auth: is not base64 of user:password"),
    ('{"auths": {"a.example": {"auth": "s e c r e t"}}}',       "auths.a.example.auth: is not base64"),
]
# fmt: on


@covers("ZL-110", "WO-061", "WK-171")
@pytest.mark.parametrize(("text", "said"), BROKEN)
def test_a_broken_file_is_told_and_counts_for_nothing(home, text, said):
    place = home.folder / ".docker/config.json"
    place.parent.mkdir()
    place.write_bytes(text.encode(errors="surrogateescape"))
    home.file(".config/containers/auth.json", {"auths": {"a.example": login("me:secret")}})
    assert home.get("a.example") == ME
    (told,) = home.told
    assert told.startswith(f"credentials cannot be read: {place}: ")
    assert said in told
    assert "secret" not in told
    assert "c2VjcmV0" not in told


def test_members_that_are_something_else_count_for_nothing(home):
    home.docker({"auths": [], "credHelpers": 1, "credsStore": {}})
    assert home.get("a.example") is None


@covers("WL-010", "WO-056", "WO-059", "ZL-110")
def test_helpers(home):
    home.helper(
        "one", 'echo "{\\"ServerURL\\":\\"x\\",\\"Username\\":\\"one\\",\\"Secret\\":\\"$(cat)\\"}"'
    )
    home.helper("all", 'echo "{\\"Username\\":\\"<token>\\",\\"Secret\\":\\"$(cat)\\"}"')
    home.helper("none", 'echo "Credentials not found in native keychain" ; exit 1')
    document = {
        "auths": {"c.example": login("me:secret"), "n.example": {}},
        "credHelpers": {"a.example": "one", HUB: "one", "n.example": "none"},
        "credsStore": "all",
    }
    home.docker(document)
    assert home.get("a.example") == Basic("one", "a.example")
    assert home.get("docker.io") == Basic("one", HUB)
    assert home.get("b.example") == IdentityToken("b.example")
    assert home.get("n.example") is None
    # As docker does: the store goes before the file, and the file has what the store does not know.
    assert home.get("c.example") == IdentityToken("c.example")
    home.docker({**document, "credsStore": "none"})
    assert home.get("c.example") == ME
    assert home.told == []


# fmt: off
FAILING = [
    # the helper,                                          what is said
    (None,                                                 "there is no such program on PATH"),
    ("exit 3",                                             "it ended with status 3"),
    ("echo 'no agent\n\033[31mhere' >&2; exit 1",          "no agent [31mhere"),
    ("echo on standard output; exit 1",                    "on standard output"),
    ("echo not JSON",                                      "no JSON with Username and Secret"),
    ("echo '{\"Username\": 1, \"Secret\": \"x\"}'",        "no JSON with Username and Secret"),
    ("echo '[]'",                                          "no JSON with Username and Secret"),
]
# fmt: on


@covers("WO-059", "WO-060")
@pytest.mark.parametrize(("script", "said"), FAILING)
def test_a_helper_that_fails_is_told_and_counts_for_nothing(home, script, said):
    home.docker({"credsStore": "x"})
    if script is not None:
        home.helper("x", script)
    assert home.get("a.example") is None
    (told,) = home.told
    assert told.startswith("no credentials for a.example: docker-credential-x: ")
    assert said in told


def test_a_helper_has_a_time_limit_and_a_plain_name(home):
    home.helper("slow", "exec sleep 20")
    with pytest.raises(HelperFailed, match=r"no answer within 0\.2 s"):
        Helper("slow", home.environ, 0.2).get("a.example")
    with pytest.raises(HelperFailed, match="no such program"):
        Helper("../slow", home.environ).get("a.example")


def test_a_helper_is_asked_once(home):
    kept = home.keeping("x")
    home.docker({"credsStore": "x"})
    credentials = home.credentials()
    for path in ("x/y", "z", "x/y"):
        assert run(credentials.get("a.example", path)) is None
    assert (kept / "calls").read_text().split() == ["get"]


@covers("WO-058")
def test_the_store_of_the_platform(home, monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    home.helper("secretservice", 'echo "{\\"Username\\":\\"me\\",\\"Secret\\":\\"secret\\"}"')
    assert home.get("a.example") == ME
    home.docker({})
    assert home.get("a.example") == ME
    home.docker({"auths": {"b.example": login("me:x")}})
    assert home.get("a.example") is None


@covers("WO-060")
def test_public_content_needs_no_helper(home):
    home.docker({"credsStore": "missing"})
    with client() as made:
        with recording(lambda seen: Says(200, {"Content-Length": "5"})) as server:
            repository = made.repository(server.host, credentials=home.credentials())
            assert run(repository.blob_size(Digest.of(b"hello"))) == 5
            assert home.told == []
        challenge = {"WWW-Authenticate": 'Basic realm="x"'}
        with recording(lambda seen: Says(401, challenge)) as server:
            repository = made.repository(server.host, credentials=home.credentials())
            with pytest.raises(AuthFailed, match="there are no credentials for it"):
                run(repository.blob_size(Digest.of(b"hello")))
            (told,) = home.told
            assert "docker-credential-missing" in told


# ---- login and logout


@covers("WO-065")
def test_a_login_is_kept_as_docker_keeps_it(home):
    place = home.docker(
        '{"auths": {"b.example": {"auth": "eDp5"}}, "psFormat": "ü", "proxies": {"default": {}}}'
    )
    place.chmod(0o644)
    credentials = home.credentials()
    assert run(credentials.get("a.example", "x")) is None
    assert run(credentials.store("a.example", Basic("me", "secret"))) == str(place)
    assert run(credentials.get("a.example", "x")) == ME
    assert run(credentials.store("docker.io", IdentityToken("i", "me"))) == str(place)
    assert home.get("docker.io") == IdentityToken("i", "me")
    document = json.loads(place.read_text())
    assert list(document) == ["auths", "psFormat", "proxies"]
    assert document["psFormat"] == "ü"
    assert document["auths"] == {
        "b.example": {"auth": "eDp5"},
        "a.example": {"auth": pair("me:secret")},
        HUB: {"auth": pair("me:"), "identitytoken": "i"},
    }
    assert place.read_text().startswith('{\n\t"auths": {\n\t\t')
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert os.listdir(place.parent) == ["config.json"]
    assert run(credentials.erase("a.example")) == [str(place)]
    assert run(credentials.erase("a.example")) == []
    assert home.get("a.example") is None
    assert home.get("b.example") == Basic("x", "y")


def test_a_first_login_makes_the_file(home):
    credentials = home.credentials()
    place = home.folder / ".docker/config.json"
    assert run(credentials.store("a.example", ME)) == str(place)
    assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
    assert home.get("a.example") == ME


def test_a_link_stays_a_link(home):
    real = home.file("dotfiles/docker.json", {"a": 1})
    link = home.folder / ".docker/config.json"
    link.parent.mkdir()
    link.symlink_to(real)
    run(home.credentials().store("a.example", ME))
    assert link.is_symlink()
    assert json.loads(real.read_text())["a"] == 1
    assert home.get("a.example") == ME


def test_a_broken_file_is_not_overwritten(home):
    place = home.docker("{")
    with pytest.raises(FileInvalid, match="not JSON"):
        run(home.credentials().store("a.example", ME))
    with pytest.raises(FileInvalid, match="not JSON"):
        run(home.credentials().erase("a.example"))
    assert place.read_text() == "{"


@covers("WO-065")
@pytest.mark.parametrize("auth", [ME, IdentityToken("i")])
@pytest.mark.parametrize("by", ["credsStore", "credHelpers"])
def test_a_helper_keeps_logins(home, by, auth):
    kept = home.keeping("x")
    place = home.docker({by: "x" if by == "credsStore" else {"a.example": "x"}})
    credentials = home.credentials()
    assert run(credentials.store("a.example", auth)) == "docker-credential-x"
    assert json.loads(place.read_text())["auths"] == {"a.example": {}}
    assert run(credentials.get("a.example", "x")) == auth
    assert run(credentials.erase("a.example")) == [str(place), "docker-credential-x"]
    assert run(credentials.get("a.example", "x")) is None
    assert json.loads(place.read_text())["auths"] == {}
    assert (kept / "calls").read_text().split() == ["store", "get", "erase", "get"]


def test_a_helper_that_cannot_keep_a_login_repeats_no_secret(home):
    home.docker({"credsStore": "x"})
    home.helper("x", 'echo "cannot keep $(cat)" >&2; exit 1')
    with pytest.raises(HelperFailed, match="cannot keep") as caught:
        run(home.credentials().store("a.example", Basic("me", "pa55w0rd")))
    assert "pa55w0rd" not in str(caught.value)


def test_podman_is_told_where_its_own_file_is_named(home):
    home.environ["REGISTRY_AUTH_FILE"] = str(home.folder / "auth.json")
    assert run(home.credentials().store("a.example", ME)) == str(home.folder / "auth.json")
    assert home.get("a.example") == ME
    assert not (home.folder / ".docker").exists()
