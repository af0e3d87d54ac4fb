"""From a model to the stages of a pipeline."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor, isfinite, log10
from typing import TYPE_CHECKING

import numpy as np

from planner.errors import DoesNotFitError, UsageError
from planner.pipelining.delayed_starts import best_timeline
from planner.pipelining.memory import device_memory
from planner.pipelining.partitioning.in_flight import alternating_in_flight, microbatches_in_flight
from planner.pipelining.partitioning.output_layer import (
    find_output_layer,
    operator_bytes,
    split_output_layer,
)
from planner.pipelining.partitioning.partition import Partition, PartitionStage
from planner.pipelining.partitioning.partition_problem import PartitionProblem, StageBytes
from planner.pipelining.partitioning.training_costs import training_costs
from planner.pipelining.placements import placement as placement_of
from planner.pipelining.placements import placements_for
from planner.pipelining.problem import StageCosts, VocabularyLayer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from planner.graph import Graph
    from planner.pipelining.partitioning.output_layer import SplitOutputLayer
    from planner.pipelining.partitioning.training_costs import TrainingCosts
    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.schedule import PipelineSchedule
    from planner.target import Target

_DIGITS_OF_SHARE = 4
_MOST_ROUNDS = 6
_LONGEST_SHARE_S = 1e6
_MOST_SHARES_TO_SEND = 1e4
_LEAST_SPEED, _MOST_SPEED = 1e-6, 1e6


def partition_model(
    graph: Graph,
    target: Target,
    *,
    devices: int,
    microbatches: int,
    chunks: int = 1,
    placement: str | None = None,
    memory_limit: int | None = None,
    link_bandwidth: float | None = None,
    link_latency: float | None = None,
    speeds: Sequence[float] = (),
    vocabulary: int = 0,
    schedule: Callable[[PipelineProblem], PipelineSchedule] | None = None,
) -> Partition:
    """Cut a model into balanced stages.

    The busiest stage is as short as can be, the time to send its results included; of the
    partitions that reach it, the one that sends the fewest bytes. With V placement the two stages
    of a device are balanced together.

    Parameters
    ----------
    graph : Graph
        The forward pass, lowered with the batch of one microbatch.
    target : Target
        Each device; prices the operators.
    devices, microbatches : int
    chunks : int
        Stages per device.
    placement : str, optional
        ``linear``, ``looped`` or ``v``; by default the first that is made for so many chunks.
    memory_limit : int, optional
        Bytes of each device for weights, gradients, optimizer and activations.
    link_bandwidth, link_latency : float, optional
        Bytes per second and seconds between devices. By default those of the target's link from
        its nearest memory to the next; where it has none, sending costs nothing.
    speeds : sequence of float
        Per device, how many times as fast as the target it computes; empty for all 1.
    vocabulary : int
        Barriers (1 or 2) of an output layer that is split over all devices; 0 leaves it in the
        last stage.
    schedule : callable, optional
        Plans a partition. Under a memory limit the microbatches in flight are then those of its
        schedule; without it, those of one forward and one backward pass in turn.

    Raises
    ------
    planner.errors.UsageError
        On numbers that make no sense, more stages than operators, or no output layer to split.
    planner.errors.LoweringError
        If the graph cannot be trained.
    planner.errors.DoesNotFitError
        If no partition fits the memory limit even with one microbatch in flight.
    """
    _refuse_nonsense(
        devices, microbatches, chunks, memory_limit, link_bandwidth, link_latency, speeds
    )
    _refuse_too_many_stages(graph, len(graph.operators), devices, chunks)
    name = placement if placement is not None else placements_for(chunks)[0]
    device_of = placement_of(name, devices, chunks)
    costs = training_costs(graph, target)
    notes = list(graph.notes)
    if costs.unknown:
        notes.append(_note(costs))
    output_layer = None
    if vocabulary:
        output_layer = _split_layer(costs, devices, vocabulary)
    count = len(graph.operators) if output_layer is None else output_layer.layer.first
    _refuse_too_many_stages(graph, count, devices, chunks)
    link = _link(target, link_bandwidth, link_latency, notes)
    row = _OperatorRow(
        costs, count, device_of, tuple(speeds) or (1.0,) * devices, link, output_layer
    )
    maker = _PartitionMaker(
        row,
        Partition(
            model=graph.model.name,
            target=target.name,
            operators=len(graph.operators),
            stages=(),
            placement=name,
            devices=devices,
            microbatches=microbatches,
            tick_s=row.tick_s,
            link_bandwidth=link.bandwidth,
            link_latency_s=link.latency_s,
            memory_limit=memory_limit,
            largest_load=0,
            ideal_load=0,
            vocabulary=row.vocabulary(vocabulary),
            output_layer=output_layer,
            notes=tuple(notes),
        ),
    )
    partition = maker.fitting(alternating_in_flight(len(device_of), chunks, microbatches))
    if memory_limit is None or schedule is None:
        return partition
    return _with_schedule(maker, partition, schedule)


@dataclass(frozen=True, slots=True)
class _DeviceLink:
    bandwidth: float | None
    latency_s: float

    def seconds(self, size_bytes: float) -> float:
        if not size_bytes:
            return 0.0
        return self.latency_s + (size_bytes / self.bandwidth if self.bandwidth else 0.0)


class _OperatorRow:
    """The operators that stages are made of, in ticks and bytes."""

    def __init__(
        self,
        costs: TrainingCosts,
        count: int,
        device_of: tuple[int, ...],
        speeds: tuple[float, ...],
        link: _DeviceLink,
        output_layer: SplitOutputLayer | None,
    ) -> None:
        self.costs, self.count, self.device_of = costs, count, device_of
        self.link, self.output_layer = link, output_layer
        self.crossing = costs.crossing_bytes[: count + 1].copy()
        self.crossing[count] = 0
        sends_s = [link.seconds(size) for size in self.crossing.tolist()]
        work = float((costs.forward_s + costs.backward_s + costs.weight_s)[:count].sum())
        share_s = work / min(speeds) / len(speeds) or 1.0
        if not max(share_s, *sends_s) <= _LONGEST_SHARE_S:
            raise UsageError(
                f"a device would take {share_s:.3g} s for a microbatch, and {max(sends_s):.3g} s "
                "to send its results: more than can be planned. Give a faster link or target."
            )
        # Partitions for other placements have the same ticks, so that they can be compared; and
        # sums of ticks stay exact in 64 bits, however slow the link.
        share_s = max(share_s, max(sends_s) / _MOST_SHARES_TO_SEND)
        self.tick_s = Fraction(10) ** (floor(log10(share_s)) - _DIGITS_OF_SHARE)
        passes = (costs.forward_s, costs.backward_s, costs.weight_s)
        self.ticks = np.array(
            [[self._prefix(seconds[:count] / speed) for seconds in passes] for speed in speeds]
        )
        """Of shape [devices, passes, count + 1]: ticks of the first operators."""
        self.sends = np.array([self.in_ticks(seconds) for seconds in sends_s])
        self.bytes = tuple(operator_bytes(costs, operator) for operator in range(count))
        self.speeds = speeds

    def _prefix(self, seconds: NDArray[np.float64]) -> NDArray[np.int64]:
        # Sums are rounded, not single operators, so that no error adds up.
        sums = np.concatenate(([0.0], np.cumsum(seconds)))
        return np.rint(sums / float(self.tick_s)).astype(np.int64)

    def in_ticks(self, seconds: float) -> int:
        """Return so many seconds as ticks, rounded up."""
        return ceil(seconds / float(self.tick_s))

    def problem(self, in_flight: tuple[int, ...], memory_limit: int | None) -> PartitionProblem:
        limit = memory_limit
        if limit is not None and self.output_layer is not None:
            limit -= self.output_layer.state_bytes + self.output_layer.activation_bytes
        return PartitionProblem(
            loads=self.ticks.sum(axis=1),
            communication=self.sends,
            crossing_bytes=self.crossing,
            operators=self.bytes,
            device_of=self.device_of,
            in_flight=in_flight,
            capacities=(limit,) * len(self.speeds),
        )

    def vocabulary(self, barriers: int) -> VocabularyLayer | None:
        """Return the split output layer's passes.

        With one barrier S computes the gradient of the operand too, with two T does. A barrier
        is an all-reduce around a ring of the devices.
        """
        split = self.output_layer
        if split is None:
            return None
        devices = len(self.speeds)
        early = split.backward_s if barriers == 1 else 0.0
        slowest = min(self.speeds)
        around = 2 * (devices - 1)
        barrier_s = around * self.link.seconds(split.reduced_bytes / devices)
        return VocabularyLayer(
            forward=self.in_ticks((split.forward_s + early) / slowest),
            backward=self.in_ticks((split.weight_s + split.backward_s - early) / slowest),
            broadcast=self.in_ticks(self.link.seconds(split.operand_bytes)),
            barrier=self.in_ticks(barrier_s),
            barriers=barriers,
            activation_bytes=split.activation_bytes,
        )


class _PartitionMaker:
    """Partitions of one model, for whatever number of microbatches in flight."""

    def __init__(self, row: _OperatorRow, empty: Partition) -> None:
        self.row, self.empty = row, empty

    def fitting(self, in_flight: tuple[int, ...]) -> Partition:
        """Return the best partition that fits with as many in flight as possible, and no more.

        Raises
        ------
        planner.errors.DoesNotFitError
            If there is none with one in flight.
        """
        limit = self.empty.memory_limit
        found = self._best(in_flight, limit)
        if found is not None:
            return found
        low, high = 0, max(in_flight)
        while high - low > 1:
            most = (low + high) // 2
            fewer = self._best(tuple(min(count, most) for count in in_flight), limit)
            if fewer is None:
                high = most
            else:
                low, found = most, fewer
        if found is None:
            found = self._best((1,) * len(in_flight), limit)
            low = 1
        if found is None:
            raise self._no_fit()
        return found.with_notes(
            f"The memory limit leaves room for {low} microbatches in flight per stage, instead of "
            f"up to {max(in_flight)}."
        )

    def _best(self, in_flight: tuple[int, ...], limit: int | None) -> Partition | None:
        from solvers.pipeline.partition import best_partition

        problem = self.row.problem(in_flight, limit)
        cuts = best_partition(problem)
        return None if cuts is None else self._partition(problem, cuts)

    def _no_fit(self) -> DoesNotFitError:
        limit = self.empty.memory_limit or 0
        once = (1,) * len(self.row.device_of)
        low, high = limit, 2 * max(limit, 1)
        while self._best(once, high) is None:
            low, high = high, 2 * high
        while high - low > high // 100 + 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._best(once, middle) else (middle, high)
        exact = len(once) == self.empty.devices
        return DoesNotFitError(
            f"{self.empty.model} does not fit {self.empty.devices} devices of {limit:,} B each, "
            "weights, gradients, optimizer and one microbatch per stage included. About "
            f"{high:,} B would do. Use more devices, or a smaller batch per microbatch.",
            proven=exact,
        )

    def _partition(self, problem: PartitionProblem, cuts: tuple[int, ...]) -> Partition:
        stages = []
        for stage, (first, end) in enumerate(pairwise(cuts)):
            stages.append(self._stage(problem, stage, first, end))
        busy = problem.loads[:, -1].astype(float)
        # Devices that share the work in proportion to their speeds end at once.
        parts = 1 if problem.pairs else problem.stages // self.empty.devices
        ideal = 1.0 / sum(1.0 / ticks for ticks in busy if ticks) / parts if busy.any() else 0.0
        return replace(
            self.empty,
            stages=tuple(stages),
            largest_load=problem.largest_load(cuts),
            ideal_load=ceil(ideal - 1e-9),
        )

    def _stage(self, problem: PartitionProblem, stage: int, first: int, end: int) -> PartitionStage:
        row, operators = self.row, self.row.costs.graph.operators
        held = StageBytes()
        for operator in problem.operators[first:end]:
            held.add(operator)
        device = problem.device_of[stage]
        forward, backward, weight = (int(t[end] - t[first]) for t in row.ticks[device])
        weights = {w.key: w.elements for ws in row.costs.weights[first:end] for w in ws}
        costs = StageCosts(
            forward=forward,
            backward=backward,
            weight=weight,
            activation_bytes=held.activation,
            kept_bytes=held.kept.total,
            communication=int(row.sends[end]),
        )
        return PartitionStage(
            first=first,
            last=end - 1,
            first_name=operators[first].name or operators[first].type,
            last_name=operators[end - 1].name or operators[end - 1].type,
            device=device,
            costs=costs,
            saved_bytes=held.saved.total,
            kept_bytes=held.kept.total,
            parameters=sum(weights.values()),
            state_bytes=held.states.total,
            cut_bytes=int(problem.crossing_bytes[end]),
            in_flight=problem.in_flight[stage],
        )


def _with_schedule(
    maker: _PartitionMaker,
    partition: Partition,
    schedule: Callable[[PipelineProblem], PipelineSchedule],
) -> Partition:
    """Partition, schedule, measure, until what the schedule holds fits."""
    seen = {tuple(stage.in_flight for stage in partition.stages)}
    for _ in range(_MOST_ROUNDS):
        problem = partition.problem()
        timeline = best_timeline(problem, _scheduled(problem, schedule))
        peaks = [profile.peak for profile in device_memory(problem, timeline)]
        limits = partition.activation_limits
        if all(most is None or peak <= most for peak, most in zip(peaks, limits, strict=True)):
            return partition
        in_flight = microbatches_in_flight(problem, timeline)
        if in_flight in seen:
            break
        seen.add(in_flight)
        partition = maker.fitting(in_flight)
    return partition.with_notes(
        "No partition was found whose schedule fits the memory limit: the schedule has to hold "
        "fewer microbatches."
    )


def _scheduled(
    problem: PipelineProblem, schedule: Callable[[PipelineProblem], PipelineSchedule]
) -> PipelineSchedule:
    """Return the schedule within the limits, or what it needs without them."""
    from solvers.pipeline.constructors.catalogue import InapplicableError

    try:
        return schedule(problem)
    except InapplicableError:
        return schedule(replace(problem, limits=(None,) * problem.devices))


def _split_layer(costs: TrainingCosts, devices: int, barriers: int) -> SplitOutputLayer:
    if barriers not in (1, 2):
        raise UsageError(f"{barriers} barriers of the output layer: there are 1 or 2, or 0.")
    layer = find_output_layer(costs)
    if layer is None:
        raise UsageError(
            f"{costs.graph.model.name} has no output layer to split over the devices: its last "
            "product with weights does not widen its operand more than fourfold, or other "
            "operators follow. Plan it without vocabulary parallelism."
        )
    return split_output_layer(costs, layer, devices)


def _refuse_too_many_stages(graph: Graph, count: int, devices: int, chunks: int) -> None:
    if count and count < devices * chunks:
        raise UsageError(
            f"{graph.model.name} has {count:,} operator{'s' * (count > 1)}, which cannot be cut "
            f"into {devices * chunks} stages ({devices} devices x {chunks} chunks): give fewer."
        )


def _link(
    target: Target, bandwidth: float | None, latency: float | None, notes: list[str]
) -> _DeviceLink:
    if bandwidth is not None:
        return _DeviceLink(bandwidth, latency or 0.0)
    far = target.spill_memory
    link = None if far is None else target.link(target.nearest.name, far.name)
    if link is None:
        notes.append(
            f"Target {target.name!r} has no link out of its nearest memory: sending costs "
            + ("the latency alone." if latency else "nothing.")
        )
        return _DeviceLink(None, latency or 0.0)
    notes.append(
        f"Devices are taken to be linked as {link.source} is to {link.destination}: "
        f"{link.bandwidth / 1e9:g} GB/s."
    )
    return _DeviceLink(link.bandwidth, link.setup_s if latency is None else latency)


def _note(costs: TrainingCosts) -> str:
    types = ", ".join(f"{name} ({count})" for name, count in sorted(costs.unknown.items()))
    return f"Without a rule for its gradient, and taken to save all it touches: {types}."


def _refuse_nonsense(
    devices: int,
    microbatches: int,
    chunks: int,
    memory_limit: int | None,
    link_bandwidth: float | None,
    link_latency: float | None,
    speeds: Sequence[float],
) -> None:
    for number, what in ((devices, "device"), (chunks, "chunk"), (microbatches, "microbatch")):
        if number < 1:
            raise UsageError(f"{number} {what}{'e' * (what[-1] == 'h')}s: there must be one.")
    if memory_limit is not None and memory_limit < 0:
        raise UsageError(f"a memory limit of {memory_limit} B is negative.")
    if link_bandwidth is not None and not (isfinite(link_bandwidth) and link_bandwidth > 0):
        raise UsageError(f"a link bandwidth of {link_bandwidth:g} B/s: it must be above 0.")
    if link_latency is not None and not (isfinite(link_latency) and link_latency >= 0):
        raise UsageError(f"a link latency of {link_latency:g} s: it must not be negative.")
    if speeds and len(speeds) != devices:
        raise UsageError(f"{len(speeds)} speeds for {devices} devices.")
    for device, speed in enumerate(speeds):
        if not _LEAST_SPEED <= speed <= _MOST_SPEED:
            raise UsageError(
                f"device {device}: a speed of {speed:g} is not between {_LEAST_SPEED:g} and "
                f"{_MOST_SPEED:g} of the target's."
            )
