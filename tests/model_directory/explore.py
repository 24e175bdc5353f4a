"""Every order of the calls of a scenario, up to a number of switches between processes."""

from __future__ import annotations

from .content import named
from .invariants import Violation
from .world import World


def exhaust(scenario, kills=0, switches=None, limit=300_000):
    """Depth first over all choices; a path is run again from its start when we turn back.

    `switches`: how often a process may be interrupted while it could go on (None: no bound).
    Returns (states, ends, trace of a violation or None, its text).
    """
    seen, stack, states, ends = set(), [([], None, switches)], 0, 0
    looked = set()
    world = None
    while stack:
        trace, last, left = stack.pop()
        try:
            if world is not None:
                world.close()
            world = World(scenario, kills, looked)
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
                running = {who for what, who in options if what == "go"}
                if not running:
                    if world.processes:
                        raise Violation("all wait for each other")
                    ends += 1
                    world.settle()
                    break

                def after(option, trace=trace, last=last, left=left, running=running):
                    what, who = option
                    if what == "kill":
                        return ([*trace, option], None if who == last else last, left)
                    cut = left is not None and last in running and who != last
                    return ([*trace, option], who, left - cut if cut else left)

                if left == 0 and last in running:
                    options = [o for o in options if o[0] == "kill" or o[1] == last]
                options.sort(key=lambda option: (option[0] == "kill", option[1] != last))
                stack += [after(option) for option in options[1:]]
                trace, last, left = after(options[0])
                world.do(options[0])
        except Violation as violation:
            world.close()
            return states, ends, trace, str(violation)
    world.close()
    return states, ends, None, None


def explain(scenario, trace, kills=0):
    """The run of a trace, a line for each call."""
    world, lines = World(scenario, kills), []
    try:
        for what, who in trace:
            waiting = world.processes[who].waiting
            lines.append(named(f"{who} {what:4} {waiting}"))
            world.do((what, who))
        lines.append("then everything else stops, and collections run")
        world.settle()
    except Violation as violation:
        lines.append(f"VIOLATION {violation}")
    world.close()
    return "\n".join(lines)
