"""What a domain says about its packages: ``/.well-known/wasm-pkg/registry.json``.

Sources: wasm-pkg-tools, docs; warg-loader's older form of the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from ..oci.document import parse_object
from ..oci.errors import Fault, ManifestInvalid
from .names import PackageName

WELL_KNOWN: Final = ("/.well-known/wasm-pkg/registry.json", "/.well-known/warg/registry.json")
"""Where it is asked for; the second when the first is not there."""


@dataclass(frozen=True, slots=True)
class RegistryMetadata:
    """`registry` is the host of the OCI registry, None: the domain itself.

    `is_warg_alone`: it offers nothing but the warg protocol, which is gone.
    """

    registry: str | None = None
    prefix: str = ""
    is_warg_alone: bool = False

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Read either form; where both say something the older keys win, as with wkg.

        Unknown members are passed over.  Raises ManifestInvalid.
        """
        members = parse_object(content)
        oci = members.get("oci", {})
        if not isinstance(oci, dict):
            raise ManifestInvalid(Fault("oci", "want an object"))
        registry = _text(members, "ociRegistry", "") or _text(oci, "registry", "oci.")
        prefix = _text(members, "ociNamespacePrefix", "") or _text(oci, "namespacePrefix", "oci.")
        has_warg = "wargUrl" in members or "warg" in members
        is_offered = "oci" in members or registry is not None
        return cls(registry, prefix or "", has_warg and not is_offered)

    def repository(self, package: PackageName) -> str:
        """The repository of a package; a prefix without its slash gets one (WK-104)."""
        return f"{self.whole_prefix}{package.namespace}/{package.name}"

    @property
    def whole_prefix(self) -> str:
        return f"{self.prefix}/" if self.prefix and not self.prefix.endswith("/") else self.prefix


def _text(members: dict[str, object], key: str, above: str) -> str | None:
    value = members.get(key)
    if value is not None and not isinstance(value, str):
        raise ManifestInvalid(Fault(f"{above}{key}", "want text"))
    return value or None
