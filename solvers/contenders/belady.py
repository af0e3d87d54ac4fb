"""Belady's rule on the list orders: evict the storage whose next use is furthest away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from solvers.contenders.orders import (
    heuristic_orders,
    order_problem,
    order_that_fits,
)
from solvers.contenders.spilling import may_spill, offer_spilling_plans
from solvers.protocol import Availability
from solvers.replacement.belady import Belady as FurthestNextUse

if TYPE_CHECKING:
    from planner.problem import PlanningProblem
    from planner.scoreboard import Scoreboard
    from solvers.protocol import Deadline

_ORDERS_TRIED = 4


class Belady:
    """Furthest-next-use eviction on default, least-live, depth-first and breadth-first orders."""

    name = "belady"

    def available(self) -> Availability:
        """Return that it can always run."""
        return Availability(True)

    def applies(self, problem: PlanningProblem, board: Scoreboard) -> str:
        """Return why there is nothing to evict, if so."""
        if not may_spill(problem):
            return "the target has no limited memory with another one to spill to"
        best = board.best
        if best is not None and best.metrics.traffic_bytes == 0:
            return "everything fits, nothing to evict"
        return ""

    def run(
        self, problem: PlanningProblem, board: Scoreboard, *, deadline: Deadline, seed: int
    ) -> str:
        """Offer a plan for each order."""
        ordering = order_problem(problem)
        orders = heuristic_orders(problem, ordering, deadline, seed)
        forced = order_that_fits(problem, ordering)
        offer_spilling_plans(
            problem,
            board,
            orders if forced is None else [*orders, forced],
            FurthestNextUse(),
            contender=self.name,
            deadline=deadline,
            seed=seed,
            at_most=_ORDERS_TRIED,
        )
        return ""
