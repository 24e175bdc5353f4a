"""``python -m tests.model_directory``: all scenarios; ``guards``: what notices each one's removal."""

from __future__ import annotations

import sys
import tempfile
import time

from .explore import exhaust, explain
from .mutants import MUTANTS
from .scenarios import ALL, SCENARIOS
from .search import elsewhere, mutate, run


def main(arguments):
    if arguments[:1] == ["mutant"]:
        print(run(MUTANTS[arguments[1]].search) or "nothing")
        return 0
    if arguments[:1] == ["guards"]:
        for name in arguments[1:] or MUTANTS:
            with tempfile.TemporaryDirectory() as folder:
                mutate(name, folder)
                seen = elsewhere(folder, "mutant", name).splitlines()[0]
                print(f"| {name} | {MUTANTS[name].search} | {seen} |", flush=True)
        return 0
    bad = False
    print("| scenario | kills | states | ends | violation | CPU s |\n|---|---|---|---|---|---|")
    for scenario in [ALL[name] for name in arguments] or SCENARIOS:
        for kills in (0, 1):
            start = time.process_time()
            switches = 2
            states, ends, trace, text = exhaust(scenario, kills, switches)
            took = time.process_time() - start
            print(
                f"| {scenario.name} | {kills} | {states} | {ends} | {text or 'none'} | {took:.1f} |",
                flush=True,
            )
            if trace is not None:
                bad = True
                print(explain(scenario, trace, kills))
    return bad


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
