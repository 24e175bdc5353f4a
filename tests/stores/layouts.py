"""Image layouts as other tools write them, for tests."""

import hashlib
import json
from pathlib import Path

from wasmhold.oci import media_types
from wasmhold.oci.digest import Digest

REF_NAME = "org.opencontainers.image.ref.name"


class Layout:
    """A folder that is written by hand; what it holds is what a test says, right or wrong."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries: list[dict] = []
        (folder / "blobs" / "sha256").mkdir(parents=True)
        (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')

    def path(self, digest: str | Digest) -> Path:
        return self.folder / "blobs" / str(digest).replace(":", "/")

    def blob(self, content: bytes, media_type: str = "application/octet-stream") -> dict:
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        self.path(digest).write_bytes(content)
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    def manifest(self, *layers: bytes, **members: object) -> dict:
        """A manifest with these layers; `members` come on top, such as its subject."""
        document = {
            "schemaVersion": 2,
            "mediaType": media_types.IMAGE_MANIFEST,
            "config": self.blob(b"{}", "application/vnd.oci.empty.v1+json"),
            "layers": [self.blob(layer) for layer in layers],
            **members,
        }
        return self.blob(json.dumps(document).encode(), media_types.IMAGE_MANIFEST)

    def index(self, *manifests: dict, **members: object) -> dict:
        document = {"schemaVersion": 2, "manifests": list(manifests), **members}
        return self.blob(json.dumps(document).encode(), media_types.IMAGE_INDEX)

    def add(self, descriptor: dict, ref_name: str | None = None, **annotations: str) -> Digest:
        """An entry; in a dictionary an annotation's dots are double underscores."""
        named = {} if ref_name is None else {REF_NAME: ref_name}
        named |= {key.replace("__", "."): value for key, value in annotations.items()}
        self.entries.append({**descriptor, **({"annotations": named} if named else {})})
        return Digest.parse(descriptor["digest"])

    def write(self) -> None:
        document = {"schemaVersion": 2, "manifests": self.entries}
        (self.folder / "index.json").write_text(json.dumps(document))


def read_tags(folder: Path) -> dict[str, str]:
    """What another tool reads of ``index.json``: digests by name."""
    entries = json.loads((folder / "index.json").read_text())["manifests"]
    names = ((entry.get("annotations", {}).get(REF_NAME), entry["digest"]) for entry in entries)
    return {name: digest for name, digest in names if name is not None}


def read_untagged(folder: Path) -> set[str]:
    entries = json.loads((folder / "index.json").read_text())["manifests"]
    return {e["digest"] for e in entries if REF_NAME not in e.get("annotations", {})}
