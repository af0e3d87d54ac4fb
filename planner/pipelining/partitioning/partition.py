"""A model cut into the stages of a pipeline, with what each costs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from planner.pipelining.problem import (
    PipelineObjective,
    PipelineProblem,
    StageCosts,
    VocabularyLayer,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from fractions import Fraction

    from planner.pipelining.partitioning.output_layer import SplitOutputLayer


@dataclass(frozen=True, slots=True)
class PartitionStage:
    """Consecutive operators of a model.

    Attributes
    ----------
    first, last : int
        Indices into ``Graph.operators``, both included.
    first_name, last_name : str
        Their names; types where they have none.
    device : int
    costs : StageCosts
        Its ``activation_bytes`` is the larger of ``saved_bytes`` and ``kept_bytes``.
    saved_bytes, kept_bytes : int
        Of one microbatch from F to B, and from B to W: see
        `planner.pipelining.partitioning.training_costs`.
    parameters : int
        Trained elements.
    state_bytes : int
        Weights, their gradients and the optimizer's states.
    cut_bytes : int
        Bytes alive across the cut to the next stage; 0 for the last.
    in_flight : int
        Microbatches that the partition reckons with at once.
    """

    first: int
    last: int
    first_name: str
    last_name: str
    device: int
    costs: StageCosts
    saved_bytes: int
    kept_bytes: int
    parameters: int
    state_bytes: int
    cut_bytes: int
    in_flight: int


@dataclass(frozen=True, slots=True)
class Partition:
    """Stages of a model on devices.

    Attributes
    ----------
    model, target : str
        Their names.
    operators : int
        Of the whole model.
    stages : tuple of PartitionStage
    placement : str
        Its name, see `planner.pipelining.placements`.
    devices, microbatches : int
    tick_s : fractions.Fraction
        Seconds of one tick.
    link_bandwidth : float or None
        Bytes per second between devices; None where sending costs nothing.
    link_latency_s : float
    memory_limit : int or None
        Bytes of each device, weights and optimizer included.
    largest_load : int
        Ticks of the busiest stage (with V placement, of the busiest device) for one microbatch,
        with what it sends to the next.
    ideal_load : int
        The same if work could be divided without end and sending cost nothing.
    vocabulary : VocabularyLayer or None
        The output layer, split over all devices.
    output_layer : SplitOutputLayer or None
        The same in seconds and bytes.
    notes : tuple of str
        What was assumed, one sentence each.
    """

    model: str
    target: str
    operators: int
    stages: tuple[PartitionStage, ...]
    placement: str
    devices: int
    microbatches: int
    tick_s: Fraction
    link_bandwidth: float | None
    link_latency_s: float
    memory_limit: int | None
    largest_load: int
    ideal_load: int
    vocabulary: VocabularyLayer | None = None
    output_layer: SplitOutputLayer | None = None
    notes: tuple[str, ...] = ()

    @property
    def device_of(self) -> tuple[int, ...]:
        """The device of each stage."""
        return tuple(stage.device for stage in self.stages)

    @property
    def state_bytes(self) -> tuple[int, ...]:
        """Per device, bytes that are there all the time: weights, gradients, optimizer."""
        split = 0 if self.output_layer is None else self.output_layer.state_bytes
        totals = [split] * self.devices
        for stage in self.stages:
            totals[stage.device] += stage.state_bytes
        return tuple(totals)

    @property
    def activation_limits(self) -> tuple[int | None, ...]:
        """Per device, bytes that are left for activations; None without a limit."""
        if self.memory_limit is None:
            return (None,) * self.devices
        return tuple(self.memory_limit - held for held in self.state_bytes)

    def problem(
        self,
        *,
        limits: Sequence[int | None] | None = None,
        objective: PipelineObjective = PipelineObjective.LONGEST_STAGE,
    ) -> PipelineProblem:
        """Return what is left to plan: the order of the passes.

        Parameters
        ----------
        limits : sequence of (int or None), optional
            Bytes per device for activations instead of what the memory limit leaves.
        objective : PipelineObjective
        """
        return PipelineProblem(
            stages=tuple(stage.costs for stage in self.stages),
            device_of=self.device_of,
            microbatches=self.microbatches,
            limits=self.activation_limits if limits is None else tuple(limits),
            tick_s=self.tick_s,
            objective=objective,
            vocabulary=self.vocabulary,
        )

    def with_notes(self, *notes: str) -> Partition:
        """Return a copy with more notes."""
        return replace(self, notes=(*self.notes, *notes))


def partition_fields(partition: Partition) -> dict[str, Any]:
    """Return the partition as JSON has it: seconds, bytes, and indices of operators."""
    tick = partition.tick_s

    def seconds(ticks: int) -> float:
        return float(ticks * tick)

    fields: dict[str, Any] = {
        "model": partition.model,
        "target": partition.target,
        "operators": partition.operators,
        "placement": partition.placement,
        "devices": partition.devices,
        "microbatches": partition.microbatches,
        "tick_s": float(tick),
        "memory_limit": partition.memory_limit,
        "link_bandwidth": partition.link_bandwidth,
        "link_latency_s": partition.link_latency_s,
        "largest_load_s": seconds(partition.largest_load),
        "ideal_load_s": seconds(partition.ideal_load),
        "state_bytes": list(partition.state_bytes),
        "stages": [
            {
                "device": stage.device,
                "first": stage.first,
                "last": stage.last,
                "first_name": stage.first_name,
                "last_name": stage.last_name,
                "forward_s": seconds(stage.costs.forward),
                "backward_s": seconds(stage.costs.backward),
                "weight_s": seconds(stage.costs.weight),
                "communication_s": seconds(stage.costs.communication),
                "saved_bytes": stage.saved_bytes,
                "kept_bytes": stage.kept_bytes,
                "parameters": stage.parameters,
                "state_bytes": stage.state_bytes,
                "cut_bytes": stage.cut_bytes,
                "in_flight": stage.in_flight,
            }
            for stage in partition.stages
        ],
        "vocabulary": None,
        "notes": list(partition.notes),
    }
    layer, split = partition.vocabulary, partition.output_layer
    if layer is not None and split is not None:
        fields["vocabulary"] = {
            "size": split.layer.vocabulary,
            "first": split.layer.first,
            "forward_s": seconds(layer.forward),
            "backward_s": seconds(layer.backward),
            "broadcast_s": seconds(layer.broadcast),
            "barrier_s": seconds(layer.barrier),
            "barriers": layer.barriers,
            "activation_bytes": layer.activation_bytes,
            "state_bytes": split.state_bytes,
        }
    return fields
