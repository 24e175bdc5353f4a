"""``wasmhold gc``: remove what nothing refers to."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ...oci.digest import Digest
from ...oci.errors import DigestInvalid
from ...ports.runtime import run
from ...stores.directory.collect import Removal
from ...stores.directory.store import COLLECTION_GRACE_S, DirectoryStore
from ..directory import ROOT, NotHere, opened
from ..words import amount, size


def _digest(context: click.Context, parameter: click.Parameter, value: str | None) -> Digest | None:
    try:
        return None if value is None else Digest.parse(value)
    except DigestInvalid as error:
        raise click.BadParameter(str(error)) from None


@click.command(short_help="remove what nothing refers to")
@ROOT
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@click.option(
    "--untagged",
    is_flag=True,
    help="Also remove manifests that no tag, no index and no subject keeps.",
)
@click.option(
    "--grace",
    metavar="SECONDS",
    type=click.IntRange(min=0),
    default=int(COLLECTION_GRACE_S),
    show_default=True,
    help="Leave what is younger: a push may be on its way.",
)
@click.option("--explain", metavar="DIGEST", callback=_digest, help="Say what keeps this digest.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object in each line.")
def gc(
    root: Path,
    dry_run: bool,
    untagged: bool,
    grace: int,
    explain: Digest | None,
    as_json: bool,
) -> None:
    """Remove what nothing refers to, while servers go on serving.

    Rounds are made until one changes nothing.  It may be stopped at any moment.
    """
    with opened(root) as store:
        if explain is not None:
            _explain(store, explain, as_json=as_json)
        else:
            _collect(store, float(grace), untagged=untagged, dry_run=dry_run, as_json=as_json)


def _collect(
    store: DirectoryStore, grace_s: float, *, untagged: bool, dry_run: bool, as_json: bool
) -> None:
    verb = "would remove" if dry_run else "removed"

    def tell(removal: Removal) -> None:
        if as_json:
            told = {
                "removed": removal.what,
                "repository": removal.repository,
                "rule": removal.rule,
                "size": removal.size,
            }
            click.echo(json.dumps(told))
        else:
            where = f"{removal.repository}: " if removal.repository else ""
            click.echo(f"{verb} {where}{removal.what} ({size(removal.size)}): {removal.rule}")

    removed = freed = rounds = 0
    while True:
        done = run(store.clean(grace_s, untagged=untagged, dry_run=dry_run, told=tell))
        removed, freed, rounds = removed + done.removed, freed + done.freed, rounds + 1
        if dry_run or not done.changed:
            break
    if as_json:
        summary = {"dryRun": dry_run, "rounds": rounds, "count": removed, "freed": freed}
        click.echo(json.dumps({"summary": summary}))
    else:
        frees = "would free" if dry_run else "freed"
        click.echo(f"{verb} {amount(removed, 'thing')}, {frees} {size(freed)}")


def _explain(store: DirectoryStore, digest: Digest, *, as_json: bool) -> None:
    found = run(store.explain(digest))
    if not found:
        raise NotHere(f"no repository has {digest}", "wasmhold gc --dry-run says what is left over")
    for held in found:
        if as_json:
            told = {
                "repository": held.repository,
                "isKept": held.is_kept,
                "isManifest": held.is_manifest,
                "manifests": [*map(str, held.manifests)],
                "tags": [*held.tags],
            }
            click.echo(json.dumps(told))
        else:
            click.echo(held.line)
