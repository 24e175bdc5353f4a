"""Places as people write them: a repository in a registry, a layout, an archive, a store.

HOST[:PORT]/NAME[:TAG][@DIGEST]            a repository in a registry
NAME[:TAG][@DIGEST]                        the same in the default registry, where there is one
oci:DIR[:TAG][@DIGEST]                     an image layout
oci-archive:FILE[:TAG][@DIGEST]            the same as tar
docker-archive:FILE[:NAME[:TAG]][@DIGEST]  images as docker saves them
store:DIR//NAME[:TAG][@DIGEST]             a registry's directory, without a server
cache:HOST/NAME[:TAG][@DIGEST]             what the content cache holds of a repository
packages:DIR//NAMESPACE/NAME[:VERSION]     a package in a folder of packages
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final, Self

from ..oci.digest import Digest
from ..oci.errors import DigestMismatch, InputError
from ..oci.reference import parse_name, parse_tag, split_tag

_DIGEST: Final = re.compile(r"@([a-z0-9]+:[a-zA-Z0-9=_-]*)\Z")
_HOST: Final = re.compile(r"(?:[a-zA-Z0-9][a-zA-Z0-9._-]*|\[[0-9a-fA-F:.]+\])(?::[0-9]{1,5})?")


class PlaceInvalid(InputError):
    """Text that names no place, or not enough of one."""


class OtherDigest(DigestMismatch):
    """A place names one digest, and what is to be there has another; both are strings."""

    def __str__(self) -> str:
        return f"the place names {self.expected}, but the content is {self.actual}"


class PlaceKind(Enum):
    """Values are what stands before a place; a registry's has nothing there."""

    REGISTRY = ""
    LAYOUT = "oci:"
    ARCHIVE = "oci-archive:"
    DOCKER = "docker-archive:"
    STORE = "store:"
    CACHE = "cache:"
    PACKAGES = "packages:"


_BEFORE_NAME: Final = {
    PlaceKind.REGISTRY: "/",
    PlaceKind.DOCKER: ":",
    PlaceKind.STORE: "//",
    PlaceKind.CACHE: "/",
    PlaceKind.PACKAGES: "//",
}


@dataclass(frozen=True, slots=True)
class Place:
    """`where` is a host, folder, file or directory; `name` a repository, empty where none is."""

    kind: PlaceKind
    where: str
    name: str = ""
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str, default_registry: str | None = None) -> Self:
        """Read a place.  A host is never guessed: there is the one written, or the default.

        Raises PlaceInvalid; NameInvalid, TagInvalid, DigestInvalid.
        """
        rest, digest = text, None
        if (match := _DIGEST.search(text)) is not None:
            rest, digest = text[: match.start()], Digest.parse(match[1])
        for kind in (PlaceKind.LAYOUT, PlaceKind.ARCHIVE):
            if rest.startswith(kind.value):
                path, tag = _split_tag(rest.removeprefix(kind.value), text)
                if not path:
                    raise PlaceInvalid(f"want {kind.value}PATH[:TAG]", text)
                return cls(kind, path, "", tag, digest)
        if rest.startswith(PlaceKind.DOCKER.value):
            return cls._in_docker_archive(text, rest, digest)
        for kind in (PlaceKind.STORE, PlaceKind.PACKAGES):
            # ``packages:5000/NAME`` is in a registry: only two slashes end a folder.
            if rest.startswith(kind.value) and (kind is PlaceKind.STORE or "//" in rest):
                where, _, name = rest.removeprefix(kind.value).rpartition("//")
                if not where:
                    raise PlaceInvalid(f"want {kind.value}DIR//NAME[:TAG]", text)
                name, tag = _split_tag(name, text)
                return cls(kind, where, parse_name(name, text, text.rfind(name)), tag, digest)
        kind, whole = PlaceKind.REGISTRY, rest
        # ``cache:5000`` is a host, and none follows it.
        inside = rest.removeprefix(PlaceKind.CACHE.value)
        if inside != rest and is_host(inside.partition("/")[0]):
            kind, whole = PlaceKind.CACHE, inside
        return cls._in_registry(kind, text, whole, digest, default_registry)

    @classmethod
    def _in_docker_archive(cls, text: str, rest: str, digest: Digest | None) -> Self:
        # As for skopeo: a name may have a port, so it is the file that has no colon.
        path, colon, whole = rest.removeprefix(PlaceKind.DOCKER.value).partition(":")
        name, tag = _split_tag(whole, text)
        if not path or (colon and not name):
            raise PlaceInvalid("want docker-archive:FILE or docker-archive:FILE:NAME:TAG", text)
        host, slash, below = name.partition("/")
        checked = below if slash and is_host(host) else name
        if checked:
            parse_name(checked, text, text.rfind(checked))
        return cls(PlaceKind.DOCKER, path, name, tag, digest)

    @classmethod
    def _in_registry(
        cls,
        kind: PlaceKind,
        text: str,
        rest: str,
        digest: Digest | None,
        default_registry: str | None,
    ) -> Self:
        if "://" in rest:
            raise PlaceInvalid("a place has no scheme, want HOST/NAME[:TAG]", text)
        host, slash, path = rest.partition("/")
        if not (slash and is_host(host)):
            if default_registry is None:
                raise PlaceInvalid("no registry given, want HOST/NAME[:TAG]", text)
            host, path = default_registry, rest
        name, tag = _split_tag(path, text)
        return cls(kind, host, parse_name(name, text, text.find(name)), tag, digest)

    @property
    def reference(self) -> str | Digest | None:
        """The digest where there is one, else the tag."""
        return self.digest or self.tag

    def required(self) -> str | Digest:
        """The same.  Raises PlaceInvalid where there is neither."""
        if self.reference is None:
            raise PlaceInvalid(
                f"no tag and no digest given; did you mean {self}:latest?", str(self)
            )
        return self.reference

    @property
    def repository(self) -> str:
        """Without tag and digest."""
        between = _BEFORE_NAME[self.kind] if self.name else ""
        return f"{self.kind.value}{self.where}{between}{self.name}"

    @property
    def whole_name(self) -> str:
        """Of the repository with its host, as docker names images; empty where there is none."""
        return self.repository if self.kind is PlaceKind.REGISTRY else self.name

    def at(self, digest: Digest) -> Self:
        """The same by digest alone."""
        return replace(self, tag=None, digest=digest)

    def __str__(self) -> str:
        # Behind a docker archive a name stands, so a tag alone would be read as one.
        is_nameless = self.kind is PlaceKind.DOCKER and not self.name
        tag = f":{self.tag}" if self.tag and not is_nameless else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.repository}{tag}{digest}"


def is_host(text: str) -> bool:
    """Whether the first part of a name is a host: it has a dot or a colon, or is localhost."""
    looks_so = "." in text or ":" in text or text == "localhost"
    return looks_so and _HOST.fullmatch(text) is not None


def _split_tag(text: str, whole: str) -> tuple[str, str | None]:
    name, tag = split_tag(text)
    return name, None if tag is None else parse_tag(tag, whole, whole.rfind(tag))
