"""Images with a Wasm file in them: marked by an annotation, by their platform, or not at all.

Sources: Istio, "Wasm image specification", compat variant; crun, "wasm-on-kubernetes".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ...oci.digest import Digest
from ...oci.errors import Ambiguous, ArtifactInvalid
from ...oci.media_types import IMAGE_INDEX
from ..build import Artifact, PackedLayer, check_time, manifest_of, of_bytes, to_json, without_nulls
from ..kind import Confidence, Format, Kind, View
from ..media_types import IMAGE_CONFIG, IMAGE_CONFIGS, TARS

VARIANT: Final = "module.wasm.image/variant"
"""The annotation that marks an image whose program is `plugin.wasm`."""
_VARIANTS: Final = ("compat", "compat-smart")
_ARCHITECTURES: Final = ("wasm", "wasm32")
# Also of a component: the shims of containerd ask for the architecture alone, and know this name.
PLATFORM: Final = {"architecture": "wasm", "os": "wasip1"}
PLUGIN: Final = "plugin.wasm"


def detect(view: View) -> Kind | None:
    if view.config not in IMAGE_CONFIGS or not view.layers or not set(view.layers) <= TARS:
        return None
    if view.manifest.annotations.get(VARIANT) in _VARIANTS:
        return Kind(Format.COMPAT)
    if any(is_wasm_platform(platform) for platform in view.platforms):
        return Kind(Format.IMAGE)
    asked = Confidence.NEEDS_CONTENT if view.platforms else Confidence.NEEDS_PLATFORM
    return Kind(Format.IMAGE, confidence=asked)


def is_wasm_platform(platform: tuple[str, str]) -> bool:
    """``(os, architecture)``: any operating system, since the field has had four names for it."""
    return platform[1] in _ARCHITECTURES


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What an image's config says; `created` is a time like ``2024-01-02T03:04:05Z``."""

    created: str
    author: str | None = None

    def to_json(
        self,
        entry: str,
        diff_ids: Sequence[Digest],
        labels: Mapping[str, str] | None = None,
    ) -> bytes:
        """The document, in the order of the specification.  Raises InputError."""
        return to_json(
            without_nulls(
                {
                    "created": check_time(self.created),
                    "author": self.author,
                    **PLATFORM,
                    "config": without_nulls({"Entrypoint": [entry], "Labels": labels}),
                    "rootfs": {"type": "layers", "diff_ids": [str(digest) for digest in diff_ids]},
                }
            )
        )


def build(
    layer: PackedLayer,
    *,
    path: str,
    config: ImageConfig,
    annotations: Mapping[str, str] | None = None,
) -> Artifact:
    """An image that runs the file `path` in `layer`, in an index that says its platform."""
    made = build_manifest(layer, path, config, annotations)
    child = replace(made.descriptor, platform=PLATFORM)
    index = {"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": [child.to_json()]}
    return replace(made, index=to_json(index))


def build_manifest(
    layer: PackedLayer, path: str, config: ImageConfig, annotations: Mapping[str, str] | None
) -> Artifact:
    """The same without an index."""
    content = config.to_json(f"/{path}", [layer.diff_id])
    described = of_bytes(IMAGE_CONFIG, content)
    document = manifest_of(described, [layer.descriptor], annotations)
    return Artifact(to_json(document), content, described, (layer.descriptor,))


def entrypoint(config: Mapping[str, object]) -> str | None:
    """The ``.wasm`` file that an image's config says to run."""
    inner = config.get("config")
    if isinstance(inner, dict):
        for key in ("Entrypoint", "Cmd"):
            words = inner.get(key)
            if isinstance(words, list) and words and isinstance(words[0], str):
                return words[0] if words[0].endswith(".wasm") else None
    return None


def wasm_file(names: Iterable[str], entry: str | None = None) -> str:
    """Which of the files in the last layer is the program.

    `plugin.wasm` in any folder, else the entry point, else the only ``.wasm``.  Raises
    ArtifactInvalid when there is none, Ambiguous when there are several.
    """
    files = {name: name.removeprefix("./").lstrip("/") for name in names}
    wasm = [name for name, path in files.items() if path.endswith(".wasm")]
    wanted = entry.removeprefix("./").lstrip("/") if entry is not None else None
    for found in (
        [name for name in wasm if files[name].rpartition("/")[2] == PLUGIN],
        [name for name in wasm if files[name] == wanted],
        wasm,
    ):
        if len(found) == 1:
            return found[0]
        if found:
            raise Ambiguous("the image's last layer has several Wasm files", found)
    raise ArtifactInvalid("the image's last layer has no Wasm file")
