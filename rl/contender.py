"""Plans of least latency for targets that take operands in either memory: the mallocGame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.mapping_problem import MappingSolution
from planner.problem import Objective
from rl.orders import chosen_orders
from solvers.contenders.mapping_plan import mapping_plan
from solvers.mapping.program import why_not_mappable
from solvers.protocol import Availability

if TYPE_CHECKING:
    from planner.problem import PlanningProblem
    from planner.scoreboard import Scoreboard
    from solvers.protocol import Deadline

# Accesses looked at in all decodes together: about 0.1 s. Large programs get fewer decodes.
_MOST_ACCESSES = 150_000
_FEWEST_DECODES = 4


class MallocGame:
    """Maps accesses to the fast memory, on the model's own order and the best list order."""

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
        """Offer the best mapping that the agent finds, if not even nothing in the fast memory.

        No latency of the mapping problem bounds that of all plans: others may use yet another
        order, overwrite operands, or make graph outputs in the fast memory.
        """
        from rl.agent import DECODES, MallocGameAgent

        fifo = any(link.fifo for link in problem.target.links)
        programs, tried = chosen_orders(problem, deadline, seed, fifo=fifo)
        accesses = programs[0].problem.accesses
        budget = min(DECODES, _MOST_ACCESSES // max(1, accesses)) - tried
        agent = MallocGameAgent(max(_FEWEST_DECODES, budget // len(programs)), fifo=fifo)
        found = []
        for program in programs:
            if found and deadline.expired():
                break
            nothing = MappingSolution((), program.problem.all_slow)
            outcome = agent.solve(program.problem, deadline=deadline, seed=seed, incumbent=nothing)
            if outcome.solution is None:
                raise RuntimeError("the agent gave no mapping")
            found.append((outcome.solution, program, outcome.statistics))
        solution, program, statistics = min(found, key=lambda made: made[0].latency)
        plan = mapping_plan(
            problem, program, solution, contender=self.name, deadline=deadline, seed=seed
        )
        board.offer(self.name, plan)
        note = statistics["note"]
        is_own = program.order == tuple(range(len(problem.graph.operators)))
        if not solution.residencies:
            return note or "nothing gains"
        served = sum(stay.last - stay.first + 1 for stay in solution.residencies)
        return (
            f"{served:,} of {accesses:,} accesses served in {problem.target.nearest.name}, "
            f"{'its own' if is_own else 'another'} order, {statistics['decodes']:.0f} decodes"
            f"{note and '; ' + note}"
        )
