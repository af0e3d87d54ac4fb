"""The race for a training step: published baselines, the ladder, exact programs, offloading.

Who runs when: first the bound on the peak, then who plans for all budgets at once (block-dp,
moments, ladder, each starting from what was found before), then the bound on the recomputation at
the budget, and last who closes the gap to it (moments, Moccasin, Checkmate, offload). Every plan
passes `check_training` before it leads.

Why peaks fall with budgets: the answer is the plan within the budget that is first in one order, by
extra time, then peak. If the plans to choose from are the same for all budgets, the answer to a
budget stays the answer to every smaller one down to its own peak, and below that peak any answer is
lower. So the frontier is made without looking at the budget, and who does look at it has to keep
the argument: the exact ones hand out a plan that is optimal and among the optimal ones has the
least peak, which is a function of the problem; greedy drops along one path that does not depend on
the budget, and only stops where that is met. Three things are not covered: a deadline that cuts
somebody short (``frontier_complete`` says so of the frontier), offloading, and which of two equally
dear plans is taken where a bound makes the exact ones superfluous at one budget and not at another.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from planner.interruption import listening_for_ctrl_c
from planner.race_thread import RaceThread, wait_for
from planner.training.just_in_time import just_in_time
from planner.training.memory import memory_profile
from planner.training.schedule import recompute_ps
from planner.training.seed import Seed
from planner.training.standings import Standings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from planner.training.problem import TrainingProblem
    from planner.training.result import TrainingResult
    from solvers.protocol import Deadline
    from solvers.training.bounds import RecomputeBound

BOUND = "bound"
NOT_NEEDED = "nothing was left to find"
# Of what time is left.
_BOUND_SHARE = 0.3
_BLOCKS_SHARE = 0.4
_MOMENTS_SHARE = 0.4
_LADDER_SHARE = 0.8
# Of more operators, moments are looked at for the budget itself alone.
_MOST_IN_MOMENTS = 400


def plan_training(
    problem: TrainingProblem,
    budget_bytes: int,
    *,
    seeds: Sequence[Seed] = (),
    time_limit: float = 30.0,
    seed: int = 0,
    solvers: Sequence[str] | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> TrainingResult:
    """Plan what is kept, recomputed and offloaded, for the least extra time within a budget.

    Parameters
    ----------
    problem : TrainingProblem
    budget_bytes : int
        Above parameters, buffers and inputs.
    seeds : sequence of Seed
        Plans of others: they compete, and the ladder starts from them.
    time_limit : float
        Seconds. The plan that saves everything is made in any case.
    seed : int
    solvers : sequence of str or None
        Names of ``solvers.training.catalogue``; None for all that the size allows.
    on_progress : callable or None
        Receives one line per improvement.

    Returns
    -------
    TrainingResult
        Its ``fits`` says whether the budget is kept.

    Raises
    ------
    UsageError
        If a solver is unknown.
    """
    from solvers.protocol import Deadline
    from solvers.training.catalogue import chosen_contenders

    started = time.monotonic()
    contenders = chosen_contenders(len(problem.duration_ps), solvers)
    standings = Standings(problem, budget_bytes, on_progress)
    with listening_for_ctrl_c() as interruption:
        interruption.hold()
        standings.save_everything()
        for known in seeds:
            standings.offer_or_fail(known)
        deadline = Deadline(time_limit)
        race = _Race(problem, budget_bytes, standings, deadline, seed, contenders)
        thread = RaceThread("training", race.run)
        thread.start()
        wait_for([thread], deadline, interruption)
        return standings.result(time.monotonic() - started, interrupted=interruption.heard)


class _Race:
    """The jobs of one race, one after the other in a thread of its own."""

    def __init__(
        self,
        problem: TrainingProblem,
        budget_bytes: int,
        standings: Standings,
        deadline: Deadline,
        seed: int,
        contenders: tuple[str, ...],
    ) -> None:
        self._problem, self._budget = problem, budget_bytes
        self._standings, self._deadline = standings, deadline
        self._seed, self._contenders = seed, contenders
        self._bound: RecomputeBound | None = None
        self._cut = False

    def run(self) -> None:
        """Let all run, until nobody can do better."""
        jobs: tuple[tuple[str, Callable[[], str]], ...] = (
            (BOUND, self._bound_peak),
            ("greedy", self._greedy),
            ("block-dp", self._blocks),
            ("moments", self._moments),
            ("ladder", self._ladder),
            (BOUND, self._bound_time),
            ("moments", self._best_at_the_budget),
            ("moccasin", lambda: self._exact("moccasin")),
            ("checkmate", lambda: self._exact("checkmate")),
            ("offload", self._offload),
        )
        for name, job in jobs:
            if name == BOUND or name in self._contenders:
                self._let(name, job)

    def _let(self, name: str, job: Callable[[], str]) -> None:
        if self._deadline.expired():
            self._standings.report(name, "skipped", "no time was left")
            return
        started = time.thread_time()
        try:
            note, status = job(), BOUND if name == BOUND else "unknown"
        except Exception as error:  # who crashes loses, the race goes on
            note, status = f"{type(error).__name__}: {error}", "failed"
        self._standings.report(name, status, note, time.thread_time() - started)

    def _bound_peak(self) -> str:
        from solvers.training.bounds import peak_bound

        bound = peak_bound(self._problem)
        self._standings.peak_bound_bytes = bound
        self._standings.impossible = bound > self._budget
        return f"no peak below {bound:,} bytes"

    def _bound_time(self) -> str:
        bound = self._bound_at(self._budget)
        self._standings.bound_name = bound.name
        if bound.recompute_ps is None:
            self._standings.impossible = True
        else:
            self._standings.extra_bound_ps = bound.recompute_ps
        self._bound = bound
        return bound.name

    def _bound_at(self, budget_bytes: int) -> RecomputeBound:
        from solvers.training.bounds import recompute_bound

        share = self._deadline.within(_BOUND_SHARE * self._deadline.remaining_s())
        return recompute_bound(self._problem, budget_bytes, deadline=share)

    def _best_at_the_budget(self) -> str:
        """Offer the plan behind the bound, if it is optimal: of the optimal ones the least peak.

        That is found by asking again for less than the last peak, until that costs more.
        """
        bound, found, settled = self._bound, None, self._standings.settled()
        while bound is not None and bound.saved and not settled:
            schedule = just_in_time(self._problem, bound.saved)
            peak = memory_profile(self._problem, schedule).peak_bytes
            extra = recompute_ps(self._problem, schedule)
            if extra != bound.recompute_ps or peak > self._budget:
                return "the plan behind the bound does not attain it"
            if found is not None and (extra > found.recompute_ps or peak >= found.peak_bytes):
                break
            found = Seed("moments", schedule, peak, extra)
            bound = self._bound_at(peak - 1)
            settled = bound.recompute_ps is None or bound.recompute_ps > extra
        if found is not None and settled:
            self._standings.offer(found)
        return ""

    def _greedy(self) -> str:
        from solvers.training.greedy_drop import greedy_drop

        retention = greedy_drop(self._problem, self._budget, deadline=self._deadline)
        self._standings.consider("greedy", just_in_time(self._problem, *retention))
        return ""

    def _blocks(self) -> str:
        from solvers.training.block_dp import block_plans

        share = self._deadline.within(_BLOCKS_SHARE * self._deadline.remaining_s())
        plans = block_plans(self._problem, deadline=share)
        for known in plans:
            name = f"block-dp {known.name.removeprefix('block-dp')}".rstrip()
            self._standings.offer(known._replace(name=name))
        self._cut = self._cut or share.expired()
        return f"{len(plans)} plans"

    def _moments(self) -> str:
        from solvers.training.moment_plans import moment_plans

        if len(self._problem.duration_ps) > _MOST_IN_MOMENTS:
            return "only at the budget: too large for the whole range"
        share = self._deadline.within(_MOMENTS_SHARE * self._deadline.remaining_s())
        for known in moment_plans(self._problem, deadline=share):
            self._standings.offer(known)
        self._cut = self._cut or share.expired()
        return ""

    def _ladder(self) -> str:
        from solvers.training.ladder import descend

        # The greedy plan is for this budget alone, and the frontier is to be the same for all.
        seeds = [known for known in self._standings.seeds if known.name != "greedy"]
        descent = descend(
            self._problem,
            self._budget,
            seeds=seeds,
            deadline=self._deadline.within(_LADDER_SHARE * self._deadline.remaining_s()),
            seed=self._seed,
        )
        self._standings.frontier = descent.rungs
        self._standings.frontier_complete = descent.complete and not self._cut
        rung = descent.at(self._budget) or descent.rungs[-1]
        known = Seed(f"ladder {rung.name}", rung.schedule, rung.peak_bytes, rung.recompute_ps)
        self._standings.offer(known)
        complete = self._standings.frontier_complete
        return "" if complete else "the time limit cut the frontier short"

    def _offload(self) -> str:
        from solvers.training.offload import mixed_plan

        if self._problem.host is None:
            return "no host memory was given"
        if self._standings.settled():
            return NOT_NEEDED
        known = [*self._standings.seeds, *self._standings.frontier]
        known.sort(key=lambda one: (one.recompute_ps, -one.peak_bytes))
        schedule = mixed_plan(
            self._problem, [one.schedule for one in known], self._budget, deadline=self._deadline
        )
        if schedule is not None:
            self._standings.consider("offload", schedule)
        return ""

    def _exact(self, name: str) -> str:
        """Solve at the budget; then, as long as nothing is lost, at less than the peak found."""
        from solvers.training.checkmate import CheckmateTraining
        from solvers.training.moccasin import MoccasinTraining

        solver = MoccasinTraining() if name == "moccasin" else CheckmateTraining()
        budget, least, found = self._budget, self._standings.best(), None
        if self._standings.settled():
            return NOT_NEEDED
        while not self._deadline.expired():
            outcome = solver.solve(
                self._problem,
                budget,
                deadline=self._deadline,
                seed=self._seed,
                incumbent=found or (None if least.excess_bytes else least.schedule),
                lower_bound=self._standings.extra_bound_ps,
            )
            if outcome.solution is None:
                break
            extra = recompute_ps(self._problem, outcome.solution)
            if not least.excess_bytes and extra > least.extra_ps - (found is None):
                break
            found, least = outcome.solution, least._replace(excess_bytes=0, extra_ps=extra)
            budget = memory_profile(self._problem, found).peak_bytes - 1
        if found is not None:
            self._standings.consider(name, found)
        return ""
