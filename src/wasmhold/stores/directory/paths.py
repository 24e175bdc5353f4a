"""Every path of the directory store, and how names become names of files.

    .wasmhold/
        format                       {"format": 1}
        in-use                       locked, shared, by every process that has the store open
        pool/<alg>/<2 hex>/<hex>     a further name of every blob: finds it for the whole store
        tmp/<process>/               unfinished files; its `lock` is held while the process lives
        uploads/<session>/data state
        committed/<session>          text: what the session became
        dirty/<repository>           "index.json is behind"
        building/<repository>        the same, while somebody derives it
        bad/<alg>-<hex>.<inode>      wrong bytes that a check has moved away
    <repository>/                    an OCI image layout
        oci-layout
        index.json                   derived
        blobs/<alg>/<hex>            blobs and manifests
        .wasmhold/
            lock                     of the repository
            tags.lock                for the moment in which tags change
            tags/<tag>               text: the digest, in its short form
            manifests/<alg>:<hex>    text: the media type
            referrers/<alg>:<hex>/<alg>:<hex>    under the subject; text: the media type
            index.lock               of whoever derives index.json
            index.base index.state   the index.json that is known: a copy, and what tells it apart
            index.kept               entries of other tools that are left out

A component of a repository's name never begins with a dot, and ``=`` and ``+`` are in no name at
all.  Other tools read a repository in place, so its path has what they take: regctl takes no ``=``.
"""

from __future__ import annotations

import base64
import binascii
import re
from functools import lru_cache
from typing import Final

from ...oci.digest import HEX_LENGTH, Digest
from ...oci.errors import NameInvalid

META: Final = ".wasmhold"
FORMAT: Final = f"{META}/format"
IN_USE: Final = f"{META}/in-use"
POOL: Final = f"{META}/pool"
TMP: Final = f"{META}/tmp"  # noqa: S108 (inside the root)
UPLOADS: Final = f"{META}/uploads"
COMMITTED: Final = f"{META}/committed"
DIRTY: Final = f"{META}/dirty"
BUILDING: Final = f"{META}/building"
BAD: Final = f"{META}/bad"

# All that is in the store's own folder; a queue of a lock has the lock's name before it.
OURS: Final = (FORMAT, IN_USE, POOL, TMP, UPLOADS, COMMITTED, DIRTY, BUILDING, BAD)

MAX_COMPONENT: Final = 250  # bytes; file systems take 255

# What an image layout has in its folder, so what a repository below it cannot be called there.
_TAKEN: Final = {"blobs", "index.json", "oci-layout"}
_COMPONENT: Final = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_UPPER: Final = re.compile("[A-Z]")
_ESCAPED: Final = re.compile("=([a-z])")


# ---- names


def _checked(component: str, text: str) -> str:
    if len(component) > MAX_COMPONENT:
        raise NameInvalid(f"as a file name this is more than {MAX_COMPONENT} bytes", text)
    return component


def escape_component(component: str) -> str:
    """A component of a repository's name, as a folder.  Raises NameInvalid."""
    return _checked(f"+{component}" if component in _TAKEN else component, component)


def unescape_component(folder: str) -> str | None:
    """What `escape_component` made; None for what is no part of a repository's name."""
    if folder.startswith("+"):
        return folder[1:] if folder[1:] in _TAKEN else None
    is_one = len(folder) <= MAX_COMPONENT and _COMPONENT.fullmatch(folder) is not None
    return folder if is_one and folder not in _TAKEN else None


def escape_tag(tag: str) -> str:
    """A tag, as a file, also where the file system ignores case.  Raises NameInvalid."""
    if tag.islower():
        return tag
    return _checked(_UPPER.sub(lambda match: f"={match[0].lower()}", tag), tag)


def unescape_tag(file: str) -> str:
    return _ESCAPED.sub(lambda match: match[1].upper(), file) if "=" in file else file


# ---- digests


def write_short(digest: Digest) -> str:
    """At sha256 50 characters: ext4 keeps a link's text below 60 bytes without a block."""
    encoded = base64.urlsafe_b64encode(bytes.fromhex(digest.encoded)).decode().rstrip("=")
    return f"{digest.algorithm}:{encoded}"


def read_short(text: str) -> Digest | None:
    """None for what is no short digest: a link that was damaged."""
    algorithm, _, encoded = text.partition(":")
    try:
        raw = base64.b64decode(encoded + "=" * (-len(encoded) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    if len(raw) * 2 != HEX_LENGTH.get(algorithm):
        return None
    return Digest(algorithm, raw.hex())


def read_digest(file: str) -> Digest | None:
    """A name in ``manifests/`` or ``referrers/``; None for a stranger."""
    algorithm, _, encoded = file.partition(":")
    return read_hex(algorithm, encoded)


def read_hex(algorithm: str, file: str) -> Digest | None:
    """A name in ``blobs/<algorithm>``; None for a stranger."""
    if HEX_LENGTH.get(algorithm) != len(file) or not set(file) <= set("0123456789abcdef"):
        return None
    return Digest(algorithm, file)


# ---- paths


def pool(digest: Digest) -> str:
    return f"{POOL}/{digest.algorithm}/{digest.encoded[:2]}/{digest.encoded}"


def dirty(name: str) -> str:
    """One file for the whole name; it is no longer than the name."""
    return f"{DIRTY}/{name.replace('/', '=')}"


def building(name: str) -> str:
    return f"{BUILDING}/{name.replace('/', '=')}"


def upload(session: str) -> str:
    return f"{UPLOADS}/{session}"


def committed(session: str) -> str:
    return f"{COMMITTED}/{session}"


class RepositoryPaths:
    """The paths of one repository."""

    __slots__ = (
        "blobs", "folder", "index", "index_base", "index_kept", "index_lock", "index_state",
        "layout", "lock", "manifests", "meta", "name", "referrers", "tags", "tags_lock",
    )  # fmt: skip

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = "/".join(map(escape_component, name.split("/")))
        self.blobs = f"{self.folder}/blobs"
        self.index = f"{self.folder}/index.json"
        self.layout = f"{self.folder}/oci-layout"
        self.meta = f"{self.folder}/{META}"
        self.lock = f"{self.meta}/lock"
        self.tags_lock = f"{self.meta}/tags.lock"
        self.tags = f"{self.meta}/tags"
        self.manifests = f"{self.meta}/manifests"
        self.referrers = f"{self.meta}/referrers"
        self.index_lock = f"{self.meta}/index.lock"
        self.index_base = f"{self.meta}/index.base"
        self.index_state = f"{self.meta}/index.state"
        self.index_kept = f"{self.meta}/index.kept"

    def blobs_of(self, algorithm: str) -> str:
        return f"{self.blobs}/{algorithm}"

    def blob(self, digest: Digest) -> str:
        return f"{self.blobs}/{digest.algorithm}/{digest.encoded}"

    def tag(self, tag: str) -> str:
        return f"{self.tags}/{escape_tag(tag)}"

    def manifest(self, digest: Digest) -> str:
        return f"{self.manifests}/{digest}"

    def referrers_of(self, subject: Digest) -> str:
        return f"{self.referrers}/{subject}"

    def referrer(self, subject: Digest, digest: Digest) -> str:
        return f"{self.referrers}/{subject}/{digest}"


@lru_cache(maxsize=4096)
def repository(name: str) -> RepositoryPaths:
    """Raises NameInvalid."""
    return RepositoryPaths(name)
