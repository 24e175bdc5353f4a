"""Running searches, in this process and, for mutants, in another one on a changed copy."""

from __future__ import annotations

from tests import mutation

from .explore import exhaust, explain, walk
from .mutants import MUTANTS
from .scenarios import ALL, LARGE, SMALL


def settings(seed):
    """Crashes, faults, the size of pages, delete-if-match: in all combinations."""
    return {
        "crashes": seed % 3,
        "faults": seed // 3 % 4,
        "page": (1000, 2)[seed // 12 % 2],
        "forgets": seed // 24 % 3 > 0,
    }


def walks(count, first=0):
    """Walks over all scenarios in turn, half of them over the large ones.

    Returns (walks, requests, the explained violation or None).
    """
    requests = 0
    for seed in range(first, first + count):
        group = LARGE if seed % 2 else SMALL
        scenario = group[seed // 2 % len(group)]
        steps, trace, violation = walk(scenario, seed, **settings(seed // 7))
        requests += steps
        if violation:
            text = explain(scenario, trace, **settings(seed // 7))
            return seed - first + 1, requests, f"{scenario.name}, seed {seed}\n{text}"
    return count, requests, None


def run(search):
    """Returns what the search found, or None."""
    settings = {
        "crashes": search.crashes,
        "faults": search.faults,
        "forgets": search.forgets,
        "page": search.page,
    }
    return exhaust(ALL[search.scenario], search.switches, search.last_first, **settings)[3]


def mutate(name, folder):
    """A copy of what is modelled, below `folder`, without one guard."""
    mutation.mutate(folder, "bucket", name, MUTANTS[name])


def elsewhere(folder, *arguments):
    """The last line of ``python -m tests.model ...`` on the copy in `folder`."""
    return mutation.elsewhere("tests.model", folder, *arguments).splitlines()[-1]
