"""Published schedules: legal at any costs, and as their formulas say at equal ones."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.pipelining.delayed_starts import cost_ticks
from planner.pipelining.memory import device_memory
from planner.pipelining.placements import looped_placement
from planner.pipelining.problem import (
    PipelineObjective,
    PipelineProblem,
    StageCosts,
    VocabularyLayer,
)
from planner.pipelining.schedule import Pass, PassKind, PipelineSchedule
from planner.pipelining.simulator import bubble_rate, simulate_pipeline
from solvers.pipeline import closed_forms
from solvers.pipeline.closed_forms import EqualStages
from solvers.pipeline.constructors import zero_bubble as zero_bubble_module
from solvers.pipeline.constructors.breadth_first import breadth_first
from solvers.pipeline.constructors.catalogue import CONSTRUCTORS, InapplicableError
from solvers.pipeline.constructors.gpipe import gpipe
from solvers.pipeline.constructors.grouped_interleaving import (
    gis,
    gis_h,
    gis_within_limits,
    grouped_interleaving,
)
from solvers.pipeline.constructors.handcrafted_zero_bubble import zb_h1, zb_h2
from solvers.pipeline.constructors.interleaved import (
    interleaved_one_f_one_b,
    interleaved_with_early_start,
)
from solvers.pipeline.constructors.one_f_one_b import one_f_one_b
from solvers.pipeline.constructors.words import peak_bytes
from solvers.pipeline.constructors.zero_bubble import zero_bubble

from .constructions import NO_HURRY, construct

CLASSIC = {
    "gpipe",
    "1f1b",
    "zb-h1",
    "zb-h2",
    "zero-bubble",
    "interleaved-1f1b",
    "interleaved-1f1b-early",
    "breadth-first",
    "gis",
    "gis-h",
    "gis-group",
}
FEW_PASSES = 20_000

costs_of_a_stage = st.builds(
    lambda forward, backward, weight, both, hop: StageCosts(
        forward, backward, weight, max(both), min(both), hop
    ),
    st.integers(0, 9),
    st.integers(0, 9),
    st.integers(0, 5),
    st.tuples(st.integers(0, 9), st.integers(0, 9)),
    st.integers(0, 8),
)


@st.composite
def looped_problems(draw: st.DrawFn, most_chunks: int = 3) -> PipelineProblem:
    devices, chunks = draw(st.integers(1, 6)), draw(st.integers(1, most_chunks))
    stages = draw(st.lists(costs_of_a_stage, min_size=devices * chunks, max_size=devices * chunks))
    return PipelineProblem(
        tuple(stages),
        looped_placement(devices, chunks),
        draw(st.integers(1, 3 * devices + 2)),
        (None,) * devices,
        objective=draw(st.sampled_from(PipelineObjective)),
    )


@pytest.fixture(autouse=True)
def _few_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zero_bubble_module, "PASSES_PLAYED", FEW_PASSES)


def _equal(
    devices: int,
    chunks: int,
    microbatches: int,
    ticks: tuple[int, int, int] = (1, 1, 1),
    hop: int = 0,
    *,
    both: tuple[int, int] = (1, 0),
) -> PipelineProblem:
    return PipelineProblem(
        (StageCosts(*ticks, *both, hop),) * (devices * chunks),
        looped_placement(devices, chunks),
        microbatches,
        (None,) * devices,
    )


def _formula(problem: PipelineProblem) -> EqualStages:
    """The same in the closed forms' terms: times of all chunks of a device together."""
    chunks = len(problem.stages) // problem.devices
    stage = problem.stages[0]
    return EqualStages(
        problem.devices,
        problem.microbatches,
        chunks * stage.forward,
        chunks * stage.backward,
        chunks * stage.weight,
        stage.communication,
    )


@given(problem=looped_problems())
def test_every_schedule_has_every_pass_once_and_runs_to_its_end(problem: PipelineProblem) -> None:
    built = set()
    for constructor in CONSTRUCTORS:
        if constructor.name not in CLASSIC:
            continue
        try:
            schedule = constructor.build(problem, NO_HURRY)
        except InapplicableError:
            continue
        built.add(constructor.name)
        timeline = simulate_pipeline(problem, schedule)
        assert cost_ticks(problem, timeline) >= problem.ideal_ticks
        peaks = [profile.peak for profile in device_memory(problem, timeline)]
        assert all(a <= b for a, b in zip(peaks, peak_bytes(problem, schedule), strict=True))
        passes = Counter(one for own in schedule.passes for one in own)
        assert set(passes.values()) == {1}
        for stage in range(len(problem.stages)):
            for microbatch in range(problem.microbatches):
                kinds = {kind for kind in PassKind if Pass(kind, stage, microbatch) in passes}
                assert kinds in ({"F", "D"}, {"F", "B", "W"})
    expected = CLASSIC - {"interleaved-1f1b-early"}
    if len(problem.stages) > problem.devices:
        expected -= {"gpipe", "1f1b", "zb-h1", "zb-h2", "zero-bubble"}
    assert expected <= built


@given(problem=looped_problems(1), share=st.lists(st.integers(0, 30), min_size=6, max_size=6))
def test_any_limit_of_at_least_one_activation_gets_a_zero_bubble_schedule(
    problem: PipelineProblem, share: list[int]
) -> None:
    limits = tuple(
        stage.activation_bytes + more for stage, more in zip(problem.stages, share, strict=False)
    )
    limited = PipelineProblem(
        problem.stages, problem.device_of, problem.microbatches, limits, objective=problem.objective
    )
    timeline = simulate_pipeline(limited, zero_bubble(limited, NO_HURRY))
    for profile, limit in zip(device_memory(limited, timeline), limits, strict=True):
        assert profile.peak <= limit


def test_a_limit_below_one_activation_is_refused_with_the_least_one() -> None:
    stages = (StageCosts(1, 1, 1, 10, 4), StageCosts(1, 1, 1, 70_000, 4))
    problem = PipelineProblem(stages, (0, 1), 4, (None, 69_999))
    with pytest.raises(InapplicableError, match=r"device 1 .* 69,999 B.*70,000 B"):
        zero_bubble(problem, NO_HURRY)


def test_numbers_too_large_for_the_kernel_are_refused() -> None:
    problem = PipelineProblem((StageCosts(1, 1, 1, 1 << 59, 4),), (0,), 4, (None,))
    with pytest.raises(InapplicableError, match="64 bits"):
        zero_bubble(problem, NO_HURRY)


def test_placements_that_a_schedule_is_not_made_for_are_refused() -> None:
    stage = StageCosts(1, 1, 1, 1, 1)
    problem = PipelineProblem((stage,) * 5, (0, 1, 1, 0, 1), 4, (None, None))
    for constructor in CONSTRUCTORS:
        if constructor.name in CLASSIC:
            with pytest.raises(InapplicableError, match="made for"):
                constructor.build(problem, NO_HURRY)


def test_a_vocabulary_layer_over_all_devices_is_refused() -> None:
    stage = StageCosts(1, 1, 1, 1, 1)
    layer = VocabularyLayer(1, 1, 0, 0, 1)
    problem = PipelineProblem((stage,) * 2, (0, 1), 4, (None, None), vocabulary=layer)
    for name in ("gpipe", "1f1b", "zb-h1", "zero-bubble", "gis", "breadth-first"):
        with pytest.raises(InapplicableError, match="vocabulary"):
            construct(name, problem)


@pytest.mark.parametrize(("devices", "microbatches"), [(1, 3), (4, 4), (4, 12), (8, 24), (4, 2)])
def test_one_chunk_schedules_hold_what_their_formulas_say(devices: int, microbatches: int) -> None:
    problem = _equal(devices, 1, microbatches, both=(100, 37))
    for held in peak_bytes(problem, gpipe(problem)):
        assert held == 100 * closed_forms.peak_gpipe(microbatches)
    for device, held in enumerate(peak_bytes(problem, one_f_one_b(problem))):
        assert held == 100 * closed_forms.peak_1f1b(devices, device, microbatches)
    if microbatches >= 2 * devices:
        for device, held in enumerate(peak_bytes(problem, zb_h1(problem))):
            whole, kept = closed_forms.peak_zb_h1(devices, device)
            assert held == 100 * whole + 37 * kept
        for device, held in enumerate(peak_bytes(problem, zb_h2(problem))):
            whole, kept = closed_forms.peak_zb_h2(devices, device)
            assert held == 100 * whole + 37 * kept


@given(
    devices=st.integers(1, 6),
    rounds=st.integers(1, 4),
    ticks=st.tuples(st.integers(10, 20), st.integers(10, 20), st.integers(5, 10)),
    hop=st.integers(0, 2),
)
def test_one_chunk_schedules_idle_as_their_formulas_say(
    devices: int, rounds: int, ticks: tuple[int, int, int], hop: int
) -> None:
    problem = _equal(devices, 1, devices * rounds, ticks, hop)
    costs = _formula(problem)

    def idle(schedule: PipelineSchedule) -> int:
        return simulate_pipeline(problem, schedule).longest_stage - problem.ideal_ticks

    assert idle(gpipe(problem)) == closed_forms.idle_gpipe(costs)
    assert idle(one_f_one_b(problem)) == closed_forms.idle_1f1b(costs)


def test_zero_bubble_has_no_bubble_with_equal_passes_and_twice_the_memory() -> None:
    problem = _equal(4, 1, 12)
    assert simulate_pipeline(problem, zb_h2(problem)).longest_stage == problem.ideal_ticks
    limited = PipelineProblem(problem.stages, problem.device_of, 12, (8,) * 4)
    assert (
        simulate_pipeline(limited, zero_bubble(limited, NO_HURRY)).longest_stage
        == problem.ideal_ticks
    )


@pytest.mark.parametrize("chunks", [2, 3, 4])
@pytest.mark.parametrize("devices", [2, 4, 5, 8])
@pytest.mark.parametrize(("ticks", "hop"), [((3, 2, 2), 0), ((100, 110, 90), 7), ((50, 70, 30), 2)])
def test_interleaved_schedules_idle_and_hold_as_their_formulas_say(
    devices: int, chunks: int, ticks: tuple[int, int, int], hop: int
) -> None:
    problem = _equal(devices, chunks, 3 * devices, ticks, hop, both=(1, 1))
    costs = _formula(problem)
    schedule = interleaved_one_f_one_b(problem)
    timeline = simulate_pipeline(problem, schedule)
    idle = timeline.longest_stage - problem.ideal_ticks
    assert idle == closed_forms.idle_interleaved(costs, chunks)
    peak = max(profile.peak for profile in device_memory(problem, timeline))
    assert peak == closed_forms.peak_interleaved(devices, chunks)
    if hop:
        early = simulate_pipeline(problem, interleaved_with_early_start(problem))
        idle = early.longest_stage - problem.ideal_ticks
        assert idle == closed_forms.idle_interleaved(costs, chunks, early=True)


@pytest.mark.parametrize("chunks", [1, 2, 3, 4])
@pytest.mark.parametrize("devices", [1, 2, 4, 8])
@pytest.mark.parametrize("ticks", [(1, 1, 1), (50, 52, 35), (7, 7, 3), (50, 52, 20)])
def test_grouped_interleaving_idles_and_holds_as_its_formulas_say(
    devices: int, chunks: int, ticks: tuple[int, int, int]
) -> None:
    problem = _equal(devices, chunks, 2 * devices, ticks)
    costs = _formula(problem)
    half = -(-devices // 2)
    idle_of_half = closed_forms.idle_gis_h(costs, chunks) if devices > 1 else Fraction(0)
    for build, group, idle in (
        (gis, devices, closed_forms.idle_gis(costs, chunks)),
        (gis_h, half, idle_of_half),
    ):
        timeline = simulate_pipeline(problem, build(problem))
        assert timeline.longest_stage - problem.ideal_ticks == idle
        peak = max(profile.peak for profile in device_memory(problem, timeline))
        assert peak == closed_forms.peak_grouped_interleaving(devices, chunks, group)


@pytest.mark.parametrize("devices", [2, 4, 5, 8])
@pytest.mark.parametrize("ticks", [(1, 1, 1), (50, 52, 35), (30, 32, 10)])
def test_groups_of_any_size_lie_between_gis_and_gis_h(
    devices: int, ticks: tuple[int, int, int]
) -> None:
    for group in range(-(-devices // 2), devices + 1):
        problem = _equal(devices, 3, 4 * group, ticks)
        timeline = simulate_pipeline(problem, grouped_interleaving("", problem, group))
        idle = timeline.longest_stage - problem.ideal_ticks
        formula = closed_forms.idle_grouped_interleaving(_formula(problem), 3, group)
        assert idle == formula if len(set(ticks)) == 1 else idle <= formula
        peak = max(profile.peak for profile in device_memory(problem, timeline))
        assert peak == closed_forms.peak_grouped_interleaving(devices, 3, group)


@pytest.mark.parametrize(
    ("devices", "chunks", "microbatches", "rates", "peaks"),
    [
        (4, 2, 8, ("0.1111", "0.1429"), (8, 6)),
        (8, 2, 32, ("0.0680", "0.0857"), (16, 12)),
        (8, 4, 32, ("0.0352", "0.0634"), (32, 20)),
    ],
)
def test_grouped_interleaving_has_the_values_of_the_reference_simulation(
    devices: int,
    chunks: int,
    microbatches: int,
    rates: tuple[str, str],
    peaks: tuple[int, int],
) -> None:
    problem = _equal(devices, chunks, microbatches)
    for build, rate, peak in zip((gis, gis_h), rates, peaks, strict=True):
        timeline = simulate_pipeline(problem, build(problem))
        assert f"{bubble_rate(problem, timeline.longest_stage):.4f}" == rate
        assert max(profile.peak for profile in device_memory(problem, timeline)) == peak


def test_the_largest_group_that_fits_is_taken() -> None:
    problem = _equal(8, 3, 40)
    for limit, group in ((24, 8), (23, 7), (20, 6), (18, 5), (16, 4)):
        limited = PipelineProblem(problem.stages, problem.device_of, 40, (limit,) * 8)
        taken = gis_within_limits(limited)
        expected = grouped_interleaving("gis-group", limited, group)
        assert max(peak_bytes(limited, taken)) <= limit
        assert taken == expected or group in (6, 7)
    limited = PipelineProblem(problem.stages, problem.device_of, 40, (15,) * 8)
    with pytest.raises(InapplicableError, match="limit of 15 B"):
        gis_within_limits(limited)


def test_breadth_first_holds_every_microbatch_of_every_chunk() -> None:
    problem = _equal(3, 2, 5)
    assert set(peak_bytes(problem, breadth_first(problem))) == {10}


def test_limits_beyond_which_one_chunk_schedules_gain_little_or_nothing() -> None:
    costs = EqualStages(8, 24, 18522, 18086, 9337, 601)
    assert closed_forms.limit_without_wait(costs) == 15
    assert closed_forms.limit_without_bubble(costs) == 22
