"""Which manifest a client takes.  Source: RFC 9110, 12.5.1; the rule for indexes is Docker's."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from ..oci.descriptor import Descriptor
from ..oci.manifest import Manifest
from ..oci.media_types import without_parameters

# What a client that knows no platforms has always been given.
_DEFAULT_PLATFORM: Final = {"os": "linux", "architecture": "amd64"}


# Clients send the same few values with every request.
@lru_cache(maxsize=256)
def _refused(media_range: str) -> bool:
    """Does ``;q=0`` stand behind the range?"""
    for parameter in media_range.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                return float(value) == 0
            except ValueError:
                return False
    return False


@lru_cache(maxsize=256)
def accepts(accept: tuple[str, ...], media_type: str) -> bool:
    """Does one of the media ranges in `accept` take `media_type`?  The most exact one decides."""
    kind = media_type.partition("/")[0]
    for want in (media_type, f"{kind}/*", "*/*"):
        for media_range in accept:
            if without_parameters(media_range) == want:
                return not _refused(media_range)
    return False


def choose(index: Manifest, accept: tuple[str, ...]) -> Descriptor | None:
    """The child of `index` for a client that takes no index: the default platform's, else the
    first that it takes; None where it takes none."""
    taken = [child for child in index.manifests if accepts(accept, child.media_type)]
    for child in taken:
        platform = child.platform or {}
        if all(platform.get(key) == value for key, value in _DEFAULT_PLATFORM.items()):
            return child
    return taken[0] if taken else None
