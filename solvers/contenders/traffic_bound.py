"""How many bytes every plan moves at least, over all orders."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.graph import RaggedArray
from planner.joint_problem import JointProblem, JointSolution
from planner.result import Bounds
from solvers.contenders.spilling import may_spill
from solvers.joint.spill_set import SpillSet

if TYPE_CHECKING:
    from planner.problem import Outcome, PlanningProblem
    from planner.scoreboard import Scoreboard
    from solvers.protocol import Deadline

_UNKNOWN = 1 << 62


class SpillBound(NamedTuple):
    """What is known of the least traffic before any plan is made.

    Attributes
    ----------
    joint : JointProblem
    outcome : Outcome of JointSolution
        Of the spill-set solver.
    relaxed : SpillBound or None
        Where the joint problem may forbid the best plans: storages may leave between the writes of
        their parts as at any other time.
    """

    joint: JointProblem
    outcome: Outcome[JointSolution]
    relaxed: SpillBound | None = None


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
    """Prove how many bytes every plan moves at least by the deadline, and enter the bound."""
    joint = JointProblem.of(problem)
    outcome = _spill_set(problem, board, joint, deadline, seed)
    split, relaxed = _split_bytes(joint), None
    if split is not None and (outcome.lower_bound is None or outcome.lower_bound > split):
        first = [joint.writers.row(s)[:1].tolist() for s in range(len(joint.writers))]
        freer = replace(joint, writers=RaggedArray.from_rows(first))
        relaxed = SpillBound(freer, _spill_set(problem, board, freer, deadline, seed))
    if board.settled():
        board.credit(contender)
    return SpillBound(joint, outcome, relaxed)


def _spill_set(
    problem: PlanningProblem, board: Scoreboard, joint: JointProblem, deadline: Deadline, seed: int
) -> Outcome[JointSolution]:
    """Run the solver; the board learns of each bound at once, and the solver of better plans."""

    def least_known() -> int:
        best = board.best
        return _UNKNOWN if best is None else best.metrics.traffic_bytes

    outcome = SpillSet().solve(
        joint,
        deadline=deadline,
        seed=seed,
        incumbent=best_known(board),
        on_bound=lambda bound: raise_traffic_bound(problem, board, joint, bound),
        latest=None if problem.partial_spills else least_known,
    )
    raise_traffic_bound(problem, board, joint, outcome.lower_bound)
    return outcome


def raise_traffic_bound(
    problem: PlanningProblem, board: Scoreboard, joint: JointProblem, bound: int | None
) -> None:
    """Enter what a bound on the joint problem proves for every legal plan.

    One that lets a storage leave between the writes of its parts, which the joint problem forbids,
    writes it out and reads it back for that alone.
    """
    # A part of a storage may do where the whole one is counted here.
    if bound is None or problem.partial_spills:
        return
    split = _split_bytes(joint)
    board.raise_bounds(Bounds(traffic_bytes=bound if split is None else min(bound, split)))


def _split_bytes(joint: JointProblem) -> int | None:
    """Bytes that an absence between two writes moves at least; None if nothing has several."""
    in_parts = joint.size[(np.diff(joint.writers.offsets) > 1) & (joint.size > 0)]
    return 2 * int(in_parts.min()) if len(in_parts) else None


def best_known(board: Scoreboard) -> JointSolution | None:
    """Return the order and traffic of the best plan so far."""
    best = board.best
    if best is None:
        return None
    return JointSolution(np.array(best.order, dtype=np.int32), best.metrics.traffic_bytes)
