"""Referrers in registries with and without the API: a list, none, and "could not ask"."""

from __future__ import annotations

import json
from contextlib import contextmanager

import pytest

from tests.client.recording import Says, recording
from tests.client.remotes import client
from tests.registries import application
from wasmhold.client.places.remote import fallback_tag
from wasmhold.oci import media_types
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import AuthFailed, CannotList, DigestMismatch, ManifestInvalid, Unreachable
from wasmhold.ports.runtime import run
from wasmhold.testing.covers import covers
from wasmhold.testing.repository_suite import index, named, push_image
from wasmhold.testing.senders import to_application
from wasmhold.testing.transcript import Exchange

D = Digest.of(b"subject")
# fmt: off
TAGS = [
    # subject,                                     its tag
    (D,                                            f"sha256-{D.encoded}"),
    (Digest.of(b"subject", "sha512"),              f"sha512-{Digest.of(b'subject', 'sha512').encoded[:64]}"),
    (Digest("a" * 40, "b"),                        "a" * 32 + "-b"),
    (Digest("sha+x.y_z", "A=_-b"),                 "sha-x.y_z-A-_-b"),
]
# fmt: on


@covers("DS-124")
@pytest.mark.parametrize(("subject", "tag"), TAGS)
def test_fallback_tags(subject, tag):
    assert fallback_tag(subject) == tag


@contextmanager
def older(*, etags=True, meanwhile=()):
    """Our registry, with what it had lacked before there was an API for referrers.

    `meanwhile` are contents that somebody else puts under a fallback tag just before we do, one
    each time; nothing where they are empty.
    """
    send = to_application(application(["sparse"]))
    others = list(meanwhile)

    def ask(method, target, headers=(), body=None):
        chunks = None if body is None else [body]
        return send(Exchange(method, target, list(headers), chunks, False))

    def respond(seen):
        if "/referrers/" in seen.path:
            return Says(404)
        if seen.method == "PUT" and "/manifests/sha256-" in seen.path and others:
            other = others.pop(0)
            kind = [("Content-Type", media_types.IMAGE_INDEX)]
            assert not other or ask("PUT", seen.target, kind, other).status == 201
        body = seen.body if seen.method in ("POST", "PUT", "PATCH") else None
        names = {"host", "user-agent", "accept-encoding", "content-length"}
        passed = [(key, value) for key, value in seen.headers.items() if key not in names]
        answer = ask(seen.method, seen.target, passed, body)
        dropped = {"oci-subject", "content-length" if seen.method != "HEAD" else ""}
        dropped |= set() if etags else {"etag"}
        headers = {key: value for key, value in answer.headers if key not in dropped}
        if "content-length" in headers:
            headers["Content-Length"] = headers.pop("content-length")
        return Says(answer.status, headers, answer.body)

    with recording(respond) as server, client() as made:
        yield made.repository(server.host), server


def attach(repository, subject, text, **members):
    return run(push_image(repository, text, subject=named(subject).to_json(), **members))


@covers("DS-125", "DS-126", "DS-127", "DS-128")
@pytest.mark.parametrize("etags", [True, False])
def test_a_registry_without_the_api(etags):
    with older(etags=etags) as (repository, server):
        subject = run(push_image(repository, "subject", "v1"))
        assert run(repository.referrers(subject.digest)) == []
        one = attach(repository, subject, "one", artifactType="x/one", annotations={"a": "b"})
        two = attach(repository, subject, "two")
        attach(repository, subject, "two")  # once more: it is in the list already
        found = run(repository.referrers(subject.digest))
        assert {d.digest for d in found} == {one.digest, two.digest}
        kinds = {d.artifact_type: d.annotations for d in found}
        assert kinds == {"x/one": {"a": "b"}, "application/octet-stream": {}}
        (alone,) = run(repository.referrers(subject.digest, "x/one"))
        assert alone.digest == one.digest
        tag = fallback_tag(subject.digest)
        listed = json.loads(run(repository.manifest_get(tag)).content)
        assert listed["mediaType"] == media_types.IMAGE_INDEX
        assert len(listed["manifests"]) == 2
        run(repository.manifest_delete(one.digest))
        assert [d.digest for d in run(repository.referrers(subject.digest))] == [two.digest]
        conditions = [
            seen.headers.get("if-match") for seen in server.seen if seen.target.endswith(tag)
        ]
        assert any(conditions) == etags


@covers("DS-125")
@pytest.mark.parametrize("is_first", [True, False])
def test_what_others_add_meanwhile_is_kept(is_first):
    """Between our reading of the tag and our writing it."""
    other = b"of somebody else"
    described = {"mediaType": media_types.IMAGE_MANIFEST, "digest": str(Digest.of(other))}
    entry = {**described, "size": len(other)}
    members = {"schemaVersion": 2, "mediaType": media_types.IMAGE_INDEX, "annotations": {"k": "v"}}
    listing = json.dumps({**members, "manifests": [entry]}).encode()
    with older(meanwhile=[listing] if is_first else [b"", listing]) as (repository, _):
        subject = run(push_image(repository, "subject", "v1"))
        if not is_first:
            attach(repository, subject, "before")
        one = attach(repository, subject, "one")
        found = {d.digest for d in run(repository.referrers(subject.digest))}
        assert found == {Digest.of(other), one.digest}
        stored = run(repository.manifest_get(fallback_tag(subject.digest)))
        assert json.loads(stored.content)["annotations"] == {"k": "v"}


@covers("DS-125", "DS-126")
def test_a_tag_that_is_no_index():
    with older() as (repository, _):
        subject = run(push_image(repository, "subject", "v1"))
        run(push_image(repository, "something else", fallback_tag(subject.digest)))
        assert run(repository.referrers(subject.digest)) == []
        with pytest.raises(ManifestInvalid, match="is no index"):
            attach(repository, subject, "one")


def page(*contents, link=None, filtered=False):
    manifests = [
        {"mediaType": media_types.IMAGE_MANIFEST, "digest": str(Digest.of(c)), "size": len(c)}
        | ({"artifactType": "x/a"} if c.startswith(b"a") else {})
        for c in contents
    ]
    headers = {"Content-Type": media_types.IMAGE_INDEX}
    if link:
        headers["Link"] = link
    if filtered:
        headers["OCI-Filters-Applied"] = "artifactType"
    return Says(200, headers, json.dumps({"manifests": manifests}).encode())


@covers("DS-128")
def test_all_pages_and_our_own_filter():
    pages = {
        f"/v2/demo/app/referrers/{D}?artifactType=x/a": page(
            b"a1", b"b1", link=f"<./{D}?cache=opaque&page=1>; rel=next"
        ),
        f"/v2/demo/app/referrers/{D}?cache=opaque&page=1": page(b"b2", b"a2"),
    }
    with recording(lambda seen: pages[seen.target]) as server, client() as made:
        found = run(made.repository(server.host).referrers(D, "x/a"))
        assert {d.digest for d in found} == {Digest.of(b"a1"), Digest.of(b"a2")}


# fmt: off
ANSWERS = [
    # the list,                               the tag,     what comes of it
    (Says(404),                               Says(404),   []),
    (Says(405),                               Says(404),   []),
    (Says(500),                               Says(404),   CannotList),
    (Says(404),                               Says(500),   CannotList),
    (Says(400),                               Says(404),   CannotList),
    (Says(200, body=b"<html>"),               Says(404),   CannotList),
    (Says(200, body=b'{"manifests":[1]}'),    Says(404),   CannotList),
    (Says(403),                               Says(404),   AuthFailed),
    (page(),                                  Says(500),   []),
]
# fmt: on


@covers("DS-126")
@pytest.mark.parametrize(("listed", "tagged", "outcome"), ANSWERS)
def test_what_could_not_be_asked_is_no_empty_list(listed, tagged, outcome):
    def respond(seen):
        return listed if "/referrers/" in seen.path else tagged

    with recording(respond) as server, client() as made:
        attempt = made.repository(server.host).referrers(D)
        if outcome == []:
            assert run(attempt) == []
        else:
            with pytest.raises(outcome):
                run(attempt)
    with client(retries=0) as made, pytest.raises(Unreachable):
        run(made.repository(server.host).referrers(D))


@covers("DS-131")
def test_tags_that_were_not_taken_are_pushed_alone():
    answer = {"Docker-Content-Digest": str(index().digest)}
    for named_tags, requests in (("", 3), ("a, b", 1), ("b", 2)):
        headers = {**answer, **({"OCI-Tag": named_tags} if named_tags else {})}
        with recording(lambda seen, said=headers: Says(201, said)) as server, client() as made:
            run(made.repository(server.host).manifest_put(index(), ["a", "b"]))
            assert len(server.seen) == requests
            assert server.seen[0].target.endswith("?tag=a&tag=b")
    with recording(lambda seen: Says(201)) as server, client() as made:
        run(made.repository(server.host).manifest_put(index(), ["a"]))
        # It does not say what it stored: by digest it can be nothing else.
        digest = str(index().digest)
        assert [line.rpartition("/")[2] for line in server.lines()] == [f"{digest}?tag=a", "a"]
    other = {"Docker-Content-Digest": str(Digest.of(b"damaged on its way"))}
    for answers in ([other], [answer, other]):
        todo = list(answers)
        with recording(lambda seen, todo=todo: Says(201, todo.pop(0))) as server, client() as made:
            with pytest.raises(DigestMismatch):
                run(made.repository(server.host).manifest_put(index(), ["a"]))
