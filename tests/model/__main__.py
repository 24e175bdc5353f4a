"""python -m tests.model quick | walks N [FIRST] | exhaustive | guards [NAME...]

Also ``mutant NAME``: the search that catches the mutant, on whatever `wasmhold` is imported.
"""

from __future__ import annotations

import sys
import tempfile
import time
from multiprocessing import Pool

from .explore import exhaust, explain
from .mutants import MUTANTS
from .scenarios import SMALL
from .search import elsewhere, mutate, run, walks

# (crashes, faults, switches)
BOUNDS = [(0, 0, 2), (1, 0, 1), (0, 1, 0), (0, 1, 1)]
STATES = 20_000  # of one search; then it stops, and its row says so


def _walks(job):
    begun = time.process_time()
    return (*walks(*job), time.process_time() - begun)


def _exhaustive(job):
    scenario, (crashes, faults, switches), last_first = SMALL[job[0]], *job[1:]
    begun = time.process_time()
    bounds = {"crashes": crashes, "faults": faults}
    states, ends, trace, text = exhaust(scenario, switches, last_first, STATES, **bounds)
    row = (scenario.name, crashes, faults, switches, "last" if last_first else "first")
    explained = explain(scenario, trace, **bounds) if trace else None
    return row, states, ends, text, time.process_time() - begun, explained


def _guard(name):
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        mutate(name, folder)
        found = elsewhere(folder, "mutant", name)
    return name, MUTANTS[name].search, found, time.monotonic() - begun


def main(what, *rest):
    bad = False
    with Pool(2) as pool:
        if what == "quick":
            count, requests, bad = walks(2000)
            print(f"{count} walks, {requests} requests:", bad or "no violation")
        elif what == "walks":
            count, first = int(rest[0]), int(rest[1]) if rest[1:] else 0
            jobs = [(min(1000, count - i), first + i) for i in range(0, count, 1000)]
            done = requests = cpu = 0
            for walked, steps, violation, seconds in pool.imap_unordered(_walks, jobs):
                done, requests, cpu = done + walked, requests + steps, cpu + seconds
                if violation:
                    bad = True
                    print(violation, flush=True)
            print(f"{done} walks, {requests} requests, {cpu:.0f} s CPU,",
                  "violations" if bad else "no violation")  # fmt: skip
        elif what == "exhaustive":
            jobs = [(i, bound, reverse) for bound in BOUNDS for i in range(len(SMALL))
                    for reverse in (False, True)]  # fmt: skip
            total = cpu = 0
            for row, states, ends, text, seconds, explained in pool.imap(_exhaustive, jobs):
                total, cpu = total + states, cpu + seconds
                cells = [*row, states, ends, text or "none", f"{seconds:.1f}"]
                print("|", " | ".join(map(str, cells)), "|", flush=True)
                if explained:
                    bad = True
                    print(explained, flush=True)
            print(f"{total} states, {cpu:.0f} s CPU")
        elif what == "guards":
            for name, search, found, seconds in pool.imap(_guard, rest or list(MUTANTS)):
                print(f"| {name} | {search} | {found} | {seconds:.1f} |", flush=True)
                bad = bad or found == "nothing"
        elif what == "mutant":
            print(run(MUTANTS[rest[0]].search) or "nothing")
        else:
            print(__doc__)
            bad = True
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main(*(sys.argv[1:] or ["help"])))
