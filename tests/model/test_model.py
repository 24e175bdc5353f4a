"""The model in CI: walks without a violation, and every guard is missed when it is gone."""

import pytest

from wasmhold.testing.covers import covers

from .mutants import MUTANTS
from .search import elsewhere, mutate, run, walks


@pytest.mark.parametrize("first", range(0, 2000, 500))
@covers("BR-122", "BR-124", "BR-140")
def test_walks(first):
    _, _, violation = walks(500, first)
    assert violation is None, violation


@pytest.mark.parametrize("name", MUTANTS)
def test_guard(name, tmp_path):
    """The search finds nothing in the product, and something as soon as the guard is taken out."""
    mutate(name, tmp_path)
    assert elsewhere(tmp_path, "mutant", name) != "nothing"


@pytest.mark.parametrize("search", sorted({m.search for m in MUTANTS.values()}, key=str), ids=str)
def test_the_product_passes_the_searches(search):
    assert run(search) is None
