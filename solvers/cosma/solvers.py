"""COSMA's modes as solvers: free schedule, fixed schedule, smallest peak."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from planner.graph import RaggedArray
from planner.joint_problem import JointProblem, JointSolution
from planner.problem import OrderSolution, Outcome, Status
from solvers.cosma.backends import Backend
from solvers.cosma.least_traffic import by_capacity, with_addresses
from solvers.cosma.model import peak_model
from solvers.cosma.program_solution import TRUSTED_UNITS, proven_bytes
from solvers.cosma.schedule import bytes_by_step, read_residency, schedule_of
from solvers.cosma.windows import Windows
from solvers.replacement.demand import Demand

if TYPE_CHECKING:
    from collections.abc import Callable

    from planner.problem import (
        OrderProblem,
        ReplacementProblem,
        ReplacementSolution,
    )
    from solvers.protocol import Availability, Deadline


class CosmaJoint:
    """The free schedule by capacity alone, (1)-(8) and (12), in-place writes left out.

    Statistics: ``rows``, ``columns``, ``cpu_s``, ``method`` (``whole`` or ``parts``).
    """

    name = "cosma"

    def __init__(self, backend: str = "mathopt") -> None:
        """Choose between ``mathopt`` and ``pulp``."""
        self._backend = Backend(backend)

    def available(self) -> Availability:
        """Needs ortools, or pulp."""
        return self._backend.available()

    def solve(
        self,
        problem: JointProblem,
        *,
        deadline: Deadline,
        seed: int = 0,
        incumbent: JointSolution | None = None,
        on_progress: Callable[[str], None] | None = None,
    ) -> Outcome[JointSolution]:
        """Solve, or hand back the best by the deadline. The incumbent is not used.

        A proof holds for the problem where it has no in-place options.
        """
        result = by_capacity(problem, self._backend, deadline=deadline, seed=seed)
        overwrites = len(problem.in_place.values) > 0
        bound = 0 if overwrites else result.lower_bound
        if result.infeasible and not overwrites:
            return Outcome(Status.INFEASIBLE, None, statistics=result.statistics)
        if result.schedule is None:
            return Outcome(Status.UNKNOWN, None, bound, result.statistics)
        order = np.array(result.schedule.order, dtype=np.int32)
        traffic = result.schedule.traffic_bytes
        status = Status.OPTIMAL if traffic == bound else Status.FEASIBLE
        return Outcome(status, JointSolution(order, traffic), bound, result.statistics)


class CosmaFixed:
    """The fixed schedule with addresses, (16)-(17).

    Moves to another address without a step in between are not part of the program, so an optimum
    that needs addresses is reported as feasible, with the bound by capacity alone.
    """

    name = "cosma-fixed"

    def __init__(self, backend: str = "mathopt") -> None:
        """Choose between ``mathopt`` and ``pulp``."""
        self._backend = Backend(backend)

    def available(self) -> Availability:
        """Needs ortools, or pulp."""
        return self._backend.available()

    def solve(
        self,
        problem: ReplacementProblem,
        *,
        deadline: Deadline,
        seed: int = 0,
        incumbent: ReplacementSolution | None = None,
        on_progress: Callable[[str], None] | None = None,
    ) -> Outcome[ReplacementSolution]:
        """Solve, or hand back the best by the deadline. The incumbent is not used."""
        if problem.merged:
            reason = "the program has no in-place writes"
            return Outcome(Status.UNKNOWN, None, statistics={"stopped": reason})
        infeasible = Demand.of(problem).infeasible()
        if infeasible is not None:
            return infeasible
        result = with_addresses(
            _joint(problem), self._backend, order=range(problem.steps), deadline=deadline, seed=seed
        )
        if result.solution is None:
            return Outcome(Status.UNKNOWN, None, result.lower_bound, result.statistics)
        proven = result.solution.traffic_bytes == result.lower_bound
        status = Status.OPTIMAL if proven else Status.FEASIBLE
        return Outcome(status, result.solution, result.lower_bound, result.statistics)


def _joint(problem: ReplacementProblem) -> JointProblem:
    """Return the problem whose operators are the steps."""
    uses = [problem.uses.row(s).tolist() for s in range(len(problem.uses))]
    steps: list[list[int]] = [[t - 1] if t else [] for t in range(problem.steps)]
    first = RaggedArray.from_rows([row[:1] for row in uses])
    return JointProblem(
        operators=problem.steps,
        capacity=problem.capacity // problem.alignment * problem.alignment,
        alignment=problem.alignment,
        size=problem.size,
        has_copy=problem.has_copy,
        kept=np.zeros(len(uses), dtype=bool),
        predecessors=RaggedArray.from_rows(steps),
        starters=first,
        users=problem.uses,
        writers=first,
        in_place=RaggedArray.from_rows([[]] * problem.steps),
    )


class CosmaPeak:
    """The smallest peak, (13)-(15), in-place writes left out. Small graphs only."""

    name = "cosma-peak"

    def __init__(self, backend: str = "mathopt") -> None:
        """Choose between ``mathopt`` and ``pulp``."""
        self._backend = Backend(backend)

    def available(self) -> Availability:
        """Needs ortools, or pulp."""
        return self._backend.available()

    def solve(
        self,
        problem: OrderProblem,
        *,
        deadline: Deadline,
        seed: int = 0,
        incumbent: OrderSolution | None = None,
        on_progress: Callable[[str], None] | None = None,
    ) -> Outcome[OrderSolution]:
        """Solve, or hand back the best by the deadline. The incumbent is not used.

        A proof holds for the problem where it has no in-place options.
        """
        joint = JointProblem(
            operators=problem.operators,
            capacity=int(problem.size.sum()),
            alignment=1,
            size=problem.size,
            has_copy=np.zeros(len(problem.size), dtype=bool),
            kept=problem.kept,
            predecessors=problem.predecessors,
            starters=problem.starters,
            users=problem.users,
            writers=problem.starters,
            in_place=problem.in_place,
        )
        windows = Windows.of(joint)
        if windows.too_large(addresses=False):
            reason = f"the program would have about {windows.columns(addresses=False):,} variables"
            return Outcome(Status.UNKNOWN, None, statistics={"stopped": reason})
        model = peak_model(joint, windows)
        answer = self._backend.solve(model.program, deadline=deadline, seed=seed)
        statistics = {
            "rows": len(model.program.row_names),
            "columns": len(model.program.names),
            **answer.statistics,
        }
        bound, schedule = 0, None
        if answer.values is not None:
            schedule = schedule_of(joint, read_residency(model, answer.values), addresses=False)
        if schedule is None:
            return Outcome(Status.UNKNOWN, None, statistics=statistics)
        peak = int(bytes_by_step(schedule.demand, schedule.stays).max(initial=0))
        solution = OrderSolution(np.array(schedule.order, dtype=np.int32), peak)
        if peak // model.unit <= TRUSTED_UNITS and not len(problem.in_place.values):
            bound = min(proven_bytes(answer, model.unit), peak)
        status = Status.OPTIMAL if peak == bound else Status.FEASIBLE
        return Outcome(status, solution, bound, statistics)
