"""Unpacking and packing under asyncio."""

from __future__ import annotations

import os
from contextlib import closing
from typing import Unpack

from ...client.aio import AsyncioRuntime
from ..events import OnEvent
from .options import How
from .unpacker import Unpacker, UnpackOptions


class LayerUnpacker(Unpacker):
    """Unpacks layers into a folder: ``await LayerUnpacker(root).unpack_layer(stream, type)``

    `atomic`, see `Unpacker`; `on_event` hears of warnings; what else may be said, `How` knows.
    It may be made outside of the event loop in which it is used.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        atomic: bool | None = None,
        on_event: OnEvent | None = None,
        **options: Unpack[UnpackOptions],
    ) -> None:
        """Raises InputError."""
        super().__init__(root, How(**options), lambda: closing(AsyncioRuntime()), atomic, on_event)
