"""Plans that move the fewest bytes, over all orders, and the proof of it where one is found."""

from __future__ import annotations

from contextlib import suppress
from itertools import product
from typing import TYPE_CHECKING

from planner.errors import DoesNotFitError
from planner.problem import Status
from solvers.contenders.fixed_order import fix_order, has_parts
from solvers.contenders.in_place import InPlaceChoice
from solvers.contenders.spilling import offer_spilling_plans
from solvers.contenders.traffic_bound import best_known, bound_traffic, raise_traffic_bound
from solvers.joint.exact import JointExact
from solvers.joint.spill_orders import another_order
from solvers.order.exact import ExactOrder
from solvers.replacement.belady import Belady
from solvers.replacement.benders import GapSelection
from solvers.replacement.linear_arena import EvictionRule, LinearArena

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.joint_problem import JointProblem
    from planner.problem import PlanningProblem
    from planner.scoreboard import Scoreboard
    from solvers.contenders.traffic_bound import SpillBound
    from solvers.protocol import Deadline

# The exact search often ends in no time: what it gets before the bound is sought in earnest.
_QUICK_SEARCH_S = 1.5
# Of the time left, what the bound, gap selection on one order and the exact search may take.
_BOUND_SHARE = 0.5
_ORDER_SHARE = 0.3
_SEARCH_SHARE = 0.7
# At most, for the order of the smallest peak.
_LEAST_PEAK_S = 1.0
_OTHER_ORDERS = 8


def offer_least_traffic(
    problem: PlanningProblem,
    board: Scoreboard,
    bound: SpillBound,
    *,
    contender: str,
    deadline: Deadline,
    seed: int,
) -> str:
    """Offer plans on the orders that bound and exact search find, until they meet the bound.

    Returns
    -------
    str
        A note for the report.
    """
    _offer_bound_orders(problem, board, bound, contender, deadline, seed)
    if board.settled():
        return "least traffic over all orders: bound met"
    quick = deadline.within(_QUICK_SEARCH_S)
    searched = _search(problem, board, bound, contender, quick, deadline, seed)
    if not board.settled():
        _offer_baselines(problem, board, bound.joint, contender, deadline, seed)
    if not board.settled() and searched is not Status.OPTIMAL:
        share = deadline.within(_BOUND_SHARE * deadline.remaining_s())
        bound = bound_traffic(problem, board, contender=contender, deadline=share, seed=seed)
        _offer_bound_orders(problem, board, bound, contender, deadline, seed)
        if not board.settled():
            share = deadline.within(_SEARCH_SHARE * deadline.remaining_s())
            searched = _search(problem, board, bound, contender, share, deadline, seed)
    if not board.settled():
        _offer_other_orders(problem, board, bound, contender, deadline, seed)
    if searched is Status.OPTIMAL:
        return "least traffic over all orders: searched to the end"
    return f"least traffic over all orders: {'bound met' if board.settled() else 'open'}"


def _offer_bound_orders(
    problem: PlanningProblem,
    board: Scoreboard,
    bound: SpillBound,
    contender: str,
    deadline: Deadline,
    seed: int,
) -> None:
    """Offer the orders that came with the bound."""
    outcomes = [bound.outcome] if bound.relaxed is None else [bound.outcome, bound.relaxed.outcome]
    for solution in (outcome.solution for outcome in outcomes):
        if solution is not None:
            order = solution.order.tolist()
            offer_order(problem, board, order, contender=contender, deadline=deadline, seed=seed)


def _search(
    problem: PlanningProblem,
    board: Scoreboard,
    bound: SpillBound,
    contender: str,
    limit: Deadline,
    deadline: Deadline,
    seed: int,
) -> Status:
    """Search exactly, enter its bound, offer its order; return whether it came to the end."""
    known = [bound.outcome.solution, best_known(board)]
    outcome = JointExact(
        cuts=bound.outcome.statistics.get("cuts", ()), lower_bound=bound.outcome.lower_bound or 0
    ).solve(
        bound.joint,
        deadline=limit,
        seed=seed,
        incumbent=min(
            (solution for solution in known if solution is not None),
            key=lambda solution: solution.traffic_bytes,
            default=None,
        ),
    )
    raise_traffic_bound(problem, board, bound.joint, outcome.lower_bound)
    if board.settled():
        board.credit(contender)
    elif outcome.solution is not None:
        order = outcome.solution.order.tolist()
        offer_order(problem, board, order, contender=contender, deadline=deadline, seed=seed)
    return outcome.status


def _offer_other_orders(
    problem: PlanningProblem,
    board: Scoreboard,
    bound: SpillBound,
    contender: str,
    deadline: Deadline,
    seed: int,
) -> None:
    """Offer more orders: addresses may stand in the way of one and not of another."""
    levels = bound.outcome.statistics.get("levels", ())
    for turn in range(1, _OTHER_ORDERS + 1):
        if board.settled() or deadline.expired():
            return
        other = another_order(bound.joint, levels, deadline=deadline, seed=seed + turn)
        if other is None:
            return
        order = other.order.tolist()
        offer_order(problem, board, order, contender=contender, deadline=deadline, seed=seed)


def _offer_baselines(
    problem: PlanningProblem,
    board: Scoreboard,
    joint: JointProblem,
    contender: str,
    deadline: Deadline,
    seed: int,
) -> None:
    """Offer what COSMA compares with, linear arenas on two orders, so that no result is worse."""
    lowest = ExactOrder().solve(
        joint.ordering(),
        deadline=deadline.within(min(_LEAST_PEAK_S, _ORDER_SHARE * deadline.remaining_s())),
        seed=seed,
    )
    orders = [list(range(joint.operators))]
    if lowest.solution is not None:
        orders.append(lowest.solution.order.tolist())
    for order in orders:
        fixed = fix_order(problem, order, InPlaceChoice.NONE)
        for rule in EvictionRule:
            # Other plans may need less of the farther memory.
            with suppress(DoesNotFitError):
                offer_spilling_plans(
                    problem,
                    board,
                    [fixed],
                    LinearArena(rule, moving=True),
                    contender=contender,
                    deadline=deadline,
                    seed=seed,
                    at_most=1,
                )


def offer_order(
    problem: PlanningProblem,
    board: Scoreboard,
    order: Sequence[int],
    *,
    contender: str,
    deadline: Deadline,
    seed: int,
) -> None:
    """Offer the least traffic of one order: Belady's rule first, which often meets the bound."""
    choices = list(InPlaceChoice) if problem.in_place else [InPlaceChoice.NONE]
    writes = (True, False) if has_parts(problem.graph) else (True,)
    for choice, whole_writes in product(choices, writes):
        fixed = fix_order(problem, order, choice, whole_writes=whole_writes)
        for solver in (Belady(), GapSelection()):
            if board.settled() or deadline.expired() or not solver.available().available:
                return
            offer_spilling_plans(
                problem,
                board,
                [fixed],
                solver,
                contender=contender,
                deadline=deadline.within(_ORDER_SHARE * deadline.remaining_s()),
                seed=seed,
                at_most=1,
            )
