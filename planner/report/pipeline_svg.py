"""A pipeline schedule as a picture: one row per device, with its memory below."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from planner.pipelining.memory import device_memory
from planner.report.names import markup
from planner.report.pipeline_lanes import (
    KIND_NAMES,
    Block,
    chunk_of,
    first_tick,
    lanes_of,
    used_kinds,
)
from planner.report.pipeline_text import counted, format_bubble, verdict
from planner.report.quantities import format_in, format_size, time_unit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from planner.pipelining.memory import MemoryProfile
    from planner.pipelining.result import PipelineResult
    from planner.pipelining.simulator import PipelineTimeline

_WIDTH, _LEFT, _RIGHT = 1600, 86, 14
_TOP, _BOTTOM = 74, 34
_GAP = 8
_MOST_LABELS = 4000
_DIGIT = 5.6
# Blocks nearer than this on paper are drawn as one.
_MERGED = 0.3
_COLOURS = {
    "F": ("#5b9bd9", "#a9cdef"),
    "B": ("#e8894a", "#f5bf98"),
    "W": ("#59a96e", "#a9d5b5"),
    "D": ("#cf6288", "#e9aabf"),
    "S": ("#8a74c4", "#8a74c4"),
    "T": ("#c9ad3a", "#c9ad3a"),
    "O": ("#2f8c95", "#2f8c95"),
    "R": ("#6cc0c7", "#6cc0c7"),
    "G": ("#8b949e", "#8b949e"),
    "C": ("#5a626b", "#5a626b"),
}
_STYLE = """
text { font: 11px system-ui, sans-serif; fill: #4d5660; }
.title { font-size: 15px; font-weight: 600; fill: #1c2024; }
.label { font-size: 9.5px; fill: #14202b; text-anchor: middle; }
.grid { stroke: #e3e6e9; }
.held { fill: #1f5fa8; fill-opacity: 0.22; stroke: #1f5fa8; stroke-width: 0.8; }
.until { fill: none; stroke: #8a93a0; stroke-width: 0.8; stroke-dasharray: 3 2; }
.limit { stroke: #b3261e; stroke-width: 1; stroke-dasharray: 6 3; }
"""


def render_pipeline_svg(result: PipelineResult, timeline: PipelineTimeline, source: str) -> str:
    """Return the picture as an SVG file that needs nothing else.

    Neighbours of one kind that are too narrow to be told apart are merged.

    Parameters
    ----------
    timeline : PipelineTimeline
        The result's.
    source : str
        What the costs were read from.
    """
    return _Picture(result, timeline).render(source)


class _Picture:
    def __init__(self, result: PipelineResult, timeline: PipelineTimeline) -> None:
        problem = result.problem
        self.result = result
        self.lanes = lanes_of(problem, timeline)
        self.chunk = chunk_of(problem)
        self.zero = first_tick(timeline)
        last = max(
            (b.end for own in self.lanes for lane in own for b in lane.blocks), default=self.zero
        )
        self.last = max(last, self.zero + 1)
        self.scale = (_WIDTH - _LEFT - _RIGHT) / (self.last - self.zero)
        few = problem.devices <= 16
        self.row, self.side, self.plot = (22, 9, 34) if few else (14, 6, 18)
        self.held = device_memory(problem, timeline)
        self.until = device_memory(problem, timeline, keep_until_weight=True)
        limits = [limit for limit in problem.limits if limit is not None]
        peaks = [profile.peak for profile in (*self.held, *self.until)]
        self.highest = max((*peaks, *limits, 1))
        self.count = sum(len(lane.blocks) for own in self.lanes for lane in own)

    def x(self, tick: int) -> float:
        return _LEFT + (tick - self.zero) * self.scale

    def render(self, source: str) -> str:
        y = float(_TOP)
        body: list[str] = []
        for device in range(self.result.problem.devices):
            drawn, y = self._device(device, y)
            body += drawn
        height = y + _BOTTOM
        frame = [*self._head(source), *self._axis(y)]
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" '
            f'width="{_WIDTH}" height="{height:.0f}" role="img">\n'
            f"<style>{_STYLE}</style>\n"
            f'<rect width="{_WIDTH}" height="{height:.0f}" fill="#ffffff"/>\n'
            + "\n".join((*frame, *body))
            + "\n</svg>\n"
        )

    def _head(self, source: str) -> Iterator[str]:
        result = self.result
        problem = result.problem
        name = markup(result.contender or "schedule", 40)
        yield (
            f'<text class="title" x="{_LEFT}" y="24">{markup(source, 60)}: {name}, bubble '
            f"{format_bubble(result.bubble or 0.0)}, lower bound "
            f"{format_bubble(result.bubble_lower_bound)} ({escape(verdict(result))})</text>"
        )
        yield (
            f'<text x="{_LEFT}" y="42">{counted(problem.devices, "device")}, '
            f"{counted(problem.microbatches, 'microbatch', 'es')}, "
            f"{counted(len(problem.stages), 'stage')} ({result.placement}). Below each device "
            f"its memory, of {format_size(self.highest)}; dashed grey: if all is held until W"
            f"{'; dashed red: the limit' if any(x is not None for x in problem.limits) else ''}."
            "</text>"
        )
        x = float(_LEFT)
        shaded = max(self.chunk) > 0
        for kind in used_kinds(self.lanes):
            yield f'<rect x="{x:.0f}" y="54" width="14" height="10" fill="{_COLOURS[kind][0]}"/>'
            text = f"{kind} {KIND_NAMES[kind]}"
            yield f'<text x="{x + 19:.0f}" y="63">{text}</text>'
            x += 19 + 6.1 * len(text) + 16
        if shaded:
            yield f'<text x="{x:.0f}" y="63">paler: later stages of a device</text>'

    def _axis(self, bottom: float) -> Iterator[str]:
        seconds = float((self.last - self.zero) * self.result.problem.tick_s)
        unit, name = time_unit(seconds)
        step = 10 ** math.floor(math.log10(max(seconds, 1e-15) / 6))
        step = next(step * f for f in (1, 2, 5, 10, 20) if seconds / (step * f) <= 12)
        for number in range(int(seconds / step) + 1):
            x = _LEFT + number * step / seconds * (_WIDTH - _LEFT - _RIGHT)
            yield f'<path class="grid" d="M{x:.1f} {_TOP - 4}V{bottom:.0f}"/>'
            text = f"0 {name}" if number == 0 else format_in(number * step, unit)
            yield f'<text x="{x:.1f}" y="{bottom + 16:.0f}" text-anchor="middle">{text}</text>'

    def _device(self, device: int, y: float) -> tuple[list[str], float]:
        drawn = [
            f'<text x="{_LEFT - 8}" y="{y + self.row * 0.7:.1f}" text-anchor="end">device '
            f"{device}</text>"
        ]
        for lane in self.lanes[device]:
            height = self.row if lane.name == "passes" else self.side
            drawn += self._lane(lane.blocks, y, height)
            y += height + 1
        bottom = y + self.plot
        drawn.append(self._curve(self.held[device], bottom, "held", filled=True))
        drawn.append(self._curve(self.until[device], bottom, "until", filled=False))
        limit = self.result.problem.limits[device]
        if limit is not None:
            at = bottom - limit / self.highest * self.plot
            drawn.append(f'<path class="limit" d="M{_LEFT} {at:.1f}H{_WIDTH - _RIGHT}"/>')
        peak = format_size(self.held[device].peak)
        drawn.append(
            f'<text x="{_LEFT - 8}" y="{bottom - 3:.1f}" text-anchor="end" '
            f'style="font-size:9.5px">{peak}</text>'
        )
        return drawn, bottom + _GAP

    def _lane(self, blocks: Sequence[Block], y: float, height: float) -> Iterator[str]:
        paths: dict[str, list[str]] = {}
        for kind, shade, left, right in self._runs(blocks):
            colour = _COLOURS[kind][shade]
            paths.setdefault(colour, []).append(
                f"M{left:.2f} {y:.1f}h{right - left:.2f}v{height:.0f}h{left - right:.2f}z"
            )
        for colour, parts in paths.items():
            edge = ' stroke="#ffffff" stroke-width="0.5"' if len(blocks) < 400 else ""
            yield f'<path fill="{colour}"{edge} d="{"".join(parts)}"/>'
        if self.count > _MOST_LABELS or height < 14:
            return
        for block in blocks:
            text = str(block.microbatch)
            if block.microbatch < 0 or (block.end - block.start) * self.scale < _DIGIT * (
                len(text) + 0.4
            ):
                continue
            middle = (self.x(block.start) + self.x(block.end)) / 2
            yield f'<text class="label" x="{middle:.1f}" y="{y + height * 0.68:.1f}">{text}</text>'

    def _runs(self, blocks: Iterable[Block]) -> Iterator[tuple[str, int, float, float]]:
        """Kind, shade and horizontal extent of blocks, close ones of one kind merged."""
        run: tuple[str, int, float, float] | None = None
        for block in blocks:
            shade = int(block.kind in "FBWD" and self.chunk[block.stage] > 0)
            left, right = self.x(block.start), self.x(block.end)
            narrow = right - left < _MERGED * 4
            if run is not None:
                near = narrow and left - run[3] < _MERGED
                if near and run[:2] == (block.kind, shade):
                    run = (*run[:3], right)
                    continue
                yield run
            run = (block.kind, shade, left, right)
        if run is not None:
            yield run

    def _curve(self, profile: MemoryProfile, bottom: float, style: str, *, filled: bool) -> str:
        """Return the bytes over time as steps; of those within one dot, the highest."""
        points: list[tuple[float, float]] = []
        height = 0.0
        for tick, held in zip(profile.ticks, profile.held, strict=True):
            x = round(self.x(tick), 1)
            y = held / self.highest * self.plot
            if points and x - points[-1][0] < _MERGED:
                points[-1] = (points[-1][0], max(points[-1][1], y))
                height = y
                continue
            if points and height != points[-1][1]:
                points.append((points[-1][0] + _MERGED, height))
            points.append((x, y))
            height = y
        path = f"M{_LEFT} {bottom:.1f}"
        for x, y in points:
            path += f"H{x:.1f}V{bottom - y:.1f}"
        path += f"H{self.x(self.last):.1f}"
        if filled:
            path += f"V{bottom:.1f}z"
        return f'<path class="{style}" d="{path}"/>'
