"""Replays a plan with events: one compute engine, one copy engine per link.

Moves inside the nearest memory have an engine of their own, the link from that memory to itself:
it does one at a time, in the order of the plan, whatever its channels.

Step ``t`` begins when step ``t - 1`` is over and every copy that ends at a boundary up to ``t`` is
finished. A copy is handed to its link at boundary ``start``; moves and copies between farther
memories, and then copies into the nearest, are handed over only when the copies of the earlier
kinds that end at that boundary are finished. A link serves its copies first in, first out; up to
``channels`` of them are in flight at once and share its bandwidth equally.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from planner.cost import operator_cost
from planner.errors import InvalidPlanError
from planner.measured import CostLayer, cost_layers
from planner.metrics import far_operands, measure_bytes
from planner.plans import boundary_rank, part_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from planner.graph import Graph
    from planner.plans import Metrics, Plan
    from planner.target import Link, Target


class Interval(NamedTuple):
    """Seconds since the plan began."""

    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Timeline:
    """When everything happens.

    Attributes
    ----------
    steps : tuple of Interval
        One per step of the plan.
    transfers : tuple of Interval
        One per transfer of the plan, from being first in line to the last byte.
    compute_s, stall_s, latency_s : float
        Operators at work; the compute engine waiting for copies; their sum, the whole run.
    link_bytes : mapping of (source, destination) to int
        Bytes over each link of the target, moves inside the nearest memory included.
    peak_bytes : mapping of memory name to int
    cost_source : str
        ``roofline``: times are computed from the target's rates; ``measured``: of some operators
        from its measured times.
    """

    steps: tuple[Interval, ...]
    transfers: tuple[Interval, ...]
    compute_s: float
    stall_s: float
    latency_s: float
    link_bytes: Mapping[tuple[str, str], int]
    peak_bytes: Mapping[str, int]
    cost_source: str = "roofline"


def measure(graph: Graph, plan: Plan) -> Metrics:
    """Everything that a plan's metrics claim, bounds apart; times where its target gives rates."""
    metrics = measure_bytes(graph, plan.target, plan)
    if plan.target.compute is None:
        return metrics
    timeline = simulate(graph, plan.target, plan)
    return replace(
        metrics,
        latency_s=timeline.latency_s,
        compute_s=timeline.compute_s,
        stall_s=timeline.stall_s,
        cost_source=timeline.cost_source,
    )


def simulate(graph: Graph, target: Target, plan: Plan) -> Timeline:
    """Run a legal plan in simulated time.

    Raises
    ------
    InvalidPlanError
        If a transfer uses a link that the target lacks; `planner.check` finds such plans.
    UsageError
        If the target gives no rates.
    """
    far = far_operands(graph, target, plan)
    durations = [
        operator_cost(graph, target, operator, far[step]).seconds
        for step, operator in enumerate(plan.order)
    ]
    engines = {(link.source, link.destination): _Engine(link) for link in target.links}
    for transfer in plan.transfers:
        if (transfer.source, transfer.destination) not in engines:
            raise InvalidPlanError(
                f"{target.name} has no link from {transfer.source} to {transfer.destination}, "
                f"which the plan uses at boundary {transfer.start}."
            )
    sizes = [
        part_of(transfer, graph.storages[transfer.storage].size_bytes).size_bytes
        for transfer in plan.transfers
    ]
    steps, copies = _Run(plan, target.nearest.name, engines, sizes, durations).play()
    compute_s = math.fsum(durations)
    waits = [step.start_s - before for step, before in zip(steps, _ends(steps), strict=False)]
    last = _ends(steps)[-1]
    waits.append(max((copy.end_s for copy in copies), default=0.0) - last)
    stall_s = math.fsum(wait for wait in waits if wait > 0)
    link_bytes = dict.fromkeys(engines, 0)
    for transfer, size in zip(plan.transfers, sizes, strict=True):
        link_bytes[transfer.source, transfer.destination] += size
    return Timeline(
        steps=steps,
        transfers=copies,
        compute_s=compute_s,
        stall_s=stall_s,
        latency_s=compute_s + stall_s,
        link_bytes=link_bytes,
        peak_bytes=measure_bytes(graph, target, plan).peak_bytes,
        cost_source=_cost_source(graph, target),
    )


def _cost_source(graph: Graph, target: Target) -> str:
    if target.compute is None or target.compute.measured is None:
        return "roofline"
    layers = cost_layers(graph, target)
    measured = layers[CostLayer.MEASURED] + layers[CostLayer.FITTED]
    return "measured" if measured else "roofline"


def latency_lower_bound(graph: Graph, target: Target) -> float:
    """Seconds that no plan of the graph on the target can beat.

    Every operator runs once, one at a time, no faster than with all operands in the best place
    that the target allows, and nothing stalls.

    Raises
    ------
    UsageError
        If the target gives no rates.
    """
    fastest = _fastest_operands(target)
    return math.fsum(
        operator_cost(graph, fastest, operator).seconds for operator in range(len(graph.operators))
    )


def _fastest_operands(target: Target) -> Target:
    """Return the target with a nearest memory as fast as the best that operands may lie in.

    Constants in a memory that operands may share pay its latency for both.
    """
    if target.operands_resident:
        return target
    usable = [memory for memory in target.memories if memory.writable]
    shared = any(memory.name == target.constant_memory for memory in usable[1:])
    near = replace(
        target.nearest,
        read_bandwidth=max((m.read_bandwidth or 0.0 for m in usable), default=0.0),
        write_bandwidth=max((m.write_bandwidth or 0.0 for m in usable), default=0.0),
        latency_s=0.0 if shared else min((m.latency_s for m in usable), default=0.0),
    )
    return replace(target, memories=(near, *target.memories[1:]))


def _ends(steps: tuple[Interval, ...]) -> list[float]:
    return [0.0, *(step.end_s for step in steps)]


class _Copy:
    """A copy in flight: what is left of its set-up and of its bytes."""

    __slots__ = ("bytes_left", "index", "setup_left_s", "start_s")

    def __init__(self, index: int, size: int, setup_s: float, start_s: float) -> None:
        self.index = index
        self.bytes_left = float(size)
        self.setup_left_s = setup_s
        self.start_s = start_s


class _Engine:
    """The copy engine of one link."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.channels = 1 if link.source == link.destination else link.channels
        self.waiting: deque[tuple[int, int]] = deque()
        self.active: list[_Copy] = []

    def admit(self, now_s: float) -> None:
        while self.waiting and len(self.active) < self.channels:
            index, size = self.waiting.popleft()
            self.active.append(_Copy(index, size, self.link.setup_s, now_s))

    def _remaining_s(self, copy: _Copy, moving: int) -> float:
        if copy.setup_left_s > 0:
            return copy.setup_left_s
        return copy.bytes_left * moving / self.link.bandwidth

    def _moving(self) -> int:
        return sum(copy.setup_left_s <= 0 for copy in self.active)

    def next_event_s(self) -> float:
        """Seconds until a set-up or a copy ends; infinite when idle."""
        moving = self._moving()
        return min((self._remaining_s(copy, moving) for copy in self.active), default=math.inf)

    def advance(self, elapsed_s: float) -> list[_Copy]:
        """Let time pass, no further than the next event; return the copies that are finished."""
        moving = self._moving()
        done = []
        for copy in self.active:
            ends = self._remaining_s(copy, moving) <= elapsed_s
            if copy.setup_left_s > 0:
                copy.setup_left_s = 0.0 if ends else copy.setup_left_s - elapsed_s
                if ends and not copy.bytes_left:
                    done.append(copy)
            elif ends:
                done.append(copy)
            else:
                moved = elapsed_s * self.link.bandwidth / moving
                copy.bytes_left = max(0.0, copy.bytes_left - moved)
        self.active = [copy for copy in self.active if copy not in done]
        return done


class _Run:
    """The state of one simulation."""

    def __init__(
        self,
        plan: Plan,
        near: str,
        engines: dict[tuple[str, str], _Engine],
        sizes: list[int],
        durations: list[float],
    ) -> None:
        self.transfers = plan.transfers
        self.near = near
        self.engines = engines
        self.sizes = sizes
        self.durations = durations
        self.count = len(plan.order)
        self.pending: dict[int, tuple[list[int], list[int], list[int]]] = {}
        self.unfinished = [[0, 0, 0] for _ in range(self.count + 1)]
        for index, transfer in enumerate(plan.transfers):
            rank = boundary_rank(transfer, self.near)
            self.pending.setdefault(transfer.start, ([], [], []))[rank].append(index)
            self.unfinished[transfer.end][rank] += 1
        self.copied: dict[int, Interval] = {}

    def play(self) -> tuple[tuple[Interval, ...], tuple[Interval, ...]]:
        now_s, boundary = 0.0, 0
        steps: list[Interval] = []
        running: Interval | None = None
        while True:
            if running is None:
                self.hand_over(boundary, now_s)
                if not any(self.unfinished[boundary]):
                    if boundary == self.count:
                        break
                    running = Interval(now_s, now_s + self.durations[boundary])
            busy = [engine for engine in self.engines.values() if engine.active]
            elapsed_s = min((engine.next_event_s() for engine in busy), default=math.inf)
            step_ends = running is not None and running.end_s - now_s <= elapsed_s
            if running is not None and step_ends:
                elapsed_s = running.end_s - now_s
            elif elapsed_s == math.inf:
                raise InvalidPlanError(f"no copy can bring about boundary {boundary} of the plan.")
            for engine in busy:
                for copy in engine.advance(elapsed_s):
                    transfer = self.transfers[copy.index]
                    self.copied[copy.index] = Interval(copy.start_s, now_s + elapsed_s)
                    self.unfinished[transfer.end][boundary_rank(transfer, self.near)] -= 1
                engine.admit(now_s + elapsed_s)
            if running is not None and step_ends:
                steps.append(running)
                now_s, running = running.end_s, None
                boundary += 1
            else:
                now_s += elapsed_s
        return tuple(steps), tuple(self.copied[i] for i in range(len(self.transfers)))

    def hand_over(self, boundary: int, now_s: float) -> None:
        """Queue the copies that may begin at this boundary, in the order of the plan."""
        left = self.unfinished[boundary]
        for rank, indices in enumerate(self.pending.get(boundary, ())):
            if any(left[:rank]):
                return
            for index in indices:
                transfer = self.transfers[index]
                engine = self.engines[transfer.source, transfer.destination]
                engine.waiting.append((index, self.sizes[index]))
                engine.admit(now_s)
            indices.clear()
