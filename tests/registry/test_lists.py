"""Pages of referrers: the bytes of an answer are bounded, and nothing is lost between pages."""

from __future__ import annotations

import json

import pytest

from tests.registries import application
from wasmhold.oci import limits
from wasmhold.oci.digest import Digest
from wasmhold.oci.media_types import IMAGE_INDEX
from wasmhold.ports.actor import ANYBODY
from wasmhold.ports.body import BytesBody, read_all
from wasmhold.ports.runtime import run
from wasmhold.protocol import operations as op
from wasmhold.protocol import write
from wasmhold.testing.covers import covers

SUBJECT = Digest.of(b"subject")


def referrer(number: int, padding: int, artifact_type: str = "a/even") -> bytes:
    document = {
        "schemaVersion": 2,
        "mediaType": IMAGE_INDEX,
        "artifactType": artifact_type,
        "manifests": [],
        "subject": {"mediaType": "x/y", "digest": str(SUBJECT), "size": 7},
        "annotations": {"number": str(number), "padding": "x" * padding},
    }
    return json.dumps(document).encode()


def push(registry, content: bytes) -> Digest:
    digest = Digest.of(content)
    run(registry.perform(ANYBODY, op.PutManifest("a", digest, IMAGE_INDEX), BytesBody(content)))
    return digest


def ask(registry, **parameters):
    operation = op.ListReferrers("a", SUBJECT, **parameters)
    return run(registry.perform(ANYBODY, operation, BytesBody())), operation


def all_pages(registry, **parameters):
    """Every page, each with the bytes of its answer."""
    pages, after = [], None
    while True:
        page, operation = ask(registry, after=after, **parameters)
        body = run(read_all(write(operation, page).body))
        pages.append((page.manifests, len(body)))
        after = page.next
        if after is None:
            return pages


@covers("DS-094", "OW-116", "OW-154", "BR-126")
def test_a_page_stays_below_what_clients_take():
    registry = application().registry
    pushed = {push(registry, referrer(i, 300_000)) for i in range(40)}
    pages = all_pages(registry)
    assert len(pages) > 1
    assert max(size for _, size in pages) < limits.MANIFEST + 200
    assert [d.digest for found, _ in pages for d in found] == sorted(pushed)


@covers("OW-154")
def test_a_descriptor_that_fills_a_page_goes_without_its_annotations():
    registry = application().registry
    large = push(registry, referrer(1, limits.MANIFEST - 1000))
    small = push(registry, referrer(2, 10))
    found = {d.digest: d for d in ask(registry)[0].manifests}
    assert found.keys() == {large, small}
    assert found[large].annotations == {}
    assert found[small].annotations["number"] == "2"


@covers("DS-095", "OW-153")
def test_filtered_pages_lose_nothing():
    registry = application().registry
    kinds = ["a/even", "a/odd"]
    pushed = {push(registry, referrer(i, 1, kinds[i % 2])): i % 2 for i in range(230)}
    odd = sorted(digest for digest, kind in pushed.items() if kind)
    pages = all_pages(registry, artifact_type="a/odd", limit=7)
    assert [d.digest for found, _ in pages for d in found] == odd
    assert all(len(found) == 7 for found, _ in pages[:-1])
    assert all_pages(registry, artifact_type="a/none") == [((), pages_size())]


def pages_size() -> int:
    return len(
        json.dumps(
            {"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": []}, separators=(",", ":")
        )
    )


@covers("DS-082", "BR-126")
def test_a_list_is_never_longer_than_a_page():
    registry = application().registry
    content = b'{"schemaVersion":2,"manifests":[]}'
    digest = Digest.of(content)
    for start in range(0, limits.PAGE + 100, limits.TAGS_PER_PUSH):
        tags = tuple(f"t{i:05}" for i in range(start, start + limits.TAGS_PER_PUSH))
        run(registry.perform(ANYBODY, op.PutManifest("a", digest, None, tags), BytesBody(content)))
    for limit in (None, 10**9):
        page = run(registry.perform(ANYBODY, op.ListTags("a", limit), BytesBody()))
        assert len(page.tags) == limits.PAGE
        assert page.more
    rest = run(registry.perform(ANYBODY, op.ListTags("a", None, page.tags[-1]), BytesBody()))
    assert len(rest.tags) == 100
    assert not rest.more


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_repositories_in_pages(limit):
    registry = application().registry
    content = b'{"schemaVersion":2,"manifests":[]}'
    names = sorted(["a", "a/b", "a-b", "a/b/c", "z", "blobs/uploads"])
    for name in names:
        run(registry.perform(ANYBODY, op.PutManifest(name, "v1"), BytesBody(content)))
    found, after = [], ""
    while True:
        page = run(registry.perform(ANYBODY, op.ListRepositories(limit, after), BytesBody()))
        found += page.names
        if not page.more:
            break
        after = page.names[-1]
    assert found == names
