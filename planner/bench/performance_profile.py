"""Performance profiles: how often a solver is within a factor of the best one.

Dolan and Moré, "Benchmarking optimization software with performance profiles", Mathematical
Programming 91 (2002).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from planner.bench.pictures import COLOURS, plain, saved, style

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from planner.bench.offset_results import InstanceResult

# What is faster than this is equally fast: clocks of processes are no finer.
_SHORTEST_S = 1e-3
_STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)))


class Profile(NamedTuple):
    """One solver's curve.

    Attributes
    ----------
    factors : tuple of float
        Its value divided by the best one, ascending, at least 1, one for each instance that it
        solved.
    instances : int
        All of them: at factor f it is at ``(number of factors <= f) / instances``.
    """

    factors: tuple[float, ...]
    instances: int


def profiles(values: Mapping[str, Sequence[float | None]]) -> dict[str, Profile]:
    """Compare each solver with the best one, instance by instance.

    Parameters
    ----------
    values : mapping of str to sequence of float or None
        Of each solver one positive value for each instance, in the same order; less is better,
        None is a failure.

    Returns
    -------
    dict of str to Profile
    """
    best = [
        min((value for value in column if value is not None), default=math.nan)
        for column in zip(*values.values(), strict=True)
    ]
    return {
        name: Profile(
            tuple(
                sorted(
                    value / lowest
                    for value, lowest in zip(row, best, strict=True)
                    if value is not None
                )
            ),
            len(row),
        )
        for name, row in values.items()
    }


def height_profiles(results: Sequence[InstanceResult]) -> dict[str, Profile]:
    """Compare heights."""
    return profiles(
        {
            name: [None if height is None else float(max(height, 1)) for height, _ in runs]
            for name, runs in _runs(results).items()
        }
    )


def time_profiles(results: Sequence[InstanceResult]) -> dict[str, Profile]:
    """Compare CPU seconds; an instance counts as solved by who finds the lowest height known."""
    best = [result.best for result in results]
    return profiles(
        {
            name: [
                max(cpu_s, _SHORTEST_S) if height is not None and height == lowest else None
                for (height, cpu_s), lowest in zip(runs, best, strict=True)
            ]
            for name, runs in _runs(results).items()
        }
    )


def _runs(results: Sequence[InstanceResult]) -> dict[str, list[tuple[int | None, float]]]:
    """Height and CPU seconds of every solver on every instance."""
    names = dict.fromkeys(run.minimised.name for result in results for run in result.solves)
    runs: dict[str, list[tuple[int | None, float]]] = {name: [] for name in names}
    for result in results:
        reports = {run.minimised.name: run.minimised for run in result.solves}
        for name, row in runs.items():
            report = reports.get(name)
            row.append((None, 0.0) if report is None else (report.height_bytes, report.cpu_s))
    return runs


def draw_profiles(results: Sequence[InstanceResult]) -> dict[str, bytes]:
    """Draw both profiles beside each other.

    Returns
    -------
    dict of str to bytes
        The picture by suffix, ``svg`` and ``png``.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter, StrMethodFormatter

    with style():
        figure = Figure(figsize=(10, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        draw_curves(left, height_profiles(results), "height ÷ lowest height found", 1.1)
        draw_curves(right, time_profiles(results), "CPU seconds ÷ fewest CPU seconds", 10.0)
        left.set_ylabel("share of the instances")
        left.set_title("Height")
        right.set_title("CPU time, where the lowest height was found")
        right.set_xscale("log")
        right.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        right.xaxis.set_minor_formatter(NullFormatter())
        handles, names = left.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside right center", frameon=False)
        return saved(figure)


def draw_curves(axes: Axes, curves: Mapping[str, Profile], label: str, least_end: float) -> None:
    """Draw profiles as steps, to a little beyond the largest factor, or to ``least_end``."""
    end = max((max(curve.factors, default=1.0) for curve in curves.values()), default=1.0)
    end = max(1.05 * end, least_end)
    for index, (name, curve) in enumerate(curves.items()):
        solved = len(curve.factors)
        shares = [count / max(curve.instances, 1) for count in range(1, solved + 1)]
        axes.step(
            [1.0, *curve.factors, end],
            [0.0, *shares, shares[-1] if shares else 0.0],
            where="post",
            label=name,
            color=COLOURS[index % len(COLOURS)],
            linestyle=_STYLES[index % len(_STYLES)],
            linewidth=1.8,
        )
    axes.set_xlim(1, end)
    axes.set_ylim(0, 1.03)
    axes.set_xlabel(label)
    plain(axes)
