"""Tar archives byte by byte, right ones and wrong ones: what no library would write, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

BLOCK = 512
END = bytes(2 * BLOCK)
OUTSIDE = b"/OUTSIDE"  # stands for a folder beside the target, which a test puts in its place


def octal(value: int, size: int) -> bytes:
    return b"%0*o\0" % (size - 1, value)


def base256(value: int, size: int) -> bytes:
    """As GNU tar writes what octal digits have no room for."""
    number = value % (1 << 8 * (size - 1))
    return (b"\xff" if value < 0 else b"\x80") + number.to_bytes(size - 1, "big")


def pax_records(records: Sequence[tuple[bytes, bytes]]) -> bytes:
    lines = []
    for key, value in records:
        rest = b" %s=%s\n" % (key, value)
        size = len(rest)
        while len(b"%d" % size) + len(rest) != size:
            size = len(b"%d" % size) + len(rest)
        lines.append(b"%d" % size + rest)
    return b"".join(lines)


@dataclass(frozen=True, slots=True)
class E:
    """One entry; `fields` replaces bytes of its header, by offset, before the checksum is made.

    `pax` are records of a header before it; `size` is what the header says, where it lies.
    """

    kind: bytes
    name: bytes
    content: bytes = b""
    link: bytes = b""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    device: tuple[int, int] = (0, 0)
    pax: Sequence[tuple[bytes, bytes]] = ()
    size: int | None = None
    fields: Mapping[int, bytes] = field(default_factory=dict)
    magic: bytes = b"ustar\x0000"
    checksum: bytes | None = None

    def encode(self, outside: bytes = OUTSIDE) -> bytes:
        name = self.name.replace(OUTSIDE, outside)
        link = self.link.replace(OUTSIDE, outside)
        before = b""
        if self.pax:
            records = pax_records([(k, v.replace(OUTSIDE, outside)) for k, v in self.pax])
            before += E(b"x", b"PaxHeaders/x", records).encode()
        for kind, text in ((b"L", name), (b"K", link)):
            if len(text) > 100:
                before += E(kind, b"././@LongLink", text + b"\0").encode()
        size = len(self.content) if self.size is None else self.size
        head = bytearray(BLOCK)
        for at, value in {
            0: name[:100],
            100: octal(self.mode, 8),
            108: octal(self.uid, 8),
            116: octal(self.gid, 8),
            124: octal(size, 12),
            136: octal(self.mtime, 12) if self.mtime >= 0 else base256(self.mtime, 12),
            156: self.kind,
            157: link[:100],
            257: self.magic,
            329: octal(self.device[0], 8),
            337: octal(self.device[1], 8),
            **self.fields,
        }.items():
            head[at : at + len(value)] = value
        head[148:156] = b" " * 8
        head[148:156] = self.checksum or b"%06o\0 " % sum(head)
        return before + bytes(head) + self.content + bytes(-len(self.content) % BLOCK)


def text(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


def f(name: str | bytes, content: str | bytes = "", **more) -> E:
    return E(b"0", text(name), text(content), **more)


def d(name: str | bytes, mode: int = 0o755, **more) -> E:
    return E(b"5", text(name), mode=mode, **more)


def ln(name: str | bytes, target: str | bytes, **more) -> E:
    return E(b"2", text(name), link=text(target), mode=0o777, **more)


def h(name: str | bytes, target: str | bytes, **more) -> E:
    return E(b"1", text(name), link=text(target), **more)


def archive(*entries: E | bytes, outside: bytes = OUTSIDE, end: bytes = END) -> bytes:
    """The entries and the end; bytes among them stand as they are."""
    return b"".join(e.encode(outside) if isinstance(e, E) else e for e in entries) + end
