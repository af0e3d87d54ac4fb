"""The curve of a sweep as SVG: value and proven bound as steps, what is open between them shaded.

At a point's capacity and up to the next one its plan fits, so the value is a step to the right; a
point's bound holds for all smaller capacities, so the bound is a step to the left. Everything a
plan could do lies in the shaded area between.
"""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from planner.problem import Objective, Status
from planner.report.names import markup
from planner.report.quantities import format_both, format_bytes, format_seconds, format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from planner.sweeps.result import SweepPoint, SweepResult

_WIDTH = 1120
_LEFT, _RIGHT = 96, 26
_TOP, _PANEL, _BOTTOM = 52, 300, 50
_MOST_TICKS = 9
_VALUE_TICKS = 5
_LABEL_GAP = 8


class _Axis(NamedTuple):
    """Capacities to horizontal places: in equal ratios, or in equal steps if close together."""

    low: int
    high: int

    @property
    def _by_ratio(self) -> bool:
        return self.high >= 3 * self.low

    def place(self, capacity: float) -> float:
        if self.high == self.low:
            share = 0.5
        elif self._by_ratio:
            share = math.log(capacity / self.low) / math.log(self.high / self.low)
        else:
            share = (capacity - self.low) / (self.high - self.low)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def ticks(self) -> list[int]:
        if self.high == self.low:
            return [self.low]
        if self._by_ratio:
            powers = range(math.floor(math.log2(self.low)), math.floor(math.log2(self.high)) + 1)
            factors = (2, 3) if len(powers) <= _MOST_TICKS // 2 else (2,)
            ticks = [2**power * factor // 2 for power in powers for factor in factors]
            ticks = [tick for tick in ticks if self.low <= tick <= self.high]
            return ticks[:: -(-len(ticks) // _MOST_TICKS)]
        step = 2 ** max(math.ceil(math.log2((self.high - self.low) / _MOST_TICKS)), 0)
        return list(range(-(-self.low // step) * step, self.high + 1, step))


def render_chart(result: SweepResult, objective: Objective) -> str:
    """Return the curve of traffic or of latency against capacity.

    The picture has a title and a description; each mark says its numbers when pointed at. Colours
    are those of the page.
    """
    points = [point for point in result.points if point.value(objective) is not None]
    axis = _Axis(result.points[0].capacity_bytes, result.points[-1].capacity_bytes)
    format_value = _value_format(objective)
    largest = max((point.value(objective) or 0 for point in points), default=0)
    ticks = _value_ticks(largest, objective)

    def height(value: float) -> float:
        return _TOP + _PANEL - value / ticks[-1] * _PANEL

    name = "Latency" if objective is Objective.LATENCY else "Traffic"
    parts = [
        *_grid(axis, ticks, height, format_value),
        *_misfit_area(result, axis),
        *_corners(result, axis),
        *_steps(result.points, objective, axis, height),
        *(_mark(point, objective, axis, height) for point in points),
    ]
    body = "\n".join(parts)
    key = objective.value
    return (
        f'<div class="chart"><svg viewBox="0 0 {_WIDTH} {_TOP + _PANEL + _BOTTOM}" role="img" '
        f'aria-labelledby="{key}-title {key}-description">\n'
        f'<title id="{key}-title">{name} against the capacity of {markup(result.memory)}</title>\n'
        f'<desc id="{key}-description">{escape(_description(result, objective))}</desc>\n'
        f"{body}\n</svg></div>"
    )


def _value_format(objective: Objective) -> Callable[[float], str]:
    if objective is Objective.LATENCY:
        return format_seconds
    return lambda value: format_size(round(value))


def _description(result: SweepResult, objective: Objective) -> str:
    """Say in words what the picture shows; the table below the pictures has it all."""
    points = [point for point in result.points if point.value(objective) is not None]
    show = _value_format(objective)
    if not points:
        return "No plan at any capacity."
    first, last = points[0], points[-1]
    return (
        f"From {show(first.value(objective) or 0)} at {format_bytes(first.capacity_bytes)} to "
        f"{show(last.value(objective) or 0)} at {format_bytes(last.capacity_bytes)}. "
        "All numbers are in the table."
    )


def _value_ticks(largest: float, objective: Objective) -> list[float]:
    """Return round values from 0 on, the last one at or above the largest value."""
    if largest <= 0:
        return [0.0, 1.0] if objective is Objective.LATENCY else [0.0, 1024.0]
    least = largest / _VALUE_TICKS
    if objective is Objective.LATENCY:
        power = 10.0 ** math.floor(math.log10(least))
        step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least)
    else:
        step = max(2.0 ** math.ceil(math.log2(least)), 1.0)
    return [step * i for i in range(math.ceil(largest / step - 1e-9) + 1)]


def _grid(
    axis: _Axis,
    ticks: Sequence[float],
    height: Callable[[float], float],
    format_value: Callable[[float], str],
) -> Iterator[str]:
    bottom = _TOP + _PANEL
    for value in ticks:
        y = height(value)
        yield f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield (
            f'<text x="{_LEFT - _LABEL_GAP}" y="{y + 4:.1f}" text-anchor="end">'
            f"{format_value(value) if value else '0'}</text>"
        )
    for capacity in axis.ticks():
        x = axis.place(capacity)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{bottom}"/>'
        yield (
            f'<text x="{x:.1f}" y="{bottom + 20}" text-anchor="middle">'
            f"{_tick_name(capacity)}</text>"
        )
    yield (
        f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{bottom}" y2="{bottom}"/>'
        f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2:.1f}" y="{bottom + 40}" text-anchor="middle">'
        "capacity</text>"
    )


def _tick_name(capacity: int) -> str:
    """Return a round capacity exactly: ``2.25 MiB``."""
    unit = format_size(capacity).split()[-1]
    return f"{capacity / 1024 ** ((capacity.bit_length() - 1) // 10):g} {unit}"


def _misfit_area(result: SweepResult, axis: _Axis) -> Iterator[str]:
    """Shade the capacities at which no plan can fit."""
    misfits = [p.capacity_bytes for p in result.points if p.status is Status.INFEASIBLE]
    if not misfits:
        return
    end = min(max([*misfits, result.footprint_capacity_bytes or 0]), axis.high)
    x = axis.place(end)
    yield (
        f'<rect class="misfit" x="{_LEFT}" y="{_TOP}" width="{max(x - _LEFT, 2):.1f}" '
        f'height="{_PANEL}"><title>No plan fits below {format_both(end)}: proven</title></rect>'
    )
    if x - _LEFT > 90:
        yield (
            f'<text class="misfit-name" x="{(_LEFT + x) / 2:.1f}" y="{_TOP + _PANEL / 2}" '
            'text-anchor="middle">does not fit</text>'
        )


def _corners(result: SweepResult, axis: _Axis) -> Iterator[str]:
    """Mark what the largest operator needs and from where on there is no traffic."""
    least, bound = result.zero_traffic_bytes, result.zero_traffic_lower_bound_bytes
    proven = least is not None and bound is not None and bound >= least
    corners = (
        ("M_R, largest operator:", result.footprint_capacity_bytes),
        ("M_P, no traffic from" if proven else "no traffic from", least),
    )
    for row, (name, capacity) in enumerate(corners):
        if capacity is None or not axis.low <= capacity <= axis.high:
            continue
        x, y = axis.place(capacity), 18 + 18 * row
        before = x > _WIDTH * 0.72
        yield (
            f'<line class="corner" x1="{x:.1f}" x2="{x:.1f}" y1="{y - 10}" y2="{_TOP + _PANEL}"/>'
            f'<text class="corner-name" x="{x + (-6 if before else 6):.1f}" y="{y}" '
            f'text-anchor="{"end" if before else "start"}">{name} {format_both(capacity)}</text>'
        )


def _steps(
    points: Sequence[SweepPoint],
    objective: Objective,
    axis: _Axis,
    height: Callable[[float], float],
) -> Iterator[str]:
    """Draw the bound, the value, and the area between."""
    upper: list[str] = []
    lower: list[str] = []
    areas: list[str] = []
    pairs = zip(points, [*points[1:], None], strict=True)
    for point, following in pairs:
        value = point.value(objective)
        if value is None:
            continue
        x, y = axis.place(point.capacity_bytes), height(value)
        end = x if following is None else axis.place(following.capacity_bytes)
        upper.append(f"{'L' if upper else 'M'}{x:.1f} {y:.1f}L{end:.1f} {y:.1f}")
        own = point.lower_bound(objective)
        if not lower and own is not None:
            lower.append(f"M{x:.1f} {height(own):.1f}")
        bound = None if following is None else following.lower_bound(objective)
        if bound is None:
            continue
        low = height(bound)
        lower.append(f"{'L' if lower else 'M'}{x:.1f} {low:.1f}L{end:.1f} {low:.1f}")
        if low - y > 0.5:
            areas.append(
                f"M{x:.1f} {y:.1f}L{end:.1f} {y:.1f}L{end:.1f} {low:.1f}L{x:.1f} {low:.1f}Z"
            )
    if areas:
        yield f'<path class="open" d="{"".join(areas)}"/>'
    if len(lower) > 1:
        yield f'<path class="bound" d="{"".join(lower)}"/>'
    if upper:
        yield f'<path class="value" d="{"".join(upper)}"/>'


def _mark(
    point: SweepPoint, objective: Objective, axis: _Axis, height: Callable[[float], float]
) -> str:
    value, bound = point.value(objective) or 0, point.lower_bound(objective)
    show: Callable[[float], str] = (
        format_seconds
        if objective is Objective.LATENCY
        else lambda number: format_both(round(number))
    )
    proven = bound is not None and value <= bound
    words = f"{format_both(point.capacity_bytes)}: {objective.value} {show(value)}"
    if bound is not None and not proven:
        words += f", lower bound {show(bound)}"
    return (
        f'<circle class="point {"optimal" if proven else "feasible"}" r="4.5" '
        f'cx="{axis.place(point.capacity_bytes):.1f}" cy="{height(value):.1f}">'
        f"<title>{words}{', optimal' if proven else ''}</title></circle>"
    )
