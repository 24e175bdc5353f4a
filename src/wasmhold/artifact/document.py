"""Members of a manifest that may lack anything: what is absent, or of another type, is empty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from ..oci.document import parse_object
from ..oci.manifest import Manifest

Document: TypeAlias = Mapping[str, object]
AnyManifest: TypeAlias = Manifest | Document | bytes | str

_NOTHING: Final[Document] = {}


def document_of(manifest: AnyManifest) -> Document:
    """The members of a manifest, however it is given.  Raises ManifestInvalid."""
    if isinstance(manifest, Manifest):
        return _members_of(manifest)
    if isinstance(manifest, str):
        manifest = manifest.encode(errors="surrogatepass")
    return parse_object(manifest) if isinstance(manifest, bytes) else manifest


def _members_of(manifest: Manifest) -> Document:
    lists = {"manifests": manifest.manifests} if manifest.is_index else {"layers": manifest.layers}
    return {
        "artifactType": manifest.artifact_type,
        "config": manifest.config and manifest.config.to_json(),
        **{key: [one.to_json() for one in parts] for key, parts in lists.items()},
        "annotations": manifest.annotations,
    }


def text(document: Document, key: str) -> str:
    value = document.get(key)
    return value if isinstance(value, str) else ""


def inner(document: Document, key: str) -> Document:
    """The object `key`."""
    value = document.get(key)
    return value if isinstance(value, Mapping) else _NOTHING


def parts(document: Document, key: str) -> list[Document]:
    """The list `key`; what is no object in it is an empty one."""
    value = document.get(key)
    items = value if isinstance(value, list | tuple) else ()
    return [item if isinstance(item, Mapping) else _NOTHING for item in items]
