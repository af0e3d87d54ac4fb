"""The most bytes in use at once: rectangles of time and bytes, added up over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from planner.problem import OffsetProblem


def live_bytes(problem: OffsetProblem) -> int:
    """Return the most bytes in use at once; what a pair rule lets two buffers share counts once."""
    if problem.uses is None:
        lower, upper, weight = problem.lower, problem.upper, problem.size
    else:
        uses = problem.uses
        lower, upper, weight = uses.lower, uses.upper, uses.end - uses.begin
    shared = [
        (
            max(problem.lower[rule.first], problem.lower[rule.second]),
            min(problem.upper[rule.first], problem.upper[rule.second]),
            -rule.shared,
        )
        for rule in problem.pair_rules
        if rule.shared
    ]
    if shared:
        extra = np.array([row for row in shared if row[0] < row[1]], dtype=np.int64).reshape(-1, 3)
        lower = np.concatenate([lower, extra[:, 0]])
        upper = np.concatenate([upper, extra[:, 1]])
        weight = np.concatenate([weight, extra[:, 2]])
    if not len(weight):
        return 0
    times = np.concatenate([upper, lower])
    # Ends sort before starts at the same time.
    order = np.argsort(times, kind="stable")
    running = np.cumsum(np.concatenate([-weight, weight])[order])
    last_at_time = np.append(np.diff(times[order]) > 0, True)
    return max(0, int(running[last_at_time].max()))
