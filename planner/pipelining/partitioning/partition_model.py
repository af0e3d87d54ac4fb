"""From a model to the stages of a pipeline."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite
from typing import TYPE_CHECKING

from planner.errors import UsageError
from planner.pipelining.delayed_starts import best_timeline
from planner.pipelining.memory import device_memory
from planner.pipelining.partitioning.in_flight import alternating_in_flight, microbatches_in_flight
from planner.pipelining.partitioning.operator_row import OperatorRow, device_link
from planner.pipelining.partitioning.output_layer import find_output_layer, split_output_layer
from planner.pipelining.partitioning.partition import Partition
from planner.pipelining.partitioning.partition_maker import PartitionMaker
from planner.pipelining.partitioning.training_costs import training_costs
from planner.pipelining.placements import placement as placement_of
from planner.pipelining.placements import placements_for

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from planner.graph import Graph
    from planner.pipelining.partitioning.output_layer import SplitOutputLayer
    from planner.pipelining.partitioning.training_costs import TrainingCosts
    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.schedule import PipelineSchedule
    from planner.target import Target

_MOST_ROUNDS = 6
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
    link = device_link(target, link_bandwidth, link_latency, notes)
    row = OperatorRow(
        costs, count, device_of, tuple(speeds) or (1.0,) * devices, link, output_layer
    )
    maker = PartitionMaker(
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


def _with_schedule(
    maker: PartitionMaker,
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
