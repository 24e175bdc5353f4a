"""A blob on its way: a file in ``tmp``, whose lock is the one flight of all processes."""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress

from ...oci.digest import Digest
from ...oci.errors import ContentDamaged, WasmholdError
from ..places.files import Folder, translated, try_lock, write_all
from .folder import TMP, created
from .format import prepare


class Part:
    """A blob on its way, whose lock we have; it stays for the next one, unless it is of no use."""

    def __init__(self, folder: Folder, name: str, descriptor: int) -> None:
        self.descriptor, self.size = descriptor, os.fstat(descriptor).st_size
        self._folder, self._name = folder, name
        self._is_kept = True

    @classmethod
    def take(cls, path: str, digest: Digest) -> Part | None:
        """The one of a blob in the cache at `path`; None when somebody else has it."""
        name = f"{TMP}/{digest.algorithm}-{digest.encoded}"
        with ExitStack() as unless_ours:
            folder = Folder(path)
            unless_ours.callback(folder.close)
            prepare(folder)
            folder.make(TMP)
            try:
                descriptor = created(folder, name)
            except ContentDamaged:
                folder.unlink(name)
                return None
            unless_ours.callback(os.close, descriptor)
            if not (try_lock(descriptor) and folder.is_at(name, descriptor)):
                return None
            part = cls(folder, name, descriptor)
            unless_ours.pop_all()
        return part

    def seek(self, size: int) -> None:
        """Keep the first `size` bytes; the next ones come behind them."""
        with translated(self._folder.path):
            os.ftruncate(self.descriptor, size)
            os.lseek(self.descriptor, size, os.SEEK_SET)
        self.size = size

    def write(self, chunk: bytes) -> None:
        """All of it, or nothing that counts: `seek` to `size` before the next try."""
        with translated(self._folder.path):
            write_all(self.descriptor, chunk)
        self.size += len(chunk)

    def drop(self) -> None:
        self._is_kept = False

    def place(self, name: str, now: float) -> None:
        """Its bytes are right: they become the blob."""
        with translated(f"{self._folder.path}/{name}"):
            os.utime(self.descriptor, (now, now))
        self._folder.rename(self._name, name)

    def close(self) -> None:
        folder = self._folder
        try:
            if not (self._is_kept and self.size) and folder.is_at(self._name, self.descriptor):
                with suppress(WasmholdError):  # the next one, or a sweep, removes it
                    folder.unlink(self._name)
        finally:
            os.close(self.descriptor)
            folder.close()
