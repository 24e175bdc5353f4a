"""Images of layers that a test made: their documents, and as a layout in a folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from wasmhold.artifact.media_types import IMAGE_CONFIG
from wasmhold.oci.digest import Digest
from wasmhold.oci.manifest import Manifest, parse_manifest
from wasmhold.oci.media_types import IMAGE_MANIFEST

Layers = Sequence[tuple[bytes, str, bytes]]  # as stored, media type, without compression


def descriptor(content: bytes, media_type: str) -> dict[str, object]:
    return {
        "mediaType": media_type,
        "digest": f"sha256:{hashlib.sha256(content).hexdigest()}",
        "size": len(content),
    }


def image(layers: Layers) -> tuple[bytes, dict[Digest, bytes]]:
    """The manifest, and the blobs that it leads to."""
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {
                "type": "layers",
                "diff_ids": [f"sha256:{hashlib.sha256(plain).hexdigest()}" for *_, plain in layers],
            },
        }
    ).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": IMAGE_MANIFEST,
        "config": descriptor(config, IMAGE_CONFIG),
        "layers": [descriptor(stored, media_type) for stored, media_type, _ in layers],
    }
    blobs = {Digest.of(one): one for one in (config, *(stored for stored, *_ in layers))}
    return json.dumps(manifest).encode(), blobs


def parsed(manifest: bytes) -> Manifest:
    return parse_manifest(manifest, IMAGE_MANIFEST)


def write_layout(folder: Path, layers: Layers, tag: str = "v1") -> None:
    manifest, blobs = image(layers)
    where = folder / "blobs" / "sha256"
    where.mkdir(parents=True)
    for content in (manifest, *blobs.values()):
        (where / hashlib.sha256(content).hexdigest()).write_bytes(content)
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    entry = descriptor(manifest, IMAGE_MANIFEST)
    entry["annotations"] = {"org.opencontainers.image.ref.name": tag}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
