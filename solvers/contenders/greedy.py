"""The baseline: the best list order, greedy offsets, and greedy eviction where it does not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from solvers.contenders.assemble import assemble
from solvers.contenders.fixed_order import fix_order, greedy_pack, place_whole_lives
from solvers.contenders.in_place import InPlaceChoice
from solvers.contenders.orders import heuristic_orders, order_problem
from solvers.contenders.spilling import forced_order, may_spill, offer_spilling_plans
from solvers.protocol import Availability
from solvers.replacement.belady import GreedyEviction

if TYPE_CHECKING:
    from planner.problem import PlanningProblem
    from planner.scoreboard import Scoreboard
    from solvers.protocol import Deadline

_ORDERS_TRIED = 2


class Greedy:
    """List orders, greedy offsets, greedy eviction."""

    name = "greedy"

    def available(self) -> Availability:
        """Return that it can always run."""
        return Availability(True)

    def applies(self, problem: PlanningProblem, board: Scoreboard) -> str:
        """Return that it always applies."""
        return ""

    def run(
        self, problem: PlanningProblem, board: Scoreboard, *, deadline: Deadline, seed: int
    ) -> str:
        """Offer the lowest arena of the best orders, else a plan that spills."""
        ordering = order_problem(problem)
        orders = heuristic_orders(problem, ordering, deadline, seed)
        fits = False
        for fixed in orders[:_ORDERS_TRIED]:
            for choice in (InPlaceChoice.YOUNGEST, InPlaceChoice.NONE):
                candidate = fix_order(problem, fixed.order, choice)
                placement = place_whole_lives(candidate, greedy_pack, deadline)
                capacity = problem.capacity_bytes
                if placement is None or (
                    capacity is not None and placement.height_bytes > capacity
                ):
                    continue
                fits = True
                board.offer(
                    self.name,
                    assemble(
                        problem,
                        candidate.order,
                        candidate.in_place,
                        placement.episodes,
                        contender=self.name,
                        deadline=deadline,
                        seed=seed,
                    ),
                )
                if not candidate.in_place:
                    break
        if fits or not may_spill(problem):
            return ""
        offer_spilling_plans(
            problem,
            board,
            [*orders, *forced_order(problem, ordering)],
            GreedyEviction(),
            contender=self.name,
            deadline=deadline,
            seed=seed,
            at_most=_ORDERS_TRIED,
        )
        return ""
