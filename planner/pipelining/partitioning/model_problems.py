"""A model as pipeline problems: one for each placement worth trying."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from planner.errors import DoesNotFitError, UsageError
from planner.pipelining.memory_limits import memory_limits
from planner.pipelining.partitioning.partition_model import partition_model
from planner.pipelining.placements import placements_for
from planner.pipelining.problem import PipelineObjective

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.graph import Graph
    from planner.pipelining.partitioning.partition import Partition
    from planner.pipelining.problem import PipelineProblem
    from planner.target import Target


class ModelProblems(NamedTuple):
    """Partitions of one model, and what is left to plan of each.

    Attributes
    ----------
    partitions : dict of str to Partition
    problems : dict of str to PipelineProblem
        By the name of the placement, in the same ticks: what `planner.pipelining.race.race` takes.
    """

    partitions: dict[str, Partition]
    problems: dict[str, PipelineProblem]


def model_problems(
    graph: Graph,
    target: Target,
    *,
    devices: int,
    microbatches: int,
    chunks: int = 1,
    placements: Sequence[str] | None = None,
    memory_limit: int | str | Sequence[int | str | None] | None = None,
    link_bandwidth: float | None = None,
    link_latency: float | None = None,
    speeds: Sequence[float] = (),
    vocabulary: int = 0,
    objective: PipelineObjective = PipelineObjective.LONGEST_STAGE,
) -> ModelProblems:
    """Cut a model into stages for each placement.

    Parameters
    ----------
    memory_limit : int, str, sequence or None
        Of each device. Bytes, also as ``80GB``, are for weights, gradients, optimizer and
        activations; a multiple, ``0.75x``, is one of the activations of 1F1B, with weights and all
        that belongs to them beside it. Only multiples may differ from device to device.
    placements : sequence of str, optional
        By default those worth trying with so many chunks.
    objective : PipelineObjective
    graph, target, devices, microbatches, chunks, link_bandwidth, link_latency, speeds, vocabulary
        As for `planner.pipelining.partitioning.partition_model.partition_model`.

    Raises
    ------
    planner.errors.PlannerError
        As for `partition_model`; that there is no room, only if that is so for every placement.
    """
    if isinstance(memory_limit, list | tuple):
        stated = [*memory_limit]
    else:
        stated = memory_limit.split(",") if isinstance(memory_limit, str) else [memory_limit]
    multiple = all(isinstance(one, str) and one.strip()[-1:] in ("x", "X") for one in stated)
    if not multiple and len(stated) > 1:
        raise UsageError(
            "of a model, the memory limit is one size for all devices, or multiples as 0.75x, one "
            "for all or one for each."
        )
    capacity = None
    if memory_limit is not None and not multiple:
        capacity = memory_limits(memory_limit, (), 1, microbatches)[0]
    partitions: dict[str, Partition] = {}
    misfit: DoesNotFitError | None = None
    for name in placements or placements_for(max(chunks, 1)):
        try:
            partitions[name] = partition_model(
                graph,
                target,
                devices=devices,
                microbatches=microbatches,
                chunks=chunks,
                placement=name,
                memory_limit=capacity,
                link_bandwidth=link_bandwidth,
                link_latency=link_latency,
                speeds=speeds,
                vocabulary=vocabulary,
            )
        except DoesNotFitError as error:
            misfit = error
    if misfit is not None and not partitions:
        raise misfit
    limits = None
    if multiple:
        first = next(iter(partitions.values()))
        stages = [stage.costs for stage in first.stages]
        limits = memory_limits(memory_limit, stages, devices, microbatches)
    problems = {
        name: partition.problem(limits=limits, objective=objective)
        for name, partition in partitions.items()
    }
    return ModelProblems(partitions, problems)
