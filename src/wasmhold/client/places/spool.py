"""A file without a name, for what is put aside for a while."""

from __future__ import annotations

import os
import tempfile
import threading
from contextlib import AbstractContextManager, ExitStack
from typing import Final

from ...oci.errors import OutOfSpace
from .files import translated
from .tar import Region

FILE_MAX: Final = 1 << 62  # bytes; where a file can be written to is a number of 63 bits


class Spool:
    """A file without a name that only grows; in `folder`, or where such files lie here."""

    def __init__(self, files: ExitStack, folder: str | None) -> None:
        """The file is made when it is needed, and closed by `files`."""
        self._files, self._folder = files, folder
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._size = 0

    @property
    def descriptor(self) -> int:
        if self._descriptor is None:
            made = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115
            self._descriptor = self._files.enter_context(made).fileno()
        return self._descriptor

    def reserve(self, size: int) -> Region:
        """Room for so many bytes.  Raises OutOfSpace."""
        with self._lock, self._translated():
            if self._size + size > FILE_MAX:
                raise OutOfSpace(f"no file has room for {size} bytes more")
            region = Region(self.descriptor, self._size, size)
            self._size += size
            return region

    def write(self, at: int, content: bytes) -> int:
        """Where it ends."""
        left = memoryview(content)
        with self._translated():
            while left:
                written = os.pwrite(self.descriptor, left, at)
                at, left = at + written, left[written:]
        return at

    def add(self, content: bytes) -> Region:
        region = self.reserve(len(content))
        self.write(region.start, content)
        return region

    def _translated(self) -> AbstractContextManager[None]:
        return translated(self._folder or tempfile.gettempdir())
