"""Bubbles against memory: the best published schedule, ours and the bound, a panel a setting."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from planner.bench.pictures import COLOURS, plain, saved, style
from planner.report.names import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.bench.pipeline_runs import CaseResult

_COLUMNS = 3
_TITLE_WIDTH = 40
_STYLES = ("-", "--", "-.", ":")
# Where ours is no better, the open square of the published schedule still shows around it.
_LOOKS: dict[str, dict[str, Any]] = {
    "published": {
        "color": COLOURS[1],
        "marker": "s",
        "markersize": 6,
        "markerfacecolor": "none",
    },
    "ours": {"color": COLOURS[0], "marker": "o", "markersize": 3},
    "bound": {"color": "#888888"},
}


class Curve(NamedTuple):
    """Bubbles of one kind over the limits of one setting with as many chunks.

    Attributes
    ----------
    kind : str
        ``published``, ``ours`` or ``bound``.
    chunks : int
    multiples, bubbles : tuple of float
        Limits as multiples of what 1F1B needs, ascending; NaN where there is no schedule.
    """

    kind: str
    chunks: int
    multiples: tuple[float, ...]
    bubbles: tuple[float, ...]


def curves(results: Sequence[CaseResult]) -> list[Curve]:
    """Return the curves of one setting's results."""
    found = []
    for chunks in sorted({result.case.chunks for result in results}):
        own = sorted(
            (result for result in results if result.case.chunks == chunks),
            key=lambda result: result.case.multiple,
        )
        multiples = tuple(result.case.multiple for result in own)
        ticks = {
            "published": [r.best_published.cost_ticks if r.best_published else None for r in own],
            "ours": [r.ours.cost_ticks for r in own],
            "bound": [r.bound_ticks for r in own],
        }
        for kind, values in ticks.items():
            bubbles = (r.bubble(value) for r, value in zip(own, values, strict=True))
            shown = tuple(math.nan if bubble is None else bubble for bubble in bubbles)
            found.append(Curve(kind, chunks, multiples, shown))
    return found


def draw_bubbles(results: Sequence[CaseResult]) -> dict[str, bytes]:
    """Draw a panel for each setting, as ``svg`` and ``png``; ImportError without matplotlib."""
    with style():
        from matplotlib.figure import Figure
        from matplotlib.ticker import PercentFormatter

        names = list(dict.fromkeys(result.case.setting.name for result in results))
        columns = min(_COLUMNS, len(names))
        lines = math.ceil(len(names) / columns)
        figure = Figure(figsize=(1.0 + 3.4 * columns, 0.9 + 2.5 * lines), layout="constrained")
        panels = list(figure.subplots(lines, columns, squeeze=False).flat)
        handles = {}
        for name, axes in zip(names, panels, strict=False):
            plain(axes)
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
            axes.set_title(printable(name, _TITLE_WIDTH), fontsize=9, parse_math=False)
            for curve in curves([r for r in results if r.case.setting.name == name]):
                label = f"{curve.kind}, {curve.chunks} chunk{'s' if curve.chunks > 1 else ''}"
                (handles[curve.kind, curve.chunks, label],) = axes.plot(
                    curve.multiples,
                    curve.bubbles,
                    linestyle=_STYLES[(curve.chunks - 1) % len(_STYLES)],
                    linewidth=1.2,
                    **_LOOKS[curve.kind],
                )
            axes.set_ylim(bottom=0)
        for axes in panels[len(names) :]:
            axes.set_visible(False)
        figure.supxlabel("memory limit, multiple of what 1F1B needs", fontsize=9)
        figure.supylabel("bubble", fontsize=9)
        # Read column by column: a column a kind.
        keys = sorted(handles, key=lambda key: (list(_LOOKS).index(key[0]), key[1]))
        figure.legend(
            [handles[key] for key in keys],
            [label for _, _, label in keys],
            loc="outside upper center",
            ncols=len(_LOOKS),
            frameon=False,
        )
        return saved(figure)
