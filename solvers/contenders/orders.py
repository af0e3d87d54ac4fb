"""Orders to plan on: the list heuristics, and orders that force overwrites a memory depends on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import networkx

from planner.footprint import forced_overwrites
from planner.problem import OrderProblem
from solvers.contenders.fixed_order import FixedOrder, fix_order
from solvers.contenders.in_place import InPlaceChoice
from solvers.order.heuristics import LIST_ORDERS

if TYPE_CHECKING:
    from planner.problem import PlanningProblem
    from solvers.protocol import Deadline


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


def order_with_forced_overwrites(
    problem: PlanningProblem, ordering: OrderProblem
) -> FixedOrder | None:
    """Return an order under which operators fit that need an overwrite to fit.

    Everybody else who uses the overwritten operand runs before. Of the orders with these
    precedences it is the one that takes the lowest ready number first.

    Returns
    -------
    FixedOrder or None
        None where nothing has to be forced, or the precedences contradict each other.
    """
    graph, capacity = problem.graph, problem.capacity_bytes
    if capacity is None or not problem.in_place:
        return None
    forced = forced_overwrites(
        graph, capacity, alignment_bytes=problem.target.nearest.alignment_bytes
    )
    if not forced:
        return None
    precedence: networkx.DiGraph[int] = networkx.DiGraph()
    precedence.add_nodes_from(range(ordering.operators))
    for operator in range(ordering.operators):
        for before in ordering.predecessors.row(operator).tolist():
            precedence.add_edge(before, operator)
    for operator, storage in forced.items():
        for other in graph.storage_users.row(storage).tolist():
            if other != operator:
                precedence.add_edge(other, operator)
    if not networkx.is_directed_acyclic_graph(precedence):
        return None
    order = list(networkx.lexicographical_topological_sort(precedence))
    return fix_order(problem, order, InPlaceChoice.YOUNGEST)
