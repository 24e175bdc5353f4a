"""Real clients over HTTPS, with an authority that only they are told to trust: bytes identical."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.peers.test_clients import needs
from tests.registries import Server, serving
from wasmhold.testing.covers import covers

pytestmark = pytest.mark.peer


class Site:
    """A server with a certificate of a private authority, and a folder with a file to push."""

    def __init__(self, server: Server, authority: Authority, folder: Path) -> None:
        self.server, self.authority, self.folder = server, authority, folder
        self.content = os.urandom(3 << 20)
        (folder / "hello.wasm").write_bytes(self.content)

    @property
    def digest(self) -> str:
        return f"sha256:{hashlib.sha256(self.content).hexdigest()}"

    def run(self, *command: object, **variables: str) -> str:
        """Standard output of a program, in the folder, which is its home."""
        ran = subprocess.run(
            [str(part) for part in command],
            cwd=self.folder,
            env={**os.environ, "HOME": str(self.folder), "NO_COLOR": "1", **variables},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert ran.returncode == 0, f"{command}: {ran.stdout}{ran.stderr}"
        return ran.stdout

    def push_by_oras(self, repo: str) -> str:
        place = f"{self.server.host}/{repo}:1.0"
        told = ("oras", "push", "--ca-file", self.authority.file, place)
        self.run(*told, "hello.wasm:application/wasm")
        return place


@pytest.fixture
def site(tmp_path):
    authority = Authority(tmp_path)
    chain, key = authority.files()
    with serving("--log", "off", "--tls-cert", str(chain), "--tls-key", str(key)) as server:
        yield Site(server, authority, tmp_path)


@covers("BR-092")
@needs("oras")
def test_oras(site):
    place = site.push_by_oras("tls/oras")
    site.run("oras", "pull", "--ca-file", site.authority.file, "-o", "got", place)
    assert (site.folder / "got/hello.wasm").read_bytes() == site.content


@covers("BR-092")
@needs("crane", "oras")
def test_crane(site):
    place = site.push_by_oras("tls/crane")
    trust = {"SSL_CERT_FILE": str(site.authority.file)}
    again = f"{site.server.host}/tls/again:1.0"
    site.run("crane", "copy", place, again, **trust)
    assert site.digest in site.run("crane", "manifest", again, **trust)
    site.run("sh", "-c", f"crane blob {again}@{site.digest} > got", **trust)
    assert (site.folder / "got").read_bytes() == site.content


@covers("BR-092")
@needs("regctl")
def test_regctl(site):
    host, place = site.server.host, f"{site.server.host}/tls/regctl:1.0"
    site.run("regctl", "registry", "set", host, "--cacert", site.authority.file.read_text())
    kinds = ("--artifact-type", "application/x", "--file-media-type", "application/wasm")
    site.run("regctl", "artifact", "put", *kinds, "-f", "hello.wasm", place)
    site.run("sh", "-c", f"regctl artifact get {place} > got")
    assert (site.folder / "got").read_bytes() == site.content


@covers("BR-092")
@needs("skopeo", "oras")
def test_skopeo(site):
    place = site.push_by_oras("tls/skopeo")
    trusted = site.folder / "certs"
    trusted.mkdir()
    (trusted / "ca.crt").write_bytes(site.authority.file.read_bytes())
    again = f"docker://{site.server.host}/tls/again:1.0"
    both = ("--src-cert-dir", trusted, "--dest-cert-dir", trusted)
    site.run("skopeo", "copy", "--preserve-digests", *both, f"docker://{place}", again)
    one = ("skopeo", "inspect", "--raw", "--cert-dir", trusted)
    assert site.digest in site.run(*one, again)


@covers("BR-092")
@needs("curl")
def test_curl(site):
    blobs = f"{site.server.url}v2/tls/curl/blobs"
    told = ("curl", "-sS", "--fail", "--http2", "--cacert", site.authority.file)
    kind = ("-H", "Content-Type: application/octet-stream", "--data-binary", "@hello.wasm")
    version = ("-o", "got", "-w", "%{http_version}")
    assert site.run(*told, *kind, *version, f"{blobs}/uploads/?digest={site.digest}") == "2"
    assert site.run(*told, *version, f"{blobs}/{site.digest}") == "2"
    assert (site.folder / "got").read_bytes() == site.content
