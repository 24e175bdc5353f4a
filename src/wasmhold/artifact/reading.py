"""What a pull gives: which layers, and whether a file is inside of them.

Decisions alone: nothing is fetched or unpacked here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from ..oci.descriptor import Descriptor
from ..oci.errors import Ambiguous, ArtifactInvalid, NotWasm
from ..oci.manifest import Manifest
from .formats import cncf, spin, wasmcloud
from .kind import Confidence, Format, Kind, Variant, View
from .media_types import CNCF_CONFIG, OLD_WASM, TITLE, WASM


class Form(Enum):
    """What the layers of a reading are."""

    BLOB = "blob"  # the bytes of one layer, as they are
    FILE = "file"  # one file in one layer, a tar: `formats.image.wasm_file` says which
    APPLICATION = "application"  # many layers; their names stand in `lock`


@dataclass(frozen=True, slots=True)
class Reading:
    """Which layers to fetch; `warnings` are sentences for the user."""

    form: Form
    layers: tuple[Descriptor, ...]
    warnings: tuple[str, ...] = ()
    lock: Descriptor | None = None


_PACKED: Final = (Format.HIGRESS, Format.COMPAT, Format.IMAGE)


def how_to_read(
    manifest: Manifest,
    kind: Kind,
    *,
    name: str = "the artifact",
    layer: int | None = None,
    title: str | None = None,
    extra_layers: bool = False,
) -> Reading:
    """What a pull of `manifest`, which `detect` found to be of `kind`, gives.

    `name` is how errors call it.  Where there are several Wasm layers, `layer` (its number among
    them) or `title` chooses.  `extra_layers` allows the layers that other tools put beside the one
    of a CNCF artifact.

    Raises NotWasm, Ambiguous, ArtifactInvalid.
    """
    if kind.format is Format.INDEX:
        raise ArtifactInvalid(f"{name} is an index: choose one of its children first")
    if kind.format is Format.PROVIDER_ARCHIVE:
        return _provider_archive(manifest, name)
    if kind.format in _PACKED:
        return Reading(Form.FILE, manifest.layers[-1:], tuple(_doubts(kind)))
    chosen = layer is not None or title is not None
    if kind.format is Format.SPIN and not chosen:
        return _application(manifest, kind)
    if kind.variant is Variant.MALFORMED and kind.format is Format.CNCF:
        types = ", ".join(View.of(manifest).layers) or "none"
        raise ArtifactInvalid(
            f"{name} is a malformed CNCF artifact: "
            f"the config is {CNCF_CONFIG}, but no layer is {WASM}: found layers {types}"
        )
    wasm = [manifest.layers[i] for i in kind.wasm_layers]
    if not wasm or kind.format is Format.SIGNATURE:
        view = View.of(manifest)
        raise NotWasm(name, view.config, view.layers)
    if kind.format is Format.CNCF:
        return _cncf(manifest, kind, wasm, name, extra_layers)
    if not chosen and len(wasm) > 1:
        raise Ambiguous(
            f"{name} has {len(wasm)} Wasm layers; choose with --layer N or --title NAME",
            _described(wasm),
        )
    return Reading(Form.BLOB, (_choose(wasm, name, layer, title),))


def _cncf(
    manifest: Manifest, kind: Kind, wasm: list[Descriptor], name: str, extra_layers: bool
) -> Reading:
    if len(wasm) > 1:
        raise Ambiguous(
            f"{name} has {len(wasm)} Wasm layers, a CNCF artifact has one", _described(wasm)
        )
    view = View.of(manifest)
    beside = [media_type for i, media_type in enumerate(view.layers) if i not in kind.wasm_layers]
    unknown = [media_type for media_type in beside if media_type not in cncf.SIDE_LAYERS]
    if unknown:
        raise ArtifactInvalid(f"{name} has layers beside the Wasm one: {', '.join(unknown)}")
    if beside and not extra_layers:
        raise ArtifactInvalid(
            f"{name} has layers beside the Wasm one: {', '.join(beside)}; "
            "--allow-extra-layers pulls the Wasm layer all the same"
        )
    warnings = [f"a layer beside the Wasm one is left out: {media_type}" for media_type in beside]
    if kind.variant is Variant.MIXED:
        warnings.append(f"the config is {CNCF_CONFIG}, but the layer {OLD_WASM}: wkg refuses that")
    return Reading(Form.BLOB, tuple(wasm), tuple(warnings))


def _choose(wasm: list[Descriptor], name: str, layer: int | None, title: str | None) -> Descriptor:
    if layer is not None and not 0 <= layer < len(wasm):
        raise ArtifactInvalid(f"{name} has Wasm layers 0 to {len(wasm) - 1}, no layer {layer}")
    found = wasm if layer is None else [wasm[layer]]
    if title is not None:
        found = [of for of in found if of.annotations.get(TITLE) == title]
    if len(found) != 1:
        how_many = "several layers" if found else "no layer"
        raise Ambiguous(f"{name} has {how_many} with the title {title!r}", _described(wasm))
    return found[0]


def _application(manifest: Manifest, kind: Kind) -> Reading:
    if kind.variant is Variant.OLD:
        return Reading(Form.APPLICATION, manifest.layers, lock=manifest.config)
    locks = View.of(manifest).layers_of(spin.APPLICATION)
    layers = tuple(of for i, of in enumerate(manifest.layers) if i not in locks)
    return Reading(Form.APPLICATION, layers, lock=manifest.layers[locks[-1]])


def _provider_archive(manifest: Manifest, name: str) -> Reading:
    marked = View.of(manifest).layers_of(wasmcloud.PROVIDER_LAYER)
    found = [manifest.layers[i] for i in marked] or list(manifest.layers)
    if len(found) != 1:
        raise ArtifactInvalid(f"{name} is a provider archive with {len(found)} layers, want one")
    return Reading(Form.BLOB, tuple(found), ("a provider archive is no WebAssembly",))


def _doubts(kind: Kind) -> Sequence[str]:
    if kind.confidence is Confidence.CERTAIN:
        return ()
    return ("an image that says nowhere that it is WebAssembly",)


def _described(layers: Sequence[Descriptor]) -> list[str]:
    return [
        f"{number}: title {layer.annotations.get(TITLE)!r}, {layer.digest}, {layer.size} bytes"
        for number, layer in enumerate(layers)
    ]
