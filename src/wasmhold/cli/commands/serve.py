"""``wasmhold serve``: run the registry."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import click

from ...oci.errors import FileInvalid
from ...servers import granian, sockets
from ..group import CommandFailed, WrongUse
from ..guarding import access_files
from ..options.printed import to_toml
from ..options.serve import OPTIONS
from ..options.sources import CONFIG, resolve
from ..plan import Plan
from ..planning import plan_of
from ..wiring import certificate, check_root, edge, log_events, shared_memory


@click.command(
    short_help="run the registry",
    params=[
        CONFIG.for_click(),
        click.Option(["--print-config"], is_flag=True, help="Show what holds, and who said so."),
        *(option.for_click() for option in OPTIONS),
    ],
)
def serve(print_config: bool, **flags: object) -> None:
    """Run the registry.

    It speaks the OCI Distribution API to any client, until SIGTERM or Ctrl-C.  Each option is also
    a variable (WASMHOLD_LISTEN) and a key of the file of --config (listen).
    """
    configuration = resolve(OPTIONS, flags, os.environ)
    plan = plan_of(configuration)
    if print_config:
        click.echo("\n".join(to_toml(OPTIONS, configuration)))
        return
    listen, ready_file = configuration["listen"].value, configuration["ready-file"].value
    if ready_file and not os.access(Path(ready_file).parent, os.W_OK):
        raise CommandFailed(
            f"cannot write {ready_file}", "name a file in a folder that is there with --ready-file"
        )
    what = _prepared(plan)
    ready = Path(ready_file) if ready_file else None
    try:
        address = sockets.reserve(listen.host, listen.port)
    except OSError as error:
        raise CommandFailed(
            f"cannot listen on {listen}: {error.strerror or error}",
            "stop what listens there, or choose another address with --listen",
        ) from None
    _remove(ready)  # of an earlier run that was killed
    log_events(plan)
    try:
        granian.serve(
            partial(edge, plan, shared_memory(plan)),
            address,
            workers=plan.workers,
            respawn=plan.root is not None,  # what was in memory is gone: that is not hidden
            certificate=certificate(plan),
            shutdown_timeout_s=configuration["shutdown-timeout"].value,
            when_ready=partial(when_ready, ready, what),
        )
    except FileInvalid as error:
        raise CommandFailed(
            str(error), "mend the file, or serve without --tls-cert and --tls-key"
        ) from None
    finally:
        _remove(ready)


def _prepared(plan: Plan) -> str:
    """What the line at the start says of the store; what a worker could not tell is told here."""
    try:
        files = access_files(plan)
    except FileInvalid as error:
        raise WrongUse(str(error)) from None
    for text in () if files is None else files.warnings():
        _tell(f"warning: {text}")
    if not plan.durable:
        _tell("--no-sync: a power loss may take what was acknowledged")
    if plan.root is None:
        return "memory, 1 worker"
    check_root(Path(plan.root))
    return f"directory {plan.root}, {plan.workers} worker{'s' if plan.workers > 1 else ''}"


def _tell(line: str) -> None:
    print(f"wasmhold: {line}", file=sys.stderr, flush=True)


def _remove(ready_file: Path | None) -> None:
    if ready_file is not None:
        with suppress(OSError):
            ready_file.unlink()


def when_ready(ready_file: Path | None, what: str, url: str) -> None:
    _tell(f"serving {url} ({what})")
    if ready_file is not None:
        # Whoever waits for the file must never read half of it.
        beside = ready_file.with_name(f".{ready_file.name}.{os.getpid()}")
        try:
            beside.write_text(f"{url}\n")
            beside.replace(ready_file)
        except OSError as error:
            _tell(f"warning: cannot write {ready_file}: {error.strerror or error}")
