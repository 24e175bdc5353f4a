"""Errors by the names of zlayer-registry: what they are, and what they carry."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

import wasmhold
from tests.image.hub import hub
from wasmhold.image.manifests import runtime_marker
from wasmhold.image.push_errors import (
    AuthenticationFailed,
    BlobUploadFailed,
    ManifestUploadFailed,
    NetworkError,
    PushError,
    PushReferenceInvalid,
    push_errors,
)
from wasmhold.oci import errors
from wasmhold.oci.digest import Digest
from wasmhold.oci.manifest import Manifest
from wasmhold.protocol.errors import RemoteError
from wasmhold.sync import ImagePuller
from wasmhold.testing.covers import covers

ROOT = Path(__file__).parents[2]

# fmt: off
NAMES = {
    "RegistryError": errors.WasmholdError, "NotFound": errors.NotFound,
    "AuthFailed": errors.AuthFailed, "PullCancelled": errors.Cancelled,
    "DigestMismatch": errors.DigestMismatch, "SizeMismatch": errors.SizeInvalid,
    "InvalidReference": errors.InputError, "InvalidDigest": errors.DigestInvalid,
    "NotWasm": errors.NotWasm, "InvalidWasm": errors.WasmInvalid,
    "UnsupportedManifest": errors.UnsupportedManifest, "RemoteError": RemoteError,
}
# fmt: on


@covers("ZL-007")
@pytest.mark.parametrize(("name", "error"), NAMES.items())
def test_there_is_one_tree(name, error):
    assert getattr(wasmhold, name) is error
    assert issubclass(error, wasmhold.RegistryError)


@covers("ZL-007")
def test_every_error_that_is_imported_from_wasmhold_is_in_the_tree():
    found = [getattr(wasmhold, name) for names in wasmhold._NAMES.values() for name in names]
    kinds = [one for one in found if isinstance(one, type) and issubclass(one, Exception)]
    assert len(kinds) > 15
    assert all(issubclass(kind, wasmhold.RegistryError) for kind in kinds)


BLOB = Digest.of(b"blob")
# fmt: off
CAUSES = [
    # what was raised,                                    about,  what it becomes,       its field
    (errors.AuthFailed("host", "no login", 401),          BLOB,   AuthenticationFailed,  "registry"),
    (errors.Denied("not you"),                            None,   AuthenticationFailed,  "registry"),
    (errors.Unreachable("host", "it is down"),            BLOB,   NetworkError,          "reason"),
    (errors.NameInvalid("must be lower case", "A/B"),     None,   PushReferenceInvalid,  "reference"),
    (RemoteError(500, [], None),                          BLOB,   BlobUploadFailed,      "digest"),
    (errors.DigestMismatch("a", "b"),                     BLOB,   BlobUploadFailed,      "digest"),
    (RemoteError(400, [], None),                          None,   ManifestUploadFailed,  "reason"),
]
# fmt: on


@covers("ZL-010")
@pytest.mark.parametrize(("cause", "blob", "kind", "field"), CAUSES)
def test_what_a_push_error_says(cause, blob, kind, field):
    with pytest.raises(PushError) as caught, push_errors("host", blob):
        raise cause
    error = caught.value
    assert type(error) is kind
    assert error.__cause__ is error.cause is cause
    assert error.reason == str(cause)
    assert str(cause) in str(error)
    assert error.retryable is cause.retryable
    assert [entry.code for entry in error.entries()] == [entry.code for entry in cause.entries()]
    wanted = {"registry": "host", "digest": BLOB, "reference": "A/B", "reason": str(cause)}[field]
    assert getattr(error, field) == wanted


@covers("ZL-010")
def test_a_push_that_is_cancelled_is_no_push_error():
    with pytest.raises(errors.Cancelled), push_errors("host"):
        raise errors.Cancelled


@covers("ZL-008", "ZL-058")
@pytest.mark.parametrize("text", ["alpine", "ghcr.io/team/app:1", "Alpine", "a@sha256:0"])
def test_no_error_says_unknown_for_a_registry(text, monkeypatch):
    from tests.image.hub import routed

    with (
        routed(monkeypatch),
        ImagePuller() as puller,
        pytest.raises(wasmhold.RegistryError) as caught,
    ):
        puller.pull(text)
    assert "unknown" not in str(caught.value).replace("unknown digest", "")


@covers("ZL-105")
def test_a_refused_token_says_why():
    with hub(auth="bearer") as made, ImagePuller() as puller:
        with pytest.raises(wasmhold.AuthFailed) as caught:
            puller.pull(f"{made.host}/app:v1", wasmhold.RegistryAuth.Basic("test", "wrong"))
        assert caught.value.answer_status == 401
        assert "token server" in caught.value.reason


@covers("ZL-011")
def test_the_runtime_that_an_image_wants():
    marked = Manifest("a/b", annotations={"com.zlayer.runtime": "vz", "mine": "other"})
    assert runtime_marker(marked) == "vz"
    assert runtime_marker(marked, key="mine") == "other"
    assert runtime_marker(Manifest("a/b")) is None


@covers("ZL-014")
def test_the_licence():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text("utf-8")
