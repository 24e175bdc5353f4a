"""What a puller raises beside the errors of registries, and names by which others know errors.

There is one tree, of `wasmhold.oci.errors`.  The names are those of zlayer-registry:

    RegistryError          all of it
    NotFound, AuthFailed, DigestMismatch, NotWasm   are theirs and ours
    NoWasmLayer            it says that it is WebAssembly, but has no layer of it
    InvalidWasm            bytes that are no WebAssembly; `reason` and `offset` say where
    AmbiguousArtifact, AmbiguousWasmLayer   several things could be meant; `choices`
    InvalidReference       what breaks a grammar; `reason`, `text` and `span` say where
    InvalidDigest          of a digest
    SizeMismatch           more or fewer bytes than the descriptor says
    LocalRegistryError, ExportError, ImportArchiveError, CacheError   all of it, in other words
    CacheIOError, CacheCorrupted   a cache that cannot be read or written, and one that was changed
    PullCancelled          `cancel()` was called; a task that is cancelled raises CancelledError
    RemoteError            a registry's refusal, RateLimited that with 429
"""

from __future__ import annotations

from collections.abc import Sequence

from ..oci.errors import (
    Ambiguous,
    AuthFailed,
    Cancelled,
    ContentDamaged,
    DigestInvalid,
    DigestMismatch,
    InputError,
    NotFound,
    NotWasm,
    NoWasmLayer,
    SizeInvalid,
    StoreUnavailable,
    UnsupportedManifest,
    WasmholdError,
    WasmInvalid,
)
from ..protocol.errors import RateLimited, RemoteError

RegistryError = LocalRegistryError = ExportError = ImportArchiveError = CacheError = WasmholdError
CacheIOError, CacheCorrupted = StoreUnavailable, ContentDamaged
InvalidReference = InputError
InvalidDigest = DigestInvalid
SizeMismatch = SizeInvalid
PullCancelled = Cancelled
InvalidWasm = WasmInvalid
AmbiguousArtifact = AmbiguousWasmLayer = Ambiguous

__all__ = [
    "AmbiguousArtifact",
    "AmbiguousReference",
    "AmbiguousWasmLayer",
    "AuthFailed",
    "CacheCorrupted",
    "CacheError",
    "CacheIOError",
    "DigestMismatch",
    "ExportError",
    "ImageNotFound",
    "ImportArchiveError",
    "InvalidDigest",
    "InvalidReference",
    "InvalidWasm",
    "LocalRegistryError",
    "NoWasmLayer",
    "NotFound",
    "NotWasm",
    "PullCancelled",
    "RateLimited",
    "RegistryError",
    "RemoteError",
    "SizeMismatch",
    "UnsupportedManifest",
]


class ImageNotFound(NotFound):
    """No place that may be asked has the image; `hint` says what could be done."""

    code = "MANIFEST_UNKNOWN"

    def __init__(self, registry: str, reference: str, reason: str, hint: str) -> None:
        super().__init__(f"image {reference} is not found: {reason}; {hint}")
        self.registry, self.reference, self.reason, self.hint = registry, reference, reason, hint


class AmbiguousReference(Ambiguous):
    """A bare name may be several images of this machine; `choices` are their whole names."""

    def __init__(self, reference: str, choices: Sequence[str]) -> None:
        super().__init__(f"{reference} may be several images, write one of them out", choices)
        self.reference = reference
