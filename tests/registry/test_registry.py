"""What the registry owes beside HTTP: bodies are closed, foreign places are refused, rules hold."""

from __future__ import annotations

import pytest

from tests.registries import application
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import (
    BlobUnknown,
    Denied,
    DigestMismatch,
    ManifestTooLarge,
    NameUnknown,
    SizeInvalid,
    UploadUnknown,
)
from wasmhold.ports.actor import ANYBODY
from wasmhold.ports.body import BytesBody
from wasmhold.ports.runtime import run
from wasmhold.protocol import operations as op
from wasmhold.registry import Settings
from wasmhold.testing.covers import covers
from wasmhold.testing.senders import Watched

D = Digest.of(b"hello")


def perform(registry, operation, content=b"", size=None):
    body = Watched(BytesBody(content), len(content) if size is None else size)
    return run(registry.perform(ANYBODY, operation, body))


@covers("BR-020", "BR-077", "BR-089", "BR-026")
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("way", ["post", "put", "patch"])
def test_no_way_in_without_the_right_digest(algorithm, way):
    registry = application().registry
    wrong = Digest.of(b"other", algorithm)
    with pytest.raises(DigestMismatch) as caught:
        if way == "post":
            perform(registry, op.PushBlob("a", wrong), b"hello")
        else:
            at = perform(registry, op.StartUpload("a")).at
            if way == "patch":
                perform(registry, op.AppendChunk(at), b"hello")
            perform(registry, op.CommitUpload(at, wrong), b"hello" if way == "put" else b"")
    assert caught.value.actual == str(Digest.of(b"hello", algorithm))
    for digest in (wrong, Digest.of(b"hello", algorithm)):
        with pytest.raises(BlobUnknown):
            perform(registry, op.GetBlob("a", digest))


@covers("BR-108")
def test_a_single_post_that_fails_leaves_no_session():
    registry = application().registry
    with pytest.raises(DigestMismatch):
        perform(registry, op.PushBlob("a", D), b"other")
    bucket = registry.store._cells.bucket
    assert not bucket._data
    registry = application().registry
    perform(registry, op.PushBlob("a", D), b"hello")
    perform(registry, op.MountBlob("b", D, "a"))
    perform(registry, op.PushBlob("c", D), b"hello")
    assert [size for _, size, _ in registry.store._cells.bucket._data.values()] == [5]


def test_the_length_that_was_promised_is_kept():
    registry = application().registry
    at = perform(registry, op.StartUpload("a")).at
    for content in (b"hell", b"hello!"):
        with pytest.raises(SizeInvalid):
            perform(registry, op.AppendChunk(at, 0, 5), content)
    assert perform(registry, op.GetUpload(at)).offset == 0
    assert perform(registry, op.AppendChunk(at, 0, 5), b"hello").offset == 5


def test_a_place_of_another_registry_is_no_session_here():
    with pytest.raises(UploadUnknown):
        perform(application().registry, op.GetUpload(op.RemoteLocation("/x")))


@covers("DS-067", "OW-115")
def test_a_manifest_is_measured_before_and_while_it_comes():
    registry = application(["manifest-limit=10"]).registry
    put = op.PutManifest("a", "v1")
    for content, size in ((b"x", 11), (b"x" * 11, None), (b"x" * 11, 5)):
        body = Watched(BytesBody(content), size)
        with pytest.raises(ManifestTooLarge):
            run(registry.perform(ANYBODY, put, body))


@covers("OW-129", "DS-080")
def test_an_unknown_name_is_told_as_such():
    with pytest.raises(NameUnknown) as caught:
        perform(application().registry, op.ListTags("nobody/here"))
    (entry,) = caught.value.entries()
    assert (entry.code, entry.message) == ("NAME_UNKNOWN", "there is no repository nobody/here")


def test_settings_are_checked_when_made():
    with pytest.raises(ValueError, match="manifest_limit"):
        Settings(manifest_limit=0)
    settings = Settings(immutable_tags=("v*", "release-?"))
    for tag in ("v1", "release-2"):
        with pytest.raises(Denied):
            settings.check_tag(tag, D, None)
        settings.check_tag(tag, D, D)
        settings.check_tag(tag, None, D)
    settings.check_tag("latest", D, None)
