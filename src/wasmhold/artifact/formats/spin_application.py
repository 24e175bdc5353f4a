"""The locked application of Spin: which components it has, and where the content of each lies.

Source: Spin, `crates/locked-app` and `crates/oci`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

from ...oci.digest import Digest
from ...oci.document import parse_object
from ...oci.errors import ArtifactInvalid, DigestInvalid, ManifestInvalid

ARCHIVE: Final = "application/vnd.wasm.content.bundle.v1.tar+gzip"
"""A layer with many of the files, which are found in it by their digests."""
LOCK: Final = "spin.lock"


@dataclass(frozen=True, slots=True)
class Content:
    """A blob, a file in an archive, or, where it is small, the bytes themselves."""

    digest: Digest
    inline: bytes | None = None


@dataclass(frozen=True, slots=True)
class Application:
    """`files` has names below a folder: ``ID.wasm`` for a component, ``ID/PATH`` for its files."""

    components: tuple[str, ...]
    files: dict[str, Content]

    @classmethod
    def parse(cls, lock: bytes) -> Self:
        """Read a lock.  Raises ArtifactInvalid, naming the component."""
        try:
            members = parse_object(lock)
        except ManifestInvalid as error:
            raise ArtifactInvalid(f"the locked application: {error}") from None
        files: dict[str, Content] = {}
        components = []
        for component in _objects(members, "components", "the locked application"):
            name = component.get("id")
            if not isinstance(name, str) or "/" in name:
                raise ArtifactInvalid(f"a component's id is no name of a file: {name!r}")
            components.append(name)
            for path, content in _files(name, component):
                if files.setdefault(path, content) != content:
                    raise ArtifactInvalid(f"two files of the application are called {path!r}")
        return cls(tuple(components), files)


def _files(name: str, component: dict[str, object]) -> Iterator[tuple[str, Content]]:
    yield f"{name}.wasm", _content(component.get("source"), f"component {name}")
    for file in _objects(component, "files", f"component {name}"):
        path = file.get("path")
        if not isinstance(path, str):
            raise ArtifactInvalid(f"component {name} has a file without a path")
        path = path.removeprefix("./").lstrip("/")
        yield f"{name}/{path}", _content(file, f"{path} of component {name}")
    needed = component.get("dependencies")
    for key, one in needed.items() if isinstance(needed, dict) else ():
        source = one.get("source") if isinstance(one, dict) else None
        path = key.replace("/", "_").replace(":", "_")
        yield f"{name}.{path}.wasm", _content(source, f"{key}, which component {name} needs,")


def _content(members: object, what: str) -> Content:
    if not isinstance(members, dict):
        raise ArtifactInvalid(f"{what} has no source")
    digest, inline = members.get("digest"), members.get("inline")
    try:
        content = base64.b64decode(inline, validate=True) if isinstance(inline, str) else None
        if isinstance(digest, str):
            found = Digest.parse(digest)
            if content is not None and Digest.of(content, found.algorithm) != found:
                raise ArtifactInvalid(f"{what} has other content than its digest says")
            return Content(found, content)
    except (DigestInvalid, binascii.Error) as error:
        raise ArtifactInvalid(f"{what}: {error}") from None
    if content is None:
        raise ArtifactInvalid(f"{what} has neither a digest nor its content")
    return Content(Digest.of(content), content)


def _objects(members: dict[str, object], key: str, what: str) -> list[dict[str, object]]:
    found = members.get(key, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ArtifactInvalid(f"{what}: {key}: want a list of objects")
    return found
