"""Signatures, attestations and SBOMs: what describes an artifact, and is none of Wasm."""

from __future__ import annotations

from typing import Final

from ..kind import Format, Kind, View

_BUNDLE: Final = "application/vnd.dev.sigstore.bundle"  # versions behind it
_TYPES: Final = frozenset(
    {
        "application/vnd.cncf.notary.signature",
        "application/vnd.dev.cosign.simplesigning.v1+json",
        "application/vnd.dsse.envelope.v1+json",
        "application/vnd.in-toto+json",
        "application/spdx+json",
        "application/vnd.cyclonedx+json",
    }
)


def detect(view: View) -> Kind | None:
    marks = (view.artifact_type, view.config, *view.layers[:1])
    if any(mark in _TYPES or mark.startswith(_BUNDLE) for mark in marks):
        return Kind(Format.SIGNATURE)
    return None
