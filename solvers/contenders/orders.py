"""Orders to plan on: the list heuristics, and orders on which steps fit that need care."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice, product
from typing import TYPE_CHECKING

from planner.ends import ends
from planner.footprint import forced_overwrites
from planner.problem import OrderProblem
from solvers.contenders.fixed_order import FixedOrder, fix_order
from solvers.contenders.in_place import InPlaceChoice
from solvers.order.heuristics import LIST_ORDERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from planner.ends import End
    from planner.problem import PlanningProblem
    from solvers.protocol import Deadline

# Ways to share out overwrites that are tried where their precedences contradict each other.
_OVERWRITES_TRIED = 64
# Operators considered for the first step, and for the last.
_ENDS_TRIED = 4


def order_problem(problem: PlanningProblem) -> OrderProblem:
    """Return the ordering problem of a planning problem; storages left far count nothing."""
    ordering = OrderProblem.from_graph(
        problem.graph,
        in_place=problem.in_place,
        inputs_resident=problem.inputs_resident,
        outputs_resident=problem.inputs_resident,
    )
    if not problem.far_storages:
        return ordering
    size = ordering.size.copy()
    size[list(problem.far_storages)] = 0
    return replace(ordering, size=size)


def heuristic_orders(
    problem: PlanningProblem, ordering: OrderProblem, deadline: Deadline, seed: int
) -> list[FixedOrder]:
    """Run the list heuristics, the lowest peak first; equal orders appear once."""
    found: dict[tuple[int, ...], FixedOrder] = {}
    for heuristic in LIST_ORDERS:
        outcome = heuristic.solve(ordering, deadline=deadline, seed=seed)
        if outcome.solution is not None:
            order = tuple(int(operator) for operator in outcome.solution.order)
            if order not in found:
                found[order] = fix_order(problem, order, InPlaceChoice.YOUNGEST)
    return sorted(found.values(), key=lambda fixed: fixed.peak_bytes)


def order_that_fits(problem: PlanningProblem, ordering: OrderProblem) -> FixedOrder | None:
    """Return an order under which steps fit that do not fit under every order.

    Operators that fit only by overwriting an operand run after everybody else who uses it. Where
    the caller's inputs and outputs lie in the nearest memory, the first operator fits beside the
    inputs and the last one beside the outputs. Of the orders with these precedences it is the one
    that takes the lowest ready number first.

    Returns
    -------
    FixedOrder or None
        None where nothing has to be forced, or the precedences contradict each other.
    """
    graph, capacity = problem.graph, problem.capacity_bytes
    if capacity is None:
        return None
    forced: Iterable[dict[int, int]] = [{}]
    if problem.in_place:
        forced = forced_overwrites(
            graph, capacity, alignment_bytes=problem.target.nearest.alignment_bytes
        )
    firsts, lasts = (_fitting(end, capacity) for end in ends(problem))
    import networkx

    for overwrites in islice(forced, _OVERWRITES_TRIED):
        if not overwrites and firsts == [None] and lasts == [None]:
            return None
        precedence: networkx.DiGraph[int] = networkx.DiGraph()
        precedence.add_nodes_from(range(ordering.operators))
        for operator in range(ordering.operators):
            for before in ordering.predecessors.row(operator).tolist():
                precedence.add_edge(before, operator)
        for operator, storage in overwrites.items():
            for other in graph.storage_users.row(storage).tolist():
                if other != operator:
                    precedence.add_edge(other, operator)
        for first, last in product(firsts, lasts):
            with_ends = precedence.copy()
            others = precedence.nodes
            if first is not None:
                with_ends.add_edges_from((first, other) for other in others if other != first)
            if last is not None:
                with_ends.add_edges_from((other, last) for other in others if other != last)
            if networkx.is_directed_acyclic_graph(with_ends):
                order = list(networkx.lexicographical_topological_sort(with_ends))
                return fix_order(problem, order, InPlaceChoice.YOUNGEST)
    return None


def _fitting(end: End, capacity: int) -> Sequence[int | None]:
    """Operators worth forcing to one end, lowest first; [None] where all of them fit there."""
    if not end.operators or end.operators[-1][0] <= capacity:
        return [None]
    return [operator for needed, operator in end.operators if needed <= capacity][:_ENDS_TRIED]
