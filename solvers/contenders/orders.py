"""Orders to plan on: the list heuristics, and orders that force overwrites a memory depends on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import networkx

from planner.graph import RaggedArray
from planner.problem import OrderProblem
from solvers.contenders.fixed_order import FixedOrder, fix_order
from solvers.contenders.in_place import InPlaceChoice
from solvers.order.heuristics import LIST_ORDERS

if TYPE_CHECKING:
    from planner.problem import PlanningProblem
    from solvers.protocol import Deadline


def order_problem(problem: PlanningProblem) -> OrderProblem:
    """Return the ordering problem of a planning problem."""
    return OrderProblem.from_graph(
        problem.graph,
        in_place=problem.in_place,
        inputs_resident=problem.inputs_resident,
        outputs_resident=problem.inputs_resident,
    )


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


def with_forced_overwrites(problem: PlanningProblem, ordering: OrderProblem) -> OrderProblem | None:
    """Add the precedences without which an operator cannot fit.

    An operator whose separate operands exceed the memory fits only if it overwrites an operand,
    so everybody else who uses that operand has to run before. Where there is a choice, the first
    operand that keeps the precedences acyclic is taken.

    Returns
    -------
    OrderProblem or None
        None where nothing has to be forced. Its operators keep their numbers; its default order
        is not necessarily 0 .. n - 1 any more, see `default_order`.
    """
    graph, capacity = problem.graph, problem.capacity_bytes
    if capacity is None or not problem.in_place:
        return None
    alignment = problem.target.nearest.alignment_bytes

    def rounded(storage: int) -> int:
        return -(-graph.storages[storage].size_bytes // alignment) * alignment

    precedence: networkx.DiGraph[int] = networkx.DiGraph()
    precedence.add_nodes_from(range(len(graph.operators)))
    for operator in range(len(graph.operators)):
        for before in graph.predecessors.row(operator).tolist():
            precedence.add_edge(before, operator)
    forced = False
    for operator in range(len(graph.operators)):
        operands = graph.operand_storages.row(operator).tolist()
        if sum(rounded(storage) for storage in operands) <= capacity:
            continue
        for source in ordering.in_place.row(operator).tolist():
            others = [u for u in graph.storage_users.row(source).tolist() if u != operator]
            new = [
                (other, operator) for other in others if not precedence.has_edge(other, operator)
            ]
            if any(networkx.has_path(precedence, operator, other) for other, _ in new):
                continue
            precedence.add_edges_from(new)
            forced = forced or bool(new)
            break
    if not forced:
        return None
    return replace(
        ordering,
        predecessors=RaggedArray.from_rows(
            [sorted(precedence.predecessors(o)) for o in range(len(graph.operators))]
        ),
    )


def default_order(ordering: OrderProblem) -> list[int]:
    """Return the topological order that takes the lowest ready number first."""
    precedence: networkx.DiGraph[int] = networkx.DiGraph()
    precedence.add_nodes_from(range(ordering.operators))
    for operator in range(ordering.operators):
        for before in ordering.predecessors.row(operator).tolist():
            precedence.add_edge(before, operator)
    return list(networkx.lexicographical_topological_sort(precedence))
