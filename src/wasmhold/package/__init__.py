"""Packages: names without hosts, where they live, and their releases.  Pure."""

from .metadata import WELL_KNOWN, RegistryMetadata
from .names import PackageInvalid, PackageName, PackageSpec
from .releases import newest, version_of, wasm_layer

__all__ = [
    "WELL_KNOWN",
    "PackageInvalid",
    "PackageName",
    "PackageSpec",
    "RegistryMetadata",
    "newest",
    "version_of",
    "wasm_layer",
]
