"""Plans of least latency for targets that take operands in either memory: the mallocGame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.mapping_problem import MappingSolution
from planner.problem import Objective
from solvers.contenders.mapping_plan import mapping_plan
from solvers.mapping.program import mapping_program, why_not_mappable
from solvers.protocol import Availability

if TYPE_CHECKING:
    from planner.problem import PlanningProblem
    from planner.scoreboard import Scoreboard
    from solvers.protocol import Deadline


class MallocGame:
    """Maps accesses to the fast memory on the model's own order; nothing fast comes first."""

    name = "malloc-game"

    def available(self) -> Availability:
        """Return that it can always run."""
        return Availability(True)

    def applies(self, problem: PlanningProblem, board: Scoreboard) -> str:
        """Return why there is nothing to map, if so."""
        if problem.objective is not Objective.LATENCY:
            return "maps operands for less latency, which is not the objective"
        return why_not_mappable(problem)

    def run(
        self, problem: PlanningProblem, board: Scoreboard, *, deadline: Deadline, seed: int
    ) -> str:
        """Offer the plan with nothing in the fast memory, then the best mapping found.

        No latency of the mapping problem bounds that of all plans: others may use another order,
        overwrite operands, or make graph outputs in the fast memory.
        """
        from solvers.mapping.decoders import StaticDecodes

        program = mapping_program(problem, range(len(problem.graph.operators)))
        everything_slow = MappingSolution((), program.problem.all_slow)

        def offer(solution: MappingSolution) -> None:
            plan = mapping_plan(
                problem, program, solution, contender=self.name, deadline=deadline, seed=seed
            )
            board.offer(self.name, plan)

        offer(everything_slow)
        fifo = any(link.fifo for link in problem.target.links)
        solver = StaticDecodes(fifo=fifo)
        outcome = solver.solve(
            program.problem, deadline=deadline, seed=seed, incumbent=everything_slow
        )
        if outcome.solution is None or outcome.solution.latency >= everything_slow.latency:
            return f"{solver.name}: nothing gains"
        offer(outcome.solution)
        served = sum(stay.last - stay.first + 1 for stay in outcome.solution.residencies)
        return (
            f"{solver.name}: {served:,} of {program.problem.accesses:,} accesses served in "
            f"{problem.target.nearest.name}"
        )
