"""Recomputation against peak: ours, PyTorch's sweep and the bounds, a panel a model."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from planner.bench.pictures import COLOURS, plain, saved, style
from planner.bench.training_results import of_step, steps
from planner.report.names import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from planner.bench.training_runs import TargetResult

_COLUMNS = 3
_TITLE_WIDTH = 40
_MIB = 2**20


class Frontiers(NamedTuple):
    """What a panel shows; points are (bytes, share of the step).

    Attributes
    ----------
    ours : list of (float, float)
        By rising bytes: the least recomputation within each.
    plans : list of (float, float)
        At the targets.
    torch : list of (float, float)
        By falling budget, so that the line turns back where a smaller budget has a higher peak.
    bounds : list of (float, float)
        At the targets that are met.
    least_bytes : int
    """

    ours: list[tuple[float, float]]
    plans: list[tuple[float, float]]
    torch: list[tuple[float, float]]
    bounds: list[tuple[float, float]]
    least_bytes: int


def frontiers(results: Sequence[TargetResult]) -> Frontiers:
    """Return the panel of one step's results."""
    step = results[0].step
    whole = max(step.step_ps, 1)
    known = {point for result in results for point in result.frontier}
    known.update((r.peak_bytes, r.recompute_ps) for r in results)
    ours: list[tuple[float, float]] = []
    for peak, recompute in sorted(known):
        if not ours or recompute / whole < ours[-1][1]:
            ours.append((peak, recompute / whole))
    if step.unplanned_bytes > ours[-1][0]:
        ours.append((step.unplanned_bytes, ours[-1][1]))
    met = [result for result in results if result.fits]
    return Frontiers(
        ours,
        [(r.peak_bytes, r.recompute_ps / whole) for r in met],
        [(point.peak_bytes, point.recompute_ps / whole) for point in step.sweep],
        [(r.target_bytes, r.bound_ps / whole) for r in met],
        step.least_bytes,
    )


def draw_frontiers(results: Sequence[TargetResult]) -> dict[str, bytes]:
    """Draw a panel for each model, as ``svg`` and ``png``; ImportError without matplotlib."""
    with style():
        from matplotlib.figure import Figure
        from matplotlib.ticker import PercentFormatter

        shown = steps(results)
        columns = min(_COLUMNS, len(shown))
        lines = math.ceil(len(shown) / columns)
        figure = Figure(figsize=(1.0 + 3.4 * columns, 0.9 + 2.5 * lines), layout="constrained")
        panels = list(figure.subplots(lines, columns, squeeze=False).flat)
        handles: dict[str, Artist] = {}
        for step, axes in zip(shown, panels, strict=False):
            plain(axes)
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
            axes.set_title(printable(step.case.name, _TITLE_WIDTH), fontsize=9, parse_math=False)
            handles |= _draw(axes, frontiers(of_step(results, step)))
            axes.set_ylim(bottom=0)
        for axes in panels[len(shown) :]:
            axes.set_visible(False)
        figure.supxlabel("peak above parameters, buffers and inputs, MiB", fontsize=9)
        figure.supylabel("recomputation, share of the step", fontsize=9)
        figure.legend(
            list(handles.values()),
            list(handles),
            loc="outside upper center",
            ncols=min(len(handles), 2 * columns),
            frameon=False,
        )
        return saved(figure)


def _draw(axes: Axes, panel: Frontiers) -> dict[str, Artist]:
    def split(points: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
        return [size / _MIB for size, _ in points], [share for _, share in points]

    (torch,) = axes.plot(
        *split(panel.torch),
        color=COLOURS[1],
        linewidth=0.6,
        linestyle=":",
        marker="s",
        markersize=4,
        markerfacecolor="none",
    )
    (ours,) = axes.plot(*split(panel.ours), color=COLOURS[0], linewidth=1.2, drawstyle="steps-post")
    (plans,) = axes.plot(*split(panel.plans), color=COLOURS[0], linestyle="", marker="o", ms=4)
    (bounds,) = axes.plot(*split(panel.bounds), color="#555555", linestyle="", marker="^", ms=4)
    least = axes.axvline(panel.least_bytes / _MIB, color="#555555", linewidth=0.8, linestyle="--")
    return {
        "ours": ours,
        "at the targets": plans,
        "PyTorch, budgets 1 to 0": torch,
        "bound at the targets": bounds,
        "proven least peak": least,
    }
