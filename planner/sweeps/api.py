"""Plan a model at many capacities of its nearest memory: the curve that an architect needs."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from planner.api import chosen_objective, load, load_lowerings
from planner.errors import UsageError
from planner.graph import Graph
from planner.interruption import listening_for_ctrl_c
from planner.measured import measured_for
from planner.parameters import chosen_parameters, with_parameters
from planner.problem import Objective, PlanningProblem
from planner.sweeps.capacities import CapacityRange, swept_capacities
from planner.sweeps.curve import Curve
from planner.target import Target
from planner.target_file import read_target

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Mapping, Sequence

    from planner.sweeps.result import SweepResult


def sweep(
    source: Any,
    *,
    capacities: CapacityRange | tuple[int, int] | Sequence[int],
    target: str | os.PathLike[str] | Target = "host",
    memory: str | None = None,
    objective: str | Objective | None = None,
    solvers: Sequence[str] | None = None,
    time_limit: float = 30.0,
    seed: int = 0,
    dims: Mapping[str, int] | None = None,
    shapes: Mapping[str, str] | None = None,
    in_place: bool = True,
    zero_copy: bool | Collection[str] = False,
    parameters: bool | None = None,
    partial_spills: bool = False,
    on_progress: Callable[[str], None] | None = None,
) -> SweepResult:
    """Plan a model at several capacities of the nearest memory.

    Each capacity is a race of its own, `planner.plan`, unless it is known without. A plan that fits
    a memory fits every larger one, and a bound that holds for a memory holds for every smaller one;
    where both meet, no race is needed.

    Parameters
    ----------
    source : path, onnx.ModelProto or Graph
    capacities : CapacityRange, (low, high) or list of int
        In bytes. To a range, the capacity that the largest operator needs and the least one
        without traffic are added if they lie inside; if it names neither points nor step, three
        between these two as well. A list stays as it is; a tuple of two is a range.
    target : str, path or Target
    memory : str, optional
        The memory to sweep: only the nearest one makes sense, and is the default.
    objective : {"traffic", "latency"}, optional
        Default: traffic.
    time_limit : float
        Seconds for the whole sweep, which its races share.
    solvers, seed, dims, shapes, in_place, parameters, partial_spills
        As for `planner.plan`.
    zero_copy : bool or collection of str
        As for `planner.plan`, but decided once, for the smallest peak, so that all capacities are
        about one graph.
    on_progress : callable
        Receives one line per improvement and per point.

    Returns
    -------
    SweepResult

    Raises
    ------
    DoesNotFitError
        If no plan fits any of the capacities. A capacity without a plan beside others that have
        one is a point that says so.
    PlannerError
        As `planner.plan`.

    Examples
    --------
    >>> import planner
    >>> from frontends import zoo
    >>> curve = planner.sweep(
    ...     zoo.build("resnet8"), target="npu-1m", capacities=[131_072, 196_608]
    ... )
    >>> [point.traffic_bytes for point in curve.points][1]
    0
    """
    started = time.monotonic()
    if not time_limit > 0:
        raise UsageError(f"--time-limit {time_limit:g}: must be positive.")
    machine = target if isinstance(target, Target) else read_target(target)
    near = machine.nearest
    if memory is not None and machine.memory(memory).name != near.name:
        raise UsageError(
            f"{memory} is not the nearest memory of {machine.name}. A sweep is over {near.name}."
        )
    wanted = _range_or_list(capacities)
    chosen = swept_capacities(wanted, near.alignment_bytes)
    highest = machine.with_capacities({near.name: chosen[-1]})
    aim = chosen_objective(objective, highest)
    if aim is Objective.PEAK:
        raise UsageError(
            "--objective peak: the smallest peak does not depend on the capacity. A sweep is of "
            "traffic or latency; it also shows from which capacity on there is no traffic."
        )
    moves_parameters = chosen_parameters(parameters, aim, highest)
    binding: dict[str, Any] = {
        "dims": dims,
        "shapes": shapes,
        "alignment_bytes": near.alignment_bytes,
    }
    if zero_copy is True and not isinstance(source, Graph):
        from planner.zero_copy import chosen_sharing

        unlimited = machine.with_capacities({near.name: None})
        sharing = chosen_sharing(
            load_lowerings(source, **binding),
            lambda graph: PlanningProblem(
                with_parameters(graph) if moves_parameters else graph,
                unlimited,
                Objective.PEAK,
                in_place,
            ),
            time_limit_s=time_limit,
            seed=seed,
        )
        note = f"Zero copy, chosen for the smallest peak: {sharing.report.summary()}."
        source = replace(sharing.graph, notes=(*sharing.graph.notes, note))
        zero_copy = False
    graph = load(source, zero_copy=zero_copy, **binding)
    if moves_parameters:
        graph = with_parameters(graph, machine)
    curve = Curve(
        graph,
        measured_for(graph, machine),
        aim,
        {
            "solvers": solvers,
            "seed": seed,
            "in_place": in_place,
            "partial_spills": partial_spills,
        },
        deadline=started + time_limit,
        on_progress=on_progress,
    )
    ranged = isinstance(wanted, CapacityRange)
    with listening_for_ctrl_c() as interruption:
        curve.run(chosen, with_corners=ranged, with_slope=ranged and wanted[2:] == (None, None))
        wall_s = time.monotonic() - started
        result = curve.result(seed=seed, time_limit_s=time_limit, wall_s=wall_s)
        return replace(result, interrupted=result.interrupted or interruption.heard)


def _range_or_list(
    capacities: CapacityRange | tuple[int, int] | Sequence[int],
) -> CapacityRange | Sequence[int]:
    if isinstance(capacities, CapacityRange) or not isinstance(capacities, tuple):
        return capacities
    if len(capacities) != 2:
        raise UsageError(
            f"capacities {capacities!r}: a tuple is a range (low, high). Give a list of capacities."
        )
    return CapacityRange(capacities[0], capacities[1])
