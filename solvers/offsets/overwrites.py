"""Pairs of buffers that may lie at the same address: one is written over the other in place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.problem import PairRule

if TYPE_CHECKING:
    from planner.problem import OffsetProblem


def overwrite(first: int, second: int, size: int) -> PairRule:
    """Return the rule that two buffers of one size lie at the same address or apart."""
    return PairRule(first, second, ((-size, 0), (0, size)), size)


def only_overwrites(problem: OffsetProblem) -> bool:
    """Whether all pair rules, of which there may be none, are such."""
    for rule in problem.pair_rules:
        size = int(problem.size[rule.first])
        alike = size == problem.size[rule.second] and (
            problem.alignment[rule.first] == problem.alignment[rule.second]
        )
        if not alike or rule != overwrite(rule.first, rule.second, size):
            return False
    return True
