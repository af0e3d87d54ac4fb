"""Proofs: the minimum-peak order, exact offsets on it, and optimal replacement where it spills."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.result import Bounds
from solvers.contenders.assemble import assemble
from solvers.contenders.fixed_order import fix_order, place_whole_lives
from solvers.contenders.in_place import InPlaceChoice
from solvers.contenders.orders import heuristic_orders, order_problem
from solvers.contenders.spilling import forced_order, may_spill, offer_spilling_plans
from solvers.offsets import pack
from solvers.order.exact import ExactOrder
from solvers.protocol import Availability
from solvers.replacement.benders import GapSelection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.problem import OrderProblem, PlanningProblem
    from planner.scoreboard import Scoreboard
    from solvers.contenders.fixed_order import FixedOrder
    from solvers.protocol import Deadline

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
        """Prove the peak, place it, and if it does not fit, minimise what is spilled."""
        ordering = order_problem(problem)
        outcome = ExactOrder().solve(
            ordering, deadline=deadline.within(_ORDER_SHARE * deadline.remaining_s()), seed=seed
        )
        if outcome.lower_bound is not None:
            board.raise_bounds(_bounds(problem, outcome.lower_bound))
        if outcome.solution is None:
            return "no order in the time given"
        order = tuple(int(operator) for operator in outcome.solution.order)
        if self._offer_whole_lives(problem, board, order, deadline, seed):
            return f"order {outcome.status}"
        if not may_spill(problem):
            return f"order {outcome.status}, no placement fits"
        return self._offer_spills(problem, board, ordering, order, deadline, seed)

    def _offer_whole_lives(
        self,
        problem: PlanningProblem,
        board: Scoreboard,
        order: Sequence[int],
        deadline: Deadline,
        seed: int,
    ) -> bool:
        """Offer the lowest arenas found for an order; return whether one fits."""
        capacity, alignment = problem.capacity_bytes, problem.target.nearest.alignment_bytes
        placing = deadline.within(_PLACEMENT_SHARE * deadline.remaining_s())
        tried: set[tuple[object, ...]] = set()
        lowest: int | None = None
        for choice in InPlaceChoice:
            fixed = fix_order(problem, order, choice)
            if fixed.in_place in tried:
                continue
            tried.add(fixed.in_place)
            if lowest is not None and (placing.expired() or fixed.peak_bytes > lowest):
                continue
            placement = place_whole_lives(
                fixed, pack, placing.within(placing.remaining_s() / (5 - len(tried)))
            )
            if placement is None or (capacity is not None and placement.height_bytes > capacity):
                continue
            if lowest is not None and placement.height_bytes >= lowest:
                continue
            lowest = placement.height_bytes
            board.offer(
                self.name,
                assemble(
                    problem,
                    fixed.order,
                    fixed.in_place,
                    placement.episodes,
                    contender=self.name,
                    deadline=deadline,
                    seed=seed,
                    settings={"in_place_choice": choice.value},
                ),
            )
            if lowest < fixed.peak_bytes + alignment or board.settled():
                break
        return lowest is not None

    def _offer_spills(
        self,
        problem: PlanningProblem,
        board: Scoreboard,
        ordering: OrderProblem,
        order: Sequence[int],
        deadline: Deadline,
        seed: int,
    ) -> str:
        solver = GapSelection()
        availability = solver.available()
        if not availability.available:
            return f"does not fit without spills; {availability.reason}"
        proven = fix_order(problem, order, InPlaceChoice.YOUNGEST)
        others = [
            fixed
            for fixed in heuristic_orders(problem, ordering, deadline, seed)
            if fixed.order != proven.order
        ]
        orders: list[FixedOrder] = [proven, *others, *forced_order(problem, ordering)]
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
        return f"spills optimised on {len(outcomes)} orders"


def _bounds(problem: PlanningProblem, peak_bytes: int) -> Bounds:
    """Return what a bound on the peak without spills says about traffic.

    At the worst step of any order at least ``peak - capacity`` bytes in use before and after are
    elsewhere. Each of them is read back, and written out before unless the farther memory had it
    anyway: graph inputs, and outputs whose store is compulsory.
    """
    capacity = problem.capacity_bytes
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
