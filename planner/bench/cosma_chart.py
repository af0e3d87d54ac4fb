"""The paper's chart: bars of every method for each network, a row of them for each budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from planner.bench.cosma_baselines import BASELINES
from planner.bench.cosma_cases import BUDGETS
from planner.bench.pictures import COLOURS, plain, saved, style
from planner.report.names import printable
from planner.report.quantities import format_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from planner.bench.cosma_cases import Case

_NAME_WIDTH = 18
# Orange for the baselines, an order a shade; the last colour is ours.
_BASELINE_COLOURS = ("#8c3b00", "#d55e00", "#e69f00", "#f5cf80")
_OTHER_COLOURS = tuple(colour for colour in COLOURS if colour not in _BASELINE_COLOURS)
_GROUP_WIDTH = 0.84


class Bar(NamedTuple):
    """One method at one budget of one network.

    Attributes
    ----------
    method : str
    traffic_bytes : int or None
        None: it has no plan.
    is_moving : bool
        The arena would fail if it did not move operands.
    """

    method: str
    traffic_bytes: int | None
    is_moving: bool = False


def bars(case: Case) -> list[Bar]:
    """Return the bars of a case, baselines first."""
    return [
        *(Bar(run.name, run.moving_bytes, run.traffic_bytes is None) for run in case.baselines),
        *(Bar(run.name, run.traffic_bytes) for run in case.plans),
    ]


def draw_bars(cases: Sequence[Case]) -> dict[str, bytes]:
    """Draw the chart, heights as shares of the highest bar of the network at that budget.

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
        from matplotlib.patches import Patch
        from matplotlib.ticker import PercentFormatter

        networks = list(dict.fromkeys(case.network for case in cases))
        methods = list(dict.fromkeys(bar.method for case in cases for bar in bars(case)))
        budgets = [name for name in BUDGETS if any(name in case.budgets for case in cases)]
        figure = Figure(
            figsize=(max(6.0, 1.6 + 0.95 * len(networks)), 1.0 + 2.1 * len(budgets)),
            layout="constrained",
        )
        colours = dict(zip(methods, _colours(len(methods)), strict=True))
        panels = list(figure.subplots(len(budgets), 1, sharex=True, squeeze=False)[:, 0])
        for budget, axes in zip(budgets, panels, strict=True):
            plain(axes)
            axes.grid(visible=False, axis="x")
            axes.set_ylim(0, 1.19)
            axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
            axes.set_ylabel(f"B = {_subscript(budget)}")
            for case in cases:
                if budget in case.budgets:
                    _draw(axes, networks.index(case.network), bars(case), colours)
        _separate_groups(panels, cases)
        titles = {case.network: printable(case.title, _NAME_WIDTH) for case in cases}
        panels[-1].set_xlim(-0.5, len(networks) - 0.5)
        panels[-1].set_xticks(range(len(networks)), [titles[name] for name in networks])
        panels[-1].tick_params(axis="x", length=0, rotation=30 if len(networks) > 6 else 0)
        for label in panels[-1].get_xticklabels():
            label.set_horizontalalignment("right" if len(networks) > 6 else "center")
            label.set_rotation_mode("anchor")
            label.set_parse_math(False)
        handles = [Patch(color=colours[method], label=method) for method in methods]
        if any(bar.is_moving for case in cases for bar in bars(case)):
            label = "fails; bytes if operands move"
            handles.append(Patch(facecolor="white", edgecolor="#888888", hatch="////", label=label))
        figure.legend(handles=handles, loc="outside upper center", ncols=4, frameon=False)
        figure.supylabel("bytes that are not compulsory, share of the highest bar", fontsize=9)
        return saved(figure)


def _colours(methods: int) -> list[str]:
    others = [_OTHER_COLOURS[i % len(_OTHER_COLOURS)] for i in range(methods - len(BASELINES))]
    return [*_BASELINE_COLOURS, *others]


def _subscript(budget: str) -> str:
    letter, _, index = budget.partition("_")
    return f"${letter}_{index}$"


def _draw(axes: Axes, position: int, group: Sequence[Bar], colours: dict[str, str]) -> None:
    highest = max(bar.traffic_bytes or 0 for bar in group)
    width = _GROUP_WIDTH / len(group)
    for index, bar in enumerate(group):
        at = position - _GROUP_WIDTH / 2 + (index + 0.5) * width
        colour = colours[bar.method]
        if not bar.traffic_bytes:
            text = "×" if bar.traffic_bytes is None else "0"  # noqa: RUF001
            axes.text(at, 0.01, text, ha="center", va="bottom", color=colour, fontsize=7)
            continue
        axes.bar(
            at,
            bar.traffic_bytes / highest,
            0.92 * width,
            facecolor="white" if bar.is_moving else colour,
            edgecolor=colour,
            hatch="////" if bar.is_moving else None,
            linewidth=0.6,
        )
    if highest:
        axes.text(position, 1.03, format_size(highest), ha="center", va="bottom", fontsize=7)


def _separate_groups(panels: Sequence[Axes], cases: Sequence[Case]) -> None:
    """Draw a line between groups of networks, and name them above where there are several."""
    of_network = {case.network: case.group for case in cases}
    groups = list(of_network.values())
    if len(set(groups)) < 2:
        return
    for at in range(1, len(groups)):
        if groups[at] != groups[at - 1]:
            for axes in panels:
                axes.axvline(at - 0.5, color="#888888", linewidth=0.8, linestyle=":")
    for group in dict.fromkeys(groups):
        places = [at for at, name in enumerate(groups) if name == group]
        middle = sum(places) / len(places)
        panels[0].text(middle, 1.22, group, ha="center", va="bottom", fontsize=8, color="#444444")
