"""Solvers ``belady`` and ``greedy-eviction``: decide online what leaves, fast and always legal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from planner.problem import Outcome, Status
from solvers.protocol import Availability
from solvers.replacement.arena import simulate_arena
from solvers.replacement.capacity import evictions_by_capacity
from solvers.replacement.demand import Demand
from solvers.replacement.episodes import stays_between
from solvers.replacement.eviction import Policy
from solvers.replacement.gaps import find_gaps
from solvers.replacement.packing import SLACK_FRACTIONS, default_packer, place_stays
from solvers.replacement.partial import trim_evictions
from solvers.replacement.relocation import keep_nothing, place_with_moves

if TYPE_CHECKING:
    from collections.abc import Callable

    from planner.problem import ReplacementProblem, ReplacementSolution
    from solvers.protocol import Deadline
    from solvers.replacement.packing import Packer

# The packer gets at most this share of the time left: the arena needs some as well.
PACKING_SHARE = 0.5
# Limits on one packing, of the first plan and of those with slack, up to so many steps and in
# proportion beyond: these solvers are fast ones.
PLAN_LIMIT_S = 0.4
SLACK_LIMIT_S = 0.1
LIMIT_STEPS = 5000


class Evicted(NamedTuple):
    """The best plan of a policy, and which method found it."""

    solution: ReplacementSolution
    method: str


def plan_by_eviction(
    demand: Demand, policy: Policy, *, deadline: Deadline, pack: Packer
) -> Evicted:
    """Find a legal plan by one policy; the demand must not be infeasible.

    Lifetimes are known in advance, so the policy first decides by capacity alone, and all
    addresses are assigned afterwards (method ``planned``). If those do not fit, it decides again
    for a smaller capacity (``planned with slack``), and the arena repairs the first plan
    (``repaired``). A simulation of the arena alone competes (``online``). Where parts can leave,
    no more does than has to (``trimmed``). Where storages can be moved, the first plan can always
    be placed.
    """
    if demand.relocation:
        return _plan_with_moves(demand, policy, deadline, pack)
    found: list[Evicted] = []
    evictions = evictions_by_capacity(demand, policy, deadline)
    if evictions is not None:
        limit = deadline.within(PACKING_SHARE * deadline.remaining_s())
        scale = max(1.0, demand.steps / LIMIT_STEPS)
        solution = _placed(demand, evictions, pack, limit.within(scale * PLAN_LIMIT_S))
        if solution is not None and not evictions:
            return Evicted(solution, "planned")
        if solution is not None:
            found.append(Evicted(solution, "planned"))
        else:
            solution = _placed_with_slack(demand, policy, pack, limit, scale * SLACK_LIMIT_S)
            if solution is not None:
                found.append(Evicted(solution, "planned with slack"))
            repaired = simulate_arena(demand, policy, deadline, evictions)
            found.append(Evicted(repaired, "repaired"))
        found += _trimmed(demand, evictions, pack, limit.within(scale * PLAN_LIMIT_S))
    found.append(Evicted(simulate_arena(demand, policy, deadline), "online"))
    return min(found, key=lambda evicted: evicted.solution.traffic_bytes)


def _plan_with_moves(demand: Demand, policy: Policy, deadline: Deadline, pack: Packer) -> Evicted:
    evictions = evictions_by_capacity(demand, policy, deadline)
    if evictions is None:
        return Evicted(keep_nothing(demand, deadline), "nothing kept")
    limit = deadline.within(PACKING_SHARE * deadline.remaining_s()).within(PLAN_LIMIT_S)
    solution = _placed(demand, evictions, pack, limit)
    if solution is None:
        solution = place_with_moves(demand, stays_between(demand, evictions), deadline)
    if solution is None:
        raise ValueError("what a policy keeps by capacity exceeds the capacity")
    found = [Evicted(solution, "planned"), *_trimmed(demand, evictions, pack, limit)]
    return min(found, key=lambda evicted: evicted.solution.traffic_bytes)


def _trimmed(
    demand: Demand, evictions: set[tuple[int, int]], pack: Packer, deadline: Deadline
) -> list[Evicted]:
    if not demand.partial_spills or not evictions:
        return []
    solution = trim_evictions(demand, find_gaps(demand), evictions, pack, deadline)
    return [] if solution is None else [Evicted(solution, "trimmed")]


def _placed(
    demand: Demand, evictions: set[tuple[int, int]], pack: Packer, deadline: Deadline
) -> ReplacementSolution | None:
    return place_stays(demand, stays_between(demand, evictions), pack, deadline)[1]


def _placed_with_slack(
    demand: Demand, policy: Policy, pack: Packer, deadline: Deadline, limit_s: float
) -> ReplacementSolution | None:
    """Plan for less and less of the capacity until the packer finds addresses in all of it."""
    for fraction in SLACK_FRACTIONS:
        evictions = evictions_by_capacity(demand, policy, deadline, fraction)
        if evictions is None:
            return None
        solution = _placed(demand, evictions, pack, deadline.within(limit_s))
        if solution is not None:
            return solution
    return None


class _EvictionSolver:
    name: str
    _policy: Policy

    def __init__(self, pack: Packer | None = None) -> None:
        """Take another packer than the project's own."""
        self._pack = pack

    def available(self) -> Availability:
        """Needs nothing beyond the core."""
        return Availability(True)

    def solve(
        self,
        problem: ReplacementProblem,
        *,
        deadline: Deadline,
        seed: int = 0,
        incumbent: ReplacementSolution | None = None,
        on_progress: Callable[[str], None] | None = None,
    ) -> Outcome[ReplacementSolution]:
        """Solve within seconds; the statistics of ``infeasible`` name the step that is too big."""
        started = time.process_time()
        demand = Demand.of(problem)
        infeasible = demand.infeasible()
        if infeasible is not None:
            return infeasible
        solution, method = plan_by_eviction(
            demand, self._policy, deadline=deadline, pack=self._pack or default_packer()
        )
        if incumbent is not None and incumbent.traffic_bytes <= solution.traffic_bytes:
            solution, method = incumbent, "incumbent"
        if on_progress is not None:
            on_progress(f"{self.name}: {solution.traffic_bytes:,} bytes of traffic ({method})")
        return Outcome(
            Status.FEASIBLE if solution.traffic_bytes else Status.OPTIMAL,
            solution,
            lower_bound=0,
            statistics={"method": method, "cpu_s": time.process_time() - started},
        )


class Belady(_EvictionSolver):
    """Evict what is needed last."""

    name = "belady"
    _policy = Policy.FURTHEST_NEXT_USE


class GreedyEviction(_EvictionSolver):
    """Evict what costs the fewest bytes for this one decision: a baseline of COSMA's paper."""

    name = "greedy-eviction"
    _policy = Policy.LEAST_BYTES_NOW
