"""PyTorch's static checks and ours agree; its own schedules are schedules here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.pipelining.checking.order_faults import order_faults
from planner.pipelining.delayed_starts import delay_first_passes
from planner.pipelining.files.offload_file import offload_from_json, offload_to_json
from planner.pipelining.files.schedule_csv import schedule_from_csv, schedule_to_csv
from planner.pipelining.memory import device_memory
from planner.pipelining.placements import placement
from planner.pipelining.problem import Offloading, PipelineProblem, StageCosts
from planner.pipelining.schedule import PipelineSchedule
from planner.pipelining.simulator import simulate_pipeline
from solvers.pipeline.constructors.catalogue import CONSTRUCTORS, Constructor, InapplicableError

from .constructions import NO_HURRY
from .random_orders import disordered, schedules, unit_problem
from .torch_example import torch_refusal, torch_schedule

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator


@pytest.mark.slow
@settings(max_examples=400)
@given(disordered())
def test_a_deadlock_is_found_exactly_when_pytorch_finds_one(
    drawn: tuple[PipelineSchedule, int],
) -> None:
    schedule, microbatches = drawn
    ours, theirs = order_faults(schedule, microbatches), torch_refusal(schedule, microbatches)
    assert bool(ours) == bool(theirs), (ours, theirs)


@pytest.mark.slow
@settings(max_examples=300)
@given(schedules(), st.randoms(use_true_random=False))
def test_orders_shuffled_within_a_rank_are_refused_exactly_when_pytorch_refuses_them(
    drawn: tuple[PipelineSchedule, int], chance: random.Random
) -> None:
    schedule, microbatches = drawn
    rows = [list(row) for row in schedule.passes]
    for _ in range(chance.randrange(3)):
        row = chance.choice(rows)
        row.insert(chance.randrange(len(row)), row.pop(chance.randrange(len(row))))
    moved = PipelineSchedule("moved", schedule.device_of, tuple(map(tuple, rows)))
    ours, theirs = order_faults(moved, microbatches), torch_refusal(moved, microbatches)
    assert bool(ours) == bool(theirs), (ours, theirs)


def test_what_pytorch_refuses_is_refused_here_with_its_reason() -> None:
    legal = "0F0,0F1,0I0,0W0,0I1,0W1\n1F0,1I0,1F1,1I1,1W0,1W1\n"
    for damage, reason in (
        ((",0W1", ""), "lacks W"),
        (("0I0,0W0", "0W0,0I0"), "runs before B 0.0"),
        (("1F0,1I0", "1I0,1F0"), "runs before F 1.0"),
        (("0F0,0F1,0I0,0W0,0I1,0W1\n1F0,1I0,1F1", "0F0,0I0,0F1,0W0,0I1,0W1\n1F1,1F0,1I0"), "dead"),
    ):
        found = schedule_from_csv(legal.replace(*damage).encode())
        assert torch_refusal(found.schedule, 2)
        assert reason in order_faults(found.schedule, 2)[0]


def test_pytorch_overlooks_a_pass_that_is_there_twice() -> None:
    """Why our own check comes first."""
    twice = schedule_from_csv(b"0F0,0F0,0B0\n")
    assert not torch_refusal(twice.schedule, 1)
    assert order_faults(twice.schedule, 1)


def constructed(p: int) -> Iterator[tuple[str, PipelineProblem]]:
    """Yield each placement's problem with its name: unequal stages, and a link to the host."""
    for name, chunks in (("linear", 1), ("v", 2), ("looped", 2), ("looped", 3)):
        device_of = placement(name, p, chunks)
        stages = tuple(
            StageCosts(50 + s, 52 - s, 35, 10, 4, communication=2) for s in range(len(device_of))
        )
        link = Offloading(tuple(20 for _ in stages), tuple(20 for _ in stages))
        limits = (10 * 2 * p * chunks,) * p
        yield name, PipelineProblem(stages, device_of, 3 * p, limits, offloading=link)


# PyTorch has no passes of a split vocabulary layer, and gathers of sharded weights are its own.
EXPRESSIBLE = [
    own for own in CONSTRUCTORS if not own.name.startswith("vocabulary") and own.name != "zeropp"
]


@pytest.mark.parametrize("devices", [2, 4])
@pytest.mark.parametrize("constructor", EXPRESSIBLE, ids=lambda own: own.name)
def test_pytorch_takes_every_published_schedule(constructor: Constructor, devices: int) -> None:
    built = 0
    for name, problem in constructed(devices):
        if name not in constructor.placements:
            continue
        try:
            schedule = constructor.build(problem, NO_HURRY)
        except InapplicableError:
            continue
        built += 1
        assert torch_refusal(schedule, problem.microbatches) == []
        assert order_faults(schedule, problem.microbatches) == []
        back = schedule_from_csv(schedule_to_csv(schedule).encode()).schedule
        assert (back.passes, back.device_of) == (schedule.passes, schedule.device_of)
        if schedule.copies:
            assert offload_from_json(offload_to_json(schedule), back).copies == schedule.copies
    assert built, "the constructor has nothing for any placement"


# Peaks of PyTorch 2.13's own schedules at eight devices and M_W = 0.43 M_B, in M_B of a device.
@pytest.mark.parametrize(
    ("name", "chunks", "microbatches", "peak"),
    [
        ("Interleaved1F1B", 2, 24, 11.5),
        ("LoopedBFS", 2, 24, 24),
        ("InterleavedZeroBubble", 2, 24, 8),
        ("ZBVZeroBubble", 2, 24, 8),
        ("DualPipeV", 2, 24, 8.5),
    ],
)
def test_pytorchs_own_schedules_are_read_and_priced(
    name: str, chunks: int, microbatches: int, peak: float
) -> None:
    schedule, overlapped = torch_schedule(name, 8, microbatches, chunks)
    assert order_faults(schedule, microbatches) == []
    assert torch_refusal(schedule, microbatches) == []
    assert (overlapped > 0) == (name == "DualPipeV")
    problem = unit_problem(schedule.device_of, microbatches, activation_bytes=5000, kept_bytes=2150)
    timeline = simulate_pipeline(problem, schedule)
    held = max(profile.peak for profile in device_memory(problem, timeline))
    assert held == 10_000 * peak
    assert problem.ideal_ticks <= delay_first_passes(problem, schedule).longest_stage
