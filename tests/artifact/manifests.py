"""Manifests for tests, written as the tables of the formats do: media types alone."""

from __future__ import annotations

import json

from wasmhold.oci.digest import Digest
from wasmhold.oci.manifest import Manifest, parse_manifest

TITLE = "org.opencontainers.image.title"
IMAGE = "application/vnd.oci.image.config.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
UNKNOWN = "application/vnd.unknown.config.v1+json"
TAR_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
CNCF = "application/vnd.wasm.config.v0+json"
OLD = "application/vnd.wasm.config.v1+json"
WASM = "application/wasm"
OLD_WASM = "application/vnd.wasm.content.layer.v1+wasm"
MODULE_WASM = "application/vnd.module.wasm.content.layer.v1+wasm"


def descriptor(media_type, content=b"", **more):
    return {"mediaType": media_type, "digest": str(Digest.of(content)), "size": 8, **more}


def manifest(config, *layers, artifact_type=None, annotations=None, titles=(), media_type=None):
    """`titles` are those of the first layers."""
    members = {
        "schemaVersion": 2,
        "config": descriptor(config),
        "layers": [descriptor(of, str(i).encode()) for i, of in enumerate(layers)],
        **({"mediaType": media_type} if media_type else {}),
        **({"artifactType": artifact_type} if artifact_type else {}),
        **({"annotations": annotations} if annotations else {}),
    }
    for layer, title in zip(members["layers"], titles, strict=False):
        layer["annotations"] = {TITLE: title}
    return parse_manifest(json.dumps(members).encode())


def index(*children) -> Manifest:
    """An index of ``(name, platform)``; the platform is ``os/architecture`` or None."""
    entries = []
    for name, platform in children:
        more = {}
        if platform is not None:
            system, _, architecture = platform.partition("/")
            more["platform"] = {"os": system, "architecture": architecture}
        media_type = "application/vnd.oci.image.manifest.v1+json"
        entries.append(descriptor(media_type, name.encode(), **more))
    return parse_manifest(json.dumps({"schemaVersion": 2, "manifests": entries}).encode())
