"""Simulated failures as data, over operations: for people who test against registries."""

from .rules import Close, Faults, Rule, Status, Truncate, kind_of

__all__ = ["Close", "Faults", "Rule", "Status", "Truncate", "kind_of"]
