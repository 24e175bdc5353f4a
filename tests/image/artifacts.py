"""WebAssembly artifacts for tests, of any types and contents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from tests.artifact.manifests import TITLE
from wasmhold.oci import media_types
from wasmhold.ports.repository import Repository
from wasmhold.ports.runtime import run
from wasmhold.ports.store import StoredManifest
from wasmhold.testing.repository_suite import document, push


@dataclass(frozen=True)
class Part:
    """A config or layer."""

    media_type: str
    content: bytes = b"{}"
    annotations: Mapping[str, str] = field(default_factory=dict)


def titled(media_type: str, content: bytes, title: str) -> Part:
    return Part(media_type, content, {TITLE: title})


def put_artifact(
    repository: Repository,
    config: Part,
    layers: Sequence[Part],
    tag: str | None = "v1",
    **members: object,
) -> StoredManifest:
    """Push it; `members` are more of the manifest's."""

    async def work() -> StoredManifest:
        described = [
            replace(
                await push(repository, part.content),
                media_type=part.media_type,
                annotations=part.annotations,
            )
            for part in (config, *layers)
        ]
        first, *rest = (one.to_json() for one in described)
        stored = document(
            mediaType=media_types.IMAGE_MANIFEST, config=first, layers=rest, **members
        )
        await repository.manifest_put(stored, [tag] if tag else [])
        return stored

    return run(work())
