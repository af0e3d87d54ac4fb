"""The races of `plan bench pipeline`: cases, published tables, verdicts, defects, exports."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from typing import TYPE_CHECKING, Any

import pytest

import planner
from planner.bench import pipeline_cases, pipeline_reproduction
from planner.bench.pipeline_cases import (
    FULL,
    KNOWN,
    KNOWN_BUBBLES,
    LIMITS,
    QUICK,
    SETS,
    PipelineCase,
    Setting,
    chosen_cases,
)
from planner.bench.pipeline_chart import curves, draw_bubbles
from planner.bench.pipeline_page import render_page
from planner.bench.pipeline_published import TABLE_5, TABLE_8
from planner.bench.pipeline_reproduction import Reproduced, reproduce
from planner.bench.pipeline_results import (
    Verdict,
    defects,
    gap,
    limit_summaries,
    results_object,
    verdict,
)
from planner.bench.pipeline_runs import (
    CaseResult,
    PipelineRun,
    chosen_solvers,
    run_cases,
)
from planner.bench.pipeline_table import render_csv, render_tables
from planner.errors import UsageError
from planner.pipelining.memory_limits import one_f_one_b_bytes
from planner.pipelining.problem import PipelineObjective
from solvers.pipeline.constructors.catalogue import Constructor

from .tiny_pipelines import ROW, TINY, without_searching_constructors

if TYPE_CHECKING:
    from planner.pipelining.problem import PipelineProblem
    from planner.pipelining.schedule import PipelineSchedule
    from solvers.protocol import Deadline


def results_of(cases: list[PipelineCase], *solvers: str, time_limit_s: float = 2.0) -> list[Any]:
    return list(
        run_cases(cases, solvers, time_limit_s=time_limit_s, seed=0, on_progress=lambda _: None)
    )


@pytest.fixture(scope="module", autouse=True)
def quick_constructors():
    with without_searching_constructors():
        yield


@pytest.fixture(scope="module")
def proven() -> list[CaseResult]:
    """Let one case run, in one chunk per device and the memory of 1F1B."""
    return results_of([PipelineCase(TINY, 1, "1")])


def test_limits_are_multiples_of_what_1f1b_holds_and_blocks_have_theirs() -> None:
    setting = Setting("even", (ROW,), 8, 24)
    problem = PipelineCase(setting, 2, "0.75").problems()["v"]
    whole = one_f_one_b_bytes(problem.stages, 8, 24)
    assert whole == 8 * 1000
    assert problem.limits == (6000,) * 8
    for name, microbatches in (("V-Min", 4), ("V-Half", 5)):
        case = PipelineCase(setting, 2, name)
        assert case.problems()["v"].limits == (microbatches * 1000,) * 8
        assert (case.multiple, case.limit_text) == (microbatches / 8, name)


@pytest.mark.parametrize("which", SETS)
def test_cases_differ_and_can_be_stated(which: str) -> None:
    cases = chosen_cases(which, None)
    assert len({case.name for case in cases}) == len(cases)
    for case in cases:
        for problem in case.problems().values():
            assert problem.devices == case.setting.devices
            assert problem.objective is case.setting.objective


def test_the_full_set_has_all_there_is_and_the_known_one_what_is_known() -> None:
    full = chosen_cases(FULL, None)
    assert {case.setting.devices for case in full} == {4, 8, 16, 24, 32}
    assert {case.limit for case in full} == {*LIMITS, "V-Min", "V-Half"}
    assert {case.setting.objective for case in full} == set(PipelineObjective)
    unequal = [case for case in full if len(set(case.setting.rows)) > 1]
    assert {case.setting.model for case in unequal} == {"heavy ends", "uneven layers", "random"}
    known = {(case.setting.name, case.chunks, case.limit) for case in chosen_cases(KNOWN, None)}
    assert known == set(KNOWN_BUBBLES)


def test_cases_can_be_chosen_by_model_and_wrong_names_are_told() -> None:
    assert {case.setting.model for case in chosen_cases(QUICK, ["random"])} == {"random"}
    with pytest.raises(UsageError, match=r"no set of cases 'all'\. There are: quick, known, full"):
        chosen_cases("all", None)
    with pytest.raises(UsageError, match=r"no network 'gpt' in quick\. There are: 4959"):
        chosen_cases(QUICK, ["gpt"])
    with pytest.raises(UsageError, match="no network is named"):
        chosen_cases(QUICK, [])
    assert chosen_solvers(None) == []
    assert chosen_solvers(["1f1b", "1f1b"]) == ["1f1b"]
    with pytest.raises(UsageError, match=r"no pipeline solver 'simplex'\. There are: sequential"):
        chosen_solvers(["simplex"])


def test_random_stages_are_the_same_every_time() -> None:
    first, second = (pipeline_cases._random(4, 8) for _ in range(2))
    assert first == second
    assert len(set(first.rows)) == 4


def test_the_papers_first_row_is_reproduced_to_the_fourth_decimal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipeline_reproduction, "_QUICK", 8 * 24)
    cells = list(reproduce(everything=False, models=["1.5B"], on_progress=lambda _: None))
    assert [cell.column for cell in cells] == list(TABLE_5[0].published())
    assert all(cell.is_checked for cell in cells)
    assert {cell.difference for cell in cells if cell.column != "ZB-2p"} == {0.0}
    assert all(cell.difference <= 0 for cell in cells)
    assert defects([], cells) == []


def test_a_table_that_is_missed_and_a_schedule_that_is_illegal_are_reported() -> None:
    def cell(column: str, simulated: float, *, legal: bool = True) -> Reproduced:
        return Reproduced(8, TABLE_8[0], column, 0.0697, simulated, legal, 0.1)

    fine = [cell("ZB-V", 0.0697), cell("ZB-V", 0.05), cell("1F1B", 0.06974)]
    assert defects([], fine) == []
    told = defects(
        [], [cell("ZB-V", 0.0698), cell("1F1B", 0.05), cell("1F1B", 0.0697, legal=False)]
    )
    assert told == [
        "table 8, 6.2B 16x48: ZB-V is 0.0698, published is 0.0697. Please report it.",
        "table 8, 6.2B 16x48: 1F1B is 0.0500, published is 0.0697. Please report it.",
        "table 8, 6.2B 16x48: 1F1B is illegal. Please report it.",
    ]
    text = " ".join(render_tables([], [*fine, cell("ZB-V", 0.0698)]).split())
    assert "of 4 values 2 are equal to the fourth decimal, 1 lower, 1 higher" in text


def test_every_schedule_is_checked_and_ours_is_as_good_as_the_published(proven) -> None:
    (result,) = proven
    assert result.ours.is_checked
    assert result.ours.status == "optimal"
    assert result.ours.cost_ticks == result.bound_ticks
    best = result.best_published
    assert best is not None
    assert best.is_checked
    assert verdict(result) in (Verdict.TIED, Verdict.WON)
    assert gap(result) == 0.0
    assert defects(proven, []) == []
    fitting = [run for run in result.published if run.is_checked]
    for run in fitting:
        assert run.cost_ticks is not None
        assert run.cost_ticks >= result.bound_ticks
        assert run.peak_bytes is not None
        assert run.peak_bytes <= 2000
    over = {run.name: run for run in result.published if run.status == "over limit"}
    assert "gpipe" in over
    assert not over["gpipe"].is_checked
    assert "2,000" in over["gpipe"].note
    assert "sequential" not in {run.name for run in result.published}


def test_the_bubble_is_that_of_the_public_call(proven) -> None:
    (result,) = proven
    called = planner.pipeline([ROW], devices=2, microbatches=3, memory_limit="1x", time_limit=5)
    assert result.bubble(result.ours.cost_ticks) == called.bubble
    assert result.bubble(result.ours.makespan_ticks) is not None


def test_a_solver_is_raced_by_itself_beside_ours() -> None:
    (result,) = results_of([PipelineCase(TINY, 1, "1")], "1f1b")
    (alone,) = result.alone
    assert (alone.name, alone.note, alone.is_checked) == ("1f1b", "by 1f1b", True)
    assert "1f1b alone" in render_tables([result], [])


def test_what_cannot_fit_is_told_as_a_proof_and_is_no_defect() -> None:
    (result,) = results_of([PipelineCase(TINY, 1, "0.35")])
    assert (result.ours.status, result.ours.cost_ticks) == ("infeasible", None)
    assert verdict(result) is Verdict.NEITHER
    assert defects([result], []) == []
    assert "nothing fits" in render_tables([result], [])
    assert limit_summaries([result])[0].impossible == 1
    assert math.isnan(next(c for c in curves([result]) if c.kind == "ours").bubbles[0])


def broken(_: Constructor, problem: PipelineProblem, deadline: Deadline) -> PipelineSchedule:
    raise ZeroDivisionError("oh")


def test_a_constructor_that_crashes_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    ready = Constructor.build

    def build(self: Constructor, problem: PipelineProblem, deadline: Deadline) -> PipelineSchedule:
        return (broken if self.name == "zb-h1" else ready)(self, problem, deadline)

    monkeypatch.setattr(Constructor, "build", build)
    told = defects(results_of([PipelineCase(TINY, 1, "1")]), [])
    name = "tiny 2x3, v=1, 1x"
    assert told == [f"{name}: zb-h1 failed: ZeroDivisionError: oh. Please report it."]


def made(
    ours: int | None,
    published: int | None,
    *,
    bound: int = 90,
    setting: Setting = TINY,
    limit: str = "1",
    status: str = "feasible",
    chunks: int = 1,
) -> CaseResult:
    """Return a result; 90 ticks are the ideal."""
    runs = () if published is None else (run("1f1b", published),)
    mine = run("ours", ours)._replace(status=status)
    return CaseResult(
        PipelineCase(setting, chunks, limit),
        90,
        0.5,
        bound,
        "chain",
        runs,
        mine,
        (run("search", ours),),
    )


def run(name: str, ticks: int | None) -> PipelineRun:
    legal = ticks is not None
    status = "feasible" if legal else "unknown"
    return PipelineRun(name, "linear", status, ticks, ticks, ticks, 1000, 0.5, legal, f"by {name}")


def test_verdicts_compare_with_the_best_published_that_fits() -> None:
    pairs = {
        (100, 110): Verdict.WON,
        (100, 100): Verdict.TIED,
        (101, 100): Verdict.LOST,
        (None, 100): Verdict.LOST,
        (100, None): Verdict.ALONE,
        (None, None): Verdict.NEITHER,
    }
    results = [made(*pair) for pair in pairs]
    assert [verdict(result) for result in results] == list(pairs.values())
    (summary,) = limit_summaries(results)
    assert summary.cases == 6
    assert summary.verdicts[Verdict.LOST] == 2
    assert summary.ours == pytest.approx((10 / 100 + 10 / 100 + 11 / 101) / 3)
    assert summary.published == pytest.approx((20 / 110 + 10 / 100 + 10 / 100) / 3)


def test_ties_at_the_bound_are_told_apart() -> None:
    results = [made(100, 100), made(90, 90, status="optimal"), made(90, 95, status="optimal")]
    text = " ".join(render_tables(results, []).split())
    assert "won 1, tied 2; 2 proven optimal, of those tied 1;" in text


def test_losses_refuted_bounds_and_missing_schedules_are_reported() -> None:
    where = "tiny 2x3, v=1, 1x"
    assert defects([made(101, 100)], []) == [
        f"{where}: ours takes 101 ticks, the published 1f1b 100 ticks. Please report it."
    ]
    refuted = defects([made(95, 99, bound=97)], [])
    assert refuted == [f"{where}: ours takes 95 ticks, the bound is 97. Please report it."]
    (missing,) = defects([made(None, None, status="unknown")], [])
    assert "neither a schedule nor a proof" in missing
    illegal = made(100, None)
    illegal = illegal._replace(ours=illegal.ours._replace(is_checked=False, note="too much"))
    assert defects([illegal], []) == [f"{where}: ours failed: too much. Please report it."]
    late = made(100, 100)
    (told,) = defects([late._replace(late=("zb-v",))], [])
    assert told == f"{where}: no time was left for zb-v. Give it a longer --time-limit."


def test_what_is_known_must_be_reached() -> None:
    setting = Setting("1.5B", (ROW,), 8, 24)
    ideal = 90
    known = KNOWN_BUBBLES["1.5B 8x24", 1, "1"]
    enough = math.floor(ideal / (1 - known))
    assert defects([made(enough, enough, setting=setting)], []) == []
    (told,) = defects([made(enough + 1, enough + 1, setting=setting)], [])
    assert "known to reach a bubble of 0.1585" in told
    reached = limit_summaries([made(enough, None, setting=setting)])[0]
    assert (reached.known, reached.reached) == (1, 1)


def test_limits_are_summarised_by_chunks_in_the_order_of_memory() -> None:
    results = [
        made(100, 110, limit=limit, chunks=v) for v in (2, 1) for limit in ("1.5", "0.5", "1")
    ]
    order = [(summary.chunks, summary.limit) for summary in limit_summaries(results)]
    assert order == [(v, limit) for v in (1, 2) for limit in ("0.5x", "1x", "1.5x")]


def test_the_json_and_the_csv_say_the_same() -> None:
    results = [made(100, 110), made(None, None, status="infeasible")]
    first, second = json.loads(json.dumps(results_object(results, [])))["results"]
    assert first["verdict"] == "won"
    assert first["best_published"]["name"] == "1f1b"
    assert first["ours"]["bubble"] == pytest.approx(0.1)
    assert first["ours"]["cost_s"] == 50.0
    assert first["gap"] == pytest.approx(10 / 90)
    assert (second["ours"]["bubble"], second["gap"], second["best_published"]) == (None, None, None)
    rows = list(csv.DictReader(io.StringIO(render_csv(results))))
    kinds = ["ours", "part", "published", "ours", "part"]
    assert [row["kind"] for row in rows] == kinds
    assert float(rows[0]["bubble"]) == pytest.approx(0.1)
    assert rows[3]["bubble"] == ""


@pytest.fixture
def matplotlib() -> Any:
    return pytest.importorskip("matplotlib", reason="matplotlib is not installed: nothing drawn")


def test_hostile_names_and_empty_results_can_be_drawn(matplotlib) -> None:
    results = [
        made(100, 110, setting=TINY._replace(model="$\\frac{<b>&")),
        made(None, None, limit="3"),
    ]
    pictures = draw_bubbles(results)
    assert pictures["png"].startswith(b"\x89PNG")
    assert draw_bubbles(results) == pictures
    page = render_page(results, [], pictures["svg"], time_limit_s=5, notes=["<i>"])
    assert "<b>" not in page
    assert "<i>" not in page
    assert "data:image/svg+xml" in page
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []
