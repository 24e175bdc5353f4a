from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wasmhold.oci.digest import HEX_LENGTH, Digest, hasher
from wasmhold.oci.errors import DigestInvalid
from wasmhold.testing.covers import covers

HEX = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

GOOD = [f"sha256:{HEX}", f"sha512:{HEX}{HEX}"]

# fmt: off
BAD = [
    # text,                       span that is wrong, why
    ("",                          (0, 0),   "empty"),
    (HEX,                         (0, 64),  "no algorithm"),
    (f"SHA256:{HEX}",             (0, 71),  "algorithm in upper case"),
    (f"md5:{HEX[:32]}",           (0, 3),   "algorithm that is not registered"),
    (f"sha256:{HEX.upper()}",     (7, 71),  "hex in upper case"),
    (f"sha256:{HEX[:-1]}",        (7, 70),  "one digit short"),
    (f"sha256:{HEX}0",            (7, 72),  "one digit too many"),
    (f"sha256:{HEX}\n",           (0, 72),  "a newline that $ would let pass"),
    (f"sha512:{HEX}",             (7, 71),  "the length of another algorithm"),
    ("sha256:../../etc/passwd",   (0, 23),  "a path"),
]
# fmt: on


@covers("DS-005", "BR-059")
@pytest.mark.parametrize("text", GOOD)
def test_round_trip(text):
    assert str(Digest.parse(text)) == text


@covers("DS-005", "BR-085", "WL-058")
@pytest.mark.parametrize(("text", "span", "why"), BAD, ids=[why for *_, why in BAD])
def test_refused_with_the_place(text, span, why):
    with pytest.raises(DigestInvalid) as caught:
        Digest.parse(text)
    assert caught.value.span == span
    assert caught.value.code == "DIGEST_INVALID"
    assert caught.value.show().endswith("^" * max(1, span[1] - span[0]))


@covers("ZL-506")
@given(st.binary(), st.sampled_from(sorted(HEX_LENGTH)))
def test_of_is_the_hash(content, algorithm):
    assert Digest.of(content) == Digest.of(content, "sha256")
    digest = Digest.of(content, algorithm)
    assert digest.encoded == hashlib.new(algorithm, content).hexdigest()
    assert Digest.parse(str(digest)) == digest
    running = hasher(algorithm)
    running.update(content)
    assert running.hexdigest() == digest.encoded


@given(st.text())
def test_any_text_is_a_digest_or_refused(text):
    try:
        assert str(Digest.parse(text)) == text
    except DigestInvalid as error:
        start, end = error.span
        assert 0 <= start <= end <= len(text)


def test_unknown_algorithm_has_no_hasher():
    with pytest.raises(DigestInvalid):
        hasher("md5")
