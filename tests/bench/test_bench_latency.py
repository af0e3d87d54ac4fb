"""`plan bench latency`: means over graphs, methods replayed, parts of the agent, the command."""

from __future__ import annotations

import json
import math
import signal
import sys
import types
from pathlib import Path

import pytest

from planner.bench.latency_chart import draw_latency_profiles, latency_profiles
from planner.bench.latency_methods import METHODS, Bound, Mapped, Method, chosen_methods
from planner.bench.latency_page import render_page
from planner.bench.latency_programs import SETS, Program, chosen_programs
from planner.bench.latency_results import (
    comparison,
    defects,
    latencies,
    open_programs,
    parts_worth,
    results_object,
    summaries,
)
from planner.bench.latency_runs import Budget, LatencyRun, ProgramResult, run_programs
from planner.bench.latency_statistics import compared, geometric_mean, interval
from planner.bench.latency_table import render_tables
from planner.cli.main import main
from planner.errors import UsageError
from planner.mapping_problem import Residency
from solvers.mapping.variants import cropped

EXAMPLES = Path(__file__).parents[2] / "examples" / "models"


def test_geometric_mean_of_known_numbers():
    assert geometric_mean([0.5, 2.0]) == pytest.approx(1.0)
    assert geometric_mean([1.0, 10.0, 100.0]) == pytest.approx(10.0)


def test_interval_is_over_graphs_not_programs():
    # A hundred programs of two graphs are two observations: every mean of two draws comes up.
    values = [0.0] * 50 + [1.0] * 50
    assert interval(values, ["a"] * 50 + ["b"] * 50) == (0.0, 1.0)
    low, high = interval(values, [str(index) for index in range(100)])
    assert 0.35 < low < 0.45 and 0.55 < high < 0.65
    assert interval([0.25, 0.75], ["a", "a"]) == (0.5, 0.5)
    assert interval(values, ["a"] * 50 + ["b"] * 50) == interval(values, ["b"] * 50 + ["a"] * 50)


def test_comparison_counts_wins_losses_and_draws():
    found = compared([0.5, 2.0, 1.0, 1.0004], ["a", "a", "b", "c"])
    assert found is not None
    assert (found.programs, found.graphs) == (4, 3)
    assert (found.wins, found.losses, found.worst) == (0.25, 0.25, 2.0)
    assert found.ratio == pytest.approx(1.0004**0.25)
    assert found.low <= found.ratio <= found.high
    assert compared([], []) is None


def result(name, runs, *, graph=None, family="cnn", bound=200):
    """1000 ticks all slow, 200 all fast; runs are (method, budget, seed, ticks)."""
    return ProgramResult(
        name,
        graph or name,
        family,
        "tpuv4i",
        20,
        10,
        4096,
        1e-6,
        1000,
        200,
        Bound(bound, True),
        tuple(
            LatencyRun(method, budget, seed, ticks, None, 100, 0.5)
            for method, budget, seed, ticks in runs
        ),
    )


NONE, DECODES, TIME = Budget.NONE, Budget.DECODES, Budget.TIME
TWO = [
    result(
        "one",
        [
            ("xla", NONE, 0, 800),
            ("static-24", NONE, 0, 600),
            ("malloc-game", DECODES, 0, 400),
            ("malloc-game", DECODES, 1, 400),
            ("malloc-game", TIME, 0, 400),
            ("malloc-game", TIME, 1, 400),
            ("malloc-game no refine", DECODES, 0, 500),
            ("malloc-game no refine", DECODES, 1, 500),
            ("malloc-game no refine", TIME, 0, 400),
            ("malloc-game no refine", TIME, 1, 400),
        ],
        bound=400,
    ),
    result(
        "two",
        [
            ("xla", NONE, 0, 400),
            ("static-24", NONE, 0, 400),
            ("malloc-game", DECODES, 0, 200),
            ("malloc-game", DECODES, 1, 800),
            ("malloc-game no refine", DECODES, 0, None),
            ("malloc-game no refine", DECODES, 1, 800),
        ],
        family="nas",
    ),
]


def test_latency_of_several_seeds_is_their_geometric_mean_or_none():
    assert latencies(TWO, "malloc-game", DECODES) == [400, pytest.approx(400)]
    assert latencies(TWO, "malloc-game no refine", DECODES) == [500, None]
    assert latencies(TWO, "malloc-game no refine", TIME) == [400, None]
    assert latencies(TWO, "xla", TIME) == [800, 400]


def test_methods_are_divided_by_the_references_within_their_budget():
    found = comparison(TWO, "malloc-game", "xla", DECODES)
    assert found is not None
    assert found.ratio == pytest.approx(math.sqrt(0.5))
    assert (found.low, found.high) == (pytest.approx(0.5), pytest.approx(1.0))
    assert comparison(TWO, "malloc-game", "cp", DECODES) is None


def test_summary_has_score_gap_and_the_spread_of_the_seeds():
    by_kind = {(summary.method, summary.budget): summary for summary in summaries(TWO)}
    game = by_kind["malloc-game", DECODES]
    assert (game.programs, game.decodes, game.cpu_s) == (2, 100, 0.5)
    assert game.score == pytest.approx(0.75)  # 400 of 1000 to 200, twice
    assert game.gap == pytest.approx((0.0 + 1.0) / 2)  # bounds 400 and, of all fast, 200
    assert game.seeds_low == pytest.approx(0.5) and game.seeds_high == pytest.approx(1.0)
    assert game.against["static-24"].wins == 0.5
    assert by_kind["malloc-game no refine", DECODES].programs == 1
    assert [summary.budget for summary in summaries(TWO)][:2] == [NONE, NONE]


def test_worth_of_a_part_is_latency_with_it_by_latency_without():
    worth = {found.part.name: found.ratio for found in parts_worth(TWO)}
    assert worth["ruin and recreate"][DECODES].ratio == pytest.approx(0.8)
    assert worth["ruin and recreate"][TIME].ratio == pytest.approx(1.0)
    assert worth["windows"] == {DECODES: None, TIME: None}
    text = render_tables(TWO, ["program-order"])
    assert "0.8000 (0.8000-0.8000)" in text and "missing" in text
    assert "missing: program-order." in text


def test_open_programs_are_those_whose_best_static_decode_is_above_the_bound():
    def at(name, static, bound):
        return result(name, [("static-24", NONE, 0, static)], bound=bound)

    ajar = at("cut short", 1000, 800)._replace(proven_bound=Bound(800, False))
    without = result("without", [("xla", NONE, 0, 800)])
    programs = [at("met", 800, 800), at("close", 803, 800), at("far", 805, 800), ajar, without]
    assert [found.name for found in open_programs(programs)] == ["far", "cut short"]


def test_open_programs_are_summarised_by_themselves():
    closed = result(
        "closed", [("static-24", NONE, 0, 200), ("malloc-game", DECODES, 0, 200)], graph="one"
    )
    document = results_object(
        [*TWO, closed],
        programs="quick",
        decodes=100,
        seeds=[0],
        time_limit_s=5.0,
        missing=[],
        notes=[],
        interrupted=False,
    )

    def against_static(of):
        return next(
            row["against"]["static-24"]
            for row in document[of]
            if (row["method"], row["budget"]) == ("malloc-game", "decodes")
        )

    assert (document["open_programs"], document["open_graphs"]) == (2, 2)
    assert (
        against_static("summaries")["programs"],
        against_static("open_summaries")["programs"],
    ) == (3, 2)
    assert against_static("open_summaries")["ratio"] < against_static("summaries")["ratio"] < 1
    assert [found["open"] for found in document["results"]] == [True, True, False]
    assert [part["part"] for part in document["open_parts"]] == [
        part["part"] for part in document["parts"]
    ]
    text = render_tables([*TWO, closed], [])
    for title in ("Methods, all programs", "Methods, 2 open programs of 2 graphs"):
        assert title in text
    assert "worth, 2 open programs of 2 graphs" in text
    assert "open programs" not in render_tables([closed], [])
    assert "2 of them open" in render_page(
        [*TWO, closed], None, decodes=100, seeds=1, missing=[], notes=[]
    )


def test_profile_counts_programs_within_a_factor_of_the_best():
    curves = latency_profiles(TWO, DECODES)
    assert curves["malloc-game"].factors == (1.0, pytest.approx(1.0))
    assert curves["xla"].factors == (pytest.approx(1.0), 2.0)
    assert curves["static-24"].instances == 2
    assert "malloc-game no refine" not in curves and "cp" not in curves


def test_losses_to_static_decodes_and_bounds_undercut_are_told():
    notes = defects([TWO[0], TWO[1]._replace(proven_bound=Bound(300, False))])
    assert any("two: malloc-game takes 200 ticks, the lower bound is 300" in n for n in notes)
    assert "two: malloc-game, seed 1, is slower than the best static decode." in notes
    assert notes[0].startswith("the bounds of 1 programs are not complete")
    assert len(notes) == 3
    failed = TWO[0]._replace(runs=(LatencyRun("xla", NONE, 0, None, None, 0, 0.0, "it broke"),))
    assert defects([failed]) == ["one, xla: it broke."]


def test_object_holds_everything_the_tables_show():
    document = results_object(
        TWO,
        programs="quick",
        decodes=100,
        seeds=range(2),
        time_limit_s=5.0,
        missing=["cp"],
        notes=[],
        interrupted=False,
    )
    document = json.loads(json.dumps(document, allow_nan=False))
    assert (document["format"], document["version"]) == ("planner.bench-latency", 1)
    assert (document["seeds"], document["missing_methods"]) == ([0, 1], ["cp"])
    one = document["results"][0]
    assert one["all_slow_s"] == pytest.approx(1e-3) and one["lower_bound_s"] == pytest.approx(4e-4)
    assert [run["legal"] for run in one["runs"]] == [True] * 10
    game = next(run for run in one["runs"] if run["method"] == "malloc-game")
    assert (game["score"], game["gap"]) == (0.75, 0.0)
    assert {part["part"] for part in document["parts"]} >= {"windows", "decoder", "tree search"}


def unet_rows(name="tiny"):
    whole = chosen_programs("quick", ["unet"])[0]
    return Program(name, "unet", "cnn", whole.target, lambda: cropped(whole.build(), 0, 8))


@pytest.fixture
def methods(monkeypatch):
    """Methods by name from functions, as if they were in a module."""

    def made(**functions):
        module = types.ModuleType("planner_test_methods")
        monkeypatch.setitem(sys.modules, module.__name__, module)
        found = {"xla": METHODS["xla"]}
        for name, function in functions.items():
            setattr(module, name, function)
            found[name.replace("_", "-")] = Method(f"{module.__name__}:{name}", "a stub")
        return found

    return made


def ran(methods, seeds=(0,), programs=None, **options):
    options = {"decodes": 7, "time_limit_s": 10.0, "on_progress": lambda _: None, **options}
    return list(run_programs(programs or [unet_rows()], methods, seeds=seeds, **options))


def test_mappings_are_replayed_and_lies_crashes_and_illegal_ones_do_not_count(methods):
    def honest(problem, *, decodes, seconds, seed):
        return Mapped((), problem.all_slow, 3)

    def liar(problem, *, decodes, seconds, seed):
        return Mapped((), problem.all_slow - 1, 3)

    def outside(problem, *, decodes, seconds, seed):
        return Mapped((Residency(0, 0, 0, 0, 1, problem.capacity),), problem.all_slow, 3)

    def crash(problem, *, decodes, seconds, seed):
        raise RuntimeError("no")

    (found,) = ran(methods(honest=honest, liar=liar, outside=outside, crash=crash))
    runs = {run.method: run for run in found.runs}
    assert runs["honest"].latency == found.all_slow and runs["honest"].decodes == 3
    assert runs["liar"].latency is None and "are claimed, the replay takes" in runs["liar"].note
    assert runs["outside"].latency is None and "illegal mapping" in runs["outside"].note
    assert runs["crash"].latency is None and "RuntimeError: no" in runs["crash"].note
    assert runs["xla"].latency is not None and runs["xla"].budget is Budget.NONE
    assert all(run.budget is Budget.DECODES for name, run in runs.items() if name != "xla")


def test_all_methods_give_legal_mappings_within_their_decodes():
    found, missing = chosen_methods(None, exact=False)
    assert missing == []
    (result,) = run_programs(
        chosen_programs("quick", ["unet"]),
        found,
        decodes=30,
        seeds=(0,),
        time_limit_s=30.0,
        on_progress=lambda _: None,
    )
    assert [run.note for run in result.runs if run.note] == []
    counted = {run.method: run for run in result.runs if run.budget is not TIME}
    assert set(counted) == set(METHODS) - {"cp"}
    # Whole decodes, and what was begun is ended.
    assert all(run.decodes <= 36 for run in counted.values())
    assert counted["program-order greedy"].decodes == 1 < counted["program-order"].decodes
    assert counted["program-order"].latency <= counted["program-order greedy"].latency
    # A part that is left out changes something.
    parts = [name for name in counted if name.startswith("malloc-game ")]
    assert len({counted[name].latency for name in parts}) > 1


def test_equal_time_is_what_the_timekeeper_took_for_its_decodes(methods, monkeypatch):
    clock, calls = [0.0], []
    monkeypatch.setattr("planner.bench.latency_runs.cpu_seconds", lambda: clock[0])

    def taking(name, seconds_each):
        def method(problem, *, decodes, seconds, seed):
            calls.append((name, decodes, seed))
            clock[0] += decodes * seconds_each
            return Mapped((), problem.all_slow, decodes)

        return method

    functions = {"malloc_game": taking("game", 3.0), "fast": taking("fast", 1.0)}
    (found,) = ran(methods(**functions, slow=taking("slow", 9.0)), seeds=(4, 5), decodes=6)
    assert calls[:3] == [("game", 1, 0), ("fast", 1, 0), ("slow", 1, 0)]  # loads what they need
    of_seed = [call for call in calls if call[2] == 4]
    assert of_seed == [
        ("game", 6, 4),
        ("fast", 6, 4),
        ("slow", 6, 4),
        ("fast", 18, 4),
        ("slow", 2, 4),
    ]
    timed = {run.method: run.cpu_s for run in found.runs if run.budget is Budget.TIME}
    assert timed == {"malloc-game": 18.0, "fast": 18.0, "slow": 18.0}
    assert len(found.runs) == 1 + 2 * 6


def test_methods_that_are_not_there_are_missing_and_unknown_ones_refused(monkeypatch):
    nowhere = Method("planner.bench.nowhere:nothing", "not there")
    nameless = Method("planner.bench.latency_solvers:nothing", "not there")
    known = {**METHODS, "nowhere": nowhere, "nameless": nameless}
    monkeypatch.setattr("planner.bench.latency_methods.METHODS", known)
    found, missing = chosen_methods(["nowhere", "static-8", "nameless"], exact=False)
    assert (list(found), missing) == (["xla", "static-8"], ["nowhere", "nameless"])
    for names in (["belady"], []):
        with pytest.raises(UsageError, match=r"There are: all-slow, xla"):
            chosen_methods(names, exact=False)
    found, missing = chosen_methods(None, exact=False)
    assert "cp" not in [*found, *missing]


def test_the_command_runs_end_to_end(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    (data / "given.onnx").write_bytes((EXAMPLES / "mobilenet_v2.onnx").read_bytes())
    arguments = ["bench", "latency", "--network", "unet,resnet8", "--data", str(data)]
    arguments += ["--solver", "all-slow,static-8", "-o", str(out)]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    for text in ("unet-b1", "resnet8-b", "given npu-edge-4m 4MiB", "Every part's worth", "missing"):
        assert text in printed.out
    assert sorted(path.name for path in out.iterdir()) == [
        f"latency.{suffix}" for suffix in ("html", "json", "png", "svg")
    ]
    document = json.loads((out / "latency.json").read_text())
    assert document["format"] == "planner.bench-latency"
    assert {summary["method"] for summary in document["summaries"]} == {
        *("all-slow", "xla", "static-8"),
    }
    assert len(document["results"]) >= 4 and document["notes"] == []
    assert all(run["legal"] for found in document["results"] for run in found["runs"])
    page = (out / "latency.html").read_text()
    assert "data:image/svg+xml" in page and "Every part" in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["latency", "--parameters"], "--parameters is an option of plan bench cosma"),
        (["latency", "--programs", "all"], "There are: quick, full, small, large"),
        (["latency", "--solver", "exact"], "no method 'exact'"),
        (["latency", "--dim", "joined/N=8"], "goes with --data"),
        (["sharing", "--decodes", "5"], "--decodes is an option of plan bench latency"),
        (["cosma", "--seeds", "5"], "--seeds is an option of plan bench latency"),
        (["latency", "--decodes", "0"], "not a positive whole number"),
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments, message, capsys):
    try:
        code = main(["bench", *arguments])
    except SystemExit as exit_of_the_parser:
        code = exit_of_the_parser.code
    assert code == 2
    assert message in capsys.readouterr().err


def test_same_results_are_drawn_as_the_same_bytes():
    pytest.importorskip("matplotlib")
    first, second = draw_latency_profiles(TWO), draw_latency_profiles(TWO)
    assert first == second and first["svg"].startswith(b"<?xml")


def test_ctrl_c_shows_the_programs_so_far(methods, monkeypatch, capsys):
    def stopped(problem, *, decodes, seconds, seed):
        calls.append(decodes)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        return Mapped((), problem.all_slow, decodes)

    calls: list[int] = []
    found = methods(stopped=stopped)
    monkeypatch.setattr("planner.bench.latency_methods.METHODS", found)
    programs = [unet_rows("first"), unet_rows("second")]
    monkeypatch.setitem(SETS, "quick", lambda: programs)
    monkeypatch.setenv("PLANNER_DEBUG", "1")
    assert main(["bench", "latency", "-q"]) == 130
    printed = capsys.readouterr()
    assert "first" in printed.out and "second" not in printed.out
    assert printed.err == "plan: interrupted; these are the results until then\n"
