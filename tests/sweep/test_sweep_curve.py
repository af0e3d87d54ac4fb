"""The curve: proven, monotone, legal at every point, and no worse than planning point by point."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files
from itertools import pairwise

import jsonschema
import pytest

import planner
from frontends import zoo
from frontends.bare_graph import bare_graph
from planner.errors import DoesNotFitError, UsageError
from planner.footprint import largest_footprint
from planner.problem import Objective, Status
from planner.target import Compute, Link, Memory, Target
from planner.testing import assert_legal, random_graph

SCHEMA = json.loads(files("planner").joinpath("schema", "sweep.schema.json").read_text())
KIB = 1024


def machine(*, resident: bool = True, constants: str = "far", rates: bool = False) -> Target:
    """Two memories and links both ways; one byte is the alignment."""
    rate = 1e6 if rates else None
    return Target(
        "small",
        (
            Memory("near", 1 << 20, read_bandwidth=rate, write_bandwidth=rate),
            Memory("far", read_bandwidth=rate, write_bandwidth=rate),
        ),
        (Link("near", "far", 1e6), Link("far", "near", 1e6)),
        compute=Compute({"default": 1e6}, 1e6) if rates else None,
        operands_resident=resident,
        io_memory="far",
        constant_memory=constants,
    )


def require_sound(result: planner.SweepResult) -> None:
    """Every plan legal at its capacity, every bound below its value, both curves monotone."""
    jsonschema.validate(json.loads(json.dumps(result.to_json())), SCHEMA)
    aim = result.objective
    for point in result.points:
        if point.plan is None:
            assert point.status in (Status.INFEASIBLE, Status.UNKNOWN)
            assert point.note
            continue
        assert point.plan.target.nearest.capacity_bytes == point.capacity_bytes
        assert_legal(result.graph, point.plan.target, point.plan)
        value, bound = point.value(aim), point.lower_bound(aim)
        assert value is not None
        if bound is not None:
            assert bound <= value
        assert (point.status is Status.OPTIMAL) == (value == bound)
        assert point.plan.provenance.status == point.status.value
    for smaller, larger in pairwise(result.points):
        if smaller.plan is not None:
            assert larger.plan is not None
            assert (larger.value(aim) or 0) <= (smaller.value(aim) or 0)
            assert (larger.lower_bound(aim) or 0) <= (smaller.lower_bound(aim) or 0)
        if larger.status is Status.INFEASIBLE:
            assert smaller.status is Status.INFEASIBLE


@pytest.fixture(scope="module")
def resnet8() -> planner.Graph:
    return planner.load(zoo.build("resnet8"))


@pytest.fixture(scope="module")
def curve(resnet8: planner.Graph) -> planner.SweepResult:
    return planner.sweep(resnet8, target="npu-1m", capacities=(64 * KIB, 1024 * KIB))


def test_a_curve_is_sound(curve: planner.SweepResult) -> None:
    require_sound(curve)
    assert curve.objective is Objective.TRAFFIC
    assert not curve.interrupted and not curve.timed_out


def test_the_corners_are_points_of_the_curve(curve: planner.SweepResult) -> None:
    at = {point.capacity_bytes: point for point in curve.points}
    needed = largest_footprint(curve.graph, in_place=True, alignment_bytes=16).size_bytes
    assert curve.footprint_capacity_bytes == needed
    assert at[needed].plan is not None
    assert curve.zero_traffic_bytes == curve.zero_traffic_lower_bound_bytes == 196_608
    assert at[196_608].traffic_bytes == 0
    for capacity, point in at.items():
        assert (point.status is Status.INFEASIBLE) == (capacity < needed)
        assert (point.traffic_bytes == 0) == (capacity >= 196_608)


def test_the_halfway_capacity_is_a_point_unless_points_are_asked_for(
    curve: planner.SweepResult, resnet8: planner.Graph
) -> None:
    assert (131_072 + 196_608) // 2 in {point.capacity_bytes for point in curve.points}
    low, high = 64 * KIB, 1024 * KIB
    few = planner.sweep(resnet8, target="npu-1m", capacities=planner.CapacityRange(low, high, 2))
    assert [p.capacity_bytes for p in few.points] == [low, 131_072, 196_608, high]


def test_without_traffic_one_race_is_enough(curve: planner.SweepResult) -> None:
    still = [point for point in curve.points if point.traffic_bytes == 0]
    assert len(still) > 3
    assert [point.wall_s is not None for point in still] == [False] * (len(still) - 1) + [True]
    assert {point.found_at_bytes for point in still} == {1024 * KIB}


def test_no_point_is_worse_than_planning_it_alone(curve: planner.SweepResult) -> None:
    for point in curve.points:
        if point.plan is None:
            with pytest.raises(DoesNotFitError):
                planner.plan(curve.graph, target="npu-1m", memory={"sram": point.capacity_bytes})
            continue
        alone = planner.plan(curve.graph, target="npu-1m", memory={"sram": point.capacity_bytes})
        assert (point.traffic_bytes or 0) <= alone.plan.metrics.traffic_bytes
        assert (point.traffic_lower_bound_bytes or 0) >= (
            alone.plan.metrics.traffic_lower_bound_bytes or 0
        )


@pytest.mark.parametrize("seed", range(7))
@pytest.mark.parametrize("resident", [True, False])
def test_random_graphs_have_sound_curves(seed: int, resident: bool) -> None:
    graph = random_graph(seed, 10)
    needed = largest_footprint(graph, in_place=True).size_bytes
    result = planner.sweep(
        graph,
        target=machine(resident=resident),
        capacities=(max(needed // 2, 1), 4 * needed + 1),
        time_limit=20,
    )
    require_sound(result)
    if resident:
        assert result.footprint_capacity_bytes == needed
    else:
        assert result.footprint is None and result.footprint_capacity_bytes is None


@pytest.mark.parametrize("seed", range(4))
def test_constants_in_the_nearest_memory_count(seed: int) -> None:
    graph = random_graph(seed, 8)
    assert graph.constant_bytes
    apart = planner.sweep(graph, target=machine(), capacities=(1, 1 << 16))
    beside = planner.sweep(graph, target=machine(constants="near"), capacities=(1, 1 << 16))
    require_sound(beside)
    assert apart.footprint_capacity_bytes is not None and apart.zero_traffic_bytes is not None
    assert beside.footprint_capacity_bytes == apart.footprint_capacity_bytes + graph.constant_bytes
    assert beside.zero_traffic_bytes == apart.zero_traffic_bytes + graph.constant_bytes


def test_a_list_of_capacities_stays_as_it_is(resnet8: planner.Graph) -> None:
    result = planner.sweep(resnet8, target="npu-1m", capacities=[400_000, 150_000])
    assert [point.capacity_bytes for point in result.points] == [150_000, 400_000]
    require_sound(result)


def test_a_machine_without_a_place_to_spill_fits_or_does_not(resnet8: planner.Graph) -> None:
    result = planner.sweep(resnet8, target="mcu-256k", capacities=(64 * KIB, 512 * KIB))
    require_sound(result)
    assert {point.traffic_bytes for point in result.points} == {None, 0}
    assert {point.status for point in result.points} == {Status.INFEASIBLE, Status.OPTIMAL}
    # What is proven not to fit a capacity is not asked again for smaller ones.
    misfits = [point for point in result.points if point.status is Status.INFEASIBLE]
    assert len(misfits) > 2 and misfits[0].wall_s is None and "nor at" in misfits[0].note


def test_no_capacity_that_fits_is_an_error_with_a_proof(resnet8: planner.Graph) -> None:
    with pytest.raises(DoesNotFitError, match="none of 9 capacities from 1,024 to 2,048") as caught:
        planner.sweep(resnet8, target="npu-1m", capacities=(KIB, 2 * KIB))
    assert caught.value.proven


def test_latency_is_the_curve_of_its_objective(resnet8: planner.Graph) -> None:
    result = planner.sweep(
        resnet8, target="npu-1m", capacities=(128 * KIB, 256 * KIB), objective="latency"
    )
    require_sound(result)
    assert result.objective is Objective.LATENCY
    assert result.zero_traffic_bytes == 196_608
    traffic = planner.sweep(resnet8, target="npu-1m", capacities=(128 * KIB, 256 * KIB))
    other = {point.capacity_bytes: point.latency_s for point in traffic.points}
    for point in result.points:
        assert point.latency_s is not None
        assert point.latency_s <= (other.get(point.capacity_bytes) or point.latency_s) * (1 + 1e-9)


def test_a_curve_without_rates_has_no_latency() -> None:
    result = planner.sweep(random_graph(3), target=machine(), capacities=(1, 1 << 16))
    assert all(point.latency_s is None for point in result.points)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"objective": "peak"}, "does not depend on the capacity"),
        ({"objective": "speed"}, "speed"),
        ({"memory": "dram"}, "not the nearest"),
        ({"memory": "tcm"}, "tcm"),
        ({"time_limit": 0}, "positive"),
        ({"capacities": (1, 2, 3)}, "a tuple is a range"),
        ({"capacities": (2, 1)}, "above its end"),
        ({"capacities": []}, "no capacities"),
        ({"capacities": planner.CapacityRange(1, 9, 3, 2)}, "one of them"),
        ({"target": "host", "objective": "latency"}, "rates"),
    ],
)
def test_wrong_arguments_are_usage_errors(arguments: dict[str, object], words: str) -> None:
    given = {"target": "npu-1m", "capacities": (KIB, 1 << 20), **arguments}
    with pytest.raises(UsageError, match=words):
        planner.sweep(random_graph(0), **given)  # type: ignore[arg-type]


def test_a_sweep_out_of_time_says_so_and_keeps_what_it_has(
    resnet8: planner.Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    import planner.sweeps.curve as curve_module

    clock = iter(range(10_000))
    monkeypatch.setattr(
        curve_module, "time", type("Clock", (), {"monotonic": lambda: 1e9 + next(clock)})
    )
    result = planner.sweep(resnet8, target="npu-1m", capacities=(100 * KIB, 1024 * KIB))
    require_sound(result)
    assert result.timed_out
    last = result.points[-1]
    assert last.traffic_bytes == 0 and last.status is Status.OPTIMAL
    # What the largest operator refuses needs no race; what could fit has a bound from the peak.
    below, least, *_ = result.points
    assert below.status is Status.INFEASIBLE
    assert least.status is Status.UNKNOWN and least.note == "not reached"
    assert any("time limit" in note for note in result.notes)


def test_a_proven_peak_bounds_the_traffic_of_smaller_capacities(
    resnet8: planner.Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    import planner.sweeps.curve as curve_module

    def first_only(*arguments: object, **options: object) -> planner.PlanResult:
        return replace(planner.plan(*arguments, **options), interrupted=True)  # type: ignore[arg-type]

    monkeypatch.setattr(curve_module, "plan_model", first_only)
    small, large = planner.sweep(resnet8, target="npu-1m", capacities=[150_000, 400_000]).points
    assert large.traffic_bytes == 0 and small.plan is None
    assert small.traffic_lower_bound_bytes == 196_608 - 150_000


def test_no_plan_without_traffic_fits_below_the_largest_operator() -> None:
    """Each of its operands takes whole units of the alignment, their sum need not."""
    graph = bare_graph("one", [70, 70], [((0,), (1,))])
    target = replace(machine(), memories=(Memory("near", 1 << 20, 64), Memory("far")))
    result = planner.sweep(graph, target=target, capacities=(64, 1024))
    assert result.footprint_capacity_bytes == 256
    assert result.zero_traffic_bytes == result.zero_traffic_lower_bound_bytes == 256


def test_a_solver_that_crashes_is_named_in_the_notes(
    resnet8: planner.Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    from solvers.contenders.exact import Exact

    def crash(*arguments: object, **options: object) -> str:
        raise ImportError("its kernel is gone")

    monkeypatch.setattr(Exact, "run", crash)
    result = planner.sweep(resnet8, target="npu-1m", capacities=[150_000])
    assert [note for note in result.notes if "exact" in note] == [
        "solver exact failed at 150,000 bytes: ImportError: its kernel is gone. Please report it."
    ]


def test_a_bound_holds_for_smaller_capacities_that_were_not_reached(
    resnet8: planner.Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    import planner.sweeps.curve as curve_module

    def first_only(*arguments: object, **options: object) -> planner.PlanResult:
        return replace(planner.plan(*arguments, **options), interrupted=True)  # type: ignore[arg-type]

    monkeypatch.setattr(curve_module, "plan_model", first_only)
    small, large = planner.sweep(resnet8, target="npu-1m", capacities=[140_000, 180_000]).points
    assert large.plan is not None and (large.traffic_lower_bound_bytes or 0) > 0
    assert small.traffic_lower_bound_bytes == large.traffic_lower_bound_bytes
    assert small.latency_lower_bound_s == large.latency_lower_bound_s


def test_progress_names_the_capacity(resnet8: planner.Graph) -> None:
    lines: list[str] = []
    planner.sweep(resnet8, target="npu-1m", capacities=[1 << 20], on_progress=lines.append)
    assert lines[0].startswith("1 MiB: greedy")
    assert lines[-1] == "1 MiB: done, 0 left"


def test_an_interrupt_keeps_the_points_so_far(
    resnet8: planner.Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    import planner.sweeps.curve as curve_module

    races = 0

    def interrupted_later(*arguments: object, **options: object) -> planner.PlanResult:
        nonlocal races
        races += 1
        if races == 3:
            raise KeyboardInterrupt
        return planner.plan(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(curve_module, "plan_model", interrupted_later)
    result = planner.sweep(resnet8, target="npu-1m", capacities=(128 * KIB, 1024 * KIB))
    require_sound(result)
    assert result.interrupted and races == 3
    assert all(point.plan is not None for point in result.points)
    races = 2
    with pytest.raises(KeyboardInterrupt):
        planner.sweep(resnet8, target="npu-1m", capacities=(128 * KIB, 1024 * KIB))


def test_an_interrupted_race_ends_the_sweep_with_its_plan(
    resnet8: planner.Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    import planner.sweeps.curve as curve_module

    def interrupted(*arguments: object, **options: object) -> planner.PlanResult:
        return replace(planner.plan(*arguments, **options), interrupted=True)  # type: ignore[arg-type]

    monkeypatch.setattr(curve_module, "plan_model", interrupted)
    result = planner.sweep(resnet8, target="npu-1m", capacities=(128 * KIB, 1024 * KIB))
    assert result.interrupted
    assert [point.wall_s for point in result.points].count(None) == len(result.points) - 1
