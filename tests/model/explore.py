"""Two ways through the runs of a scenario: all of them up to a bound, and at random."""

from __future__ import annotations

import random

from .content import named
from .invariants import Violation
from .world import World, show


def exhaust(scenario, switches=None, last_first=False, limit=2_000_000, **settings):
    """Depth first over all choices; a path is run again from its start when we turn back.

    `switches`: how often a process may be interrupted while it could go on (None: no bound).
    Requests that one process has under way together are served in order, or from the last on.
    Returns (states, ends, trace of a violation or None, its text).
    """
    seen, stack, states, ends = set(), [([], None, switches)], 0, 0
    world = None
    while stack:
        trace, last, left = stack.pop()
        try:
            if world is not None:
                world.close()
            world = World(scenario, **settings)
            for choice in trace:
                world.do(choice)
            while True:
                key = (world.key(), last, left)
                if key in seen:
                    break
                seen.add(key)
                states += 1
                if states > limit:
                    world.close()
                    return states, ends, None, f"stopped at {limit} states"
                options = world.choices()
                if switches is not None:
                    options = _bounded(options, last, left, last_first)
                go = [option for option in options if option[0] == "go"]
                if not go:
                    ends += 1
                    stack += [([*trace, option], last, left) for option in options]
                    world.settle()
                    break
                running = {who[0] for what, who in go}

                def after(option, trace=trace, last=last, left=left, running=running):
                    what, who = option
                    if what in ("deliver", "crash") or switches is None:
                        return ([*trace, option], last, left)
                    cut = last is not None and last in running and who[0] != last
                    return ([*trace, option], who[0], left - cut)

                go.sort(key=lambda option: option[1][0] != last)
                stack += [after(option) for option in options if option != go[0]]
                trace, last, left = after(go[0])
                world.do(go[0])
        except Violation as violation:
            world.close()
            return states, ends, trace, str(violation)
    world.close()
    return states, ends, None, None


def _bounded(options, last, left, last_first):
    first = {}
    for what, who in options:  # one strand of each process
        if what == "go" and (who[0] not in first or last_first):
            first[who[0]] = who
    kept = [(w, who) for w, who in options if w in ("deliver", "crash") or who == first[who[0]]]
    if last in first and not left:
        kept = [(w, who) for w, who in kept if w in ("deliver", "crash") or who[0] == last]
    return kept


def walk(scenario, seed, **settings):
    """One run at random.  Returns (requests, trace of a violation or None, its text)."""
    chance = random.Random(seed)
    trace = []
    bias = chance.choice((0.0, 0.5, 0.8, 0.95))
    last = None
    try:
        world = World(scenario, **settings)
        while True:
            options = world.choices()
            go = [option for option in options if option[0] == "go"]
            if not go:
                break
            rest = [option for option in options if option[0] != "go"]
            if rest and chance.random() < 0.06:
                choice = chance.choice(rest)
            else:  # long stretches of one process, then a switch
                same = [option for option in go if option[1][0] == last]
                choice = chance.choice(same if same and chance.random() < bias else go)
                last = choice[1][0]
            trace.append(choice)
            world.do(choice)
        while world.net and chance.random() < 0.5:
            choice = ("deliver", chance.randrange(len(world.net)))
            trace.append(choice)
            world.do(choice)
        world.settle()
    except Violation as violation:
        return len(trace), trace, str(violation)
    return world.steps, None, None


def explain(scenario, trace, **settings):
    """The run of a trace, a line for each request."""
    world, lines = World(scenario, **settings), []
    try:
        for what, who in trace:
            if what == "deliver":
                lines.append(f"      late: {show(world, world.net[who])}")
            elif what == "crash":
                lines.append(f"      crash of {who}")
            else:
                lines.append(f"{who:8} {what:4} {show(world, world.strands[who].waiting)}")
            world.do((what, who))
        lines.append("then everything else stops, and collections run")
        world.settle()
    except Violation as violation:
        lines.append(named(f"VIOLATION {violation}"))
    return "\n".join(lines)
