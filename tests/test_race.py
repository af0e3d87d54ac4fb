"""The race as a whole: legal plans on random graphs, exact where brute force can tell."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from planner.errors import DoesNotFitError, InvalidPlanError, UsageError
from planner.footprint import largest_footprint
from planner.graph import Graph, StorageKind
from planner.liveness import live_bytes, storage_lifetimes
from planner.plans import InPlace
from planner.portfolio import race
from planner.problem import Objective, PlanningProblem, Status
from planner.registry import CONTENDERS, Entry
from planner.target import Compute, Link, Memory, Target
from planner.testing import assert_legal, random_graph

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = Target("host", (Memory("ram"),))


def scratchpad(capacity: int | None, alignment: int = 1) -> Target:
    return Target(
        "npu",
        (
            Memory("sram", capacity, alignment, 1e9, 1e9),
            Memory("dram", None, alignment, 1e8, 1e8),
        ),
        (Link("sram", "dram", 1e8, 1e-6), Link("dram", "sram", 1e8, 1e-6)),
        Compute({"default": 1e9}, 1e9, 1e-7),
        io_memory="dram",
    )


def topological_orders(graph: Graph) -> Iterator[tuple[int, ...]]:
    count = len(graph.operators)
    before = [set(graph.predecessors.row(o).tolist()) for o in range(count)]

    def extend(order: list[int]) -> Iterator[tuple[int, ...]]:
        if len(order) == count:
            yield tuple(order)
        for operator in range(count):
            if operator not in order and before[operator] <= set(order):
                yield from extend([*order, operator])

    return extend([])


def smallest_peak(graph: Graph, *, in_place: bool, resident: bool) -> int:
    """Over all orders and all choices of overwrites, at most one per operator."""
    best = None
    for order in topological_orders(graph):
        lifetimes = storage_lifetimes(
            graph, order, inputs_resident=resident, outputs_resident=resident
        )
        choices: list[list[InPlace | None]] = []
        for step, operator in enumerate(order):
            options: list[InPlace | None] = [None]
            for option in graph.operators[operator].in_place if in_place else ():
                source = graph.tensors[option.input].storage
                if lifetimes.end[source] == step + 1:
                    output = graph.tensors[option.output].storage
                    options.append(InPlace(operator, output, source))
            choices.append(options)
        for chosen in itertools.product(*choices):
            pairs = [pair for pair in chosen if pair is not None]
            peak = int(live_bytes(graph, order, lifetimes, pairs).max())
            best = peak if best is None else min(best, peak)
    assert best is not None
    return best


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("resident", [True, False])
def test_the_proven_peak_is_that_of_brute_force(in_place: bool, resident: bool) -> None:
    target = HOST if resident else scratchpad(1 << 20)
    for seed in range(40):
        graph = random_graph(seed, operators=6)
        problem = PlanningProblem(graph, target, Objective.PEAK, in_place)
        outcome = race(problem)
        truth = smallest_peak(graph, in_place=in_place, resident=resident)
        assert outcome.plan.metrics.peak_bytes[target.nearest.name] == truth, seed
        assert outcome.plan.metrics.peak_lower_bound_bytes == truth, seed
        assert outcome.status is Status.OPTIMAL, seed


def test_in_place_is_never_worse() -> None:
    for seed in range(60):
        graph = random_graph(seed, operators=12)
        peaks = [
            race(PlanningProblem(graph, HOST, Objective.PEAK, in_place)).plan.metrics.peak_bytes
            for in_place in (True, False)
        ]
        assert peaks[0]["ram"] <= peaks[1]["ram"], seed


@pytest.mark.parametrize("alignment", [1, 64])
def test_between_largest_operator_and_peak_there_is_a_legal_plan(alignment: int) -> None:
    spilled = 0
    for seed in range(30):
        graph = random_graph(seed, operators=12)
        needed = _needed(graph, alignment)
        free = race(PlanningProblem(graph, scratchpad(None, alignment), Objective.TRAFFIC))
        peak = free.plan.metrics.arena_bytes["sram"]
        for capacity in {needed, max(needed, (needed + peak) // 2)}:
            problem = PlanningProblem(graph, scratchpad(capacity, alignment), Objective.TRAFFIC)
            outcome = race(problem)
            assert_legal(graph, problem.target, outcome.plan)
            traffic = outcome.plan.metrics.traffic_bytes
            assert traffic >= (outcome.plan.metrics.traffic_lower_bound_bytes or 0)
            spilled += traffic > 0
            greedy = next(r for r in outcome.reports if r.name == "greedy")
            assert greedy.value is not None and traffic <= greedy.value, seed
    assert spilled > 5


def _needed(graph: Graph, alignment: int) -> int:
    """The largest operator; a storage written in parts is needed from first write to last."""
    footprint = largest_footprint(graph, in_place=True, alignment_bytes=alignment).size_bytes
    parts = sum(
        -(-storage.size_bytes // alignment) * alignment
        for index, storage in enumerate(graph.storages)
        if len(graph.storage_writers.row(index)) > 1
    )
    return footprint + parts


def test_below_the_largest_operator_nothing_fits() -> None:
    for seed in range(20):
        graph = random_graph(seed, operators=10)
        worst = largest_footprint(graph, in_place=True)
        problem = PlanningProblem(graph, scratchpad(worst.size_bytes - 1), Objective.TRAFFIC)
        with pytest.raises(DoesNotFitError) as caught:
            race(problem)
        assert caught.value.proven
        assert f"{worst.size_bytes:,}" in str(caught.value)


def test_without_a_memory_to_spill_to_the_message_gives_the_bound() -> None:
    flash = Memory("flash", 1 << 20, writable=False)
    refused = 0
    for seed in range(30):
        graph = random_graph(seed, operators=10)
        peak = race(PlanningProblem(graph, HOST, Objective.PEAK)).plan.metrics.peak_bytes["ram"]
        footprint = largest_footprint(graph, in_place=True).size_bytes
        if footprint == peak:
            continue
        target = Target("mcu", (Memory("sram", peak - 1), flash))
        with pytest.raises(DoesNotFitError, match=f"{peak:,}") as caught:
            race(PlanningProblem(graph, target, Objective.TRAFFIC))
        assert caught.value.proven
        refused += 1
    assert refused > 3


def test_where_operands_may_be_far_any_capacity_will_do() -> None:
    """XLA's setting: what does not fit near is used in place in the farther memory."""
    for seed in range(40):
        graph = random_graph(seed, operators=10)
        for capacity in (0, 128, 300, 700):
            target = replace(scratchpad(capacity), operands_resident=False)
            plan = race(PlanningProblem(graph, target, Objective.TRAFFIC)).plan
            assert_legal(graph, target, plan)
            assert plan.metrics.arena_bytes["sram"] <= capacity


def test_stretched_copies_are_legal_and_not_slower() -> None:
    for seed in range(20):
        graph = random_graph(seed, operators=12)
        capacity = _needed(graph, 1)
        target = scratchpad(capacity)
        plans = {
            objective: race(PlanningProblem(graph, target, objective)).plan
            for objective in (Objective.TRAFFIC, Objective.LATENCY)
        }
        for plan in plans.values():
            assert_legal(graph, target, plan)
        latency = [plans[o].metrics.latency_s for o in (Objective.LATENCY, Objective.TRAFFIC)]
        assert latency[0] is not None and latency[1] is not None
        assert latency[0] <= latency[1] * (1 + 1e-9), seed


def test_same_seed_same_plan() -> None:
    graph = random_graph(3, operators=14)
    problem = PlanningProblem(graph, scratchpad(_needed(graph, 1)), Objective.TRAFFIC)
    first, second = (race(problem, seed=5).plan for _ in range(2))
    assert replace(first, provenance=second.provenance) == second


def test_unknown_solver_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r"greedy, belady, exact"):
        race(PlanningProblem(random_graph(0), HOST, Objective.PEAK), contenders=["gurobi"])


def test_latency_without_rates_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="rates"):
        race(PlanningProblem(random_graph(0), HOST, Objective.LATENCY))


class _Crashing:
    name = "exact"

    def available(self) -> object:
        from solvers.protocol import Availability

        return Availability(True)

    def applies(self, *_: object) -> str:
        return ""

    def run(self, *_: object, **__: object) -> str:
        raise RuntimeError("out of luck")


class _Cheating(_Crashing):
    """Offers a plan that leaves a storage out."""

    def run(self, problem: PlanningProblem, board: object, **__: object) -> str:
        plan = board.best  # type: ignore[attr-defined]
        board.offer("exact", replace(plan, placements=plan.placements[1:]))  # type: ignore[attr-defined]
        return ""


@pytest.mark.parametrize(("contender", "words"), [(_Crashing, "luck"), (_Cheating, "illegal")])
def test_a_contender_that_crashes_or_cheats_loses_alone(
    monkeypatch: pytest.MonkeyPatch, contender: type, words: str
) -> None:
    monkeypatch.setitem(CONTENDERS, "exact", Entry("", ""))
    monkeypatch.setattr(
        Entry, "load", lambda self: contender() if not self.path else _load(self.path)
    )
    graph = _graph_that_greedy_does_not_settle()
    outcome = race(PlanningProblem(graph, HOST, Objective.PEAK))
    report = next(r for r in outcome.reports if r.name == "exact")
    assert report.status == "failed" and words in report.note
    assert_legal(graph, HOST, outcome.plan)


def _load(path: str) -> object:
    from importlib import import_module

    module, _, attribute = path.partition(":")
    return getattr(import_module(module), attribute)()


def _graph_that_greedy_does_not_settle() -> Graph:
    for seed in range(100):
        graph = random_graph(seed, operators=10)
        footprint = largest_footprint(graph, in_place=True).size_bytes
        if footprint < smallest_footprint_peak(graph):
            return graph
    raise AssertionError("no such graph")


def smallest_footprint_peak(graph: Graph) -> int:
    return race(PlanningProblem(graph, HOST, Objective.PEAK)).plan.metrics.peak_bytes["ram"]


def test_an_illegal_plan_is_refused_by_the_board() -> None:
    from planner.scoreboard import Scoreboard

    graph = random_graph(1)
    problem = PlanningProblem(graph, HOST, Objective.PEAK)
    plan = race(problem).plan
    with pytest.raises(InvalidPlanError):
        Scoreboard(problem).offer("exact", replace(plan, order=plan.order[::-1]))


def test_constants_take_room_where_they_live() -> None:
    graph = next(g for g in (random_graph(s) for s in range(50)) if g.constant_bytes > 0)
    assert any(s.kind is StorageKind.CONSTANT for s in graph.storages)
    peak = race(PlanningProblem(graph, HOST, Objective.PEAK)).plan.metrics.arena_bytes["ram"]
    fits = Target("one", (Memory("ram", peak + graph.constant_bytes),))
    race(PlanningProblem(graph, fits, Objective.PEAK))
    tight = Target("one", (Memory("ram", peak + graph.constant_bytes - 1),))
    with pytest.raises(DoesNotFitError):
        race(PlanningProblem(graph, tight, Objective.PEAK))
