"""Proofs: the minimum-peak order, exact offsets on it, and optimal replacement where it spills."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from planner.problem import Objective, OrderSolution
from planner.result import Bounds
from solvers.contenders.fixed_order import fix_order, leave_overwrites_open
from solvers.contenders.in_place import InPlaceChoice
from solvers.contenders.least_traffic import offer_least_traffic
from solvers.contenders.orders import (
    heuristic_orders,
    order_problem,
    order_that_fits,
)
from solvers.contenders.spilling import may_spill, offer_spilling_plans
from solvers.contenders.traffic_bound import bound_traffic, may_need_spills
from solvers.contenders.whole_lives import lowest_placement, offer_placement
from solvers.offsets import pack
from solvers.order.exact import ExactOrder
from solvers.protocol import Availability
from solvers.replacement.benders import GapSelection

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from planner.problem import OrderProblem, PlanningProblem
    from planner.scoreboard import Scoreboard
    from solvers.contenders.fixed_order import FixedOrder
    from solvers.contenders.traffic_bound import SpillBound
    from solvers.protocol import Deadline

# For a first bound on traffic, which is often the last.
_FIRST_BOUND_S = 0.6
_ORDER_SHARE = 0.5
_PLACEMENT_SHARE = 0.5
_SPILLING_ORDERS = 3


class Exact:
    """Exact best-first order, place-or-raise offsets, gap-selection MIP."""

    name = "exact"

    def available(self) -> Availability:
        """Return that it can always run: its order and offsets are native."""
        return Availability(True)

    def applies(self, problem: PlanningProblem, board: Scoreboard) -> str:
        """Return that it always applies."""
        return ""

    def run(
        self, problem: PlanningProblem, board: Scoreboard, *, deadline: Deadline, seed: int
    ) -> str:
        """Prove the peak and place it; where that does not fit, minimise what is spilled."""
        ordering = order_problem(problem)
        known: OrderSolution | None = None
        note = ""
        spills: SpillBound | None = None
        if may_need_spills(problem, board):
            spills = bound_traffic(
                problem,
                board,
                contender=self.name,
                deadline=deadline.within(min(_FIRST_BOUND_S, 0.5 * deadline.remaining_s())),
                seed=seed,
            )
            found = spills.outcome.solution
            if spills.outcome.lower_bound:
                note = offer_least_traffic(
                    problem, board, spills, contender=self.name, deadline=deadline, seed=seed
                )
                if board.settled():
                    return note
                if problem.objective is not Objective.LATENCY and not problem.partial_spills:
                    self._offer_spills(problem, board, ordering, None, deadline, seed)
                    return note
            elif found is not None and found.traffic_bytes == 0:
                # Its peak is within the capacity; the search looks for a lower one.
                known = OrderSolution(found.order, spills.joint.capacity)
        outcome = ExactOrder().solve(
            ordering,
            deadline=deadline.within(_ORDER_SHARE * deadline.remaining_s()),
            seed=seed,
            incumbent=known,
        )
        if outcome.lower_bound is not None and not problem.far_storages:
            board.raise_bounds(_bounds(problem, outcome.lower_bound))
            if board.settled():
                board.credit(self.name)
                return "proved that the best plan is optimal"
        if outcome.solution is None:
            return "no order in the time given"
        order = tuple(int(operator) for operator in outcome.solution.order)
        if self._offer_whole_lives(problem, board, order, deadline, seed):
            return f"order {outcome.status}"
        if not may_spill(problem):
            return f"order {outcome.status}, no placement fits"
        if spills is not None and not note:
            note = offer_least_traffic(
                problem, board, spills, contender=self.name, deadline=deadline, seed=seed
            )
            if board.settled():
                return note
        return self._offer_spills(problem, board, ordering, order, deadline, seed) or note

    def _offer_whole_lives(
        self,
        problem: PlanningProblem,
        board: Scoreboard,
        order: Sequence[int],
        deadline: Deadline,
        seed: int,
    ) -> bool:
        """Offer the lowest arenas found for an order; return whether one fits."""
        placing = deadline.within(_PLACEMENT_SHARE * deadline.remaining_s())
        lowest = lowest_placement(problem, _overwriting(problem, order), pack, placing)
        if lowest is None:
            return False
        offer_placement(problem, board, lowest, self.name, deadline=deadline, seed=seed)
        return True

    def _offer_spills(
        self,
        problem: PlanningProblem,
        board: Scoreboard,
        ordering: OrderProblem,
        order: Sequence[int] | None,
        deadline: Deadline,
        seed: int,
    ) -> str:
        """Optimise the spills on an order, if one is given, and on the list orders."""
        solver = GapSelection()
        availability = solver.available()
        if not availability.available:
            return f"does not fit without spills; {availability.reason}"
        orders = heuristic_orders(problem, ordering, deadline, seed)
        if order is not None:
            given = fix_order(problem, order, InPlaceChoice.YOUNGEST)
            orders = [given, *(fixed for fixed in orders if fixed.order != given.order)]
        forced = order_that_fits(problem, ordering)
        orders += [] if forced is None else [forced]
        outcomes = offer_spilling_plans(
            problem,
            board,
            orders,
            solver,
            contender=self.name,
            deadline=deadline,
            seed=seed,
            at_most=_SPILLING_ORDERS,
        )
        if not outcomes:
            return "does not fit without spills; no order lets every operator fit"
        bound, first = outcomes[0].lower_bound, orders[0]
        # Elsewhere a use in the farther memory may cost less than a spill.
        bounded = bound is not None and problem.target.operands_resident
        if bounded and not first.in_place and _is_only_order(problem, first.order):
            board.raise_bounds(Bounds(traffic_bytes=bound))
            return "spills optimised on the only order"
        return f"spills optimised on {len(outcomes)} of the orders tried"


def _overwriting(problem: PlanningProblem, order: Sequence[int]) -> Iterator[FixedOrder]:
    """Yield an order with the overwrites that mostly do, then left open, then the other choices."""
    for choice in InPlaceChoice:
        fixed = fix_order(problem, order, choice)
        yield fixed
        if choice is InPlaceChoice.YOUNGEST:
            yield leave_overwrites_open(problem, fixed)


def _is_only_order(problem: PlanningProblem, order: Sequence[int]) -> bool:
    """Whether what is optimal for this order is optimal: each operator depends on the one before.

    Storages written piece by piece are held longer than legal plans have to, so none may exist. And
    in a capacity that is no multiple of the alignment, the last storage may lie in the rest, which
    the solver of whole storages leaves out.
    """
    graph = problem.graph
    exact_capacity = problem.target.activation_capacity(graph.constant_bytes)
    if problem.capacity_bytes != exact_capacity and not problem.partial_spills:
        return False
    if any(len(graph.storage_writers.row(s)) > 1 for s in range(len(graph.storages))):
        return False
    return all(before in graph.predecessors.row(after) for before, after in pairwise(order))


def _bounds(problem: PlanningProblem, peak_bytes: int) -> Bounds:
    """Return what a bound on the peak without spills says about traffic.

    At the worst step of any order at least ``peak - capacity`` bytes in use before and after are
    elsewhere. Each of them is read back, and written out before unless the farther memory had it
    anyway: graph inputs, and outputs whose store is compulsory.
    """
    capacity = problem.target.activation_capacity(problem.graph.constant_bytes)
    if capacity is None or peak_bytes <= capacity or not problem.target.operands_resident:
        return Bounds(peak_bytes=peak_bytes)
    absent = peak_bytes - capacity
    free_to_write = 0
    if not problem.inputs_resident:
        free_to_write = sum(
            storage.size_bytes
            for storage in problem.graph.storages
            if storage.is_output or storage.kind == "input"
        )
    return Bounds(peak_bytes=peak_bytes, traffic_bytes=absent + max(0, absent - free_to_write))
