"""The directory store's calls in every order, with kills and power losses; and without its guards."""

import pytest

from wasmhold.testing.covers import covers

from .explore import exhaust, explain
from .mutants import MUTANTS
from .scenarios import SCENARIOS
from .search import elsewhere, mutate, run


@pytest.mark.parametrize("kills", [0, 1])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
@covers("BR-018", "BR-076", "BR-079", "BR-140")
def test_every_order(scenario, kills):
    _, ends, trace, violation = exhaust(scenario, kills, switches=1)
    assert violation is None, explain(scenario, trace, kills) if trace else violation
    assert ends


@pytest.mark.parametrize("name", MUTANTS)
def test_guard(name, tmp_path):
    """The search finds something as soon as the guard is taken out."""
    mutate(name, tmp_path)
    assert elsewhere(tmp_path, "mutant", name) != "nothing"


@pytest.mark.parametrize("search", sorted({m.search for m in MUTANTS.values()}, key=str), ids=str)
def test_the_product_passes_the_searches(search):
    assert run(search) is None
