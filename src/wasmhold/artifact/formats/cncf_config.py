"""The config of a CNCF artifact, as others write it: read generously, believed in nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from ...oci.document import parse_object
from ...oci.errors import ArtifactInvalid, ManifestInvalid
from ...oci.manifest import Manifest
from ...wasm import Binary
from .cncf import ARCHITECTURE, OS


@dataclass(frozen=True, slots=True)
class Component:
    """What a component's world exports and imports, by the names of `wasm.Binary`."""

    exports: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    target: str | None = None


@dataclass(frozen=True, slots=True)
class WasmConfig:
    """A config's members; None for one that is absent or null. Unknown ones are passed over."""

    created: str | None = None
    author: str | None = None
    architecture: str | None = None
    os: str | None = None
    layer_digests: tuple[str, ...] | None = None
    component: Component | None = None

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Read a config; ``{}`` is one.  Raises ArtifactInvalid, naming the member."""
        try:
            members = parse_object(content)
        except ManifestInvalid as error:
            raise ArtifactInvalid(f"the artifact's config: {error}") from None
        component = members.get("component")
        if component is not None and not isinstance(component, dict):
            raise ArtifactInvalid("the artifact's config: component: want an object")
        return cls(
            created=_text(members, "created"),
            author=_text(members, "author"),
            architecture=_text(members, "architecture"),
            os=_text(members, "os"),
            layer_digests=_texts(members, "layerDigests"),
            component=None
            if component is None
            else Component(
                _texts(component, "exports") or (),
                _texts(component, "imports") or (),
                _text(component, "target"),
            ),
        )

    def check(self, manifest: Manifest) -> None:
        """Raises ArtifactInvalid when the config was made for other layers."""
        digests = tuple(str(layer.digest) for layer in manifest.layers)
        if self.layer_digests is not None and self.layer_digests != digests:
            raise ArtifactInvalid(
                f"the config belongs to other layers: it says {', '.join(self.layer_digests)}, "
                f"the manifest has {', '.join(digests)}"
            )

    def doubts(self, binary: Binary | None = None) -> Iterator[str]:
        """What it says that is not so; the bytes of `binary` are right."""
        if self.architecture not in (None, ARCHITECTURE):
            yield f"the config's architecture is {self.architecture}, not {ARCHITECTURE}"
        # A newer system than those that the format knows is no contradiction.
        if binary is not None and self.os in OS.values() and self.os != OS[binary.kind]:
            yield f"the config says {self.os}, the bytes are a {binary.kind.value}"


def _text(members: dict[str, object], key: str) -> str | None:
    value = members.get(key)
    if value is not None and not isinstance(value, str):
        raise ArtifactInvalid(f"the artifact's config: {key}: want text")
    return value


def _texts(members: dict[str, object], key: str) -> tuple[str, ...] | None:
    value = members.get(key)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise ArtifactInvalid(f"the artifact's config: {key}: want a list of text")
    return tuple(value)
