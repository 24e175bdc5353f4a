"""Releases of a package in a repository: one tag is one version, one Wasm layer its content."""

from __future__ import annotations

from collections.abc import Iterable

from ..artifact.media_types import WASM_LAYERS
from ..oci.descriptor import Descriptor
from ..oci.errors import ArtifactInvalid
from ..oci.manifest import Manifest
from ..oci.media_types import without_parameters
from ..semver import Version, VersionInvalid


def version_of(tag: str) -> Version | None:
    """The version that a tag stands for, None for a tag that is none (WK-105, WK-106)."""
    text = tag.replace("_", "+") if tag.count("_") == 1 else tag
    try:
        return Version.parse(text)
    except VersionInvalid:
        return None


def newest(versions: Iterable[Version], *, prereleases: bool = False) -> Version | None:
    """The greatest that is no prerelease; a prerelease where it is wanted, or there is no other."""
    found = [*versions]
    releases = [one for one in found if prereleases or not one.is_prerelease]
    return max(releases or found, default=None)


def wasm_layer(manifest: Manifest) -> Descriptor:
    """The one layer of a Wasm type; others may stand beside it, and the config is not looked at.

    Raises ArtifactInvalid (WL-051).
    """
    wasm = [one for one in manifest.layers if without_parameters(one.media_type) in WASM_LAYERS]
    if len(wasm) != 1:
        raise ArtifactInvalid(f"invalid package manifest: expected 1 wasm layer; got {len(wasm)}")
    return wasm[0]
