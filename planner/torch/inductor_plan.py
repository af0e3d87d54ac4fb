"""Planning a step that Inductor compiles: the cheapest plan whose code keeps the budget."""

from __future__ import annotations

import time
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from torch._inductor import config

from frontends.torch.fusion import fused
from frontends.torch.layout_copies import with_layout_copies
from planner.errors import DoesNotFitError, PlannerError
from planner.problem import Status
from planner.torch.emission import planned_halves
from planner.torch.inductor_trial import trial_memory
from planner.torch.planned_step import PlannedStep
from planner.torch.planning import lowered, raced
from planner.torch.trial_search import cheapest_that_fits
from planner.training.misfit import misfit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.torch.compiled_memory import CompiledMemory
    from planner.torch.joint_capture import CapturedStep
    from planner.torch.plan_options import PlanOptions
    from planner.training.result import TrainingResult
    from planner.training.schedule import TrainingSchedule

_LISTED = 5


class _Candidate(NamedTuple):
    """A plan, with the peak that it has before Inductor fuses and schedules anew."""

    peak_bytes: int
    name: str
    schedule: TrainingSchedule


def plan_for_inductor(captured: CapturedStep, options: PlanOptions) -> PlannedStep:
    """Plan a traced step that Inductor is about to compile, with its current configuration.

    The race plans operators as they are traced, some of them merged as Inductor will. What its
    kernels hold is known when their code is generated: so that is done for plans of the race's
    frontier, until the cheapest is found whose code keeps the budget. Trials take up to
    ``time_limit`` again; the first is made in any case.

    Returns
    -------
    PlannedStep
        What the race proved holds for operators that are not fused, and is left out.

    Warns
    -----
    RuntimeWarning
        If the memory of generated code cannot be told. Then the plan is the race's.

    Raises
    ------
    planner.errors.DoesNotFitError
        If no plan was found whose code keeps the budget.
    planner.errors.LoweringError
        If the step's tensors have no known sizes.
    """
    joint = fused(lowered(captured, options.target, options.host_bytes))
    if config.layout_optimization:
        joint = with_layout_copies(joint)
    result = raced(joint, options)
    # A bound on plans as traced is none on what Inductor makes of them.
    plain = replace(result, status=Status.FEASIBLE, peak_bound_bytes=0, extra_bound_ps=0)
    candidates = _candidates(result)
    memories: dict[int, CompiledMemory] = {}

    def trial(position: int) -> int:
        halves = planned_halves(joint, candidates[position].schedule)
        memories[position] = trial_memory(*halves, joint.num_fwd_outputs)
        return memories[position].peak_bytes

    try:
        chosen = cheapest_that_fits(
            [one.peak_bytes for one in candidates],
            options.budget_bytes,
            next(i for i, one in enumerate(candidates) if one.schedule is result.schedule),
            trial,
            until=time.monotonic() + options.time_limit,
        )
    except PlannerError:
        raise
    except Exception as error:  # the compiler's inner parts are nobody's interface
        if not result.fits:
            raise misfit(result) from error
        warnings.warn(
            f"planner: the memory of Inductor's code for this step is not known "
            f"({type(error).__name__}: {error}); it was planned without, and may exceed "
            f"{options.budget_bytes:,} bytes. Check it with planner.torch.measure.",
            RuntimeWarning,
            stacklevel=2,
        )
        return PlannedStep(joint, plain)
    if chosen is None:
        raise _misfit(options.budget_bytes, list(memories.values()))
    _, name, schedule = candidates[chosen]
    peak = memories[chosen].peak_bytes
    return PlannedStep(joint, replace(plain, schedule=schedule, contender=name), peak)


def _candidates(result: TrainingResult) -> list[_Candidate]:
    """Return the plans known, by falling peak: the race's answer, and its frontier."""
    chosen = _Candidate(result.predicted_peak_bytes, result.contender, result.schedule)
    known = [_Candidate(p.peak_bytes, p.name, p.schedule) for p in result.frontier]
    known = [one for one in known if one.peak_bytes != chosen.peak_bytes]
    return sorted([*known, chosen], key=lambda one: -one.peak_bytes)


def _misfit(budget_bytes: int, tried: Sequence[CompiledMemory]) -> DoesNotFitError:
    """Return the error that says why no plan keeps the budget."""
    peak, live = min(tried, key=lambda memory: memory.peak_bytes)
    listed = ", ".join(f"{name} {size:,}" for name, size in live[:_LISTED])
    more = f" and {len(live) - _LISTED:,} smaller" if len(live) > _LISTED else ""
    return DoesNotFitError(
        f"no plan within {budget_bytes:,} bytes was found. The least peak of the code that "
        f"Inductor generates is {peak:,} bytes ({len(tried)} plans tried). Live then: "
        f"{listed}{more}. Give a larger budget_bytes or a smaller batch; "
        "planner.torch.backend, which fuses nothing, may get along with less.",
        proven=False,
    )
