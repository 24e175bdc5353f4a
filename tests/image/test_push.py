"""What a puller pushes, against a registry behind a proxy that counts and breaks."""

from __future__ import annotations

import asyncio
import io
import json
from contextlib import contextmanager

import pytest

from tests.client.test_referrers import older
from tests.image.hub import Hub, hub
from tests.wasm.binaries import COMPONENT, MODULE
from wasmhold import build_wasm_artifact
from wasmhold.artifact.writing import WasmFormat
from wasmhold.client.credentials import Basic
from wasmhold.image import ImagePuller
from wasmhold.image.blocking import ImagePuller as BlockingPuller
from wasmhold.image.events import BlobDone, BlobSkipped, BlobStarted, Done, Retry
from wasmhold.image.material import Material
from wasmhold.image.policy import Source
from wasmhold.image.push_errors import (
    AuthenticationFailed,
    BlobUploadFailed,
    ManifestUploadFailed,
    NetworkError,
    PushError,
    PushReferenceInvalid,
)
from wasmhold.image.pushing import ArtifactLayer, PushResult
from wasmhold.oci.descriptor import Descriptor
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import (
    ArtifactInvalid,
    AuthFailed,
    BlobUnknown,
    Denied,
    DigestMismatch,
    FileInvalid,
    InputError,
    ManifestBlobUnknown,
    ManifestInvalid,
    NotFound,
    Unreachable,
)
from wasmhold.oci.manifest import Manifest, parse_manifest
from wasmhold.oci.media_types import IMAGE_INDEX, IMAGE_MANIFEST
from wasmhold.ports.runtime import run
from wasmhold.protocol.errors import RemoteError
from wasmhold.sync import Client as SyncClient
from wasmhold.testing import Registry
from wasmhold.testing.covers import covers

EMPTY = "application/vnd.oci.empty.v1+json"
NO_CONFIG = Descriptor(EMPTY, Digest.of(b"{}"), 2)
CONTENT = b"what is pushed" * 10_000


@pytest.fixture(name="hub", scope="module")
def a_hub():
    with hub() as made:
        yield made


@pytest.fixture
def puller():
    with BlockingPuller() as made:
        yield made


def sha(content, algorithm="sha256"):
    return str(Digest.of(content, algorithm))


def artifact_of(*contents, **more):
    """A manifest with the empty config, as a document."""
    layers = [Descriptor("text/plain", Digest.of(one), len(one)).to_json() for one in contents]
    return {
        "schemaVersion": 2,
        "mediaType": IMAGE_MANIFEST,
        "artifactType": "application/x",
        "config": NO_CONFIG.to_json(),
        "layers": layers,
        **more,
    }


# ---- blobs


def as_file(tmp_path):
    (tmp_path / "file").write_bytes(CONTENT)
    return tmp_path / "file"


def as_pieces(tmp_path):
    return (CONTENT[at : at + 1000] for at in range(0, len(CONTENT), 1000))


async def as_async_pieces(tmp_path):
    yield CONTENT[:70_000]
    yield CONTENT[70_000:]


# fmt: off
SOURCES = {
    "bytes":        lambda tmp_path: CONTENT,
    "bytearray":    lambda tmp_path: bytearray(CONTENT),
    "memoryview":   lambda tmp_path: memoryview(CONTENT),
    "path":         as_file,
    "text":         lambda tmp_path: str(as_file(tmp_path)),
    "file":         lambda tmp_path: io.BytesIO(CONTENT),
    "iterator":     as_pieces,
    "list":         lambda tmp_path: [CONTENT[:5], b"", CONTENT[5:]],
    "async stream": as_async_pieces,
}
# fmt: on


@covers("ZL-250")
@pytest.mark.parametrize("source", SOURCES)
def test_a_blob_from_any_source(hub: Hub, puller, tmp_path, source):
    name = f"blobs/{source.replace(' ', '-')}"
    hub.asked()
    found = puller.push_blob(f"{hub.host}/{name}", SOURCES[source](tmp_path))
    assert found == Descriptor("application/octet-stream", Digest.of(CONTENT), len(CONTENT))
    assert [line.split()[0] for line in hub.asked()] == ["HEAD", "POST", "PUT"]
    assert puller.pull_blob(f"{hub.host}/{name}", found) == CONTENT


@covers("ZL-250")
def test_what_is_there_is_asked_for_and_not_sent(hub: Hub, puller):
    events = []
    for _ in range(2):
        hub.asked()
        found = puller.push_blob(f"{hub.host}/twice", b"twice", on_event=events.append)
    assert hub.asked() == ["HEAD blobs"]
    assert [type(event) for event in events[:1]] == [BlobStarted]
    assert events[-2:] == [
        BlobSkipped(found.digest, "the registry has it"),
        Done(f"{hub.host}/twice:latest"),
    ]
    assert isinstance(events[-4], BlobDone)
    assert events[-4].source is Source.LOCAL


@covers("ZL-250")
@pytest.mark.parametrize("of", ["first", "{host}/first"])
def test_a_blob_is_mounted_from_another_repository(hub: Hub, puller, of):
    content = f"mounted from {of}".encode()
    puller.push_blob(f"{hub.host}/first", content)
    hub.asked()
    name = f"mounted/{len(of)}"
    puller.push_blob(f"{hub.host}/{name}", content, mount_from=of.format(host=hub.host))
    passed = hub.proxy.passed("mount")
    assert len(passed) >= 1
    assert [line.split()[0] for line in hub.asked()] == ["HEAD", "POST"]
    assert puller.pull_blob(f"{hub.host}/{name}", sha(content)) == content
    # Nothing to mount: it is sent in the session that was opened instead, or in another.
    puller.push_blob(f"{hub.host}/{name}", b"not " + content, mount_from="none/such")
    assert puller.pull_blob(f"{hub.host}/{name}", sha(b"not " + content)) == b"not " + content


@covers("ZL-250")
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_digest_that_the_bytes_must_have(hub: Hub, puller, tmp_path, algorithm):
    where = f"{hub.host}/digests"
    hub.asked()
    for source in SOURCES.values():
        with pytest.raises(DigestMismatch) as caught:
            puller.push_blob(where, source(tmp_path), digest=sha(b"other", algorithm))
        assert caught.value.actual == sha(CONTENT, algorithm)
    assert hub.asked() == []
    found = puller.push_blob(where, CONTENT, digest=sha(CONTENT, algorithm))
    assert str(found.digest) == sha(CONTENT, algorithm)
    assert puller.push_blob(where, CONTENT, digest=found.digest) == found


@covers("ZL-250")
def test_an_upload_that_breaks_goes_on(hub: Hub, puller, tmp_path):
    content = bytes(range(256)) * 20_000
    events = []
    hub.proxy.simulate("upload-finish", "cut-request=3000000:1")
    found = puller.push_blob(f"{hub.host}/broken", io.BytesIO(content), on_event=events.append)
    hub.proxy.clear()
    assert puller.pull_blob(f"{hub.host}/broken", found) == content
    assert sum(isinstance(event, Retry) for event in events) >= 1
    kinds = [one.kind for one in hub.proxy.passed() if "broken" in one.target]
    assert "upload-status" in kinds
    sent = sum(p.sent for p in hub.proxy.passed() if "broken" in p.target)
    assert len(content) <= sent < 2 * len(content)


@covers("ZL-250")
def test_streams_under_asyncio(hub: Hub):
    """One that waits for others, and what a pull gives."""

    async def pieces():
        for at in range(0, len(CONTENT), 50_000):
            await asyncio.sleep(0)
            yield CONTENT[at : at + 50_000]

    async def work():
        async with ImagePuller() as puller:
            found = await puller.push_blob(f"{hub.host}/asyncio/one", pieces())
            async with await puller.open_blob(f"{hub.host}/asyncio/one", found) as stream:
                assert await puller.push_blob(f"{hub.host}/asyncio/two", stream) == found
            assert await puller.pull_blob(f"{hub.host}/asyncio/two", found) == CONTENT

    asyncio.run(work())


@covers("ZL-250")
def test_what_a_pull_gives_is_pushed(hub: Hub, puller):
    found = puller.push_blob(f"{hub.host}/streams/one", CONTENT)
    with puller.open_blob(f"{hub.host}/streams/one", found) as stream:
        assert puller.push_blob(f"{hub.host}/streams/two", stream) == found
    with pytest.raises(TypeError):
        puller.push_blob(f"{hub.host}/streams/two", [5])


@covers("ZL-250")
def test_no_temporary_file_stays(hub: Hub, puller, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    puller.push_blob(f"{hub.host}/streams", iter([b"a", b"b"]))

    def breaks():
        yield b"a"
        raise OSError("the disk of the caller")

    with pytest.raises(OSError, match="the disk of the caller"):
        puller.push_blob(f"{hub.host}/streams", breaks())
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileInvalid):
        puller.push_blob(f"{hub.host}/streams", tmp_path / "none")


@covers("ZL-250")
def test_a_file_that_changes_while_it_is_pushed(hub: Hub, puller, tmp_path):
    path = as_file(tmp_path)

    def changes(event):
        if isinstance(event, BlobStarted):
            path.write_bytes(CONTENT[:-1] + b"x")

    with pytest.raises(BlobUploadFailed) as caught:
        puller.push_blob(f"{hub.host}/changes", path, on_event=changes)
    assert isinstance(caught.value.__cause__, DigestMismatch)
    for content in (CONTENT, CONTENT[:-1] + b"x"):
        with pytest.raises(NotFound):
            puller.pull_blob(f"{hub.host}/changes", sha(content), policy="always")


@covers("ZL-250")
def test_a_file_that_may_not_be_read_is_no_question_of_logging_in(hub, puller, monkeypatch):
    async def blob_open(self, digest, start=0):
        raise Denied("the file belongs to somebody else")

    monkeypatch.setattr(Material, "blob_open", blob_open)
    with pytest.raises(BlobUploadFailed, match="somebody else"):
        puller.push_blob(f"{hub.host}/denied", b"what is denied")


# ---- manifests

COMPACT = json.dumps(artifact_of(b"layer"), separators=(",", ":")).encode()
SPACED = json.dumps(artifact_of(b"layer"), indent=3, sort_keys=True).encode() + b"\n"

# fmt: off
MANIFESTS = {
    # what is given,                       the bytes that are sent
    "bytes":    (SPACED,                   SPACED),
    "dict":     (artifact_of(b"layer"),    COMPACT),
    "manifest": (parse_manifest(SPACED),   COMPACT),
}
# fmt: on


@covers("ZL-251", "ZL-252")
@pytest.mark.parametrize("kind", MANIFESTS)
def test_the_digest_is_that_of_the_bytes_that_were_sent(hub: Hub, puller, kind):
    given, sent = MANIFESTS[kind]
    where = f"{hub.host}/manifests"
    for blob in (b"layer", b"{}"):
        puller.push_blob(where, blob)
    hub.asked()
    assert puller.push_manifest(f"{where}:{kind}", given) == sha(sent)
    assert {line.split()[0] for line in hub.asked()} == {"PUT"}
    for reference in (f"{where}:{kind}", f"{where}@{sha(sent)}"):
        found = puller.fetch_manifest(reference)
        assert (found.raw, str(found.digest)) == (sent, sha(sent))
    # What was pulled is pushed again, byte for byte.
    assert puller.push_manifest(f"{where}:again", found) == sha(sent)
    assert puller.fetch_manifest(f"{where}:again").raw == sent


@covers("ZL-251")
def test_a_registry_that_says_another_digest(hub: Hub, puller):
    where = f"{hub.host}/manifests"
    puller.push_blob(where, b"{}")
    hub.proxy.simulate("manifest-put", "wrong-digest")
    with pytest.raises(ManifestUploadFailed) as caught:
        puller.push_manifest(f"{where}:wrong", artifact_of())
    hub.proxy.clear()
    assert isinstance(caught.value.__cause__, DigestMismatch)


@covers("ZL-251", "ZL-259")
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_reference_with_a_digest(hub: Hub, puller, algorithm):
    where = f"{hub.host}/manifests"
    for blob in (b"layer", b"{}"):
        puller.push_blob(where, blob)
    hub.asked()
    for tag in ("", ":tagged"):
        with pytest.raises(DigestMismatch, match="the content is"):
            puller.push_manifest(f"{where}{tag}@{sha(b'other', algorithm)}", SPACED)
        with pytest.raises(DigestMismatch, match="the content is"):
            puller.push_index(
                f"{where}{tag}@{sha(b'other', algorithm)}", index_of(), children=[SPACED]
            )
    assert hub.asked() == []
    digest = sha(SPACED, algorithm)
    assert puller.push_manifest(f"{where}@{digest}", SPACED) == digest
    assert puller.push_manifest(f"{where}:{algorithm}@{digest}", SPACED) == digest
    assert str(puller.resolve(f"{where}:{algorithm}").digest) == digest


# fmt: off
NO_MANIFESTS = [
    b"no JSON",
    b"{}",
    {"schemaVersion": 1, "mediaType": IMAGE_MANIFEST, "config": NO_CONFIG.to_json()},
    Manifest(IMAGE_MANIFEST),
]
# fmt: on


@covers("ZL-252")
@pytest.mark.parametrize("manifest", NO_MANIFESTS)
def test_what_is_no_manifest_is_not_sent(hub: Hub, puller, manifest):
    hub.asked()
    with pytest.raises(ManifestInvalid):
        puller.push_manifest(f"{hub.host}/manifests:bad", manifest)
    assert hub.asked() == []


# ---- indexes


def index_of(*children, **more):
    entries = [Descriptor(IMAGE_MANIFEST, Digest.of(one), len(one)).to_json() for one in children]
    return {"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": entries, **more}


def as_bytes(document):
    return json.dumps(document).encode()


@covers("ZL-253", "ZL-257")
def test_an_index_comes_last(hub: Hub, puller, tmp_path):
    where = f"{hub.host}/indexes"
    one, two = (as_bytes(artifact_of(text)) for text in (b"one", CONTENT))
    index = as_bytes(index_of(one, two))
    hub.asked()
    digest = puller.push_index(
        f"{where}:v1", index, children=[one, two], blobs=[b"{}", b"one", as_file(tmp_path)]
    )
    assert digest == sha(index)
    asked = hub.asked()
    first_manifest = asked.index("PUT manifests")
    assert all("blobs" not in line and "uploads" not in line for line in asked[first_manifest:])
    puts = [p.target for p in hub.proxy.passed("manifest-put") if "indexes" in p.target]
    assert [put.partition("?")[0].rpartition("/")[2] for put in puts[:3]] == [
        sha(one),
        sha(two),
        sha(index),
    ]
    root = puller.fetch_root(f"{where}:v1")
    assert root.raw == index
    assert puller.fetch_child(f"{where}:v1", root, root.manifests[1]).raw == two
    # What is there need not be given.
    assert puller.push_index(f"{where}:v2", index_of(one)) == sha(as_compact(index_of(one)))


def as_compact(document):
    return json.dumps(document, separators=(",", ":")).encode()


@covers("ZL-253")
def test_what_an_index_lacks_is_named(hub: Hub, puller):
    child = as_bytes(artifact_of(b"missing"))
    with pytest.raises(ManifestUploadFailed, match=sha(child)) as caught:
        puller.push_index(f"{hub.host}/lacks:v1", index_of(child))
    assert "what is pushed" in str(caught.value)
    with pytest.raises(BlobUploadFailed) as caught:
        puller.push_index(f"{hub.host}/lacks:v1", index_of(child), children=[child], blobs=[b"{}"])
    assert str(caught.value.digest) == sha(b"missing")
    assert isinstance(caught.value.__cause__, BlobUnknown)
    assert puller.resolve(f"{hub.host}/lacks:v1") is None


# ---- artifacts


@covers("ZL-255", "ZL-257")
def test_an_artifact(hub: Hub, puller, tmp_path):
    where, events = f"{hub.host}/artifacts:v1", []
    hub.asked()
    layers = [
        ArtifactLayer(b"first", "text/plain", "first.txt"),
        ArtifactLayer(as_file(tmp_path), "application/y"),
    ]
    done = puller.push_artifact(
        where,
        artifact_type="application/x",
        layers=layers,
        annotations={"b": "2", "a": "1"},
        on_event=events.append,
    )
    sent = as_compact(
        {
            "schemaVersion": 2,
            "mediaType": IMAGE_MANIFEST,
            "artifactType": "application/x",
            "config": {"mediaType": EMPTY, "digest": sha(b"{}"), "size": 2},
            "layers": [
                {
                    "mediaType": "text/plain",
                    "digest": sha(b"first"),
                    "size": 5,
                    "annotations": {"org.opencontainers.image.title": "first.txt"},
                },
                {"mediaType": "application/y", "digest": sha(CONTENT), "size": len(CONTENT)},
            ],
            "annotations": {"a": "1", "b": "2"},
        }
    )
    blobs = (sha(b"{}"), sha(b"first"), sha(CONTENT))
    assert done == PushResult(where, sha(sent), blobs)
    asked = hub.asked()
    first_manifest = asked.index("PUT manifests")
    assert all("manifests" in line for line in asked[first_manifest:])
    assert len([line for line in asked[:first_manifest] if line.startswith("PUT")]) == 3
    assert puller.fetch_manifest(where).raw == sent
    assert {e.digest for e in events if isinstance(e, BlobDone)} == {Digest.parse(b) for b in blobs}
    # A second time nothing is sent, and of another one what is new.
    again = puller.push_artifact(
        where, artifact_type="application/x", layers=layers, annotations={"a": "1", "b": "2"}
    )
    assert again == PushResult(where, sha(sent), blobs_skipped=blobs)
    other = puller.push_artifact(
        f"{hub.host}/artifacts:v2",
        config=b"[1]",
        config_media_type="application/z",
        layers=layers[:1],
    )
    assert (other.blobs_pushed, other.blobs_skipped) == ((sha(b"[1]"),), (sha(b"first"),))
    mounted = puller.push_artifact(
        f"{hub.host}/mounting:v1",
        artifact_type="application/x",
        layers=layers[:1],
        mount_from="artifacts",
    )
    assert mounted.blobs_mounted == (sha(b"{}"), sha(b"first"))
    assert mounted.blobs_pushed == ()


@covers("ZL-255")
def test_an_artifact_without_layers_and_one_with_a_config_of_its_type(hub: Hub, puller):
    where = f"{hub.host}/artifacts:none"
    puller.push_artifact(where, artifact_type="application/x")
    found = puller.fetch_manifest(where)
    assert (found.config, found.layers) == (NO_CONFIG, (NO_CONFIG,))
    puller.push_artifact(where, config_media_type="application/z", layers=[found.layers[0]])
    found = puller.fetch_manifest(where)
    assert found.artifact_type is None
    assert found.config == Descriptor("application/z", Digest.of(b"{}"), 2)


# fmt: off
NO_ARTIFACTS = [
    ({},                                                            ArtifactInvalid, "artifact_type"),
    ({"config_media_type": EMPTY},                                  ArtifactInvalid, "artifact_type"),
    ({"artifact_type": "application/x", "config": b"1"},            ArtifactInvalid, "config_media_type"),
    ({"artifact_type": "no type"},                                  InputError,      "not a media type"),
    ({"artifact_type": "application/x", "layers": [ArtifactLayer(b"1", "text")]}, ManifestInvalid, "mediaType"),
    ({"artifact_type": "application/x", "layers": [ArtifactLayer("none", "text/plain")]}, FileInvalid, "none"),
]
# fmt: on


@covers("ZL-255")
@pytest.mark.parametrize(("what", "error", "said"), NO_ARTIFACTS)
def test_what_is_no_artifact(hub: Hub, puller, what, error, said):
    hub.asked()
    with pytest.raises(error, match=said):
        puller.push_artifact(f"{hub.host}/artifacts:bad", **what)
    assert hub.asked() == []


@contextmanager
def with_the_api():
    with Registry() as registry:
        yield None, registry


@covers("ZL-255")
@pytest.mark.parametrize("registry_of", [with_the_api, older])
def test_a_subject(puller, registry_of):
    with registry_of() as (_, registry):
        where = f"{registry.host}/subjects"
        puller.push_artifact(f"{where}:v1", artifact_type="application/x")
        subject = puller.fetch_manifest(f"{where}:v1")
        more = {"artifact_type": "application/note", "subject": subject}
        note = puller.push_artifact(f"{where}:note", **more)
        assert puller.fetch_manifest(f"{where}:note").subject == subject.here
        assert puller.push_manifest(f"{where}:again", puller.fetch_manifest(f"{where}:note"))
        fallback = f"{where}:{str(subject.digest).replace(':', '-')}"
        if registry_of is with_the_api:
            assert puller.resolve(fallback) is None
        else:
            listed = puller.fetch_root(fallback).manifests
            assert [str(one.digest) for one in listed] == [note.manifest_digest]
            assert listed[0].artifact_type == "application/note"


@covers("ZL-254", "ZL-251")
@pytest.mark.parametrize("form", ["bytes", "path"])
def test_wasm_is_pushed_as_it_was_built(hub: Hub, puller, tmp_path, form):
    """What is pushed is what was built, with all annotations: its digest is the registry's."""
    where, source = f"{hub.host}/wasm-{form}:v1", COMPONENT
    if form == "path":
        source = tmp_path / "some.wasm"
        source.write_bytes(COMPONENT)
    built = build_wasm_artifact(source, name="app", annotations={"x": "y"}, format="zlayer")
    hub.asked()
    done = puller.push_wasm(where, built)
    blobs = (built.config_digest, built.wasm_layer_digest)
    assert done == PushResult(where, built.manifest_digest, blobs)
    asked = hub.asked()
    assert asked.index("PUT manifests") > max(
        at for at, line in enumerate(asked) if "manifests" not in line
    )
    assert done.manifest_digest == str(puller.resolve(where).digest)
    by_digest = f"{hub.host}/wasm-{form}@{done.manifest_digest}"
    found = puller.fetch_manifest(by_digest)
    assert found.raw == built.manifest_json
    assert found.annotations["x"] == "y"
    content, info = puller.pull_wasm(by_digest)
    assert (content, info.module_name) == (COMPONENT, "app.wasm")
    assert puller.push_wasm(where, built) == PushResult(where, done.manifest_digest, (), blobs)
    other = puller.push_wasm(f"{hub.host}/wasm-other-{form}:v1", built, mount_from=f"wasm-{form}")
    assert other.blobs_mounted == blobs


@covers("ZL-254")
@pytest.mark.parametrize("kind", WasmFormat)
def test_every_format_is_pushed(hub: Hub, puller, kind):
    where = f"{hub.host}/formats/{kind.value}:v1"
    built = build_wasm_artifact(MODULE, name="app", format=kind)
    assert puller.push_wasm(where, built).manifest_digest == built.manifest_digest
    with SyncClient() as client:
        assert client.wasm(where) == MODULE


# ---- layers that are elsewhere

FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"


@covers("ZL-258")
def test_foreign_layers_stay_as_they_are(hub: Hub, puller):
    elsewhere = Descriptor(FOREIGN, Digest.of(b"base"), 4, urls=("https://example.com/base",))
    layers = [elsewhere, ArtifactLayer(b"own", "text/plain")]
    more = {"artifact_type": "application/x", "layers": layers}
    done = puller.push_artifact(f"{hub.host}/foreign:v1", **more)
    assert done.blobs_pushed == (sha(b"{}"), sha(b"own"))
    assert done.blobs_skipped == ()
    assert puller.fetch_manifest(f"{hub.host}/foreign:v1").layers[0] == elsewhere
    with pytest.raises(ManifestUploadFailed, match="no blob") as caught:
        puller.push_artifact(f"{hub.host}/foreign-lacks:v1", foreign="push", **more)
    assert isinstance(caught.value.__cause__, BlobUnknown)

    layers = [ArtifactLayer(b"base", FOREIGN, urls=("https://example.com/base",)), layers[1]]
    done = puller.push_artifact(f"{hub.host}/foreign:v3", artifact_type="application/x", layers=layers)  # fmt: skip
    assert done.manifest_digest == str(puller.fetch_manifest(f"{hub.host}/foreign:v1").digest)
    done = puller.push_artifact(
        f"{hub.host}/foreign-pushed:v1",
        artifact_type="application/x",
        layers=layers,
        foreign="push",
    )
    assert done.blobs_pushed == (sha(b"{}"), sha(b"base"), sha(b"own"))
    assert puller.pull_blob(f"{hub.host}/foreign-pushed:v1", sha(b"base")) == b"base"


@covers("ZL-258")
@pytest.mark.parametrize("foreign", ["skip", "push"])
def test_a_layer_of_any_type_that_is_also_elsewhere(hub: Hub, puller, foreign):
    name = f"elsewhere-{foreign}"
    layers = [ArtifactLayer(b"elsewhere too", "text/plain", urls=("https://example.com/x",))]
    done = puller.push_artifact(
        f"{hub.host}/{name}:v1", artifact_type="application/x", layers=layers, foreign=foreign
    )
    assert (sha(b"elsewhere too") in done.blobs_pushed) is (foreign == "push")
    is_there = run(hub.at(name).blob_size(Digest.of(b"elsewhere too"))) is not None
    assert is_there is (foreign == "push")


@covers("ZL-258")
def test_a_layer_that_is_neither_given_nor_elsewhere(hub: Hub, puller):
    missing = Descriptor("text/plain", Digest.of(b"missing"), 7)
    with pytest.raises(BlobUploadFailed) as caught:
        puller.push_artifact(f"{hub.host}/missing:v1", artifact_type="application/x", layers=[missing])  # fmt: skip
    assert caught.value.digest == missing.digest
    assert puller.resolve(f"{hub.host}/missing:v1") is None


# ---- side by side, and logging in


@covers("ZL-257")
def test_blobs_are_sent_side_by_side():
    async def work():
        layers = [ArtifactLayer(bytes([n]) * 300_000, "text/plain") for n in range(12)]
        with hub() as made:
            made.proxy.simulate("upload-finish", "slow=1000000")
            here = most = 0

            def listen(event):
                nonlocal here, most
                if isinstance(event, BlobStarted):
                    here += 1
                elif isinstance(event, BlobDone):
                    here -= 1
                most = max(most, here)

            async with ImagePuller(concurrency=3) as puller:
                await puller.push_artifact(
                    f"{made.host}/many:v1",
                    artifact_type="application/x",
                    layers=layers,
                    on_event=listen,
                )
        assert most == 3

    asyncio.run(work())


@covers("ZL-256")
def test_a_token_for_pushing_is_asked_for_when_it_is_wanted():
    with hub(auth="bearer", users={"me": "secret"}) as made, BlockingPuller() as puller:
        made.asked()
        puller.push_blob(f"{made.host}/private", b"blob", Basic("me", "secret"))
        # The first answer is the challenge; then one token serves for all.
        assert [line.split()[0] for line in made.asked()] == ["HEAD", "HEAD", "POST", "PUT"]
        with pytest.raises(AuthenticationFailed) as caught:
            puller.push_blob(f"{made.host}/private", b"other", Basic("me", "wrong"))
        assert isinstance(caught.value.__cause__, AuthFailed)
        assert "wrong" not in str(caught.value)
        with pytest.raises(AuthenticationFailed):
            puller.push_artifact(f"{made.host}/private:v1", artifact_type="application/x")


# ---- errors


@covers("ZL-257")
def test_errors_say_what_failed_and_why(hub: Hub, puller):
    where = f"{hub.host}/errors:v1"
    with pytest.raises(PushReferenceInvalid, match="NOT") as caught:
        puller.push_blob(f"{hub.host}/NOT", b"x")
    assert isinstance(caught.value.__cause__, InputError)
    with pytest.raises(PushReferenceInvalid, match="no registry given"):
        puller.push_manifest("errors:v1", COMPACT)
    with pytest.raises(PushReferenceInvalid):
        puller.push_blob(where, b"x y", mount_from="NOT")
    hub.proxy.simulate("upload-start", "DENIED")
    with pytest.raises((BlobUploadFailed, AuthenticationFailed)):
        puller.push_blob(where, b"x y z")
    hub.proxy.clear()
    hub.proxy.simulate("upload-start", "507")
    with pytest.raises(BlobUploadFailed) as caught:
        puller.push_artifact(where, artifact_type="application/x", layers=[ArtifactLayer(b"x" * 9, "text/plain")])  # fmt: skip
    hub.proxy.clear()
    assert isinstance(caught.value.__cause__, RemoteError)
    with pytest.raises(ManifestUploadFailed) as caught:
        puller.push_manifest(where, artifact_of(b"nowhere"))
    assert "MANIFEST_BLOB_UNKNOWN" in str(caught.value)
    with BlockingPuller(retries=0) as hasty, pytest.raises(NetworkError) as caught:
        hasty.push_blob("127.0.0.1:1/x", b"x")
    assert isinstance(caught.value.__cause__, Unreachable)
    assert issubclass(NetworkError, PushError)
    assert not issubclass(ManifestBlobUnknown, PushError)


@covers("ZL-257")
def test_a_listener_that_raises_ends_the_push(hub: Hub, puller):
    def raises(event):
        raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        puller.push_artifact(f"{hub.host}/listener:v1", artifact_type="application/listener", layers=[ArtifactLayer(b"unheard", "text/plain")], on_event=raises)  # fmt: skip
    assert puller.resolve(f"{hub.host}/listener:v1") is None


@covers("ZL-257")
def test_a_push_that_is_cancelled(hub: Hub, tmp_path):
    async def work():
        async with ImagePuller() as puller:
            begun = asyncio.Event()

            async def listen(event):
                if isinstance(event, BlobStarted):
                    begun.set()

            task = asyncio.create_task(
                puller.push_artifact(
                    f"{hub.host}/cancelled:v1",
                    artifact_type="application/x",
                    layers=[ArtifactLayer(bytes(50_000_000), "text/plain")],
                    on_event=listen,
                )
            )
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await puller.resolve(f"{hub.host}/cancelled:v1") is None

    asyncio.run(work())
