"""A binary becomes an artifact, in any of the formats that are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeAlias

from ..oci.digest import Digest
from ..wasm import Binary
from .build import Artifact, PackedLayer
from .formats import cncf, compat, image, runwasi, solo, wasm_to_oci, zlayer
from .titles import safe_title

EPOCH: Final = "1970-01-01T00:00:00Z"

Pack: TypeAlias = Callable[[str], PackedLayer]
"""Makes the layer that holds the binary as the file of this name."""


class WasmFormat(Enum):
    """The formats that are written: those of `kind.Format`, and zlayer's variant of the first."""

    CNCF = "cncf"
    WASM_TO_OCI = "wasm-to-oci"
    ZLAYER = "zlayer"
    COMPAT = "compat"
    IMAGE = "image"
    SOLO = "solo"
    RUNWASI = "runwasi"


@dataclass(frozen=True, slots=True)
class Words:
    """What is written beside the binary.

    title         of the layer, instead of the file's name; empty: none
    created       a time like ``2024-01-02T03:04:05Z``
    author, target, style: of a CNCF config, the first of an image's too
    abi_versions, root_ids: of the format solo
    """

    title: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    created: str = EPOCH
    author: str | None = None
    target: str | None = None
    style: cncf.Style = cncf.Style.OCI
    abi_versions: Sequence[str] = ()
    root_ids: Sequence[str] = ()


def write(
    format_: WasmFormat, binary: Binary, digest: Digest, path: str, words: Words, pack: Pack
) -> Artifact:
    """The artifact of `binary`, which has that `digest`; `path` is its file's, as it was typed.

    Raises InputError for another form of time; ArtifactInvalid for a title that is no name.
    """
    file_name, size = path.rpartition("/")[2], binary.size
    name = (words.title or file_name).removesuffix(".wasm")
    title = file_name if words.title is None else words.title or None
    config = image.ImageConfig(words.created, words.author)
    annotations = words.annotations
    match format_:
        case WasmFormat.CNCF:
            return cncf.build(
                binary,
                digest,
                created=words.created,
                author=words.author,
                target=words.target,
                title=title if words.style is cncf.Style.WKG else words.title or None,
                annotations=annotations,
                style=words.style,
            )
        case WasmFormat.WASM_TO_OCI:
            typed = wasm_to_oci.title_of(path) if words.title is None else words.title
            return wasm_to_oci.build(digest, size, title=typed or None, annotations=annotations)
        case WasmFormat.ZLAYER:
            return zlayer.build(binary, digest, name=name, annotations=annotations)
        case WasmFormat.COMPAT:
            return compat.build(pack(image.PLUGIN), config=config, annotations=annotations)
        case WasmFormat.IMAGE:
            entry = safe_title(f"{name}.wasm")
            return image.build(pack(entry), path=entry, config=config, annotations=annotations)
        case WasmFormat.SOLO:
            return solo.build(
                digest,
                size,
                abi_versions=words.abi_versions,
                root_ids=words.root_ids,
                title=title,
                annotations=annotations,
            )
        case WasmFormat.RUNWASI:
            entry = safe_title(f"{name}.wasm")
            return runwasi.build(digest, size, entry=entry, config=config, annotations=annotations)
