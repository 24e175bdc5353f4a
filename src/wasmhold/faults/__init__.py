"""Simulated failures as data, over operations: for people who test against registries."""

from .rules import Close, Faults, Rule, Rules, Status, Truncate, kind_of, parse_action, parse_rule

__all__ = [
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
