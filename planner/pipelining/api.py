"""The call that plans a pipeline, and the forms in which it takes costs."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from planner.errors import UsageError
from planner.pipelining.costs import (
    ProblemFamily,
    VocabularyTimes,
    linked_to_host,
    problem_family,
    require_plannable,
)
from planner.pipelining.files.costs_file import CostRow, read_costs
from planner.pipelining.problem import PipelineObjective, PipelineProblem, StageCosts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from planner.pipelining.partitioning.partition import Partition
    from planner.pipelining.result import PipelineResult
    from planner.pipelining.schedule import PipelineSchedule
    from planner.target import Target


def pipeline(
    costs: Any = None,
    *,
    model: Any = None,
    target: str | Target = "host",
    dims: Mapping[str, int] | None = None,
    link_bandwidth: int | str | None = None,
    link_latency_s: float | None = None,
    devices: int | None = None,
    microbatches: int | None = None,
    memory_limit: int | str | Sequence[int | str | None] | None = None,
    chunks: int | None = None,
    placement: str | Sequence[str] | None = None,
    objective: str = "longest-stage",
    offload_bandwidth: int | str | None = None,
    reload_bandwidth: int | str | None = None,
    copy_streams: int = 2,
    host_memory: int | str | None = None,
    vocabulary: VocabularyTimes | int | None = None,
    schedule: PipelineSchedule | None = None,
    solvers: Sequence[str] | None = None,
    time_limit: float = 30.0,
    seed: int = 0,
    on_progress: Callable[[str], None] | None = None,
) -> PipelineResult:
    """Plan the passes of a pipeline-parallel training step: the least bubble that fits.

    Parameters
    ----------
    costs : path, sequence of StageCosts or CostRow, or PipelineProblem
        A file as `planner.pipelining.files.costs_file.read_costs` reads it; the costs of each
        stage, or of each device, or of one device for all, where ticks count as seconds; or a whole
        problem, which has everything below but ``schedule``, ``solvers``, ``time_limit`` and
        ``seed``.
    model : path, onnx.ModelProto or Graph, optional
        In place of costs: a model, lowered with the batch of one microbatch, to be cut into
        balanced stages.
    target : str or Target
        Each device, for a model.
    dims : mapping
        Sizes of the model's symbolic dimensions.
    link_bandwidth, link_latency_s
        Bytes per second and seconds between devices, for a model; None for those of the target.
    devices, microbatches : int
    memory_limit : int, str, sequence or None
        Bytes of each device for activations: a number, text as ``10GiB`` or ``0.75x`` (of the peak
        of 1F1B), or one of them for each device. Of a model, sizes count weights, gradients and
        the optimizer's states too.
    chunks : int or None
        Stages per device; rows of costs for whole devices are cut into as many.
    placement : str, sequence of str or None
        ``linear``, ``looped`` or ``v``; None for those worth trying.
    objective : str
        ``longest-stage`` or ``makespan``.
    offload_bandwidth, reload_bandwidth : int, str or None
        Bytes per second from a device to the host, and back if that differs.
    copy_streams : int
        2 if a device copies both ways at once, 1 if one copy at a time.
    host_memory : int, str or None
        Bytes that the host holds of one device.
    vocabulary : VocabularyTimes, int or None
        The output layer, split over all devices; of a model, the number of barriers, 1 or 2.
    schedule : PipelineSchedule or None
        Only check and price this one, instead of searching; its own placement counts.
    solvers : sequence of str or None
        Names of `planner.pipelining.race.solver_names`. Default: all.
    time_limit : float
        Seconds. The best schedule by then is returned.
    seed : int
    on_progress : callable
        Receives one line per improvement.

    Returns
    -------
    PipelineResult

    Raises
    ------
    DoesNotFitError
        If no schedule within the limits was found; ``proven`` if there is none.
    InvalidPlanError
        If the schedule that is given is illegal; the message says why.
    UsageError
        If an argument makes no sense.
    BadFileError
        If the file is missing or malformed.

    Examples
    --------
    >>> import planner
    >>> stage = planner.StageCosts(2, 2, 1, activation_bytes=8, kept_bytes=4)
    >>> result = planner.pipeline([stage], devices=1, microbatches=3)
    >>> result.timeline.makespan, result.status.value
    (15, 'optimal')
    """
    from planner.pipelining.misfit import misfit
    from planner.pipelining.race import price, race

    if not isinstance(time_limit, (int, float)) or not 0 < time_limit < math.inf:
        raise UsageError(f"a time limit of {time_limit!r:.40} s: must be positive and finite.")
    _whole_number("the seed", seed)
    if isinstance(solvers, str):
        raise UsageError(f"solvers is the text {solvers!r:.40}. Give a list of names.")
    if (costs is None) == (model is None):
        raise UsageError("give either costs or a model.")
    partitions: dict[str, Partition] = {}
    if model is not None:
        family, partitions = model_family(
            model,
            target=target,
            dims=dims,
            devices=devices,
            microbatches=microbatches,
            memory_limit=memory_limit,
            chunks=chunks,
            placement=placement,
            objective=objective,
            link_bandwidth=link_bandwidth,
            link_latency_s=link_latency_s,
            offload_bandwidth=offload_bandwidth,
            reload_bandwidth=reload_bandwidth,
            copy_streams=copy_streams,
            host_memory=host_memory,
            barriers=0 if vocabulary is None else vocabulary,
        )
    else:
        if isinstance(vocabulary, int):
            raise UsageError("with costs, vocabulary is what its passes take: VocabularyTimes.")
        family = pipeline_problems(
            costs,
            devices=devices,
            microbatches=microbatches,
            memory_limit=memory_limit,
            chunks=chunks,
            placement=placement,
            objective=objective,
            offload_bandwidth=offload_bandwidth,
            reload_bandwidth=reload_bandwidth,
            copy_streams=copy_streams,
            host_memory=host_memory,
            vocabulary=vocabulary,
        )
    if schedule is not None:
        name, problem = placed_as(family, schedule)
        priced = price(problem, schedule, placement=name, time_limit=time_limit)
        return replace(priced, notes=(*priced.notes, *family.notes))
    result = race(
        family.problems,
        time_limit=time_limit,
        seed=seed,
        solvers=solvers,
        on_progress=on_progress,
    )
    if result.timeline is None:
        raise misfit(result, time_limit)
    return replace(
        result,
        partition=partitions.get(result.placement),
        notes=(*result.notes, *family.notes),
    )


def pipeline_problems(
    costs: Any,
    *,
    devices: int | None,
    microbatches: int | None,
    memory_limit: int | str | Sequence[int | str | None] | None = None,
    chunks: int | None = None,
    placement: str | Sequence[str] | None = None,
    objective: str = "longest-stage",
    offload_bandwidth: int | str | None = None,
    reload_bandwidth: int | str | None = None,
    copy_streams: int = 2,
    host_memory: int | str | None = None,
    vocabulary: VocabularyTimes | None = None,
) -> ProblemFamily:
    """Read the arguments of `pipeline` as one problem for each placement.

    Raises
    ------
    UsageError, BadFileError
        As for `pipeline`.
    """
    if isinstance(costs, PipelineProblem):
        given = {
            "devices": devices,
            "microbatches": microbatches,
            "memory_limit": memory_limit,
            "chunks": chunks,
            "placement": placement,
            "offload_bandwidth": offload_bandwidth,
            "vocabulary": vocabulary,
        }
        if also := [name for name, value in given.items() if value is not None]:
            raise UsageError(f"a PipelineProblem has its own {', '.join(also)}: give no others.")
        return ProblemFamily(
            {placement_name(costs.device_of, costs.devices): costs},
            len(costs.stages) // costs.devices,
        )
    counted = _require_settings(
        devices,
        microbatches,
        objective,
        offload_bandwidth,
        reload_bandwidth,
        copy_streams,
        host_memory,
    )
    return problem_family(
        _rows(costs),
        devices=_whole_number("the number of devices", devices),
        microbatches=_whole_number("the number of microbatches", microbatches),
        memory_limit=memory_limit,
        chunks=None if chunks is None else _whole_number("the number of chunks", chunks),
        placements=(placement,) if isinstance(placement, str) else placement,
        objective=counted,
        offload_bandwidth=_size(offload_bandwidth),
        reload_bandwidth=_size(reload_bandwidth),
        copy_streams=copy_streams,
        host_bytes=_size(host_memory),
        vocabulary=vocabulary,
    )


def model_family(
    model: Any,
    *,
    target: str | Target,
    dims: Mapping[str, int] | None,
    devices: int | None,
    microbatches: int | None,
    memory_limit: Any = None,
    chunks: int | None = None,
    placement: str | Sequence[str] | None = None,
    objective: str = "longest-stage",
    link_bandwidth: int | str | None = None,
    link_latency_s: float | None = None,
    offload_bandwidth: int | str | None = None,
    reload_bandwidth: int | str | None = None,
    copy_streams: int = 2,
    host_memory: int | str | None = None,
    barriers: Any = 0,
) -> tuple[ProblemFamily, dict[str, Partition]]:
    """Cut a model into stages, and read the other arguments of `pipeline` as problems.

    Returns
    -------
    ProblemFamily
    dict of str to Partition
        The stages, by placement.

    Raises
    ------
    PlannerError
        As for `pipeline`, and as for `planner.load`.
    """
    from planner.api import load
    from planner.pipelining.partitioning.model_problems import model_problems
    from planner.target_file import read_target

    counted = _require_settings(
        devices,
        microbatches,
        objective,
        offload_bandwidth,
        reload_bandwidth,
        copy_streams,
        host_memory,
    )
    devices = _whole_number("the number of devices", devices)
    microbatches = _whole_number("the number of microbatches", microbatches)
    require_plannable(devices, microbatches)
    if barriers not in (0, 1, 2) or isinstance(barriers, bool):
        raise UsageError(
            f"of a model, vocabulary is its number of barriers, 1 or 2: {barriers!r:.40}"
        )
    device = read_target(target) if isinstance(target, str) else target
    if device.compute is None:
        raise UsageError(
            f"target {device.name!r} has no [compute] rates, so the times of passes are unknown. "
            "Name one that has (plan targets), or measure this machine (plan calibrate)."
        )
    chunks = 1 if chunks is None else _whole_number("the number of chunks", chunks)
    cut = model_problems(
        load(model, dims=dims),
        device,
        devices=devices,
        microbatches=microbatches,
        chunks=chunks,
        placements=(placement,) if isinstance(placement, str) else placement,
        memory_limit=memory_limit,
        link_bandwidth=_size(link_bandwidth),
        link_latency=link_latency_s,
        vocabulary=barriers,
        objective=counted,
    )
    out, problems = _size(offload_bandwidth), cut.problems
    if out is not None:
        back, host = _size(reload_bandwidth), _size(host_memory)
        problems = {
            name: linked_to_host(problem, out, back, copy_streams, host)
            for name, problem in problems.items()
        }
    return ProblemFamily(problems, chunks), cut.partitions


def _require_settings(
    devices: int | None,
    microbatches: int | None,
    objective: str,
    offload_bandwidth: int | str | None,
    reload_bandwidth: int | str | None,
    copy_streams: int,
    host_memory: int | str | None,
) -> PipelineObjective:
    """Refuse what makes no sense together; return the objective."""
    if devices is None or microbatches is None:
        raise UsageError("how many devices and microbatches there are must be given.")
    if copy_streams not in (1, 2):
        raise UsageError(f"{copy_streams!r:.20} copy streams per device: there are 1 or 2.")
    if offload_bandwidth is None and (reload_bandwidth, host_memory) != (None, None):
        raise UsageError("without a bandwidth for offloading nothing goes to the host or back.")
    try:
        return PipelineObjective(objective)
    except ValueError:
        known = ", ".join(PipelineObjective)
        raise UsageError(f"no objective {objective!r:.40}. There are: {known}.") from None


def placed_as(family: ProblemFamily, schedule: PipelineSchedule) -> tuple[str, PipelineProblem]:
    """Return the problem in the placement of a schedule, and the placement's name.

    Raises
    ------
    UsageError
        If they do not have as many stages and devices.
    """
    problem = next(iter(family.problems.values()))
    stages, devices = len(schedule.device_of), len(schedule.passes)
    if (stages, devices) != (len(problem.stages), problem.devices):
        raise UsageError(
            f"the schedule is for {stages:,} stages on {devices:,} devices, the costs are of "
            f"{len(problem.stages):,} stages on {problem.devices:,} devices."
        )
    name = placement_name(schedule.device_of, devices)
    return name, replace(problem, device_of=schedule.device_of)


def placement_name(device_of: tuple[int, ...], devices: int) -> str:
    """Return the name of a placement; ``custom`` for one that has none."""
    from planner.pipelining.placements import linear_placement, looped_placement, v_placement

    if device_of == linear_placement(devices):
        return "linear"
    if device_of == v_placement(devices):
        return "v"
    chunks = len(device_of) // devices
    return "looped" if device_of == looped_placement(devices, chunks) else "custom"


def _rows(costs: Any) -> tuple[CostRow, ...]:
    if isinstance(costs, (str, os.PathLike)):
        return read_costs(costs)
    try:
        entries = list(costs)
    except TypeError:
        raise UsageError(
            f"cannot plan for a {type(costs).__name__}. Give a path, StageCosts of each stage, or "
            "a PipelineProblem."
        ) from None
    if not entries:
        raise UsageError("no costs of any stage are given.")
    return tuple(_row(entry, index) for index, entry in enumerate(entries))


def _row(entry: Any, index: int) -> CostRow:
    if isinstance(entry, CostRow):
        return entry
    if not isinstance(entry, StageCosts):
        raise UsageError(f"the costs of stage {index:,} are {entry!r:.80}, no StageCosts.")
    times = (entry.forward, entry.backward, entry.weight, entry.communication)
    whole = (*times, entry.activation_bytes, entry.kept_bytes)
    for value in whole:
        if _whole_number(f"stage {index}: a cost", value) < 0:
            raise UsageError(f"stage {index}: times and bytes cannot be negative, but are {entry}.")
    forward, backward, weight, communication = map(Fraction, times)
    return CostRow(
        forward, backward, weight, communication, entry.activation_bytes, entry.kept_bytes
    )


def _whole_number(what: str, value: Any) -> int:
    try:
        return value.__index__()
    except (AttributeError, TypeError):
        raise UsageError(f"{what} is {value!r:.80}, no whole number.") from None


def _size(value: int | str | None) -> int | None:
    from planner.target_file import parse_size

    return None if value is None else parse_size(value)
