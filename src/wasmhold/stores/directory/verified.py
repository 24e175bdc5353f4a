"""What is read is what was written: the first read of a file in a process hashes it on its way.

The last piece is held back until the digest is right, so that a flipped bit never leaves as a whole
answer: the reader gets too few bytes, and the connection ends.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Final

from ...oci.digest import Digest, hasher
from ...oci.errors import ContentDamaged
from ...oci.limits import MIB
from ...ports.body import Body
from ...ports.runtime import Runtime
from ..pieces import feed

# A part of a larger file that was never read whole is served as it is: hashing it first would keep
# the reader waiting for longer than it waits between two bytes.
PART_LIMIT: Final = 64 * MIB


def damaged(name: str, digest: Digest) -> ContentDamaged:
    return ContentDamaged(f"the blob {digest} of {name} is damaged in the store: push it again")


class VerifyingBody:
    """The whole of a file that nobody has verified yet; `when_right` is called when it was."""

    file = None

    def __init__(
        self,
        body: Body,
        name: str,
        digest: Digest,
        *,
        runtime: Runtime,
        when_right: Callable[[], None],
    ) -> None:
        self.size = body.size
        self._body, self._name, self._digest = body, name, digest
        self._runtime, self._when_right = runtime, when_right

    async def __aiter__(self) -> AsyncIterator[bytes]:
        running, held = hasher(self._digest.algorithm), b""
        async for piece in self._body:
            if held:
                yield held
            held = piece
            await feed(running, self._runtime, piece)
        if running.hexdigest() != self._digest.encoded:
            raise damaged(self._name, self._digest)
        self._when_right()
        if held:
            yield held

    async def aclose(self) -> None:
        await self._body.aclose()
