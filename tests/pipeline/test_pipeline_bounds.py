"""Lower bounds of pipelines: published optima, tight cases, and proofs that are checked."""

from __future__ import annotations

import csv
import os
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.pipelining.delayed_starts import delay_first_passes
from planner.pipelining.memory import device_memory
from planner.pipelining.placements import linear_placement, looped_placement, v_placement
from planner.pipelining.problem import (
    Offloading,
    PipelineObjective,
    PipelineProblem,
    StageCosts,
    VocabularyLayer,
)
from planner.pipelining.schedule import Pass, PassKind, PipelineSchedule
from planner.pipelining.simulator import bubble_rate, simulate_pipeline
from solvers.pipeline.bounds.best import analytic_bound, pipeline_bound
from solvers.pipeline.bounds.certificate import verify
from solvers.pipeline.bounds.chain import chain_bound
from solvers.protocol import Deadline

F, B, W = PassKind.FORWARD, PassKind.BACKWARD, PassKind.WEIGHT


def published(name: str) -> list[dict[str, str]]:
    folder = os.environ.get("PLANNER_DATA")
    if not folder:
        pytest.skip("PLANNER_DATA does not say where the published tables are")
    with (Path(folder) / "pipeline" / name).open(newline="") as file:
        return list(csv.DictReader(file))


def published_problem(row: dict[str, str], names: str, chunks: int) -> PipelineProblem:
    p, m, hidden, heads, length = (int(row[k]) for k in ("p", "m", "hidden", "heads", "seq"))
    f, b, w = (chunks * round(1000 * float(row[names.format(k)])) for k in "FBW")
    size, kept = 34 * hidden + 5 * heads * length, 32 * hidden
    stage = StageCosts(f, b, w, size, kept, round(1000 * float(row["T_comm_ms"])))
    return PipelineProblem((stage,) * p, linear_placement(p), m, (p * size,) * p)


def test_the_chain_bound_meets_zb_1p_in_all_published_rows() -> None:
    costs = published("zero_bubble_table9_costs.csv")
    rates = published("zero_bubble_table5_bubbles.csv")
    rows = [
        (published_problem(row, "T_{}_ms", 1), rate["ZB-1p"])
        for row, rate in zip(costs, rates, strict=True)
    ]
    rows += [
        (published_problem(row, "chunk_{}_ms", 2), row["ZB-H1"])
        for row in published("zero_bubble_table8_zbv.csv")
    ]
    assert len(rows) == 21
    for problem, rate in rows:
        bound = chain_bound(problem).longest_stage
        assert f"{bubble_rate(problem, bound):.4f}" == f"{float(rate):.4f}"


def equal_chunks(
    device_of: tuple[int, ...],
    microbatches: int,
    times: tuple[int, int, int, int],
    kept: int,
    limit: int,
) -> PipelineProblem:
    """Return a problem with stages alike that hold 100 B; the limit is in hundredths of that."""
    stage = StageCosts(*times[:3], 100, kept, times[3])
    devices = max(device_of) + 1
    return PipelineProblem((stage,) * len(device_of), device_of, microbatches, (limit,) * devices)


def bound_of(problem: PipelineProblem) -> int:
    bound = pipeline_bound(problem, deadline=Deadline(60))
    if bound.certificate is not None:
        assert verify(bound.certificate, problem) == bound.longest_stage
    return bound.longest_stage


@pytest.mark.parametrize(
    ("p", "m", "chunks", "idle"),
    [
        (3, 4, 4, 5), (3, 4, 5, 2), (4, 8, 7, 2), (4, 8, 8, 0),
        *(pytest.param(4, 8, *rest, marks=pytest.mark.slow) for rest in ((4, 11), (5, 8), (6, 5))),
    ],
)  # fmt: skip
def test_the_pair_bound_at_equal_costs(p: int, m: int, chunks: int, idle: int) -> None:
    problem = equal_chunks(v_placement(p), m, (1, 1, 1, 0), 100, 100 * chunks)
    assert bound_of(problem) == 6 * m + idle


@pytest.mark.slow
@pytest.mark.parametrize(
    ("m", "chunks", "idle"),
    [(16, 8, 23), (16, 10, 17), (24, 8, 23), (24, 10, 17), (24, 12, 11), (24, 16, 0)],
)
def test_the_pair_bound_at_equal_costs_on_eight_devices(m: int, chunks: int, idle: int) -> None:
    problem = equal_chunks(v_placement(8), m, (1, 1, 1, 0), 100, 100 * chunks)
    assert bound_of(problem) == 6 * m + idle


@pytest.mark.parametrize(
    ("device_of", "m", "times", "kept", "chunks", "least", "optimum"),
    [
        pytest.param(v_placement(2), 4, (5, 6, 4, 1), 100, 3, 139, 146, marks=pytest.mark.slow),
        (v_placement(2), 3, (7, 5, 3, 1), 100, 3, 113, 118),
        pytest.param(v_placement(3), 4, (5, 6, 4, 1), 100, 4, 163, 164, marks=pytest.mark.slow),
        pytest.param(v_placement(3), 4, (5, 6, 4, 1), 100, 5, 148, 149, marks=pytest.mark.slow),
        (v_placement(3), 3, (5, 6, 4, 1), 40, 4, 133, 134),
        (v_placement(3), 4, (4, 5, 3, 0), 40, 5, 110, 111),
        (looped_placement(3, 2), 3, (5, 6, 4, 1), 100, 5, 120, 121),
        pytest.param(
            looped_placement(2, 3), 3, (5, 6, 4, 1), 100, 5, 152, 155, marks=pytest.mark.slow
        ),
    ],
)
def test_the_pair_bound_at_unequal_costs(
    device_of: tuple[int, ...],
    m: int,
    times: tuple[int, int, int, int],
    kept: int,
    chunks: int,
    least: int,
    optimum: int,
) -> None:
    problem = equal_chunks(device_of, m, times, kept, 100 * chunks)
    assert least <= bound_of(problem) <= optimum


def test_the_best_schedule_known_at_three_quarters_of_the_memory_is_optimal() -> None:
    # 0.1371 at 0.75 of 1F1B's memory is the best schedule known with these costs, on 8 devices.
    problem = equal_chunks(v_placement(8), 24, (9261, 9043, 4669, 601), 37, 1200)
    enough = int(problem.ideal_ticks / (1 - 0.13705))
    bound = pipeline_bound(problem, deadline=Deadline(60), enough=enough)
    assert f"{bubble_rate(problem, bound.longest_stage):.4f}" == "0.1371"


def test_a_certificate_with_other_numbers_proves_no_more() -> None:
    problem = equal_chunks(v_placement(3), 4, (5, 6, 4, 1), 100, 400)
    certificate = pipeline_bound(problem, deadline=Deadline(60)).certificate
    assert certificate is not None
    rng = random.Random(1)
    for factor in (2, 10):
        changed = certificate._replace(
            multipliers=tuple(
                (row, value * rng.choice((1, factor))) for row, value in certificate.multipliers
            )
        )
        assert verify(changed, problem) <= 164
    with pytest.raises(ValueError, match="cannot count"):
        verify(certificate._replace(multipliers=((0, -1),)), problem)
    # Elsewhere it proves only what holds there.
    roomy = replace(problem, limits=(1000,) * 3)
    assert verify(certificate, roomy) <= certificate.question.grid.base + 1


def random_schedule(problem: PipelineProblem, rng: random.Random) -> PipelineSchedule | None:
    """Return orders in which passes happen to fit, or None if they get stuck."""
    held = [0] * problem.devices
    rows: list[list[Pass]] = [[] for _ in held]
    done: dict[tuple[PassKind, int], int] = {}
    last, m = len(problem.stages) - 1, problem.microbatches
    taste = {kind: rng.random() for kind in (F, B, W)}
    while sum(map(len, rows)) < 3 * (last + 1) * m:
        ready = []
        for s, costs in enumerate(problem.stages):
            device = problem.device_of[s]
            f, b, w = (done.get((kind, s), 0) for kind in (F, B, W))
            limit = problem.limits[device]
            if f < (m if s == 0 else done.get((F, s - 1), 0)) and (
                limit is None or held[device] + costs.activation_bytes <= limit
            ):
                ready.append((F, s))
            if b < (f if s == last else min(f, done.get((B, s + 1), 0))):
                ready.append((B, s))
            if w < b:
                ready.append((W, s))
        if not ready:
            return None
        kind, s = rng.choices(ready, [taste[kind] for kind, _ in ready])[0]
        costs, device = problem.stages[s], problem.device_of[s]
        rows[device].append(Pass(kind, s, done.get((kind, s), 0)))
        done[kind, s] = done.get((kind, s), 0) + 1
        held[device] += {
            F: costs.activation_bytes,
            B: costs.kept_bytes - costs.activation_bytes,
            W: -costs.kept_bytes,
        }[kind]
    return PipelineSchedule("random", problem.device_of, tuple(tuple(row) for row in rows))


@given(st.integers(0, 2**32), st.sampled_from(PipelineObjective))
@settings(max_examples=10, deadline=None)
def test_no_bound_exceeds_a_schedule(seed: int, objective: PipelineObjective) -> None:
    rng = random.Random(seed)
    p = rng.randint(1, 4)
    device_of = rng.choice([linear_placement(p), v_placement(p), looped_placement(p, 2)])
    stages = tuple(
        StageCosts(
            rng.randint(0, 20), rng.randint(0, 20), rng.randint(0, 20), 50,
            rng.choice((0, 20, 50)), rng.randint(0, 6),
        )
        for _ in device_of
    )  # fmt: skip
    limits = tuple(rng.choice([None, rng.randint(50 * len(device_of) // p, 400)]) for _ in range(p))
    problem = PipelineProblem(stages, device_of, rng.randint(1, 5), limits, objective=objective)
    bound = pipeline_bound(problem, deadline=Deadline(20))
    assert bound.longest_stage <= bound.makespan
    for _ in range(30):
        schedule = random_schedule(problem, rng)
        if schedule is None:
            continue
        timeline = delay_first_passes(problem, schedule)
        memory = device_memory(problem, timeline)
        assert all(
            limit is None or profile.peak <= limit
            for profile, limit in zip(memory, limits, strict=True)
        )
        assert bound.longest_stage <= timeline.longest_stage
        assert bound.makespan <= simulate_pipeline(problem, schedule).makespan


def test_offloading_leaves_only_bounds_without_memory() -> None:
    tight = equal_chunks(linear_placement(4), 8, (3, 3, 2, 1), 40, 100)
    roomy = replace(tight, limits=(None,) * 4)
    away = replace(tight, offloading=Offloading((1,) * 4, (1,) * 4))
    assert analytic_bound(tight).longest_stage > analytic_bound(roomy).longest_stage
    assert analytic_bound(away) == analytic_bound(roomy)


def test_vocabulary_passes_add_their_work_to_every_device() -> None:
    plain = equal_chunks(linear_placement(4), 8, (3, 3, 2, 1), 40, 800)
    layer = VocabularyLayer(forward=2, backward=1, broadcast=1, barrier=1, barriers=1)
    assert analytic_bound(replace(plain, vocabulary=layer)).longest_stage >= 8 * (8 + 3)


def test_nothing_fails_where_nothing_fits() -> None:
    stage = StageCosts(3, 4, 5, 10, 5)
    for limit in (0, 9):
        problem = PipelineProblem((stage,) * 2, (0, 1), 2, (limit, 10))
        assert pipeline_bound(problem, deadline=Deadline(5)).longest_stage >= 24
