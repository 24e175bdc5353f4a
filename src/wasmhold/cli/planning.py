"""From a configuration to a plan: what goes together, whatever it was given by."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from ..faults import Rule
from ..oci.errors import WasmholdError
from ..registry import Settings
from ..servers.application import warning_fields
from .group import WrongUse
from .options.sources import Configuration, Given
from .plan import Plan


def plan_of(configuration: Configuration) -> Plan:
    """Raises WrongUse, which names what does not go together and where it was said."""
    value = {name: given.value for name, given in configuration.items()}
    _check_store(configuration)
    _check_tls(configuration)
    _check_rights(configuration)
    try:
        warning_fields(value["warning"])
    except ValueError as error:
        raise WrongUse(f"{configuration['warning'].place}: {error}") from None
    return Plan(
        Settings(
            sparse=value["sparse"],
            read_only=value["read-only"],
            push=not value["no-push"],
            delete=not value["no-delete"],
            immutable_tags=value["immutable-tags"],
            manifest_limit=value["manifest-limit"],
        ),
        root=None if value["memory"] else value["root"] or _default_root(),
        workers=value["workers"],
        durable=not value["no-sync"],
        min_free=value["min-free"],
        htpasswd=value["htpasswd"],
        access=value["access"],
        anonymous=value["anonymous"],
        tls_cert=value["tls-cert"],
        tls_key=value["tls-key"],
        rate_limit=value["rate-limit"],
        trusted_proxies=value["trusted-proxy"],
        warnings=value["warning"],
        faults=_read_faults(configuration["faults"]),
        log=value["log"],
        verbosity=value["verbosity"],
        metrics=value["metrics"],
    )


def _default_root() -> str:
    """Where the user's data is (XDG Base Directory Specification)."""
    data = os.environ.get("XDG_DATA_HOME", "")
    try:
        base = Path(data) if os.path.isabs(data) else Path.home() / ".local" / "share"
    except RuntimeError:
        raise WrongUse("this user has no home for a directory: name one with --root") from None
    return str(base / "wasmhold" / "registry")


def _check_store(configuration: Configuration) -> None:
    memory, root = configuration["memory"], configuration["root"]
    no_sync, min_free = configuration["no-sync"], configuration["min-free"]
    workers = configuration["workers"]
    of_disks = [
        (root, root.value is not None),
        (no_sync, no_sync.value),
        (min_free, min_free.value is not None),
        (workers, workers.value > 1),
    ]
    wrong = [given.place for given, is_said in of_disks if is_said]
    if memory.value and wrong:
        raise WrongUse(
            f"{', '.join(wrong)}: that does not go with {memory.place}, which is one process and "
            "no disk"
        )


def _check_tls(configuration: Configuration) -> None:
    certificate, key = configuration["tls-cert"], configuration["tls-key"]
    if (certificate.value is None) != (key.value is None):
        one, other = (certificate, "--tls-key") if key.value is None else (key, "--tls-cert")
        raise WrongUse(f"{one.place}: that needs {other} too: a certificate goes with its key")


def _check_rights(configuration: Configuration) -> None:
    access, anonymous = configuration["access"], configuration["anonymous"]
    if access.value is not None and anonymous.value is not None:
        raise WrongUse(
            f"{anonymous.place}: that does not go with {access.place}: say it in the access file, "
            "with anonymous = true"
        )
    listen, htpasswd = configuration["listen"], configuration["htpasswd"]
    is_open = access.value is None and htpasswd.value is None and anonymous.value is None
    if is_open and not listen.value.is_loopback:
        raise WrongUse(
            f"{listen.place}: {listen.value.host} is not loopback and nobody has to log in: say "
            "who may with --htpasswd or --access, or --anonymous pull or push if anybody may"
        )


def _read_faults(given: Given) -> tuple[tuple[str, str], ...]:
    if given.value is None:
        return ()
    try:
        rules = tomllib.loads(Path(given.value).read_text())["fault"]
        faults = tuple((rule["operation"], rule["error"]) for rule in rules)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError) as wrong:
        raise WrongUse(
            f"{given.place}: {given.value}: want [[fault]] tables with operation and error: {wrong}"
        ) from None
    for kind, error in faults:
        try:
            Rule.parse(kind, error)
        except WasmholdError as wrong:
            raise WrongUse(f"{given.place}: {given.value}: {wrong}") from None
    return faults
