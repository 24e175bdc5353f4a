"""``wasmhold version``: which version this is, and on what it runs."""

from __future__ import annotations

import json
import platform

import click

from ... import __version__


@click.command(short_help="say which version this is")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, also of Python and system.")
def version(as_json: bool) -> None:
    """Say which version this is."""
    if as_json:
        told = {
            "version": __version__,
            "python": platform.python_version(),
            "implementation": platform.python_implementation(),
            "system": platform.system(),
            "machine": platform.machine(),
        }
        click.echo(json.dumps(told))
    else:
        click.echo(f"wasmhold {__version__}")
