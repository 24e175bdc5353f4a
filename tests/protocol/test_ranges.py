from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wasmhold.oci.errors import RangeNotSatisfiable, UploadInvalid
from wasmhold.protocol.conditions import (
    Precondition,
    entity_tag,
    matches,
    parse_entity_tags,
)
from wasmhold.protocol.ranges import ByteRange, format_held, parse_content_range, parse_held
from wasmhold.testing.covers import covers

# fmt: off
RANGES = [
    # Range,              of 2,048 bytes
    ("bytes=500-1499",    (500, 1500)),
    ("bytes=500-",        (500, 2048)),
    ("bytes=-500",        (1548, 2048)),
    ("bytes=-5000",       (0, 2048)),
    ("bytes=2000-5000",   (2000, 2048)),
    ("bytes= 0-0 ",       (0, 1)),
    ("bytes=500-0",       None),
    ("bytes=2048-",       None),
    ("bytes=-0",          None),
]
NO_RANGES = ["", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=1-2,3-4", "lines=1-2",
             "bytes=1-2-3", "bytes=+1-2", "bytes=" + "9" * 40 + "-"]
CONTENT_RANGES = [
    ("0-0",               (0, 1)),
    ("5-9",               (5, 10)),
    ("bytes 5-9/*",       (5, 10)),
    ("bytes 5-9/100",     (5, 10)),
    ("9-5",               None),
    ("5-",                None),
    ("-5",                None),
    ("",                  None),
    ("a-b",               None),
    ("0-4;x",             None),
    ("\u0661-\u0662",     None),
]
# fmt: on


@covers("DS-029", "DS-030")
@pytest.mark.parametrize(("text", "want"), RANGES)
def test_ranges(text, want):
    found = ByteRange.parse(text)
    assert found is not None
    if want is None:
        with pytest.raises(RangeNotSatisfiable) as caught:
            found.within(2048)
        assert caught.value.size == 2048
    else:
        assert found.within(2048) == want


@pytest.mark.parametrize("text", NO_RANGES)
def test_what_is_no_range_is_let_be(text):
    assert ByteRange.parse(text) is None


@covers("DS-044", "BR-049")
@pytest.mark.parametrize(("text", "want"), CONTENT_RANGES)
def test_content_ranges(text, want):
    if want is None:
        with pytest.raises(UploadInvalid):
            parse_content_range(text)
    else:
        assert parse_content_range(text) == want


@given(st.text())
def test_any_text_is_a_range_or_not(text):
    ByteRange.parse(text)
    for parse in (parse_content_range, lambda t: parse_held(t, True)):
        try:
            parse(text)
        except UploadInvalid:
            pass


@covers("DS-048")
@given(st.integers(2, 10**18))
def test_held_round_trip(offset):
    assert parse_held(format_held(offset), fresh=True) == offset
    assert format_held(0) == format_held(1) == "0-0"


# fmt: off
CONDITIONS = [
    # condition,                                    current,  holds
    (Precondition(),                                None,     True),
    (Precondition(),                                "a",      True),
    (Precondition(match=("*",)),                    None,     False),
    (Precondition(match=("*",)),                    "a",      True),
    (Precondition(match=('"a"',)),                  "a",      True),
    (Precondition(match=('"b"', '"a"')),            "a",      True),
    (Precondition(match=('"b"',)),                  "a",      False),
    (Precondition(match=('W/"a"',)),                "a",      False),
    (Precondition(match=()),                        "a",      False),
    (Precondition(none_match=("*",)),               None,     True),
    (Precondition(none_match=("*",)),               "a",      False),
    (Precondition(none_match=('"b"',)),             "a",      True),
    (Precondition(none_match=('W/"a"',)),           "a",      False),
    (Precondition(('"a"',), ("*",)),                "a",      False),
]
ENTITY_TAGS = [
    ("*",                ("*",)),
    ('"a"',              ('"a"',)),
    ('"a", W/"b"',       ('"a"', 'W/"b"')),
    ("sha256:abc",       ('"sha256:abc"',)),
    ("",                 ()),
    ('"',                ()),
]
# fmt: on


@covers("BR-031", "BR-041")
@pytest.mark.parametrize(("condition", "current", "holds"), CONDITIONS)
def test_conditions(condition, current, holds):
    assert condition.holds(current) is holds


@pytest.mark.parametrize(("text", "want"), ENTITY_TAGS)
def test_entity_tags(text, want):
    assert parse_entity_tags(text) == want


@given(st.text())
def test_any_text_is_entity_tags(text):
    assert matches(parse_entity_tags(text), None) is False
    assert matches((entity_tag("x"),), entity_tag("x"))
