"""What the client needs of HTTP.  Small, so that a faster transport can take the place of ours."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from ...oci.limits import KIB
from ...protocol.messages import Fields

# Bytes that are read at once: with 64 KiB a download took a third more CPU, since each piece costs
# two calls of the system and its way through all layers.
PIECE: Final = 512 * KIB


class Readable(Protocol):
    """The body of an answer; whoever receives it closes it."""

    def read(self, size: int) -> bytes:
        """At most `size` bytes, none at the end.  Raises Unreachable when the connection breaks."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """`fields` have lower-case names; `url` is what answered, behind all redirects."""

    status: int
    fields: Fields
    body: Readable
    url: str


class Transport(Protocol):
    """Sends requests; may be used by several threads at once."""

    def request(
        self,
        method: str,
        url: str,
        fields: Fields = (),
        body: Iterable[bytes] | None = None,
        *,
        follow: bool = False,
    ) -> Answer:
        """Send one request and read the head of its answer, whatever its status.

        `fields` of a request with a body give its ``content-length``.  An answer that comes before
        the whole body was sent is an answer.  `follow`: go where redirects lead, with
        ``authorization`` only as long as scheme, host and port stay the same.

        Raises Unreachable; what `body` raises.
        """
        ...

    def speaks_tls(self, host: str, port: int) -> bool:
        """Does what listens there begin to shake hands?  False where nothing answers."""
        ...

    def close(self) -> None:
        """Close all connections, those too that other threads wait for."""
        ...
