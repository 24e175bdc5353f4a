"""Requests that no client sends, of thirteen kinds, each from a source of chance.

A kind takes good requests, those of the transcripts, and gives all bytes of one connection.  In
most of them stands a secret, wherever a client may put one.
"""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable, Sequence
from typing import Final

from wasmhold.testing.transcript import Exchange

MIB: Final = 1 << 20
# It comes back in no answer, and no log has it.
SECRET: Final = b"c2VjcmV0LW9mLWEtdXNlcg"

Make = Callable[[random.Random, Sequence[Exchange]], bytes]

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
_SESSION = "00000000-0000-4000-8000-000000000000"
_MANIFEST = b"application/vnd.oci.image.manifest.v1+json"
_INDEX = b"application/vnd.oci.image.index.v1+json"


def exchange(chance: random.Random, valid: Sequence[Exchange]) -> tuple[bytes, list[bytes], bytes]:
    """The line, the fields and the body of a good request, with a secret in it."""
    found = chance.choice(valid)
    fields = [f"{key}: {value}".encode("latin-1") for key, value in found.headers]
    content = b"".join(found.chunks or ())
    if found.is_chunked:
        fields.append(b"Transfer-Encoding: chunked")
        content = b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in found.chunks or ()) + b"0\r\n\r\n"
    elif found.chunks is not None and not any(
        key.lower() == "content-length" for key, _ in found.headers
    ):
        fields.append(b"Content-Length: %d" % len(content))
    fields += [b"Host: registry", b"Connection: close", b"Authorization: Basic " + SECRET]
    return f"{found.method} {found.target} HTTP/1.1".encode(), fields, content


def raw(
    line: bytes, fields: Sequence[bytes] = (), body: bytes = b"", end: bytes = b"\r\n"
) -> bytes:
    return end.join((line, *fields, b"", b"")) + body


def get(
    target: bytes,
    *fields: bytes,
    method: bytes = b"GET",
    body: bytes = b"",
    connection: bytes = b"close",
) -> bytes:
    fields = (b"Host: registry", b"Connection: " + connection, *fields)
    if body or method in (b"PUT", b"POST", b"PATCH"):
        fields = (*fields, b"Content-Length: %d" % len(body))
    return raw(b"%s %s HTTP/1.1" % (method, target), fields, body)


def mutated(chance: random.Random, valid: Sequence[Exchange]) -> bytes:
    """Bytes of a good request changed, lost, doubled, swapped, cut off."""
    data = bytearray(raw(*exchange(chance, valid)))
    for _ in range(chance.randrange(1, 8)):
        at = chance.randrange(len(data))
        match chance.randrange(6):
            case 0:
                data[at] = chance.randrange(256)
            case 1:
                data[at] ^= 1 << chance.randrange(8)
            case 2:
                del data[at : at + chance.randrange(1, 20)]
            case 3:
                data[at:at] = data[at : at + chance.randrange(1, 40)]
            case 4:
                data[at:at] = chance.choice(_PIECES)
            case 5:
                del data[max(at, 10) :]
        if not data:
            return b"\0"
    return bytes(data)


# fmt: off
_PIECES = (
    b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b"%00", b"%0d%0a", b"../", b"\xff\xfe",
    b"\r\n\r\n", b"0\r\n\r\n", b"HTTP/1.1", b"\x7f", b"\xe2\x80\xae", b";", b",", b'"', b"{}",
    b"Host: x\r\n", b"Content-Length: 7\r\n", b"Transfer-Encoding: chunked\r\n", b"-1", b"9" * 40,
)

_PARTS = (
    "..", ".", "", "...", "%2e%2e", "%2e%2e%2f", "%252e", "..%5c", "\\..\\", "%00", "%0d%0aX:1",
    "a" * 256, "a/" * 1000, "a" * 70_000, "%", "%zz", "%u002e", "ü", "\u202e", "日本", "\ud7ff",
    "etc/passwd", "proc/self/environ", ".wasmhold", "index.json", "oci-layout", "blobs",
    "_catalog", "v2", "manifests", "tags/list", "uploads", "referrers", "a", "a-b", "A", "a__b",
    "a.b", "latest", EMPTY, "sha256:", "sha512:" + "0" * 128, "md5:" + "0" * 32,
    "sha256:" + "g" * 64, _SESSION, "sha256:../../../../etc/passwd", "sha256:" + "0" * 63 + "/",
    "~root", "CON", "a\tb", "a b", ";x=1", "a:b", "a@b", "*", "?", "#", "$(id)", "`id`",
    "{{7*7}}", "%n%s%x", "' or 1=1--",
)
_QUERIES = (
    "n=0", "n=-1", "n=" + "9" * 5000, "n=1e9", "n=%31", "n=\u0663", "last=%00",
    "last=" + "a" * 9000, "digest=" + EMPTY, "digest=sha256:", "digest=x", "digest=%73ha256",
    "digest=", "digest", "mount=" + EMPTY, "from=../..", "from=a", "tag=a&" * 300, "tag=%ff",
    "digest-algorithm=md5", "artifactType=%ed%a0%80", "artifactType=%0d%0aX:1",
    "artifactType=a/b", "&" * 500, "=" * 500, "a" * 10_000, "%" * 50, "last=\ud7ff", "n=1&n=2",
    "digest=" + EMPTY + "&digest=" + EMPTY,
)
_METHODS = (
    b"GET", b"HEAD", b"PUT", b"POST", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT",
    b"get", b"PROPFIND", b"X" * 5000, b"G\0T", b"G T", b"", b"\xff", b"PRI", b"GET\t",
    b"M-SEARCH", b"*",
)
# fmt: on


def path(chance: random.Random, valid: Sequence[Exchange]) -> bytes:
    """Paths and queries that want out of the store, or break who reads them."""
    parts = chance.choices(_PARTS, k=chance.randrange(1, 6))
    if chance.random() < 0.7:
        ends = (
            f"blobs/{EMPTY}",
            "manifests/latest",
            "tags/list",
            "blobs/uploads/",
            f"referrers/{EMPTY}",
        )
        parts.append(chance.choice([*ends, f"blobs/uploads/{_SESSION}"]))
    target = "/v2/" + "/".join(parts)
    if chance.random() < 0.5:
        target += "?" + "&".join(chance.choices(_QUERIES, k=chance.randrange(1, 4)))
    body = chance.choice([b"", b"", b"{}"])
    method = chance.choice(_METHODS[:6])
    return get(target.encode(errors="surrogatepass"), method=method, body=body)


def query(chance: random.Random, valid: Sequence[Exchange]) -> bytes:
    """A good path with a query from elsewhere."""
    line, fields, body = exchange(chance, valid)
    method, target, version = line.split(b" ")
    asked = "&".join(chance.choices(_QUERIES, k=chance.randrange(1, 4))).encode()
    return raw(b" ".join((method, target.partition(b"?")[0] + b"?" + asked, version)), fields, body)


def method(chance: random.Random, valid: Sequence[Exchange]) -> bytes:
    line, fields, body = exchange(chance, valid)
    _, target, version = line.split(b" ")
    versions = (version, b"HTTP/1.0", b"HTTP/0.9", b"HTTP/9.9", b"HTTP/1.1 x", b"http/1.1", b"")
    return raw(b" ".join((chance.choice(_METHODS), target, chance.choice(versions))), fields, body)


# fmt: off
_FIELDS = (
    b"Host: other", b"Host:", b"Host: a b", b"Host: \xff", b"Host: evil\0", b"Host", b": x",
    b" folded: x", b"\tand on", b"X : y", b"X\0: y", b"X: \0", b"X: \x7f\x01", b"X: a\rb",
    b"X: a\nb", b"\xff\xfe: y", b"X: " + b"y" * 60_000, b"X" * 40_000 + b": y",
    b"Connection: close, host", b"Connection: upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAAA",
    b"Upgrade: websocket", b"Expect: 100-continue", b"Expect: 200-ok", b"TE: trailers",
    b"Trailer: Content-Length", b"X-Forwarded-For: ../../etc",
    b"X-Forwarded-For: " + b"1.2.3.4, " * 2000, b"Forwarded: for=x",
    b"X-HTTP-Method-Override: DELETE", b"X-Original-URL: /etc/passwd", b"Cookie: " + SECRET,
    b"Authorization: Basic " + SECRET * 400, b"Authorization: Basic \xff", b"Authorization:",
    b"Authorization: Bearer " + SECRET, b"Authorization: Digest x", b"Authorization: Basic =====",
    b"Proxy-Authorization: Basic " + SECRET, b"Accept: " + b"*/*;q=0.1, " * 3000,
    b"Accept: ;;;=,,", b"Accept: a/b;q=" + b"9" * 5000, b"Accept: \xff", b"Content-Type: ",
    b"Content-Type: a/b;" + b"x;" * 999, b'If-None-Match: "' + b"x" * 9000 + b'"',
    b"If-None-Match: *", b"If-Match: W/", b'If-Match: "', b"If-None-Match: " + b'"a", ' * 5000,
    b"If-Range: \xff", b"If-Modified-Since: yesterday", b"Content-Encoding: gzip",
    b"Docker-Content-Digest: x", b"OCI-Chunk-Min-Length: -1",
)
# fmt: on


def head(chance: random.Random, valid: Sequence[Exchange]) -> bytes:
    """Fields that are broken, folded, too long, too many; lines that end in another way."""
    line, fields, body = exchange(chance, valid)
    fields = [*fields, *chance.choices(_FIELDS, k=chance.randrange(1, 5))]
    if chance.random() < 0.1:
        fields += [b"X-%d: %s" % (i, SECRET) for i in range(chance.choice([90, 100, 120, 5000]))]
    chance.shuffle(fields)
    return raw(
        line, fields, body, chance.choice([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\r\n"])
    )


# fmt: off
_LENGTHS = (
    b"0", b"1", b"7", b"-1", b"+5", b"5 5", b"5,5", b"5, 6", b"0x5", b"1e3", b"5.0", b"", b" ",
    b"five", b"9" * 19, b"9" * 20, b"9" * 5000, b"18446744073709551616", b"\xb2", b"1\0",
    b"00000000005", b"1_0",
)
_CODINGS = (
    b"chunked", b"Chunked", b"gzip, chunked", b"chunked, chunked", b"identity", b"xchunked",
    b"chunked\0",
)
# fmt: on


def lengths(chance: random.Random, valid: Sequence[Exchange]) -> bytes:
    """Several lengths, none that is true, one beside a coding: what hides a second request."""
    line, fields, body = exchange(chance, valid)
    fields += [b"Content-Length: " + n for n in chance.choices(_LENGTHS, k=chance.randrange(3))]
    fields += [b"Transfer-Encoding: " + c for c in chance.choices(_CODINGS, k=chance.randrange(3))]
    chance.shuffle(fields)
    return raw(line, fields, body + chance.choice([b"", b"0\r\n\r\n", get(b"/v2/_catalog")]))


# fmt: off
_CHUNKS = (
    b"5\r\nhello\r\n", b"0\r\n", b"0\r\n\r\n", b"ffffffffffffffff\r\nx", b"fffffffff\r\nx",
    b"-1\r\n", b"5;a=b\r\nhello\r\n", b"5;" + b"x" * 20_000 + b"\r\nhello\r\n", b"5\nhello\n",
    b"G\r\n", b" 5\r\nhello", b"1\r\nx\r\n" * 3000, b"0\r\nContent-Length: 5\r\n\r\n",
    b"0\r\nX: " + SECRET + b"\r\n\r\n", b"0x5\r\n", b"0" * 3000 + b"5\r\nhello\r\n", b"\r\n",
    b"5\r\nhello", b"0\r\n" + b"X: y\r\n" * 3000, b"5 \r\nhello\r\n",
)
# fmt: on


def chunks(chance: random.Random, valid: Sequence[Exchange]) -> bytes:
    line, fields, _ = exchange(chance, [v for v in valid if v.chunks is not None])
    fields = [
        f for f in fields if not f.lower().startswith((b"content-length", b"transfer-encoding"))
    ]
    body = b"".join(chance.choices(_CHUNKS, k=chance.randrange(1, 5)))
    return raw(
        line, [*fields, b"Transfer-Encoding: chunked"], body + chance.choice([b"", b"0\r\n\r\n"])
    )


# fmt: off
_RANGES = (
    b"0-0", b"0-", b"-1", b"-0", b"5-2", b"0-" + b"9" * 5000, b"9" * 5000 + b"-",
    b"-" + b"9" * 5000, b"0-0," * 5000, b"0-0, 1-1, -1", b"a-b", b"\xb2-\xb3", b"1e2-", b"--1",
    b"0x0-0x5", b" 0 - 5 ", b"", b"0-99/" + b"9" * 5000, b"0-4/*", b"*/5",
    b"18446744073709551615-18446744073709551616", b"0-4\0",
)
_UNITS = (
    b"", b"bytes=", b"bytes ", b"Bytes=", b"bytes==", b"lines=", b"bytes=bytes=",
)
# fmt: on


def ranges(chance: random.Random, valid: Sequence[Exchange]) -> bytes:
    line, fields, body = exchange(chance, valid)
    for name in chance.sample([b"Range", b"Content-Range", b"If-Range"], k=2):
        fields.append(name + b": " + chance.choice(_UNITS) + chance.choice(_RANGES))
    return raw(line, fields, body)


def target(chance: random.Random, valid: Sequence[Exchange]) -> bytes:
    """Targets that are whole URLs, an authority, an asterisk, or nothing."""
    line, fields, body = exchange(chance, valid)
    method, path, version = line.split(b" ")
    found = chance.choice(
        (
            *(
                b"http://registry" + path,
                b"http://user:" + SECRET + b"@registry" + path,
                b"//x" + path,
            ),
            *(
                b"http://[::1" + path,
                b"http://\xff/" + path,
                b"ftp://x/v2/",
                b"file:///etc/passwd",
                b"*",
            ),
            *(
                b"registry:443",
                b"",
                b"v2/",
                path + b"#fragment",
                b"http:",
                b"http://",
                b"/\\x/..",
                b"?" + path,
            ),
            *(
                b"/" * 3000,
                b"http://" + b"x" * 3000 + b"/v2/",
                b"/v2/\xff\xfe",
                path.replace(b"/", b"\\"),
            ),
        )
    )
    return raw(b" ".join((method, found, version)), fields, body)


# fmt: off
_JSON = (
    b"[" * 100_000, b'{"a":' * 100_000, b"[" * 30 + b"]" * 30, b"null", b"[]", b'""', b"{",
    b"\xff", b"", b"\xef\xbb\xbf{}", "{}".encode("utf-16"), b'{"a":1,"a":2}', b"NaN",
    b"1" * 100_000, b"{}" * 50, b'{"schemaVersion":' + b"9" * 5000 + b"}",
    b'{"schemaVersion":2e0}', b'{"schemaVersion":NaN}',
    b'{"schemaVersion":2,"manifests":' + b"[" * 50 + b"]" * 50 + b"}", b'{"schemaVersion":1e999}',
)
_VALUES = (
    b"null", b"true", b"-1", b"1.5", b"9" * 5000, b"1e400", b"NaN", b"-Infinity", b'"\\ud800"',
    b'"\\u0000"', b'""', b'"../../x"', b'"a/b\\r\\nX: y"', b"[]", b"{}", b"[[]]",
    b'{"a":{"b":[]}}', b'"' + b"x" * 9000 + b'"', b'"\\u202e"', b'{"\\ud800":"\\udfff"}',
    b'{"":""}', b'"' + EMPTY.encode() + b'"', b"[{}]", b'"sha256:"',
    b'{"mediaType":"a/b","digest":"' + EMPTY.encode() + b'","size":0}', b'"a/\\ud800"',
    b'"\xed\xa0\x80"',
    b'{"mediaType":"a/b","digest":"' + EMPTY.encode() + b'","size":' + b"9" * 5000 + b"}",
    b"18446744073709551616",
)
_MEMBERS = (
    b"schemaVersion", b"mediaType", b"config", b"layers", b"manifests", b"subject",
    b"artifactType", b"annotations", b"data", b"urls", b"size", b"digest", b"platform",
    b"__proto__", b"\\u0000", b"\\ud800",
)
# fmt: on


def document(chance: random.Random, valid: Sequence[Exchange]) -> bytes:
    """Manifests that nest, that have numbers and text that none may have, that are none."""
    if chance.random() < 0.3:
        kind, body = chance.choice([_INDEX, _MANIFEST]), chance.choice(_JSON)
    else:
        config = b'{"mediaType":"a/b","digest":"%s","size":0}' % EMPTY.encode()
        kind = chance.choice([_INDEX, _MANIFEST])
        picked = {b"schemaVersion": b"2"}
        picked |= {b"manifests": b"[]"} if kind == _INDEX else {b"config": config}
        for member in chance.choices(_MEMBERS, k=chance.randrange(3)):
            picked[member] = chance.choice(_VALUES)
        if chance.random() < 0.3:
            picked[b"annotations"] = b'{"a":%s}' % chance.choice(_VALUES)
        if chance.random() < 0.5:
            picked[b"subject"] = config
        body = b"{%s}" % b",".join(b'"%s":%s' % item for item in picked.items())
    if chance.random() < 0.2:
        kind = chance.choice([b"a/b", b"\xff", b"", b"x" * 3000])
    name = chance.choice([b"latest", b"%d" % chance.randrange(50), EMPTY.encode()])
    at = b"/v2/fuzz/documents/manifests/" + name
    listing = b"/v2/fuzz/documents/referrers/%s" % EMPTY.encode()
    # And what was taken is read again, in every way.
    return b"".join(
        (
            get(at, b"Content-Type: " + kind, method=b"PUT", body=body, connection=b"keep-alive"),
            get(at, connection=b"keep-alive"),
            get(listing + chance.choice([b"", b"?artifactType=a/b"]), connection=b"keep-alive"),
            get(at, method=chance.choice([b"DELETE", b"HEAD"])),
        )
    )


def compressed(chance: random.Random, valid: Sequence[Exchange]) -> bytes:
    """Small bodies that would be large ones, and others that say a coding and have none."""
    bomb = chance.choice([_BOMB, _BOMB[:500], b"\x1f\x8b", b"\x28\xb5\x2f\xfd" + b"\0" * 40, b"{}"])
    coding = b"Content-Encoding: " + chance.choice(
        [b"gzip", b"deflate", b"br", b"zstd", b"gzip, gzip", b"x"]
    )
    asked = chance.choice([b"manifests/latest", b"blobs/uploads/?digest=" + EMPTY.encode()])
    method = b"POST" if asked.startswith(b"blobs") else b"PUT"
    return get(
        b"/v2/fuzz/bombs/" + asked, coding, b"Content-Type: " + _INDEX, method=method, body=bomb
    )


_BOMB = gzip.compress(b" " * (8 * MIB))
# fmt: off
_HELLO = (
    b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03"
    + bytes(range(32))
    + b"\0\0\x08\x13\x01\x13\x02\xc0\x2b\xc0\x2f"
    b"\x01\0\0\x93\0\0\0\x0d\0\x0b\0\0\x08registry\0\x10\0\x0e\0\x0c\x02h2\x08http/1.1"
)
# fmt: on
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# fmt: off
_OTHERS = (
    _HELLO, _HELLO[:7], _PREFACE + b"\0\0\0\x04\0\0\0\0\0", _PREFACE + b"\xff" * 200, _PREFACE,
    b"GET /v2/\r\n", b"GET\r\n\r\n", b"\r\n" * 500, b"\0" * 1000, b"SSH-2.0-x\r\n",
    b"\x80\x2e\x01\x03\x01", b"EHLO x\r\n", b"*1\r\n$4\r\nPING\r\n",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + get(b"/v2/"), b"\x05\x01\x00", b"GET " * 3000,
    b" " * 3000, b"GET /v2/ HTTP/1.1\r\nHost", b"G", b"HTTP/1.1 200 OK\r\n\r\n", b"",
)
# fmt: on


def other(chance: random.Random, valid: Sequence[Exchange]) -> bytes:
    """Other protocols than HTTP/1.1, and none."""
    data = chance.choice(_OTHERS)
    return data + chance.randbytes(chance.randrange(300)) if chance.random() < 0.3 else data


def many(chance: random.Random, valid: Sequence[Exchange]) -> bytes:
    """Requests one behind the other on one connection; the last one is cut off."""
    data = b"".join(raw(*exchange(chance, valid)) for _ in range(chance.randrange(2, 12)))
    data = data.replace(b"Connection: close\r\n", b"")
    return data[: -chance.randrange(1, 40)]


KINDS: tuple[Make, ...] = (
    *(mutated, path, query, method, head, lengths, chunks, ranges, target, document, compressed),
    *(other, many),
)
