"""Names of packages: ``namespace:name``, with or without a version, and never with a host.

Source: component model, WIT.md, "Package names"; what wkg takes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self

from ..oci.errors import InputError
from ..semver import Version

_LABEL: Final = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")


class PackageInvalid(InputError):
    """Text that names no package."""


@dataclass(frozen=True, slots=True, order=True)
class PackageName:
    namespace: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``wasi:http``.  Raises PackageInvalid, with the span that is wrong."""
        namespace, colon, name = text.partition(":")
        if not colon:
            raise PackageInvalid("not a package, want namespace:name", text)
        _check(namespace, text, 0)
        _check(name, text, len(namespace) + 1)
        return cls(namespace, name)

    def __str__(self) -> str:
        return f"{self.namespace}:{self.name}"


def _check(label: str, whole: str, start: int) -> None:
    if _LABEL.fullmatch(label):
        return
    reason = "not the name of a package, want words of lower-case letters and digits joined by -"
    if _LABEL.fullmatch(label.lower()):
        reason = f"a package's name is lower case; did you mean {label.lower()}?"
    raise PackageInvalid(reason, whole, (start, start + len(label)))


@dataclass(frozen=True, slots=True)
class PackageSpec:
    package: PackageName
    version: Version | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``wasi:http@0.2.0``.  Raises PackageInvalid, VersionInvalid."""
        name, at, version = text.partition("@")
        return cls(PackageName.parse(name), Version.parse(version) if at else None)

    def __str__(self) -> str:
        return f"{self.package}@{self.version}" if self.version else str(self.package)
