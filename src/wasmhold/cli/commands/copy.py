"""``wasmhold copy``: content from place to place, byte for byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..calling import JSON, Call, ClientCommand
from ..words import amount, size

if TYPE_CHECKING:
    from ...client.copy import Copied
    from ...client.place import Place
    from ...client.plan import Plan


@click.command("copy", cls=ClientCommand, short_help="copy content from place to place")
@click.argument("source")
@click.argument("destination")
@click.option("-r", "--recursive", is_flag=True, help="Also what refers to it, and to that.")
@click.option("--platform", metavar="OS/ARCH", help="Of an index only this manifest.")
@click.option("--all-tags", is_flag=True, help="Every tag, under its own name.")
@click.option("--plan", "only_plan", is_flag=True, help="Say what would move, and move nothing.")
@JSON
@click.pass_obj
def copy(
    call: Call,
    source: str,
    destination: str,
    recursive: bool,
    platform: str | None,
    all_tags: bool,
    only_plan: bool,
    as_json: bool,
) -> None:
    """Copy SOURCE to DESTINATION, byte for byte.

    What is there is not moved again, and tags are set last.  A destination without a tag takes
    that of the source.
    """
    start, end = call.place(source), call.place(destination)
    call.refuse_one_login(start, end)
    how = {"referrers": recursive, "platform": platform, "all_tags": all_tags}
    if only_plan:
        _say_plan(call, call.client.plan(start, end, **how), as_json=as_json)  # type: ignore[arg-type]
    else:
        _say_copied(call, call.client.copy(start, end, **how), end, as_json=as_json)  # type: ignore[arg-type]


def _say_plan(call: Call, plan: Plan, *, as_json: bool) -> None:
    if as_json:
        call.show(
            {
                "roots": [one.to_json() for one in plan.roots],
                "blobs": [one.to_json() for one in plan.blobs],
                "manifests": [one.to_json() for one in plan.manifests],
                "tags": {str(digest): list(tags) for digest, tags in plan.tags.items()},
                "there": len(plan.there),
                "leftOut": [one.to_json() for one in plan.left_out],
                "size": plan.size,
                "requests": plan.requests,
            }
        )
        return
    for one in (*plan.blobs, *plan.manifests):
        click.echo(f"{one.digest}  {size(one.size)}, {one.media_type}")
    for tags in plan.tags.values():
        click.echo(f"tags: {', '.join(tags)}")
    click.echo(
        f"would move {amount(len(plan.blobs), 'blob')} and "
        f"{amount(len(plan.manifests), 'manifest')}, {size(plan.size)}, in about "
        f"{amount(plan.requests, 'request')}; {len(plan.there)} are there"
    )


def _say_copied(call: Call, copied: Copied, end: Place, *, as_json: bool) -> None:
    if as_json:
        call.show(
            {
                "roots": [one.to_json() for one in copied.roots],
                "blobs": copied.blobs,
                "mounted": copied.mounted,
                "manifests": copied.manifests,
                "there": copied.there,
                "moved": copied.moved,
            }
        )
        return
    if call.is_quiet or len(copied.roots) == 1:
        for root in copied.roots:
            click.echo(
                f"{root.digest}" if call.is_quiet else f"Copied: {end}\nDigest: {root.digest}"
            )
    call.note(
        f"moved {amount(copied.blobs - copied.mounted, 'blob')} ({size(copied.moved)}) and "
        f"{amount(copied.manifests, 'manifest')}; {copied.mounted} mounted, {copied.there} there"
    )
