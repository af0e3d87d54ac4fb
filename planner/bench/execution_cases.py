"""Models executed inside their planned memory: without a limit, and in one that forces spills."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from planner.errors import BadFileError, DoesNotFitError, PlannerError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from planner.execution.api import Prepared
    from planner.execution.result import Execution
    from planner.result import PlanResult

SCRATCHPAD = "npu-8m"
"""Shipped target on which models spill; the capacity is replaced."""

_UNLIMITED = "host"


class Network(NamedTuple):
    """A model to execute.

    ``load`` returns a path or a ModelProto.
    """

    name: str
    load: Callable[[], Any]
    dims: dict[str, int]


class ExecutionCase(NamedTuple):
    """One model under one plan.

    Attributes
    ----------
    network : str
    operators : int
    is_limited : bool
        Whether the nearest memory is too small for the peak.
    in_place : bool
    capacity_bytes : int or None
        Between the largest operator's footprint and the peak.
    arena_bytes, measured_bytes : int
        Of the nearest memory: planned, and up to the highest byte written.
    traffic_bytes : int
    first, warm : Execution or None
        The first execution and the one after it; None where there is no plan.
    verdict : str
        Of both; or why there is no plan.
    """

    network: str
    operators: int
    is_limited: bool
    in_place: bool
    capacity_bytes: int | None = None
    arena_bytes: int = 0
    measured_bytes: int = 0
    traffic_bytes: int = 0
    first: Execution | None = None
    warm: Execution | None = None
    verdict: str = ""


def zoo_networks(names: Sequence[str] | None) -> list[Network]:
    """Return the networks of the zoo, or those of them that are named.

    Raises
    ------
    UsageError
        If the zoo has none of a name.
    """
    from frontends import zoo

    unknown = sorted(set(names or ()) - set(zoo.names()))
    if unknown:
        raise UsageError(
            f"the zoo has no network {unknown[0]!r}. It has: {', '.join(zoo.names())}."
        )
    return [
        Network(name, lambda name=name: zoo.build(name), {})
        for name in zoo.names()
        if names is None or name in names
    ]


def networks_in(
    directory: str, names: Sequence[str] | None, dims: Mapping[str, Mapping[str, int]]
) -> list[Network]:
    """Return the ONNX files of a directory, open dimensions of inputs bound as told, or to 1.

    Parameters
    ----------
    dims : mapping of str to mapping of str to int
        By model; keys as of ``--dim``.

    Raises
    ------
    BadFileError
        If there is no such directory.
    UsageError
        If it holds none, or none of these names.
    """
    from frontends.onnx.dims import open_dimensions
    from frontends.onnx.load import load_model

    if not Path(directory).is_dir():
        raise BadFileError(f"--data {directory}: there is no such directory.")
    paths = sorted(Path(directory).glob("*.onnx"))
    chosen = [path for path in paths if names is None or path.stem in names]
    if not chosen:
        named = "" if names is None else f" of the names {', '.join(names)}"
        raise UsageError(f"--data {directory}: no file *.onnx there{named}.")
    return [
        Network(
            path.stem,
            lambda path=path: path,
            dict(dims.get(path.stem) or dict.fromkeys(open_dimensions(load_model(path)[0]), 1)),
        )
        for path in chosen
    ]


def run_cases(
    networks: Iterable[Network],
    *,
    time_limit_s: float,
    seed: int,
    on_progress: Callable[[str], None],
) -> Iterator[ExecutionCase]:
    """Plan and execute each model, twice per plan.

    Parameters
    ----------
    time_limit_s : float
        For each plan.
    """
    for network in networks:
        on_progress(f"{network.name}: reading")
        yield from _run_network(network, time_limit_s, seed, on_progress)


def _run_network(
    network: Network, time_limit_s: float, seed: int, on_progress: Callable[[str], None]
) -> Iterator[ExecutionCase]:
    import planner
    from planner.execution.api import prepare
    from planner.execution.sessions import RuntimeRefusalError

    try:
        source = network.load()
        free = planner.plan(source, dims=network.dims, time_limit=time_limit_s, seed=seed)
    except PlannerError as error:
        yield ExecutionCase(network.name, 0, False, True, verdict=f"not planned: {error}")
        return
    operators = len(free.graph.operators)
    try:
        on_progress(f"{network.name}: running it whole")
        prepared = prepare(source, free.plan, seed=seed)
    except RuntimeRefusalError as error:
        verdict = f"not executed: {error}"
        yield ExecutionCase(network.name, operators, False, True, verdict=verdict)
        return
    yield _execute(network.name, prepared, free, None, on_progress)
    for in_place in (True, False):
        capacity = _between_footprint_and_peak(free, in_place, time_limit_s, seed)
        if capacity is None:
            continue
        on_progress(f"{network.name}: planning in {capacity:,} bytes")
        near = planner.read_target(SCRATCHPAD).nearest.name
        try:
            limited = planner.plan(
                free.graph,
                target=SCRATCHPAD,
                memory={near: capacity},
                in_place=in_place,
                time_limit=time_limit_s,
                seed=seed,
            )
        except DoesNotFitError as error:
            yield ExecutionCase(
                network.name, operators, True, in_place, capacity, verdict=f"no plan: {error}"
            )
            continue
        yield _execute(network.name, prepared, limited, capacity, on_progress)
        return


def _between_footprint_and_peak(
    free: PlanResult, in_place: bool, time_limit_s: float, seed: int
) -> int | None:
    """Midpoint between what the largest operator needs and the peak; None where they coincide."""
    import planner
    from planner.footprint import largest_footprint

    needed = largest_footprint(free.graph, in_place=in_place).size_bytes
    if not in_place:
        free = planner.plan(free.graph, in_place=False, time_limit=time_limit_s, seed=seed)
    peak = free.plan.metrics.peak_bytes[free.plan.target.nearest.name]
    return None if peak <= needed else (needed + peak) // 2


def _execute(
    name: str,
    prepared: Prepared,
    result: PlanResult,
    capacity: int | None,
    on_progress: Callable[[str], None],
) -> ExecutionCase:
    from planner.execution.executor import execute_plan
    from planner.execution.reference import Reference

    plan, near = result.plan, result.plan.target.nearest.name
    model = prepared.model.without_sessions()
    reference = Reference(model)
    outcomes = []
    for attempt in ("first", "warm"):

        def show(step: int, steps: int, attempt: str = attempt) -> None:
            if step % 100 == 0:
                on_progress(f"{name}: {attempt} execution, step {step:,} of {steps:,}")

        outcomes.append(execute_plan(model, reference, plan, show))
    first, warm = outcomes
    disagreement = prepared.whole.disagreement(reference)
    wrong = first.mismatch or warm.mismatch or disagreement
    return ExecutionCase(
        network=name,
        operators=len(result.graph.operators),
        is_limited=capacity is not None,
        in_place=bool(plan.provenance.settings.get("in_place", True)),
        capacity_bytes=capacity,
        arena_bytes=first.arena_bytes.get(near, 0),
        measured_bytes=first.measured_bytes.get(near, 0),
        traffic_bytes=plan.metrics.traffic_bytes,
        first=_timed(first, prepared),
        warm=_timed(warm, prepared),
        verdict=str(first.verdict) if wrong is None else f"mismatch: {wrong.message}",
    )


def _timed(outcome: Execution, prepared: Prepared) -> Execution:
    from dataclasses import replace

    return replace(outcome, runtime_s=prepared.whole.cpu_s)
