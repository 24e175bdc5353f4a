"""The certificate and key of a server, as they were when they were checked.

Tools that renew certificates replace two files, one after the other.  So the parent reads both,
checks that they belong together, and workers get these very bytes, also a worker that takes the
place of a dead one an hour later.  On Linux they lie in memory, in files without a name, so that a
key is nowhere left on a disk; elsewhere in a folder that only this user may enter.
"""

from __future__ import annotations

import os
import re
import shutil
import ssl
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from ..oci.errors import Fault, FileInvalid
from ..oci.limits import MIB

_MAX: Final = MIB  # bytes of a file

# What rustls serves with, as DER: of the algorithm, or of the curve where there is one.
_KEYS: Final = {
    bytes.fromhex("06092a864886f70d010101"): "RSA",
    bytes.fromhex("06082a8648ce3d030107"): "ECDSA P-256",
    bytes.fromhex("06052b81040022"): "ECDSA P-384",
    bytes.fromhex("06032b6570"): "Ed25519",
}
_CERTIFICATE: Final = re.compile(
    rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL
)
_KEY: Final = re.compile(rb"-----BEGIN (?:RSA |EC )?PRIVATE KEY-----")
_ENCRYPTED: Final = re.compile(rb"BEGIN ENCRYPTED PRIVATE KEY|Proc-Type: *4, *ENCRYPTED")


@dataclass(frozen=True, slots=True)
class Certificate:
    """The files of a chain, the server's own certificate first, and of its key; both PEM."""

    chain: str
    key: str

    def read(self) -> Pair:
        """Both as they are now.  Raises FileInvalid, with what to do."""
        chain, key = _read(self.chain), _read(self.key)
        found = _CERTIFICATE.findall(chain)
        if not found:
            raise _invalid(self.chain, "no PEM certificate in it (BEGIN CERTIFICATE)")
        if _ENCRYPTED.search(key):
            raise _invalid(
                self.key,
                "the key is encrypted, and nobody is there to type a password: "
                f"openssl pkey -in {self.key} -out NEW, and chmod 600 NEW",
            )
        if not _KEY.search(key):
            raise _invalid(self.key, "no PEM key in it (BEGIN PRIVATE KEY, RSA or EC)")
        try:
            starts, ends, public_key = _read_certificate(
                ssl.PEM_cert_to_DER_cert(found[0].decode())
            )
        except (ValueError, IndexError):
            raise _invalid(self.chain, "its first certificate cannot be read") from None
        if not any(kind in public_key for kind in _KEYS):
            kinds = ", ".join(_KEYS.values())
            raise _invalid(self.chain, f"its kind of key is not served: want one of {kinds}")
        pair = Pair(chain, key, ends, tuple(self._warnings(starts, ends)))
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pair.chain_path, pair.key_path, password=lambda: b"")
        except (OSError, ValueError) as error:
            pair.close()
            raise self._explained(error) from None
        return pair

    def _explained(self, error: Exception) -> FileInvalid:
        reason = getattr(error, "reason", None)
        # The last where the two are not even of one kind.
        if reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"):
            return _invalid(
                self.key,
                f"it is not the key of the first certificate in {self.chain}: "
                "put the server's own certificate first, or replace both files",
            )
        return _invalid(self.chain, f"cannot be used together with {self.key} ({reason or error})")

    def _warnings(self, starts: float, ends: float) -> Iterator[str]:
        now = time.time()
        if now >= ends:
            yield f"{self.chain}: the certificate has expired ({_day(ends)}): clients refuse it"
        if now < starts:
            yield f"{self.chain}: the certificate is not valid before {_day(starts)}"
        with suppress(OSError):
            if os.stat(self.key).st_mode & (stat.S_IROTH | stat.S_IWOTH):
                yield f"{self.key}: everybody on this host may read the key: chmod o-rwx {self.key}"


class Pair:
    """A chain and its key, where a worker can read them until `close`; `ends` in s since 1970."""

    def __init__(self, chain: bytes, key: bytes, ends: float, warnings: tuple[str, ...]) -> None:
        self.ends, self.warnings = ends, warnings
        self._content = chain, key
        self._folder: str | None = None
        self._descriptors: list[int] = []
        if os.path.isdir("/proc/self/fd") and hasattr(os, "memfd_create"):
            self.chain_path = self._in_memory("chain", chain)
            self.key_path = self._in_memory("key", key)
        else:
            self._folder = tempfile.mkdtemp(prefix="wasmhold-")  # for this user alone
            self.chain_path, self.key_path = f"{self._folder}/chain", f"{self._folder}/key"
            Path(self.chain_path).write_bytes(chain)
            Path(self.key_path).write_bytes(key)

    def is_like(self, other: Pair) -> bool:
        return self._content == other._content

    def close(self) -> None:
        """Workers that have read it go on with it."""
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors.clear()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _in_memory(self, name: str, content: bytes) -> str:
        descriptor = os.memfd_create(f"wasmhold-{name}", os.MFD_CLOEXEC)
        self._descriptors.append(descriptor)
        with open(os.dup(descriptor), "wb") as file:
            file.write(content)
        # Of the parent, by its number: a worker is forked or spawned.
        return f"/proc/{os.getpid()}/fd/{descriptor}"


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read(_MAX + 1)
    except OSError as error:
        raise _invalid(path, f"cannot be read: {error.strerror or error}") from None
    if len(content) > _MAX:
        raise _invalid(path, f"more than {_MAX} bytes: no certificate or key is that large")
    return content


def _invalid(path: str, reason: str) -> FileInvalid:
    return FileInvalid(path, Fault("", reason))


def _day(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


def _read_certificate(der: bytes) -> tuple[float, float, bytes]:
    """Valid from and until, in seconds since 1970, and SubjectPublicKeyInfo.  RFC 5280, 4.1.

    Raises ValueError, IndexError.
    """
    fields = _elements(_elements(der)[0])
    # The version is left out where it is 1: then the serial number, an INTEGER, comes first.
    start = 0 if fields[0][0] == 0x02 else 1
    validity, public_key = fields[start + 3], fields[start + 5]
    first, last = (_time(element) for element in _elements(validity))
    return first, last, public_key


def _elements(der: bytes) -> list[bytes]:
    """The elements inside of a constructed one, each whole."""
    out = []
    at, end = _span(der, 0)
    while at < end:
        after = _span(der, at)[1]
        out.append(der[at:after])
        at = after
    return out


def _span(der: bytes, at: int) -> tuple[int, int]:
    """Where the content of the element at `at` starts, and where it ends."""
    length, start = der[at + 1], at + 2
    if length & 0x80:
        size = length & 0x7F
        length, start = int.from_bytes(der[start : start + size], "big"), start + size
    if start + length > len(der):
        raise ValueError("an element is cut")
    return start, start + length


def _time(element: bytes) -> float:
    text = element[2:].decode("ascii")
    if element[0] == 0x17:  # UTCTime: years 1950 to 2049
        text = ("19" if text[:2] >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
