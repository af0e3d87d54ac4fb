"""Schedules as JSON: the same bytes, the whole truth, and nothing believed."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

import planner
from planner.errors import BadFileError, UsageError
from planner.pipelining.files.schedule_file import (
    read_schedule,
    schedule_from_json,
    schedule_to_json,
    write_schedule,
)
from planner.pipelining.result import PipelineResult
from planner.problem import Status

from .pipelines import offloaded, one_f_one_b, problem, sharded, split_vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.simulator import PipelineTimeline

SCHEMA = json.loads(
    files("planner").joinpath("schema", "pipeline-schedule.schema.json").read_text()
)


def classic() -> tuple[PipelineProblem, PipelineTimeline]:
    pipeline = problem(limits=(5000, None))
    return pipeline, one_f_one_b(pipeline)


MADE = [classic, offloaded, split_vocabulary, sharded]


def result_of(made: tuple[PipelineProblem, PipelineTimeline]) -> PipelineResult:
    return PipelineResult(made[0], "linear", made[1], Status.FEASIBLE, 7, "somebody")


@pytest.mark.parametrize("make", MADE, ids=lambda make: make.__name__)
def test_what_is_written_is_read(make: Callable, tmp_path: Path) -> None:
    result = result_of(make())
    write_schedule(result, tmp_path / "a.json")
    stored = read_schedule(tmp_path / "a.json")
    assert stored.problem == result.problem
    assert stored.timeline == result.timeline
    assert stored.schedule == result.schedule
    assert (stored.bound_ticks, stored.contender) == (7, "somebody")
    assert schedule_to_json(result) == (tmp_path / "a.json").read_text()


@pytest.mark.parametrize("make", MADE, ids=lambda make: make.__name__)
def test_what_is_written_keeps_to_the_schema(make: Callable) -> None:
    jsonschema.validate(json.loads(schedule_to_json(result_of(make()))), SCHEMA)


def test_nothing_is_written_without_a_schedule() -> None:
    result = replace(result_of(classic()), timeline=None)
    with pytest.raises(UsageError, match="no schedule"):
        schedule_to_json(result)


def test_numbers_beyond_json_are_refused() -> None:
    pipeline, timeline = classic()
    huge = replace(pipeline, limits=(1 << 60, None))
    with pytest.raises(UsageError, match="2\\^53"):
        schedule_to_json(result_of((huge, timeline)))


def damaged(path: tuple[Any, ...], value: Any) -> str:
    document = copy.deepcopy(json.loads(schedule_to_json(result_of(offloaded()))))
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return json.dumps(document)


DAMAGE = {
    "another format": (("format",), "planner.plan", "format"),
    "a later version": (("version",), 2, "version"),
    "an unknown field": (("colour",), 1, "colour: unknown"),
    "a missing field": (("problem", "stages"), ..., "problem.stages: missing"),
    "no stages": (("problem", "stages"), [], "stage"),
    "a negative time": (("problem", "stages", 0, "forward"), -1, "stages[0].forward"),
    "a real number": (("problem", "stages", 0, "backward"), 1.5, "stages[0].backward"),
    "too much kept": (("problem", "stages", 0, "kept_bytes"), 10**6, "gradient of the weights"),
    "a device too many": (("problem", "device_of"), [0, 0], "2 for 1 stages"),
    "a device that is none": (("problem", "device_of"), [3], "device"),
    "no microbatches": (("problem", "microbatches"), 0, "microbatches"),
    "too many microbatches": (("problem", "microbatches"), 10**12, "forward passes"),
    "an odd limit": (("problem", "limits"), ["much"], "limits[0]"),
    "ticks of no length": (("problem", "tick", "denominator"), 0, "denominator"),
    "a third objective": (("problem", "objective"), "beauty", "objective"),
    "a third stream": (("problem", "offloading", "streams"), 3, "streams"),
    "a pass of another kind": (("schedule", "passes", 0, 0), "X 0.0", "passes[0][0]"),
    "a pass that is no text": (("schedule", "passes", 0, 0), 5, "passes[0][0]"),
    "a device without passes": (("schedule", "passes"), [], "0 devices"),
    "a copy of another kind": (("schedule", "copies", 0, 0, "kind"), "F", "kind"),
    "a copy without anchor": (("schedule", "copies", 0, 0, "after"), ..., "after: missing"),
    "a time missing": (("times", "passes", 0), [], "0 times for 6"),
    "half a time": (("times", "passes", 0, 0), [3], "no pair"),
    "a time that is true": (("times", "passes", 0, 0), [True, 3], "no pair"),
    "a copy's time missing": (("times", "copies", 0, 0), None, "no pair"),
    "an odd status": (("provenance", "status"), "perfect", "status"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_refused_by_field(name: str) -> None:
    path, value, reason = DAMAGE[name]
    with pytest.raises(BadFileError) as refusal:
        schedule_from_json(damaged(path, value))
    assert reason in str(refusal.value)


def test_deep_and_broken_documents_are_refused() -> None:
    for text in ("[" * 100_000, "{", "\x00", '{"format": NaN}', "[]"):
        with pytest.raises(BadFileError):
            schedule_from_json(text)


def test_an_illegal_schedule_can_be_read() -> None:
    """Whether it is legal is for the checker to say."""
    stored = schedule_from_json(damaged(("times", "passes", 0, 0), [5, 25]))
    assert planner.check_pipeline(stored.problem, stored.timeline)
