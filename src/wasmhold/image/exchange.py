"""Exporting and importing images under asyncio."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Unpack

from ..client.aio import AsyncioRuntime
from ..client.opening import Opener
from ..client.settings import Settings
from ..client.verbs import warn_user
from . import exporting, importing, saved
from .exporting import ExportInfo, ExportOptions, export
from .holding import Holder
from .importing import ImportInfo, ImportOptions, import_


@contextmanager
def _opener(settings: Settings | None) -> Iterator[Opener]:
    with (
        closing(AsyncioRuntime()) as runtime,
        closing(Opener(settings or Settings(), runtime, warn_user)) as opener,
    ):
        yield opener


async def export_image(
    source: Holder,
    reference: str | None,
    output: exporting.Target,
    *,
    settings: Settings | None = None,
    **options: Unpack[ExportOptions],
) -> ExportInfo:
    """Write an image as a layout, or as docker's archive; `wasmhold.image.exporting.How`.

    `source` is a local registry, a cache, an open repository, or text: a place, a host,
    ``store:DIR``.  `reference` names the image there: a tag, a digest, or ``NAME:TAG``.  `output`
    is a path, a folder where it is one or ends with a slash, else an archive; or a stream.
    Raises NameInvalid, PlaceInvalid, PlatformInvalid; ManifestUnknown; Unsupported for what a
    docker archive does not hold; CopyFailed; Denied, OutOfSpace, StoreUnavailable of the disk.
    """
    with _opener(settings) as opener:
        return await export(opener, source, reference, output, exporting.How(**options))


async def import_image(
    target: Holder,
    source: saved.Source,
    *,
    settings: Settings | None = None,
    **options: Unpack[ImportOptions],
) -> list[ImportInfo]:
    """Import what other tools have saved, all of it verified; `wasmhold.image.importing.How`.

    `source` is a path, a folder, a URL, bytes or a stream: a layout, or a docker archive, plain
    or compressed.  `target` is a local registry or what else `export_image` takes.  Raises
    DigestMismatch, ContentDamaged, CopyFailed, LimitExceeded, and then no tag has changed;
    NameInvalid, PlaceInvalid; Ambiguous where one name is given for several images;
    ManifestUnknown where `select` chooses none; of a URL what `fetch_archive` raises.
    """
    with _opener(settings) as opener:
        return await import_(opener, target, source, importing.How(**options))
