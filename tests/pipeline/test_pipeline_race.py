"""The race: who may win, what is called proven, and how failures are told."""

from __future__ import annotations

import time
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest

import planner
from planner.errors import DoesNotFitError, InvalidPlanError, UsageError
from planner.pipelining import race as pipeline_race
from planner.pipelining.checking.checker import check_pipeline
from planner.pipelining.memory import device_memory
from planner.pipelining.problem import (
    Offloading,
    PipelineObjective,
    PipelineProblem,
    ShardedParameters,
    StageCosts,
    VocabularyLayer,
)
from planner.pipelining.schedule import Pass, PassKind, PipelineSchedule
from planner.problem import Outcome, Status
from planner.registry import SOLVERS, Entry
from solvers.pipeline.bounds import best
from solvers.pipeline.bounds.suffix import SuffixBound
from solvers.pipeline.constructors import catalogue
from solvers.pipeline.constructors.catalogue import Constructor, InapplicableError

from .pipelines import one_f_one_b, problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from solvers.protocol import Deadline

STAGE = StageCosts(20, 21, 14, 1000, 400, 1)


def classic(pipeline: PipelineProblem) -> PipelineSchedule:
    return one_f_one_b(pipeline).schedule


def inapplicable(pipeline: PipelineProblem) -> PipelineSchedule:
    raise InapplicableError("only on Sundays")


def broken(pipeline: PipelineProblem) -> PipelineSchedule:
    raise ZeroDivisionError("oh")


def illegal(pipeline: PipelineProblem) -> PipelineSchedule:
    """Faster than possible: W is left out."""
    schedule = one_f_one_b(pipeline).schedule
    short = tuple(tuple(p for p in row if p.kind is not PassKind.WEIGHT) for row in schedule.passes)
    return PipelineSchedule("illegal", schedule.device_of, short)


@pytest.fixture
def contenders(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let only these take part, beside the fallback."""

    def only(*builders: Callable, search: type | None = None, exact: type | None = None) -> None:
        fallback = next(c for c in catalogue.CONSTRUCTORS if c.name == "sequential")
        made = [fallback]
        for build in builders:
            constructor = Constructor(build.__name__, ("linear",), "here", "sequential:sequential")
            made.append(constructor)
        by_name = {build.__name__: build for build in builders}
        ready = Constructor.build

        def build(
            self: Constructor, pipeline: PipelineProblem, deadline: Deadline
        ) -> PipelineSchedule:
            if self.name in by_name:
                return by_name[self.name](pipeline)
            return ready(self, pipeline, deadline)

        monkeypatch.setattr(Constructor, "build", build)
        monkeypatch.setattr(catalogue, "CONSTRUCTORS", tuple(made))
        found: dict[str, Entry] = {}
        for name, kind in (("search", search), ("exact", exact)):
            if kind is not None:
                monkeypatch.setattr(pipeline_race, f"_{name}_of_the_test", kind, raising=False)
                found[name] = Entry(f"planner.pipelining.race:_{name}_of_the_test", "")
        monkeypatch.setitem(SOLVERS, "pipeline", found)
        # It comes by optimal schedules of its own.
        monkeypatch.setattr(
            best, "suffix_bound", lambda _, base, **__: SuffixBound(base, None, None)
        )

    return only


def reports(result: planner.PipelineResult) -> dict[str, str]:
    return {report.name: report.status for report in result.contenders}


def test_the_best_legal_schedule_wins_and_all_are_told(contenders) -> None:
    contenders(classic, inapplicable, broken, illegal)
    result = planner.pipeline([STAGE], devices=3, microbatches=4, time_limit=5)
    assert result.contender == "classic"
    assert reports(result) == {
        "sequential": "feasible",
        "classic": "feasible",
        "inapplicable": "skipped",
        "broken": "failed",
        "illegal": "failed",
    }
    notes = {report.name: report.note for report in result.contenders}
    assert notes["inapplicable"] == "only on Sundays"
    assert notes["broken"] == "ZeroDivisionError: oh"
    assert "missing" in notes["illegal"]
    assert check_pipeline(result.problem, result.timeline) == []
    best = result.best_published()
    assert best is not None
    assert best.name == "classic"


def test_schedules_that_gather_no_sharded_weights_are_left_out(contenders) -> None:
    contenders(classic)
    weights = ShardedParameters((1, 1), (1, 1), (10, 10), (10, 10))
    result = planner.pipeline(problem(sharding=weights), time_limit=2)
    assert result.contender == "sequential"
    assert reports(result)["classic"] == "skipped"
    assert any(result.schedule.units)


def test_what_needs_too_much_memory_is_offloaded_where_that_helps(contenders) -> None:
    contenders(classic)
    given = {"devices": 4, "microbatches": 6, "memory_limit": 3000, "time_limit": 2}
    assert planner.pipeline([STAGE], **given).contender == "sequential"
    result = planner.pipeline([STAGE], offload_bandwidth=10_000, **given)
    assert reports(result)["classic"] == "over limit"
    assert result.contender == "classic+offload"
    assert max(result.peak_bytes) <= 3000
    assert max(result.host_peak_bytes) > 0


def test_what_needs_too_much_memory_does_not_win(contenders) -> None:
    contenders(classic)
    result = planner.pipeline([STAGE], devices=3, microbatches=4, memory_limit=2000, time_limit=5)
    assert result.contender == "sequential"
    assert reports(result)["classic"] == "over limit"
    assert max(result.peak_bytes) <= 2000
    assert result.best_published() is None
    fits = planner.pipeline([STAGE], devices=3, microbatches=4, memory_limit="1x", time_limit=5)
    assert fits.contender == "classic"


class GivesUp:
    def solve(self, problem: PipelineProblem, **_: object) -> Outcome[PipelineSchedule]:
        return Outcome(Status.UNKNOWN, None)


class Finds:
    """Finds the classic schedule, from nothing, and proves nothing."""

    def solve(self, problem: PipelineProblem, **given: object) -> Outcome[PipelineSchedule]:
        assert given["seeds"], "the fallback is a seed"
        return Outcome(Status.FEASIBLE, classic(problem))


class Proves:
    def solve(self, problem: PipelineProblem, **given: object) -> Outcome[PipelineSchedule]:
        incumbent = given["incumbent"]
        assert isinstance(incumbent, PipelineSchedule)
        value = planner.pipeline(problem, schedule=incumbent).value_ticks
        return Outcome(Status.OPTIMAL, incumbent, lower_bound=value)


class Lies:
    def solve(self, problem: PipelineProblem, **_: object) -> Outcome[PipelineSchedule]:
        return Outcome(Status.OPTIMAL, illegal(problem))


def test_a_search_that_finds_more_wins(contenders) -> None:
    contenders(search=Finds)
    result = planner.pipeline([STAGE], devices=3, microbatches=4, time_limit=5)
    assert (result.contender, result.status) == ("search", Status.FEASIBLE)


def test_a_proof_makes_it_optimal_in_small_cases(contenders) -> None:
    contenders(classic, search=GivesUp, exact=Proves)
    result = planner.pipeline([STAGE], devices=3, microbatches=4, time_limit=5)
    assert result.status is Status.OPTIMAL
    assert result.bound_ticks == result.value_ticks
    assert [bound.name for bound in result.bounds] == ["exact"]


def test_a_proof_of_one_placement_is_none_of_all(contenders) -> None:
    class ProvesLooped(Proves):
        def solve(self, problem: PipelineProblem, **given: object) -> Outcome[PipelineSchedule]:
            looped = problem.device_of == (0, 1, 2, 0, 1, 2)
            return super().solve(problem, **given) if looped else Outcome(Status.UNKNOWN, None)

    contenders(exact=ProvesLooped)
    both = planner.pipeline([STAGE], devices=3, microbatches=2, chunks=2, time_limit=2)
    assert both.status is Status.FEASIBLE
    assert both.bound_ticks == min(bound.ticks for bound in both.bounds)
    looped = planner.pipeline(
        [STAGE], devices=3, microbatches=2, chunks=2, placement="looped", time_limit=2
    )
    assert looped.status is Status.OPTIMAL


def test_a_proof_that_a_schedule_refutes_is_left_out(contenders) -> None:
    class ProvesTooMuch:
        def solve(self, problem: PipelineProblem, **_: object) -> Outcome[PipelineSchedule]:
            return Outcome(Status.UNKNOWN, None, lower_bound=10**9)

    contenders(classic, exact=ProvesTooMuch)
    result = planner.pipeline([STAGE], devices=3, microbatches=4, time_limit=5)
    assert result.status is Status.FEASIBLE
    assert result.bound_ticks == result.problem.ideal_ticks
    assert "refuted" in result.notes[0]


def test_a_search_that_lies_is_told_and_loses(contenders) -> None:
    contenders(search=Lies)
    result = planner.pipeline([STAGE], devices=3, microbatches=4, time_limit=5)
    assert (result.contender, result.status) == ("sequential", Status.FEASIBLE)
    assert reports(result)["search"] == "failed"


def test_searches_rest_where_the_bound_is_met(contenders) -> None:
    class Never:
        def solve(self, problem: PipelineProblem, **_: object) -> Outcome[PipelineSchedule]:
            raise AssertionError("nothing was left to find")

    contenders(search=Never, exact=Never)
    result = planner.pipeline([STAGE], devices=1, microbatches=4, time_limit=5)
    assert result.status is Status.OPTIMAL
    assert reports(result) == {"sequential": "feasible", "search": "skipped", "exact": "skipped"}


def test_a_search_hears_that_time_is_up(contenders) -> None:
    class Waits:
        def solve(self, problem: PipelineProblem, **given: object) -> Outcome[PipelineSchedule]:
            deadline = given["deadline"]
            while not deadline.expired():  # type: ignore[attr-defined]
                time.sleep(0.01)
            return Outcome(Status.FEASIBLE, classic(problem))

    contenders(search=Waits)
    result = planner.pipeline([STAGE], devices=3, microbatches=4, time_limit=0.5)
    assert result.contender == "search"


@pytest.mark.parametrize(("limit", "fits"), [(1000, True), (999, False)])
def test_what_cannot_fit_is_proven_at_once(limit: int, fits: bool) -> None:
    given = {"devices": 2, "microbatches": 3, "chunks": 2, "memory_limit": limit, "time_limit": 1}
    if fits:
        assert max(planner.pipeline([STAGE], **given).peak_bytes) == limit
        return
    with pytest.raises(DoesNotFitError) as refusal:
        planner.pipeline([STAGE], **given)
    assert refusal.value.proven
    assert "1,000 B" in str(refusal.value)


def test_makespan_is_another_objective(contenders) -> None:
    contenders(classic)
    given = {"devices": 3, "microbatches": 4, "time_limit": 5}
    stage = planner.pipeline([STAGE], **given)
    span = planner.pipeline([STAGE], objective="makespan", **given)
    assert span.problem.objective is PipelineObjective.MAKESPAN
    assert span.value_ticks == span.timeline.makespan
    assert stage.value_ticks == stage.timeline.longest_stage
    assert stage.value_ticks <= span.value_ticks


def test_limits_of_each_device_are_kept(contenders) -> None:
    contenders(classic)
    result = planner.pipeline(
        [STAGE], devices=3, microbatches=4, memory_limit=[3000, 2000, "1000"], time_limit=5
    )
    assert result.contender == "classic"
    profiles = device_memory(result.problem, result.timeline)
    assert [profile.peak for profile in profiles] == [3000, 2000, 1000]


def test_a_schedule_that_is_given_is_priced_in_its_own_placement() -> None:
    pipeline = problem(devices=2, microbatches=2)
    result = planner.pipeline(pipeline, schedule=classic(pipeline), time_limit=2)
    assert (result.contender, result.placement) == ("1f1b", "linear")
    order = (Pass(PassKind.FORWARD, 0, 0),)
    with pytest.raises(InvalidPlanError, match="lacks"):
        planner.pipeline(pipeline, schedule=PipelineSchedule("half", (0, 1), (order, ())))


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"devices": 2}, "microbatches"),
        ({"devices": 2, "microbatches": 0}, "0 microbatches"),
        ({"devices": 2, "microbatches": 2.5}, "2.5"),
        ({"devices": 2, "microbatches": 2, "objective": "speed"}, "no objective 'speed'"),
        ({"devices": 2, "microbatches": 2, "time_limit": 0}, "time limit"),
        ({"devices": 2, "microbatches": 2, "solvers": "search"}, "is the text"),
        ({"devices": 2, "microbatches": 2, "copy_streams": 3}, "copy streams"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(given: dict, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        planner.pipeline([STAGE], **given)


@pytest.mark.parametrize(
    "wrong", [[], [1], 7, [StageCosts(-1, 0, 0, 0, 0)], [StageCosts(1.5, 0, 0, 0, 0)]]
)  # type: ignore[arg-type]
def test_costs_that_make_no_sense_are_refused(wrong: object) -> None:
    with pytest.raises(UsageError):
        planner.pipeline(wrong, devices=2, microbatches=2)


def test_more_passes_than_memory_is_there_for_are_refused() -> None:
    with pytest.raises(UsageError, match="65,536"):
        planner.pipeline([STAGE], devices=2, microbatches=200_000)


def test_a_problem_brings_its_own_numbers() -> None:
    with pytest.raises(UsageError, match="its own devices"):
        planner.pipeline(problem(), devices=2)


def test_a_schedule_without_the_output_layer_is_skipped_not_called_illegal() -> None:
    layer = VocabularyLayer(3, 4, 0, 1, barriers=1)
    pipeline = PipelineProblem((STAGE,) * 4, (0, 1, 1, 0), 2, (None,) * 2, vocabulary=layer)
    result = pipeline_race.race({"v": pipeline}, time_limit=20, solvers=["zb-v", "v-min"])
    assert not [report for report in result.contenders if report.status == "failed"]
    (zb_v,) = (report for report in result.contenders if report.name == "zb-v")
    assert zb_v.status == "skipped"
    assert "no passes for a vocabulary layer" in zb_v.note


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"memory_limit": object()}, "a memory limit of"),
        ({"placement": []}, "no placement is named"),
        ({"seed": "a"}, "the seed is 'a'"),
        ({"devices": 2.5}, "no whole number"),
    ],
)
def test_nonsense_in_a_call_is_refused_in_words(wrong: dict[str, Any], reason: str) -> None:
    arguments: dict[str, Any] = {"devices": 2, "microbatches": 3, "time_limit": 1.0, **wrong}
    with pytest.raises(UsageError, match=reason):
        planner.pipeline([STAGE], **arguments)


@pytest.mark.parametrize(
    "wrong",
    [
        {"stages": (StageCosts(1.5, 1, 1, 1, 1),)},  # type: ignore[arg-type]
        {"stages": (StageCosts(1, 1, -1, 1, 1),)},
        {"stages": (StageCosts(1 << 60, 1, 1, 1, 1),)},
        {"stages": (StageCosts(1, 1, 1, 1 << 63, 1),)},
        {"offloading": Offloading((1, 1), (1, 1))},
        {"offloading": Offloading((-1,), (1,))},
        {"offloading": Offloading((1,), (1,), streams=3)},
        {"vocabulary": VocabularyLayer(1, 1, 1, 1, barriers=3)},
        {"sharding": ShardedParameters((1,), (1,), (1,), ())},
        {"tick_s": Fraction(0)},
    ],
)
def test_a_problem_of_nonsense_is_refused(wrong: dict[str, Any]) -> None:
    given: dict[str, Any] = {"stages": (STAGE,), "device_of": (0,), "microbatches": 2}
    with pytest.raises(UsageError):
        PipelineProblem(**(given | {"limits": (None,)} | wrong))


def test_no_constructor_leaves_nothing_to_the_next() -> None:
    """Whatever the limit, each that takes part has been asked while there was time."""
    stage = StageCosts(1, 1, 1, 5, 5, 1)
    pipeline = PipelineProblem(
        (stage,) * 4, (0, 1, 2, 3), 4, (15,) * 4, offloading=Offloading((1,) * 4, (1,) * 4)
    )
    result = pipeline_race.race(
        {"linear": pipeline}, time_limit=2, solvers=["zero-bubble", "offload"]
    )
    (offload,) = (report for report in result.contenders if report.name == "offload")
    assert offload.status == "feasible"
