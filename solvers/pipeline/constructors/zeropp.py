"""Units of microbatches that share one gather of sharded weights, after ZeroPP."""

from __future__ import annotations

from itertools import groupby, product
from typing import TYPE_CHECKING, NamedTuple

from planner.pipelining.delayed_starts import cost_ticks
from planner.pipelining.memory import device_memory
from planner.pipelining.schedule import Pass, PassKind, PipelineSchedule, WeightUnit
from planner.pipelining.simulator import simulate_pipeline
from solvers.pipeline.constructors.catalogue import InapplicableError
from solvers.pipeline.constructors.grouped_order import grouped_passes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from planner.pipelining.problem import PipelineProblem

FORWARD, BACKWARD, WEIGHT = PassKind.FORWARD, PassKind.BACKWARD, PassKind.WEIGHT
_PASSES_TRIED = 250_000


class _Shape(NamedTuple):
    """Microbatches of a unit, forward units before the first backward one, and W after all B."""

    group: int
    warm_up: int
    weights_last: bool


def zeropp(problem: PipelineProblem) -> PipelineSchedule:
    """Return the cheapest schedule of units within the limits.

    Only the abstract of ZeroPP (arXiv 2402.03791) was at hand: it combines pipelines with sharded
    parameters in blocks. Here a unit is one stage's forward passes, or its backward passes, of a
    group of microbatches. It gathers the stage's weights once, while the unit before it runs, and a
    backward unit reduces the gradient of its weights once. Each device runs as many forward units
    as its stages or more, then backward and forward units in turn. The size of the groups is
    chosen by simulation.

    Raises
    ------
    InapplicableError
        If the costs have no sharded parameters, or no size of the groups fits into the limits.
    """
    if problem.sharding is None:
        raise InapplicableError("the costs have no sharded parameters")
    best: tuple[int, PipelineSchedule] | None = None
    for shape in _shapes(problem):
        schedule = _schedule(problem, shape)
        timeline = simulate_pipeline(problem, schedule)
        cost = cost_ticks(problem, timeline)
        if best is not None and cost >= best[0]:
            continue
        profiles = device_memory(problem, timeline)
        if all(
            limit is None or profile.peak <= limit
            for limit, profile in zip(problem.limits, profiles, strict=True)
        ):
            best = (cost, schedule)
    if best is None:
        raise InapplicableError("no size of the units fits into the limits")
    return best[1]


def _shapes(problem: PipelineProblem) -> Iterator[_Shape]:
    devices, microbatches = problem.devices, problem.microbatches
    chunks = max(map(len, problem.stages_of))
    groups = [devices, 2 * devices, microbatches, -(-devices // 2), 1, 2, 4, 3, 8]
    sizes = list(dict.fromkeys(min(group, microbatches) for group in groups))
    warm_ups = [chunks, 2 * chunks, chunks + 1, chunks * microbatches]
    passes = 3 * len(problem.stages) * microbatches
    shapes = product(sizes, dict.fromkeys(warm_ups), (True, False))
    for index, shape in enumerate(shapes):
        if index and index * passes > _PASSES_TRIED:
            return
        yield _Shape(*shape)


def _schedule(problem: PipelineProblem, shape: _Shape) -> PipelineSchedule:
    passes, units = [], []
    for device in range(problem.devices):
        order: list[Pass] = []
        own: list[tuple[int, int, int, bool]] = []
        for unit in _device_units(problem, device, shape):
            first, stage = len(order), unit[0].stage
            order.extend(unit)
            reduces = unit[0].kind is not FORWARD
            if own and own[-1][0] == stage and not own[-1][3]:
                # The weights are still there from the forward unit right before.
                first = own.pop()[1]
            own.append((stage, first, len(order) - 1, reduces))
        passes.append(tuple(order))
        starts = [-1, *(first for _, first, _, _ in own)]
        units.append(
            tuple(
                WeightUnit(stage, after, first, last, reduces)
                for after, (stage, first, last, reduces) in zip(starts, own, strict=False)
            )
        )
    return PipelineSchedule("zeropp", problem.device_of, tuple(passes), units=tuple(units))


def _device_units(problem: PipelineProblem, device: int, shape: _Shape) -> Iterator[list[Pass]]:
    forward = _units(problem, device, shape.group, FORWARD)
    backward = _units(problem, device, shape.group, BACKWARD)
    yield from forward[: shape.warm_up]
    for index, unit in enumerate(backward):
        yield from forward[shape.warm_up + index : shape.warm_up + index + 1]
        weights = [item._replace(kind=WEIGHT) for item in unit]
        if shape.weights_last:
            yield unit + weights
        else:
            yield [item for pair in zip(unit, weights, strict=True) for item in pair]


def _units(problem: PipelineProblem, device: int, group: int, kind: PassKind) -> list[list[Pass]]:
    passes = grouped_passes(problem, device, group, kind)
    return [
        list(unit)
        for _, unit in groupby(passes, key=lambda item: (item.microbatch // group, item.stage))
    ]
