"""Options of `serve`: by flag, by variable, in a file; what holds, and what is said of the rest."""

from __future__ import annotations

import json
import tempfile
import tomllib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from wasmhold.cli.commands.serve import serve
from wasmhold.cli.group import WrongUse
from wasmhold.cli.options.kinds import FILE, SWITCH, TEXT
from wasmhold.cli.options.printed import to_toml
from wasmhold.cli.options.serve import OPTIONS
from wasmhold.cli.options.sources import resolve
from wasmhold.cli.planning import plan_of
from wasmhold.testing.covers import covers

BY_NAME = {option.name: option for option in OPTIONS}
NAMES = [option.name for option in OPTIONS]


def resolved(*flags, variables=None, file=None):
    """What holds with these flags and variables, and with `file` as a JSON file."""
    with tempfile.TemporaryDirectory() as folder:
        if file is not None:
            path = Path(folder, "wasmhold.json")
            path.write_text(json.dumps(file))
            flags = (*flags, "--config", str(path))
        params = serve.make_context("serve", [*flags]).params
        return resolve(OPTIONS, params, variables or {})


def values(configuration):
    return {name: given.value for name, given in configuration.items()}


# fmt: off
NOT_UTF_8 = "\udcff"  # as the system hands over the byte FF
WRONG = [
    # option,           text,                   what is said
    ("listen",          "5000",                 "'5000' is not HOST:PORT"),
    ("listen",          "localhost:99999",      "is not HOST:PORT"),
    ("listen",          ":5000",                "is not HOST:PORT"),
    ("listen",          "localhost:٣",          "is not HOST:PORT"),
    ("listen",          "h:" + "1" * 5000,      "is not HOST:PORT"),
    ("workers",         "0",                    "'0' is no whole number of 1 or more"),
    ("workers",         "-1",                   "is no whole number"),
    ("workers",         "two",                  "is no whole number"),
    ("workers",         "9" * 5000,             "is no whole number"),
    ("manifest-limit",  "0",                    "is no whole number"),
    ("shutdown-timeout", "0",                   "is no whole number"),
    ("min-free",        "1 gig",                "'1 gig' is no size"),
    ("min-free",        "GiB",                  "is no size"),
    ("min-free",        "-1",                   "is no size"),
    ("rate-limit",      "-1",                   "'-1' is no number of 0 or more"),
    ("rate-limit",      "nan",                  "is no number"),
    ("rate-limit",      "inf",                  "is no number"),
    ("rate-limit",      "many",                 "is no number"),
    ("anonymous",       "delete",               "'delete' is none of pull, push"),
    ("log",             "xml",                  "'xml' is none of text, json, off"),
    ("verbosity",       "loud",                 "'loud' is none of trace, debug, info, warn, error"),
    ("trusted-proxy",   "10.0.0.1/8",           "10.0.0.1/8 has host bits set"),
    ("trusted-proxy",   "proxy",                "an address or a network"),
    ("warning",         "ü",                    "printable ASCII"),
    *((o.name, "yes", "'yes' is neither true nor false") for o in OPTIONS if o.kind is SWITCH),
    *((o.name, NOT_UTF_8, "the value is not UTF-8") for o in OPTIONS if o.kind in (FILE, TEXT)),
]
IN_A_FILE = [
    # value in a file,  of which types
    (True,              bool),
    (5,                 int),
    (1.5,               float),
    ("x",               str),
    (["x"],             list),
    ({"x": 1},          dict),
    (None,              type(None)),
]
FILES = [
    # name,         content,                                what is said
    ("a.toml",      b"listen = ",                           "not TOML: Invalid value (at end of document)"),
    ("a.toml",      b"log = 'text'\nlog = 'off'\n",         "Cannot overwrite a value (at line 2, column 12)"),
    ("a.toml",      b"log = '\xff'",                        "not UTF-8 at byte 7"),
    ("a.toml",      b"[serve]\nlog = 'off'",                "serve: no such key"),
    ("a.toml",      b"no_push = true",                      "no_push: no such key; did you mean no-push?"),
    ("a.toml",      b"config = 'b.toml'",                   "config: no such key"),
    ("a.toml",      b"a = " + b"[" * 5000,                  "not TOML"),
    ("a.toml",      b"#" * (1 << 20) + b"#",                "larger than 1048576 bytes"),
    ("a.json",      b'{"log": "off",\n"log": "off"}',       "log: the member is there twice"),
    ("a.json",      b'{"log":\n off}',                      "at line 2 column 2"),
    ("a.json",      b"[]",                                  "not a JSON object"),
    ("a.json",      b'{"rate-limit": NaN}',                 "NaN is not JSON"),
    ("a.json",      b'{"warning": "x"}',                    "warning: want a list"),
    ("a.json",      b'{"root": "a\\u0000b"}',               "root: the value has a NUL"),
    ("a.json",      b'{"root": ""}',                        "root: the path is empty"),
    ("a.yaml",      b"",                                    "is neither .toml nor .json"),
    ("a",           b"",                                    "is neither .toml nor .json"),
]
VARIABLES = [
    # variable,                 value,                      what is said; None: it is let be
    ("WASMHOLD_LISTN",          "x",                        "did you mean WASMHOLD_LISTEN?"),
    ("WASMHOLD_no_push",        "true",                     "no such variable"),
    ("WASMHOLD_PORT",           "5000",                     "no such variable"),
    ("WASMHOLD_PRINT_CONFIG",   "true",                     "no such variable"),
    ("WASMHOLD_CONFIG",         "/nowhere.toml",            "WASMHOLD_CONFIG: cannot read /nowhere.toml"),
    ("WASMHOLD_LISTN",          "",                         None),
    ("WASMHOLD_LISTEN",         "",                         None),
    ("OTHER_LISTN",             "x",                        None),
    # As Kubernetes makes them for services that are named wasmhold and wasmhold-team.
    ("WASMHOLD_PORT",           "tcp://10.0.0.1:5000",      None),
    ("WASMHOLD_SERVICE_HOST",   "10.0.0.1",                 None),
    ("WASMHOLD_SERVICE_PORT",   "5000",                     None),
    ("WASMHOLD_SERVICE_PORT_HTTP",          "5000",         None),
    ("WASMHOLD_PORT_5000_TCP",              "tcp://10.0.0.1:5000", None),
    ("WASMHOLD_PORT_5000_TCP_PROTO",        "tcp",          None),
    ("WASMHOLD_TEAM_PORT_5000_TCP_ADDR",    "10.0.0.1",     None),
    ("WASMHOLD_TEAM_SERVICE_HOST",          "10.0.0.1",     None),
]
TOGETHER = [
    # what is given,                                        what is said
    ({"memory": True, "root": "/x"},                        "{root}: that does not go with {memory}"),
    ({"memory": True, "no-sync": True},                     "{no-sync}: that does not go with {memory}"),
    ({"memory": True, "min-free": "0"},                     "{min-free}: that does not go with {memory}"),
    ({"memory": True, "workers": 2},                        "{workers}: that does not go with {memory}"),
    ({"memory": True, "root": "/x", "workers": 2},          "{root}, {workers}: that does not go"),
    ({"tls-cert": "x"},                                     "{tls-cert}: that needs --tls-key too"),
    ({"tls-key": "x"},                                      "{tls-key}: that needs --tls-cert too"),
    ({"access": "x", "anonymous": "pull"},                  "{anonymous}: that does not go with {access}"),
    ({"listen": "0.0.0.0:0"},                               "{listen}: 0.0.0.0 is not loopback"),
    ({"listen": "[::]:0"},                                  "{listen}: :: is not loopback"),
    ({"listen": "example.org:0"},                           "{listen}: example.org is not loopback"),
    ({"warning": ["x" * 5000]},                             "{warning}: all warnings together"),
    ({"faults": "/nowhere"},                                "{faults}: /nowhere: want [[fault]]"),
]
FIT = [
    {"listen": "0.0.0.0:0", "htpasswd": "x"},
    {"listen": "0.0.0.0:0", "access": "x"},
    {"listen": "0.0.0.0:0", "anonymous": "pull"},
    {"htpasswd": "x", "anonymous": "pull"},
    {"htpasswd": "x", "access": "x"},
    {"tls-cert": "x", "tls-key": "x"},
    {"listen": "[::1]:0"},
    {"memory": True, "workers": 1},
    {"memory": False, "root": "/x", "workers": 2},
]
# fmt: on


def as_flags(said):
    for name, value in said.items():
        for item in value if isinstance(value, list) else [value]:
            option = BY_NAME[name]
            if item is True:
                yield option.flag
            elif item is False:
                yield option.opposite
            else:
                yield f"{option.flag}={item}"


def as_variables(said):
    out = {}
    for name, value in said.items():
        items = value if isinstance(value, list) else [value]
        texts = [str(item).lower() if isinstance(item, bool) else str(item) for item in items]
        out[BY_NAME[name].variable] = "\n".join(texts)
    return out


def test_the_table_of_wrong_values_knows_every_option():
    assert {name for name, _, _ in WRONG} == set(NAMES)


@covers("OW-102", "OW-109")
@pytest.mark.parametrize(("name", "text", "said"), WRONG)
def test_a_wrong_value_names_its_source(name, text, said):
    option = BY_NAME[name]
    if option.kind is not SWITCH:
        with pytest.raises(WrongUse) as caught:
            resolved(f"{option.flag}={text}")
        assert caught.value.message.startswith(f"{option.flag}: ")
        assert said in caught.value.message
    with pytest.raises(WrongUse) as caught:
        resolved(variables={option.variable: text})
    assert caught.value.message.startswith(f"{option.variable}: ")
    assert said in caught.value.message
    if str in option.kind.types and text != NOT_UTF_8:
        with pytest.raises(WrongUse) as caught:
            resolved(file={name: [text] if option.is_repeatable else text})
        assert f"wasmhold.json: {name}: " in caught.value.message
        assert said in caught.value.message


@pytest.mark.parametrize("name", NAMES)
def test_a_value_of_the_wrong_type_is_told(name):
    option = BY_NAME[name]
    told = 0
    for value, kind in IN_A_FILE:
        if kind not in option.kind.types:
            with pytest.raises(WrongUse) as caught:
                resolved(file={name: [value] if option.is_repeatable else value})
            assert f"wasmhold.json: {name}: want {option.kind.words}" in caught.value.message
            told += 1
    assert told >= len(IN_A_FILE) - 2


@covers("OW-102")
@pytest.mark.parametrize(("name", "content", "said"), FILES)
def test_a_file_that_cannot_be_used_is_told(name, content, said, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    ran = CliRunner().invoke(serve, ["--config", str(path), "--print-config"])
    assert ran.exit_code == 2
    assert str(path) in ran.output
    assert said in ran.output
    assert "Traceback" not in ran.output


@pytest.mark.parametrize(
    ("name", "said"), [("none.toml", "No such file"), ("folder.toml", "Is a directory")]
)
def test_a_file_that_cannot_be_read_is_told(name, said, tmp_path):
    (tmp_path / "folder.toml").mkdir()
    ran = CliRunner().invoke(serve, ["--config", str(tmp_path / name)])
    assert ran.exit_code == 2
    assert f"--config: cannot read {tmp_path / name}: {said}" in ran.output


@pytest.mark.parametrize(("variable", "value", "said"), VARIABLES)
def test_a_variable_that_nobody_knows_is_told(variable, value, said):
    if said is None:
        assert values(resolved(variables={variable: value})) == values(resolved())
        return
    with pytest.raises(WrongUse) as caught:
        resolved(variables={variable: value})
    assert caught.value.message.startswith(variable)
    assert said in caught.value.message


@covers("BR-092", "OW-103", "OW-104", "OW-109")
@pytest.mark.parametrize("source", ["flags", "variables", "file"])
@pytest.mark.parametrize(("said", "told"), TOGETHER)
def test_what_does_not_go_together_is_told_whatever_it_was_given_by(said, told, source):
    configuration = {
        "flags": lambda: resolved(*as_flags(said)),
        "variables": lambda: resolved(variables=as_variables(said)),
        "file": lambda: resolved(file=said),
    }[source]()
    places = {name: given.place for name, given in configuration.items()}
    for name in said:
        option = BY_NAME[name]
        place = {"flags": option.flag, "variables": option.variable}.get(source, f": {name}")
        assert places[name].endswith(place)
    for name, place in places.items():
        told = told.replace(f"{{{name}}}", place)
    with pytest.raises(WrongUse) as caught:
        plan_of(configuration)
    assert told in caught.value.message


def test_the_sources_of_what_does_not_go_together_may_differ():
    with pytest.raises(WrongUse, match=r"^WASMHOLD_WORKERS: that does not go with --memory"):
        plan_of(resolved("--memory", variables={"WASMHOLD_WORKERS": "2"}))


@pytest.mark.parametrize("said", FIT)
def test_what_goes_together(said):
    plan = plan_of(resolved(*as_flags(said)))
    assert plan == plan_of(resolved(variables=as_variables(said)))
    assert plan == plan_of(resolved(file=said))


def test_a_list_in_a_variable():
    got = values(
        resolved(
            variables={
                "WASMHOLD_IMMUTABLE_TAGS": "v*, release-*\n,latest",
                "WASMHOLD_WARNING": "Moved, see the news.\nRead-only on Sunday.\n",
            }
        )
    )
    assert got["immutable-tags"] == ("v*", "release-*", "latest")
    assert got["warning"] == ("Moved, see the news.", "Read-only on Sunday.")


def test_a_flag_takes_back_what_a_file_says():
    for option in OPTIONS:
        if option.is_switch:
            got = resolved(option.opposite, file={option.name: True})[option.name]
            assert (got.value, got.source) == (False, option.opposite)


PRINTABLE = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=","))
UTF_8 = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
OF_NAMES = {
    "listen": st.sampled_from(["127.0.0.1:0", "localhost:5000", "[::1]:80", "example.org:443"]),
    "trusted-proxy": st.sampled_from(["10.0.0.0/8", "::1", "192.168.0.7", "fd00::/8"]),
    "immutable-tags": PRINTABLE.filter(bool),
    "warning": PRINTABLE.filter(bool),
}


def good(option):
    """Values of `option` as they may stand in a file; their text can stand elsewhere too."""
    if option.kind is SWITCH:
        return st.booleans()
    if option.kind is FILE:
        return UTF_8
    if option.name == "rate-limit":
        return st.integers(0, 10**6) | st.floats(0, 1e9, allow_nan=False)
    if int in option.kind.types:
        return st.integers(1, 10**9)
    if option.name in OF_NAMES:
        return OF_NAMES[option.name]
    return st.sampled_from(option.kind.metavar.split("|"))


def some(option):
    one = good(option)
    return st.lists(one, min_size=1, max_size=3) if option.is_repeatable else one


MAPPINGS = st.fixed_dictionaries({}, optional={option.name: some(option) for option in OPTIONS})


def parsed(name, value):
    option = BY_NAME[name]
    items = value if isinstance(value, list) else [value]
    texts = [str(item).lower() if isinstance(item, bool) else str(item) for item in items]
    made = tuple(option.kind.parse(text) for text in texts)
    return made if option.is_repeatable else made[0]


@covers("OW-109")
@settings(max_examples=150)
@given(MAPPINGS, MAPPINGS, MAPPINGS)
def test_flags_beat_variables_beat_the_file_beats_defaults(flags, variables, file):
    got = resolved(*as_flags(flags), variables=as_variables(variables), file=file)
    for name in NAMES:
        option = BY_NAME[name]
        if name in flags:
            assert got[name].source in (option.flag, option.opposite)
            assert got[name].value == parsed(name, flags[name])
        elif name in variables:
            assert got[name].source == option.variable
            assert got[name].value == parsed(name, variables[name])
        elif name in file:
            assert got[name].source.endswith("wasmhold.json")
            assert got[name].value == parsed(name, file[name])
        else:
            assert got[name].is_default
            assert got[name].value == option.default_value


@settings(max_examples=150)
@given(MAPPINGS, MAPPINGS)
def test_what_is_printed_says_the_same_again(flags, file):
    first = resolved(*as_flags(flags), file=file)
    text = "\n".join(to_toml(OPTIONS, first))
    again = resolved(file=tomllib.loads(text))
    assert values(again) == values(first)
    try:
        plan = plan_of(first)
    except WrongUse as error:
        with pytest.raises(WrongUse):
            plan_of(again)
        assert error.message
    else:
        assert plan_of(again) == plan


@covers("OW-109")
def test_what_is_printed_can_be_used(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("first.toml").write_text('htpasswd = "passwords"\nlog = "json"\nno-push = true\n')
    flags = ["--config", "first.toml", "--root", "content", "--warning", 'a "b", c', "--push"]
    ran = CliRunner().invoke(serve, [*flags, "--print-config"], env={"WASMHOLD_WORKERS": "2"})
    assert ran.exit_code == 0, ran.output
    for line in (
        f'root = "{tmp_path}/content"  # --root',
        "workers = 2  # WASMHOLD_WORKERS",
        f'log = "json"  # {tmp_path}/first.toml',
        "no-push = false  # --push",
        'listen = "127.0.0.1:5000"  # default',
        "# tls-cert is not set",
    ):
        assert line in ran.stdout.splitlines()
    assert not Path("content").exists()
    Path("second.toml").write_text(ran.stdout)
    again = CliRunner().invoke(serve, ["--config", "second.toml", "--print-config"])
    assert tomllib.loads(again.stdout) == tomllib.loads(ran.stdout)


def test_who_has_no_home_is_told(monkeypatch):
    def no_home():
        raise RuntimeError

    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(WrongUse, match="name one with --root"):
        plan_of(resolved())
    assert plan_of(resolved("--memory")).root is None


def test_a_folder_that_is_gone_is_told(monkeypatch):
    def gone(path):
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(Path, "absolute", gone)
    with pytest.raises(WrongUse, match="--root: 'x' cannot be looked up from here"):
        resolved("--root", "x")


def test_names_are_one_rule():
    for option in OPTIONS:
        assert option.flag == f"--{option.name}"
        assert option.variable == "WASMHOLD_" + option.name.upper().replace("-", "_")
    assert len({name for o in OPTIONS for name in (o.flag, o.opposite)}) == 2 * len(OPTIONS)
    assert isinstance(serve, click.Command)
