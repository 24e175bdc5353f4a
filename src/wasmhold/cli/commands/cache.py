"""``wasmhold cache info|prune|clear|verify``: the content cache."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import click

from ...client.caches.blocking import BlockingCache
from ...client.caches.config import CacheConfig
from ...client.caches.prune import GRACE_S
from ...oci.errors import WasmholdError
from ..failing import FAILED, NOT_VERIFIED, failure
from ..group import CommandFailed, WrongUse
from ..words import amount, plain, size

_JSON: Final = click.option("--json", "as_json", is_flag=True, help="One JSON object.")
_WHICH: Final = click.option(
    "--cache",
    "which",
    metavar="disk|DIR|URL",
    default="disk",
    show_default=True,
    help="Which cache; `disk` is WASMHOLD_CACHE_DIR, else the user's own folder.",
)


@contextmanager
def _opened(which: str) -> Iterator[BlockingCache]:
    """Errors of the library become those of the program."""
    if which in ("off", "memory"):
        raise WrongUse(f"--cache: {which} keeps nothing, want disk, a URL or a folder as ./cache")
    try:
        yield BlockingCache(CacheConfig.parse(which, os.environ, "--cache").build())
    except WasmholdError as error:
        raise failure(error) from error


@click.group(short_help="look at the content cache, and clear it up")
def cache() -> None:
    """What was pulled is kept in the content cache, where a command is told to use it."""


@cache.command(short_help="say what the cache holds")
@_WHICH
@click.option("--images", "with_images", is_flag=True, help="Also each image.")
@_JSON
def info(which: str, with_images: bool, as_json: bool) -> None:
    """Say where the cache is, and what it holds."""
    with _opened(which) as cache:
        found = cache.info()
        images = cache.images() if with_images else []
    if as_json:
        document: dict[str, object] = {
            "place": found.place,
            "size": found.size,
            "maxSize": found.max_size,
            "blobs": found.blobs,
            "manifests": found.manifests,
            "images": found.images,
        }
        if with_images:
            document["list"] = [
                {
                    "reference": one.reference,
                    "digest": str(one.record.top.digest),
                    "size": one.size,
                    "original": one.record.original,
                    "fetched": one.record.fetched_s,
                }
                for one in images
            ]
        click.echo(json.dumps(document))
        return
    limit = "no limit" if found.max_size is None else f"of {size(found.max_size)}"
    click.echo(f"{found.place}: {size(found.size)}, {limit}")
    click.echo(
        f"{amount(found.blobs, 'blob')}, {amount(found.manifests, 'manifest')}, "
        f"{amount(found.images, 'image')}"
    )
    for one in images:
        click.echo(f"{plain(one.reference)}  {size(one.size)}  {one.record.top.digest}")


@cache.command(short_help="remove what no image leads to")
@_WHICH
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@click.option(
    "--older-than",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    default=GRACE_S,
    show_default=True,
    help="Leave what was used since then: a pull may not have come to its end.",
)
@_JSON
def prune(which: str, dry_run: bool, older_than: float, as_json: bool) -> None:
    """Remove what no image leads to.

    Images are what was pulled by a tag.
    """
    with _opened(which) as cache:
        done = cache.prune(dry_run=dry_run, older_than_s=older_than)
    if as_json:
        document = {
            "dryRun": dry_run,
            "deleted": [*map(str, done.deleted)],
            "freed": done.freed,
            "kept": done.kept,
            "errors": [*done.errors],
        }
        click.echo(json.dumps(document))
    else:
        removed, freed = ("would remove", "free") if dry_run else ("removed", "freed")
        count = amount(len(done.deleted), "thing")
        click.echo(f"{removed} {count}, {freed} {size(done.freed)}; {done.kept:,} stay")
    if done.errors:
        more = f", and {len(done.errors) - 1} more" if len(done.errors) > 1 else ""
        raise CommandFailed(
            f"{done.errors[0]}{more}",
            "`wasmhold cache verify` removes what is damaged",
            status=FAILED,
        )


@cache.command(short_help="remove everything")
@_WHICH
@_JSON
def clear(which: str, as_json: bool) -> None:
    """Forget everything that is cached, also what was begun."""
    with _opened(which) as cache:
        found = cache.info()
        cache.clear()
    if as_json:
        click.echo(json.dumps({"place": found.place, "freed": found.size}))
    else:
        click.echo(f"{found.place}: removed {size(found.size)}")


@cache.command(short_help="read everything, and remove what is damaged")
@_WHICH
@_JSON
def verify(which: str, as_json: bool) -> None:
    """Read everything, and remove what is damaged, so that it comes anew."""
    with _opened(which) as cache:
        found = cache.verify()
    if as_json:
        document = {
            "count": found.count,
            "size": found.size,
            "damaged": [*map(str, found.damaged)],
        }
        click.echo(json.dumps(document))
    else:
        click.echo(f"read {amount(found.count, 'thing')}, {size(found.size)}")
    if found.damaged:
        raise CommandFailed(
            f"{len(found.damaged)} were damaged and are removed, such as {found.damaged[0]}",
            "what is pulled again comes anew; look after the disk when that goes on",
            status=NOT_VERIFIED,
        )
