"""What is asked in which order, and when what is here is too old: decisions, without any asking."""

from __future__ import annotations

from enum import Enum
from typing import Final

from ..oci.descriptor import Descriptor
from ..oci.errors import TooManyRequests, Unreachable, WasmholdError
from ..protocol.errors import RemoteError


class Source(Enum):
    """Where content came from."""

    LOCAL = "local"
    CACHE = "cache"
    SHARED = "shared"
    MIRROR = "mirror"
    ORIGIN = "origin"
    URL = "url"


class PullPolicy(Enum):
    """When a registry is asked for a manifest.  Values are the names on the wire.

    ALWAYS          the registry has the word, whatever is here
    NEWER           what is here is compared with what the registry has now
    IF_NOT_PRESENT  what is here is taken as it is
    NEVER           what is not here is not found
    """

    ALWAYS = "always"
    NEWER = "newer"
    IF_NOT_PRESENT = "if_not_present"
    NEVER = "never"


class SourcePolicy(Enum):
    """Which places are asked, nearest first.  Values are the names on the wire."""

    LOCAL_FIRST = "local_first"
    SHARED_FIRST = "shared_first"
    REMOTE_ONLY = "remote_only"
    LOCAL_ONLY = "local_only"

    # The name that it had before there were other object stores.
    S3_FIRST = SHARED_FIRST

    @classmethod
    def _missing_(cls, value: object) -> SourcePolicy | None:
        return cls.SHARED_FIRST if value == "s3_first" else None


_ORDER: Final = {
    SourcePolicy.LOCAL_FIRST: (Source.LOCAL, Source.CACHE, Source.SHARED, Source.ORIGIN),
    SourcePolicy.SHARED_FIRST: (Source.LOCAL, Source.SHARED, Source.CACHE, Source.ORIGIN),
    SourcePolicy.REMOTE_ONLY: (Source.ORIGIN,),
    SourcePolicy.LOCAL_ONLY: (Source.LOCAL, Source.CACHE),
}
_OF_THIS_MACHINE: Final = frozenset({Source.LOCAL, Source.CACHE})


def manifest_order(policy: PullPolicy, sources: SourcePolicy) -> tuple[Source, ...]:
    """The places that are asked for a manifest; ORIGIN stands for mirrors too, and comes last."""
    order = _ORDER[sources]
    if policy is PullPolicy.ALWAYS:
        return tuple(s for s in order if s is Source.ORIGIN)
    if policy is PullPolicy.NEVER:
        return tuple(s for s in order if s in _OF_THIS_MACHINE)
    return order


def blob_order(policy: PullPolicy, sources: SourcePolicy) -> tuple[Source, ...]:
    """The same for a blob: its digest says what it is, so the cache may be used by every policy."""
    order = _ORDER[sources]
    if Source.CACHE not in order:
        order = (Source.CACHE, *order)
    if policy is PullPolicy.NEVER:
        return tuple(s for s in order if s in _OF_THIS_MACHINE)
    return order


class Verdict(Enum):
    """What follows for a manifest that is here."""

    USE = "it is what the registry has"
    USE_STALE = "the registry cannot say, so it is used as it is"
    FETCH = "the registry has another one"
    GONE = "the registry has none"
    RAISE = "the registry refuses"


def judge(here: Descriptor, there: Descriptor | WasmholdError | None, *, stale: bool) -> Verdict:
    """Compare what is here with what a HEAD said, or why it said nothing.

    `stale`: what is here may be used when nobody can say.
    """
    if there is None:
        return Verdict.GONE
    if isinstance(there, Descriptor):
        return Verdict.USE if there.digest == here.digest else Verdict.FETCH
    return Verdict.USE_STALE if stale and is_outage(there) else Verdict.RAISE


def is_outage(error: WasmholdError) -> bool:
    """No answer, or one that says nothing about the thing asked for."""
    if isinstance(error, RemoteError):
        return error.answer_status == 429 or error.answer_status >= 500
    return isinstance(error, Unreachable | TooManyRequests)
