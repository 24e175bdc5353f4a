"""The form of cells and of keys, and what is remembered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wasmhold.oci.digest import Digest
from wasmhold.stores.bucket import keys
from wasmhold.stores.bucket.cells import State, pack, payload_of, state_of, unpack
from wasmhold.stores.bucket.content import Content, Part, size_of, upload_of
from wasmhold.stores.bucket.port import Entry
from wasmhold.stores.bucket.uploads import Session
from wasmhold.stores.memo import Memo

PAYLOAD = st.text(st.characters(blacklist_characters="\n", blacklist_categories=["Cs"]))


@given(state=st.sampled_from(State), payload=PAYLOAD, content=st.binary(max_size=100))
def test_a_cell_comes_back(state, payload, content):
    body = pack(state, "nonce", payload, content)
    cell = unpack(body, "etag")
    assert (cell.state, cell.payload, cell.content) == (state, payload, content)
    assert (cell.nonce, cell.etag) == ("nonce", "etag")
    assert payload_of(body) == payload
    assert state_of(Entry("key", len(body), "etag", 0)) == state


@given(
    parts=st.lists(st.tuples(st.text("0123456789abcdef", min_size=1), st.integers(1, 2**40))),
    digest=st.sampled_from([None, str(Digest.of(b""))]),
)
def test_payloads_come_back(parts, digest):
    parts = tuple(Part(*part) for part in parts)
    session = Session("a/b", "sha256", parts, digest)
    assert Session.parse(str(session)) == session
    content = Content("upload", parts)
    assert Content.parse(str(content)) == content
    assert size_of(str(content)) == content.size == sum(size for _, size in parts)
    assert upload_of(str(content)) == "upload"


def test_targets_are_listed_before_what_refers_to_them():
    blob, child, parent = (str(Digest.of(text)) for text in (b"blob", b"child", b"parent"))
    for name in ("a", "a/0", "a/b", "z"):
        chain = [
            [keys.blob(blob), keys.link(name, blob)],
            [keys.link(name, blob), keys.manifest(name, child)],
            [keys.manifest(name, child), keys.mark(name, child, "t")],
            [keys.manifest(name, child), keys.referrer(name, child, parent)],
            [keys.name(name), keys.manifest(name, child)],
        ]
        for target, reference in chain:
            assert target < reference


NAMES = ["a", "a-b", "a.b", "a/0", "a/0/x", "a/b", "a/b/c", "a0", "ab", "b"]


def test_the_keys_of_a_repository_stand_together():
    digest = Digest.of(b"")
    some = sorted(
        key
        for name in NAMES
        for key in (keys.link(name, digest), keys.tag(name, "t"), keys.mark(name, digest, "t"))
    )
    seen = [keys.place(key).repository for key in some]
    assert seen[::3] == seen[1::3] == seen[2::3]
    assert sorted(seen[::3]) == NAMES


def test_names_are_in_byte_order():
    assert [keys.repository_of_name(key) for key in sorted(map(keys.name, NAMES))] == NAMES


def test_no_key_is_the_folder_of_another():
    digest = Digest.of(b"")
    some = [
        key
        for name in NAMES
        for key in (
            keys.name(name), keys.link(name, digest), keys.manifest(name, digest),
            keys.referrer(name, digest, digest), keys.tag(name, "t"), keys.mark(name, digest, "t"),
        )
    ]  # fmt: skip
    for key in some:
        assert not any(other.startswith(key + "/") for other in some)


@pytest.mark.parametrize("key", [keys.link("a/b", "d"), keys.manifest("a/b", "d")])
def test_a_reference_and_its_key(key):
    assert keys.target("a/b", keys.reference(key)) == key


def test_a_memo_forgets_what_was_used_least_recently():
    memo = Memo(3)
    for key in "abc":
        memo.put(key, key)
    assert memo.get("a") == "a"
    memo.put("d", "d")
    assert [memo.get(key) for key in "abcd"] == ["a", None, "c", "d"]
    memo.put("c", "C")
    assert memo.get("c") == "C"
    memo.drop("c")
    memo.drop("c")
    assert memo.get("c") is None


def test_a_memo_by_weight():
    memo = Memo(10, len)
    memo.put("a", "xxxx")
    memo.put("b", "xxxx")
    memo.put("a", "xxxxxx")
    assert (memo.get("a"), memo.get("b")) == ("xxxxxx", "xxxx")
    memo.put("c", "x")
    assert memo.get("a") is None
    memo.put("d", "x" * 11)
    assert all(memo.get(key) is None for key in "abcd")
