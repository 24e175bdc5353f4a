"""Which child of an index is the WebAssembly."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from ..oci.descriptor import Descriptor
from ..oci.errors import Ambiguous, ArtifactInvalid
from ..oci.manifest import Manifest
from .artifact_type import is_wasm_type
from .formats.image import is_wasm_platform
from .kind import Format, Kind

# The newest first; what we write is wasip1 and wasip2.
_PREFERRED: Final = ("wasip2/wasm", "wasip1/wasm", "wasi/wasm", "wasi/wasm32")
_OF_ITS_OWN: Final = frozenset(
    {
        Format.SPIN,
        Format.PROVIDER_ARCHIVE,
        Format.WASMCLOUD_ACTOR,
        Format.SOLO,
        Format.HIGRESS,
        Format.CNCF,
        Format.WASM_TO_OCI,
        Format.RUNWASI,
        Format.GENERIC,
    }
)
"""Formats that a child is known by without its platform."""


def candidates(index: Manifest) -> tuple[Descriptor, ...]:
    """The children that can be taken: all but attestations, whose platform is unknown/unknown."""
    return tuple(child for child in index.manifests if _name(child) != "unknown/unknown")


def child_by_platform(index: Manifest) -> Descriptor | None:
    """The child of a Wasm platform; None when no child has one, and their kinds must be asked.

    Raises Ambiguous when several children have the platform.
    """
    wasm = [child for child in candidates(index) if is_wasm_platform(_pair(child))]
    for preferred in _PREFERRED:
        if found := [child for child in wasm if _name(child) == preferred]:
            return only_child(found, f"the index has several children of {preferred}")
    return only_child(wasm, "the index has several Wasm children") if wasm else None


def child_by_artifact_type(index: Manifest) -> Descriptor | None:
    """The one child whose `artifactType` says that it is WebAssembly, if there is but one."""
    found = [child for child in candidates(index) if is_wasm_type(child.artifact_type or "")]
    return found[0] if len({child.digest for child in found}) == 1 else None


def child_by_kind(index: Manifest, kinds: Iterable[tuple[Descriptor, Kind]]) -> Descriptor:
    """The one child of a Wasm format, where no platform tells; `kinds` are those of `candidates`.

    Raises ArtifactInvalid when there is none, Ambiguous when there are several.
    """
    found = [child for child, kind in kinds if kind.format in _OF_ITS_OWN]
    if not found:
        raise ArtifactInvalid(f"the index has no Wasm child: it has {_listed(index.manifests)}")
    return only_child(found, "the index has several Wasm children, choose one by its digest")


def only_child(found: Sequence[Descriptor], reason: str) -> Descriptor:
    """The one of them; the same manifest listed twice is one.  Raises Ambiguous."""
    if len({child.digest for child in found}) > 1:
        raise Ambiguous(reason, [_described(child) for child in found])
    return found[0]


def _pair(child: Descriptor) -> tuple[str, str]:
    platform = child.platform or {}
    system, architecture = platform.get("os"), platform.get("architecture")
    return str(system or "").lower(), str(architecture or "").lower()


def _name(child: Descriptor) -> str:
    return "/".join(_pair(child))


def _described(child: Descriptor) -> str:
    name = _name(child)
    return f"{child.digest}" if name == "/" else f"{child.digest} ({name})"


def _listed(children: Sequence[Descriptor]) -> str:
    return ", ".join(_described(child) for child in children) or "no children"
