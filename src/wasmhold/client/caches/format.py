"""What a folder is: a cache of ours, one that we may make, or something else, which is let be."""

from __future__ import annotations

import json
import os
from contextlib import closing, suppress
from typing import Final

from ...oci import limits
from ...oci.document import parse_object
from ...oci.errors import ContentDamaged, Fault, FileInvalid, ManifestInvalid
from ..places.files import Folder, translated

MARKER: Final = "wasmhold-cache.json"
VERSION: Final = 1
_MODE: Final = 0o700
_TAG: Final = "CACHEDIR.TAG"
_SIGNATURE: Final = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n"
    b"# A cache of wasmhold: it may be deleted.  See https://bford.info/cachedir/\n"
)
_FILES: Final = (
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"redb\x1a\x0a\xa9\x0d\x0a", "a redb database"),
)
_FOLDERS: Final = (("oci-layout", "an image layout"), (".wasmhold", "a registry's directory"))


class CacheFormatError(FileInvalid):
    """Something else than a cache of ours; `file` is where it lies, and it stays as it is."""

    def __init__(self, path: str, found: str) -> None:
        super().__init__(path, Fault("", f"{found}: name another folder for the cache"))
        self.found = found


def open_folder(path: str) -> None:
    """Make sure that `path` is a cache of ours; a folder is made, or an empty one becomes one.

    Raises CacheFormatError for anything else, of which nothing changes; Denied, OutOfSpace,
    StoreUnavailable.
    """
    if os.path.exists(path) and not os.path.isdir(path):
        raise CacheFormatError(path, f"is {_kind_of_file(path)}, no folder")
    with closing(Folder(path)) as folder:
        prepare(folder)
        try:
            found = parse_object(folder.read(MARKER, limits.MANIFEST) or b"").get("format")
        except (ManifestInvalid, ContentDamaged):
            raise CacheFormatError(path, f"has a {MARKER} that cannot be read") from None
    if found != VERSION:
        raise CacheFormatError(path, f"is a cache of format {found}, this program knows {VERSION}")


def prepare(folder: Folder) -> None:
    """Make it a cache where it is empty.  Raises CacheFormatError."""
    with suppress(ContentDamaged):  # a marker that is a link is told of by who reads it
        if folder.size(MARKER) is not None:
            return
    names = sorted(folder.names())
    if MARKER in names:
        return
    if names:
        kinds = (kind for name, kind in _FOLDERS if name in names)
        what = next(kinds, f"holds other files, such as {names[0]}")
        raise CacheFormatError(folder.path, what if what.startswith("holds") else f"is {what}")
    with translated(folder.path):
        os.makedirs(folder.path, _MODE, exist_ok=True)
    folder.create(MARKER, json.dumps({"format": VERSION}).encode() + b"\n")
    folder.create(_TAG, _SIGNATURE)


def _kind_of_file(path: str) -> str:
    with translated(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            start = os.read(descriptor, 64)
        finally:
            os.close(descriptor)
    return next((kind for magic, kind in _FILES if start.startswith(magic)), "a file")
