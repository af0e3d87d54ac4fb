"""Arenas with each kind of sharing, as shares of the arena with views only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.bench.pictures import COLOURS, plain, saved, style
from planner.bench.sharing_cases import SETTINGS, saved_share
from planner.report.names import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.bench.sharing_cases import SharingCase

_NAME_WIDTH = 24
_GROUP_WIDTH = 0.8


def draw_shares(cases: Sequence[SharingCase]) -> dict[str, bytes]:
    """Draw a group of bars for each network.

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
        from matplotlib.ticker import PercentFormatter

        figure = Figure(figsize=(max(6.0, 1.6 + 0.45 * len(cases)), 4.0), layout="constrained")
        axes = figure.subplots()
        plain(axes)
        axes.grid(visible=False, axis="x")
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_ylabel("arena, share of that with views only")
        settings = list(SETTINGS)[1:]
        width = _GROUP_WIDTH / len(settings)
        for index, setting in enumerate(settings):
            heights = [1.0 - saved_share(case, case.runs[index + 1]) for case in cases]
            places = [at - _GROUP_WIDTH / 2 + (index + 0.5) * width for at in range(len(cases))]
            axes.bar(places, heights, 0.92 * width, color=COLOURS[index], label=setting)
        axes.axhline(1.0, color="#888888", linewidth=0.8)
        names = [printable(case.network, _NAME_WIDTH) for case in cases]
        axes.set_xlim(-0.5, len(cases) - 0.5)
        axes.set_xticks(range(len(cases)), names, rotation=30, ha="right", rotation_mode="anchor")
        for label in axes.get_xticklabels():
            label.set_parse_math(False)
        figure.legend(loc="outside upper center", ncols=len(settings), frameon=False)
        return saved(figure)
