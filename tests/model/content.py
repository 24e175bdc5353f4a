"""The content that the scenarios push, by short names."""

from __future__ import annotations

import json

from wasmhold.oci import media_types
from wasmhold.oci.digest import Digest
from wasmhold.oci.manifest import parse_manifest
from wasmhold.ports.store import StoredManifest

BLOBS = {name: f"the bytes of {name}".encode() for name in ("d", "e")}
BLOB_DIGESTS = {name: Digest.of(content) for name, content in BLOBS.items()}
BLOB_OF = {str(digest): BLOBS[name] for name, digest in BLOB_DIGESTS.items()}


class Document:
    """A manifest: what it is, and what must be there when it is."""

    def __init__(self, name, blobs=(), manifests=(), subject=None):
        self.name, self.blobs, self.manifests, self.subject = name, blobs, manifests, subject
        members = {"schemaVersion": 2, "annotations": {"name": name}}
        layers = [self._descriptor(BLOB_DIGESTS[b], "application/x") for b in blobs]
        if manifests or not blobs:
            # An index may hold blobs beside manifests.
            children = [
                self._descriptor(DOCUMENTS[m].digest, media_types.IMAGE_MANIFEST) for m in manifests
            ]
            members |= {"mediaType": media_types.IMAGE_INDEX, "manifests": children + layers}
        else:
            members |= {
                "mediaType": media_types.IMAGE_MANIFEST, "config": layers[0], "layers": layers[1:]
            }  # fmt: skip
        if subject is not None:
            members["subject"] = self._descriptor(
                DOCUMENTS[subject].digest, media_types.IMAGE_MANIFEST
            )
        self.content = json.dumps(members).encode()
        self.digest = Digest.of(self.content)
        self.manifest = parse_manifest(self.content)
        self.stored = StoredManifest(self.digest, self.manifest.media_type, self.content)

    @staticmethod
    def _descriptor(digest, media_type):
        return {"mediaType": media_type, "digest": str(digest), "size": 1}


DOCUMENTS: dict[str, Document] = {}
for document in [
    {"name": "m", "blobs": ["d"]},
    {"name": "n", "blobs": ["d"]},
    {"name": "i", "blobs": ["d"], "manifests": ["m"]},
    {"name": "s", "blobs": ["d"], "subject": "m"},
    {"name": "w", "blobs": ["d", "e"]},
    {"name": "z"},
]:
    DOCUMENTS[document["name"]] = Document(**document)
DOCUMENT_OF = {str(document.digest): document for document in DOCUMENTS.values()}

LABELS: dict[str, str] = {}  # random tokens, by what they were made from


def named(text):
    """`text` with short names in place of digests and tokens."""
    for name, digest in BLOB_DIGESTS.items():
        text = text.replace(str(digest), name)
    for name, document in DOCUMENTS.items():
        text = text.replace(str(document.digest), name)
    for token, label in LABELS.items():
        text = text.replace(token, label)
    return text
