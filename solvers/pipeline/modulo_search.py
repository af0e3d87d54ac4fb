"""Modulo scheduling as a contender: one block after the other, each repeated and squeezed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from planner.problem import Outcome, Status
from solvers._native import pipeline_cost
from solvers.cp_sat import LARGEST_SUM
from solvers.milp.highs import ortools_available
from solvers.pipeline.modulo import block_schedule, modulo_block
from solvers.pipeline.native_orders import native_model, native_order, within_kernels

if TYPE_CHECKING:
    from collections.abc import Callable

    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.schedule import PipelineSchedule
    from solvers.protocol import Availability, Deadline

_PERCENTS = (100, 101, 102, 105, 110, 120, 140, 170)
"""Periods to try, of the busiest device's ticks per microbatch."""


class ModuloSearch:
    """Blocks of one microbatch by CP-SAT, at periods from the busiest device's ticks upwards."""

    name = "modulo"

    def available(self) -> Availability:
        """Whether ortools can be loaded."""
        return ortools_available()

    def solve(
        self,
        problem: PipelineProblem,
        *,
        deadline: Deadline,
        seed: int = 0,
        incumbent: PipelineSchedule | None = None,
        lower_bound: int | None = None,
        on_progress: Callable[[str], None] | None = None,
    ) -> Outcome[PipelineSchedule]:
        """Return the best schedule that repeats a block found by the deadline, never a proof.

        Parameters
        ----------
        problem : PipelineProblem
            Copies to the host are not used; vocabulary passes and sharded weights are not known.
        deadline : Deadline
            Each period gets an equal part of what time is left.
        seed : int
        incumbent : PipelineSchedule, optional
            Not used.
        lower_bound : int, optional
            Periods stop where the steady state alone takes longer than the best schedule found.
        on_progress : callable, optional
            Called with a line for people when a better schedule is found.

        Returns
        -------
        Outcome
            ``feasible``, or ``unknown`` without a schedule. Statistics: ``cpu_s``, ``periods``
            with the status of each period tried.

        Raises
        ------
        ImportError
            If ortools cannot be loaded.
        """
        began_s = time.process_time()
        tried: dict[int, str] = {}
        best: tuple[int, PipelineSchedule] | None = None
        for number, period in enumerate(_periods(problem)):
            if deadline.expired() or (best is not None and best[0] <= (lower_bound or 0)):
                break
            if best is not None and best[0] <= period * problem.microbatches:
                break
            share = deadline.within(deadline.remaining_s() / (len(_PERCENTS) - number))
            outcome = modulo_block(problem, period, deadline=share, seed=seed)
            tried[period] = outcome.status.value
            if outcome.solution is None:
                continue
            schedule = block_schedule(problem, outcome.solution)
            cost = _cost(problem, schedule)
            if cost is None or (best is not None and best[0] <= cost):
                continue
            best = cost, schedule
            if on_progress is not None:
                on_progress(f"{problem.objective} {cost:,} ticks, a block every {period:,}")
        statistics = {"cpu_s": time.process_time() - began_s, "periods": tried}
        if best is None:
            return Outcome(Status.UNKNOWN, None, lower_bound, statistics)
        return Outcome(Status.FEASIBLE, best[1], lower_bound, statistics)


def _periods(problem: PipelineProblem) -> list[int]:
    if problem.vocabulary is not None or problem.sharding is not None:
        return []
    load = max(problem.busy_ticks(d) for d in range(problem.devices)) // problem.microbatches
    # A block spans as many periods as there are hops, at most.
    longest = 2 * (2 * len(problem.stages) + 2) * load
    bytes_held = sum(stage.activation_bytes for stage in problem.stages)
    if not load or max(longest, bytes_held * 2 * len(problem.stages)) > LARGEST_SUM:
        return []
    if not within_kernels(problem):
        return []
    return sorted({-(-load * percent // 100) for percent in _PERCENTS})


def _cost(problem: PipelineProblem, schedule: PipelineSchedule) -> int | None:
    """Price a schedule; None if it does not fit the limits."""
    model = native_model(problem)
    order = native_order(problem, model, schedule)
    if order is None:
        return None
    cost, _, _ = pipeline_cost(model, order)
    return cost if cost >= 0 else None
