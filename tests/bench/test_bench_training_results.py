"""The suite of training steps without PyTorch: cases, comparisons, defects, tables, the chart."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any

import pytest

from planner.bench.training_cases import FULL, QUICK, SETS, chosen_cases
from planner.bench.training_chart import draw_frontiers, frontiers
from planner.bench.training_page import render_page
from planner.bench.training_results import defects, results_object, summarised
from planner.bench.training_runs import chosen_solvers
from planner.bench.training_table import render_tables
from planner.errors import UsageError
from planner.training.result import TrainingContender

from .tiny_steps import Tried, planned, step


@pytest.mark.parametrize("which", SETS)
def test_cases_differ_and_have_five_falling_targets(which: str) -> None:
    cases = chosen_cases(which, None)
    assert len({case.name for case in cases}) == len(cases)
    for case in cases:
        assert len(case.shares) == 5
        assert case.shares[0] < 1
        assert all(larger > smaller for larger, smaller in pairwise(case.shares))


def test_the_full_set_has_the_large_steps_and_executes_none_of_them() -> None:
    large = {case.name for case in chosen_cases(FULL, None)} - {
        case.name for case in chosen_cases(QUICK, None)
    }
    assert large == {"gpt2-small", "gpt2-deep"}
    assert not any(case.is_executed for case in chosen_cases(FULL, sorted(large)))


def test_cases_and_solvers_are_chosen_by_name_and_wrong_names_are_told() -> None:
    assert [case.name for case in chosen_cases(QUICK, ["bert", "mlp"])] == ["mlp", "bert"]
    with pytest.raises(UsageError, match=r"no set of cases 'all'\. There are: quick, full"):
        chosen_cases("all", None)
    with pytest.raises(UsageError, match=r"no network 'gpt2-deep' in quick\. There are: mlp"):
        chosen_cases(QUICK, ["gpt2-deep"])
    with pytest.raises(UsageError, match="no network is named"):
        chosen_cases(QUICK, [])
    assert chosen_solvers(None) == []
    assert chosen_solvers(["greedy", "greedy"]) == ["greedy"]
    with pytest.raises(UsageError, match=r"no training solver 'simplex'\. There are: greedy"):
        chosen_solvers(["simplex"])
    with pytest.raises(UsageError, match="no solver is named"):
        chosen_solvers([])


def test_ours_is_compared_with_the_best_point_that_keeps_the_target() -> None:
    at_700 = planned(700, 690, 40)
    best = at_700.best_torch
    assert best is not None
    assert (best.budget, best.recompute_ps) == ("0.5", 100)  # 0.1 keeps it too, but costs more
    assert at_700.reduction == pytest.approx(0.6)
    assert planned(1000, 1000, 0).reduction is None  # there is nothing to save
    below = planned(500, 480, 150)
    assert (below.best_torch, below.reduction, below.fits) == (None, None, True)
    assert planned(700, 710, 40).reduction is None


def test_targets_are_counted_by_how_ours_does() -> None:
    results = [
        planned(1000, 1000, 0, status="optimal"),
        planned(700, 690, 40, trial=Tried(688)),
        planned(600, 600, 80, trial=Tried(600, is_exact=False)),
        planned(500, 490, 150),
        planned(310, 320, 400, status="unknown"),
    ]
    summary = summarised(results)
    assert (summary.targets, summary.met, summary.torch_met) == (5, 4, 3)
    assert (summary.only_ours, summary.above_torch, summary.less) == (1, 0, 2)
    assert (summary.optimal, summary.executed, summary.exact) == (1, 2, 1)
    assert summary.median_reduction == pytest.approx(0.4)
    assert summary.worst_error == pytest.approx(2 / 688)
    assert summary.worst_error_bytes == 2
    assert summary.is_monotone
    assert summarised(results[:1]).median_reduction is None


def test_a_higher_peak_for_a_smaller_target_is_no_order() -> None:
    wrong = [planned(700, 500, 40), planned(600, 590, 80)]
    assert not summarised(wrong).is_monotone
    assert not summarised(wrong[::-1]).is_monotone
    (told,) = defects(wrong)
    assert "600 bytes give a peak of 590" in told
    cheaper = [planned(700, 690, 40), planned(600, 590, 30)]
    assert not summarised(cheaper).is_monotone
    others = [planned(700, 500, 40), planned(600, 590, 80, of=step("other"))]
    assert summarised(others).is_monotone


def test_a_frontier_that_time_cut_short_is_told_and_excuses_disorder() -> None:
    cut = [planned(700, 500, 40)._replace(frontier=()), planned(600, 590, 80)]
    short, disorder = defects(cut)
    assert short == ("tiny: time cut 1 of 2 frontiers short. Give it a longer --time-limit.")
    assert disorder.endswith("Give it a longer --time-limit.")


def test_what_must_not_be_is_told() -> None:
    assert defects([planned(700, 690, 40, bound=40, trial=Tried(690))]) == []
    where = "tiny, 700 bytes"
    (lost,) = defects([planned(700, 690, 101)])
    assert lost.startswith(f"{where}: ours recomputes 101 ps, PyTorch's budget 0.5 keeps it with")
    (missed,) = defects([planned(700, 710, 40, status="unknown")])
    assert missed.startswith(f"{where}: ours misses the target")
    assert defects([planned(700, 690, 40, bound=41)]) == [
        f"{where}: ours recomputes 40 ps, the bound is 41. Please report it."
    ]
    assert defects([planned(700, 690, 40, trial=Tried(690, is_exact=False))]) == [
        f"{where}: loss or gradients differ from those of eager PyTorch. Please report it."
    ]
    assert defects([planned(700, 690, 40, failure="ValueError: oh")]) == [
        f"{where}: the execution failed: ValueError: oh. Please report it."
    ]
    dead = TrainingContender("ladder", "failed", note="oh")
    for runs in ({"parts": (dead,)}, {"alone": (dead,)}):
        assert defects([planned(700, 690, 40, **runs)]) == [
            f"{where}: ladder failed: oh. Please report it."
        ]


def test_predictions_are_held_to_the_model_s_tolerance() -> None:
    assert defects([planned(700, 690, 40, trial=Tried(684))]) == []
    (told,) = defects([planned(700, 690, 40, trial=Tried(680))])
    assert "the plan is predicted to take 690 B and takes 680 B" in told
    resnet = step("resnet", network="resnet")
    assert defects([planned(700, 690, 40, of=resnet, trial=Tried(680))]) == []
    assert len(defects([planned(700, 690, 40, of=resnet, trial=Tried(650))])) == 1
    (eager,) = defects([planned(700, 690, 40, of=step(eager_bytes=900))])
    assert eager.startswith("tiny: the eager step is predicted to take 1,000 B")
    assert defects([planned(700, 690, 40, of=step(eager_bytes=None))]) == []


def test_the_tables_have_every_target_and_say_what_it_comes_to() -> None:
    greedy = TrainingContender("greedy", "feasible", 700, 90)
    over = TrainingContender("block-dp", "over budget", 720, 10)
    alone = TrainingContender("ladder", "optimal", 700, 45)
    text = render_tables(
        [
            planned(700, 690, 40, trial=Tried(690), parts=(greedy, over), alone=(alone,)),
            planned(500, 490, 150),
            planned(310, 320, 400, status="infeasible"),
        ]
    )
    flat = " ".join(text.split())
    assert "tiny 700 70.0 % 690 0.00 4.00 0.00 100.0 % feasible ladder search 10.00 0.5" in flat
    assert "60.0 % 690 exact 1.25x 0.5" in flat
    assert "tiny 700 0.00 4.00 10.00 9.00 over budget 4.50" in flat
    assert re.search(r"tiny +310 +infeasible +none", text)
    assert "Ours: of 3 targets 2 met, PyTorch's sweep meets 1; met where it meets none 1;" in flat
    assert "median reduction 60.0 %; monotone: yes." in flat
    assert "Executed 1, exact 1; predicted and measured peaks differ by at most 0 bytes" in flat


def test_the_json_has_what_the_tables_have() -> None:
    results = [planned(700, 690, 40, trial=Tried(690)), planned(500, 490, 150)]
    document = json.loads(json.dumps(results_object(results)))
    (described,) = document["results"]
    first, second = described["targets"]
    assert first["reduction"] == pytest.approx(0.6)
    assert first["best_torch"]["budget"] == 0.5
    assert first["execution"] == {"peak_bytes": 690, "exact": True, "time_ratio": 1.25}
    assert (second["best_torch"], second["execution"], second["met"]) == (None, None, True)
    assert described["sizes"]["blocks"] == 2
    assert [point["peak_bytes"] for point in described["torch"]] == [1000, 600, 700]
    assert document["summary"]["only_ours"] == 1


def test_the_frontier_is_the_least_recomputation_within_each_peak() -> None:
    results = [planned(700, 690, 40), planned(500, 490, 150), planned(310, 320, 400)]
    shown = frontiers(results)
    assert shown.ours == [(320, 0.4), (490, 0.15), (690, 0.04), (1000, 0.0)]
    assert shown.plans == [(690, 0.04), (490, 0.15)]  # the third is missed
    assert [size for size, _ in shown.torch] == [1000, 600, 700]
    assert shown.least_bytes == 300


def test_hostile_names_can_be_drawn_and_are_drawn_the_same_every_time() -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: nothing drawn")
    results = [planned(700, 690, 40, of=step("$\\frac{<b>&")), planned(310, 320, 400)]
    pictures = draw_frontiers(results)
    assert pictures["png"].startswith(b"\x89PNG")
    assert draw_frontiers(results) == pictures
    page = render_page(results, pictures["svg"], time_limit_s=5, notes=["<i>"])
    assert "<b>" not in page
    assert "<i>" not in page
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []


def test_a_page_without_a_chart_has_the_tables() -> None:
    page: Any = render_page([planned(700, 690, 40)], None, time_limit_s=5, notes=[])
    assert "<img" not in page
    assert "690" in page
