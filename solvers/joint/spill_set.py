"""The least traffic bounded from below, and often found, by which storages have to be absent."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from planner.joint_problem import JointSolution
from planner.problem import Outcome, Status
from solvers import _native
from solvers.joint.hitting_set import Cut, minimum_hitting_set
from solvers.joint.model import native_model
from solvers.joint.stay_clauses import Clause
from solvers.order.exact import ExactOrder
from solvers.protocol import Availability

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from planner.joint_problem import JointProblem
    from solvers.protocol import Deadline

DEFAULT_MEMORY_BYTES = 512 * 1024**2

# Counted, not timed, so that a run without a deadline can be repeated.
EXPANSIONS = 200_000
MAX_NODES = 3_000
_GROWTH = 8
# Where the limits stop what time would allow, they grow by this factor, up to this many times.
_ESCALATION = 4
_MOST_ESCALATED = 4**8
_PEAK_EXPANSIONS = 200
# Rounds with cuts that took a tree, before their clauses count. Easy cases do without CP-SAT.
_ROUNDS_WITHOUT_CLAUSES = 4
# Of the time that is left, for the smallest peak without absences.
_PEAK_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class SpillSet:
    """Implicit hitting sets: cheapest levels, is there an order, if not a cut, and again.

    The level of a storage is how often it may be absent. A plan of least traffic has levels that
    cost exactly its traffic, so the cheapest levels for which an order exists are the optimum by
    capacity alone, and the cheapest that meet all cuts found so far are a lower bound at any time.
    A cut says that some storage of a set is absent more often than its level there, in every plan;
    or, where much is missing, how many bytes such storages have at least (``spill_levels.hpp``).

    Whether levels have an order is decided by the search for orders of the smallest peak
    (``spill_oracle.hpp``); a limit on absences makes it a tree, in which uses are settled to share
    a stay or not (``spill_levels.hpp``).

    Attributes
    ----------
    expansions : int
        Of a search. Where they do not suffice, it tries again with more while time is left.
    max_nodes : int
        Of the tree behind a decision, likewise.
    memory_bytes : int
        For the states of a search.
    """

    expansions: int = EXPANSIONS
    max_nodes: int = MAX_NODES
    memory_bytes: int = DEFAULT_MEMORY_BYTES

    name = "spill-set"

    def available(self) -> Availability:
        """Always."""
        return Availability(True)

    def solve(
        self,
        problem: JointProblem,
        *,
        deadline: Deadline,
        seed: int = 0,
        incumbent: JointSolution | None = None,
        on_progress: Callable[[str], None] | None = None,
        on_bound: Callable[[int], None] | None = None,
        on_solution: Callable[[JointSolution], None] | None = None,
        latest: Callable[[], int] | None = None,
    ) -> Outcome[JointSolution]:
        """Bound the traffic; optimal if an order that can do with the bound was found.

        Statistics: ``rounds``; ``cuts``, those that ask for some absence of some storage, as tuples
        of storages; ``other_cuts``, the number of those that ask for more; ``levels``, those of the
        optimum, or else the last cheapest ones, as pairs of a storage and how often it is absent;
        ``oracle_calls``, ``searches``, ``states`` counted; ``cpu_s`` of this thread.

        Parameters
        ----------
        seed : int
            Of CP-SAT, where the hitting sets need it.
        incumbent : JointSolution, optional
            The result is never worse.
        on_bound : callable, optional
            Called from this thread with each bound that is higher than those before.
        on_solution : callable, optional
            Called from this thread with each solution that is better than those before, the
            incumbent included.
        latest : callable, optional
            Traffic of the best plan that others know by now. Reached by the bound, it ends the run
            as optimal, and the solution may be a worse one.

        Raises
        ------
        ValueError
            If the problem is malformed (see `solvers.joint.model.native_model`).
        """
        started_s = time.thread_time()
        size = np.asarray(problem.size, dtype=np.int64)
        first_cost = np.where(problem.has_copy, size, 2 * size)
        oracle = _native.SpillOracle(native_model(problem), memory_bytes=self.memory_bytes)
        most = oracle.most_absences()
        cuts: list[Cut] = []
        clauses: list[Clause] = []
        levels = np.zeros(len(size), dtype=np.int32)
        best = incumbent
        bound = rounds = 0
        tree_rounds = 0
        escalated = 1

        def outcome(status: Status) -> Outcome[JointSolution]:
            met = oracle.best()
            is_optimal = status is Status.OPTIMAL
            shown = met[2] if is_optimal and met is not None and met[1] == bound else levels
            plain = [
                tuple(storage for storage, _, _ in cut.members)
                for cut in cuts
                if cut.demand == 1 and not any(level for _, level, _ in cut.members)
            ]
            statistics: dict[str, Any] = {
                "rounds": rounds,
                "cuts": plain,
                "other_cuts": len(cuts) - len(plain),
                "clauses": len(clauses),
                "levels": tuple((int(s), int(shown[s])) for s in np.flatnonzero(shown)),
                **oracle.statistics(),
                "cpu_s": time.thread_time() - started_s,
            }
            if status is Status.INFEASIBLE:
                return Outcome(status, None, None, statistics)
            return Outcome(status, best, bound, statistics)

        def met_one() -> None:
            nonlocal best
            met = oracle.best()
            if met is None or (best is not None and best.traffic_bytes <= met[1]):
                return
            best = JointSolution(met[0], met[1])
            if on_solution is not None:
                on_solution(best)

        def is_proven() -> bool:
            return (best is not None and best.traffic_bytes <= bound) or (
                latest is not None and latest() <= bound
            )

        # An order of the smallest peak P by itself proves that P less the capacity has to leave.
        peak = ExactOrder(memory_bytes=self.memory_bytes).solve(
            problem.ordering(), deadline=deadline.within(_PEAK_SHARE * deadline.remaining_s())
        )
        if peak.solution is not None:
            oracle.offer(peak.solution.order)
            met_one()
        if peak.lower_bound is not None and peak.lower_bound > problem.capacity:
            cut = oracle.peak_cut(
                peak.lower_bound,
                expansions=_PEAK_EXPANSIONS,
                time_limit_s=_PEAK_SHARE * deadline.remaining_s(),
                cancel=deadline.cancel,
            )
            cuts.append(Cut(*cut))
            if not _can_be_met(cuts[-1]):
                return outcome(Status.INFEASIBLE)
        thorough = is_settled = False
        while True:
            rounds += 1
            if not is_settled:
                cheapest = minimum_hitting_set(
                    first_cost,
                    size,
                    cuts,
                    deadline=deadline,
                    seed=seed,
                    thorough=thorough,
                    known_bound=bound,
                    clauses=clauses if tree_rounds > _ROUNDS_WITHOUT_CLAUSES else (),
                    shared_stay=oracle.shared_stay,
                )
                is_settled = thorough or cheapest.cost == cheapest.bound
                levels = np.minimum(cheapest.levels, most)
                if cheapest.bound > bound:
                    bound = cheapest.bound
                    if on_bound is not None:
                        on_bound(bound)
            if on_progress is not None:
                on_progress(f"{self.name}: lower bound {bound:,}, {len(cuts)} cuts")
            if is_proven():
                return outcome(Status.OPTIMAL)
            found, why, answer = oracle.cuts(
                levels,
                expansions=self.expansions * escalated,
                growth=_GROWTH,
                max_nodes=self.max_nodes * escalated,
                time_limit_s=deadline.remaining_s(),
                cancel=deadline.cancel,
            )
            cuts += [Cut(*cut) for cut in found]
            clauses += [Clause(*clause) for clause in why]
            tree_rounds += bool(why)
            if not all(map(_can_be_met, cuts[len(cuts) - len(found) :])):
                return outcome(Status.INFEASIBLE)
            met_one()
            if is_proven():
                return outcome(Status.OPTIMAL)
            if found:
                thorough = is_settled = False
            elif deadline.expired():
                break
            elif not is_settled:
                thorough = True
            elif answer == "limit" and escalated < _MOST_ESCALATED:
                escalated *= _ESCALATION
            else:
                # The cheapest levels pass for feasible, or no limits would do.
                break
        if best is None:
            # No order met fits with its levels; some may where everything leaves.
            oracle.decide(
                most,
                expansions=self.expansions,
                max_nodes=1,
                time_limit_s=deadline.remaining_s(),
                cancel=deadline.cancel,
            )
            met_one()
        return outcome(Status.UNKNOWN if best is None else Status.FEASIBLE)


def _can_be_met(cut: Cut) -> bool:
    return sum(weight for _, _, weight in cut.members) >= cut.demand
