"""The suffix bound: exhaustive search of small pipelines with one stage per device.

Nodes are fronts: how many F, B and W each device has done, and when what follows can start. Of two
with the same counts the one that is nowhere later is enough, and so are active schedules. Each
node's bound is read off the solved pipelines of fewer microbatches: once the next F or B of a
device has started, what remains takes no less than the same pipeline with only the microbatches
that remain, where all else has been done as far as memory allows (Russian doll search, Verfaillie,
Lemaitre and Schiex 1996). An end that comes too early is no schedule, but always a bound. The proof
is in ``solvers/native/pipeline_suffix.hpp``.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.pipelining.delayed_starts import best_timeline, cost_ticks
from planner.pipelining.problem import PipelineObjective
from planner.pipelining.schedule import PassKind, PipelineSchedule
from solvers._native import PIPELINE_NO_LIMIT, pipeline_suffix_bound
from solvers.pipeline.constructors.words import numbered
from solvers.pipeline.native_orders import within_kernels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from planner.pipelining.problem import PipelineProblem
    from solvers.protocol import Deadline

MOST_DEVICES, MOST_MICROBATCHES = 8, 64
MOST_NODES = 50_000
"""Nodes of one search: less than a tenth of a second."""

_KINDS = (PassKind.FORWARD, PassKind.BACKWARD, PassKind.WEIGHT)


class SuffixBound(NamedTuple):
    """Least ticks of the problem's objective, and the best schedule met on the way, if any."""

    ticks: int
    schedule: PipelineSchedule | None
    cost: int | None


def suffix_bound(
    problem: PipelineProblem,
    base: int,
    *,
    deadline: Deadline,
    enough: int | None = None,
    most_nodes: int = MOST_NODES,
) -> SuffixBound:
    """Return the least makespan, or a bound on the longest stage that is rarely below the least.

    The longest stage is bounded from each device's start: with its own end first, and of the others
    only those that started before; then with all ends, which may be as much later as the starts.

    Parameters
    ----------
    problem : PipelineProblem
        Nothing is proven of one that does not fit its limits.
    base : int
        A proven bound.
    deadline : Deadline
    enough : int or None
        Ticks of a known schedule: a bound that reaches them ends the search.
    most_nodes : int
        Of each search.
    """
    best = SuffixBound(base, None, None)
    if not applies(problem):
        return best
    rows = _rows(problem)
    known = PIPELINE_NO_LIMIT if enough is None else enough
    for device, all_ends in _questions(problem):
        if deadline.expired() or best.ticks >= known:
            break
        ticks, _, words = pipeline_suffix_bound(
            rows,
            problem.microbatches,
            device=device,
            all_ends=all_ends,
            enough=known,
            most_nodes=most_nodes,
            time_limit_s=deadline.remaining_s(),
            cancel=deadline.cancel,
        )
        best = best._replace(ticks=max(best.ticks, ticks))
        if words:
            schedule = _completed(problem, words)
            cost = cost_ticks(problem, best_timeline(problem, schedule))
            if best.cost is None or cost < best.cost:
                best = best._replace(schedule=schedule, cost=cost)
            known = min(known, cost)
    return best


def applies(problem: PipelineProblem) -> bool:
    """Return whether a problem fits and is small and plain: F, B and W only, all take time."""
    return (
        problem.device_of == tuple(range(problem.devices))
        and problem.devices <= MOST_DEVICES
        and problem.microbatches <= MOST_MICROBATCHES
        and problem.offloading is problem.vocabulary is problem.sharding is None
        and all(min(stage.forward, stage.backward, stage.weight) > 0 for stage in problem.stages)
        and all(
            limit is None or limit >= stage.activation_bytes
            for stage, limit in zip(problem.stages, problem.limits, strict=True)
        )
        and within_kernels(problem)
    )


def _questions(problem: PipelineProblem) -> Iterator[tuple[int, bool]]:
    if problem.objective is PipelineObjective.MAKESPAN:
        return iter([(-1, True)])
    devices = range(problem.devices)
    return itertools.chain(((d, False) for d in devices), ((d, True) for d in devices))


def _rows(problem: PipelineProblem) -> NDArray[np.int64]:
    return np.array(
        [
            number
            for stage, hop, limit in zip(
                problem.stages, (*problem.hops, 0), problem.limits, strict=True
            )
            for number in (
                stage.forward,
                stage.backward,
                stage.weight,
                hop,
                stage.activation_bytes,
                stage.kept_bytes,
                PIPELINE_NO_LIMIT if limit is None else min(limit, PIPELINE_NO_LIMIT),
            )
        ],
        dtype=np.int64,
    )


def _completed(problem: PipelineProblem, words: list[NDArray[np.uint8]]) -> PipelineSchedule:
    """Return the schedule of orders whose ends may lack B and W that nothing waits for."""
    orders = []
    for stage, word in enumerate(words):
        kinds = [_KINDS[number] for number in word.tolist()]
        backward, weight = kinds.count(PassKind.BACKWARD), kinds.count(PassKind.WEIGHT)
        kinds += [PassKind.WEIGHT] * (backward - weight)
        kinds += [PassKind.BACKWARD, PassKind.WEIGHT] * (problem.microbatches - backward)
        orders.append(numbered(stage, kinds))
    return PipelineSchedule("suffixes", problem.device_of, tuple(orders))
