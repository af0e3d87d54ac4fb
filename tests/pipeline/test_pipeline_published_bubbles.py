"""Tables 5 and 8 of "Zero Bubble Pipeline Parallelism", in closed form and by simulation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from planner.bench.pipeline_published import TABLE_5, TABLE_8, PublishedSetting
from planner.bench.pipeline_reproduction import interleaved_problem, linear_problem
from planner.pipelining.memory import device_memory
from planner.pipelining.simulator import bubble_rate, simulate_pipeline
from solvers.pipeline import closed_forms
from solvers.pipeline.closed_forms import EqualStages
from solvers.pipeline.constructors.handcrafted_zero_bubble import zb_h1, zb_h2
from solvers.pipeline.constructors.interleaved import interleaved_with_early_start
from solvers.pipeline.constructors.one_f_one_b import one_f_one_b
from solvers.pipeline.constructors.zero_bubble import zero_bubble

from .constructions import NO_HURRY

if TYPE_CHECKING:
    from collections.abc import Callable
    from fractions import Fraction

    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.schedule import PipelineSchedule

ROWS = [*TABLE_5, *TABLE_8]
SMALL = 16 * 64

CLOSED: dict[str, Callable[[EqualStages, PublishedSetting], Fraction]] = {
    "1F1B": lambda costs, row: closed_forms.idle_1f1b(costs),
    "1F1B-I": lambda costs, row: closed_forms.idle_interleaved(costs, row.chunks, early=True),
    "ZB-H1": lambda costs, row: closed_forms.idle_zb_h1(costs),
    "ZB-H2": lambda costs, row: closed_forms.idle_zb_h2(costs),
}
BUILD: dict[str, Callable[[PipelineProblem], PipelineSchedule]] = {
    "1F1B": one_f_one_b,
    "1F1B-I": interleaved_with_early_start,
    "ZB-H1": zb_h1,
    "ZB-H2": zb_h2,
}


def _sized(rows: list[PublishedSetting], small: int = SMALL) -> list[object]:
    """The larger rows take seconds each."""
    return [
        pytest.param(
            row,
            id=f"{row.devices}x{row.microbatches}-{row.hidden}",
            marks=[pytest.mark.slow] if row.devices * row.microbatches > small else [],
        )
        for row in rows
    ]


def _equal_stages(row: PublishedSetting) -> EqualStages:
    return EqualStages(row.devices, row.microbatches, *row.ticks, row.communication)


@pytest.mark.parametrize("name", CLOSED)
@pytest.mark.parametrize("row", ROWS)
def test_closed_forms_give_the_published_rates(row: PublishedSetting, name: str) -> None:
    costs = _equal_stages(row)
    rate = costs.bubble_rate(CLOSED[name](costs, row))
    assert f"{float(rate):.4f}" == row.published()[name]


@pytest.mark.parametrize("name", BUILD)
@pytest.mark.parametrize("row", _sized(ROWS))
def test_simulated_schedules_have_the_published_rates(row: PublishedSetting, name: str) -> None:
    problem = interleaved_problem(row) if name == "1F1B-I" else linear_problem(row)
    longest = simulate_pipeline(problem, BUILD[name](problem)).longest_stage
    assert f"{bubble_rate(problem, longest):.4f}" == row.published()[name]
    idle = CLOSED[name](_equal_stages(row), row)
    ticks_each = row.chunks if name == "1F1B-I" else 1
    assert longest - problem.ideal_ticks == idle * ticks_each


@pytest.mark.parametrize("pipelines", [1, 2])
@pytest.mark.parametrize("row", _sized(list(TABLE_5), 8 * 24))
def test_the_search_at_one_and_two_times_the_memory_is_no_worse_than_published(
    row: PublishedSetting, pipelines: int
) -> None:
    problem = linear_problem(row, pipelines * row.devices)
    timeline = simulate_pipeline(problem, zero_bubble(problem, NO_HURRY))
    rate = round(bubble_rate(problem, timeline.longest_stage), 4)
    published = float(row.published()[f"ZB-{pipelines}p"])
    assert rate == published if pipelines == 1 else rate <= published
    for profile, limit in zip(device_memory(problem, timeline), problem.limits, strict=True):
        assert limit is not None
        assert profile.peak <= limit
