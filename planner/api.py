"""One call per job: what users of the library import."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from planner.errors import UsageError
from planner.graph import Graph
from planner.interruption import listening_for_ctrl_c
from planner.measured import measured_for
from planner.parameters import chosen_parameters, with_parameters
from planner.problem import Objective, PlanningProblem
from planner.result import PlanResult
from planner.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from planner.portfolio import RaceResult
    from planner.result import ZeroCopy
    from planner.sharing import Lowerings

_LARGEST_SEED = (1 << 53) - 1


def load(
    source: Any,
    *,
    dims: Mapping[str, int] | None = None,
    shapes: Mapping[str, str] | None = None,
    zero_copy: bool | Collection[str] = False,
    alignment_bytes: int = 1,
    parameters: bool = False,
) -> Graph:
    """Lower a model to a tensor-lifetime graph.

    Parameters
    ----------
    source : path, onnx.ModelProto, torch.export.ExportedProgram, torch.fx.GraphModule or Graph
        A Graph is returned as it is, ``parameters`` apart. A torch program has no shapes to add and
        its views share storage already: ``shapes`` and ``zero_copy`` are for ONNX.
    dims : mapping
        Sizes of symbolic dimensions, by ``NAME`` or ``INPUT:AXIS``; of a torch program, by symbol.
    shapes : mapping
        Shapes and types of tensors that inference leaves open: ``{"t88": "1x77x768:float32"}``.
    zero_copy : bool or collection of str
        Let Concat, Split, Slice and Gather share storage where the layout allows it: all of them,
        none, or those whose first result has one of the names.
    alignment_bytes : int
        Of the memory to plan for: parts of a shared storage begin at multiples of it.
    parameters : bool
        Constants are inputs that are fetched, and may leave and come back, instead of being used
        where they lie: see `planner.parameters.with_parameters`.

    Raises
    ------
    BadFileError
        If the file is missing, truncated, malformed or hostile.
    LoweringError
        If the model cannot become a graph; unresolved shapes name the ``--dim`` to give.
    UsageError
        If the source is of no known kind, or a dimension or a name of ``zero_copy`` is unknown.
    """
    if isinstance(source, Graph):
        return with_parameters(source) if parameters else source
    if _is_of(source, "torch"):
        from frontends.torch import load_torch

        if shapes:
            raise UsageError("a torch program has all its shapes: none can be given.")
        graph = load_torch(source, dims=dims or {})
        return with_parameters(graph) if parameters else graph
    _require_model(source)
    from frontends.onnx import load_onnx

    graph = load_onnx(
        source,
        dims=dims or {},
        shapes=shapes or {},
        zero_copy=zero_copy,
        alignment_bytes=alignment_bytes,
    )
    return with_parameters(graph) if parameters else graph


def _is_of(source: Any, package: str) -> bool:
    """Whether the source's type is one of a package, which need not be imported to ask."""
    return type(source).__module__.split(".")[0] == package


def _require_model(source: Any) -> None:
    if not _is_of(source, "onnx") and not isinstance(source, (str, os.PathLike)):
        raise UsageError(
            f"cannot plan a {type(source).__name__}. Give the path of an ONNX file, an "
            "onnx.ModelProto, a torch.export.ExportedProgram or a planner.Graph."
        )


def load_lowerings(
    source: Any,
    *,
    dims: Mapping[str, int] | None = None,
    shapes: Mapping[str, str] | None = None,
    alignment_bytes: int = 1,
) -> Lowerings:
    """Read a model once, to lower it with one choice of sharing operators after the other.

    Parameters
    ----------
    source : path or onnx.ModelProto
    dims, shapes, alignment_bytes
        As for `load`.

    Raises
    ------
    PlannerError
        As `load`.
    """
    _require_model(source)
    from frontends.onnx.variants import load_variants

    return load_variants(
        source, dims=dims or {}, shapes=shapes or {}, alignment_bytes=alignment_bytes
    )


def plan(
    source: Any,
    *,
    target: str | os.PathLike[str] | Target = "host",
    objective: str | Objective | None = None,
    memory: Mapping[str, int] | None = None,
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
) -> PlanResult:
    """Plan a model: order, placements and transfers, checked and compared with proven bounds.

    Parameters
    ----------
    source : path, onnx.ModelProto or Graph
    target : str, path or Target
        Name of a shipped target, a ``.toml`` file, or a `Target`.
    objective : {"peak", "traffic", "latency"}, optional
        Default: traffic where the target's nearest memory has a capacity, else peak.
    memory : mapping of str to int
        Capacities in bytes that replace the target's.
    solvers : sequence of str
        Contenders to race; default all that apply. Greedy always takes part.
    time_limit : float
        Seconds for the race. The best plan by then is returned.
    seed : int
        Less than 2^53 in size, as numbers in plan files are.
    dims, shapes
        As for `load`.
    parameters : bool, optional
        As for `load`; needs a target whose ``io_memory`` is not the nearest memory. Default: only
        for the least latency on a target that takes operands in either memory, see
        `planner.parameters.chosen_parameters`.
    zero_copy : bool or collection of str
        True: Concat, Split, Slice and Gather share storage instead of copying where it pays, which
        is decided for each of them. A collection: exactly these, named by their first results.
        Without effect on a Graph, which is lowered already.
    in_place : bool
        Whether outputs may overwrite dying operands.
    partial_spills : bool
        Whether a part of a storage may leave the nearest memory while the rest stays.
    on_progress : callable
        Receives one line per improvement.

    Returns
    -------
    PlanResult

    Raises
    ------
    PlannerError
        Its subclasses tell a bad file, a model that cannot be lowered, a wrong argument, and a
        model that does not fit apart.

    Examples
    --------
    >>> import planner
    >>> from frontends import zoo
    >>> result = planner.plan(zoo.build("resnet8"))
    >>> result.status.value
    'optimal'
    """
    from planner.portfolio import race
    from planner.target_file import read_target

    started = time.monotonic()
    if not time_limit > 0:
        raise UsageError(f"--time-limit {time_limit:g}: must be positive.")
    if abs(seed) > _LARGEST_SEED:
        raise UsageError(f"--seed {seed}: must lie within {_LARGEST_SEED:,} of 0.")
    machine = target if isinstance(target, Target) else read_target(target)
    if memory:
        machine = machine.with_capacities(memory)
    aim = chosen_objective(objective, machine)
    moves_parameters = chosen_parameters(parameters, aim, machine)

    def problem_of(graph: Graph) -> PlanningProblem:
        whole = with_parameters(graph, machine) if moves_parameters else graph
        return PlanningProblem(whole, measured_for(whole, machine), aim, in_place, partial_spills)

    limits: dict[str, Any] = {
        "contenders": solvers,
        "time_limit_s": time_limit,
        "seed": seed,
        "on_progress": on_progress,
    }
    unit = machine.nearest.alignment_bytes
    sharing: ZeroCopy | None = None
    with listening_for_ctrl_c() as interruption:
        if zero_copy is False or isinstance(source, Graph) or _is_of(source, "torch"):
            problem = problem_of(load(source, dims=dims, shapes=shapes, alignment_bytes=unit))
            load_s = time.monotonic() - started
            outcome = race(problem, **limits)
        else:
            from planner.zero_copy import race_sharing, sharing_report

            lowerings = load_lowerings(source, dims=dims, shapes=shapes, alignment_bytes=unit)
            load_s = time.monotonic() - started
            if zero_copy is True:
                problem, outcome, sharing = race_sharing(lowerings, problem_of, **limits)
            else:
                problem = problem_of(lowerings.graph(zero_copy))
                sharing = sharing_report(problem.graph, lowerings)
                outcome = race(problem, **limits)
        solve_s = time.monotonic() - started - load_s
        result = _judged(problem, outcome)
        return replace(
            result,
            zero_copy=sharing,
            interrupted=result.interrupted or interruption.heard,
            load_s=load_s,
            solve_s=solve_s,
            wall_s=time.monotonic() - started,
        )


def _judged(problem: PlanningProblem, outcome: RaceResult) -> PlanResult:
    """Check and simulate the winner once more, by themselves."""
    from planner.checker import check
    from planner.errors import InvalidPlanError
    from planner.simulator import simulate

    graph, machine = problem.graph, problem.target
    violations = check(graph, machine, outcome.plan)
    if violations:
        raise InvalidPlanError(
            f"internal error: the winning plan is illegal: {violations[0].message}. "
            "Please report it."
        )
    return PlanResult(
        plan=outcome.plan,
        graph=graph,
        objective=problem.objective,
        status=outcome.status,
        contenders=outcome.reports,
        timeline=None if machine.compute is None else simulate(graph, machine, outcome.plan),
        interrupted=outcome.interrupted,
        notes=graph.notes,
    )


def chosen_objective(objective: str | Objective | None, target: Target) -> Objective:
    """Return the named objective, or the default: traffic where the capacity is limited, else peak.

    Raises
    ------
    UsageError
        If there is none of that name.
    """
    if objective is None:
        limited = target.nearest.capacity_bytes is not None
        return Objective.TRAFFIC if limited else Objective.PEAK
    try:
        return Objective(objective)
    except ValueError:
        known = ", ".join(Objective)
        raise UsageError(f"no objective {objective!r}. There are: {known}.") from None
