"""References to images, read as docker reads them.

``alpine`` is ``docker.io/library/alpine:latest`` to who reads it, and yet names no host: whether
one is asked for it is the user's to say (`ImageReference.within`).

Source: distribution, "reference" package; moby, "Image references".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Self

from ..client.hosts import DOCKER_HUB
from ..client.place import PlaceInvalid, is_host
from ..oci.digest import Digest
from ..oci.errors import NameInvalid
from ..oci.reference import parse_name, parse_tag

DOCKER: Final = "docker.io"
LATEST: Final = "latest"
_OFFICIAL: Final = "library/"  # where Docker Hub has the images without a user
_MOVING: Final = frozenset({LATEST, "dev", "edge", "main", "master"})


@dataclass(frozen=True, slots=True)
class ImageReference:
    """``registry/name:tag@digest``; where there is a digest it decides, else there is a tag.

    `original` is the text as it was given, `qualified` whether that named the registry.
    """

    registry: str
    name: str
    tag: str | None
    digest: Digest | None
    original: str
    qualified: bool

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what stands behind ``docker pull``.

        Raises NameInvalid, TagInvalid, with the span that is wrong; DigestInvalid.
        """
        host, path, tag, digest = _split(text)
        registry = DOCKER if host is None or host in DOCKER_HUB else host
        if registry == DOCKER and "/" not in path:
            path = f"{_OFFICIAL}{path}"
        if digest is None:
            tag = tag or LATEST
        return cls(registry, path, tag, digest, text, host is not None)

    def within(self, default_registry: str | None) -> Self:
        """What it means where `default_registry` is the registry of a bare name.

        The same for a qualified one, and where there is none.  Raises PlaceInvalid for what is
        no host.
        """
        if self.qualified or default_registry is None:
            return self
        if not is_host(default_registry):
            raise PlaceInvalid("want the host of a registry, HOST[:PORT]", default_registry)
        if default_registry in DOCKER_HUB:
            return self
        return replace(self, registry=default_registry, name=_split(self.original)[1])

    @property
    def reference(self) -> str | Digest:
        """The digest where there is one, else the tag."""
        if self.digest is not None:
            return self.digest
        assert self.tag is not None
        return self.tag

    @property
    def repository(self) -> str:
        return f"{self.registry}/{self.name}"

    @property
    def local_names(self) -> tuple[str, ...]:
        """The names under which an image registry of this machine may have it, in order.

        As it was given; then without Docker Hub's host, and with and without its ``library/``.
        What names another registry has its one name.
        """
        host, path, _, _ = _split(self.original)
        given = path if host is None else f"{host}/{path}"
        names = [given]
        if host is not None and host in DOCKER_HUB:
            names += [path, path.removeprefix(_OFFICIAL)]
        elif host is None:
            names += [path.removeprefix(_OFFICIAL)]
            if "/" not in path:
                names.append(f"{_OFFICIAL}{path}")
        return tuple(dict.fromkeys(names))

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.repository}{tag}{digest}"


def is_mutable_tag(text: str) -> bool:
    """Whether the tag of a reference is one that is known to move: none, ``latest``, ``main``, …

    Any other may move just as well; only a digest never does.
    """
    if "@" in text:
        return False
    tag = text.rpartition("/")[2].partition(":")[2]
    return tag == "" or tag in _MOVING


def ends_with(name: str, wanted: str) -> bool:
    """Whether the last parts of the path `name` are those of `wanted`."""
    return name == wanted or name.endswith(f"/{wanted}")


def _split(text: str) -> tuple[str | None, str, str | None, Digest | None]:
    """Host, path, tag and digest as they were written; the first three are checked."""
    if not text:
        raise NameInvalid("a reference has at least a name", text)
    rest, at, digest = text.partition("@")
    host, slash, path = rest.partition("/")
    if not (slash and is_host(host)):
        host, path = "", rest
    start = len(rest) - len(path)
    above, slash, last = path.rpartition("/")
    last, colon, tag = last.partition(":")
    name = f"{above}{slash}{last}"
    parse_name(name, text, start)
    if colon:
        parse_tag(tag, text, start + len(name) + 1)
    return host or None, name, tag or None, Digest.parse(digest) if at else None


def candidates(text: str) -> Iterator[tuple[str, str | Digest]]:
    """Name and reference of each place on this machine where the image `text` may lie."""
    image = ImageReference.parse(text)
    return ((name, image.reference) for name in image.local_names)
