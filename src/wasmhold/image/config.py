"""The config of an image: what to run, how, and what it was made of.

Source: image-spec, config.md; the health check is docker's (moby, "HealthConfig").  What is
not known here, and what nobody changed, is written as it was read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self, TypeAlias

from ..client.platforms import Platform
from ..oci.descriptor import read_text_map
from ..oci.digest import Digest
from ..oci.document import parse_object
from ..oci.errors import DigestInvalid, Fault, ManifestInvalid
from ..oci.limits import MIB

MAX_CONFIG: Final = 8 * MIB  # bytes of a config that is read


class ConfigInvalid(ManifestInvalid):
    """A document is no config of an image; all its faults together.  `image` is whose it is."""

    def __init__(self, *faults: Fault, image: str = "") -> None:
        super().__init__(*faults)
        self.image = image

    def __str__(self) -> str:
        of = f" of {self.image}" if self.image else ""
        return f"the config{of} is not one of an image: {super().__str__()}"


InvalidConfig = ConfigInvalid  # as a reader of zlayer-registry knows errors


@dataclass(frozen=True, slots=True)
class ImageHealthcheck:
    """`test` is the command behind ``NONE``, ``CMD`` or ``CMD-SHELL``; times are nanoseconds."""

    test: tuple[str, ...] = ()
    interval: int | None = None
    timeout: int | None = None
    start_period: int | None = None
    start_interval: int | None = None
    retries: int | None = None


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """How a layer came to be; `empty_layer`: it is none of ``diff_ids``."""

    created: str | None = None
    created_by: str | None = None
    author: str | None = None
    comment: str | None = None
    empty_layer: bool = False


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """Times are text as in RFC 3339.  What the document lacks is None or empty, as is its null.

    env        ``KEY=VALUE`` each
    diff_ids   digests of the layers, unpacked, the base first
    document   all that was read
    """

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    working_dir: str | None = None
    env: tuple[str, ...] = ()
    user: str | None = None
    exposed_ports: Mapping[str, object] = field(default_factory=dict, hash=False)
    volumes: Mapping[str, object] = field(default_factory=dict, hash=False)
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    stop_signal: str | None = None
    shell: tuple[str, ...] = ()
    healthcheck: ImageHealthcheck | None = None
    os: str | None = None
    architecture: str | None = None
    variant: str | None = None
    os_version: str | None = None
    os_features: tuple[str, ...] = ()
    created: str | None = None
    author: str | None = None
    diff_ids: tuple[Digest, ...] = ()
    history: tuple[HistoryEntry, ...] = ()
    document: Mapping[str, object] = field(
        default_factory=dict, repr=False, hash=False, compare=False
    )

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """Read a config blob.  Raises ConfigInvalid."""
        try:
            return cls._of(parse_object(content))
        except ConfigInvalid:
            raise
        except ManifestInvalid as error:
            raise ConfigInvalid(*error.faults) from None

    @classmethod
    def _of(cls, document: Mapping[str, object]) -> Self:
        faults: list[Fault] = []
        values: dict[str, Any] = {"document": document}
        for path, members in _TABLES.items():
            values |= _read(_inner(document, path, faults), members, path, faults)
        if faults:
            raise ConfigInvalid(*faults)
        return cls(**values)

    def to_json(self) -> dict[str, object]:
        """The document with what is here; a member that says the same stays as it was."""
        before, document = self._of(self.document), dict(self.document)
        for path, members in _TABLES.items():
            changed = {
                key: getattr(self, name)
                for key, name, _ in members
                if getattr(self, name) != getattr(before, name)
            }
            inner = dict(_inner(document, path, [])) if path else document
            for key, value in changed.items():
                if value in _NOTHING:
                    inner.pop(key, None)
                else:
                    inner[key] = _to_json(value)
            if path and changed:
                document[path] = inner
        return document

    def full_command(self) -> tuple[str, ...] | None:
        """What is run: entry point and command; None when there is neither."""
        return (*self.entrypoint, *self.cmd) or None

    def env_dict(self) -> dict[str, str]:
        """The last word for each name; a line without ``=`` gives the empty text."""
        return {name: value for name, _, value in (line.partition("=") for line in self.env)}

    @property
    def platform(self) -> Platform | None:
        """What it runs on, where it says so."""
        if not (self.os and self.architecture):
            return None
        return Platform(self.os, self.architecture, self.variant, self.os_version, self.os_features)


# ---- the members: the document's name, ours, and how it is read

_Reader: TypeAlias = Callable[[object, str, list[Fault]], Any]
_Members: TypeAlias = tuple[tuple[str, str, _Reader], ...]
_NOTHING: Final[tuple[object, ...]] = (None, (), {})


def _inner(document: Mapping[str, object], path: str, faults: list[Fault]) -> Mapping[str, object]:
    """The object in which the members of a table are."""
    if not path or document.get(path) is None:
        return {} if path else document
    return _map(document[path], path, faults)


def _read(
    document: Mapping[str, object], members: _Members, path: str, faults: list[Fault]
) -> dict[str, Any]:
    """The values that are there, by our names; null is not there."""
    return {
        name: read(document[key], f"{path}.{key}".lstrip("."), faults)
        for key, name, read in members
        if document.get(key) is not None
    }


def _to_json(value: object) -> object:
    if isinstance(value, Digest):
        return str(value)
    if isinstance(value, tuple):
        return [_to_json(one) for one in value]
    if isinstance(value, ImageHealthcheck | HistoryEntry):
        members = _HEALTHCHECK if isinstance(value, ImageHealthcheck) else _HISTORY
        found = ((key, getattr(value, name)) for key, name, _ in members)
        return {
            key: _to_json(one) for key, one in found if one not in _NOTHING and one is not False
        }
    return dict(value) if isinstance(value, Mapping) else value


def _scalar(kind: type, want: str) -> _Reader:
    def read(value: object, path: str, faults: list[Fault]) -> object:
        # True is an int to Python.
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            faults.append(Fault(path, f"want {want}"))
        return value

    return read


_text = _scalar(str, "text")
_number = _scalar(int, "a whole number")
_flag = _scalar(bool, "true or false")


def _map(value: object, path: str, faults: list[Fault]) -> Mapping[str, object]:
    if isinstance(value, dict):
        return value
    faults.append(Fault(path, "want an object"))
    return {}


def _list_of(item: _Reader) -> _Reader:
    def read(value: object, path: str, faults: list[Fault]) -> object:
        if isinstance(value, list):
            return tuple(item(one, f"{path}[{at}]", faults) for at, one in enumerate(value))
        faults.append(Fault(path, "want a list"))
        return ()

    return read


def _object(kind: type, members: _Members) -> _Reader:
    def read(value: object, path: str, faults: list[Fault]) -> object:
        return kind(**_read(_map(value, path, faults), members, path, faults))

    return read


def _digest(value: object, path: str, faults: list[Fault]) -> Digest | None:
    try:
        return Digest.parse(value if isinstance(value, str) else "")
    except DigestInvalid as error:
        faults.append(Fault(path, error.reason))
        return None


_texts = _list_of(_text)

# fmt: off
_HEALTHCHECK: Final[_Members] = (
    ("Test",          "test",           _texts),
    ("Interval",      "interval",       _number),
    ("Timeout",       "timeout",        _number),
    ("StartPeriod",   "start_period",   _number),
    ("StartInterval", "start_interval", _number),
    ("Retries",       "retries",        _number),
)
_HISTORY: Final[_Members] = (
    ("created",     "created",     _text),
    ("created_by",  "created_by",  _text),
    ("author",      "author",      _text),
    ("comment",     "comment",     _text),
    ("empty_layer", "empty_layer", _flag),
)
# By the object that the members are in; the empty name is the document itself.
_TABLES: Final[Mapping[str, _Members]] = {
    "": (
        ("created",      "created",      _text),
        ("author",       "author",       _text),
        ("architecture", "architecture", _text),
        ("variant",      "variant",      _text),
        ("os",           "os",           _text),
        ("os.version",   "os_version",   _text),
        ("os.features",  "os_features",  _texts),
        ("history",      "history",      _list_of(_object(HistoryEntry, _HISTORY))),
    ),
    "config": (
        ("User",         "user",          _text),
        ("ExposedPorts", "exposed_ports", _map),
        ("Env",          "env",           _texts),
        ("Entrypoint",   "entrypoint",    _texts),
        ("Cmd",          "cmd",           _texts),
        ("Healthcheck",  "healthcheck",   _object(ImageHealthcheck, _HEALTHCHECK)),
        ("Volumes",      "volumes",       _map),
        ("WorkingDir",   "working_dir",   _text),
        ("Labels",       "labels",        read_text_map),
        ("StopSignal",   "stop_signal",   _text),
        ("Shell",        "shell",         _texts),
    ),
    "rootfs": (
        ("diff_ids", "diff_ids", _list_of(_digest)),
    ),
}
# fmt: on
