"""``wasmhold doctor``: the first step that fails is what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.cli.program import done, wasmhold
from tests.client.recording import Says, recording
from tests.registries import serving
from tests.wasm.binaries import MODULE


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("app.wasm").write_bytes(MODULE)


def steps(ran):
    return {one["step"]: one for one in ran.json}


def test_all_is_well(host):
    done("push", "app.wasm", f"{host}/demo/app:1")
    found = steps(done("doctor", f"{host}/demo/app:1", "--json"))
    assert list(found) == ["login", "name", "connection", "registry", "repository", "content"]
    assert all(one["ok"] and one["hint"] is None for one in found.values())
    assert found["content"]["told"].endswith("kind cncf")
    shown = done("doctor", f"{host}/demo/app:1")
    assert all(line.startswith("ok ") for line in shown.lines)
    assert done("doctor").lines == ["ok     no file with logins: what is public can be read"]


def test_places_without_a_network():
    done("push", "app.wasm", "oci:layout:1")
    assert list(steps(done("doctor", "oci:layout:1", "--json"))) == ["repository", "content"]


# fmt: off
WRONG = [
    # place, further options,               the step,       what is said
    ("127.0.0.1:1/a:1", [],                 "connection",   "Connection refused"),
    ("h.invalid/a:1",   [],                 "name",         ""),
    ("HOST/none:1",     [],                 "repository",   "there is no such repository"),
    ("HOST/here:none",  [],                 "content",      "has no manifest none"),
    ("oci:none:1",      [],                 "repository",   "there is no such repository"),
    ("HOST/here:1", ["--registry-config", "app.wasm"], "logins", "app.wasm: line 1: not JSON"),
]
# fmt: on


@pytest.mark.parametrize(("place", "options", "step", "said"), WRONG)
def test_the_first_step_that_fails_is_told(host, place, options, step, said):
    done("push", "app.wasm", f"{host}/here:1")
    place = place.replace("HOST", host)
    ran = wasmhold("doctor", place, "--json", *options)
    wrong = [one for one in ran.json if not one["ok"]]
    assert ran.status == 1
    assert wrong[0]["step"] == step
    assert said in wrong[0]["told"]
    assert f"error: {step}: " in ran.err
    assert f"hint: {wrong[0]['hint']}\n" in ran.err


def test_who_is_let_in_and_who_is_trusted(tmp_path):
    with recording(lambda seen: Says(401, {"WWW-Authenticate": 'Basic realm="x"'})) as server:
        found = steps(wasmhold("doctor", f"{server.host}/a:1", "--json"))
        assert not found["registry"]["ok"]
        assert "wasmhold login" in found["registry"]["hint"]
        given = ["--username", "alice", "--password-stdin"]
        ran = wasmhold("doctor", f"{server.host}/a:1", "--json", *given, given=b"secret-word")
        assert "as alice" in steps(ran)["login"]["told"]
        assert "secret-word" not in ran.out + ran.err
    with recording(lambda seen: Says(404)) as server:
        assert (
            "is no registry"
            in steps(wasmhold("doctor", f"{server.host}/a:1", "--json"))["registry"]["hint"]
        )
    certificate, key = Authority(tmp_path).files()
    with serving("--log", "off", "--tls-cert", str(certificate), "--tls-key", str(key)) as server:
        found = steps(wasmhold("doctor", f"{server.host}/a:1", "--json", "--retries", "0"))
        assert "--ca-file" in found["registry"]["hint"]
        authority = ["--ca-file", str(tmp_path / "ca.crt")]
        found = steps(wasmhold("doctor", f"{server.host}/a:1", "--json", *authority))
        assert found["registry"]["ok"]
