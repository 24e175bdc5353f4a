"""A copy that failed: on which side, at which step, and whether trying again may help."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..oci.errors import Cancelled, Entry, WasmholdError
from .events import Side


class CopyFailed(WasmholdError):
    """`step` says what was tried, `place` where, `cause` is what that raised.

    `code` and `entries` are the cause's: the registry's own words.
    """

    def __init__(self, side: Side, place: str, step: str, cause: WasmholdError) -> None:
        super().__init__(f"{step}, {side.value} {place}: {cause}")
        self.side, self.place, self.step, self.cause = side, place, step, cause
        self.retryable = cause.retryable

    def entries(self) -> list[Entry]:
        return self.cause.entries()


class TypesRefused(CopyFailed):
    """A registry took all blobs of an artifact, but not its manifest: it knows no such types."""


@contextmanager
def blamed(side: Side, place: str, step: str) -> Iterator[None]:
    """What is raised inside becomes a CopyFailed of this side and step; a cancel stays one."""
    try:
        yield
    except (CopyFailed, Cancelled):
        raise
    except WasmholdError as error:
        raise CopyFailed(side, place, step, error) from error
