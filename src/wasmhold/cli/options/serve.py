"""The options of ``wasmhold serve``.  docs/configuration.md is made from them: ``make docs``."""

from __future__ import annotations

from typing import Final

from ...oci import limits
from ...servers.access_log import FORMATS
from ...servers.application import warning_field
from ...servers.proxies import parse_networks
from ..plan import VERBOSITIES
from .kinds import FILE, HOST_PORT, SIZE, SWITCH, TEXT, Kind, choice, number, whole
from .option import Option

_LINES: Final = "\n"  # in a variable; what may itself have a comma
_COMMAS: Final = ",\n"


def _parse_network(text: str) -> str:
    return str(parse_networks([text])[0])


def _parse_warning(text: str) -> str:
    warning_field(text)
    return text


_NETWORK: Final = Kind("NET", _parse_network)
_WARNING: Final = Kind("TEXT", _parse_warning)

OPTIONS: Final = (
    Option(
        "root",
        FILE,
        "Keep content in this directory.",
        metavar="DIR",
        more="It is made when it is not there "
        "([what is in it](architecture.md#the-store-in-a-directory)).",
        unset="`wasmhold/registry` in `$XDG_DATA_HOME`, else in `~/.local/share`",
    ),
    Option(
        "memory",
        SWITCH,
        "Keep all content in memory: it is gone when the registry stops.",
        "false",
        more="It is one process and no disk: `root`, `no-sync`, `workers` and `min-free` do not go "
        "with it.",
    ),
    Option(
        "min-free",
        SIZE,
        "Refuse pushes (507) while less is free on the disk.",
        more="Pulls and deletes go on. `500MiB`, `1GiB`; 0 switches it off.",
        unset="1 GiB, or 2 % of the disk if that is more",
    ),
    Option(
        "no-sync",
        SWITCH,
        "Do not wait for the disk.",
        "false",
        more="A crash of the registry, even by `kill -9`, still loses nothing that was "
        "acknowledged; a power loss may.",
    ),
    Option(
        "workers",
        whole("N", 1),
        "Processes that serve one directory together.",
        "1",
        more="In memory there is one.",
    ),
    Option(
        "listen",
        HOST_PORT,
        "Where to accept connections; port 0 takes a free one.",
        "127.0.0.1:5000",
        more="An IP address or `localhost`. Other addresses than those of loopback need one of "
        "`htpasswd`, `access` and `anonymous`.",
    ),
    Option(
        "tls-cert",
        FILE,
        "Serve HTTPS with this certificate.",
        more="PEM, with the whole chain, the server's own certificate first. It goes with "
        "`tls-key`. After SIGHUP a renewed pair is served.",
    ),
    Option(
        "tls-key",
        FILE,
        "The key of the certificate.",
        more="PEM, not encrypted: RSA, ECDSA P-256 or P-384, or Ed25519.",
    ),
    Option(
        "htpasswd",
        FILE,
        "Users and their bcrypt hashes.",
        more="Lines as `wasmhold hash USER` and `htpasswd -B` make them. The file is read again "
        "when it changes. Without `access` a user may do everything, and who has not logged in "
        "what `anonymous` says.",
    ),
    Option(
        "access",
        FILE,
        "Who may read, write and delete in which repositories.",
        more="TOML, or JSON where its name ends with `.json`. The file is read again when it "
        "changes.",
    ),
    Option(
        "anonymous",
        choice("pull", "push"),
        "What may be done without a login.",
        more="`pull` is reading, `push` reading and writing, not deleting. It does not go with "
        "`access`, which says it by itself.",
        unset="nothing with `htpasswd`, everything without",
    ),
    Option(
        "rate-limit",
        number("N"),
        "Requests in a second from one address, and of one user; 0 is no bound.",
        "0",
        more="Over it 429 `TOOMANYREQUESTS`, with `Retry-After`.",
    ),
    Option(
        "trusted-proxy",
        _NETWORK,
        "Believe X-Forwarded-For of proxies in this network.",
        more="An address or a network, for example `10.0.0.0/8`.",
        split_at=_COMMAS,
    ),
    Option(
        "sparse",
        SWITCH,
        "Take manifests whose blobs or children are not here.",
        "false",
        more="They count as referenced all the same.",
    ),
    Option("read-only", SWITCH, "Refuse every change with 403.", "false"),
    Option("no-push", SWITCH, "Switch pushing off (405).", "false"),
    Option("no-delete", SWITCH, "Switch deleting off (405).", "false"),
    Option(
        "immutable-tags",
        TEXT,
        "Tags that neither move nor go once they are set.",
        metavar="GLOB",
        more="A change is refused with 403 `DENIED`; the manifest below cannot be deleted either. "
        "`*` matches any text.",
        split_at=_COMMAS,
    ),
    Option(
        "manifest-limit",
        whole("BYTES", 1),
        "The largest manifest that is taken.",
        str(limits.MANIFEST),
        more="Over it 413.",
    ),
    Option(
        "warning",
        _WARNING,
        "Say this in every answer.",
        more=f"A `Warning` header; printable ASCII, at most {limits.WARNINGS:,} bytes in all.",
        split_at=_LINES,
    ),
    Option(
        "faults",
        FILE,
        "Failures on demand, for tests.",
        more="[How the file looks](index.md#failures-on-demand).",
    ),
    Option(
        "log",
        choice(*FORMATS, "off"),
        "One line for each request on standard error.",
        "text",
    ),
    Option(
        "verbosity",
        choice(*VERBOSITIES),
        "Which events are told on standard error.",
        "info",
        more="`trace` shows the head of each request, without its credentials.",
    ),
    Option(
        "metrics",
        SWITCH,
        "Counters at /metrics.",
        "true",
        more="Whoever may use the root of the API may read them.",
    ),
    Option(
        "ready-file",
        FILE,
        "Write the URL here when connections are accepted.",
        more="The file appears whole, and goes when the registry ends.",
    ),
    Option(
        "shutdown-timeout",
        whole("SECONDS", 1),
        "What running requests have after SIGTERM or SIGINT.",
        "30",
    ),
)
