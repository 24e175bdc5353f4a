"""What a manifest refers to, as a repository sees it."""

from __future__ import annotations

from . import media_types
from .descriptor import Descriptor


def is_manifest(child: Descriptor) -> bool:
    """In an index there may be blobs too: what is no manifest by its type."""
    return child.media_type in media_types.MANIFESTS | media_types.INDEXES


def is_required(child: Descriptor) -> bool:
    """Whether the child must be in the repository: not where it is to be had elsewhere."""
    return not child.urls and child.media_type not in media_types.NONDISTRIBUTABLE
