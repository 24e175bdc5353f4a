"""Archives that are hostile, broken or merely tricky, as data: layers, and what becomes of them.

``/OUTSIDE`` in a name stands for a folder beside the target.  `tree` is what `trees.read_tree`
says, `error` the class and a part of its text.  `umoci` is None where umoci makes the same tree, or
refuses as well; else a key of the table in docs/layers.md, which says how it differs and why.
"""

from __future__ import annotations

import gzip
import io
import itertools
import random
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.image.layers.archives import (
    BLOCK,
    END,
    OUTSIDE,
    E,
    archive,
    base256,
    d,
    f,
    h,
    ln,
    octal,
    pax_records,
)
from wasmhold.client.places import compression
from wasmhold.image.layers.options import LayerLimits
from wasmhold.oci.errors import (
    ArchiveInvalid,
    ForeignLayerError,
    LimitExceeded,
    UnsafeEntry,
    WasmholdError,
)

TAR = "application/vnd.oci.image.layer.v1.tar"
GZIP = f"{TAR}+gzip"
ZSTD = f"{TAR}+zstd"
FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"


@dataclass(frozen=True, slots=True)
class L:
    """One layer: entries, or bytes that are made of the encoded archive by `pack`."""

    entries: tuple[E | bytes, ...]
    media_type: str = TAR
    pack: object = None
    end: bytes = END

    def encode(self, outside: bytes = OUTSIDE) -> bytes:
        plain = archive(*self.entries, outside=outside, end=self.end)
        return self.pack(plain) if callable(self.pack) else plain


def layer(*entries: E | bytes, **more) -> L:
    return L(entries, **more)


@dataclass(frozen=True, slots=True)
class Case:
    """`rows` are the requirements that it holds."""

    id: str
    layers: tuple[L, ...]
    tree: Mapping[str, str] | None = None
    error: tuple[type[WasmholdError], str] | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    umoci: str | None = None


def ok(name: str, *layers: L, umoci: str | None = None, options=None, **tree: str) -> Case:
    return Case(name, layers, tree=tree, umoci=umoci, options=options or {})


def made(name: str, tree: Mapping[str, str], *layers: L, umoci: str | None = None, **options):
    return Case(name, layers, tree=tree, umoci=umoci, options=options)


def refused(
    name: str,
    error: type[WasmholdError],
    said: str,
    *layers: L,
    umoci: str | None = None,
    **options,
) -> Case:
    return Case(name, layers, error=(error, said), umoci=umoci, options=options)


def unsafe(name: str, said: str, *entries: E | bytes, umoci: str | None = None) -> Case:
    return refused(name, UnsafeEntry, said, layer(*entries), umoci=umoci)


def broken(name: str, said: str, *layers: L, umoci: str | None = None, **options) -> Case:
    return refused(name, ArchiveInvalid, said, *layers, umoci=umoci, **options)


def zstd(plain: bytes, **options) -> bytes:
    out = io.BytesIO()
    with compression.writing(compression.ZSTD, out) as writer:
        writer.write(plain)
    return out.getvalue()


def zstd_wide(plain: bytes) -> bytes:
    """With a window of 128 MiB, the largest that is taken."""
    return _zstd_of(plain, 27)


def zstd_too_wide(plain: bytes) -> bytes:
    return _zstd_of(plain, 28)


def _zstd_of(plain: bytes, window_log: int) -> bytes:
    module = compression._zstd()
    options = {
        module.CompressionParameter.window_log: window_log,
        module.CompressionParameter.content_size_flag: 0,
    }
    squeezed = module.ZstdCompressor(options=options)
    # A frame whose size nobody knew when it began needs the whole window.
    return squeezed.compress(plain[:BLOCK]) + squeezed.compress(plain[BLOCK:]) + squeezed.flush()


def skippable(content: bytes) -> bytes:
    return struct.pack("<II", 0x184D2A50, len(content)) + content


def members(*cuts: int):
    def pack(plain: bytes) -> bytes:
        at = [0, *cuts, len(plain)]
        parts = (plain[a:b] for a, b in itertools.pairwise(at))
        return b"".join(gzip.compress(part, mtime=0) for part in parts)

    return pack


def old_sparse(name: bytes, segments, size: int, data: bytes) -> E:
    """GNU's old format: four segments in the header, the others in blocks behind it."""
    head = b"".join(octal(a, 12) + octal(b, 12) for a, b in segments[:4]).ljust(96, b"\0")
    more, blocks = segments[4:], b""
    is_more = bool(more)
    while more:
        part, more = more[:21], more[21:]
        area = b"".join(octal(a, 12) + octal(b, 12) for a, b in part).ljust(504, b"\0")
        blocks += (area + (b"\1" if more else b"\0")).ljust(BLOCK, b"\0")
    fields = {386: head + (b"\1" if is_more else b"\0") + octal(size, 12)}
    return E(
        b"S",
        name,
        blocks + data,
        size=len(data),
        fields=fields,
        magic=b"ustar  \0",
    )


def pax_sparse_1(name: bytes, segments, size: int, data: bytes) -> E:
    lines = b"%d\n" % len(segments) + b"".join(b"%d\n%d\n" % one for one in segments)
    content = lines.ljust(-(-len(lines) // BLOCK) * BLOCK, b"\0") + data
    records = [
        (b"GNU.sparse.major", b"1"),
        (b"GNU.sparse.minor", b"0"),
        (b"GNU.sparse.name", name),
        (b"GNU.sparse.realsize", b"%d" % size),
    ]
    return E(b"0", b"GNUSparseFile.0/x", content, pax=records)


LONG = "n" * 200
DEEP = "/".join(["d"] * 100)
BIG = random.Random(1).randbytes(300_000)
HOLE = "\0" * 1000

# fmt: off
CASES = [
    # Appendix G, by its numbers.
    unsafe("U-01", "a link", ln("a", OUTSIDE), f("a/pwned", "1"), umoci="absolute links"),
    ok("U-02", layer(d("real"), ln("a", "real"), f("a/x", "1")),
       **{"real": "d 755", "a": "l real", "real/x": "f 644 1"}),
    unsafe("U-03", "begins at the root", h("h", OUTSIDE + b"/secret")),
    unsafe("U-04", "leads upwards", h("h", "../secret")),
    unsafe("U-05", "no plain name", f(".wh..."), umoci="a whiteout of what holds the root"),
    unsafe("U-06", "no plain name", d("d"), f("d/.wh."),
           umoci="whiteouts without a name"),
    ok("U-07", layer(f("f", "1"), f("keep")), layer(f(".wh.f")), layer(f("f", "3")),
       f="f 644 3", keep="f 644"),
    made("U-08", {"d": "d 755", "d/a": "f 644 2"},
         layer(f("d/a", "1"), f("d/b")), layer(f("d/.wh..wh..opq"), f("d/a", "2"))),
    made("U-09", {"d": "d 755", "d/n": "f 644 2"},
         layer(f("d/b")), layer(f("d/n", "2"), f("d/.wh..wh..opq"))),
    ok("U-10", layer(f("one", "1"), f("two", "2"), media_type=GZIP, pack=members(1024)),
       one="f 644 1", two="f 644 2"),
    ok("U-11", layer(f("x/y")), layer(f("x", "file")), x="f 644 file"),
    ok("U-12", layer(ln("s", "/nonexistent"), f("keep")), layer(f(".wh.s")), keep="f 644"),
    ok("U-13", layer(f("f", "1"), media_type=TAR, pack=members()), f="f 644 1", umoci="types"),
    refused("U-14", ForeignLayerError, "not unpacked",
            layer(f("f", "1"), media_type=FOREIGN, pack=members())),
    made("U-15", {"dir": "d 755", "dir/a": "f 644 1", "dir/z": "h dir/a"},
         layer(h("dir/a", "dir/z"), f("dir/z", "1")), umoci="late hard links"),
    broken("U-16", "not in the layer", layer(f("f"), h("orphan", "never"))),
    unsafe("U-17a", "leads upwards", f("../x"), umoci="names"),
    unsafe("U-17b", "begins at the root", f("/etc/x"), umoci="names"),
    unsafe("U-17c", "leads upwards", f("a/../../x"), umoci="names"),
    made("U-18", {"ro": "d 555", "ro/x": "f 644 1"}, layer(d("ro", 0o555), f("ro/x", "1"))),
    unsafe("U-19", "a link", ln("a", OUTSIDE), f("a/.wh.victim"), umoci="absolute links"),

    # Names.
    ok("empty", layer()),
    unsafe("no name", "no name", f("")),
    ok("dot slash", layer(d("./"), d("./a"), f("./a/b", "1")), **{"a": "d 755", "a/b": "f 644 1"}),
    ok("double slashes", layer(f("a//b/./c", "1")),
       **{"a": "d 755", "a/b": "d 755", "a/b/c": "f 644 1"}),
    unsafe("beside one at the top", "begins at the root", f("a"), f("/b"), umoci="names"),
    unsafe("beside one below", "leads upwards", f("a/b"), f("a/..")),
    unsafe("as the one before", "begins at the root", f("a/b"), f("/a/b"), umoci="names"),
    made("beside dots", {"a": "d 755", "a/b": "f 644 1", "a/c": "f 644 2", "a/d": "f 644 3"},
         layer(f("a/./b", "1"), f("a/./c", "2"), f("./a/d", "3"))),
    unsafe("dots in the middle", "leads upwards", d("a"), f("a/../b"), umoci="names"),
    unsafe("dots alone", "leads upwards", d(".."), umoci="names"),
    unsafe("the root as a file", "place of the root", f("./")),
    unsafe("the root as a link", "place of the root", ln("./", OUTSIDE), f("x")),
    unsafe("the root as a hard link", "place of the root", f("a"), h(".", "a")),
    ok("not UTF-8", layer(f(b"\xff\xfe", "1")), **{"\udcff\udcfe": "f 644 1"}),
    ok("a newline", layer(f("a\nb", "1")), **{"a\nb": "f 644 1"}),
    ok("backslashes", layer(f("..\\..\\x", "1")), **{"..\\..\\x": "f 644 1"}),
    ok("three dots", layer(f("...", "1")), **{"...": "f 644 1"}),
    ok("a blank", layer(f(" ", "1")), **{" ": "f 644 1"}),
    ok("case", layer(f("a", "1"), f("A", "2")), a="f 644 1", A="f 644 2"),
    ok("a long name", layer(f(LONG, "1")), **{LONG: "f 644 1"}),
    ok("a long name by pax", layer(f("short", "1", pax=[(b"path", LONG.encode())])),
       **{LONG: "f 644 1"}),
    ok("a prefix", layer(f("b", "1", fields={345: b"a"})), **{"a": "d 755", "a/b": "f 644 1"}),
    unsafe("a prefix that leads out", "leads upwards", f("b", fields={345: b".."}), umoci="names"),
    unsafe("pax leads out", "leads upwards", f("x", pax=[(b"path", b"../x")]), umoci="names"),
    unsafe("a part too long", "more than 255", f("n" * 256)),
    unsafe("a name too long", "more than 4096", f("/".join(["ab"] * 1500))),
    refused("too deep", LimitExceeded, "folders in each other", layer(f("/".join(["d"] * 300))),
            umoci="bounds"),
    refused("too deep through a link", LimitExceeded, "folders in each other",
            layer(d(DEEP), ln("l", DEEP), d("l/" + DEEP), ln("m", "l/" + DEEP), f("m/" + DEEP)),
            umoci="bounds"),
    broken("a NUL in a pax name", "NUL", layer(f("x", pax=[(b"path", b"a\0b")]))),

    # Links in the way.
    unsafe("two links", "a link", ln("a", "b"), ln("b", OUTSIDE), f("a/x"), umoci="absolute links"),
    unsafe("upwards", "a link", ln("a", "../outside"), f("a/x"), umoci="links upwards"),
    unsafe("upwards from below", "a link", d("d"), ln("d/a", "../../mid"), f("d/a/x"),
           umoci="links upwards"),
    unsafe("to the root of the system", "a link", ln("a", "/.."), f("a/x"), umoci="links upwards"),
    unsafe("a circle of links", "more than 40 links", ln("a", "b"), ln("b", "a"), f("a/x")),
    unsafe("a link to itself", "more than 40 links", ln("a", "a"), f("a/x")),
    unsafe("a chain of links", "more than 40 links",
           d("d"), ln("l0", "d"), *(ln(f"l{n}", f"l{n - 1}") for n in range(1, 60)), f("l59/x"),
           umoci="long chains"),
    unsafe("a link of many steps", "more than 1000 folders", d("d"),
           ln("l", "d/../" * 600 + "d"), f("l/x"), umoci="long chains"),
    unsafe("a link to a file", "no folder", f("t"), ln("a", "t"), f("a/x")),
    unsafe("a link to nothing", "no folder", ln("a", "nothing"), f("a/x"), umoci="broken links"),
    ok("an absolute link inside", layer(d("run"), d("var"), ln("var/run", "/run"), f("var/run/x")),
       **{"run": "d 755", "run/x": "f 644", "var": "d 755", "var/run": "l /run"}),
    ok("dots in a link inside", layer(d("a/b"), d("c"), ln("a/b/l", "../../c/."), f("a/b/l/x")),
       **{"a": "d 755", "a/b": "d 755", "a/b/l": "l ../../c/.", "c": "d 755", "c/x": "f 644"}),
    ok("a link through a link", layer(d("a/b"), ln("l", "a"), ln("m", "l/b"), f("m/x")),
       **{"a": "d 755", "a/b": "d 755", "a/b/x": "f 644", "l": "l a", "m": "l l/b"}),
    ok("links that nobody follows", layer(ln("a", OUTSIDE), ln("b", "../x"), ln("c", "c")),
       **{"b": "l ../x", "c": "l c", "a": "l /OUTSIDE"}),
    ok("a file over a link", layer(ln("a", OUTSIDE + b"/secret"), f("a", "1")), a="f 644 1"),
    ok("a file over a link from below", layer(ln("a", OUTSIDE + b"/secret")), layer(f("a", "1")),
       a="f 644 1"),
    ok("a folder over a link", layer(ln("a", OUTSIDE), d("a"), f("a/x", "1")),
       **{"a": "d 755", "a/x": "f 644 1"}),
    ok("a folder over a link inside", layer(d("r"), ln("a", "r")), layer(d("a"), f("a/x", "1")),
       **{"r": "d 755", "a": "d 755", "a/x": "f 644 1"}),
    unsafe("a link over a folder", "a link", d("a"), f("a/x"), ln("a", OUTSIDE), f("a/x"),
           umoci="absolute links"),
    ok("a way that changes", layer(d("r"), d("s"), ln("a", "r"), f("a/x", "1"), ln("a", "s"),
                                   f("a/y", "2")),
       **{"a": "l s", "r": "d 755", "r/x": "f 644 1", "s": "d 755", "s/y": "f 644 2"}),
    broken("a link that says nothing", "says nothing", layer(ln("a", ""))),

    # Hard links.
    ok("a hard link", layer(f("a", "1"), h("b", "a")), a="f 644 1", b="h a"),
    ok("a hard link to a link", layer(ln("a", OUTSIDE + b"/secret"), h("b", "a")),
       a="l /OUTSIDE/secret", b="h a"),
    ok("a hard link to a hard link", layer(f("a", "1"), h("b", "a"), h("c", "b")),
       a="f 644 1", b="h a", c="h a"),
    ok("a chain that comes late", layer(h("d", "c"), h("c", "b"), h("b", "a"), f("a", "1")),
       a="f 644 1", b="h a", c="h a", d="h a", umoci="late hard links"),
    ok("a late one that is replaced", layer(h("a", "z"), f("a", "2"), f("z", "1")),
       a="f 644 2", z="f 644 1", umoci="late hard links"),
    made("a late one between folders",
         {"a": "d 755", "a/b": "d 755", "a/b/h": "f 644 1", "c": "d 755", "c/d": "d 755",
          "c/d/h": "f 644 2", "c/d/t": "h a/b/h"},
         layer(d("a/b"), d("c/d"), f("c/d/h", "2"), f("a/b/h", "0"), h("a/b/h", "c/d/t"), f("c/d/t", "1")),
         umoci="late hard links"),
    ok("a hard link to below", layer(f("a", "1")), layer(h("b", "a")), a="f 644 1", b="h a"),
    ok("below stays as it was", layer(f("a", "1")), layer(h("b", "a"), f("a", "2")),
       a="f 644 2", b="f 644 1"),
    ok("a hard link to itself", layer(f("a", "1")), layer(h("a", "a")), a="f 644 1",
       umoci="a hard link to itself"),
    broken("a hard link to a folder", "to the folder", layer(d("a"), h("b", "a"))),
    broken("hard links in a circle", "not in the layer", layer(h("a", "b"), h("b", "a"))),
    unsafe("a hard link through a link", "a link", ln("a", OUTSIDE), h("b", "a/secret")),
    unsafe("a hard link from outside", "a link", f("t"), ln("a", OUTSIDE), h("a/pwned", "t"),
           umoci="absolute links"),
    broken("a hard link out of what it replaces", "not in the layer",
           layer(f("a/x", "1"), h("a", "a/x"))),
    ok("data behind a hard link's header", layer(f("a", "1"), h("b", "a", size=700), f("c")),
       a="f 644 1", b="h a", c="f 644"),

    # Whiteouts.
    ok("a whiteout of nothing", layer(f("a")), layer(f(".wh.b"), f("no/.wh.c")), a="f 644"),
    ok("a whiteout of a folder", layer(f("a/b/c"), f("k")), layer(f(".wh.a")), k="f 644"),
    ok("of its own layer, before", layer(f(".wh.a"), f("a", "1")), a="f 644 1"),
    ok("of its own layer, behind", layer(f("a", "1"), f(".wh.a")), a="f 644 1"),
    made("of a folder that its layer has", {"a": "d 755", "a/n": "f 644 2"},
         layer(f("a/b", "1")), layer(f("a/n", "2"), f(".wh.a"))),
    made("opaque between", {"d": "d 755", "d/a": "f 644 2", "d/n": "f 644 2"},
         layer(f("d/a", "1"), f("d/b"), f("d/s/t")),
         layer(f("d/n", "2"), f("d/.wh..wh..opq"), f("d/a", "2"))),
    made("opaque behind what is deeper", {"d": "d 755", "d/s": "d 755", "d/s/n": "f 644 2"},
         layer(f("d/s/t")), layer(f("d/s/n", "2"), f("d/.wh..wh..opq"))),
    ok("opaque at the root", layer(f("a"), f("d/b")), layer(f("n", "2"), f(".wh..wh..opq")),
       n="f 644 2"),
    ok("opaque in the first layer", layer(f("a", "1"), f(".wh..wh..opq")), a="f 644 1"),
    made("opaque through a link", {"r": "d 755", "a": "l r", "r/n": "f 644 2"},
         layer(f("r/b"), ln("a", "r")), layer(f("a/n", "2"), f("r/.wh..wh..opq"))),
    made("opaque twice", {"d": "d 755", "d/n": "f 644 2"},
         layer(f("d/b")), layer(f("d/.wh..wh..opq"), f("d/n", "2"), f("d/.wh..wh..opq"))),
    ok("whiteouts of other kinds", layer(f("a"), f("b"), f("c")),
       layer(d(".wh.a"), ln(".wh.b", "x"), h(".wh.c", "y"))),
    ok("a whiteout with content", layer(f("a")), layer(f(".wh.a", "x" * 600), f("b", "1")),
       b="f 644 1"),
    unsafe("opaque outside", "a link", ln("a", OUTSIDE), f("a/.wh..wh..opq"),
           umoci="absolute links"),
    unsafe("a folder named as a whiteout", "in a whiteout", f(".wh.a/b"), umoci="in a whiteout"),
    unsafe("a whiteout of the folder", "no plain name", d("d"), f("d/.wh.."),
           umoci="whiteouts without a name"),
    ok("a whiteout of a whiteout", layer(f("a")), layer(f(".wh..wh.a"), f(".wh..wh.plnk")),
       a="f 644"),
    ok("a whiteout of a link to outside", layer(ln("a", OUTSIDE), f("k")), layer(f(".wh.a")),
       k="f 644"),
    ok("a whiteout and then a new one", layer(f("d/a", "1")), layer(f(".wh.d"), f("d/b", "2")),
       **{"d": "d 755", "d/b": "f 644 2"}),

    # What takes the place of what.
    ok("a file twice", layer(f("a", "1"), f("a", "2")), a="f 644 2"),
    ok("a folder over a file", layer(f("a", "1")), layer(d("a", 0o700)), a="d 700"),
    ok("a link over a full folder", layer(f("a/b/c")), layer(ln("a", "z")), a="l z"),
    ok("a folder over a folder", layer(f("a/b", "1"), d("a", 0o700)), layer(d("a", 0o711)),
       **{"a": "d 711", "a/b": "f 644 1"}),
    ok("below a file", layer(f("a", "1"), f("a/b", "2")), **{"a": "d 755", "a/b": "f 644 2"},
       umoci="below a file"),
    ok("a folder that came and went", layer(d("a", 0o700), f("a", "1"), f("a/b", "2")),
       **{"a": "d 755", "a/b": "f 644 2"}, umoci="below a file"),
    ok("an open folder that came and went",
       layer(f("a/b/x"), f("a", "1"), f("a/b/y", "2"), f("a/z", "3")),
       **{"a": "d 755", "a/b": "d 755", "a/b/y": "f 644 2", "a/z": "f 644 3"},
       umoci="below a file"),
    ok("folders in each other's place",
       layer(*(one for n in range(50) for one in (d(f"{n}", 0o700), f(f"{n}", "1"), d(f"n{n}/m")))),
       **{f"{n}": "f 644 1" for n in range(50)}, **{f"n{n}": "d 755" for n in range(50)},
       **{f"n{n}/m": "d 755" for n in range(50)}),
    ok("one that came back", layer(d("a", 0o700), f("a", "1")), layer(d("a", 0o711)), a="d 711"),
    ok("hard links part", layer(f("a", "1"), h("b", "a")), layer(f("b", "2")),
       a="f 644 1", b="f 644 2"),

    # Kinds.
    ok("setuid", layer(f("a", mode=0o6755), d("b", 0o2775), d("t", 0o1777)),
       a="f 755", b="d 775", t="d 1777", umoci="setuid"),
    made("setuid that is kept", {"a": "f 6755", "b": "d 2775"},
         layer(f("a", mode=0o6755), d("b", 0o2775)), keep_setid=True),
    ok("devices", layer(E(b"3", b"c", device=(1, 3)), E(b"4", b"b", device=(7, 0)), E(b"6", b"p"),
                        f("a")), a="f 644", umoci="devices"),
    ok("a device over a file", layer(f("a", "1")), layer(E(b"3", b"a", device=(1, 3))),
       umoci="devices"),
    ok("a hard link to a device", layer(E(b"3", b"c", device=(1, 3)), h("h", "c"), f("a")),
       a="f 644", umoci="devices"),
    broken("a device as an error", "a device", layer(E(b"6", b"p")), special="error",
           umoci="devices"),
    made("a pipe", {"p": "p 600 0:0"}, layer(E(b"6", b"p", mode=0o600)), special="create"),
    ok("an old file", layer(E(b"\0", b"a", b"1")), a="f 644 1"),
    ok("an old folder", layer(E(b"\0", b"a/", mode=0o700, magic=b"\0" * 8)), a="d 700"),
    ok("a contiguous file", layer(E(b"7", b"a", b"1")), a="f 644 1",
           umoci="contiguous files"),
    ok("a kind that nobody knows", layer(E(b"Z", b"a", b"x" * 600), f("b", "1")), b="f 644 1",
       umoci="unknown kinds"),
    ok("a global header", layer(E(b"g", b"pax_global_header", pax_records([(b"path", b"../x")])),
                                f("a", "1")), a="f 644 1",
           umoci="global headers"),
    ok("a folder with a size", layer(d("a", size=1024), f("b", "1")), a="d 755", b="f 644 1"),
    ok("mode with a type", layer(f("a", mode=0o100644)), a="f 644"),
    ok("no rights at all", layer(d("a", 0o000), f("a/b", mode=0)), **{"a": "d 0", "a/b": "f 0"}),
    ok("a folder closed by a later layer", layer(d("a"), f("a/b", "1")), layer(d("a", 0o500)),
       layer(f("a/c", "2")), **{"a": "d 500", "a/b": "f 644 1", "a/c": "f 644 2"}),

    # Sparse files.
    ok("old sparse", layer(old_sparse(b"s", [(0, 2), (500, 2), (1000, 0)], 1000, b"abcd")),
       s="f 644 ab" + HOLE[:498] + "cd" + HOLE[:498],
           umoci="old sparse files"),
    ok("old sparse with more blocks",
       layer(old_sparse(b"s", [(n * 10, 1) for n in range(60)], 600, b"x" * 60), f("z", "1")),
       s="f 644 " + ("x" + "\0" * 9) * 60, z="f 644 1",
           umoci="old sparse files"),
    ok("pax sparse 0.0", layer(E(b"0", b"s", b"abcd", pax=[
        (b"GNU.sparse.size", b"1000"), (b"GNU.sparse.numblocks", b"2"),
        (b"GNU.sparse.offset", b"0"), (b"GNU.sparse.numbytes", b"2"),
        (b"GNU.sparse.offset", b"500"), (b"GNU.sparse.numbytes", b"2")])),
       s="f 644 ab" + HOLE[:498] + "cd" + HOLE[:498]),
    ok("pax sparse 0.1", layer(E(b"0", b"GNUSparseFile.1/s", b"abcd", pax=[
        (b"GNU.sparse.size", b"1000"), (b"GNU.sparse.numblocks", b"2"),
        (b"GNU.sparse.name", b"s"), (b"GNU.sparse.map", b"0,2,500,2")])),
       s="f 644 ab" + HOLE[:498] + "cd" + HOLE[:498]),
    ok("pax sparse 1.0", layer(pax_sparse_1(b"s", [(0, 2), (500, 2)], 1000, b"abcd"), f("z", "1")),
       s="f 644 ab" + HOLE[:498] + "cd" + HOLE[:498], z="f 644 1"),
    unsafe("a sparse name that leads out", "leads upwards", pax_sparse_1(b"../s", [], 1, b""),
           umoci="names"),
    broken("a sparse map out of order", "does not fit",
           layer(pax_sparse_1(b"s", [(500, 2), (0, 2)], 1000, b"abcd"))),
    broken("a sparse map beyond the size", "does not fit",
           layer(pax_sparse_1(b"s", [(0, 2), (999, 2)], 1000, b"abcd"))),
    broken("a sparse map for other data", "does not fit",
           layer(old_sparse(b"s", [(0, 9)], 1000, b"abcd"))),
    broken("a sparse map without pairs", "no pairs", layer(E(b"0", b"s", b"", pax=[
        (b"GNU.sparse.size", b"9"), (b"GNU.sparse.numblocks", b"1"),
        (b"GNU.sparse.numbytes", b"2"), (b"GNU.sparse.offset", b"0")]))),
    broken("a sparse map that has no end", "broken", layer(E(b"0", b"s", b"9" * 3000, pax=[
        (b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"),
        (b"GNU.sparse.realsize", b"9")]))),
    broken("a sparse map of billions", "too many", layer(E(b"0", b"s", b"9999999999\n".ljust(BLOCK), pax=[
        (b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"),
        (b"GNU.sparse.realsize", b"9")]))),
    refused("a huge hole", LimitExceeded, "bytes when it is unpacked",
            layer(pax_sparse_1(b"s", [], 1 << 62, b""))),

    # Numbers.
    ok("base 256", layer(f("a", "12", fields={124: base256(2, 12), 108: base256(3_000_000, 8)})),
       a="f 644 12"),
    ok("a negative time", layer(f("a", "1", mtime=-86400)), a="f 644 1"),
    ok("a time without measure", layer(f("a", "1", fields={136: base256(1 << 62, 12)})), a="f 644 1"),
    ok("a time with a fraction", layer(f("a", pax=[(b"mtime", b"-1.25")])), a="f 644"),
    broken("a negative size", "negative", layer(f("a", fields={124: base256(-512, 12)}))),
    broken("a size of 64 bits and more", "63 bits",
           layer(f("a", fields={124: b"\x80" + b"\x7f" * 11}))),
    broken("a size of nonsense", "no number", layer(f("a", fields={124: b"12x4567890\0"}))),
    broken("a size with digits too high", "no number", layer(f("a", fields={124: b"00000000080\0"}))),
    broken("a pax size of nonsense", "no number", layer(f("a", pax=[(b"size", b"-1")]))),
    broken("a pax time of nonsense", "no time", layer(f("a", pax=[(b"mtime", b"1e9")]))),
    broken("a negative owner", "negative", layer(f("a", fields={108: base256(-1, 8)})),
           umoci="owners"),
    broken("an owner that no system has", "no system", layer(f("a", pax=[(b"uid", b"4294967295")])),
           owner="apply", umoci="owners"),
    ok("a pax size beats the header", layer(f("a", "12", size=0, pax=[(b"size", b"2")]), f("b")),
       a="f 644 12", b="f 644"),

    # Headers.
    broken("no tar", "checksum", layer(b"this is no tar at all".ljust(1024, b"!"))),
    broken("no bytes", "no bytes", layer(pack=lambda plain: b"")),
    broken("no bytes, compressed", "no bytes",
           layer(media_type=GZIP, pack=lambda plain: gzip.compress(b""))),
    broken("a wrong checksum", "checksum", layer(f("a"), f("b", checksum=b"000001\0 "))),
    ok("a signed checksum", layer(f(b"\xff", checksum=b"%06o\0 " % (
        sum(f(b"\xff").encode()[:BLOCK]) - sum(f(b"\xff").encode()[148:156]) + 256 - 256))),
       **{"\udcff": "f 644"}),
    broken("something behind zeros", "behind a block of zeros",
           layer(f("a"), bytes(BLOCK), f("b"))),
    broken("cut off in a header", "cut off", layer(f("a"), f("b").encode()[:100], end=b"")),
    broken("cut off in a file", "cut off", layer(f("a", "x" * 5000).encode()[:2000], end=b"")),
    ok("without an end", layer(f("a", "1"), end=b""), a="f 644 1"),
    ok("something behind the end", layer(f("a", "1"), end=END + b"x" * 700), a="f 644 1"),
    broken("a pax header without end", "a header of",
           layer(E(b"x", b"x", b"", size=1 << 40), f("a"))),
    broken("a long name without end", "a header of",
           layer(E(b"L", b"x", b"", size=1 << 40), f("a"))),
    broken("headers for nothing", "more of an entry", layer(E(b"x", b"x", b"10 a=1234\n")),
           umoci="headers for nothing"),
    broken("headers without an entry", "headers for one entry",
           layer(*(E(b"x", b"x", b"10 a=1234\n") for _ in range(40)), f("a")),
           umoci="headers without an entry"),
    broken("a pax record too long", "cannot be read", layer(E(b"x", b"x", b"99 a=1\n"), f("a"))),
    broken("a pax record without length", "cannot be read", layer(E(b"x", b"x", b"a=1\n"), f("a"))),
    broken("a pax record of length 0", "cannot be read",
           layer(E(b"x", b"x", b"0 a=1\n"), f("a"))),

    # Compression.
    ok("zstd", layer(f("a", "1"), media_type=ZSTD, pack=zstd), a="f 644 1", umoci="zstd"),
    ok("zstd in frames", layer(f("a", "1"), f("b", "2"), media_type=ZSTD,
       pack=lambda plain: skippable(b"x" * 99) + zstd(plain[:700]) + skippable(b"") +
       zstd(plain[700:]) + skippable(b"y")), a="f 644 1", b="f 644 2", umoci="zstd"),
    ok("zstd with a wide window", layer(f("a", BIG), media_type=ZSTD, pack=zstd_wide),
       a="f 644 300000 bytes " + BIG[:2000].decode("latin-1"), umoci="zstd"),
    broken("zstd with a window too wide", "compression",
           layer(f("a", BIG), media_type=ZSTD, pack=zstd_too_wide)),
    broken("zstd with garbage behind it", "compression",
           layer(f("a"), media_type=ZSTD, pack=lambda plain: zstd(plain) + b"garbage")),
    broken("zstd cut off", "compression",
           layer(f("a", BIG), media_type=ZSTD, pack=lambda plain: zstd(plain)[:-9])),
    ok("gzip in many members", layer(f("a", "1"), f("b", "2"), media_type=GZIP,
       pack=members(*range(100, 2000, 100))), a="f 644 1", b="f 644 2"),
    ok("gzip with zeros behind it", layer(f("a", "1"), media_type=GZIP,
       pack=lambda plain: gzip.compress(plain) + bytes(512)), a="f 644 1", umoci="zeros"),
    broken("gzip with garbage behind it", "compression",
           layer(f("a"), media_type=GZIP, pack=lambda plain: gzip.compress(plain) + b"garbage")),
    broken("gzip cut off", "compression",
           layer(f("a", BIG), media_type=GZIP, pack=lambda plain: gzip.compress(plain)[:-9])),
    broken("gzip with a wrong checksum", "compression",
           layer(f("a", BIG), media_type=GZIP,
                 pack=lambda plain: gzip.compress(plain)[:-8] + b"\1\2\3\4\5\6\7\0")),
    broken("gzip as the type says, strictly", "has the compression none",
           layer(f("a"), media_type=GZIP), strict=True),

    # Bounds.
    refused("a bomb", LimitExceeded, "times its own size",
            layer(f("a", bytes(3_000_000)), media_type=GZIP, pack=members()),
            umoci="bounds", limits=LayerLimits(free=1_000_000, ratio=100)),
    refused("too many bytes", LimitExceeded, "bytes when it is unpacked",
            layer(f("a", BIG)), umoci="bounds", limits=LayerLimits(size=200_000)),
    refused("too many entries", LimitExceeded, "entries",
            layer(*(f(f"{n}") for n in range(11))), umoci="bounds", limits=LayerLimits(entries=10)),
    refused("too many folders to remember", LimitExceeded, "remembered",
            layer(*(d(f"{n}") for n in range(20))), umoci="bounds",
            limits=LayerLimits(remembered=3000)),
    refused("too many late links", LimitExceeded, "remembered",
            layer(*(h(f"{n}", "late") for n in range(20)), f("late")),
            limits=LayerLimits(remembered=3000)),
]
# fmt: on
