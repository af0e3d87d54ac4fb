"""Plans that move the fewest bytes, over all orders, and the proof of it where one is found."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.joint_problem import JointProblem, JointSolution
from planner.problem import Status
from planner.result import Bounds
from solvers.contenders.fixed_order import fix_order
from solvers.contenders.in_place import InPlaceChoice
from solvers.contenders.spilling import may_spill, offer_spilling_plans
from solvers.joint.exact import JointExact
from solvers.joint.spill_orders import another_order
from solvers.joint.spill_set import SpillSet
from solvers.replacement.belady import Belady
from solvers.replacement.benders import GapSelection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.problem import Outcome, PlanningProblem
    from planner.scoreboard import Scoreboard
    from solvers.protocol import Deadline

# Of the time left, what the bound, gap selection on one order, and the exact search may take.
_BOUND_SHARE = 0.4
_ORDER_SHARE = 0.3
_SEARCH_SHARE = 0.7
_OTHER_ORDERS = 8


class SpillBound(NamedTuple):
    """What is known of the least traffic before any plan is made.

    Attributes
    ----------
    joint : JointProblem
    outcome : Outcome of JointSolution
        Of the spill-set solver.
    """

    joint: JointProblem
    outcome: Outcome[JointSolution]


def may_need_spills(problem: PlanningProblem, board: Scoreboard) -> bool:
    """Whether traffic over all orders is a question here: nothing that moves no bytes is known."""
    best = board.best
    return (
        may_spill(problem)
        and problem.target.operands_resident
        and not problem.far_storages
        and (best is None or best.metrics.traffic_bytes > 0)
    )


def bound_traffic(
    problem: PlanningProblem, board: Scoreboard, *, contender: str, deadline: Deadline, seed: int
) -> SpillBound:
    """Prove how many bytes every plan moves at least, and enter the bound."""
    joint = JointProblem.of(problem)
    outcome = SpillSet().solve(
        joint,
        deadline=deadline.within(_BOUND_SHARE * deadline.remaining_s()),
        seed=seed,
        incumbent=best_known(board),
    )
    _raise_bound(problem, board, outcome)
    if board.settled():
        board.credit(contender)
    return SpillBound(joint, outcome)


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
    joint, outcome = bound
    if outcome.solution is not None:
        offer_order(
            problem,
            board,
            outcome.solution.order.tolist(),
            contender=contender,
            deadline=deadline,
            seed=seed,
        )
    if board.settled():
        return "least traffic over all orders: bound met"
    incumbent = best_known(board)
    if incumbent is not None and outcome.solution is not None:
        incumbent = min(incumbent, outcome.solution, key=lambda known: known.traffic_bytes)
    search = JointExact(
        cuts=outcome.statistics.get("cuts", ()), lower_bound=outcome.lower_bound or 0
    )
    searched = search.solve(
        joint,
        deadline=deadline.within(_SEARCH_SHARE * deadline.remaining_s()),
        seed=seed,
        incumbent=incumbent or outcome.solution,
    )
    if np.all(np.diff(joint.writers.offsets) <= 1):
        _raise_bound(problem, board, searched)
    if searched.solution is not None and not board.settled():
        offer_order(
            problem,
            board,
            searched.solution.order.tolist(),
            contender=contender,
            deadline=deadline,
            seed=seed,
        )
    for turn in range(1, _OTHER_ORDERS + 1):
        if board.settled() or deadline.expired():
            break
        # Addresses may stand in the way of one order of least traffic and not of another.
        other = another_order(
            joint, outcome.statistics.get("levels", ()), deadline=deadline, seed=seed + turn
        )
        if other is None:
            break
        offer_order(
            problem, board, other.order.tolist(), contender=contender, deadline=deadline, seed=seed
        )
    if searched.status is Status.OPTIMAL:
        return "least traffic over all orders: searched to the end"
    return "least traffic over all orders: open"


def best_known(board: Scoreboard) -> JointSolution | None:
    """Return the order and traffic of the best plan so far."""
    best = board.best
    if best is None:
        return None
    return JointSolution(np.array(best.order, dtype=np.int32), best.metrics.traffic_bytes)


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
    for choice in choices:
        fixed = fix_order(problem, order, choice)
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


def _raise_bound(
    problem: PlanningProblem, board: Scoreboard, outcome: Outcome[JointSolution]
) -> None:
    # A part of a storage may do where the whole one is counted here.
    if outcome.lower_bound is not None and not problem.partial_spills:
        board.raise_bounds(Bounds(traffic_bytes=outcome.lower_bound))
