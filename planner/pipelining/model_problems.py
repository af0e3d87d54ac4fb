"""A model as problems: cut into stages for each placement, then limits and links to the host."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from planner.errors import DoesNotFitError, UsageError
from planner.pipelining.costs import ProblemFamily, placement_names
from planner.pipelining.memory_limits import memory_limits
from planner.pipelining.partition_model import partition_model
from planner.pipelining.problem import Offloading, PipelineObjective

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.graph import Graph
    from planner.pipelining.partition import Partition
    from planner.pipelining.problem import PipelineProblem
    from planner.target import Target


class HostLink(NamedTuple):
    """Where activations may be offloaded to, see `planner.pipelining.api.pipeline`."""

    offload_bandwidth: int
    reload_bandwidth: int
    streams: int
    host_bytes: int | None


class ModelFamily(NamedTuple):
    """A model's pipeline in every placement worth trying, and its stages in each of them."""

    family: ProblemFamily
    partitions: dict[str, Partition]


def model_family(
    graph: Graph,
    target: Target,
    *,
    devices: int,
    microbatches: int,
    memory_limit: int | str | Sequence[int | str | None] | None = None,
    chunks: int = 1,
    placements: Sequence[str] | None = None,
    objective: PipelineObjective = PipelineObjective.LONGEST_STAGE,
    link_bandwidth: int | None = None,
    link_latency_s: float | None = None,
    barriers: int = 0,
    host: HostLink | None = None,
) -> ModelFamily:
    """Cut a model into balanced stages and return what is left to plan.

    Parameters
    ----------
    graph, target, devices, microbatches, chunks
        As for `planner.pipelining.partition_model.partition_model`.
    memory_limit : int, str, sequence or None
        One size in bytes is all of a device's memory: weights, gradients and the optimizer's states
        come off it. Multiples of what 1F1B needs (``0.75x``) are of activations alone.
    link_bandwidth, link_latency_s
        Between devices; None for those of the target.
    barriers : int
        1 or 2 to split the output layer over all devices, 0 to leave it in the last stage.
    host : HostLink or None

    Raises
    ------
    UsageError, LoweringError, DoesNotFitError
        As ``partition_model``, that there is no room only if that is so in every placement, and as `planner.pipelining.memory_limits.memory_limits`.
    """
    whole, relative = _split_limit(memory_limit)
    partitions: dict[str, Partition] = {}
    misfit: DoesNotFitError | None = None
    for name in placement_names(placements, devices, chunks):
        try:
            partitions[name] = partition_model(
                graph,
                target,
                devices=devices,
                microbatches=microbatches,
                chunks=chunks,
                placement=name,
                memory_limit=whole,
                link_bandwidth=link_bandwidth,
                link_latency=link_latency_s,
                vocabulary=barriers,
            )
        except DoesNotFitError as error:
            misfit = error
    if misfit is not None and not partitions:
        raise misfit
    tick = min(partition.tick_s for partition in partitions.values())
    problems = {
        name: _in_ticks(partition.problem(objective=objective), tick)
        for name, partition in partitions.items()
    }
    for name, problem in problems.items():
        limited = problem
        if relative is not None:
            limits = memory_limits(relative, problem.stages, devices, microbatches)
            limited = replace(problem, limits=limits)
        problems[name] = limited if host is None else _with_host(limited, host)
    return ModelFamily(ProblemFamily(problems, chunks), partitions)


def _split_limit(
    limit: int | str | Sequence[int | str | None] | None,
) -> tuple[int | None, int | str | Sequence[int | str | None] | None]:
    """Return the whole memory of each device, or else what limits activations alone."""
    if limit is None:
        return None, None
    if isinstance(limit, str) and "x" in limit.lower():
        return None, limit
    from planner.target_file import parse_size

    if isinstance(limit, (int, str)):
        return parse_size(limit), None
    raise UsageError(
        "of a model, the memory limit is one size for all devices, or multiples of what 1F1B needs "
        "as 0.75x."
    )


def _in_ticks(problem: PipelineProblem, tick: Fraction) -> PipelineProblem:
    """Return the problem in another tick, times rounded up."""
    if problem.tick_s == tick:
        return problem
    scale = problem.tick_s / tick

    def ticks(count: int) -> int:
        return math.ceil(count * scale)

    layer = problem.vocabulary
    if layer is not None:
        layer = replace(
            layer,
            forward=ticks(layer.forward),
            backward=ticks(layer.backward),
            broadcast=ticks(layer.broadcast),
            barrier=ticks(layer.barrier),
        )
    stages = tuple(
        replace(
            stage,
            forward=ticks(stage.forward),
            backward=ticks(stage.backward),
            weight=ticks(stage.weight),
            communication=ticks(stage.communication),
        )
        for stage in problem.stages
    )
    return replace(problem, stages=stages, tick_s=tick, vocabulary=layer)


def _with_host(problem: PipelineProblem, host: HostLink) -> PipelineProblem:
    def ticks(bandwidth: int) -> tuple[int, ...]:
        return tuple(
            math.ceil(Fraction(stage.activation_bytes, bandwidth) / problem.tick_s)
            for stage in problem.stages
        )

    link = Offloading(
        ticks(host.offload_bandwidth), ticks(host.reload_bandwidth), host.streams, host.host_bytes
    )
    return replace(problem, offloading=link)
