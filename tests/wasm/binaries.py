"""Binaries made by hand, from the specifications."""

from __future__ import annotations

MODULE = b"\0asm\x01\0\0\0"
COMPONENT = b"\0asm\x0d\0\x01\0"


def leb(number: int) -> bytes:
    out = b""
    while number >= 0x80:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def text(value: str) -> bytes:
    return leb(len(value.encode())) + value.encode()


def vector(*items: bytes) -> bytes:
    return leb(len(items)) + b"".join(items)


def section(number: int, content: bytes) -> bytes:
    return leb(number) + leb(len(content)) + content


def custom(name: str, payload: bytes = b"") -> bytes:
    return section(0, text(name) + payload)


def named(name: str) -> bytes:
    """The name of a component's import or export."""
    return b"\0" + text(name)


def imported(module: str, name: str, description: bytes) -> bytes:
    return text(module) + text(name) + description


def exported(name: str, sort: int, index: int = 0) -> bytes:
    return text(name) + bytes([sort]) + leb(index)


# A module with everything in it that an import can be.
ALL_IMPORTS = MODULE + section(
    2,
    vector(
        imported("env", "f", b"\x00\x05"),
        imported("env", "t", b"\x01\x70\x01\x01\x02"),  # funcref, 1 to 2
        imported("env", "r", b"\x01\x63\x05\x00\x00"),  # (ref null 5)
        imported("env", "m", b"\x02\x00\x01"),
        imported("env", "big", b"\x02\x07\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01\x01"),
        imported("env", "page", b"\x02\x08\x01\x00"),
        imported("env", "g", b"\x03\x7f\x01"),
        imported("env", "h", b"\x03\x64\x70\x00"),
        imported("env", "e", b"\x04\x00\x01"),
        imported("env", "x", b"\x20\x01"),
        imported(
            "many", "", b"\x7f" + vector(text("a") + b"\x00\x00", text("b") + b"\x03\x7f\x00")
        ),
        imported("same", "", b"\x7e\x00\x00" + vector(text("c"), text("d"))),
        imported("", "", b"\x00\x00"),
    ),
)

# A component with everything in it that an import or export can be.
EXTERNS = (
    COMPONENT
    + section(
        10,
        vector(
            named("wasi:io/streams@0.2.0") + b"\x05\x00",
            named("run") + b"\x01\x00",
            named("m") + b"\x00\x11\x00",
            named("v") + b"\x02\x00\x00",
            named("w") + b"\x02\x01\x7f",
            named("t") + b"\x03\x00\x01",
            named("u") + b"\x03\x01",
            b"\x01" + text("old:form/name") + b"\x05\x00",
            b"\x02" + text("plain") + vector(b"\0" + text("a:b/c")) + b"\x05\x01",
            named("unlocked-dep=<a:b@{>=1.0.0}>") + b"\x04\x00",
        ),
    )
    + section(1, MODULE + b"never looked at")
    + section(
        11,
        vector(
            named("wasi:cli/run@0.2.0") + b"\x05\x00\x00",
            named("é") + b"\x01\x07\x01\x01\x02",
            named("core") + b"\x00\x11\x00\x00",
        ),
    )
)

# (package e:e; interface i {} world w { export i; export run: func(); }), as wit-component has it.
_INSTANCE_TYPE = b"\x42" + vector()
_INTERFACE = b"\x41" + vector(b"\x01" + _INSTANCE_TYPE, b"\x04" + named("e:e/i") + b"\x05\x00")
_WORLD = b"\x41" + vector(
    b"\x01"
    + b"\x41"
    + vector(
        b"\x01" + _INSTANCE_TYPE,
        b"\x04" + named("e:e/i") + b"\x05\x00",
        b"\x01" + b"\x40" + vector() + b"\x01\x00",
        b"\x04" + named("run") + b"\x01\x01",
    ),
    b"\x04" + named("e:e/w") + b"\x04\x00",
)
WIT = (
    COMPONENT
    + section(7, vector(_INTERFACE))
    + section(11, vector(named("i") + b"\x03\x00\x00"))
    + section(7, vector(_WORLD))
    + section(11, vector(named("w") + b"\x03\x02\x00"))
    + custom("package-docs", b"\x01{}")
    + custom("producers", vector(text("processed-by") + vector(text("wit-component") + text("1"))))
)
# The older encoding: all of the package in one type.
WIT_WHOLE = (
    COMPONENT
    + section(
        7,
        vector(
            b"\x41"
            + vector(
                b"\x01" + _INSTANCE_TYPE,
                b"\x04" + named("e:e/i@1.0.0") + b"\x05\x00",
                b"\x01" + b"\x41" + vector(),
                b"\x04" + named("e:e/w@1.0.0") + b"\x04\x01",
            )
        ),
    )
    + section(11, vector(named("e:e/wit@1.0.0") + b"\x03\x00\x00"))
)


def component_of_types(*types: bytes, names: int = 1) -> bytes:
    """Types, each in a component type of its own, the first `names` exported by plain names."""
    of = [
        b"\x41"
        + vector(
            b"\x01" + kind, b"\x01" + _INSTANCE_TYPE, b"\x04" + named(f"e:e/n{i}") + b"\x05\x01"
        )
        for i, kind in enumerate(types)
    ]
    exports = (named(f"n{i}") + b"\x03" + leb(i) + b"\0" for i in range(names))
    return COMPONENT + section(7, vector(*of)) + section(11, vector(*exports))
