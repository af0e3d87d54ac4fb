"""A pipeline problem, its schedule, and what was found about it, as a JSON object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from planner.errors import UsageError
from planner.plan_fields import LARGEST_INTEGER
from planner.version import VERSION as PLANNER_VERSION

if TYPE_CHECKING:
    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.result import PipelineResult
    from planner.pipelining.schedule import PipelineSchedule
    from planner.pipelining.simulator import PipelineTimeline

FORMAT = "planner.pipeline-schedule"
VERSION = 1


def schedule_object(result: PipelineResult, timeline: PipelineTimeline) -> dict[str, Any]:
    """Return the JSON object described in schema/pipeline-schedule.schema.json.

    Parameters
    ----------
    result : PipelineResult
    timeline : PipelineTimeline
        The result's.

    Raises
    ------
    UsageError
        If a number is too large for the format, which counts in 53 bits.
    """
    document = {
        "format": FORMAT,
        "version": VERSION,
        "problem": problem_object(result.problem),
        "schedule": orders_object(timeline.schedule),
        "times": _times_object(timeline),
        "metrics": {
            "longest_stage": timeline.longest_stage,
            "makespan": timeline.makespan,
            "bubble": result.bubble,
            "peak_bytes": list(result.peak_bytes),
            "peak_bytes_until_weight": list(result.peak_bytes_until_weight),
            "peak_host_bytes": list(result.host_peak_bytes),
        },
        "bound": {
            "ticks": result.bound_ticks,
            "bubble": result.bubble_lower_bound,
            "placements": [bound._asdict() for bound in result.bounds],
        },
        "provenance": {
            "planner": PLANNER_VERSION,
            "contender": result.contender,
            "status": result.status.value,
            "wall_s": round(result.wall_s, 6),
        },
    }
    _require_countable(document, "")
    return document


def problem_object(problem: PipelineProblem) -> dict[str, Any]:
    """Return the problem; what the model does without is null."""
    offloading, vocabulary, sharding = problem.offloading, problem.vocabulary, problem.sharding
    return {
        "stages": [
            {
                "forward": stage.forward,
                "backward": stage.backward,
                "weight": stage.weight,
                "communication": stage.communication,
                "activation_bytes": stage.activation_bytes,
                "kept_bytes": stage.kept_bytes,
            }
            for stage in problem.stages
        ],
        "device_of": list(problem.device_of),
        "microbatches": problem.microbatches,
        "limits": list(problem.limits),
        "tick": {
            "numerator": problem.tick_s.numerator,
            "denominator": problem.tick_s.denominator,
        },
        "objective": problem.objective.value,
        "offloading": None
        if offloading is None
        else {
            "offload": list(offloading.offload),
            "reload": list(offloading.reload),
            "streams": offloading.streams,
            "host_bytes": offloading.host_bytes,
        },
        "vocabulary": None
        if vocabulary is None
        else {
            "forward": vocabulary.forward,
            "backward": vocabulary.backward,
            "broadcast": vocabulary.broadcast,
            "barrier": vocabulary.barrier,
            "barriers": vocabulary.barriers,
            "activation_bytes": vocabulary.activation_bytes,
        },
        "sharding": None
        if sharding is None
        else {
            "gather": list(sharding.gather),
            "reduce": list(sharding.reduce),
            "parameter_bytes": list(sharding.parameter_bytes),
            "gradient_bytes": list(sharding.gradient_bytes),
        },
    }


def orders_object(schedule: PipelineSchedule) -> dict[str, Any]:
    """Return the orders: passes as ``F 3.1``, stage 3 and microbatch 1."""
    return {
        "name": schedule.name,
        "passes": [
            [f"{kind} {stage}.{microbatch}" for kind, stage, microbatch in items]
            for items in schedule.passes
        ],
        "copies": [[copy._asdict() for copy in items] for items in schedule.copies],
        "units": [[unit._asdict() for unit in items] for items in schedule.units],
    }


def _times_object(timeline: PipelineTimeline) -> dict[str, Any]:
    """Per stream and device, pairs of start and end."""
    return {
        name: [
            [None if span is None else [span.start, span.end] for span in spans]
            for spans in streams
        ]
        for name, streams in (
            ("passes", timeline.passes),
            ("copies", timeline.copies),
            ("gathers", timeline.gathers),
            ("reductions", timeline.reductions),
        )
    }


def _require_countable(value: Any, where: str) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _require_countable(inner, f"{where}.{key}" if where else key)
    elif isinstance(value, list):
        for inner in value:
            _require_countable(inner, where)
    elif isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        raise UsageError(f"{where} is {value:,}; numbers in JSON end at 2^53.")
