"""Which orders of the operators to map on: the list orders, each judged by a few decodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rl.agent import learned_starts
from solvers._native import mapping_decode_weights
from solvers.contenders.orders import order_problem
from solvers.mapping.native import Decoded, native_model
from solvers.mapping.program import mapping_programs
from solvers.order.heuristics import LIST_ORDERS

if TYPE_CHECKING:
    from planner.problem import PlanningProblem
    from solvers.mapping.program import MappedProgram
    from solvers.protocol import Deadline

# Decodes per order: as good as all static ones on average (docs/train_agent.md).
_DECODES = 3
# Where there are more accesses, the model's own order is taken: to state the program takes longer
# than to search on it.
_MOST_ACCESSES = 6_000


class OrderChoice(NamedTuple):
    """Programs under the chosen orders, and how many decodes it took to choose."""

    programs: tuple[MappedProgram, ...]
    decodes: int


def chosen_orders(
    problem: PlanningProblem, deadline: Deadline, seed: int, *, fifo: bool = False
) -> OrderChoice:
    """Return the program of the model's own order, and of a list order that looks better, if any.

    A few decodes on each are only a hint, so that the own order stays in the race.
    """
    own = tuple(range(len(problem.graph.operators)))
    orders = [own]
    ordering = order_problem(problem)
    accesses = len(problem.graph.operand_storages.values)
    for heuristic in LIST_ORDERS if accesses <= _MOST_ACCESSES else ():
        outcome = heuristic.solve(ordering, deadline=deadline, seed=seed)
        if outcome.solution is not None:
            order = tuple(outcome.solution.order.tolist())
            if order not in orders:
                orders.append(order)
    programs = mapping_programs(problem, orders)
    first = next(programs)
    if len(orders) == 1:
        return OrderChoice((first,), 0)
    other, latency, decodes = None, _decoded(first, deadline, fifo=fifo), _DECODES
    for program in programs:
        if deadline.expired():
            break
        found = _decoded(program, deadline, fifo=fifo)
        decodes += _DECODES
        if found < latency:
            other, latency = program, found
    return OrderChoice((first,) if other is None else (other, first), decodes)


def _decoded(program: MappedProgram, deadline: Deadline, *, fifo: bool) -> int:
    """Ticks of the best of the first learned decodes."""
    model = native_model(program.problem)
    return min(
        Decoded(
            *mapping_decode_weights(
                model,
                weights=start.weights,
                residual=np.empty(0),
                window=start.window,
                fifo=fifo,
                addresses=False,
                time_limit_s=deadline.remaining_s(),
                cancel=deadline.cancel,
            )
        ).latency
        for start in learned_starts().starts[:_DECODES]
    )
