"""``manifest.json``: which images a docker archive has, and what they are called.

Source: moby, "image/tarexport"; containers/image, "docker/internal/tarfile".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from ...oci.descriptor import Descriptor, read_descriptor
from ...oci.digest import Digest
from ...oci.document import parse_json
from ...oci.errors import Fault, ManifestInvalid, TagInvalid
from ...oci.layout import LayoutIndex, blob_name, whole_name_of
from ...oci.manifest import parse_manifest
from ...oci.reference import parse_tag, split_tag

MANIFEST_FILE: Final = "manifest.json"

_MAX_FAULTS: Final = 20  # of one document that are told


@dataclass(frozen=True, slots=True)
class Saved:
    """One image: names of its config and layers in the archive, and its own, ``NAME:TAG``.

    `elsewhere` has layers that are not in the archive, by what they are unpacked.
    """

    config: str
    layers: tuple[str, ...]
    names: tuple[str, ...]
    elsewhere: Mapping[str, Descriptor]


def parse_saved(content: bytes) -> list[Saved]:
    """The images of a ``manifest.json``.  Raises ManifestInvalid."""
    items = parse_json(content)
    if not isinstance(items, list) or not items:
        raise ManifestInvalid(Fault("", "contains no images"))
    faults: list[Fault] = []
    found = [_saved(item, f"[{number}]", faults) for number, item in enumerate(items)]
    if faults:
        raise ManifestInvalid(*faults[:_MAX_FAULTS])
    return found


def _saved(item: object, path: str, faults: list[Fault]) -> Saved:
    members = item if isinstance(item, dict) else {}
    config = members.get("Config")
    if not isinstance(config, str):
        faults.append(Fault(f"{path}.Config", "want the name of a file"))
        config = ""
    names = _texts(members.get("RepoTags"), f"{path}.RepoTags", faults)
    for name in names:
        repository, tag = split_tag(name)
        try:
            if not repository:
                raise TagInvalid("no name", name)
            parse_tag(tag or "", name)
        except TagInvalid:
            faults.append(Fault(f"{path}.RepoTags", f"{name!r} is no NAME:TAG"))
    sources = members.get("LayerSources") or {}
    elsewhere = {
        diff_id: layer
        for diff_id, source in (sources.items() if isinstance(sources, dict) else ())
        if (layer := read_descriptor(source, f"{path}.LayerSources", faults)) is not None
    }
    layers = _texts(members.get("Layers"), f"{path}.Layers", faults)
    return Saved(config, layers, names, elsewhere)


def _texts(value: object, path: str, faults: list[Fault]) -> tuple[str, ...]:
    if value is None:  # as Go writes an empty list
        return ()
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        faults.append(Fault(path, "want a list of names"))
        return ()
    return tuple(value)


def dump_saved(index: LayoutIndex, read: Callable[[Digest], bytes | None]) -> bytes:
    """A ``manifest.json`` for the images of a layout."""
    names: dict[Digest, list[str]] = {}
    for entry in index.entries:
        name = whole_name_of(entry)
        names.setdefault(entry.digest, []).extend([name] if name else [])
    images = []
    for digest, its_names in names.items():
        manifest = parse_manifest(read(digest) or b"")
        assert manifest.config is not None
        images.append(
            {
                "Config": blob_name(manifest.config.digest),
                "RepoTags": its_names or None,
                "Layers": [blob_name(layer.digest) for layer in manifest.layers],
            }
        )
    return json.dumps(images, separators=(",", ":")).encode()
