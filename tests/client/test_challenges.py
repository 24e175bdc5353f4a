"""What registries ask for, in all the forms that they write it in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wasmhold.client.challenges import Challenge, parse_challenges
from wasmhold.testing.covers import covers

BASIC = Challenge("basic", {"realm": "r"})
TOKEN = {"realm": "https://a/t", "service": "s", "scope": "repository:a/b:pull,push"}

# fmt: off
FORMS = [
    # fields,                                                               challenges
    ([],                                                                    []),
    ([""],                                                                  []),
    (["Basic"],                                                             [Challenge("basic")]),
    (['Basic realm="r"'],                                                   [BASIC]),
    (["bAsIc ReAlM=r"],                                                     [BASIC]),
    (['Basic realm = "r"'],                                                 [BASIC]),
    (['Basic realm="a \\"b\\", c"'],                                        [Challenge("basic", {"realm": 'a "b", c'})]),
    (['Bearer realm="https://a/t",service="s",scope="repository:a/b:pull,push"'], [Challenge("bearer", TOKEN)]),
    (['Bearer realm="https://a/t", service="s" , scope="repository:a/b:pull,push"'], [Challenge("bearer", TOKEN)]),
    (['Basic realm="r", Bearer realm="x"'],                                 [BASIC, Challenge("bearer", {"realm": "x"})]),
    (['Bearer realm="x",Basic realm="r"'],                                  [Challenge("bearer", {"realm": "x"}), BASIC]),
    (['Negotiate, Basic realm="r"'],                                        [Challenge("negotiate"), BASIC]),
    (['Negotiate YWJj==, Basic realm="r"'],                                 [Challenge("negotiate"), BASIC]),
    (['Newauth realm="apps", type=1, title="Login to \\"apps\\"", Basic realm="r"'],
                        [Challenge("newauth", {"realm": "apps", "type": "1", "title": 'Login to "apps"'}), BASIC]),
    (['Bearer realm="x"', 'Basic realm="r"'],                               [Challenge("bearer", {"realm": "x"}), BASIC]),
    ([', ,Basic realm="r",'],                                               [BASIC]),
    (['Basic realm="r", "what is this'],                                    [BASIC]),
    (['Basic realm="open'],                                                 [Challenge("basic")]),
    (['Basic realm="r", realm="other"'],                                    [BASIC]),
]
# fmt: on


@covers("ZL-102")
@pytest.mark.parametrize(("fields", "challenges"), FORMS)
def test_challenges(fields, challenges):
    assert parse_challenges(fields) == challenges


@given(st.lists(st.text(alphabet='ab=", \\/BasicBearer\n'), max_size=3))
def test_anything_is_read(fields):
    for challenge in parse_challenges(fields):
        assert challenge.scheme == challenge.scheme.lower()
