"""One file as a layer: a tar with nothing else in it, compressed with gzip, piece by piece.

The same file gives the same bytes: mode 0644, user 0, no time.  Only another version of zlib may
write them otherwise.

Sources: POSIX.1-2017, pax; RFC 1952; image-spec, layer.md.
"""

from __future__ import annotations

import tarfile
import zlib
from typing import Final

from ..oci.descriptor import Descriptor
from ..oci.digest import Digest, hasher
from ..oci.errors import ArtifactInvalid
from .build import PackedLayer
from .media_types import TAR_GZIP

# Deflate, no name, no time, no system.
_GZIP: Final = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
_LEVEL: Final = 6


class FilePacker:
    """Takes the bytes of one file, of `size` bytes, and gives those of its layer."""

    def __init__(self, name: str, size: int) -> None:
        """`name` is the file's in the archive, without a slash at its start."""
        header = tarfile.TarInfo(name)
        header.size = size
        self._name, self._left = name, size
        # A whole number of blocks, then two that are empty.
        self._end = bytes(-size % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE)
        self._deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._tar, self._packed = hasher(), hasher()
        self._checksum = self._tar_size = self._packed_size = 0
        self._begun = self._told(_GZIP) + self._pack(header.tobuf(tarfile.PAX_FORMAT, "utf-8"))

    def feed(self, piece: bytes) -> bytes:
        """The next bytes of the file.  Raises ArtifactInvalid for more than there should be."""
        self._left -= len(piece)
        self._check(self._left >= 0)
        begun, self._begun = self._begun, b""
        return begun + self._pack(piece)

    def finish(self) -> tuple[bytes, PackedLayer]:
        """The last bytes, and what all of them are.  Raises ArtifactInvalid for too few."""
        self._check(self._left == 0)
        last = self.feed(b"") + self._pack(self._end) + self._told(self._deflate.flush())
        for number in (self._checksum, self._tar_size & 0xFFFFFFFF):
            last += self._told(number.to_bytes(4, "little"))
        digest = Digest("sha256", self._packed.hexdigest())
        descriptor = Descriptor(TAR_GZIP, digest, self._packed_size)
        return last, PackedLayer(descriptor, Digest("sha256", self._tar.hexdigest()))

    def _check(self, is_right: bool) -> None:
        if not is_right:
            raise ArtifactInvalid(f"the size of {self._name} has changed while it was packed")

    def _pack(self, content: bytes) -> bytes:
        self._tar.update(content)
        self._checksum = zlib.crc32(content, self._checksum)
        self._tar_size += len(content)
        return self._told(self._deflate.compress(content))

    def _told(self, content: bytes) -> bytes:
        self._packed.update(content)
        self._packed_size += len(content)
        return content
