"""Replays a plan with events: one compute engine, one copy engine per link.

Step ``t`` begins when step ``t - 1`` is over and every copy that ends at a boundary up to ``t`` is
finished. A copy is handed to its link at boundary ``start``; moves and copies between farther
memories, and then copies into the nearest, are handed over only when the copies of the earlier
kinds that end at that boundary are finished. In which order a link serves them, and how fast, is
told in `planner.copy_engines`. Moves inside the nearest memory have an engine of their own, the
link from that memory to itself: it does one at a time, in the order of the plan, whatever the link
says.

Operators and copies share the time of every memory but the nearest. An operator that runs for
``d`` seconds and uses such a memory itself for ``u`` seconds (`planner.cost.memory_seconds`) takes
``u / d`` of its time, at most all of it, evenly over the step; the rest is for copies. While no
operator runs, all of it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from planner.copy_engines import Copy, copy_engine, link_rates, memory_uses
from planner.cost import memory_seconds, operator_cost
from planner.errors import InvalidPlanError
from planner.measured import CostLayer, cost_layers
from planner.metrics import far_operands, measure_bytes, occupancy
from planner.plans import boundary_rank, part_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from planner.graph import Graph
    from planner.plans import Metrics, Plan
    from planner.target import Target


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
        One per transfer of the plan, to its last byte: from being first in line, its set-up
        included, or from its first byte where the link is not first in, first out.
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
    ends = [(link.source, link.destination) for link in target.links]
    for transfer in plan.transfers:
        if (transfer.source, transfer.destination) not in ends:
            raise InvalidPlanError(
                f"{target.name} has no link from {transfer.source} to {transfer.destination}, "
                f"which the plan uses at boundary {transfer.start}."
            )
    sizes = [
        part_of(transfer, graph.storages[transfer.storage].size_bytes).size_bytes
        for transfer in plan.transfers
    ]

    def taken(step: int) -> dict[str, float]:
        """Fraction of each farther memory's time that the operator of a step takes."""
        used = memory_seconds(graph, target, plan.order[step], far[step])
        used.pop(target.nearest.name, None)
        seconds = durations[step]
        return {memory: min(1.0, used_s / seconds) for memory, used_s in used.items() if seconds}

    steps, copies = _Run(plan, target, sizes, durations, taken).play()
    compute_s = math.fsum(durations)
    waits = [step.start_s - before for step, before in zip(steps, _ends(steps), strict=False)]
    last = _ends(steps)[-1]
    waits.append(max((copy.end_s for copy in copies), default=0.0) - last)
    stall_s = math.fsum(wait for wait in waits if wait > 0)
    link_bytes = dict.fromkeys(ends, 0)
    for transfer, size in zip(plan.transfers, sizes, strict=True):
        link_bytes[transfer.source, transfer.destination] += size
    return Timeline(
        steps=steps,
        transfers=copies,
        compute_s=compute_s,
        stall_s=stall_s,
        latency_s=compute_s + stall_s,
        link_bytes=link_bytes,
        peak_bytes=occupancy(graph, target, plan)[0],
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


class _Run:
    """The state of one simulation."""

    def __init__(
        self,
        plan: Plan,
        target: Target,
        sizes: Sequence[int],
        durations: Sequence[float],
        taken: Callable[[int], Mapping[str, float]],
    ) -> None:
        self.durations = durations
        self.taken = taken
        self.count = len(plan.order)
        self.engines = [copy_engine(link) for link in target.links]
        self.uses = [memory_uses(target, link) for link in target.links]
        engine_of = {
            (link.source, link.destination): engine
            for link, engine in zip(target.links, self.engines, strict=True)
        }
        self.engine_of = [engine_of[t.source, t.destination] for t in plan.transfers]
        self.pending: dict[int, tuple[list[Copy], list[Copy], list[Copy]]] = {}
        self.unfinished = [[0, 0, 0] for _ in range(self.count + 1)]
        for index, (transfer, size) in enumerate(zip(plan.transfers, sizes, strict=True)):
            rank = boundary_rank(transfer, target.nearest.name)
            copy = Copy(transfer.end, rank, index, size)
            self.pending.setdefault(transfer.start, ([], [], []))[rank].append(copy)
            self.unfinished[transfer.end][rank] += 1
        self.copied: dict[int, Interval] = {}

    def play(self) -> tuple[tuple[Interval, ...], tuple[Interval, ...]]:
        now_s, boundary = 0.0, 0
        steps: list[Interval] = []
        running: Interval | None = None
        taken: Mapping[str, float] = {}
        while True:
            if running is None:
                self.hand_over(boundary, now_s)
                if not any(self.unfinished[boundary]):
                    if boundary == self.count:
                        break
                    running = Interval(now_s, now_s + self.durations[boundary])
                    if any(engine.busy for engine in self.engines):
                        taken = self.taken(boundary)
            rates = link_rates(self.engines, self.uses, taken)
            busy = [
                (engine, rate)
                for engine, rate in zip(self.engines, rates, strict=True)
                if engine.busy
            ]
            elapsed_s = min(
                (engine.next_event_s(now_s, rate) for engine, rate in busy), default=math.inf
            )
            then_s = now_s + elapsed_s
            step_ends = running is not None and running.end_s - now_s <= elapsed_s
            if running is not None and step_ends:
                then_s = running.end_s
                elapsed_s = then_s - now_s
            elif elapsed_s == math.inf:
                raise InvalidPlanError(f"no copy can bring about boundary {boundary} of the plan.")
            for engine, rate in busy:
                for copy, start_s in engine.advance(now_s, elapsed_s, rate):
                    self.copied[copy.transfer] = Interval(start_s, then_s)
                    self.unfinished[copy.end][copy.rank] -= 1
            if running is not None and step_ends:
                steps.append(running)
                running, taken = None, {}
                boundary += 1
            now_s = then_s
        return tuple(steps), tuple(self.copied[i] for i in range(len(self.engine_of)))

    def hand_over(self, boundary: int, now_s: float) -> None:
        """Hand the copies that may begin at this boundary to their links, in order of the plan."""
        left = self.unfinished[boundary]
        for rank, copies in enumerate(self.pending.get(boundary, ())):
            if any(left[:rank]):
                return
            for copy in copies:
                self.engine_of[copy.transfer].hand_over(copy, now_s)
            copies.clear()
