"""The directory store: the suite, and what is its own."""

import pytest

from tests.stores.directories import opened
from wasmhold.testing.covers import covers
from wasmhold.testing.store_suite import CHECKS, check_store


@pytest.mark.parametrize("name", CHECKS)
@covers("BR-010")
def test_suite(name, tmp_path):
    with opened(tmp_path) as store:
        check_store(lambda: store, [name])
