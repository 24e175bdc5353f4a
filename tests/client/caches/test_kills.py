"""Many processes with one cache, some of them killed: a small number of what `kills.py` does."""

import pytest

from tests.client.caches.kills import trial
from wasmhold.testing.covers import covers


@covers("ZL-537")
@pytest.mark.parametrize("kills", [0, 6])
def test_processes_share_one_flight(kills):
    """Each blob is asked for once, and once more for each kill at the most."""
    outcome = trial(4, 12, kills, seed=kills)
    assert outcome.faults == []
    assert outcome.killed <= kills
    assert outcome.asked == 12 + len(outcome.again)
