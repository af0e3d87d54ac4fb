"""Recomputation against peak, as train_budget.py draws it: ours, PyTorch's, and what is proven."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from planner.torch.saved_sets import torch_seeds
from planner.training.race import plan_training
from solvers.protocol import Deadline
from solvers.training.bounds import recompute_bound

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from planner.torch import PlannedStep


class Curves(NamedTuple):
    """Peaks in bytes against milliseconds of recomputation; PyTorch's points by their budget.

    A point of ``bounds`` says that whatever peaks no higher recomputes at least so long.
    """

    step_ms: float
    least_peak_bytes: int
    ours: list[tuple[int, float]]
    torch: dict[float, tuple[int, float]]
    bounds: list[tuple[int, float]]

    def cheapest_of_torch(self, budget_bytes: int) -> float | None:
        fitting = (spent for peak, spent in self.torch.values() if peak <= budget_bytes)
        return min(fitting, default=None)


def survey(plans: Sequence[PlannedStep], time_limit: float, grid: int) -> Curves:
    """Plan the step for all budgets, ask PyTorch for its plans, and prove so many more bounds."""
    problem, seeds = plans[0].joint.problem, torch_seeds(plans[0].joint)
    # No schedule has a peak of 0 bytes: the search for one ends at the least peak.
    result = plan_training(problem, 0, seeds=seeds, time_limit=time_limit)
    step_ms, lowest = 1e3 * result.step_s, result.peak_bound_bytes
    points = {(p.peak_bytes, p.recompute_ps / 1e9) for p in result.frontier}
    points |= {(plan.predicted_peak_bytes, 1e3 * plan.recompute_s) for plan in plans}
    highest = max(peak for peak, _ in points)
    bounds = [(plan.budget_bytes, 1e3 * plan.extra_bound_s) for plan in plans]
    for step in range(grid):
        budget = lowest + (highest - lowest) * step // grid
        bound = recompute_bound(problem, budget, deadline=Deadline(time_limit / grid))
        bounds += [] if bound.recompute_ps is None else [(budget, bound.recompute_ps / 1e9)]
    return Curves(
        step_ms,
        lowest,
        staircase(points),
        {float(s.name.split()[-1]): (s.peak_bytes, s.recompute_ps / 1e9) for s in seeds},
        [(-peak, -needed) for peak, needed in staircase((-x, -y) for x, y in bounds)][::-1],
    )


def staircase(points: Iterable[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return the points below which there is none in both respects, peaks rising."""
    kept: list[tuple[int, float]] = []
    for peak, spent in sorted(points):
        if not kept or spent < kept[-1][1]:
            kept.append((peak, spent))
    return kept


class Marks(NamedTuple):
    """What is drawn beside the curves: points of steps that were run, and lines at the targets."""

    eager_peak_bytes: int
    trained: list[tuple[int, float]]
    targets: list[tuple[int, str]]


def draw(title: str, curves: Curves, marks: Marks) -> dict[str, bytes]:
    """Draw recomputation against peak, as ``svg`` and ``png``; ImportError without matplotlib."""
    from planner.bench.pictures import COLOURS, plain, saved, style

    blue, orange, green = COLOURS[:3]

    def scaled(points: Sequence[tuple[int, float]]) -> tuple[list[float], list[float]]:
        return [peak / 1e6 for peak, _ in points], [100 * t / curves.step_ms for _, t in points]

    with style():
        from matplotlib.figure import Figure
        from matplotlib.ticker import PercentFormatter

        figure = Figure(figsize=(8.0, 5.0), layout="constrained")
        axes = figure.subplots()
        plain(axes)
        theirs = [point for _, point in sorted(curves.torch.items(), reverse=True)]
        everyone = [*curves.ours, *theirs]
        least = curves.least_peak_bytes / 1e6
        left = least - 0.12 * (max(scaled(everyone)[0]) - least)
        right = max(marks.eager_peak_bytes / 1e6, *scaled(everyone)[0]) + 0.5 * (least - left)
        top = 1.12 * max(scaled(everyone)[1])
        # What holds at a budget holds below it as well, down to the next one.
        peaks, needed = scaled(curves.bounds)
        axes.fill_between(
            [left, least, *peaks],
            [top, top, *needed],
            step="pre",
            color="#e6e6e6",
            linewidth=0,
            label="proven impossible",
        )
        axes.plot(*scaled(theirs), ":", color=orange, linewidth=0.9)
        axes.plot(
            *scaled(theirs), "o", color=orange, markersize=4.5, label="PyTorch, by its budget"
        )
        for budget, point in curves.torch.items():
            (x,), (y,) = scaled([point])
            axes.annotate(
                f"{budget:g}",
                (x, y),
                (4, 3),
                textcoords="offset points",
                fontsize=6.5,
                color=orange,
            )
        axes.step(*scaled(curves.ours), where="post", color=blue, linewidth=1.7, label="planner")
        trained = scaled(marks.trained)
        axes.plot(*trained, "D", color=blue, markersize=5, label="trained, as measured")
        axes.plot(marks.eager_peak_bytes / 1e6, 0, "^", color=green, label="eager", clip_on=False)
        for target_bytes, name in marks.targets:
            if left < target_bytes / 1e6 < right:
                axes.axvline(target_bytes / 1e6, color=blue, linewidth=0.6, alpha=0.5)
                axes.annotate(
                    name,
                    (target_bytes / 1e6, top),
                    (0, 2),
                    textcoords="offset points",
                    ha="center",
                    fontsize=7.5,
                    color=blue,
                )
        axes.set(xlim=(left, right), ylim=(0, top))
        axes.yaxis.set_major_formatter(PercentFormatter(decimals=0))
        axes.set_xlabel("peak, MB above parameters, buffers and inputs")
        axes.set_ylabel("recomputation, share of the step's time")
        axes.set_title(title, loc="left", pad=16)
        figure.legend(loc="outside lower center", ncols=5, frameon=False)
        return saved(figure)
