"""Which manifest of an index is meant: operating system, architecture, and what is behind them.

Source: image-spec, image-index.md, "platform"; names are Go's, the order of variants containerd's.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

from ..oci.descriptor import Descriptor
from ..oci.errors import InputError, ManifestUnknown
from ..oci.manifest import Manifest

_ARCHITECTURES: Final = {
    "x86_64": "amd64",
    **dict.fromkeys(("x86", "i386", "i486", "i586", "i686"), "386"),
    "aarch64": "arm64",
    "loongarch64": "loong64",
    "powerpc": "ppc",
    "powerpc64": "ppc64",
    "powerpc64le": "ppc64le",
}
_ARM: Final = re.compile(r"armv(\d+)")
# From new to old: what runs one of them runs all behind it.
_VARIANTS: Final = {
    "amd64": ("v4", "v3", "v2", "v1"),
    "arm64": ("v9", "v8"),
    "arm": ("v8", "v7", "v6", "v5"),
}
# What a platform without a variant is.
_USUAL: Final = {"amd64": "v1", "arm64": "v8", "arm": "v7"}
_OTHERS: Final = 100  # behind all variants that were meant
_LISTED: Final = 20  # platforms that an error names


class PlatformInvalid(InputError):
    code = "UNSUPPORTED"


@dataclass(frozen=True, slots=True)
class Platform:
    """``os/architecture[/variant]``, in lower case.

    variant      None: the usual one of the architecture or an older one, else any
    os_version   ``10.0.20348`` is also 10.0.20348.1 and so on; None: any
    os_features  all that may be demanded; when there are none here, any
    otherwise    what is taken instead, where nothing fits
    """

    os: str
    architecture: str
    variant: str | None = None
    os_version: str | None = None
    os_features: tuple[str, ...] = ()
    otherwise: Platform | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``linux/arm64/v8``, ``wasip1/wasm``.  Raises PlatformInvalid."""
        parts = text.lower().split("/")
        if len(parts) not in (2, 3) or not all(parts):
            raise PlatformInvalid("want os/architecture or os/architecture/variant", text)
        return cls(parts[0], parts[1], parts[2] if len(parts) == 3 else None)

    @classmethod
    def host(cls) -> Platform:
        """That of the machine we run on; on macOS, where there is no darwin, linux will do."""
        is_ = os.uname()
        return of_machine(is_.sysname, is_.machine, sys.byteorder)

    @classmethod
    def of(cls, members: Mapping[str, object]) -> Self:
        """What a descriptor or an image config says of itself; what is not text is not there."""

        def text(key: str) -> str:
            value = members.get(key)
            return value if isinstance(value, str) else ""

        features = members.get("os.features")
        return cls(
            text("os").lower(),
            text("architecture").lower(),
            text("variant").lower() or None,
            text("os.version") or None,
            tuple(map(str, features)) if isinstance(features, list) else (),
        )

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))

    def described(self) -> str:
        """With the version of the operating system, for messages."""
        version = f" (os.version={self.os_version})" if self.os_version else ""
        return f"{self}{version}"

    def fits(self, platform: Mapping[str, object] | None) -> bool:
        """Whether what is of `platform` can be taken for this; what is of no platform fits none."""
        return platform is not None and self._distance(Platform.of(platform)) is not None

    def best(self, index: Manifest, place: str, reference: str) -> list[Descriptor]:
        """The children that fit best, all equally well, in the order of the index.

        Raises NoMatchingPlatform, which says what there is.
        """
        wanted: Platform | None = self
        while wanted is not None:
            found: dict[tuple[int, int, int], list[Descriptor]] = {}
            for child in index.manifests:
                distance = wanted._distance(Platform.of(child.platform or {}))
                if distance is not None:
                    found.setdefault(distance, []).append(child)
            if found:
                return found[min(found)]
            wanted = wanted.otherwise
        raise NoMatchingPlatform(self, place, reference, platforms_of(index))

    def choose(self, index: Manifest, place: str, reference: str) -> Descriptor:
        """The first of them."""
        return self.best(index, place, reference)[0]

    def _distance(self, other: Platform) -> tuple[int, int, int] | None:
        """How far `other` is from this, the lowest first; None when it does not fit."""
        # Attestations are of the platform unknown/unknown: they are never meant.
        if other.os != self.os or other.architecture != self.architecture or self.os == "unknown":
            return None
        variant, features = self._variant_distance(other), self._features_distance(other)
        if variant is None or features is None:
            return None
        return variant, self._version_distance(other), features

    def _variant_distance(self, other: Platform) -> int | None:
        order, usual = _VARIANTS.get(self.architecture, ()), _USUAL.get(self.architecture)
        wanted, is_there = self.variant or usual, other.variant or usual
        if wanted == is_there:
            return 0
        if wanted in order and is_there in order and order.index(is_there) > order.index(wanted):
            return order.index(is_there) - order.index(wanted)
        return _OTHERS if self.variant is None else None

    def _version_distance(self, other: Platform) -> int:
        wanted, is_there = self.os_version, other.os_version or ""
        is_near = wanted is None or f"{is_there}.".startswith(f"{wanted.rstrip('.')}.")
        return 0 if is_near else 1

    def _features_distance(self, other: Platform) -> int | None:
        demanded = set(other.os_features)
        if not self.os_features:
            return len(demanded)
        return -len(demanded) if demanded <= {*self.os_features} else None


def of_machine(system: str, machine: str, byteorder: str) -> Platform:
    """The platform of a machine, by what ``uname`` says of it."""
    system, machine = system.lower(), machine.lower()
    architecture, variant = _ARCHITECTURES.get(machine, machine), None
    if (arm := _ARM.match(machine)) is not None:
        architecture, variant = "arm", f"v{arm[1]}"
    elif machine in ("mips", "mips64") and byteorder == "little":
        architecture = f"{machine}le"
    otherwise = Platform("linux", architecture, variant) if system == "darwin" else None
    return Platform(system, architecture, variant, otherwise=otherwise)


def platforms_of(index: Manifest) -> list[str]:
    """All that an index has, as text, in its order; attestations are none."""
    found = (Platform.of(child.platform) for child in index.manifests if child.platform)
    names = (one.described() for one in found if str(one) not in ("", "unknown/unknown"))
    return [*dict.fromkeys(names)]


class NoMatchingPlatform(ManifestUnknown):
    """`wanted` is none of `available`, which are text."""

    def __init__(
        self, wanted: Platform, place: str, reference: str, available: Sequence[str]
    ) -> None:
        has = ", ".join(name[:100] for name in sorted(available)[:_LISTED]) or "no platforms"
        super().__init__(place, f"{reference} for {wanted.described()}; it has {has}")
        self.wanted, self.available = wanted, tuple(available)
