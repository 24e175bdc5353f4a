"""Real clients log in, each by its own command, with the password on standard input.

The right password: then they push and pull.  A wrong one is refused.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.registries import Server, serving
from wasmhold.auth.htpasswd import hash_password
from wasmhold.testing.covers import covers

pytestmark = pytest.mark.peer

USER, PASSWORD = "zoë", "päss:wörd with spaces"


def needs(*programs: str) -> pytest.MarkDecorator:
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not on PATH: {', '.join(missing)}")


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    users = tmp_path_factory.mktemp("logins") / "users"
    users.write_text(f"{USER}:{hash_password(PASSWORD.encode(), 5)}\n")
    with serving("--htpasswd", str(users), "--log", "off") as running:
        yield running


class Home:
    """A client's home, in which it keeps what it is told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "hello.wasm").write_bytes(b"\0asm\x0d\0\x01\0")

    def run(self, *command: object, password: str | None = None) -> tuple[int, str]:
        """Exit status, and all that is said."""
        ran = subprocess.run(
            [str(part) for part in command],
            input=password,
            cwd=self.folder,
            env={
                **{key: value for key, value in os.environ.items() if "PROXY" not in key.upper()},
                "HOME": str(self.folder),
                "DOCKER_CONFIG": str(self.folder / "docker"),
                "XDG_RUNTIME_DIR": str(self.folder),
                "REGISTRY_AUTH_FILE": str(self.folder / "auth.json"),
                "NO_COLOR": "1",
            },
            capture_output=True,
            text=True,
            timeout=60,
        )
        return ran.returncode, ran.stdout + ran.stderr

    def ok(self, *command: object, password: str | None = None) -> str:
        status, said = self.run(*command, password=password)
        assert status == 0, f"{command}: {said}"
        return said


@pytest.fixture
def home(tmp_path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def refused(tmp_path_factory) -> Home:
    """Where the wrong password is tried: a home that knows no right one."""
    return Home(tmp_path_factory.mktemp("refused"))


WRONG = ("wrong", PASSWORD[:-1], PASSWORD + "!", "x" * 100)


def docker_login(server: Server) -> tuple[str, ...]:
    return "docker", "login", "-u", USER, "--password-stdin", server.host


@covers("OW-164", "BR-006")
@needs("docker", "crane", "oras")
def test_docker(server, home, refused):
    """Its login speaks to the registry itself where no daemon runs, as here; pushing needs one.

    So crane and oras, which read the file that docker's login writes, push and pull, and what of
    docker works without a daemon looks at it.
    """
    for wrong in WRONG:
        status, said = refused.run(*docker_login(server), password=wrong)
        assert status != 0
        assert "401 Unauthorized" in said
    assert "Login Succeeded" in home.ok(*docker_login(server), password=PASSWORD)
    place = f"{server.host}/docker/hello:1"
    home.ok("oras", "push", "--plain-http", place, "hello.wasm:application/wasm")
    assert "application/wasm" in home.ok("docker", "manifest", "inspect", "--insecure", place)
    assert home.ok("crane", "digest", place).startswith("sha256:")
    status, said = refused.run("docker", "manifest", "inspect", "--insecure", place)
    assert status != 0
    assert "application/wasm" not in said
    home.ok("docker", "logout", server.host)
    assert home.run("crane", "digest", place)[0] != 0


@covers("OW-164", "BR-006")
@needs("oras")
def test_oras(server, home, refused):
    login = ("oras", "login", "--plain-http", "-u", USER, "--password-stdin", server.host)
    for wrong in WRONG:
        status, said = refused.run(*login, password=wrong)
        assert status != 0
        assert "wrong user name or password" in said
    home.ok(*login, password=PASSWORD)
    place = f"{server.host}/oras/hello:1"
    home.ok("oras", "push", "--plain-http", place, "hello.wasm:application/wasm")
    home.ok("oras", "pull", "--plain-http", "-o", "pulled", place)
    pulled = home.folder / "pulled/hello.wasm"
    assert pulled.read_bytes() == (home.folder / "hello.wasm").read_bytes()
    assert refused.run("oras", "pull", "--plain-http", place)[0] != 0


@covers("OW-164", "BR-006")
@needs("crane", "oras")
def test_crane(server, home, refused):
    """Its login asks nobody: a wrong password shows when it is used."""
    login = ("crane", "auth", "login", "--insecure", "-u", USER, "--password-stdin", server.host)
    place = f"{server.host}/crane/hello:1"
    home.ok(*login, password=PASSWORD)
    layer = home.folder / "layer.tar"
    home.ok("tar", "-cf", layer, "hello.wasm")
    home.ok("crane", "append", "-f", layer, "-t", place)
    home.ok("crane", "pull", place, "image.tar")
    copied = f"{server.host}/crane/copy:1"
    home.ok("crane", "copy", place, copied)
    assert home.ok("crane", "digest", place) == home.ok("crane", "digest", copied)
    for wrong in WRONG:
        refused.run(*login, password=wrong)
        for command in (("digest", place), ("append", "-f", layer, "-t", place)):
            status, said = refused.run("crane", *command)
            assert status != 0
            assert "UNAUTHORIZED" in said or "401" in said


@covers("OW-164", "BR-006")
@needs("regctl")
def test_regctl(server, home, refused):
    login = ("regctl", "registry", "login", "-u", USER, "--pass-stdin", server.host)
    for client in (home, refused):
        client.ok("regctl", "registry", "set", "--tls", "disabled", "--skip-check", server.host)
    for wrong in WRONG:
        status, said = refused.run(*login, password=wrong)
        assert status != 0
        assert "unauthorized" in said
    home.ok(*login, password=PASSWORD)
    place = f"{server.host}/regctl/hello:1"
    file = ("--file", "hello.wasm", "--file-media-type", "application/wasm")
    home.ok("regctl", "artifact", "put", "--artifact-type", "application/wasm", *file, place)
    home.ok("regctl", "image", "copy", place, f"{server.host}/regctl/copy:1")
    pulled = home.folder / "pulled"
    pulled.mkdir()
    home.ok("regctl", "artifact", "get", "--output", pulled, place)
    (written,) = [path for path in pulled.rglob("*") if path.is_file()]
    assert written.read_bytes() == (home.folder / "hello.wasm").read_bytes()
    assert refused.run("regctl", "manifest", "get", place)[0] != 0


@covers("OW-164", "BR-006")
@needs("skopeo", "oras")
def test_skopeo(server, home, refused):
    login = ("skopeo", "login", "--tls-verify=false", "-u", USER, "--password-stdin", server.host)
    for wrong in WRONG:
        status, said = refused.run(*login, password=wrong)
        assert status != 0
        assert "invalid username/password" in said
    home.ok(*login, password=PASSWORD)
    layout = home.folder / "layout"
    home.ok("oras", "push", "--oci-layout", f"{layout}:1", "hello.wasm:application/wasm")
    place = f"docker://{server.host}/skopeo/hello:1"
    home.ok("skopeo", "copy", "--dest-tls-verify=false", f"oci:{layout}:1", place)
    home.ok("skopeo", "copy", "--src-tls-verify=false", place, f"oci:{home.folder / 'back'}:1")
    blobs = [
        {path.name: path.read_bytes() for path in (home.folder / name).glob("blobs/sha256/*")}
        for name in ("layout", "back")
    ]
    assert blobs[0] == blobs[1]
    assert refused.run("skopeo", "inspect", "--tls-verify=false", place)[0] != 0
