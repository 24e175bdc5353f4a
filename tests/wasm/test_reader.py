from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wasm import binaries as b
from wasmhold.testing.covers import covers
from wasmhold.wasm import (
    Binary,
    BinaryKind,
    CustomSection,
    Preamble,
    Producer,
    Reader,
    WasmError,
    limits,
    read_binary,
    read_name,
    read_producers,
    read_text,
)

MODULE, COMPONENT, WIT = BinaryKind.MODULE, BinaryKind.COMPONENT, BinaryKind.WIT_PACKAGE


def names(externs):
    return [(e.sort, f"{e.module}.{e.name}" if e.module else e.name) for e in externs]


# fmt: off
STARTS = [
    # first bytes,                    kind,      how an error says it
    (b.MODULE,                        MODULE,    "a module"),
    (b.COMPONENT + b"more",           COMPONENT, "a component"),
    (b"",                             None,      "only 0 bytes"),
    (b"\0asm",                        None,      "only 4 bytes: 00 61 73 6d"),
    (b"\x7fELF\x02\x01\x01\x00",      None,      "starts with 7f 45 4c 46 02 01 01 00"),
    (b"(module)",                     None,      "starts with 28 6d 6f 64 75 6c 65 29"),
    (b"\0asm\x02\0\0\0",              None,      "version 2 of layer 0, want 1 of 0 or 13 of 1"),
    (b"\0asm\x0a\0\x01\0",            None,      "version 10 of layer 1, want 1 of 0 or 13 of 1"),
    (b"\0asm\x01\0\x01\0",            None,      "version 1 of layer 1, want 1 of 0 or 13 of 1"),
]
# fmt: on


@covers("CW-064")
@pytest.mark.parametrize(("start", "kind", "said"), STARTS)
def test_the_first_bytes_tell_what_it_is(start, kind, said):
    preamble = Preamble.of(start)
    assert (preamble.kind, str(preamble)) == (kind, said)
    if kind is None:
        with pytest.raises(WasmError, match="not a WebAssembly binary: ") as error:
            read_binary(start)
        assert said in str(error.value)


# fmt: off
KINDS = [
    (b.MODULE,                                                         MODULE,    []),
    (b.COMPONENT,                                                      COMPONENT, []),
    (b.WIT,       WIT, [("instance", "e:e/i"), ("func", "run"), ("component", "e:e/w")]),
    (b.WIT_WHOLE, WIT, [("instance", "e:e/i@1.0.0"), ("component", "e:e/w@1.0.0")]),
    # The same with something else in it is a component.
    (b.WIT + b.section(1, b.MODULE),                     COMPONENT, [("type", "i"), ("type", "w")]),
    (b.WIT + b.section(10, b"\0"),                       COMPONENT, [("type", "i"), ("type", "w")]),
    # A type that is no component's.
    (b.COMPONENT + b.section(7, b.vector(b"\x7f")) + b.section(11, b.vector(b.named("t") + b"\3\0\0")),
                                                         COMPONENT, [("type", "t")]),
    # An export of what is not there.
    (b.COMPONENT + b.section(11, b.vector(b.named("t") + b"\3\7\0")), COMPONENT, [("type", "t")]),
    # A component type that exports two things under a plain name, and one under a full name.
    (b.WIT_WHOLE.replace(b"e:e/wit@1.0.0", b"e:e/wat@1.0.0"), COMPONENT, [("type", "e:e/wat@1.0.0")]),
    # A type that is newer than the reader.
    (b.component_of_types(b"\x10"),                      COMPONENT, [("type", "n0")]),
]
# fmt: on


@covers("CW-064", "CW-016")
@pytest.mark.parametrize(("content", "kind", "exports"), KINDS)
def test_a_wit_package_is_told_from_a_component(content, kind, exports):
    read = read_binary(content)
    assert (read.kind, names(read.exports)) == (kind, exports)


# fmt: off
TYPES = {
    "primitive": b"\x7f", "error-context": b"\x64",
    "record": b"\x72" + b.vector(b.text("a") + b"\x7f", b.text("b") + b"\x81\x01"),
    "variant": b"\x71" + b.vector(b.text("a") + b"\0\0", b.text("b") + b"\x01\x73\0"),
    "list": b"\x70\x7d", "list of 4": b"\x67\x7d\x04", "map": b"\x63\x73\x7d",
    "tuple": b"\x6f" + b.vector(b"\x7f", b"\x7e"),
    "flags": b"\x6e" + b.vector(b.text("a")), "enum": b"\x6d" + b.vector(b.text("a")),
    "option": b"\x6b\x73", "result": b"\x6a\x01\x73\x00", "own": b"\x69\x00", "borrow": b"\x68\x00",
    "stream": b"\x66\x01\x7d", "future": b"\x65\x00",
    "func": b"\x40" + b.vector(b.text("a") + b"\x7f") + b"\x00\x73", "async": b"\x43\0\x01\0",
    "resource": b"\x3f\x7f\0", "with destructor": b"\x3f\x7f\x01\x05",
    "instance": b"\x42" + b.vector(
        b"\x02\x03\x02\x01\x00",                          # alias of an outer type
        b"\x02\x03\x00\x00" + b.text("x"),                # of an export
        b"\x02\x00\x11\x01\x00" + b.text("x"),            # of a core export
        b"\x04" + b.named("r") + b"\x03\x01",
    ),
    "component": b"\x41" + b.vector(b"\x03" + b.named("i") + b"\x05\x00"),
}
# fmt: on


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_can_stand_in_a_wit_package(kind):
    assert read_binary(b.component_of_types(TYPES[kind], b"\x7f", names=2)).kind is WIT


@covers("CW-016", "CW-017", "CW-020")
def test_imports_and_exports_in_the_order_of_the_binary():
    read = read_binary(b.EXTERNS)
    assert names(read.imports) == [
        ("instance", "wasi:io/streams@0.2.0"),
        ("func", "run"),
        ("module", "m"),
        ("value", "v"),
        ("value", "w"),
        ("type", "t"),
        ("type", "u"),
        ("instance", "old:form/name"),
        ("instance", "plain"),
        ("component", "unlocked-dep=<a:b@{>=1.0.0}>"),
    ]
    assert names(read.exports) == [
        ("instance", "wasi:cli/run@0.2.0"),
        ("func", "é"),
        ("module", "core"),
    ]


def test_imports_and_exports_of_a_module():
    assert names(read_binary(b.ALL_IMPORTS).imports) == [
        ("func", "env.f"),
        ("table", "env.t"),
        ("table", "env.r"),
        ("memory", "env.m"),
        ("memory", "env.big"),
        ("memory", "env.page"),
        ("global", "env.g"),
        ("global", "env.h"),
        ("tag", "env.e"),
        ("func", "env.x"),
        ("func", "many.a"),
        ("global", "many.b"),
        ("func", "same.c"),
        ("func", "same.d"),
        ("func", ""),
    ]
    exports = b.vector(b.exported("run", 0), b.exported("memory", 2), b.exported("é", 4, 300))
    read = read_binary(b.MODULE + b.section(10, b"code") + b.section(7, exports))
    assert names(read.exports) == [("func", "run"), ("memory", "memory"), ("tag", "é")]


def test_custom_sections():
    producers = b.vector(
        b.text("language") + b.vector(b.text("Rust") + b.text("")),
        b.text("processed-by")
        + b.vector(b.text("rustc") + b.text("1.90"), b.text("x") + b.text("1")),
    )
    content = (
        b.MODULE
        + b.custom("producers", producers)
        + b.custom("name", b"\0\x05" + b.text("demo") + b"\x01\xff")
        + b.custom("licenses", b"MIT")
        + b.custom(".debug_info", b"x" * 70_000)
        + b.custom("description", b"y" * 70_000)
        + b.custom("licenses", b"ISC")
        + b.custom("")
    )
    read = read_binary(content)
    assert [(s.name, s.size, len(s.start)) for s in read.custom] == [
        ("producers", len(producers), len(producers)),
        ("name", 9, 9),
        ("licenses", 3, 3),
        (".debug_info", 70_000, 0),
        ("description", 70_000, limits.PAYLOAD),
        ("licenses", 3, 3),
        ("", 0, 0),
    ]
    for held in read.custom:
        assert content[held.offset :].startswith(held.start)
    assert read_producers(read.section("producers")) == [
        Producer("language", "Rust", ""),
        Producer("processed-by", "rustc", "1.90"),
        Producer("processed-by", "x", "1"),
    ]
    assert read_name(read.section("name")) == "demo"
    assert read_name(CustomSection("name", 0, 0)) is None
    assert read_name(CustomSection("name", 0, 2, b"\x01\0")) is None
    assert read_text(read.section("licenses")) == "MIT"
    assert read.section("authors") is None
    with pytest.raises(WasmError, match="longer than we read"):
        read_text(read.section("description"))
    with pytest.raises(WasmError, match="UTF-8 at byte 8"):
        read_text(CustomSection("licenses", 7, 2, b"a\xff"))


# fmt: off
BROKEN = [
    # content,                                                 offset, reason
    (b.MODULE + b"\x0e\0",                                         8,  "14 is no section of a module"),
    (b.COMPONENT + b"\x0d\0",                                      8,  "13 is no section of a component"),
    (b.MODULE + b"\x01",                                           9,  "ends inside of section 1"),
    (b.MODULE + b"\x01\x05abc",                                   13,  "section 1, which has 5 bytes from byte 10 on"),
    (b.MODULE + b"\x01\x80\x80\x80\x80\x80\x01",                   9,  "more than 32 bits"),
    (b.MODULE + b"\x01\xff\xff\xff\xff\x10",                       9,  "more than 32 bits"),
    (b.MODULE + b"\x00\x00",                                      10,  "without a name"),
    (b.MODULE + b"\x00\x01\x01",                                  10,  "a name of 1 bytes in a section of 1"),
    (b.MODULE + b"\x00\x03\x02a\xff",                             12,  "not UTF-8"),
    (b.MODULE + b.section(0, b.leb(100_001) + b"x" * 100_001),    12,  "a name of 100001 bytes"),
    (b.MODULE + b.section(2, b""),                                10,  "too few bytes"),
    (b.MODULE + b.section(2, b"\x05abc"),                         10,  "5 elements in 3 bytes"),
    (b.MODULE + b.section(2, b"\x00\x00"),                        11,  "1 bytes too many in section 2"),
    (b.MODULE + b.section(2, b"\x01\x05ab"),                      12,  "want 5 bytes, 2 are left"),
    (b.MODULE + b.section(2, b"\x01\0\0\x05"),                    13,  "0x05 is no sort"),
    (b.MODULE + b.section(2, b"\x01\0\0\x02\x10\x01"),            14,  "0x10 are no limits"),
    (b.MODULE + b.section(7, b"\x01\0\0"),                        13,  "too few bytes"),
    (b.COMPONENT + b.section(10, b"\x01\x03\0"),                  11,  "0x03 is no form of a name"),
    (b.COMPONENT + b.section(10, b"\x01\0\0\x06\0"),              13,  "no sort"),
    (b.COMPONENT + b.section(10, b"\x01\0\0\0\x10\0"),            13,  "no sort"),
    (b.COMPONENT + b.section(10, b"\x01\0\0\x03\x02"),            14,  "0x02 is no bound"),
    (b.COMPONENT + b.section(11, b"\x01\0\0\x01\0\x02"),          15,  "0x02 says neither"),
    (b.MODULE + b"\x02" + b.leb(limits.SECTION + 1),               8,  "more than we read"),
]
# fmt: on


@pytest.mark.parametrize(("content", "offset", "reason"), BROKEN)
def test_what_is_wrong_and_where(content, offset, reason):
    with pytest.raises(WasmError) as error:
        read_binary(content)
    assert error.value.offset == offset
    assert reason in str(error.value)
    assert str(error.value).endswith(f" at byte {offset}")


def outcome(*chunks: bytes) -> Binary | tuple[str, int]:
    reader = Reader()
    try:
        for chunk in chunks:
            reader.feed(chunk)
        return reader.finish()
    except WasmError as error:
        with pytest.raises(WasmError):  # and so it stays
            reader.feed(b"\0")
        with pytest.raises(WasmError):
            reader.finish()
        return error.reason, error.offset


WHOLE = [c for c, *_ in (*KINDS, *BROKEN) if len(c) < 1000] + [b.ALL_IMPORTS, b.EXTERNS]
CHANGED = st.builds(
    lambda content, at, new: (
        content[: at % len(content)] + new + content[at % len(content) + len(new) :]
    ),
    st.sampled_from(WHOLE),
    st.integers(0, 1000),
    st.binary(max_size=4),
)


@given(
    CHANGED | st.binary() | st.builds(bytes.__add__, st.sampled_from(WHOLE), st.binary()), st.data()
)
def test_nothing_but_its_error_and_the_same_for_every_chunking(content, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=5)))
    chunks = [content[a:z] for a, z in zip([0, *cuts], [*cuts, len(content)], strict=True)]
    whole = outcome(content)
    assert outcome(*chunks) == whole
    assert outcome(*(content[i : i + 1] for i in range(len(content)))) == whole


@pytest.mark.parametrize("content", [b.ALL_IMPORTS, b.EXTERNS, b.WIT], ids=len)
def test_every_cut_is_an_error_or_a_whole_binary(content):
    ends = [i for i in range(len(content)) if not isinstance(outcome(content[:i]), tuple)]
    assert len(ends) <= 7  # between sections
    assert all(i >= 8 for i in ends)


def test_memory_does_not_grow_with_the_binary():
    chunk = bytes(1 << 20)
    reader = Reader()
    tracemalloc.start()
    try:
        reader.feed(b.MODULE + b"\x0a" + b.leb(500 << 20))
        for _ in range(500):
            reader.feed(chunk)
        read, peak = reader.finish(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert read.size == (500 << 20) + 14
    assert peak < 100_000


def test_names_have_a_budget():
    many = b.section(2, b.leb(300_000) + b"\0\0\0\0" * 300_000)
    with pytest.raises(WasmError, match="more names and sections than we read"):
        read_binary(b.MODULE + many)
    reader = Reader()
    reader.feed(b.MODULE)
    with pytest.raises(WasmError, match="more names and sections than we read"):
        for _ in range(10_000):
            reader.feed(b.custom("producers", bytes(60_000)))
    with pytest.raises(WasmError, match="more names and sections than we read"):
        read_binary(b.COMPONENT + b.section(8, b"") * 300_000)


def test_types_have_a_bound():
    """More than that, or deeper, is no WIT package that we read, and no error."""
    deep = b"\x7f"
    for _ in range(limits.TYPE_DEPTH + 5):
        deep = b"\x41" + b.vector(b"\x01" + deep)
    assert read_binary(b.component_of_types(deep)).kind is COMPONENT
    wide = b.section(7, b.vector(*[b"\x6e" + b.vector(*[b.text("x" * 1000)] * 1000)] * 5))
    assert read_binary(b.COMPONENT + wide + b.WIT[8:]).kind is COMPONENT
