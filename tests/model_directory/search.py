"""Running searches, in this process and, for mutants, in another one on a changed copy."""

from __future__ import annotations

from tests import mutation

from .explore import exhaust, explain
from .mutants import MUTANTS
from .scenarios import ALL


def run(search):
    """What the search found, explained, or None."""
    scenario = ALL[search.scenario]
    _, _, trace, text = exhaust(scenario, search.kills, search.switches)
    if trace is None:
        assert text is None, text
        return None
    return f"{text}\n{explain(scenario, trace, search.kills)}"


def mutate(name, folder):
    """A copy of what is modelled, below `folder`, without one guard."""
    mutation.mutate(folder, "directory", name, MUTANTS[name])


def elsewhere(folder, *arguments):
    """What ``python -m tests.model_directory ...`` prints on the copy in `folder`."""
    return mutation.elsewhere("tests.model_directory", folder, *arguments)
