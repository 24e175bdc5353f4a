"""Descriptors: how content points at content.  Source: image-spec, descriptor.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .digest import Digest
from .errors import DigestInvalid, Fault
from .media_types import is_media_type_of_content


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Media type, digest and size (bytes) of content; the rest is optional.

    `urls` are other places of the content: where there are some, a registry does not demand it.
    """

    media_type: str
    digest: Digest
    size: int
    artifact_type: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    urls: tuple[str, ...] = ()
    platform: Mapping[str, object] | None = field(default=None, hash=False)

    def to_json(self) -> dict[str, object]:
        """The members that are set, in the order of the specification."""
        members: dict[str, object] = {
            "mediaType": self.media_type,
            "digest": str(self.digest),
            "size": self.size,
        }
        if self.urls:
            members["urls"] = list(self.urls)
        if self.annotations:
            members["annotations"] = dict(self.annotations)
        if self.platform is not None:
            members["platform"] = dict(self.platform)
        if self.artifact_type is not None:
            members["artifactType"] = self.artifact_type
        return members


def read_text_map(value: object, path: str, faults: list[Fault]) -> Mapping[str, str]:
    """Annotations: text to text.  What is wrong goes to `faults`."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        faults.append(Fault(path, "want an object"))
        return {}
    for key, text in value.items():
        if not isinstance(text, str):
            faults.append(Fault(f"{path}.{key}", "want text"))
    return value


def read_media_type(value: object, path: str, faults: list[Fault]) -> str:
    """A media type, or the empty text and a fault."""
    if isinstance(value, str) and is_media_type_of_content(value):
        return value
    faults.append(Fault(path, "want a media type, type/subtype"))
    return ""


def read_descriptor(value: object, path: str, faults: list[Fault]) -> Descriptor | None:
    """The descriptor in a parsed document; None when something was added to `faults`."""
    if not isinstance(value, dict):
        faults.append(Fault(path, "want a descriptor"))
        return None
    before = len(faults)
    media_type = read_media_type(value.get("mediaType"), f"{path}.mediaType", faults)
    digest = None
    try:
        text = value.get("digest")
        digest = Digest.parse(text if isinstance(text, str) else "")
    except DigestInvalid as error:
        faults.append(Fault(f"{path}.digest", error.reason))
    size = value.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        faults.append(Fault(f"{path}.size", "want a whole number of bytes"))
        size = 0
    urls = value.get("urls") or []
    if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
        faults.append(Fault(f"{path}.urls", "want a list of text"))
        urls = []
    platform = value.get("platform")
    if platform is not None and not isinstance(platform, dict):
        faults.append(Fault(f"{path}.platform", "want an object"))
    artifact_type = value.get("artifactType")
    if artifact_type is not None:
        artifact_type = read_media_type(artifact_type, f"{path}.artifactType", faults)
    annotations = read_text_map(value.get("annotations"), f"{path}.annotations", faults)
    if len(faults) > before or digest is None:
        return None
    return Descriptor(media_type, digest, size, artifact_type, annotations, tuple(urls), platform)
