"""A store beside a dictionary that does the same: whatever is asked, both answer alike."""

import tempfile
from contextlib import ExitStack

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from wasmhold.oci import media_types
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import (
    BlobInUse,
    BlobUnknown,
    ManifestBlobUnknown,
    ManifestUnknown,
    RangeInvalid,
    UploadUnknown,
)
from wasmhold.ports.runtime import run
from wasmhold.testing import store_suite as suite

from .directories import opened
from .test_memory import make_store

NAMES = st.sampled_from(["a", "a/b", "b"])
BLOBS = st.sampled_from([b"", b"one", b"two", b"three"])
TAGS = st.lists(st.sampled_from(["t", "u", "v"]), max_size=2, unique=True)


class Repository:
    def __init__(self):
        self.blobs, self.manifests, self.tags = {}, {}, {}

    def uses(self, digest):
        return any(
            child.digest == digest
            for _, manifest in self.manifests.values()
            for child in manifest.children
        )


class AgainstADictionary(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.closing = ExitStack()
        self.store = self.make_store()
        self.repositories = {name: Repository() for name in ("a", "a/b", "b")}
        self.sessions = {}  # session -> (name, bytes)

    def make_store(self):
        return make_store()

    def teardown(self):
        self.closing.close()

    def ask(self, operation, expected=None):
        """Run it; the name of the error that was raised, None if none was."""
        try:
            run(operation)
        except (
            BlobInUse, BlobUnknown, ManifestBlobUnknown, ManifestUnknown, RangeInvalid,
            UploadUnknown,
        ) as error:  # fmt: skip
            assert expected is not None, error
            assert isinstance(error, expected), error
        else:
            assert expected is None

    # ---- uploads and blobs

    @rule(name=NAMES, algorithm=st.sampled_from(["sha256", "sha512"]))
    def open(self, name, algorithm):
        self.sessions[run(self.store.upload_open(name, algorithm))] = (name, b"")

    @precondition(lambda self: self.sessions)
    @rule(data=st.data(), content=BLOBS, offset=st.sampled_from([None, 0, 3]))
    def append(self, data, content, offset):
        session = data.draw(st.sampled_from(sorted(self.sessions)))
        name, held = self.sessions[session]
        expected = None if offset in (None, len(held)) else RangeInvalid
        body = suite.Chunks(*([content] if content else []))
        self.ask(self.store.upload_append(name, session, offset, body), expected)
        if expected is None:
            self.sessions[session] = (name, held + content)
        assert body.closed
        assert run(self.store.upload_status(name, session)) == len(self.sessions[session][1])

    @precondition(lambda self: self.sessions)
    @rule(data=st.data(), content=BLOBS, algorithm=st.sampled_from(["sha256", "sha512"]))
    def commit(self, data, content, algorithm):
        session = data.draw(st.sampled_from(sorted(self.sessions)))
        name, held = self.sessions.pop(session)
        whole = held + content
        digest = Digest.of(whole, algorithm)
        for _ in range(2):
            body = suite.Chunks(*([content] if content else []))
            self.ask(self.store.upload_commit(name, session, len(held), body, digest))
        self.repositories[name].blobs[digest] = whole
        self.ask(self.store.upload_append(name, session, None, suite.Chunks()), UploadUnknown)

    @precondition(lambda self: self.sessions)
    @rule(data=st.data())
    def cancel(self, data):
        session = data.draw(st.sampled_from(sorted(self.sessions)))
        name, _ = self.sessions.pop(session)
        self.ask(self.store.upload_cancel(name, session))
        self.ask(self.store.upload_cancel(name, session), UploadUnknown)

    @rule(name=NAMES, source=NAMES, content=BLOBS)
    def mount(self, name, source, content):
        digest = Digest.of(content)
        mounted = run(self.store.blob_mount(name, digest, source))
        there = any(digest in self.repositories[r].blobs for r in (name, source))
        assert mounted == (len(content) if there else None)
        if there:
            self.repositories[name].blobs[digest] = content

    @rule(name=NAMES, content=BLOBS)
    def delete_blob(self, name, content):
        repository, digest = self.repositories[name], Digest.of(content)
        expected = BlobInUse if repository.uses(digest) else None
        if digest not in repository.blobs:
            expected = BlobUnknown
        self.ask(self.store.blob_delete(name, digest), expected)
        if expected is None:
            del repository.blobs[digest]

    # ---- manifests and tags

    @rule(name=NAMES, config=BLOBS, subject=st.booleans(), tags=TAGS)
    def put(self, name, config, subject, tags):
        members = {"subject": subject_of(SUBJECT)} if subject else {}
        self._put(name, suite.image(Digest.of(config), **members), tags)

    @rule(name=NAMES, config=BLOBS, tags=TAGS)
    def put_index(self, name, config, tags):
        child = suite.image(Digest.of(config))[0].digest
        self._put(name, suite.index(subject_of(child)), tags)

    def _put(self, name, pushed, tags):
        repository = self.repositories[name]
        digest = pushed[0].digest
        here = repository.blobs.keys() | repository.manifests.keys()
        # A manifest that is there stays, even when a client has deleted what it refers to.
        known = digest in repository.manifests
        absent = [c for c in pushed[1].children if c.digest not in here]
        expected = ManifestBlobUnknown if absent and not known else None
        self.ask(suite.put(self.store, name, pushed, *tags), expected)
        if expected is None:
            repository.manifests[digest] = pushed
            repository.tags.update(dict.fromkeys(tags, digest))

    @rule(name=NAMES, data=st.data())
    def delete_manifest(self, name, data):
        repository = self.repositories[name]
        some = [*sorted(repository.manifests), SUBJECT]
        digest = data.draw(st.sampled_from(some))
        expected = None if digest in repository.manifests else ManifestUnknown
        self.ask(self.store.manifest_delete(name, digest, suite.allow), expected)
        repository.manifests.pop(digest, None)
        repository.tags = {t: d for t, d in repository.tags.items() if d != digest}

    @rule(name=NAMES, tag=st.sampled_from(["t", "u"]))
    def delete_tag(self, name, tag):
        expected = None if tag in self.repositories[name].tags else ManifestUnknown
        self.ask(self.store.tag_delete(name, tag, suite.allow), expected)
        self.repositories[name].tags.pop(tag, None)

    # ---- collection

    @rule(untagged=st.booleans())
    def collect(self, untagged):
        run(suite.collect(self.store, untagged=untagged))
        for repository in self.repositories.values():
            if untagged:
                self._remove_untagged(repository)
            repository.blobs = {d: c for d, c in repository.blobs.items() if repository.uses(d)}
        listed = [name for name, r in sorted(self.repositories.items()) if r.manifests]
        assert run(self.store.repositories("", 10)) == listed

    @staticmethod
    def _remove_untagged(repository):
        while True:
            kept = set(repository.tags.values())
            for digest, (_, manifest) in repository.manifests.items():
                kept |= {child.digest for child in manifest.children}
                if manifest.subject is not None:
                    kept.add(digest)
            left = {d: m for d, m in repository.manifests.items() if d in kept}
            if left == repository.manifests:
                return
            repository.manifests = left

    @invariant()
    def the_same_is_there(self):
        store = self.store
        for name, repository in self.repositories.items():
            for digest, content in repository.blobs.items():
                assert run(suite.pull(store, name, digest)) == content
            for content in (b"one", b"two"):
                there = run(store.blob_stat(name, Digest.of(content))) is not None
                assert there == (Digest.of(content) in repository.blobs)
            for digest, (stored, _) in repository.manifests.items():
                assert run(store.manifest_get(name, digest)) == stored
            assert run(store.tags(name, "", 10)) in (sorted(repository.tags), None)
            if repository.manifests:
                assert run(store.tags(name, "", 10)) is not None
            for tag, digest in repository.tags.items():
                assert run(store.tag_get(name, tag)) == digest
            referrers = sorted(
                str(d) for d, (_, m) in repository.manifests.items() if m.subject is not None
            )
            found = run(store.referrers(name, SUBJECT, None, 10))
            assert [str(d.digest) for d in found] == referrers


class ADirectoryBesideADictionary(AgainstADictionary):
    def make_store(self):
        folder = self.closing.enter_context(tempfile.TemporaryDirectory())
        return self.closing.enter_context(opened(folder))


SUBJECT = Digest.of(b"the subject")


def subject_of(digest):
    return {"mediaType": media_types.IMAGE_MANIFEST, "digest": str(digest), "size": 1}


SETTINGS = {
    "stateful_step_count": 40,
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
}
TestAgainstADictionary = AgainstADictionary.TestCase
TestAgainstADictionary.settings = settings(max_examples=60, **SETTINGS)
TestADirectoryBesideADictionary = ADirectoryBesideADictionary.TestCase
TestADirectoryBesideADictionary.settings = settings(max_examples=25, **SETTINGS)
