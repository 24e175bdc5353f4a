"""Titles of layers, where they are names of files."""

from __future__ import annotations

from typing import Final

from ..oci.errors import ArtifactInvalid

_LONGEST: Final = 1024  # characters


def safe_title(title: str) -> str:
    """A title as a name below a folder.  Raises ArtifactInvalid for one that would leave it."""
    parts = title.split("/")
    is_plain = title.isprintable() and "\\" not in title and len(title) <= _LONGEST
    if not is_plain or any(part in ("", ".", "..") for part in parts):
        raise ArtifactInvalid(f"a layer's title is no name of a file: {title[:200]!r}")
    return title
