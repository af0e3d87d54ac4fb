"""The baseline: the best list order, greedy offsets, and greedy eviction where it does not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.mapping_problem import MappingSolution
from planner.problem import Objective
from solvers.contenders.fixed_order import fix_order, greedy_pack, leave_overwrites_open
from solvers.contenders.in_place import InPlaceChoice
from solvers.contenders.mapping_plan import mapping_plan
from solvers.contenders.orders import (
    heuristic_orders,
    order_problem,
    order_that_fits,
)
from solvers.contenders.spilling import may_spill, offer_spilling_plans
from solvers.contenders.whole_lives import lowest_placement, offer_placement
from solvers.mapping.program import mapping_program, why_not_mappable
from solvers.protocol import Availability
from solvers.replacement.belady import GreedyEviction

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from planner.problem import PlanningProblem
    from planner.scoreboard import Scoreboard
    from solvers.contenders.fixed_order import FixedOrder
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
        """Offer the lowest arena of the best orders, else a plan that spills.

        For least latency, first the plan in which the fast memory serves nothing, where there is
        one: it may be much the better one.
        """
        if problem.objective is Objective.LATENCY and not why_not_mappable(problem):
            self._offer_everything_slow(problem, board, deadline=deadline, seed=seed)
        ordering = order_problem(problem)
        orders = heuristic_orders(problem, ordering, deadline, seed)
        lowest = lowest_placement(
            problem, _overwriting(problem, orders[:_ORDERS_TRIED]), greedy_pack, deadline
        )
        if lowest is not None:
            offer_placement(problem, board, lowest, self.name, deadline=deadline, seed=seed)
            return ""
        if not may_spill(problem):
            return ""
        forced = order_that_fits(problem, ordering)
        offer_spilling_plans(
            problem,
            board,
            orders if forced is None else [*orders, forced],
            GreedyEviction(),
            contender=self.name,
            deadline=deadline,
            seed=seed,
            at_most=_ORDERS_TRIED,
        )
        return ""

    def _offer_everything_slow(
        self, problem: PlanningProblem, board: Scoreboard, *, deadline: Deadline, seed: int
    ) -> None:
        program = mapping_program(problem, range(len(problem.graph.operators)))
        nothing = MappingSolution((), program.problem.all_slow)
        plan = mapping_plan(
            problem, program, nothing, contender=self.name, deadline=deadline, seed=seed
        )
        board.offer(self.name, plan)


def _overwriting(problem: PlanningProblem, orders: Sequence[FixedOrder]) -> Iterator[FixedOrder]:
    """Yield each order with the overwrites that mostly do and without any; the best with a choice.

    Leaving the overwrites open takes longer than all else, and the exact contender does it as well.
    """
    for index, fixed in enumerate(orders):
        yield fixed
        if index == 0:
            yield leave_overwrites_open(problem, fixed)
        yield fix_order(problem, fixed.order, InPlaceChoice.NONE)
