"""The oldest format, that of wasm-to-oci, Krustlet and Kubewarden.

Its media types are unofficial.  What is built here equals byte for byte what wasm-to-oci writes,
so that digests do too: Go's JSON, no `mediaType`, nothing that depends on time or place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ...oci.descriptor import Descriptor
from ...oci.digest import Digest
from ..build import EMPTY_CONFIG, Artifact, by_key, compact, of_bytes
from ..kind import Format, Kind, Variant, View
from ..media_types import OLD_CONFIG, OLD_WASM, TITLE, WASM_LAYERS

KUBEWARDEN_SECTION: Final = "io.kubewarden.metadata"
_KUBEWARDEN: Final = "io.kubewarden."
# Go escapes these in JSON, and writes what is no Unicode as the replacement character.
_GO_ESCAPES: Final = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def detect(view: View) -> Kind | None:
    if view.config != OLD_CONFIG:
        return None
    manifest, modules = view.manifest, view.layers_of(*WASM_LAYERS)
    variant = None
    if not modules:
        variant = Variant.MALFORMED
    elif not view.layers_of(OLD_WASM):
        variant = Variant.MIXED
    elif any(key.startswith(_KUBEWARDEN) for key in manifest.annotations):
        variant = Variant.KUBEWARDEN
    elif (
        len(manifest.layers) == 1
        and TITLE in manifest.layers[0].annotations
        and not manifest.annotations
    ):
        variant = Variant.PLAIN
    return Kind(Format.WASM_TO_OCI, variant, wasm_layers=modules)


def title_of(path: str) -> str:
    """The title of a file's layer, as wasm-to-oci writes it: the path as it was typed.

    Of a path that is absolute or leads upwards the last part alone: it would tell the names of the
    user's folders.
    """
    if path.startswith("/") or ".." in path.split("/"):
        return path.rstrip("/").rpartition("/")[2]
    return path


def build(
    digest: Digest, size: int, *, title: str | None, annotations: Mapping[str, str] | None = None
) -> Artifact:
    """An artifact whose layer has `digest` and `size` bytes; wasm-to-oci always writes a title."""
    config = of_bytes(OLD_CONFIG, EMPTY_CONFIG)
    layer = Descriptor(OLD_WASM, digest, size, annotations={} if title is None else {TITLE: title})
    document: dict[str, object] = {
        "schemaVersion": 2,
        "config": config.to_json(),
        "layers": [layer.to_json()],
    }
    if annotations:
        document["annotations"] = by_key(annotations)
    return Artifact(_go_json(document), EMPTY_CONFIG, config, (layer,))


def _go_json(document: Mapping[str, object]) -> bytes:
    text = compact(document).translate(_GO_ESCAPES)
    return _SURROGATE.sub(r"\\ufffd", text).encode()
