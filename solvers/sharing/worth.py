"""What one lowering of a model is worth, in milliseconds: no proof, no spills chosen with care."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from planner.errors import DoesNotFitError
from planner.footprint import largest_footprint, require_fit
from planner.problem import Objective
from planner.scoreboard import Scoreboard, rank
from solvers.contenders.fixed_order import fix_order, greedy_pack
from solvers.contenders.greedy import Greedy
from solvers.contenders.in_place import InPlaceChoice
from solvers.contenders.orders import order_problem
from solvers.contenders.whole_lives import lowest_placement
from solvers.order.exact import ExactOrder

if TYPE_CHECKING:
    from planner.problem import PlanningProblem
    from solvers.protocol import Deadline

# For the states of the order search, which must not decide by the clock what is best.
_ORDER_MEMORY_BYTES = 16 * 1024**2
# As greedy has it.
_OVERWRITES = (InPlaceChoice.YOUNGEST, InPlaceChoice.NONE)
_NO_PLAN = float("inf")


class Worth(NamedTuple):
    """Key by which lowerings are compared; smaller is better.

    Attributes
    ----------
    value : tuple of float
        As `planner.scoreboard.rank` has it, of a plan that was quickly found.
    copied_bytes : int
        What the operators still copy that might share.
    """

    value: tuple[float, float, float]
    copied_bytes: int


class Valued(NamedTuple):
    """What a quick plan says about a lowering.

    Attributes
    ----------
    value : tuple of float or None
        None if it is above the value to beat, or there was no time.
    peak_bound_bytes : int
        Proven: no order of this lowering has a smaller peak without spills.
    """

    value: tuple[float, float, float] | None
    peak_bound_bytes: int = 0


def valued(
    problem: PlanningProblem,
    *,
    deadline: Deadline,
    seed: int,
    to_beat: tuple[float, float, float] | None = None,
    strictly: bool = False,
) -> Valued:
    """Plan by the least-peak order and greedy offsets, or, where bytes must move, as greedy does.

    Parameters
    ----------
    to_beat : tuple of float, optional
        Stop as soon as it is clear that the value is above it.
    strictly : bool
        Stop also where it is clear that the value is not below it.
    """
    try:
        require_fit(problem)
    except DoesNotFitError:
        unit = problem.target.nearest.alignment_bytes
        worst = largest_footprint(problem.graph, in_place=problem.in_place, alignment_bytes=unit)
        return Valued((_NO_PLAN, worst.size_bytes, problem.graph.activation_bytes))
    bound = peak = 0
    if problem.objective is not Objective.LATENCY:
        outcome = ExactOrder(memory_bytes=_ORDER_MEMORY_BYTES).solve(
            order_problem(problem), deadline=deadline, seed=seed
        )
        bound = 0 if problem.far_storages else outcome.lower_bound or 0
        if outcome.solution is None:
            return Valued(None, bound)
        peak = outcome.solution.peak_bytes
        at_least = (0.0, peak, peak if problem.objective is Objective.PEAK else 0.0)
        if to_beat is not None and (at_least > to_beat or (strictly and at_least == to_beat)):
            return Valued(None, bound)
        order = [int(operator) for operator in outcome.solution.order]
        placed = lowest_placement(
            problem,
            (fix_order(problem, order, choice) for choice in _OVERWRITES),
            greedy_pack,
            deadline,
        )
        if placed is not None:
            arena = placed.placement.height_bytes
            if problem.objective is Objective.PEAK:
                return Valued((0.0, placed.fixed.peak_bytes, arena), bound)
            return Valued((0.0, arena, 0.0), bound)
    board = Scoreboard(problem)
    with suppress(DoesNotFitError):
        Greedy().run(problem, board, deadline=deadline, seed=seed)
    if board.best is None:
        return Valued((_NO_PLAN, peak, problem.graph.activation_bytes), bound)
    return Valued(rank(board.best, problem.objective), bound)
