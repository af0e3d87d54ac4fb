"""A model becomes one problem per placement, and its schedules can be raced."""

from __future__ import annotations

from dataclasses import replace

import pytest

import planner
from frontends import zoo
from planner.errors import DoesNotFitError, UsageError
from planner.pipelining.checking.checker import check_pipeline
from planner.pipelining.costs import linked_to_host
from planner.pipelining.partitioning.model_problems import model_problems
from planner.pipelining.race import race
from planner.target_file import read_target

GPU = read_target("gpu-80g")
GRAPH = planner.load(zoo.build("resnet8"))


def test_placements_of_one_model_count_in_the_same_ticks() -> None:
    given = {"devices": 2, "microbatches": 4}
    two = model_problems(GRAPH, GPU, chunks=2, **given)
    assert set(two.problems) == set(two.partitions) == {"v", "looped"}
    one = model_problems(GRAPH, GPU, **given)
    ticks = {problem.tick_s for problem in (*two.problems.values(), *one.problems.values())}
    assert len(ticks) == 1


def test_a_multiple_is_one_of_the_activations_and_bytes_are_of_everything() -> None:
    given = {"devices": 2, "microbatches": 4}
    free = model_problems(GRAPH, GPU, **given)
    stages = free.problems["linear"].stages
    whole = max(2 * stages[0].activation_bytes, stages[1].activation_bytes)
    multiple = model_problems(GRAPH, GPU, memory_limit="0.5x", **given)
    assert multiple.problems["linear"].limits == (whole // 2,) * 2
    held = free.partitions["linear"].state_bytes
    limited = model_problems(GRAPH, GPU, memory_limit="1GB", **given)
    assert limited.problems["linear"].limits == tuple(10**9 - size for size in held)
    with pytest.raises(DoesNotFitError):
        model_problems(GRAPH, GPU, memory_limit=1000, chunks=2, **given)


def test_only_multiples_differ_from_device_to_device() -> None:
    given = {"devices": 2, "microbatches": 4}
    limits = model_problems(GRAPH, GPU, memory_limit="1x,0.5x", **given).problems["linear"].limits
    assert (
        limits
        == model_problems(GRAPH, GPU, memory_limit=["1x", "0.5x"], **given)
        .problems["linear"]
        .limits
    )
    assert limits[1] == (limits[0] or 0) // 2
    for wrong in ("1GB,2GB", ["1GB", "2GB"], "1GB,1x"):
        with pytest.raises(UsageError, match="one size for all devices"):
            model_problems(GRAPH, GPU, memory_limit=wrong, **given)


def test_a_link_to_the_host_that_takes_years_is_refused_in_words() -> None:
    problem = model_problems(GRAPH, GPU, devices=2, microbatches=4).problems["linear"]
    slow = replace(problem, tick_s=problem.tick_s / 10**12)
    with pytest.raises(UsageError, match="3 bytes per second is too slow"):
        linked_to_host(slow, 3, None, 2, None)


def test_the_race_plans_a_model() -> None:
    found = model_problems(GRAPH, GPU, devices=2, microbatches=4, chunks=2, memory_limit="1.0x")
    result = race(found.problems, time_limit=2.0)
    assert result.timeline is not None
    assert not check_pipeline(result.problem, result.timeline)
    assert result.placement in found.partitions
