"""Simulated failures as data, over operations: for people who test against registries."""

from .rules import (
    Action,
    Close,
    Faults,
    Rule,
    Rules,
    Status,
    Truncate,
    kind_of,
    parse_action,
    parse_rule,
)

__all__ = [
    "Action",
    "Close",
    "Faults",
    "Rule",
    "Rules",
    "Status",
    "Truncate",
    "kind_of",
    "parse_action",
    "parse_rule",
]
