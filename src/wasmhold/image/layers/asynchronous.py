"""Unpacking and packing under asyncio."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from typing import Unpack

from ...client.aio import AsyncioRuntime
from ..events import OnEvent
from . import pack
from .kinds import Compression
from .options import How
from .pack import PackedLayer
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


async def pack_layer(
    root: str | os.PathLike[str],
    paths: Sequence[str] | None = None,
    *,
    compression: Compression | str = Compression.GZIP,
    level: int | None = None,
    mtime: int = 0,
    output: str | os.PathLike[str] | None = None,
) -> PackedLayer:
    """Pack what lies in the folder `root`; `wasmhold.image.layers.pack` says what each is."""
    with closing(AsyncioRuntime()) as runtime:
        return await pack.pack_layer(
            runtime,
            root,
            paths,
            compression=compression,
            level=level,
            mtime=mtime,
            output=output,
        )
