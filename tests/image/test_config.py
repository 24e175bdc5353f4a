"""The config of an image, read and written."""

import json
from dataclasses import replace

import pytest

from wasmhold.client.platforms import Platform
from wasmhold.image.config import (
    ConfigInvalid,
    HistoryEntry,
    ImageConfig,
    ImageHealthcheck,
)
from wasmhold.oci.digest import Digest
from wasmhold.testing.covers import covers

LAYER = str(Digest.of(b"layer"))
WHOLE = {
    "created": "2024-01-02T03:04:05Z",
    "author": "somebody",
    "architecture": "amd64",
    "variant": "v2",
    "os": "windows",
    "os.version": "10.0.20348.1",
    "os.features": ["win32k"],
    "config": {
        "User": "app:app",
        "ExposedPorts": {"80/tcp": {}},
        "Env": ["PATH=/bin", "A=1=2", "EMPTY", "A=3"],
        "Entrypoint": ["/entry"],
        "Cmd": ["--flag", "x"],
        "Healthcheck": {
            "Test": ["CMD", "true"],
            "Interval": 30_000_000_000,
            "Timeout": 5,
            "StartPeriod": 6,
            "StartInterval": 7,
            "Retries": 3,
        },
        "Volumes": {"/data": {}},
        "WorkingDir": "/work",
        "Labels": {"a": "b"},
        "StopSignal": "SIGINT",
        "Shell": ["/bin/sh", "-c"],
        "ArgsEscaped": True,
    },
    "rootfs": {"type": "layers", "diff_ids": [LAYER]},
    "history": [{"created_by": "COPY", "comment": "c"}, {"empty_layer": True, "more": 1}],
    "moby.buildkit.trace": {"any": ["thing"]},
}


def read(document):
    return ImageConfig.from_json(json.dumps(document).encode())


@covers("ZL-900", "ZL-902")
def test_all_members():
    assert read(WHOLE) == ImageConfig(
        entrypoint=("/entry",),
        cmd=("--flag", "x"),
        working_dir="/work",
        env=("PATH=/bin", "A=1=2", "EMPTY", "A=3"),
        user="app:app",
        exposed_ports={"80/tcp": {}},
        volumes={"/data": {}},
        labels={"a": "b"},
        stop_signal="SIGINT",
        shell=("/bin/sh", "-c"),
        healthcheck=ImageHealthcheck(("CMD", "true"), 30_000_000_000, 5, 6, 7, 3),
        os="windows",
        architecture="amd64",
        variant="v2",
        os_version="10.0.20348.1",
        os_features=("win32k",),
        created="2024-01-02T03:04:05Z",
        author="somebody",
        diff_ids=(Digest.of(b"layer"),),
        history=(
            HistoryEntry(created_by="COPY", comment="c"),
            HistoryEntry(empty_layer=True),
        ),
    )
    assert read(WHOLE).env_dict() == {"PATH": "/bin", "A": "3", "EMPTY": ""}
    assert read(WHOLE).platform == Platform("windows", "amd64", "v2", "10.0.20348.1", ("win32k",))


@covers("ZL-900")
def test_null_and_missing_are_the_same():
    nulls = {key: dict.fromkeys(value) if isinstance(value, dict) else None for key, value in WHOLE.items()}  # fmt: skip
    assert read(nulls) == read({}) == read({"config": None}) == ImageConfig()
    assert read({}).platform is None
    assert read({}).env_dict() == {}


# fmt: off
WRITTEN = [
    # document,                                    what is changed,                    the document then
    (WHOLE,                                        {},                                 WHOLE),
    ({},                                           {},                                 {}),
    ({"config": None, "x": None},                  {},                                 {"config": None, "x": None}),
    ({"config": {"Cmd": None, "Env": []}},         {},                                 {"config": {"Cmd": None, "Env": []}}),
    ({"config": {"Cmd": None, "Y": 1}},            {"cmd": ("a",)},                    {"config": {"Cmd": ["a"], "Y": 1}}),
    ({"config": {"Cmd": ["a"], "User": "u"}},      {"cmd": (), "user": None},          {"config": {}}),
    ({"os": "linux"},                              {"labels": {"a": "b"}},             {"os": "linux", "config": {"Labels": {"a": "b"}}}),
    ({},                                           {"os_version": "1.2"},              {"os.version": "1.2"}),
    ({"rootfs": {"type": "layers"}},               {"diff_ids": (Digest.of(b"layer"),)}, {"rootfs": {"type": "layers", "diff_ids": [LAYER]}}),
    ({},                                           {"history": (HistoryEntry("t", empty_layer=True), HistoryEntry())}, {"history": [{"created": "t", "empty_layer": True}, {}]}),
    ({},                                           {"healthcheck": ImageHealthcheck(("NONE",), retries=0)}, {"config": {"Healthcheck": {"Test": ["NONE"], "Retries": 0}}}),
]
# fmt: on


@covers("ZL-900")
@pytest.mark.parametrize(("document", "changes", "then"), WRITTEN)
def test_what_is_not_known_or_not_changed_stays(document, changes, then):
    written = replace(read(document), **changes).to_json()
    assert written == then
    assert [*written][: len(document)] == [*document]


# fmt: off
COMMANDS = [
    # Entrypoint, Cmd,        what is run
    (["/e"],      ["a", "b"], ("/e", "a", "b")),
    (["/e"],      None,       ("/e",)),
    (None,        ["a"],      ("a",)),
    (None,        None,       None),
    ([],          [],         None),
]
# fmt: on


@covers("ZL-901")
@pytest.mark.parametrize(("entrypoint", "cmd", "command"), COMMANDS)
def test_what_is_run(entrypoint, cmd, command):
    assert read({"config": {"Entrypoint": entrypoint, "Cmd": cmd}}).full_command() == command


# fmt: off
WRONG = [
    # content,                                           what is said
    (b"",                                                "not JSON"),
    (b"[]",                                              "not a JSON object"),
    (b"\xff",                                            "not UTF-8"),
    (b'{"os": "a", "os": "b"}',                          "os: the member is there twice"),
    (b'{"config": []}',                                  "config: want an object"),
    (b'{"os": 1}',                                       "os: want text"),
    (b'{"config": {"Cmd": "ls"}}',                       "config.Cmd: want a list"),
    (b'{"config": {"Env": ["A=1", 2]}}',                 r"config.Env\[1\]: want text"),
    (b'{"config": {"Labels": {"a": 1}}}',                "config.Labels.a: want text"),
    (b'{"config": {"Healthcheck": {"Retries": true}}}',  "config.Healthcheck.Retries: want a whole number"),
    (b'{"history": [{"empty_layer": 1}]}',               r"history\[0\].empty_layer: want true or false"),
    (b'{"rootfs": {"diff_ids": ["x"]}}',                 r"rootfs.diff_ids\[0\]: not a digest"),
    (b'{"os": 1, "author": 2}',                          "author: want text; os: want text"),
]
# fmt: on


@covers("ZL-900")
@pytest.mark.parametrize(("content", "said"), WRONG)
def test_what_is_no_config(content, said):
    with pytest.raises(ConfigInvalid, match=said):
        ImageConfig.from_json(content)
