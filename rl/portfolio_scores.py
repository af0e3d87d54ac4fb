"""What a portfolio is worth on programs that it was not learned from, at few decodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rl.portfolio_training import log_latencies

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from rl.portfolio import Entry
    from rl.portfolio_training import Pool, TrainingProgram

BUDGETS = (1, 2, 3, 8)


class ProgramScore(NamedTuple):
    """One program.

    Attributes
    ----------
    name, graph, family : str
    learned, static : tuple of float
        For each budget k: the best latency of the first k entries, and of k static decodes that
        were chosen on the programs learned from; both divided by that of all static decodes.
    """

    name: str
    graph: str
    family: str
    learned: tuple[float, ...]
    static: tuple[float, ...]


def static_order(pool: Pool, count: int) -> list[int]:
    """Choose static decodes greedily, each for what those before leave: their indices."""
    reached = np.full(len(pool.models), np.inf)
    chosen: list[int] = []
    for _ in range(count):
        costs = (pool.share[:, None] * np.minimum(pool.static, reached[:, None])).sum(axis=0)
        chosen.append(int(costs.argmin()))
        reached = np.minimum(reached, pool.static[:, chosen[-1]])
    return chosen


def program_scores(
    entries: Sequence[Entry],
    order: Sequence[int],
    programs: Sequence[TrainingProgram],
    pool: Pool,
) -> list[ProgramScore]:
    """Decode programs by every entry, and compare with static decodes in this order.

    Parameters
    ----------
    pool : Pool
        Of the programs.
    """
    goal = pool.static.min(axis=1)
    decoded = [log_latencies(pool.models, entry) for entry in entries]
    learned = _ratios(np.array(decoded).T, goal)
    static = _ratios(pool.static[:, list(order)], goal)
    return [
        ProgramScore(program.name, program.graph, program.family, tuple(ours), tuple(theirs))
        for program, ours, theirs in zip(programs, learned.tolist(), static.tolist(), strict=True)
    ]


def budgets_of(entries: int) -> tuple[int, ...]:
    """Return the budgets that so many entries can fill."""
    return tuple(k for k in BUDGETS if k <= entries)


def _ratios(latencies: NDArray[np.float64], goal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the best of the first k columns for each budget, as a ratio to the goal."""
    best = np.minimum.accumulate(latencies, axis=1)
    columns = [k - 1 for k in budgets_of(latencies.shape[1])]
    return np.exp(best[:, columns] - goal[:, None])
