"""Rules of an access file: which one wins, and what is said of a file with faults."""

from __future__ import annotations

import fnmatch
import json
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.protocol.operations import operations
from wasmhold.auth.access import Access, Rule, glob_matches, parse_access
from wasmhold.auth.files import read_access
from wasmhold.auth.policy import Policy
from wasmhold.auth.rights import ALL, RIGHTS, Right, needs
from wasmhold.oci.errors import FileInvalid
from wasmhold.protocol import operations as op
from wasmhold.testing.covers import covers

READ, WRITE, DELETE = Right
HASH = "$2b$04$UPvUI8yLWH1geXsx0TwWN.hOKlCuKZjPvtiGKjh/jLd9rWqUB9eZq"


# ---- what an operation needs


@covers("OW-160")
def test_every_operation_needs_a_right():
    assert RIGHTS.keys() == set(op.Operation.__args__)


@given(operations)
def test_a_need_names_the_repository(operation):
    right, repository = needs(operation)
    assert right is RIGHTS[type(operation)]
    at_root = isinstance(operation, op.Ping | op.Redirect | op.ListRepositories)
    assert (repository is None) == at_root
    assert not at_root or right is READ


# ---- patterns


@given(
    st.text("ab*", max_size=8).filter(lambda text: "[" not in text),
    st.text("ab", max_size=12),
)
@example("a*a", "a")
@example("ab*ba", "aba")
@example("*a*", "ba")
def test_a_star_is_any_text(pattern, name):
    wanted = re.compile(fnmatch.translate(pattern)).match(name) is not None
    assert glob_matches(tuple(pattern.split("*")), name) == wanted


def test_many_stars_cost_no_more_than_a_search():
    pattern = "a*" * 60 + "b"
    assert not glob_matches(tuple(pattern.split("*")), "a" * 255)


# ---- which rule wins

USERS = ["alice", "bob", "ci"]
REPOS = ["*", "a/*", "a/b", "a/b*", "*b", "a*b", "c", ""]
members = st.lists(st.sampled_from([*USERS, "g1", "g2", "g3"]), max_size=3)
acls = st.lists(
    st.fixed_dictionaries(
        {
            "repo": st.sampled_from(REPOS),
            "members": members,
            "access": st.lists(st.sampled_from(["read", "write", "delete", "*", "pull", "push"])),
            "anonymous": st.booleans(),
        }
    ),
    max_size=6,
)
groups = st.dictionaries(
    st.sampled_from(["g1", "g2", "g3"]), st.fixed_dictionaries({"members": members})
)


def in_group(user, names, groups, seen=()):
    return any(
        in_group(user, groups[name]["members"], groups, (*seen, name))
        if name in groups and name not in seen
        else name == user and name not in groups
        for name in names
    )


def naive(document, user, repository):
    """OW-161, word by word."""
    best = None
    for acl in document["acls"]:
        named = acl["anonymous"] and (user is None or document["anonymous_applies_to_users"])
        if user is not None and in_group(user, acl["members"], document["groups"]):
            named = True
        matches = fnmatch.fnmatchcase(repository, acl["repo"])
        if not repository or not acl["repo"]:
            matches = repository == acl["repo"]
        if named and matches and (best is None or len(acl["repo"]) >= len(best["repo"])):
            best = acl
    if best is None:
        return None
    words = {"pull": "read", "push": "write"}
    given = {words.get(word, word) for word in best["access"]}
    return tuple(right for right in ALL if "*" in given or right.value in given)


@covers("OW-160", "OW-161")
@given(groups, acls, st.booleans(), st.sampled_from([None, *USERS, "g1"]))
def test_the_longest_rule_wins(groups, acls, also, user):
    document = {"groups": groups, "acls": acls, "anonymous_applies_to_users": also}
    access = parse_access(document, "access.toml")
    for repository in ["", "a/b", "a/bb", "a/c", "c", "b", "x/y"]:
        rule = access.winner(user, repository)
        assert (rule and rule.rights) == naive(document, user, repository)
        if access.reads_all(user) and repository:
            assert READ in access.winner(user, repository).rights


# fmt: off
RULES = {
    "users": {"alice": {"cred": HASH}},
    "groups": {
        "all": {"members": ["devs", "ops"]},
        "devs": {"members": ["ci", "all", "devs"]},      # loops are skipped
        "ops": {"members": ["alice", "nobody-knows"]},   # a missing member is a user
    },
    "acls": [
        {"repo": "*", "members": ["all"], "access": ["pull"]},
        {"repo": "team/*", "members": ["devs"], "access": ["read", "write"]},
        {"repo": "team/*", "members": ["ci"], "access": ["push"]},
        {"repo": "team/secret", "members": ["all"], "access": []},
        {"repo": "team/secret", "members": ["alice"], "access": ["*"]},
        {"repo": "public/*", "anonymous": True, "access": ["read"]},
        {"repo": "", "members": ["nobody-knows"], "access": []},
        {"repo": "*", "members": ["ci"], "access": ["delete"]},
    ],
}
ROWS = [
    # user,          repository,    rights
    ("alice",        "x",           (READ,)),
    ("alice",        "team/app",    (READ, WRITE)),  # in devs through all
    ("alice",        "team/secret", ALL),
    ("ci",           "x",           (DELETE,)),      # of two equally long ones the later
    ("ci",           "team/app",    (WRITE,)),       # a longer one, wherever it stands
    ("ci",           "team/secret", ()),             # a rule may take rights away
    ("ci",           "team",        (DELETE,)),
    ("nobody-knows", "team/app",    (READ, WRITE)),
    ("all",          "x",           ()),             # a group is no user
    ("eve",          "public/x",    ()),             # a user gets no anonymous rule
    (None,           "public/x",    (READ,)),
    (None,           "public",      ()),
    (None,           "x",           ()),
    ("alice",        None,          (READ,)),        # who has logged in may look at the root
    ("nobody-knows", None,          ()),             # unless a rule says otherwise
]
# fmt: on


@covers("OW-160", "OW-161", "BR-120")
@pytest.mark.parametrize(("user", "repository", "rights"), ROWS)
def test_rights(user, repository, rights):
    assert Policy(parse_access(RULES, "x")).rights(user, repository) == rights


def test_anonymous_rules_for_users_are_asked_for():
    document = {**RULES, "anonymous_applies_to_users": True}
    assert Policy(parse_access(document, "x")).rights("eve", "public/x") == (READ,)


def test_the_root_is_open_where_nobody_can_log_in():
    assert Policy(Access([])).rights(None, None) == (READ,)
    assert Policy(Access([]), authenticator=object()).rights(None, None) == ()


def test_who_reads_all_is_known():
    rules = [
        Rule("*", {"alice", "bob"}, (READ,)),
        Rule("hidden", {"bob"}, ()),
        Rule("a*", {"ci"}, (READ,)),
        Rule("", {"alice"}, ()),
    ]
    access = Access(rules)
    assert [access.reads_all(user) for user in ("alice", "bob", "ci", None)] == [
        *(True, False),
        *(False, False),
    ]


# ---- faults

# fmt: off
FAULTY = [
    # document,                                     place and what is said
    ({"acl": []},                                   "acl: no such key; did you mean acls?"),
    ({"zzz": []},                                   "zzz: no such key; there are acls, "),
    ({"acls": {}},                                  "acls: want a list of rules"),
    ({"acls": ["x"]},                               "acls[0]: want a table"),
    ({"acls": [{"repo": "a", "members": ["x"], "access": ["raed"]}]},
                                                    "acls[0].access[0]: 'raed' is no right"),
    ({"acls": [{"repo": "a", "members": ["x"], "access": [1]}]}, "acls[0].access[0]: want a text"),
    ({"acls": [{"repo": "a", "members": ["x"], "access": "read"}]}, "acls[0].access: want a list"),
    ({"acls": [{"repo": "a", "members": ["x"]}]},   "acls[0].access: want a list"),
    ({"acls": [{"repo": "a", "access": []}]},       "acls[0]: the rule names nobody"),
    ({"acls": [{"repo": "a", "member": ["x"], "access": []}]},
                                                    "acls[0].member: no such key; did you mean members?"),
    ({"acls": [{"repo": "A", "members": ["x"], "access": []}]}, "acls[0].repo: a repository name must be lower case"),
    ({"acls": [{"repo": "/A*", "members": ["x"], "access": []}]}, "acls[0].repo: no repository has such a name"),
    ({"acls": [{"members": ["x"], "access": []}]},  "acls[0].repo: want a name"),
    ({"acls": [{"repo": "a", "anonymous": 1, "access": []}]}, "acls[0].anonymous: want true or false"),
    ({"groups": []},                                "groups: want a table"),
    ({"groups": {"g": ["x"]}},                      "groups.g: want a table"),
    ({"groups": {"g": {"members": "x"}}},           "groups.g.members: want a list"),
    ({"groups": {"g": {"user": []}}},               "groups.g.user: no such key"),
    ({"groups": {"a:b": {}}},                       "groups.a:b: a name has no colon"),
    ({"users": {"alice": {"cred": HASH}}, "groups": {"alice": {}}}, "groups.alice: a user has this name too"),
    ({"users": {"alice": {}}},                      "users.alice.cred: want a bcrypt hash"),
    ({"users": {"alice": {"cred": "secret"}}},      "users.alice.cred: not a bcrypt hash"),
    ({"users": {"alice": {"cred": HASH.replace("$04$", "$31$")}}}, "users.alice.cred: the cost"),
    ({"users": {"": {"cred": HASH}}},               "users.: the name is empty"),
    ({"anonymous_applies_to_users": "yes"},         "anonymous_applies_to_users: want true or false"),
]
# fmt: on


@covers("OW-160")
@pytest.mark.parametrize(("document", "said"), FAULTY)
def test_faults_have_their_place(document, said):
    with pytest.raises(FileInvalid) as caught:
        parse_access(document, "access.toml")
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


def test_all_faults_are_told_at_once():
    with pytest.raises(FileInvalid) as caught:
        parse_access({"acls": [{"repo": 1, "access": ["x", "y"]}], "group": {}}, "access.toml")
    assert [fault.path for fault in caught.value.faults] == [
        "acls[0].repo",
        "acls[0]",
        "acls[0].access[0]",
        "acls[0].access[1]",
        "group",
    ]


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just(HASH),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["users", "groups", "acls", "repo", "members", "access", "cred", "x"]),
            inner,
            max_size=4,
        )
    ),
)


@given(st.dictionaries(st.sampled_from(["users", "groups", "acls"]), documents))
def test_any_document_is_taken_or_refused(document):
    try:
        parse_access(document, "x")
    except FileInvalid:
        pass


@given(st.text(max_size=60), st.sampled_from(["a.toml", "a.json"]))
def test_any_text_is_taken_or_refused(text, path):
    try:
        read_access(text, path)
    except FileInvalid:
        pass


@covers("OW-160")
def test_the_two_forms_say_the_same():
    toml = '[[acls]]\nrepo = "a"\nmembers = ["x"]\naccess = ["*"]\n'
    as_json = json.dumps({"acls": [{"repo": "a", "members": ["x"], "access": ["*"]}]})
    for text, path in [(toml, "a.toml"), (as_json, "a.json")]:
        assert read_access(text, path).winner("x", "a").rights == ALL


# fmt: off
UNREADABLE = [
    ("[[acls]\n",            "a.toml", "not TOML"),
    ("{",                    "a.json", "not JSON"),
    ('{"acls":[],"acls":[]}', "a.json", "acls: the member is there twice"),
    ("[]",                   "a.json", "not a JSON object"),
]
# fmt: on


@pytest.mark.parametrize(("text", "path", "said"), UNREADABLE)
def test_what_is_neither_is_refused(text, path, said):
    with pytest.raises(FileInvalid, match=re.escape(f"{path}: {said}")):
        read_access(text, path)
