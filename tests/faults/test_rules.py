from __future__ import annotations

import pytest

from tests.registries import application
from wasmhold.faults import Close, Faults, Status, Truncate, kind_of
from wasmhold.faults.rules import KINDS, Rule
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import InputError
from wasmhold.ports.body import BytesBody, read_all
from wasmhold.ports.runtime import run
from wasmhold.protocol import Request
from wasmhold.protocol import operations as op
from wasmhold.servers.application import ConnectionCut
from wasmhold.testing.covers import covers

D = Digest.of(b"")
TAGS = op.ListTags("demo/app")

# fmt: off
RULES = [
    # rule,                                  what each of four requests meets
    (["tags 500"],                           [500, 500, 500, 500]),
    (["tags 503:2"],                         [503, 503, None, None]),
    (["tags 404:1", "* 429"],                [404, 429, 429, 429]),
    (["blob-get 500"],                       [None] * 4),
    (["tags DENIED:1"],                      [403, None, None, None]),
    (["tags MANIFEST_INVALID:1"],            [400, None, None, None]),
    (["tags 500/name=demo/other"],           [None] * 4),
    (["tags 500:3/name=demo/app"],           [500, 500, 500, None]),
]
WRONG = [
    ("nonsense", "500"),
    ("tags", "200"),
    ("tags", "600"),
    ("tags", "NONSENSE"),
    ("tags", "slow"),
    ("tags", "500:0"),
    ("tags", "500:x"),
    ("tags", "500/name=NOT A NAME"),
    ("tags", ""),
]
# fmt: on


@covers("OW-050", "OW-052")
@pytest.mark.parametrize(("rules", "met"), RULES)
def test_rules(rules, met):
    faults = Faults()
    for rule in rules:
        faults.simulate(*rule.split(" "))
    actions = [faults.meet(TAGS) for _ in range(4)]
    assert [action and action.status for action in actions] == met


@covers("OW-051")
@pytest.mark.parametrize(("kind", "text"), WRONG)
def test_what_is_no_rule_is_refused(kind, text):
    with pytest.raises(InputError):
        Rule.parse(kind, text)


def test_cleared_rules_are_met_by_nobody():
    faults = Faults(Rule.parse("*", "close"))
    assert faults.meet(TAGS) == Close()
    faults.clear()
    assert faults.meet(TAGS) is None


@covers("OW-050")
def test_every_operation_has_a_kind():
    assert KINDS.keys() == set(op.Operation.__args__)
    assert kind_of(op.GetBlob("a", D, False)) == "blob-head"
    assert kind_of(op.GetManifest("a", D, False)) == "manifest-head"
    assert kind_of(op.GetManifest("a", D)) == "manifest-get"


def test_a_rule_for_a_repository_meets_its_uploads():
    faults = Faults(Rule.parse("*", "500/name=a"))
    assert isinstance(faults.meet(op.GetUpload(op.UploadLocation("a", "s"))), Status)
    assert faults.meet(op.Ping()) is None


@covers("OW-051", "OW-053")
def test_cuts_without_a_server():
    made = application(["fault=ping close", "fault=blob-get truncate", "fault=tags truncate"])
    with pytest.raises(ConnectionCut):
        run(made.handle(Request("GET", "/v2/"), BytesBody()))
    digest = Digest.of(b"x" * 100)
    target = f"/v2/a/blobs/uploads/?digest={digest}".partition("?")
    run(made.handle(Request("POST", target[0], target[2]), BytesBody(b"x" * 100)))
    response, _, _ = run(made.handle(Request("GET", f"/v2/a/blobs/{digest}"), BytesBody()))
    got = []

    async def read():
        async for chunk in response.body:
            got.append(chunk)

    with pytest.raises(ConnectionCut):
        run(read())
    assert b"".join(got) == b"x" * 50
    assert (b"wasmhold-simulated", b"1") in response.fields
    run(response.body.aclose())
    # What has no body is answered whole.
    response, _, _ = run(made.handle(Request("HEAD", f"/v2/a/blobs/{digest}"), BytesBody()))
    assert response.body is None
    assert Rule.parse("*", "truncate").action == Truncate()


def test_read_all_of_nothing():
    assert run(read_all(BytesBody())) == b""
