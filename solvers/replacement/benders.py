"""Solver ``gap-selection``: gap selection and offsets in turn (logic-based Benders).

The MIP selects gaps, the packer places what remains resident. Where that is proven impossible,
a conflict (a few stays that cannot be placed together) becomes a cut: drop one of the gaps that
those stays keep, or move one of their storages. J. N. Hooker and G. Ottosson, "Logic-based
Benders decomposition" (2003).

A cut holds for every legal plan: if all those gaps are kept and none of those storages moves,
the plan's own addresses would place the conflict. So each optimum of the MIP is a lower bound
for all plans, moves included, and a placed selection that attains it is optimal.

Where storages can be moved inside the memory, no cut is needed: every selection can be placed
(`relocation.py`). Where parts of storages can leave, the bound is that of `partial_model.py`, and
whole storages are only another way to a plan.
"""

from __future__ import annotations

import importlib.util
import itertools
import sys
import time
from typing import TYPE_CHECKING

from planner.problem import Outcome, Status
from solvers.protocol import Availability
from solvers.replacement.arena import simulate_arena
from solvers.replacement.belady import plan_by_eviction
from solvers.replacement.conflicts import find_conflicts
from solvers.replacement.demand import Demand
from solvers.replacement.episodes import Stay, episodes_to_buffers, stays_between
from solvers.replacement.eviction import Policy
from solvers.replacement.gaps import Cut, GapModel, find_gaps
from solvers.replacement.packing import SLACK_FRACTIONS, default_packer, place_stays
from solvers.replacement.partial import plan_in_parts
from solvers.replacement.relocation import place_with_moves

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from planner.problem import ReplacementProblem, ReplacementSolution
    from solvers.protocol import Deadline
    from solvers.replacement.gaps import Gap, Selection
    from solvers.replacement.packing import Packer

# Places at which selected moves happen are enumerated up to this number of combinations.
MOVE_COMBINATIONS = 512
# Selections that could not be placed, without a proof, before the search gives up.
UNPROVEN_SELECTIONS = 10
# One packing, one search for conflicts and one attempt with slack get at most these shares of
# the time left.
PACKING_SHARE = 0.4
CONFLICT_SHARE = 0.2
SLACK_SHARE = 0.1


class GapSelection:
    """Optimal replacement for a fixed order, addresses and moves included.

    With partial spills optimal only where the choice by capacity can be placed.
    """

    name = "gap-selection"

    def __init__(self, pack: Packer | None = None) -> None:
        """Take another packer than the project's own."""
        self._pack = pack

    def available(self) -> Availability:
        """Needs ortools for HiGHS."""
        if importlib.util.find_spec("ortools") is None:
            return Availability(False, "needs ortools: pip install ortools")
        if "highspy" in sys.modules and "ortools" not in sys.modules:
            return Availability(
                False, "highspy is loaded, and ortools cannot be loaded into the same process"
            )
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
        """Solve to proven optimality, or hand back the best plan and bound by the deadline."""
        started = time.process_time()
        demand = Demand.of(problem)
        infeasible = demand.infeasible()
        if infeasible is not None:
            return infeasible
        pack = self._pack or default_packer()
        evicted = plan_by_eviction(
            demand, Policy.FURTHEST_NEXT_USE, deadline=deadline, pack=pack
        ).solution
        if incumbent is None or evicted.traffic_bytes < incumbent.traffic_bytes:
            incumbent = evicted
        search = _Search(demand, pack, deadline, on_progress, incumbent)
        if demand.partial_spills:
            search.run_in_parts()
        search.run()
        return Outcome(
            Status.OPTIMAL if search.is_optimal() else Status.FEASIBLE,
            search.best,
            lower_bound=search.bound,
            statistics={**search.statistics, "cpu_s": time.process_time() - started},
        )


class _Search:
    """One run: the best plan, the bound, and what has been counted."""

    def __init__(
        self,
        demand: Demand,
        pack: Packer,
        deadline: Deadline,
        on_progress: Callable[[str], None] | None,
        incumbent: ReplacementSolution,
    ) -> None:
        self._demand = demand
        self._pack = pack
        self._deadline = deadline
        self._on_progress = on_progress
        self.best = incumbent
        self.bound = 0
        self.statistics: dict[str, int | str] = {"iterations": 0, "cuts": 0}

    def is_optimal(self) -> bool:
        return self.best.traffic_bytes <= self.bound

    def _offer(self, solution: ReplacementSolution) -> None:
        """Keep a legal plan if it is the best so far."""
        if solution.traffic_bytes < self.best.traffic_bytes:
            self.best = solution
            if self._on_progress is not None:
                self._on_progress(f"gap-selection: {solution.traffic_bytes:,} bytes of traffic")

    def run_in_parts(self) -> None:
        """Look for a plan in which parts of storages leave, and bound all plans."""
        try:
            solution, self.bound = plan_in_parts(
                self._demand,
                find_gaps(self._demand),
                self._pack,
                self._deadline,
                self.best.traffic_bytes,
            )
        except ImportError as error:
            self.statistics["stopped"] = f"ortools cannot be loaded: {error}"
            return
        if solution is not None:
            self._offer(solution)

    def run(self) -> None:
        """Improve the plan and the bound until they meet or time is out."""
        demand = self._demand
        gaps = find_gaps(demand)
        self.statistics["gaps"] = len(gaps)
        if self.is_optimal():
            return
        try:
            model = GapModel(demand, gaps)
        except ImportError as error:
            self.statistics["stopped"] = f"ortools cannot be loaded: {error}"
            return
        unproven = 0
        while not self._deadline.expired() and unproven < UNPROVEN_SELECTIONS:
            answer = model.solve(self._deadline)
            self.statistics["iterations"] = int(self.statistics["iterations"]) + 1
            if not unproven and not self._demand.partial_spills:
                self.bound = max(self.bound, answer.bound)
            selection = answer.selection
            if selection is None or self.is_optimal():
                return
            if selection.traffic_bytes >= self.best.traffic_bytes:
                return
            cuts, exact = self._place(gaps, selection)
            if not cuts or self._deadline.expired():
                return
            if not exact and not unproven:
                self._place_with_slack(gaps)
            unproven += not exact
            for cut in cuts:
                model.add(cut)
            self.statistics["cuts"] = int(self.statistics["cuts"]) + len(cuts)

    def _place(self, gaps: Sequence[Gap], selection: Selection) -> tuple[list[Cut], bool]:
        """Place a selection and offer the plan, or say why not: cuts, and if all are proven."""
        demand = self._demand
        dropped = {(gaps[i].storage, gaps[i].before) for i in selection.dropped}
        stays = stays_between(demand, dropped)
        fixed = [stay for stay in stays if stay.storage not in selection.moves]
        exact = True
        for tried, split in enumerate(self._splits(stays, selection.moves)):
            if tried == MOVE_COMBINATIONS or self._deadline.expired():
                exact = False
                break
            limit = self._deadline.within(PACKING_SHARE * self._deadline.remaining_s())
            status, solution = place_stays(demand, split, self._pack, limit)
            if solution is not None:
                self._offer(solution)
                return [], True
            exact = exact and status is Status.INFEASIBLE
        if demand.relocation:
            moving = place_with_moves(demand, stays, self._deadline)
            if moving is not None:
                self._offer(moving)
                return [], True
        self._offer(simulate_arena(demand, Policy.FURTHEST_NEXT_USE, self._deadline, dropped))
        limit = self._deadline.within(CONFLICT_SHARE * self._deadline.remaining_s())
        conflicts = find_conflicts(demand, fixed, self._pack, limit)
        if conflicts:
            return [_cut(gaps, conflict) for conflict in conflicts], True
        kept = tuple(i for i in range(len(gaps)) if i not in selection.dropped)
        moves = {stay.storage: selection.moves.get(stay.storage, 0) for stay in stays}
        return [Cut(kept, moves)], exact

    def _place_with_slack(self, gaps: Sequence[Gap]) -> None:
        """Select for less and less of the capacity until the packer finds addresses."""
        for fraction in SLACK_FRACTIONS:
            if self._deadline.expired():
                return
            limit = self._deadline.within(SLACK_SHARE * self._deadline.remaining_s())
            selection = GapModel(self._demand, gaps, fraction).solve(limit).selection
            if selection is None or selection.traffic_bytes >= self.best.traffic_bytes:
                return
            dropped = {(gaps[i].storage, gaps[i].before) for i in selection.dropped}
            stays = stays_between(self._demand, dropped)
            limit = self._deadline.within(SLACK_SHARE * self._deadline.remaining_s())
            solution = place_stays(self._demand, stays, self._pack, limit)[1]
            if solution is not None:
                self._offer(solution)
                return

    def _splits(self, stays: Sequence[Stay], moves: dict[int, int]) -> Iterable[list[Stay]]:
        """All ways of moving storages so many times each.

        A move can be delayed until the next step at which another buffer starts, so only those
        steps matter.
        """
        starts = sorted(set(episodes_to_buffers(self._demand, stays).problem.lower.tolist()))
        choices = []
        for storage, count in sorted(moves.items()):
            inside = [
                step
                for step in starts
                if any(s.storage == storage and s.start < step < s.end for s in stays)
            ]
            choices.append(
                [(storage, c) for c in itertools.combinations(inside, min(count, len(inside)))]
            )
        for choice in itertools.product(*choices):
            yield list(_split_at(stays, dict(choice)))


def _split_at(stays: Iterable[Stay], steps: dict[int, tuple[int, ...]]) -> Iterable[Stay]:
    """Split the stays of each storage at its steps."""
    for stay in stays:
        inside = [t for t in steps.get(stay.storage, ()) if stay.start < t < stay.end]
        edges = [stay.start, *inside, stay.end]
        for start, end in itertools.pairwise(edges):
            yield Stay(stay.storage, start, end)


def _cut(gaps: Sequence[Gap], conflict: Sequence[Stay]) -> Cut:
    """Drop a gap that the conflict keeps, or move one of its storages."""
    kept = tuple(
        i
        for i, gap in enumerate(gaps)
        if any(
            stay.storage == gap.storage and gap.before + 1 < stay.end and gap.after > stay.start
            for stay in conflict
        )
    )
    return Cut(kept, {stay.storage: 0 for stay in conflict})
