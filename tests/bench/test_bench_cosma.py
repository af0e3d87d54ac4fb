"""`plan bench cosma`: budgets, baselines, means, the table, the page, Ctrl-C."""

from __future__ import annotations

import json
import math
import re
import signal
import sys
import time

import pytest

from planner.bench import cosma_networks
from planner.bench.cosma_baselines import BASELINES, BaselineRun
from planner.bench.cosma_cases import Case, PlanRun, chosen_contenders, run_cases
from planner.bench.cosma_chart import bars, draw_bars
from planner.bench.cosma_networks import (
    Capacities,
    Group,
    Network,
    input_text,
    networks_in,
    published_networks,
)
from planner.bench.cosma_page import render_page
from planner.bench.cosma_results import defects, means
from planner.bench.cosma_table import percent, render_table
from planner.cli.main import main
from planner.errors import BadFileError, UsageError
from planner.footprint import largest_footprint
from planner.problem import Status
from planner.registry import CONTENDERS
from solvers.protocol import Availability

# A chain in which tensor 1 waits while operators 1 and 2 need all the room: M_R 11, M_P 15.
CHAIN = "5 6  1 4 4 7 1 1  1 0 1 1  1 1 1 2  1 2 1 3  1 3 1 4  2 1 4 1 5"
# Nothing ever waits: M_R = M_P = 8.
PLAIN = "2 3  4 4 4  1 0 1 1  1 1 1 2"


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "chain.txt").write_text(CHAIN)
    (folder / "plain.txt").write_text(PLAIN)
    return folder


def cases_of(networks, contenders=(), **options):
    settings = {"parameters": False, "time_limit_s": 5.0, "seed": 0, **options}
    return list(run_cases(networks, contenders, on_progress=lambda _: None, **settings))


def test_each_network_runs_once_at_each_different_budget(data):
    cases = cases_of(networks_in(data, None, print))
    assert [(c.network, c.budgets, c.capacity_bytes) for c in cases] == [
        ("chain", ("M_R",), 11),
        ("chain", ("M_H",), 13),
        ("chain", ("M_P",), 15),
        ("plain", ("M_R", "M_H", "M_P"), 8),
    ]
    assert all(case.is_peak_proven for case in cases)
    assert [run.name for run in cases[0].baselines] == list(BASELINES)


def test_ours_is_checked_optimal_and_within_the_budget(data):
    for case in cases_of(networks_in(data, None, print)):
        ours = case.ours
        assert ours.crashes == ()
        assert (ours.status, ours.is_checked) == ("optimal", True)
        assert ours.arena_bytes is not None and ours.arena_bytes <= case.capacity_bytes
        assert ours.traffic_bytes == (8 if case.capacity_bytes in (11, 13) else 0)
        assert (ours.gap, ours.bound_bytes) == (0.0, ours.traffic_bytes)
        moved = [run.moving_bytes for run in case.baselines if run.moving_bytes is not None]
        assert len(moved) == 4 and min(moved) >= (ours.traffic_bytes or 0)


def test_a_contender_is_run_by_itself_beside_the_race(data):
    (case,) = cases_of(networks_in(data, ["plain"], print), ["belady"])
    assert [run.name for run in case.plans] == ["ours", "belady"]
    first, *_ = cases_of(networks_in(data, ["chain"], print), ["belady"])
    assert first.plans[1].traffic_bytes == 8 and first.plans[1].is_checked


def test_given_budgets_are_taken_and_one_below_the_largest_operator_has_no_plan(data):
    (data / "budgets.txt").write_text("graph operators M_R M_P M_H\nchain 5 10 20 12\n")
    networks = networks_in(data, None, print)
    assert [(n.name, n.capacities) for n in networks] == [("chain", Capacities(10, 12, 20))]
    cases = cases_of(networks)
    assert [case.capacity_bytes for case in cases] == [10, 12, 20]
    assert cases[0].ours.status == "failed" and cases[0].ours.traffic_bytes is None
    assert "op2" in cases[0].ours.note and "11 bytes" in cases[0].ours.note
    assert {run.moving_bytes for run in cases[0].baselines} == {None}
    assert "fails" in render_table(cases) and "op2" in render_table(cases)


@pytest.mark.parametrize("line", ["chain 5 10 20", "chain 5 x 20 12", "chain 5 -1 20 12"])
def test_malformed_budgets_are_refused_by_line(data, line):
    (data / "budgets.txt").write_text(f"graph operators M_R M_P M_H\n\n{line}\n")
    with pytest.raises(BadFileError, match=r"budgets\.txt:3: expected"):
        networks_in(data, None, print)


def test_what_cannot_be_read_is_left_out_with_the_reason(data):
    (data / "bad.txt").write_text("1 2 3")
    (data / "empty.txt").write_text("0 0")
    notes = []
    assert [n.name for n in networks_in(data, None, notes.append)] == ["chain", "plain"]
    assert "bad.txt" in notes[0] and "no operators" in notes[1]
    with pytest.raises(BadFileError, match="none of its graphs can be read"):
        networks_in(data, ["bad"], notes.append)


def test_a_directory_without_graphs_is_refused(tmp_path):
    with pytest.raises(BadFileError, match="no bare graph"):
        networks_in(tmp_path, None, print)
    with pytest.raises(BadFileError, match="does not exist"):
        networks_in(tmp_path / "missing", None, print)


def test_the_papers_fourteen_networks_are_in_the_zoo_and_count_once():
    from frontends import zoo

    networks = published_networks(None)
    groups = [network.group for network in networks]
    assert (groups.count(Group.HUMAN), groups.count(Group.SEARCH)) == (10, 4)
    assert groups.count(Group.LARGE) == len(groups) - 14
    for network in networks:
        assert (
            dict(network.options).items() <= {**zoo.options(network.name), "vocabulary": 0}.items()
        )


def test_the_transformer_has_no_classifier_to_dominate_it():
    (transformer,) = published_networks(["transformer"])
    graph = transformer.load()
    assert input_text(transformer, graph) == "int8 1x512x512, int8 1x512x512, vocabulary=0"
    assert largest_footprint(graph, in_place=False).size_bytes == 4_194_304


def test_names_are_checked():
    assert [n.name for n in published_networks(["s3d", "darts", "s3d"])] == ["s3d", "darts"]
    with pytest.raises(UsageError, match=r"no network 'vgg'\. There are: resnet50"):
        published_networks(["vgg"])
    assert chosen_contenders(None) == []
    with pytest.raises(UsageError, match=r"no contender 'simplex'\. There are: greedy"):
        chosen_contenders(["simplex"])


def case_of(network, ours, baselines, *, group=Group.SEARCH, bound=0, budgets=("M_R",)):
    """A case whose baselines are (strict, moving) pairs."""
    runs = [BaselineRun(n, *pair) for n, pair in zip(BASELINES, baselines, strict=True)]
    plan = PlanRun("ours", "feasible", ours, bound, None if ours is None else 9, 0.5, True)
    sizes = Capacities(10, 11, 12)
    return Case(
        network,
        network,
        group.value,
        "int8 1",
        3,
        budgets,
        10,
        sizes,
        True,
        0.0,
        tuple(runs),
        (plan,),
    )


def test_means_leave_out_what_is_zero_and_what_failed():
    cases = [
        case_of("a", 20, [(100, 100), (40, 40), (None, 50), (None, None)]),
        case_of("b", 0, [(0, 0), (10, 10), (None, 10), (0, 0)]),
        case_of("c", None, [(5, 5), (0, 0), (5, 5), (None, 5)]),
    ]
    strict, moving = means(cases)
    assert (strict.moving, strict.cells, strict.zero, strict.failed) == (False, 3, 3, 4)
    assert strict.reduction == pytest.approx((0.8 + 0.5 + 1.0) / 3)
    assert (moving.cells, moving.zero, moving.failed, moving.without_plan) == (5, 3, 1, 3)
    assert moving.reduction == pytest.approx((0.8 + 0.5 + 0.6 + 1.0 + 1.0) / 5)
    assert strict.without_plan == 2


def test_means_are_of_one_group_at_one_budget():
    pairs = [(10, 10)] * 4
    cases = [
        case_of("a", 5, pairs, group=Group.HUMAN, budgets=("M_R", "M_H", "M_P")),
        case_of("b", 0, pairs),
    ]
    found = {(m.group, m.budget): m.reduction for m in means(cases) if not m.moving}
    human = Group.HUMAN.value
    assert found == {
        (human, "M_R"): 0.5,
        (human, "M_H"): 0.5,
        (human, "M_P"): 0.5,
        (Group.SEARCH.value, "M_R"): 1.0,
    }


def test_a_better_baseline_and_a_refuted_bound_are_reported():
    told = defects([case_of("a", 20, [(20, 20), (19, 19), (None, 30), (None, None)], bound=20)])
    assert told == [
        "a at M_R: default, greedy moves 19 bytes, ours 20. Please report it.",
        "a at M_R: ours claims that no plan moves less than 20 bytes, default, greedy moves 19. "
        "Please report it.",
    ]
    assert defects([case_of("a", 20, [(20, 20)] * 4, bound=20)]) == []


def test_a_solver_that_crashed_in_our_race_is_reported(data, monkeypatch):
    from solvers.contenders.exact import Exact

    def crash(*arguments, **options):
        raise ImportError("its kernel is gone")

    monkeypatch.setattr(Exact, "run", crash)
    told = defects(cases_of(networks_in(data, ["chain"], print)))
    assert "chain at M_R: exact failed: ImportError: its kernel is gone. Please report it." in told


def test_a_gap_above_a_bound_of_zero_is_not_a_number():
    assert PlanRun("ours", "feasible", 5, 0).gap == math.inf
    assert PlanRun("ours", "feasible", 6, 4).gap == 0.5
    assert PlanRun("ours", "unknown", None, 4).gap is None


def test_only_all_is_a_hundred_per_cent():
    assert [percent(x) for x in (1.0, 0.999, 0.5, -0.2)] == ["100 %", "99 %", "50 %", "-20 %"]


def test_the_table_marks_what_moves_instead_of_failing():
    line = render_table([case_of("a", 20, [(40, 40), (None, 40), (None, None), (0, 0)])])
    row = line.splitlines()[1].split()
    assert row[:4] == ["a", "3", "M_R", "0.01"]
    assert row[4:13] == ["40", "50", "%", "40*", "50", "%", "fails", "0", "20"]
    assert "legal, within B" in line


def test_bars_show_both_readings_and_all_methods():
    shown = bars(case_of("a", 20, [(40, 40), (None, 40), (None, None), (0, 0)]))
    assert [(bar.traffic_bytes, bar.is_moving) for bar in shown] == [
        (40, False),
        (40, True),
        (None, True),
        (0, False),
        (20, False),
    ]


@pytest.fixture
def matplotlib():
    return pytest.importorskip("matplotlib", reason="matplotlib is not installed: nothing drawn")


def test_hostile_names_and_empty_results_can_be_drawn(matplotlib):
    case = case_of("$\\frac{<b>&", None, [(None, None)] * 4)
    pictures = draw_bars([case, case_of("b", 0, [(0, 0)] * 4)])
    assert pictures["png"].startswith(b"\x89PNG") and b"<svg" in pictures["svg"]
    assert draw_bars([case, case_of("b", 0, [(0, 0)] * 4)]) == pictures
    page = render_page([case], pictures["svg"], parameters=False, time_limit_s=5, notes=["<i>"])
    assert "<b>" not in page and "<i>" not in page and "&lt;i&gt;" in page


def test_the_command_prints_a_table_and_writes_json_page_and_chart(
    matplotlib, data, tmp_path, capsys, monkeypatch
):
    networks = (("resnet8", "ResNet-8", Group.HUMAN, {"image": 64}),)
    monkeypatch.setattr(cosma_networks, "_PUBLISHED", networks)
    out = tmp_path / "out"
    assert main(["bench", "cosma", "-o", str(out), "--time-limit", "5"]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[1].startswith("ResNet-8")
    assert "int8 1x3x64x64, image=64" in lines[1] and "legal, within B" in lines[1]
    assert "our reading of an underspecified text" in captured.out
    assert re.search(r"human-designed +M_R +moving operands .* 84 %", captured.out)
    assert "ResNet-8: smallest peak\n" in captured.err
    suffixes = ("html", "json", "png", "svg")
    assert sorted(p.name for p in out.iterdir()) == [f"cosma.{s}" for s in suffixes]
    page = (out / "cosma.html").read_text()
    assert "ResNet-8" in page and "data:image/svg+xml" in page
    assert "underspecified" in page and "<script" not in page
    document = json.loads((out / "cosma.json").read_text())
    assert document["format"] == "planner.bench-cosma" and not document["interrupted"]
    assert document["cases"][0]["plans"][0]["within_budget"]
    assert document["cases"][0]["plans"][0]["checked"]


def test_json_is_alone_on_stdout_and_lists_every_case(data, capsys):
    arguments = ["bench", "cosma", "--data", str(data), "--json", "-q", "--seed", "3"]
    assert main([*arguments, "--network", "chain", "--solver", "greedy", "--time-limit", "5"]) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert captured.err == "" and document["seed"] == 3
    first = document["cases"][0]
    assert (first["m_r_bytes"], first["m_h_bytes"], first["m_p_bytes"]) == (11, 13, 15)
    assert [p["name"] for p in first["plans"]] == ["ours", "greedy"]
    assert {b["name"] for b in first["baselines"]} == set(BASELINES)
    assert "underspecified" in document["baselines"]


def test_parameters_pass_through_the_scratchpad(monkeypatch):
    monkeypatch.setattr(cosma_networks, "_PUBLISHED", (("resnet8", "ResNet-8", Group.HUMAN, {}),))
    least, with_parameters = (
        cases_of(published_networks(None), parameters=parameters)[0] for parameters in (False, True)
    )
    assert with_parameters.capacities.peak > least.capacities.peak
    assert with_parameters.input == least.input, "parameters are no inputs of the network"


def test_without_matplotlib_only_the_chart_is_missing(data, tmp_path, capsys, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    out = tmp_path / "out"
    arguments = ["--data", str(data), "--network", "plain", "-o", str(out), "--time-limit", "5"]
    assert main(["bench", "cosma", *arguments]) == 0
    assert "note: no chart is drawn: matplotlib is not installed" in capsys.readouterr().err
    assert sorted(path.name for path in out.iterdir()) == ["cosma.html", "cosma.json"]
    assert "plain" in (out / "cosma.html").read_text()


class _Interrupting:
    """A contender, and its entry, that presses Ctrl-C on one graph and waits for the end."""

    by_default = True

    def __init__(self, model: str) -> None:
        self.model = model

    def load(self):
        return self

    def available(self):
        return Availability(True)

    def applies(self, problem, board):
        return "" if self.model in problem.graph.model.name else "another graph"

    def run(self, problem, board, *, deadline, seed):
        signal.raise_signal(signal.SIGINT)
        while not deadline.expired():
            time.sleep(0.01)
        return ""


@pytest.fixture
def press_ctrl_c(monkeypatch):
    def press(model):
        # Whoever proves something would end the race before.
        for name in [name for name in CONTENDERS if name != "greedy"]:
            monkeypatch.delitem(CONTENDERS, name)
        monkeypatch.setitem(CONTENDERS, "interrupting", _Interrupting(model))

    return press


def test_ctrl_c_shows_the_rows_so_far(press_ctrl_c, data, tmp_path, capsys):
    (data / "plain.txt").rename(data / "a.txt")
    press_ctrl_c("chain")
    out = tmp_path / "out"
    arguments = ["--data", str(data), "--time-limit", "60", "-o", str(out), "-q"]
    assert main(["bench", "cosma", *arguments]) == 130
    captured = capsys.readouterr()
    rows = [line.split()[0] for line in captured.out.splitlines()[1:3]]
    assert rows == ["a", "chain"]
    assert captured.err == "plan: interrupted; these are the results until then\n"
    document = json.loads((out / "cosma.json").read_text())
    assert document["interrupted"] and len(document["cases"]) == 2
    last = document["cases"][-1]["plans"][0]
    assert last["checked"] and last["note"].endswith("interrupted")
    assert last["status"] in {Status.FEASIBLE.value, Status.OPTIMAL.value}


def test_ctrl_c_before_the_first_row_writes_nothing(press_ctrl_c, data, tmp_path, capsys):
    press_ctrl_c("warm-up")
    out = tmp_path / "out"
    out.mkdir()
    (out / "cosma.json").write_text("of an earlier run")
    assert main(["bench", "cosma", "--data", str(data), "-q", "-o", str(out)]) == 130
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "plan: interrupted before the first result\n")
    assert (out / "cosma.json").read_text() == "of an earlier run"


def test_ctrl_c_while_drawing_keeps_the_results(data, tmp_path, capsys, monkeypatch):
    def interrupted(cases):
        signal.raise_signal(signal.SIGINT)
        return {"svg": b"<svg/>"}

    monkeypatch.setattr("planner.bench.cosma_chart.draw_bars", interrupted)
    out = tmp_path / "out"
    arguments = ["--data", str(data), "--network", "plain", "--time-limit", "5"]
    assert main(["bench", "cosma", *arguments, "-o", str(out)]) == 130
    captured = capsys.readouterr()
    assert "plain" in captured.out
    assert captured.err.endswith("plan: interrupted after the last result: all of them are there\n")
    assert sorted(path.name for path in out.iterdir()) == ["cosma.html", "cosma.json", "cosma.svg"]
    document = json.loads((out / "cosma.json").read_text())
    assert document["interrupted"] is False, "every row is there, and the picture too"
    assert len({case["network"] for case in document["cases"]}) == 1


def test_results_are_printed_even_if_they_cannot_be_written(data, tmp_path, capsys):
    (tmp_path / "cosma.json").mkdir()
    arguments = ["--data", str(data), "--network", "plain", "--time-limit", "5"]
    assert main(["bench", "cosma", *arguments, "-o", str(tmp_path), "-q"]) == 6
    captured = capsys.readouterr()
    assert "plain" in captured.out and "is a directory" in captured.err


def test_graphs_too_large_to_count_are_left_out(data):
    (data / "vast.txt").write_text(f"1 2  {2**52} 4  1 0 1 1")
    notes = []
    assert "vast" not in [network.name for network in networks_in(data, None, notes.append)]
    assert "more than 4,503,599,627,370,496 bytes" in notes[0]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["cosma", "--data", "missing"], 6, "missing does not exist"),
        (["cosma", "--network", "vgg"], 2, "no network 'vgg'"),
        (["cosma", "--network", ","], 2, "no network is named"),
        (["cosma", "--solver", ","], 2, "no contender is named"),
        (["offsets", "--parameters"], 2, "--parameters is an option of plan bench cosma"),
        (["offsets", "--seed", "0"], 2, "--seed is an option of plan bench cosma"),
        (["offsets", "--network", "darts"], 2, "--network is an option of plan bench cosma"),
        (["cosma", "--seed", str(2**60), "--network", "darts"], 2, "--seed"),
    ],
)
def test_wrong_arguments_are_named(arguments, code, message, capsys):
    assert main(["bench", *arguments]) == code
    captured = capsys.readouterr()
    assert captured.out == "" and message in captured.err


def test_a_page_is_loaded_from_one_file(data):
    cases = cases_of(
        [Network("plain", "Plain", Group.HUMAN, networks_in(data, ["plain"], print)[0].load)]
    )
    page = render_page(cases, b"<svg/>", parameters=True, time_limit_s=5, notes=[])
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []
    assert "default-src 'none'" in page and "activations and parameters" in page
