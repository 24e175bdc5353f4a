"""Exporting and importing images without an event loop; `exchange` says what each does."""

from __future__ import annotations

from contextlib import closing
from typing import Unpack

from ..client.opening import Opener
from ..client.runtime import ThreadRuntime
from ..client.settings import Settings
from ..client.verbs import warn_user
from ..ports.runtime import run
from . import exporting, importing, saved
from .exporting import ExportInfo, ExportOptions, export
from .holding import Holder
from .importing import ImportInfo, ImportOptions, import_


def _opener(settings: Settings | None) -> closing[Opener]:
    return closing(Opener(settings or Settings(), ThreadRuntime(), warn_user))


def export_image(
    source: Holder,
    reference: str | None,
    output: exporting.Target,
    *,
    settings: Settings | None = None,
    **options: Unpack[ExportOptions],
) -> ExportInfo:
    with _opener(settings) as opener:
        return run(export(opener, source, reference, output, exporting.How(**options)))


def import_image(
    target: Holder,
    source: saved.Source,
    *,
    settings: Settings | None = None,
    **options: Unpack[ImportOptions],
) -> list[ImportInfo]:
    with _opener(settings) as opener:
        return run(import_(opener, target, source, importing.How(**options)))
