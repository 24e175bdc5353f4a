"""The operator's page about rules: its file means what its table says."""

from __future__ import annotations

import re
from pathlib import Path

from wasmhold.auth.files import read_access
from wasmhold.auth.policy import Policy
from wasmhold.testing.covers import covers

PAGE = (Path(__file__).parents[2] / "docs/access.md").read_text()


@covers("OW-160", "BR-110")
def test_the_example_means_what_its_table_says():
    (example,) = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    policy = Policy(read_access(example, "access.toml"))
    table = re.findall(r"^\| (alice|bob|ci|nobody|user) \|(.*)\|$", PAGE, re.MULTILINE)
    (_, head), *rows = table
    repositories = re.findall(r"`(.*?)`", head)
    assert len(rows) == 4
    for user, cells in rows:
        for repository, cell in zip(repositories, cells.split("|"), strict=True):
            rights = policy.rights(None if user == "nobody" else user, repository)
            assert [right.value for right in rights] == cell.split()
