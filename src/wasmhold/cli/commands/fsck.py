"""``wasmhold fsck``: check every byte and every reference of a store."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ...oci.limits import MIB
from ...ports.runtime import run
from ...stores.directory.findings import Finding, Rules
from ..directory import ROOT, opened
from ..group import CommandFailed
from ..words import amount, size


@click.command(short_help="check every byte and every reference")
@ROOT
@click.option(
    "--repair",
    is_flag=True,
    help="Write anew what is derived; move wrong bytes to .wasmhold/bad in DIR.",
)
@click.option(
    "--delete-broken",
    is_flag=True,
    help="Also delete manifests that cannot be served whole, and tags that lead nowhere.",
)
@click.option(
    "--rate",
    metavar="MB",
    type=click.FloatRange(min=0, min_open=True),
    help="Read at most so many MiB in a second.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object in each line.")
def fsck(root: Path, repair: bool, delete_broken: bool, rate: float | None, as_json: bool) -> None:
    """Check that all that is stored is what it should be, while servers go on serving.

    The exit status is 1 when there is damage that was not repaired.
    """
    damage = mended = 0

    def tell(finding: Finding) -> None:
        nonlocal damage, mended
        damage += finding.is_damage
        mended += finding.is_mended
        if as_json:
            told = {
                "finding": finding.kind,
                "repository": finding.repository,
                "digest": None if finding.digest is None else str(finding.digest),
                "what": finding.what,
                "repair": finding.repair,
                "isDamage": finding.is_damage,
            }
            click.echo(json.dumps(told))
        else:
            click.echo(finding.line)

    rules = Rules(repair, delete_broken, None if rate is None else rate * MIB)
    with opened(root) as store:
        counts = run(store.check(rules, tell))
    if as_json:
        summary = {
            "repositories": counts.repositories,
            "manifests": counts.manifests,
            "tags": counts.tags,
            "blobs": counts.blobs,
            "read": counts.read,
            "damage": damage,
            "mended": mended,
        }
        click.echo(json.dumps({"summary": summary}))
    else:
        things = [
            amount(counts.repositories, "repository"),
            amount(counts.manifests, "manifest"),
            amount(counts.tags, "tag"),
            amount(counts.blobs, "blob"),
        ]
        click.echo(f"checked {', '.join(things)}: read {size(counts.read)}")
    if damage:
        raise CommandFailed(
            f"{root} is damaged: {amount(damage, 'finding')}",
            "push what is missing again, or delete what needs it: --repair --delete-broken"
            if repair
            else "wasmhold fsck --repair mends what can be mended; pushing again mends the rest",
        )
