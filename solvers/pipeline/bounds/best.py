"""The best bound there is on what any schedule of a pipeline takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from planner.pipelining.problem import PipelineObjective
from solvers.pipeline.bounds.area import area_bound
from solvers.pipeline.bounds.chain import chain_bound
from solvers.pipeline.bounds.pair import pair_bound
from solvers.pipeline.bounds.suffix import suffix_bound

if TYPE_CHECKING:
    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.schedule import PipelineSchedule
    from solvers.pipeline.bounds.certificate import PairCertificate
    from solvers.protocol import Deadline


class PipelineBound(NamedTuple):
    """Ticks that no schedule of a problem undercuts.

    Attributes
    ----------
    longest_stage : int
        For the longest stage, however late devices start.
    makespan : int
    name : str
        The bound on the problem's objective: ``ideal``, ``chain``, ``area``, ``suffix``
        or ``pair``.
    certificate : PairCertificate or None
        Of the pair bound: ``solvers.pipeline.bounds.certificate.verify`` checks it.
    schedule : PipelineSchedule or None
        One within the limits that a search for the bound came by; it need not meet the bound.
    """

    longest_stage: int
    makespan: int
    name: str
    certificate: PairCertificate | None
    schedule: PipelineSchedule | None = None


def analytic_bound(problem: PipelineProblem) -> PipelineBound:
    """Return the best of the bounds that need no solver."""
    ideal = problem.ideal_ticks
    chain, area = chain_bound(problem), area_bound(problem)
    whole = problem.objective is PipelineObjective.MAKESPAN
    values = {"ideal": ideal}
    values["chain"] = chain.makespan if whole else chain.longest_stage
    values["area"] = area.makespan if whole else area.longest_stage
    return PipelineBound(
        longest_stage=max(ideal, chain.longest_stage, area.longest_stage),
        makespan=max(ideal, chain.makespan, area.makespan),
        name=max(values, key=lambda name: values[name]),
        certificate=None,
    )


def pipeline_bound(
    problem: PipelineProblem, *, deadline: Deadline, enough: int | None = None
) -> PipelineBound:
    """Return the best bound by the deadline; searches and programs are on the problem's objective.

    Each bound is of the longest stage and so of the makespan. With offloading, memory says nothing.

    Parameters
    ----------
    problem : PipelineProblem
        One that some schedule fits; of others every number is a bound.
    deadline : Deadline
    enough : int or None
        Ticks of a known schedule: a bound that reaches them ends the search.
    """
    best = analytic_bound(problem)
    whole = problem.objective is PipelineObjective.MAKESPAN
    base = best.makespan if whole else best.longest_stage
    half = deadline.within(deadline.remaining_s() / 2)
    suffix = suffix_bound(problem, base, deadline=half, enough=enough)
    if suffix.ticks > base:
        base = suffix.ticks
        longest = best.longest_stage if whole else base
        best = PipelineBound(longest, max(best.makespan, base), "suffix", None)
    best = best._replace(schedule=suffix.schedule)
    if suffix.cost is not None and suffix.cost <= base:
        return best
    found = pair_bound(problem, problem.objective, base, deadline=deadline, enough=enough)
    if found.certificate is None:
        return best
    if whole:
        return best._replace(makespan=found.ticks, name="pair", certificate=found.certificate)
    return best._replace(
        longest_stage=found.ticks,
        makespan=max(best.makespan, found.ticks),
        name="pair",
        certificate=found.certificate,
    )
