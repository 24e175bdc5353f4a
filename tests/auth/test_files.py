"""Files that change while they are in force."""

from __future__ import annotations

import base64
import logging
import os

import pytest

from wasmhold.auth.access import for_everybody
from wasmhold.auth.files import LOOK_S, AccessFiles
from wasmhold.auth.guard import Guard
from wasmhold.auth.htpasswd import check
from wasmhold.auth.logins import Cores
from wasmhold.auth.policy import Fixed, Policy
from wasmhold.auth.rights import ALL, Right, needs
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import Denied, FileInvalid, Unauthorized
from wasmhold.ports.runtime import Inline, run
from wasmhold.protocol import operations as op
from wasmhold.servers.asgi import SystemRandomness
from wasmhold.testing.covers import covers

# The hashes of "one" and "two": written out, because cases of a table are named by them.
ONE = "$2b$04$PmDxao0sbgpSdSFcqh9xIu.6oxhPwGTzjmUZWj7eKP2LgNU8Cr6Aq"
TWO = "$2b$04$Cy1WSCZASCN2/BPu284/H.G/Ca1hTk2eJiPPZo7qSBcaXKhM7oeny"
D = Digest.of(b"x")
GET, PUSH, DELETE = op.GetBlob("a", D), op.PushBlob("a", D), op.DeleteBlob("a", D)


def admit(guard, authorization, operation, address="1.2.3.4"):
    need = needs(operation)
    actor = run(guard.identify(authorization, need, address))
    guard.check(actor, need)
    return actor


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Place:
    """Files in a folder, and the guard that looks at them."""

    def __init__(self, folder, htpasswd=None, access=None, anonymous=None):
        self.clock = Clock()
        self.paths = []
        for name, text in (("users", htpasswd), ("access.toml", access)):
            if text is not None:
                (folder / name).write_text(text)
            self.paths.append(None if text is None else folder / name)
        self.files = AccessFiles(
            *(None if path is None else str(path) for path in self.paths),
            anonymous,
            check=check,
            cores=Cores(Inline(self.clock, lambda _: None), 1),
            randomness=SystemRandomness(),
        )
        self.guard = Guard(self.files)

    def may(self, operation, login=None):
        """The name of who may, or the error."""
        field = None if login is None else f"Basic {base64.b64encode(login.encode()).decode()}"
        try:
            return admit(self.guard, field, operation).name
        except (Unauthorized, Denied) as error:
            return type(error)

    def write(self, number, text):
        """As a careful operator does: beside it, then renamed."""
        beside = self.paths[number].with_suffix(".new")
        beside.write_text(text)
        beside.replace(self.paths[number])
        self.clock.now += LOOK_S


def acl(repo, who, access):
    return f'[[acls]]\nrepo = "{repo}"\n{who}\naccess = {access}\n'


# fmt: off
WAYS = [
    # --anonymous, passwords, login, who may:   read          push          delete        root
    (None,         True,      "x:one",          ("x",         "x",          "x",          "x")),
    (None,         True,      "x:two",          (Unauthorized,) * 4),
    (None,         True,      "y:one",          (Unauthorized,) * 4),
    (None,         True,      None,             (Unauthorized,) * 4),
    ("pull",       True,      None,             (None,        Unauthorized, Unauthorized, Unauthorized)),
    ("push",       True,      None,             (None,        None,         Unauthorized, Unauthorized)),
    ("pull",       True,      "x:two",          (Unauthorized,) * 4),
    ("pull",       False,     None,             (None,        Denied,       Denied,       None)),
    ("push",       False,     None,             (None,        None,         Denied,       None)),
    ("pull",       False,     "x:one",          (None,        Denied,       Denied,       None)),
]
# fmt: on


@covers("BR-120", "OW-109")
@pytest.mark.parametrize(("anonymous", "passwords", "login", "may"), WAYS)
def test_without_an_access_file(anonymous, passwords, login, may, tmp_path):
    place = Place(tmp_path, f"x:{ONE}\n" if passwords else None, anonymous=anonymous)
    assert tuple(place.may(o, login) for o in (GET, PUSH, DELETE, None)) == may


@covers("OW-160", "BR-120")
def test_users_of_both_files(tmp_path):
    access = f'[users.y]\ncred = "{TWO}"\n' + acl("a", 'members = ["x", "y"]', '["read"]')
    place = Place(tmp_path, f"x:{ONE}\n", access)
    assert place.may(GET, "x:one") == "x"
    assert place.may(GET, "y:two") == "y"
    assert place.may(PUSH, "y:two") is Denied
    assert place.may(GET) is Unauthorized
    with pytest.raises(FileInvalid, match=r"users\.y: the password file has this name too"):
        Place(tmp_path, f"y:{ONE}\n", access)


def test_an_access_file_without_passwords(tmp_path):
    place = Place(tmp_path, None, acl("a", "anonymous = true", '["pull"]'))
    assert [place.may(o) for o in (GET, PUSH, op.Ping())] == [None, Denied, None]


@covers("OW-162", "OW-163")
def test_a_changed_password_file_is_read_again(tmp_path):
    place = Place(tmp_path, f"x:{ONE}\n")
    assert place.may(GET, "x:one") == "x"
    place.paths[0].write_text(f"x:{TWO}\n# longer\n")
    # Looked at once a second at most: until then what was remembered holds.
    assert place.may(GET, "x:one") == "x"
    place.clock.now += LOOK_S
    assert place.may(GET, "x:one") is Unauthorized
    assert place.may(GET, "x:two") == "x"


@covers("OW-162")
def test_the_guard_reads_again_when_it_is_told(tmp_path):
    place = Place(tmp_path, f"x:{ONE}\n")
    before = place.paths[0].stat()
    # In place, as long as before, and with its time put back: no look shows it.
    place.paths[0].write_text(f"x:{TWO}\n")
    os.utime(place.paths[0], ns=(before.st_atime_ns, before.st_mtime_ns))
    place.clock.now += LOOK_S
    assert place.may(GET, "x:one") == "x"
    place.guard.refresh()
    assert place.may(GET, "x:one") is Unauthorized
    assert place.may(GET, "x:two") == "x"


def test_rules_for_users_without_passwords_are_warned_of(tmp_path):
    for access, count in [
        (acl("a", 'members = ["x"]', '["read"]'), 1),
        (acl("a", "anonymous = true", '["read"]'), 0),
    ]:
        warnings = Place(tmp_path, None, access).files.warnings()
        assert len(warnings) == count
        assert all("give --htpasswd" in text for text in warnings)


@covers("OW-162")
def test_a_changed_access_file_is_read_again(tmp_path):
    place = Place(tmp_path, f"x:{ONE}\n", acl("a", 'members = ["x"]', '["read"]'))
    assert place.may(PUSH, "x:one") is Denied
    place.write(1, acl("a", 'members = ["x"]', '["read", "write"]'))
    assert place.may(PUSH, "x:one") == "x"


# fmt: off
BREAKS = [
    (0, "x:hunter2\n",      "line 1: not a bcrypt hash"),
    (0, f"x:{ONE}\nx:{TWO}\n", "line 2: x is there twice"),
    (1, "[[acl]]\n",        "acl: no such key; did you mean acls?"),
    (1, "[",                "not TOML"),
    (1, f'[users.x]\ncred = "{TWO}"\n', "users.x: the password file has this name too"),
]
# fmt: on


@covers("OW-162")
@pytest.mark.parametrize(("number", "text", "said"), BREAKS)
def test_a_broken_file_leaves_the_last_good_one(number, text, said, tmp_path, caplog):
    good = acl("a", 'members = ["x"]', '["read"]')
    place = Place(tmp_path, f"x:{ONE}\n", good)
    with caplog.at_level(logging.ERROR, "wasmhold"):
        place.write(number, text)
        assert [place.may(o, "x:one") for o in (GET, PUSH)] == ["x", Denied]
        place.clock.now += LOOK_S
        assert place.may(GET, "x:one") == "x"
    (record,) = caplog.records  # said once
    assert said in record.getMessage()
    assert place.paths[number].name in record.getMessage()
    assert "hunter2" not in caplog.text
    assert ONE not in caplog.text
    place.write(number, [f"x:{TWO}\n", good + "#\n"][number])
    assert place.may(GET, ["x:two", "x:one"][number]) == "x"


@covers("OW-162")
def test_a_file_that_is_gone_leaves_the_last_good_one(tmp_path, caplog):
    place = Place(tmp_path, f"x:{ONE}\n")
    place.paths[0].unlink()
    for _ in range(3):
        place.clock.now += LOOK_S
        assert place.may(GET, "x:one") == "x"
    assert len(caplog.records) == 1
    place.write(0, f"x:{TWO}\n")
    assert place.may(GET, "x:two") == "x"


@covers("OW-162")
@pytest.mark.parametrize("which", ["missing", "folder", "pipe", "bytes"])
def test_a_file_that_cannot_be_used_at_the_start_is_an_error(which, tmp_path):
    path = tmp_path / "users"
    if which == "folder":
        path.mkdir()
    elif which == "pipe":
        os.mkfifo(path)
    elif which == "bytes":
        path.write_bytes(b"\xff")
    for files in ((str(path), None), (None, str(path))):
        with pytest.raises(FileInvalid, match=str(path)):
            AccessFiles(
                *files,
                None,
                check=check,
                cores=Cores(Inline(Clock(), lambda _: None), 1),
                randomness=SystemRandomness(),
            )


@covers("BR-080")
def test_what_everybody_may_read_is_warned_of(tmp_path):
    access = f'[users.y]\ncred = "{TWO}"\n'
    place = Place(tmp_path, f"x:{ONE}\n", access)
    for path in place.paths:
        path.chmod(0o644)
    warnings = Place(tmp_path, f"x:{ONE}\n", access).files.warnings()
    assert [str(path) in text for path, text in zip(place.paths, warnings, strict=True)] == [
        True,
        True,
    ]
    assert len(Place(tmp_path, f"x:{ONE}\n", "acls = []\n").files.warnings()) == 1
    for path in place.paths:
        path.chmod(0o640)
    assert Place(tmp_path, f"x:{ONE}\n", access).files.warnings() == []


@covers("OW-120")
def test_any_authenticator_fits():
    class Sticker:
        async def authenticate(self, authorization, need):
            return authorization

        def challenge(self, need):
            return f"Sticker for={need[0].value}"

    guard = Guard(Fixed(Policy(for_everybody(users=True, anonymous=()), Sticker())))
    assert admit(guard, "me", DELETE).name == "me"
    with pytest.raises(Unauthorized) as caught:
        admit(guard, None, DELETE)
    assert caught.value.challenge == "Sticker for=delete"
    assert tuple(Right) == ALL


def test_an_actor_knows_what_may_be_read(tmp_path):
    place = Place(tmp_path, f"x:{ONE}\n", acl("a/*", 'members = ["x"]', '["read"]'))
    field = f"Basic {base64.b64encode(b'x:one').decode()}"
    actor = admit(place.guard, field, None)
    assert (actor.name, actor.address) == ("x", "1.2.3.4")
    assert [actor.reads(name) for name in ("a/b", "b")] == [True, False]
    everything = Place(tmp_path, f"x:{ONE}\n")
    assert admit(everything.guard, field, None).reads is None
