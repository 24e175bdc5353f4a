"""Every error that wasmhold raises on purpose.

    WasmholdError                    UNKNOWN                500
    ├── InputError                   a string or document breaks a grammar; carries where
    │   ├── DigestInvalid            DIGEST_INVALID         400
    │   ├── NameInvalid              NAME_INVALID           400
    │   ├── TagInvalid               MANIFEST_INVALID       400
    │   └── RequestInvalid           UNSUPPORTED            400  path, query or header
    ├── ManifestInvalid              MANIFEST_INVALID       400  one entry for each fault
    │   └── UnsupportedManifest      MANIFEST_INVALID       400  of a kind that is not read
    ├── WasmInvalid                  UNKNOWN                400  no WebAssembly; carries the offset
    ├── ArtifactInvalid              MANIFEST_INVALID       400  what it holds is not what is wanted
    │   ├── NotWasm                  MANIFEST_INVALID       400  carries what was found
    │   │   └── NoWasmLayer          MANIFEST_INVALID       400  it says that it is, but holds none
    │   ├── ArchiveInvalid           MANIFEST_INVALID       400  a tar that is broken
    │   │   └── UnsafeEntry          MANIFEST_INVALID       400  would leave the folder; the entry
    │   └── Ambiguous                MANIFEST_INVALID       400  carries the choices
    ├── ManifestBlobUnknown          MANIFEST_BLOB_UNKNOWN  400  one entry for each absent digest
    ├── DigestMismatch               DIGEST_INVALID         400  the bytes are other bytes
    ├── SizeInvalid                  SIZE_INVALID           400  more or fewer bytes than promised
    ├── UploadInvalid                BLOB_UPLOAD_INVALID    400
    ├── NotFound                     the thing named is not here
    │   ├── BlobUnknown              BLOB_UNKNOWN           404
    │   ├── ManifestUnknown          MANIFEST_UNKNOWN       404
    │   ├── NameUnknown              NAME_UNKNOWN           404
    │   ├── UploadUnknown            BLOB_UPLOAD_UNKNOWN    404
    │   └── EndpointUnknown          UNSUPPORTED            404
    ├── Unauthorized                 UNAUTHORIZED           401  carries the challenge
    ├── Denied                       DENIED                 403
    ├── Unsupported                  UNSUPPORTED            405  carries the methods that work
    │   ├── BlobInUse                UNSUPPORTED            405
    │   ├── ForeignLayerError        UNSUPPORTED            405  a layer that is not unpacked
    │   ├── MissingExtraError        UNSUPPORTED            405  carries the extra to install
    │   └── CannotList               UNSUPPORTED            405  a place has no list of referrers
    ├── BodyStalled                  SIZE_INVALID           408  the body stopped coming
    ├── PreconditionFailed           PRECONDITION_FAILED    412  If-Match, If-None-Match
    ├── TooLarge                     SIZE_INVALID           413
    │   └── ManifestTooLarge         MANIFEST_INVALID       413
    ├── LimitExceeded                SIZE_INVALID           413  of an archive; carries the limit
    ├── RangeInvalid                 BLOB_UPLOAD_INVALID    416  carries the offset that we hold
    ├── RangeNotSatisfiable          SIZE_INVALID           416  carries the size
    ├── TooManyRequests              TOOMANYREQUESTS        429  carries when to come again
    ├── BodyCut                      SIZE_INVALID           400  the peer went away
    ├── StoreUnavailable             UNAVAILABLE            503  try again
    ├── OutOfSpace                   OUT_OF_SPACE           507
    ├── Unreachable                  UNAVAILABLE            502  another host gave no whole answer
    ├── AuthFailed                   UNAUTHORIZED           502  another registry wants other rights
    ├── Cancelled                    UNKNOWN                500  the user has interrupted it
    ├── ContentDamaged               UNKNOWN                500  stored bytes are not what they were
    └── FileInvalid                  UNKNOWN                500  of the operator's; for no client

Source of codes: distribution-spec, "Error Codes"; the four that it lacks are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Entry:
    """One element of ``errors`` in the specification's JSON; `detail` is any JSON value."""

    code: str
    message: str
    detail: object = None


class WasmholdError(Exception):
    """Base of all of them, so that ``except WasmholdError`` is exact.

    `code` is the OCI error code, `status` the HTTP status that a server answers with.
    Only `protocol` reads `status`; the core never does.  `retryable`: the same request may well
    succeed when it is sent again.
    """

    code: ClassVar[str] = "UNKNOWN"
    status: ClassVar[int] = 500
    retryable: bool = False

    def entries(self) -> list[Entry]:
        """What the client is told, at least one entry."""
        return [Entry(self.code, str(self), self.detail())]

    def detail(self) -> object:
        """Facts that a program can act on, as JSON; None when there are none."""
        return None


class InputError(WasmholdError):
    """What came in breaks a grammar. `span` is [start, end) in characters of `text`."""

    status = 400

    def __init__(self, reason: str, text: str, span: tuple[int, int] | None = None) -> None:
        super().__init__(reason, text, span)
        self.reason, self.text, self.span = reason, text, span or (0, len(text))

    def __str__(self) -> str:
        return f"{self.reason}: {self.text[:300]!r}"

    def show(self) -> str:
        """Three lines for a terminal: the reason, the text, and a mark under the place."""
        start, end = self.span
        return f"{self.reason}\n  {self.text}\n  {' ' * start}{'^' * max(1, end - start)}"

    def detail(self) -> object:
        return {"text": self.text[:300], "span": list(self.span)}


class DigestInvalid(InputError):
    code = "DIGEST_INVALID"


class NameInvalid(InputError):
    code = "NAME_INVALID"


class TagInvalid(InputError):
    # The specification has no code for a bad tag; every peer answers with that of the manifest.
    code = "MANIFEST_INVALID"


class RequestInvalid(InputError):
    code = "UNSUPPORTED"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong in a document, and where: ``layers[3].size``."""

    path: str
    reason: str


class ManifestInvalid(WasmholdError):
    """A document is no manifest that we can take; all its faults together."""

    code = "MANIFEST_INVALID"
    status = 400

    def __init__(self, *faults: Fault) -> None:
        super().__init__(*faults)
        self.faults = faults

    def __str__(self) -> str:
        return "; ".join(f"{f.path}: {f.reason}" if f.path else f.reason for f in self.faults)

    def entries(self) -> list[Entry]:
        return [
            Entry(self.code, f"{f.path}: {f.reason}" if f.path else f.reason, {"path": f.path})
            for f in self.faults
        ]


class UnsupportedManifest(ManifestInvalid):
    """A manifest of a kind that is not read here, such as schema 1 of docker."""

    def __init__(self, reference: str, media_type: str) -> None:
        kind = media_type or "of no media type"
        super().__init__(Fault("mediaType", f"{reference} is {kind}, which is not read here"))
        self.reference, self.media_type = reference, media_type


class WasmInvalid(WasmholdError):
    """Bytes are no WebAssembly binary. `source` names them, `offset` is in bytes."""

    status = 400

    def __init__(self, source: str, reason: str, offset: int) -> None:
        super().__init__(f"{source}: {reason} (byte {offset})")
        self.source, self.reason, self.offset = source, reason, offset

    def detail(self) -> object:
        return {"offset": self.offset}


class ArtifactInvalid(WasmholdError):
    """An artifact cannot be read as what it says it is, or not as it was asked for."""

    code = "MANIFEST_INVALID"
    status = 400


class NotWasm(ArtifactInvalid):
    """An artifact without WebAssembly. `config` and `layers` are the media types that it has."""

    verdict: ClassVar[str] = "is not a WebAssembly artifact"

    def __init__(self, name: str, config: str, layers: Sequence[str]) -> None:
        found = f"found config {config or 'none'}, layers {', '.join(layers) or 'none'}"
        super().__init__(f"{name} {self.verdict}: {found}")
        self.config, self.layers = config, tuple(layers)

    def detail(self) -> object:
        return {"config": self.config, "layers": list(self.layers)}


class NoWasmLayer(NotWasm):
    """An artifact that says that it is WebAssembly, without a layer that is."""

    verdict = "says that it is WebAssembly, but has no layer of it"


class Ambiguous(ArtifactInvalid):
    """Several things could be meant, and nothing says which; `choices` are text for a person."""

    def __init__(self, reason: str, choices: Sequence[str]) -> None:
        super().__init__(f"{reason}: {'; '.join(choices)}")
        self.choices = tuple(choices)

    def detail(self) -> object:
        return {"choices": list(self.choices)}


class ArchiveInvalid(ArtifactInvalid):
    """A tar archive, or what it is compressed with, is broken or cut off."""


class UnsafeEntry(ArchiveInvalid):
    """An entry of an archive would lead out of the folder that it is unpacked into, or might."""

    def __init__(self, entry: str, reason: str) -> None:
        super().__init__(f"the entry {entry[:300]!r} is not unpacked: {reason}")
        self.entry, self.reason = entry, reason

    def detail(self) -> object:
        return {"entry": self.entry[:300], "reason": self.reason}


class ManifestBlobUnknown(WasmholdError):
    """A manifest refers to content that its repository does not hold; all of it is named."""

    code = "MANIFEST_BLOB_UNKNOWN"
    status = 400

    def __init__(self, digests: Sequence[str]) -> None:
        super().__init__(f"the repository lacks {', '.join(digests)}: push that first")
        self.digests = tuple(digests)

    def entries(self) -> list[Entry]:
        return [
            Entry(self.code, f"the repository lacks {d}: push that first", {"digest": d})
            for d in self.digests
        ]


class DigestMismatch(WasmholdError):
    """Bytes hash to another digest than was promised. Both are strings."""

    code = "DIGEST_INVALID"
    status = 400

    def __init__(self, expected: str, actual: str) -> None:
        super().__init__(f"the content is {actual}, not {expected}: send it again")
        self.expected, self.actual = expected, actual

    def detail(self) -> object:
        return {"expected": self.expected, "actual": self.actual}


class SizeInvalid(WasmholdError):
    """More or fewer bytes came than were promised. Both numbers are bytes."""

    code = "SIZE_INVALID"
    status = 400

    def __init__(self, expected: int, actual: int) -> None:
        super().__init__(f"{expected} bytes were promised, {actual} came: nothing was stored")
        self.expected, self.actual = expected, actual

    def detail(self) -> object:
        return {"expected": self.expected, "actual": self.actual}


class UploadInvalid(WasmholdError):
    """What is asked of an upload session makes no sense."""

    code = "BLOB_UPLOAD_INVALID"
    status = 400


class NotFound(WasmholdError):
    status = 404


class BlobUnknown(NotFound):
    code = "BLOB_UNKNOWN"

    def __init__(self, name: str, digest: str) -> None:
        super().__init__(f"repository {name} has no blob {digest}")
        self.name, self.digest = name, digest

    def detail(self) -> object:
        return {"name": self.name, "digest": self.digest}


class ManifestUnknown(NotFound):
    """`reference` is a tag or a digest."""

    code = "MANIFEST_UNKNOWN"

    def __init__(self, name: str, reference: str) -> None:
        super().__init__(f"repository {name} has no manifest {reference}")
        self.name, self.reference = name, reference

    def detail(self) -> object:
        return {"name": self.name, "reference": self.reference}


class NameUnknown(NotFound):
    code = "NAME_UNKNOWN"

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no repository {name}")
        self.name = name

    def detail(self) -> object:
        return {"name": self.name}


class UploadUnknown(NotFound):
    code = "BLOB_UPLOAD_UNKNOWN"

    def __init__(self, name: str, session: str) -> None:
        super().__init__(f"repository {name} has no upload session {session}: start a new one")
        self.name, self.session = name, session

    def detail(self) -> object:
        return {"name": self.name, "session": self.session}


class EndpointUnknown(NotFound):
    """The path is none that this API has."""

    code = "UNSUPPORTED"


class Unauthorized(WasmholdError):
    """Nobody has logged in. `challenge` is the value of WWW-Authenticate."""

    code = "UNAUTHORIZED"
    status = 401

    def __init__(self, challenge: str, reason: str = "log in first") -> None:
        super().__init__(reason)
        self.challenge = challenge


class Denied(WasmholdError):
    """Known, and not allowed."""

    code = "DENIED"
    status = 403


class Unsupported(WasmholdError):
    """Switched off, or a method that this path has not. `allow` lists those that it has."""

    code = "UNSUPPORTED"
    status = 405

    def __init__(self, reason: str, allow: Sequence[str] = ()) -> None:
        super().__init__(reason)
        self.allow = tuple(allow)


class BlobInUse(Unsupported):
    """A manifest still refers to the blob."""

    def __init__(self, name: str, digest: str) -> None:
        super().__init__(
            f"a manifest of {name} needs the blob {digest}: delete that manifest first",
            ("GET", "HEAD"),
        )


class CannotList(Unsupported):
    """Whether there are referrers could not be asked: never taken for "there are none"."""


class ForeignLayerError(Unsupported):
    """A layer that belongs to its publisher, of Windows as a rule: not unpacked by itself."""

    def __init__(self, media_type: str) -> None:
        super().__init__(
            f"a layer of type {media_type} is not unpacked: it is for Windows, or not to be "
            "distributed; force it where you know that it is a tar for Linux"
        )
        self.media_type = media_type


class MissingExtraError(Unsupported):
    """A package is not installed that few need. `extra` is what to install it with."""

    def __init__(self, extra: str) -> None:
        super().__init__(f"this wants a package: pip install 'wasmhold[{extra}]'")
        self.extra = extra

    def detail(self) -> object:
        return {"extra": self.extra}


class BodyStalled(WasmholdError):
    """No byte of the request's body came for `seconds`."""

    code = "SIZE_INVALID"
    status = 408
    retryable = True

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no byte of the body came for {seconds:g} s: nothing was stored")


class BodyCut(WasmholdError):
    """The peer went away inside its body, or sent a broken chunk. Nobody reads the answer."""

    code = "SIZE_INVALID"
    status = 400
    retryable = True

    def __init__(self) -> None:
        super().__init__("the body ended too early: nothing was stored")


class PreconditionFailed(WasmholdError):
    """If-Match or If-None-Match does not hold. `current` is the tag's digest, None: no such tag."""

    code = "PRECONDITION_FAILED"
    status = 412

    def __init__(self, tag: str, current: str | None) -> None:
        is_now = f"is {current}" if current else "does not exist"
        super().__init__(f"the tag {tag} {is_now}: read it again, then decide")
        self.tag, self.current = tag, current

    def detail(self) -> object:
        return {"tag": self.tag, "digest": self.current}


class TooLarge(WasmholdError):
    """Over a limit. `limit` is in bytes."""

    code = "SIZE_INVALID"
    status = 413
    noun: ClassVar[str] = "body"

    def __init__(self, limit: int) -> None:
        super().__init__(f"the {self.noun} is larger than {limit} bytes")
        self.limit = limit

    def detail(self) -> object:
        return {"limit": self.limit}


class ManifestTooLarge(TooLarge):
    code = "MANIFEST_INVALID"
    noun = "manifest"


class LimitExceeded(WasmholdError):
    """An archive has more of something than is taken. `limit` is in the unit that `what` says."""

    code = "SIZE_INVALID"
    status = 413

    def __init__(self, what: str, limit: int) -> None:
        super().__init__(f"the archive has more than {limit} {what}: raise the limit if it may")
        self.what, self.limit = what, limit

    def detail(self) -> object:
        return {"what": self.what, "limit": self.limit}


class RangeInvalid(WasmholdError):
    """A chunk does not start where the last one ended. `expected` is the byte we hold."""

    code = "BLOB_UPLOAD_INVALID"
    status = 416

    def __init__(self, expected: int, got: int) -> None:
        super().__init__(f"the chunk starts at byte {got}, the upload session holds {expected}")
        self.expected, self.got = expected, got

    def detail(self) -> object:
        return {"expected": self.expected, "actual": self.got}


class RangeNotSatisfiable(WasmholdError):
    """The range lies outside of the content. `size` is the content's, in bytes."""

    code = "SIZE_INVALID"
    status = 416

    def __init__(self, size: int) -> None:
        super().__init__(f"the range lies outside of the {size} bytes")
        self.size = size

    def detail(self) -> object:
        return {"size": self.size}


class TooManyRequests(WasmholdError):
    code = "TOOMANYREQUESTS"
    status = 429
    retryable = True

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"too many requests: come again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class StoreUnavailable(WasmholdError):
    """The store does not answer, or answers so that the outcome is not known: ask again."""

    code = "UNAVAILABLE"
    status = 503
    retryable = True
    retry_after_s: ClassVar[int] = 1


class OutOfSpace(WasmholdError):
    code = "OUT_OF_SPACE"
    status = 507


class Cancelled(WasmholdError):
    """The user, or the program around us, wants it to end."""

    def __init__(self) -> None:
        super().__init__("interrupted: what had not arrived whole was dropped")


class ContentDamaged(WasmholdError):
    """Stored bytes do not hash to their digest any more."""


class FileInvalid(WasmholdError):
    """A file of the operator's cannot be used; all its faults together."""

    def __init__(self, file: str, *faults: Fault) -> None:
        super().__init__(file, *faults)
        self.file, self.faults = file, faults

    def __str__(self) -> str:
        said = "; ".join(f"{f.path}: {f.reason}" if f.path else f.reason for f in self.faults)
        return f"{self.file}: {said}"


class Unreachable(WasmholdError):
    """No whole answer came from `host`: no connection, a broken one, silence, or no trust."""

    code = "UNAVAILABLE"
    status = 502

    def __init__(self, host: str, reason: str, *, retryable: bool = True) -> None:
        super().__init__(f"{host}: {reason}")
        self.host, self.reason, self.retryable = host, reason, retryable


class AuthFailed(WasmholdError):
    """A registry wants other credentials, or other rights.

    `answer_status` is its HTTP status, 401 or 403; where no credentials went out, None.
    """

    code = "UNAUTHORIZED"
    status = 502

    def __init__(self, registry: str, reason: str, answer_status: int | None = None) -> None:
        super().__init__(f"{registry}: {reason}")
        self.registry, self.reason, self.answer_status = registry, reason, answer_status
