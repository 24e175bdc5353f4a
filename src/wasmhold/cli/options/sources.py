"""What holds, and who said so: flags before variables before a file before defaults."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ...oci.document import parse_object
from ...oci.errors import ManifestInvalid
from ...oci.limits import MIB
from ..group import WrongUse
from . import client
from .kinds import FILE, Value
from .option import VARIABLES, Option

CONFIG: Final = Option("config", FILE, "Read options from this TOML or JSON file.")
_MAX: Final = MIB  # bytes of a file

# Kubernetes gives every container such variables for each service; one may be named wasmhold.
_OF_KUBERNETES: Final = re.compile(
    r"(?:[A-Z0-9_]+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?"
    r"|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
_ITS_PORT: Final = re.compile(r"(?:[A-Z0-9_]+_)?PORT")


@dataclass(frozen=True, slots=True)
class Given:
    """A value, what it comes from, and what an error calls the place."""

    value: Value
    source: str
    place: str

    @property
    def is_default(self) -> bool:
        return self.source == "default"


Configuration = Mapping[str, Given]  # by the names of the options, all of them


def resolve(
    options: Sequence[Option], flags: Mapping[str, object], environment: Mapping[str, str]
) -> Configuration:
    """What holds of `options`.  `flags`: what click has read, also of CONFIG.

    A source that says something of a list says all of it.  What is wrong is told also where
    something stronger would hide it.  Raises WrongUse.
    """
    known = (*options, CONFIG)
    _check_variables((*known, *client.OPTIONS, client.PASSWORD, *client.OF_CACHES), environment)
    given = from_variables(known, environment) | from_flags(known, flags)
    config = given.pop(CONFIG.name, None)
    file = {} if config is None else from_file(options, config.value, config.place)
    return _defaults(options) | file | given


def resolve_without_file(
    options: Sequence[Option], flags: Mapping[str, object], environment: Mapping[str, str]
) -> Configuration:
    """The same of a command that reads no file, and lets variables of other commands be."""
    return _defaults(options) | from_variables(options, environment) | from_flags(options, flags)


def _defaults(options: Sequence[Option]) -> dict[str, Given]:
    return {
        option.name: Given(option.default_value, "default", f"the default of {option.flag}")
        for option in options
    }


def from_flags(options: Sequence[Option], flags: Mapping[str, object]) -> dict[str, Given]:
    """`flags` by click's names, with underscores; None or an empty tuple: not given."""
    found = {}
    for option in options:
        value = flags.get(option.name.replace("-", "_"))
        if isinstance(value, bool):
            flag = option.flag if value else option.opposite
            found[option.name] = Given(value, flag, flag)
        elif isinstance(value, str | tuple) and value != ():
            found[option.name] = _read(option, value, option.flag, option.flag)
    return found


def from_variables(options: Sequence[Option], environment: Mapping[str, str]) -> dict[str, Given]:
    """An empty variable says nothing, as one that is not there."""
    found = {}
    for option in options:
        text = environment.get(option.variable)
        if not text:
            continue
        value: str | Sequence[str] = text
        if option.is_repeatable:
            parts = re.split(f"[{re.escape(option.split_at)}]", text)
            value = [part.strip() for part in parts if part.strip()]
        found[option.name] = _read(option, value, option.variable, option.variable)
    return found


def _check_variables(options: Sequence[Option], environment: Mapping[str, str]) -> None:
    """Raises WrongUse for a variable that looks like ours and is none."""
    known = [option.variable for option in options]
    for variable, text in environment.items():
        if not variable.startswith(VARIABLES) or not text or variable in known:
            continue
        name = variable.removeprefix(VARIABLES)
        if not _is_of_kubernetes(name, text):
            from ...oci.suggestions import unknown_key

            names = [one.removeprefix(VARIABLES) for one in known]
            raise WrongUse(f"{variable}: {unknown_key(name, names, 'variable', VARIABLES)}")


def _is_of_kubernetes(name: str, text: str) -> bool:
    if _OF_KUBERNETES.fullmatch(name):
        return True
    return _ITS_PORT.fullmatch(name) is not None and "://" in text


def from_file(options: Sequence[Option], path: str, place: str) -> dict[str, Given]:
    """`place` is what said that there is this file."""
    by_key = {option.name: option for option in options}
    found = {}
    for key, value in _read_file(path, place).items():
        option = by_key.get(key)
        if option is None:
            from ...oci.suggestions import unknown_key

            raise WrongUse(f"{path}: {key}: {unknown_key(key, by_key)}")
        where = f"{path}: {key}"
        items: list[object] = [value]
        if option.is_repeatable:
            if not isinstance(value, list):
                raise WrongUse(f"{where}: want a list")
            items = value
        for item in items:
            if type(item) not in option.kind.types:
                raise WrongUse(f"{where}: want {option.kind.words}")
        texts = [str(item).lower() if isinstance(item, bool) else str(item) for item in items]
        found[key] = _read(option, texts if option.is_repeatable else texts[0], path, where)
    return found


def _read_file(path: str, place: str) -> Mapping[str, object]:
    import tomllib  # most commands read no such file

    if not path.endswith((".toml", ".json")):
        raise WrongUse(f"{place}: {path} is neither .toml nor .json")
    try:
        with open(path, "rb") as file:
            content = file.read(_MAX + 1)
        if len(content) > _MAX:
            raise WrongUse(f"{place}: {path} is larger than {_MAX} bytes")
        if path.endswith(".json"):
            return parse_object(content)
        return tomllib.loads(content.decode())
    except OSError as error:
        raise WrongUse(f"{place}: cannot read {path}: {error.strerror or error}") from None
    except ManifestInvalid as error:
        raise WrongUse(f"{path}: {error}") from None
    except UnicodeDecodeError as error:
        raise WrongUse(f"{path}: not UTF-8 at byte {error.start}") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise WrongUse(f"{path}: not TOML: {error}") from None


def _read(option: Option, given: str | Sequence[str], source: str, place: str) -> Given:
    texts = [given] if isinstance(given, str) else given
    try:
        values = tuple(option.kind.parse(_sound(text)) for text in texts)
    except ValueError as error:
        raise WrongUse(f"{place}: {error}") from None
    return Given(values if option.is_repeatable else values[0], source, place)


def _sound(text: str) -> str:
    """What every later reader can take: no NUL, and nothing that UTF-8 cannot say."""
    if "\0" in text:
        raise ValueError("the value has a NUL")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("the value is not UTF-8") from None
    return text
