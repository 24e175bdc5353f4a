"""A push that failed: what of it, and why; the cause stands in ``__cause__``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..oci.digest import Digest
from ..oci.errors import (
    AuthFailed,
    Cancelled,
    Denied,
    Entry,
    InputError,
    Unauthorized,
    Unreachable,
    WasmholdError,
)


class PushError(WasmholdError):
    """Base of them; `cause` is what a registry, or the way to it, said."""

    def __init__(self, text: str, cause: WasmholdError) -> None:
        super().__init__(f"{text}: {cause}")
        self.cause, self.reason = cause, str(cause)
        self.retryable = cause.retryable

    def entries(self) -> list[Entry]:
        return self.cause.entries()


class AuthenticationFailed(PushError):
    def __init__(self, registry: str, cause: WasmholdError) -> None:
        super().__init__(f"logging in to {registry} failed", cause)
        self.registry = registry


class BlobUploadFailed(PushError):
    def __init__(self, digest: Digest, cause: WasmholdError) -> None:
        super().__init__(f"pushing blob {digest} failed", cause)
        self.digest = digest


class ManifestUploadFailed(PushError):
    def __init__(self, cause: WasmholdError) -> None:
        super().__init__("pushing the manifest failed", cause)


class NetworkError(PushError):
    def __init__(self, cause: WasmholdError) -> None:
        super().__init__("the registry cannot be reached", cause)


class PushReferenceInvalid(PushError):
    """Where it should go is no reference to an image."""

    def __init__(self, reference: str, cause: WasmholdError) -> None:
        super().__init__(f"cannot push to {reference[:300]!r}", cause)
        self.reference = reference


@contextmanager
def push_errors(registry: str, blob: Digest | None = None) -> Iterator[None]:
    """What is raised inside becomes a PushError, about `blob` or the manifest; a cancel stays."""
    try:
        yield
    except (PushError, Cancelled):
        raise
    except WasmholdError as error:
        raise _push_error(error, registry, blob) from error


def _push_error(error: WasmholdError, registry: str, blob: Digest | None) -> PushError:
    if isinstance(error, AuthFailed | Unauthorized | Denied):
        return AuthenticationFailed(registry, error)
    if isinstance(error, Unreachable):
        return NetworkError(error)
    if isinstance(error, InputError):
        return PushReferenceInvalid(error.text, error)
    return ManifestUploadFailed(error) if blob is None else BlobUploadFailed(blob, error)
