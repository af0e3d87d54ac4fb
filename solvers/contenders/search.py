"""Heuristic search over orders for less traffic, on the second core, where proofs take long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.joint_problem import JointProblem
from planner.problem import Objective
from solvers.contenders.least_traffic import offer_order
from solvers.contenders.traffic_bound import best_known, may_need_spills
from solvers.joint.annealing import Annealing
from solvers.joint.beam import Beam
from solvers.protocol import Availability

if TYPE_CHECKING:
    from planner.problem import PlanningProblem
    from planner.scoreboard import Scoreboard
    from solvers.protocol import Deadline

# The proof usually comes sooner, and then there is nothing left to search for.
_HEAD_START_S = 2.0
_HEAD_START_S_PER_OPERATOR = 0.02
# Annealing is resumed from the best plan of all contenders after so long, then twice as long, ...
_FIRST_ROUND_S = 2.0
_FIRST_ROUND_S_PER_OPERATOR = 0.005
# Small problems have been seen from all sides by then; on large ones time is out before.
_ROUNDS_WITHOUT_GAIN = 5


class Search:
    """Beam search, then annealing from the best plan, gap selection on what they find."""

    name = "search"

    def available(self) -> Availability:
        """Return that it can always run."""
        return Availability(True)

    def applies(self, problem: PlanningProblem, board: Scoreboard) -> str:
        """Return why there is nothing to search for, if so."""
        if problem.objective is not Objective.TRAFFIC:
            return "searches for less traffic, which is not the objective"
        if not may_need_spills(problem, board):
            return "everything fits, or operands need not be resident"
        return ""

    def run(
        self, problem: PlanningProblem, board: Scoreboard, *, deadline: Deadline, seed: int
    ) -> str:
        """Offer better and better plans until the deadline."""
        joint = JointProblem.of(problem)
        head_start = min(_HEAD_START_S, _HEAD_START_S_PER_OPERATOR * joint.operators)
        if board.wait_until_settled(deadline.within(head_start)):
            return "the bound was met before it began"
        round_s = min(_FIRST_ROUND_S, _FIRST_ROUND_S_PER_OPERATOR * joint.operators)
        rounds = gainless = 0
        while not deadline.expired() and not board.settled() and gainless < _ROUNDS_WITHOUT_GAIN:
            goal = int(board.bounds.traffic_bytes or 0)
            solver = Annealing(goal_bytes=goal) if rounds else Beam(goal_bytes=goal)
            known = best_known(board)
            outcome = solver.solve(
                joint, deadline=deadline.within(round_s), seed=seed + rounds, incumbent=known
            )
            found = outcome.solution
            if found is not None and (known is None or found.traffic_bytes < known.traffic_bytes):
                offer_order(
                    problem,
                    board,
                    found.order.tolist(),
                    contender=self.name,
                    deadline=deadline,
                    seed=seed,
                )
            best = best_known(board)
            has_gained = known is None or (
                best is not None and best.traffic_bytes < known.traffic_bytes
            )
            gainless = 0 if has_gained else gainless + 1
            if rounds:
                round_s *= 2
            rounds += 1
        return f"{rounds} rounds"
