"""Search for pipeline schedules with the least bubble: list scheduling, then annealing."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from planner.problem import Outcome, Status
from solvers._native import (
    pipeline_annealing,
    pipeline_cost,
    pipeline_schedule,
    pipeline_shapes,
)
from solvers.pipeline.block_search import block_schedules
from solvers.pipeline.native_orders import native_model, native_order, schedule_of, within_kernels
from solvers.pipeline.resampling import drop_stretch, repeat_stretch, resampled_starts
from solvers.protocol import Availability

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.schedule import PipelineSchedule
    from solvers._native import PipelineModel
    from solvers.protocol import Deadline

NAME = "search"
_LISTED_PASSES = 4_000_000
"""Passes that the first list schedules have together."""
_FEWEST_LISTED, _MOST_LISTED = 48, 5_000
_FIRST_STEPS = 100_000
_SLOW_STEPS_PER_PASS = 400
_SLOW_S = 10.0
"""Seconds from which slow cooling, which takes some seven, is worth it."""
_COLDEST = 0.001
_POOL = 6
_STARTS = 4
_LISTINGS = 4
"""List searches at first. Each stays near where it began, so that one may be far behind."""
_LISTED_ONCE = 2_000
"""Passes up to which one of them tries enough."""
_LISTING_SHARE = 0.08
"""Of what time is left, for each of them."""
_FAR_PERIODS = 2
_RESAMPLES = 60
_BLOCKS_PASSES = 200_000
_WAITS = (0.3, 1.0, 3.0)
_MANY_PASSES = 12_000
"""Passes from which a search with fewer microbatches goes first."""
_BLOCKS_S = 4.0
"""Seconds from which the search of building blocks, which takes about one, is worth it."""


class _Found(NamedTuple):
    cost: int
    order: NDArray[np.int32]


class PipelineSearch:
    """List schedules by target times, then annealing from the best of them and from seeds."""

    name = NAME

    def available(self) -> Availability:
        """Return that it always is."""
        return Availability(True)

    def solve(
        self,
        problem: PipelineProblem,
        *,
        deadline: Deadline,
        seed: int = 0,
        seeds: Sequence[PipelineSchedule] = (),
        lower_bound: int | None = None,
        most_rounds: int | None = None,
        on_progress: Callable[[str], None] | None = None,
    ) -> Outcome[PipelineSchedule]:
        """Return the best schedule of F, B and W passes found by the deadline.

        Parameters
        ----------
        problem
            Copies to the host are not used; vocabulary passes and sharded weights are not known.
        deadline
        seed : int
            The same gives the same answer after as many rounds.
        seeds : sequence of PipelineSchedule
            To start from; those that do not fit the limits are left out.
        lower_bound : int, optional
            A proven bound on the problem's objective: the search stops when it is met.
        most_rounds : int, optional
            Rounds of annealing at most, each of a fixed number of steps; as many as the deadline
            allows if not given.
        on_progress
            Called with a line for people when a better schedule is found.

        Returns
        -------
        Outcome
            ``unknown`` for the problems above and for times or bytes whose sums exceed 64 bits;
            ``infeasible`` if a limit is below one microbatch of all stages of a device, whose
            activations are all held before the first is given back; ``unknown`` there if they can
            be offloaded.
        """
        unknown = problem.vocabulary is not None or problem.sharding is not None
        if unknown or not within_kernels(problem):
            return Outcome(Status.UNKNOWN, None, lower_bound)
        for device, limit in enumerate(problem.limits):
            stages = problem.stages_of[device]
            least = sum(problem.stages[stage].activation_bytes for stage in stages)
            if limit is not None and limit < least:
                proven = problem.offloading is None
                status = Status.INFEASIBLE if proven else Status.UNKNOWN
                return Outcome(status, None, lower_bound)
        run = _Run(problem, deadline, seed, lower_bound or 0, on_progress)
        run.start(seeds)
        run.improve(most_rounds)
        best = run.pool[0]
        met = lower_bound is not None and best.cost <= lower_bound
        return Outcome(
            Status.OPTIMAL if met else Status.FEASIBLE,
            schedule_of(problem, best.order, NAME),
            lower_bound,
            run.statistics(),
        )


class _Run:
    """One search: its pool of schedules, the best first, of different costs."""

    def __init__(
        self,
        problem: PipelineProblem,
        deadline: Deadline,
        seed: int,
        goal: int,
        on_progress: Callable[[str], None] | None,
    ) -> None:
        self.problem = problem
        self.model: PipelineModel = native_model(problem)
        self.deadline = deadline
        self.goal = goal
        self.random = random.Random(seed)
        self.on_progress = on_progress
        self.pool: list[_Found] = []
        self.leaders: list[_Found] = []
        self.schedules = self.steps = self.evaluations = self.rounds = 0
        self.began_s = time.process_time()

    def statistics(self) -> dict[str, Any]:
        return {
            "cost": self.pool[0].cost,
            "list_schedules": self.schedules,
            "rounds": self.rounds,
            "steps": self.steps,
            "evaluations": self.evaluations,
            "cpu_s": time.process_time() - self.began_s,
        }

    def done(self) -> bool:
        return self.deadline.expired() or self.pool[0].cost <= self.goal

    def add(self, order: NDArray[np.int32]) -> _Found | None:
        """Price an order, and keep it if it is among the best; None if it deadlocks."""
        cost, _, _ = pipeline_cost(self.model, order)
        if cost < 0:
            return None
        found = _Found(cost, order)
        better = not self.pool or cost < self.pool[0].cost
        if all(other.cost != cost for other in self.pool):
            self.pool = sorted([*self.pool, found], key=lambda one: one.cost)[:_POOL]
        if better and self.on_progress is not None:
            self.on_progress(f"{self.problem.objective} {cost:,} ticks after {self.steps:,} moves")
        return found

    def start(self, seeds: Sequence[PipelineSchedule]) -> None:
        for schedule in seeds:
            order = native_order(self.problem, self.model, schedule)
            if order is not None:
                self.add(order)
        if self.pool and self.done():
            return
        if (
            self.model.passes > _MANY_PASSES
            and self.problem.microbatches > 3 * self.problem.devices
        ):
            self.start_with_fewer_microbatches()
        for number in range(_LISTINGS if self.model.passes > _LISTED_ONCE else 1):
            if number and self.done():
                return
            share = _LISTING_SHARE * self.deadline.remaining_s() if number else None
            found = [self.add(order) for order in self.list_schedules(within_s=share)]
            self.leaders += [one for one in found[:1] if one is not None]
        few = self.model.passes <= _BLOCKS_PASSES
        if few and not self.done() and self.deadline.remaining_s() > _BLOCKS_S:
            for schedule in block_schedules(self.problem, self.deadline, most=_POOL):
                order = native_order(self.problem, self.model, schedule)
                if order is not None:
                    self.add(order)

    def start_with_fewer_microbatches(self) -> None:
        """Search with fewer microbatches, where it is faster, and repeat stretches of the best."""
        few = 2 * self.problem.devices
        small = _Run(
            replace(self.problem, microbatches=few),
            self.deadline.within(self.deadline.remaining_s() / 3),
            self.random.getrandbits(60),
            0,
            None,
        )
        small.start(())
        small.improve(_POOL)
        self.steps += small.steps
        self.evaluations += small.evaluations
        self.schedules += small.schedules
        for found in small.pool[:3]:
            _, flat, _ = pipeline_cost(small.model, found.order)
            starts = flat.reshape(-1, few)
            for length in (1, 2, 3, 4):
                missing = self.problem.microbatches - few
                begin = (few - length) // 2
                sources = repeat_stretch(few, begin, length, -(-missing // length))
                extra = len(sources) - self.problem.microbatches
                targets = resampled_starts(starts, drop_stretch(sources, begin, extra))
                for wait in _WAITS:
                    if self.pool and self.done():
                        return
                    self.add(pipeline_schedule(self.model, targets.reshape(-1), wait=wait))

    def list_schedules(
        self, share: int = 1, within_s: float | None = None
    ) -> list[NDArray[np.int32]]:
        count = min(_MOST_LISTED, max(_FEWEST_LISTED, _LISTED_PASSES // self.model.passes)) // share
        found, schedules = pipeline_shapes(
            self.model,
            time_limit_s=self.deadline.remaining_s() if within_s is None else within_s,
            cancel=self.deadline.cancel,
            seed=self.random.getrandbits(60),
            schedules=count,
            keep=_POOL,
            goal=self.goal,
        )
        self.schedules += schedules
        return [order for _, order in found]

    def improve(self, most_rounds: int | None) -> None:
        if self.slow_cooling_pays() and self.rounds != most_rounds:
            self.anneal(self.pool[0], _SLOW_STEPS_PER_PASS * self.model.passes, 0.025)
        starts = {found.cost: found for found in (*self.pool[1:], *self.leaders, self.pool[0])}
        first = {self.pool[0].cost, *(found.cost for found in self.leaders)}
        for cost in sorted(starts, key=lambda cost: (cost not in first, cost))[:_STARTS]:
            found = starts[cost]
            if self.done() or self.rounds == most_rounds:
                return
            self.anneal(found, _FIRST_STEPS, 0.02)
        steps = 2 * _FIRST_STEPS
        while not self.done() and self.rounds != most_rounds:
            kind = self.rounds % 4
            if kind == 0:
                self.anneal(self.pool[0], steps, 0.01)
            elif kind == 1:
                self.anneal(self.random.choice(self.pool), steps, 0.05)
            elif kind == 2:
                self.anneal(self.resampled(self.pool[0]), steps, 0.02)
            else:
                self.anneal(self.listed(), steps, 0.05)
                steps += steps // 2

    def slow_cooling_pays(self) -> bool:
        """Whether one long annealing should go before the many short ones, as on 16 devices."""
        large = _LISTED_ONCE <= self.model.passes <= _MANY_PASSES
        return large and not self.done() and self.deadline.remaining_s() > _SLOW_S

    def listed(self) -> _Found:
        """Return the best of new list schedules, or of the pool if they are far behind."""
        order = self.list_schedules(share=4)[0]
        cost, _, _ = pipeline_cost(self.model, order)
        return self.pool[0] if self.is_far(cost) else _Found(cost, order)

    def is_far(self, cost: int) -> bool:
        return cost > self.pool[0].cost + _FAR_PERIODS * self.model.period

    def anneal(self, found: _Found, steps: int, hottest: float) -> _Found:
        _, _, releases = pipeline_cost(self.model, found.order)
        order, _, statistics = pipeline_annealing(
            self.model,
            found.order,
            releases,
            time_limit_s=self.deadline.remaining_s(),
            cancel=self.deadline.cancel,
            seed=self.random.getrandbits(60),
            steps=steps,
            hottest=hottest,
            coldest=_COLDEST,
            goal=self.goal,
        )
        self.rounds += 1
        self.steps += statistics["steps"]
        self.evaluations += statistics["evaluations"]
        return self.add(order) or found

    def resampled(self, found: _Found) -> _Found:
        """Return the best of some schedules with a stretch of this one repeated or left out.

        If they are far behind, this one.
        """
        _, flat, _ = pipeline_cost(self.model, found.order)
        microbatches = self.problem.microbatches
        starts = flat.reshape(-1, microbatches)
        best: _Found | None = None
        for _ in range(_RESAMPLES):
            if self.deadline.expired():
                break
            length = self.random.randint(1, max(1, min(6, microbatches // 3)))
            sources = repeat_stretch(
                microbatches, self.random.randint(0, microbatches - length), length, 1
            )
            sources = drop_stretch(sources, self.random.randint(0, microbatches), length)
            targets = resampled_starts(starts, sources).reshape(-1)
            order = pipeline_schedule(self.model, targets, wait=self.random.choice(_WAITS))
            cost, _, _ = pipeline_cost(self.model, order)
            if (best is None or cost < best.cost) and cost != found.cost:
                best = _Found(cost, order)
        return found if best is None or self.is_far(best.cost) else best
