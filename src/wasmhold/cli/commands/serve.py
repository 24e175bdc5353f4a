"""``wasmhold serve``: run the registry."""

from __future__ import annotations

import ipaddress
import os
import sys
import tomllib
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import click

from ...oci import limits
from ...oci.errors import FileInvalid, WasmholdError
from ...registry import Settings
from ...servers import granian
from ...servers.access_log import FORMATS
from ...servers.proxies import parse_networks
from ..group import CommandFailed
from ..guarding import access_files
from ..plan import VERBOSITIES, Plan, Verbosity
from ..wiring import application, certificate, check_root, edge, log_events, shared_memory


def _default_root() -> Path:
    """Where the user's data is (XDG Base Directory Specification)."""
    data = os.environ.get("XDG_DATA_HOME", "")
    base = Path(data) if os.path.isabs(data) else Path.home() / ".local" / "share"
    return base / "wasmhold" / "registry"


def _address(context: click.Context, parameter: click.Parameter, value: str) -> tuple[str, int]:
    host, _, port = value.rpartition(":")
    if not host or not port.isascii() or not port.isdecimal() or int(port) > 65535:
        raise click.BadParameter(f"{value!r} is not HOST:PORT, for example 127.0.0.1:5000")
    return host.strip("[]"), int(port)


_FILE = click.Path(path_type=Path)
_UNITS = {"": 1, "KiB": limits.KIB, "MiB": limits.MIB, "GiB": 1024 * limits.MIB}


def _size(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """Bytes of ``500MiB``, ``1GiB`` or a plain number."""
    if value is None:
        return None
    number = value.rstrip("KMGiB")
    unit = _UNITS.get(value[len(number) :])
    if unit is None or not (number.isascii() and number.isdecimal()):
        raise click.BadParameter(f"{value!r} is no size, for example 1GiB, 500MiB or 0")
    return int(number) * unit


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read_faults(path: Path | None) -> tuple[tuple[str, str], ...]:
    if path is None:
        return ()
    try:
        rules = tomllib.loads(path.read_text())["fault"]
        return tuple((rule["operation"], rule["error"]) for rule in rules)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise click.UsageError(
            f"--faults {path}: want [[fault]] tables with operation and error ({error})"
        ) from None


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())


def when_ready(ready_file: Path | None, what: str, url: str) -> None:
    print(f"wasmhold: serving {url} ({what})", file=sys.stderr, flush=True)
    if ready_file is not None:
        # Whoever waits for the file must never read half of it.
        beside = ready_file.with_name(f".{ready_file.name}.{os.getpid()}")
        beside.write_text(f"{url}\n")
        beside.replace(ready_file)


@click.command(short_help="run the registry")
@click.option(
    "--root",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Keep content in this directory; default: wasmhold/registry among the user's data.",
)
@click.option("--memory", is_flag=True, help="Keep all content in memory: gone when it stops.")
@click.option(
    "--no-sync",
    is_flag=True,
    help="Do not wait for the disk: safe against a crash, not against a power loss.",
)
@click.option(
    "--min-free",
    metavar="SIZE",
    callback=_size,
    help="Refuse pushes (507) while less is free on the disk; default: 1GiB or 2 %, what is more.",
)
@click.option(
    "--workers",
    metavar="N",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processes that serve one directory together.",
)
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default="127.0.0.1:5000",
    show_default=True,
    callback=_address,
    help="Where to accept connections; port 0 takes a free one.",
)
@click.option("--tls-cert", metavar="FILE", type=_FILE, help="Serve HTTPS with this certificate.")
@click.option("--tls-key", metavar="FILE", type=_FILE, help="The key of the certificate.")
@click.option("--htpasswd", metavar="FILE", type=_FILE, help="Users and their bcrypt hashes.")
@click.option("--access", metavar="FILE", type=_FILE, help="Who may read, write and delete where.")
@click.option(
    "--anonymous",
    type=click.Choice(["pull", "push"]),
    help="What may be done without a login.",
)
@click.option(
    "--rate-limit",
    metavar="N",
    type=click.FloatRange(min=0),
    default=0,
    show_default=True,
    help="Requests in a second from one address; 0 is no bound.",
)
@click.option(
    "--trusted-proxy",
    metavar="NET",
    multiple=True,
    help="Believe what proxies in this network say of the client; may be given again.",
)
@click.option("--sparse", is_flag=True, help="Take manifests whose content is not here.")
@click.option("--read-only", is_flag=True, help="Refuse every change with 403.")
@click.option("--no-push", is_flag=True, help="Switch pushing off (405).")
@click.option("--no-delete", is_flag=True, help="Switch deleting off (405).")
@click.option(
    "--immutable-tags",
    metavar="GLOB",
    multiple=True,
    help="Tags that neither move nor go once they are set; may be given again.",
)
@click.option(
    "--manifest-limit",
    metavar="BYTES",
    type=click.IntRange(min=1),
    default=limits.MANIFEST,
    show_default=True,
    help="The largest manifest that is taken.",
)
@click.option("--warning", metavar="TEXT", multiple=True, help="Say this in every answer.")
@click.option("--faults", metavar="FILE", type=click.Path(path_type=Path), help="For tests.")
@click.option("--log", type=click.Choice([*FORMATS, "off"]), default="text", show_default=True)
@click.option("--verbosity", type=click.Choice(VERBOSITIES), default="info", show_default=True)
@click.option("--metrics/--no-metrics", default=True, help="Counters at /metrics.")
@click.option(
    "--ready-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write the URL here when connections are accepted.",
)
@click.option(
    "--shutdown-timeout",
    metavar="SECONDS",
    type=click.IntRange(min=1),
    default=30,
    show_default=True,
    help="What running requests have when the server is told to stop.",
)
def serve(
    root: Path | None,
    memory: bool,
    no_sync: bool,
    min_free: int | None,
    workers: int,
    listen: tuple[str, int],
    tls_cert: Path | None,
    tls_key: Path | None,
    htpasswd: Path | None,
    access: Path | None,
    anonymous: Literal["pull", "push"] | None,
    rate_limit: float,
    trusted_proxy: tuple[str, ...],
    sparse: bool,
    read_only: bool,
    no_push: bool,
    no_delete: bool,
    immutable_tags: tuple[str, ...],
    manifest_limit: int,
    warning: tuple[str, ...],
    faults: Path | None,
    log: str,
    verbosity: Verbosity,
    metrics: bool,
    ready_file: Path | None,
    shutdown_timeout: int,
) -> None:
    """Run the registry.

    It speaks the OCI Distribution API to any client, until SIGTERM or Ctrl-C.
    """
    if memory and (root is not None or no_sync or workers > 1 or min_free is not None):
        raise click.UsageError(
            "--memory is one process and no disk: "
            "--root, --no-sync, --workers, --min-free do not fit"
        )
    host, port = listen
    if access is not None and anonymous is not None:
        raise click.UsageError(
            "--anonymous goes without --access: say it in the access file, with anonymous = true"
        )
    if not _is_loopback(host) and htpasswd is None and access is None and anonymous is None:
        raise click.UsageError(
            f"{host} is not loopback and nobody has to log in: say who may with --htpasswd or "
            "--access, or --anonymous pull or push if anybody may"
        )
    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key are a pair: give both")
    plan = Plan(
        Settings(
            sparse=sparse,
            read_only=read_only,
            push=not no_push,
            delete=not no_delete,
            immutable_tags=immutable_tags,
            manifest_limit=manifest_limit,
        ),
        warning,
        _read_faults(faults),
        log,
        verbosity,
        metrics,
        workers=workers,
        htpasswd=_absolute(htpasswd),
        access=_absolute(access),
        anonymous=anonymous,
        tls_cert=_absolute(tls_cert),
        tls_key=_absolute(tls_key),
        rate_limit=rate_limit,
        trusted_proxies=trusted_proxy,
    )
    try:
        parse_networks(trusted_proxy)
        application(plan)  # what cannot be built is told here, not by a worker that dies
        files = access_files(plan)
    except (ValueError, WasmholdError) as error:
        raise click.UsageError(str(error)) from None
    for text in () if files is None else files.warnings():
        print(f"wasmhold: warning: {text}", file=sys.stderr, flush=True)
    what = "memory, 1 worker"
    if not memory:
        folder = (root or _default_root()).absolute()
        check_root(folder)
        plan = replace(plan, root=str(folder), durable=not no_sync, min_free=min_free)
        what = f"directory {folder}, {workers} worker{'s' if workers > 1 else ''}"
    try:
        address = granian.reserve(host, port)
    except OSError as error:
        raise CommandFailed(
            f"cannot listen on {host}:{port}: {error.strerror or error}",
            "stop what listens there, or choose another address with --listen",
        ) from None
    if no_sync:
        print(
            "wasmhold: --no-sync: a power loss may take what was acknowledged",
            file=sys.stderr,
            flush=True,
        )
    log_events(plan)
    try:
        granian.serve(
            partial(edge, plan, shared_memory(plan)),
            address,
            workers=workers,
            respawn=not memory,  # what was in memory is gone: that is not hidden
            certificate=certificate(plan),
            shutdown_timeout_s=shutdown_timeout,
            when_ready=partial(when_ready, ready_file, what),
        )
    except FileInvalid as error:
        raise CommandFailed(
            str(error), "mend the file, or serve without --tls-cert and --tls-key"
        ) from None
