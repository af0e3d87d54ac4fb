"""COSMA's machine and its budgets: a scratchpad of B bytes beside a large memory, nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from planner.bench.cosma_networks import Capacities
from planner.footprint import largest_footprint
from planner.problem import Objective, PlanningProblem, Status
from planner.target import Link, Memory, Target

if TYPE_CHECKING:
    from planner.graph import Graph
    from solvers.protocol import Deadline

SCRATCHPAD = "scratchpad"
_DRAM = "dram"
# No rates are compared: only bytes count.
_BYTES_PER_S = 1e9


def problem_at(graph: Graph, capacity_bytes: int) -> PlanningProblem:
    """State the paper's problem: operands in the scratchpad, no alignment, nothing in place."""
    target = Target(
        "cosma",
        (Memory(SCRATCHPAD, capacity_bytes), Memory(_DRAM)),
        (Link(SCRATCHPAD, _DRAM, _BYTES_PER_S), Link(_DRAM, SCRATCHPAD, _BYTES_PER_S)),
        io_memory=_DRAM,
        constant_memory=_DRAM,
    )
    return PlanningProblem(graph, target, Objective.TRAFFIC, in_place=False)


class LeastPeak(NamedTuple):
    """The order of the smallest peak.

    Attributes
    ----------
    order : tuple of int
    peak_bytes : int
    is_proven : bool
        Whether no order has a smaller one.
    cpu_s : float
    """

    order: tuple[int, ...]
    peak_bytes: int
    is_proven: bool
    cpu_s: float


def least_peak(graph: Graph, deadline: Deadline, seed: int) -> LeastPeak:
    """Find the order of the smallest peak, as far as the deadline lets it be proven."""
    from planner.bench.cpu_time import cpu_seconds
    from solvers.contenders.orders import order_problem
    from solvers.order.exact import ExactOrder

    started = cpu_seconds()
    problem = order_problem(problem_at(graph, 0))
    outcome = ExactOrder().solve(problem, deadline=deadline, seed=seed)
    if outcome.solution is None:
        raise RuntimeError("the order solver gave no order")
    return LeastPeak(
        tuple(int(operator) for operator in outcome.solution.order),
        outcome.solution.peak_bytes,
        outcome.status is Status.OPTIMAL,
        cpu_seconds() - started,
    )


def capacities(graph: Graph, peak_bytes: int) -> Capacities:
    """M_R, the largest operands of one operator, M_P, the peak, and M_H halfway, rounded down."""
    least = largest_footprint(graph, in_place=False).size_bytes
    return Capacities(least, (least + peak_bytes) // 2, peak_bytes)
