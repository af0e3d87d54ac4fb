"""COSMA (arXiv 2311.18246) as a reference: its integer program, through PuLP or MathOpt."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from planner.errors import UsageError
from planner.joint_problem import JointProblem
from planner.problem import Objective, Status
from planner.result import Bounds
from solvers.contenders.assemble import assemble
from solvers.contenders.fixed_order import fix_order
from solvers.contenders.in_place import InPlaceChoice
from solvers.contenders.orders import order_problem
from solvers.contenders.spilling import may_spill, offer_spilling_plans
from solvers.contenders.whole_lives import lowest_placement, offer_placement
from solvers.cosma.backends import Backend
from solvers.cosma.least_traffic import CosmaResult, with_addresses
from solvers.cosma.model import traffic_model
from solvers.cosma.solvers import CosmaFixed, CosmaPeak
from solvers.cosma.windows import Windows
from solvers.milp.pulp_process import lp_text
from solvers.offsets import pack
from solvers.protocol import Deadline

if TYPE_CHECKING:
    from planner.problem import PlanningProblem
    from planner.scoreboard import Scoreboard
    from solvers.protocol import Availability

_LP_SECONDS = 120.0


class Cosma:
    """The free schedule, or the smallest peak where that is the objective."""

    def __init__(self, backend: str = "pulp") -> None:
        """Choose between ``pulp`` and ``mathopt``."""
        self._backend = Backend(backend)
        self.name = "cosma" if self._backend is Backend.PULP else "cosma-mathopt"

    def available(self) -> Availability:
        """Needs pulp, or ortools."""
        return self._backend.available()

    def applies(self, problem: PlanningProblem, board: Scoreboard) -> str:
        """Return why there is nothing to do, if so."""
        return "" if problem.objective is Objective.PEAK else _nothing_to_move(problem, board)

    def run(
        self, problem: PlanningProblem, board: Scoreboard, *, deadline: Deadline, seed: int
    ) -> str:
        """Offer a plan, and the bound where the program's assumptions are the problem's."""
        if problem.objective is Objective.PEAK:
            return self._run_peak(problem, board, deadline, seed)
        joint = cosma_problem(problem)
        result = with_addresses(joint, self._backend, deadline=deadline, seed=seed)
        if _bounds_all_plans(problem):
            board.raise_bounds(Bounds(traffic_bytes=result.lower_bound))
        if result.solution is not None:
            plan = assemble(
                problem,
                result.order,
                (),
                result.solution.episodes,
                contender=self.name,
                deadline=deadline,
                seed=seed,
            )
            board.offer(self.name, plan)
        return _note(problem, result)

    def _run_peak(
        self, problem: PlanningProblem, board: Scoreboard, deadline: Deadline, seed: int
    ) -> str:
        ordering = order_problem(replace(problem, in_place=False))
        outcome = CosmaPeak(self._backend.value).solve(
            ordering, deadline=deadline.within(0.7 * deadline.remaining_s()), seed=seed
        )
        if outcome.solution is None:
            return str(outcome.statistics.get("stopped", "no solution in the time given"))
        if not problem.in_place and not problem.far_storages:
            board.raise_bounds(Bounds(peak_bytes=outcome.lower_bound))
        fixed = fix_order(problem, outcome.solution.order.tolist(), InPlaceChoice.NONE)
        placed = lowest_placement(problem, [fixed], pack, deadline)
        if placed is None:
            return "the order of least peak has no placement that fits"
        offer_placement(problem, board, placed, self.name, deadline=deadline, seed=seed)
        proof = "least peak" if outcome.status is Status.OPTIMAL else "peak not proven"
        return f"{_size(outcome.statistics)}; {proof}{_left_out(problem)}"


class CosmaFixedSchedule:
    """The fixed schedule, in the order of the model file."""

    name = "cosma-fixed"

    def available(self) -> Availability:
        """Needs ortools."""
        return Backend.MATHOPT.available()

    def applies(self, problem: PlanningProblem, board: Scoreboard) -> str:
        """Return why there is nothing to do, if so."""
        return _nothing_to_move(problem, board)

    def run(
        self, problem: PlanningProblem, board: Scoreboard, *, deadline: Deadline, seed: int
    ) -> str:
        """Offer a plan in the model's own order."""
        order = range(len(problem.graph.operators))
        fixed = fix_order(problem, order, InPlaceChoice.NONE)
        outcomes = offer_spilling_plans(
            problem,
            board,
            [fixed],
            CosmaFixed(),
            contender=self.name,
            deadline=deadline,
            seed=seed,
            at_most=1,
        )
        if not outcomes:
            return f"no solution for the model's own order{_left_out(problem)}"
        proven = outcomes[0].status is Status.OPTIMAL
        proof = "optimal for this order" if proven else "not proven for this order"
        return f"{_size(outcomes[0].statistics)}; {proof}{_left_out(problem)}"


def cosma_problem(problem: PlanningProblem) -> JointProblem:
    """State a planning problem in COSMA's terms: no overwriting, the capacity in whole units.

    Raises
    ------
    ValueError
        As for `JointProblem.of`.
    """
    joint = JointProblem.of(replace(problem, in_place=False))
    return replace(joint, capacity=max(problem.capacity_bytes or 0, 0))


def lp_file(problem: PlanningProblem) -> bytes:
    """Return the program of the free schedule, (1)-(12), as an LP file.

    The name in its first line says how many bytes its objective and its addresses count.

    Raises
    ------
    UsageError
        If the target has no limited memory in which operands lie, or the program is too large.
    """
    if problem.capacity_bytes is None or not problem.target.operands_resident:
        raise UsageError(
            "no LP file was written: COSMA's program needs a limited memory in which operands are "
            f"resident, and {problem.target.name!r} has none. Give another --target or --memory."
        )
    joint = cosma_problem(problem)
    windows = Windows.of(joint)
    if windows.too_large(addresses=True):
        raise UsageError(
            f"no LP file was written: COSMA's program for {problem.graph.model.name} has about "
            f"{windows.columns(addresses=True):,} variables, too many to write down."
        )
    model = traffic_model(joint, windows, addresses=True)
    name = f"cosma_traffic_in_{model.traffic_unit}_bytes_addresses_in_{model.unit}_bytes"
    text = lp_text(model.program, name, Deadline(_LP_SECONDS))
    if text is None:
        raise UsageError(f"no LP file was written: it took more than {_LP_SECONDS:g} s.")
    return text


def _nothing_to_move(problem: PlanningProblem, board: Scoreboard) -> str:
    if not may_spill(problem):
        return "the target has no limited memory with another one to spill to"
    if not problem.target.operands_resident:
        return "COSMA wants every operand in the nearest memory"
    best = board.best
    if best is not None and best.metrics.traffic_bytes == 0:
        return "everything fits, nothing to move"
    return ""


def _bounds_all_plans(problem: PlanningProblem) -> bool:
    """Whether what the program proves holds for every legal plan.

    No overwriting, whole storages only; no storage written in parts, which plans may copy in
    between; and no bytes beyond the last multiple of the alignment.
    """
    capacity = problem.target.activation_capacity(problem.graph.constant_bytes)
    return (
        not problem.in_place
        and not problem.partial_spills
        and capacity == problem.capacity_bytes
        and bool(np.all(np.diff(problem.graph.storage_writers.offsets) <= 1))
    )


def _note(problem: PlanningProblem, result: CosmaResult) -> str:
    statistics = result.statistics
    if result.infeasible:
        found = "no order fits"
    elif result.solution is None:
        found = str(statistics.get("stopped", "no solution in the time given"))
    else:
        parts = statistics.get("method") == "parts"
        found = f"solved in {statistics['parts']:,} parts" if parts else "solved whole"
        found += ", optimum of the program" if result.proven else ", no proof"
    return f"{_size(statistics)}; {found}{_left_out(problem)}"


def _size(statistics: dict[str, object] | object) -> str:
    if not isinstance(statistics, dict) or "columns" not in statistics:
        return "no program"
    rows = f" and {statistics['rows']:,} rows" if "rows" in statistics else ""
    solver = f", {statistics['solver']}" if "solver" in statistics else ""
    return f"{statistics['columns']:,} variables{rows}{solver}"


def _left_out(problem: PlanningProblem) -> str:
    return "; overwriting operands is not part of it" if problem.in_place else ""
