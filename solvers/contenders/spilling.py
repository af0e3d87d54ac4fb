"""Plans that spill: a replacement solver on a fixed order, written down and entered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.errors import DoesNotFitError
from planner.problem import Status
from solvers.contenders.assemble import assemble

if TYPE_CHECKING:
    from collections.abc import Iterable

    from planner.problem import (
        Outcome,
        PlanningProblem,
        ReplacementProblem,
        ReplacementSolution,
    )
    from planner.scoreboard import Scoreboard
    from solvers.contenders.fixed_order import FixedOrder
    from solvers.protocol import Deadline, Solver


def may_spill(problem: PlanningProblem) -> bool:
    """Whether the target has a memory to spill to and a capacity that could require it."""
    return problem.capacity_bytes is not None and problem.target.spill_memory is not None


def offer_spilling_plans(
    problem: PlanningProblem,
    board: Scoreboard,
    orders: Iterable[FixedOrder],
    solver: Solver[ReplacementProblem, ReplacementSolution],
    *,
    contender: str,
    deadline: Deadline,
    seed: int,
    at_most: int,
) -> list[Outcome[ReplacementSolution]]:
    """Solve replacement on each order and offer the plans.

    Parameters
    ----------
    at_most : int
        Orders on which a plan is made; those on which some operator does not fit do not count.

    Returns
    -------
    list of Outcome
        Of the orders on which there is a plan.

    Raises
    ------
    DoesNotFitError
        If there is none because the farther memory is too small for the copies.
    """
    outcomes: list[Outcome[ReplacementSolution]] = []
    misfit: DoesNotFitError | None = None
    for fixed in orders:
        if outcomes and (len(outcomes) >= at_most or deadline.expired()):
            break
        outcome = solver.solve(fixed.replacement, deadline=deadline, seed=seed)
        if outcome.status is Status.INFEASIBLE or outcome.solution is None:
            continue
        try:
            plan = assemble(
                problem,
                fixed.order,
                fixed.in_place,
                outcome.solution.episodes,
                contender=contender,
                deadline=deadline,
                seed=seed,
            )
        except DoesNotFitError as error:
            misfit = error
            continue
        outcomes.append(outcome)
        board.offer(contender, plan)
    if misfit is not None and not outcomes:
        raise misfit
    return outcomes
