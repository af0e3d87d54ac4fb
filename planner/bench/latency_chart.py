"""Performance profiles of the latency suite: how often a method is within a factor of the best."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.bench.latency_methods import EXACT, GAME, METHODS
from planner.bench.latency_results import SHARED_BUDGETS, latencies
from planner.bench.latency_runs import Budget
from planner.bench.performance_profile import draw_curves, profiles
from planner.bench.pictures import saved, style

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from planner.bench.latency_runs import ProgramResult
    from planner.bench.performance_profile import Profile

# The parts left out of the agent have a table; beside one another they would be one line here.
_DRAWN = tuple(
    name
    for name in METHODS
    if name not in ("all-slow", "static-8", "program-order greedy")
    and (name == GAME or not name.startswith(GAME))
)
_TITLES = {Budget.DECODES: "Equal decodes", Budget.TIME: "Equal time"}
_LEAST_END = 1.02


def latency_profiles(results: Sequence[ProgramResult], budget: Budget) -> dict[str, Profile]:
    """Compare latencies of the methods that there are; the exact one where it is everywhere."""
    values = {name: latencies(results, name, budget) for name in _DRAWN}
    return profiles(
        {
            name: row
            for name, row in values.items()
            if any(value is not None for value in row) and (name != EXACT or None not in row)
        }
    )


def draw_latency_profiles(results: Sequence[ProgramResult]) -> dict[str, bytes]:
    """Draw the profiles at equal decodes and at equal time beside each other.

    Returns
    -------
    dict of str to bytes
        The picture by suffix, ``svg`` and ``png``.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    with style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(10, 4.2), layout="constrained")
        panels = figure.subplots(1, 2, sharey=True)
        for axes, budget in zip(panels, SHARED_BUDGETS, strict=True):
            curves: Mapping[str, Profile] = latency_profiles(results, budget)
            draw_curves(axes, curves, "latency ÷ lowest latency found", _LEAST_END)
            axes.set_title(_TITLES[budget])
        panels[0].set_ylabel("share of the programs")
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside right center", frameon=False)
        return saved(figure)
