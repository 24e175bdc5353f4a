"""Errors as people read them: what went wrong, why, what to do; and the exit status."""

from __future__ import annotations

from typing import Final

from ..client.caches.format import CacheFormatError
from ..client.failure import CopyFailed, TypesRefused
from ..client.place import PlaceInvalid
from ..client.platforms import NoMatchingPlatform
from ..oci.errors import (
    Ambiguous,
    ArchiveInvalid,
    AuthFailed,
    ContentDamaged,
    Denied,
    DigestMismatch,
    FileInvalid,
    ForeignLayerError,
    InputError,
    LimitExceeded,
    ManifestInvalid,
    MissingExtraError,
    NotFound,
    NotWasm,
    OutOfSpace,
    SizeInvalid,
    Unauthorized,
    Unreachable,
    Unsupported,
    WasmholdError,
    WasmInvalid,
)
from ..protocol.errors import RemoteError
from .group import CommandFailed

FAILED: Final = 1
WRONG_USE: Final = 2
NOT_FOUND: Final = 3
NOT_AUTHORISED: Final = 4
NOT_VERIFIED: Final = 5

_OF_ANSWERS: Final[dict[int, type[WasmholdError]]] = {
    401: AuthFailed,
    403: AuthFailed,
    404: NotFound,
}
_ITS_HELP: Final = "the command with --help says how it is used"
_AGAIN: Final = "the same command can be given again; it goes on where it stopped"
_NOT_THERE: Final = "`wasmhold tags NAME` says which tags there are"
_PLACES: Final = (
    "HOST/NAME:TAG, oci:DIR:TAG, oci-archive:FILE:TAG, docker-archive:FILE:NAME:TAG, "
    "store:DIR//NAME:TAG, cache:HOST/NAME:TAG are places; --registry HOST is for names without one"
)
_TYPES: Final = (
    "it may take no such media types: `push --format compat` writes an ordinary image, "
    "`convert --to compat` makes one of what is pushed already"
)
_FILE: Final = "name another file, or mend this one"
_CHANGED: Final = "nothing was kept of it: find out what changed it"
_TABLE: Final[tuple[tuple[type[WasmholdError], int, str], ...]] = (
    (PlaceInvalid, WRONG_USE, _PLACES),
    (NoMatchingPlatform, NOT_FOUND, "choose one of these with --platform"),
    (InputError, WRONG_USE, _ITS_HELP),
    (NotFound, NOT_FOUND, _NOT_THERE),
    (AuthFailed, NOT_AUTHORISED, "log in with `wasmhold login HOST`, or with docker"),
    (Unauthorized, NOT_AUTHORISED, "log in with `wasmhold login HOST`, or with docker"),
    (DigestMismatch, NOT_VERIFIED, _CHANGED),
    (ArchiveInvalid, NOT_VERIFIED, "nothing is left of it: ask whoever packed it"),
    (ForeignLayerError, FAILED, "--force unpacks it as a layer for Linux"),
    (MissingExtraError, FAILED, "give the command again when it is there"),
    (SizeInvalid, NOT_VERIFIED, _CHANGED),
    (ContentDamaged, NOT_VERIFIED, _CHANGED),
    (LimitExceeded, FAILED, _ITS_HELP),
    (Unreachable, FAILED, "`wasmhold doctor PLACE` says what answers there"),
    (OutOfSpace, FAILED, "make room there, and give the command again"),
    (Denied, FAILED, "find out who may write there"),
    (CacheFormatError, FAILED, "--cache, or WASMHOLD_CACHE_DIR, names the cache"),
    (FileInvalid, FAILED, _FILE),
    (WasmInvalid, FAILED, "name a .wasm file; --force pushes it all the same"),
    (NotWasm, FAILED, "`wasmhold inspect` says what it is; -o DIR/ writes its layers"),
    (Ambiguous, FAILED, "--layer, --title, --platform, a whole name or a digest choose one"),
    (ManifestInvalid, FAILED, "`wasmhold manifest get` shows what is there"),
    (Unsupported, FAILED, "this place cannot do that"),
)


def failure(error: BaseException) -> CommandFailed:
    """The program's error for one of the library."""
    if not isinstance(error, WasmholdError | OSError):
        what = f"a fault of wasmhold itself: {type(error).__name__}: {error}"
        return CommandFailed(what, "give the command again with --debug, and report what it shows")
    said, hint = status_and_hint(error)
    if isinstance(error, CopyFailed):
        cause = f"{error.side.value} {error.place}: {error.cause}"
        return CommandFailed(f"{error.step} failed", hint, cause=cause, status=said)
    return CommandFailed(str(error), hint, status=said)


def status_and_hint(error: BaseException) -> tuple[int, str]:
    """The exit status for an error, and the next step."""
    if isinstance(error, TypesRefused):
        return FAILED, _TYPES
    if isinstance(error, CopyFailed):
        error = error.cause
    kind = type(error)
    if isinstance(error, RemoteError):
        kind = _OF_ANSWERS.get(error.answer_status, kind)
    for one, number, hint in _TABLE:
        if issubclass(kind, one):
            return number, hint
    return FAILED, _AGAIN if getattr(error, "retryable", True) else _ITS_HELP
