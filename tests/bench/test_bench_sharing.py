"""`plan bench sharing`: what each kind of sharing saves, as table, JSON and chart."""

from __future__ import annotations

import json

import onnx
import pytest
from onnx import parser

from planner.bench.sharing_cases import (
    SETTINGS,
    SharingCase,
    SharingRun,
    models_in,
    run_sharing,
    saved_bytes,
    saved_share,
    zoo_models,
)
from planner.bench.sharing_results import defects, render_table
from planner.cli.main import main
from planner.errors import BadFileError, UsageError

# With N = 8: a and b are 256 bytes each, and their join as much again.
JOINED = """<ir_version: 8, opset_import: ["" : 17]> g (float[1, N] x) => (y) {
    a = Expand(x, rows) s = ReduceMax<axes = [0], keepdims = 1>(a) b = Expand(s, rows)
    joined = Concat<axis = 0>(a, b) y = ReduceMax<axes = [0], keepdims = 1>(joined) }"""


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    model = parser.parse_model(JOINED)
    rows = onnx.helper.make_tensor("rows", onnx.TensorProto.INT64, [2], [8, 8])
    model.graph.initializer.append(rows)
    onnx.save(model, folder / "joined.onnx")
    (folder / "broken.onnx").write_bytes(b"no model")
    return folder


def cases_of(models):
    notes: list[str] = []
    quiet = {"on_unplanned": notes.append, "on_progress": lambda _: None}
    return list(run_sharing(models, time_limit_s=5.0, seed=0, **quiet)), notes


def test_each_kind_of_sharing_is_compared_with_views_only(data):
    (case,), notes = cases_of(models_in(data, {"joined": {"N": 8}}))
    assert (case.network, case.operators) == ("joined", 5)
    assert [run.setting for run in case.runs] == list(SETTINGS)
    assert all(run.is_checked and run.status == "optimal" for run in case.runs)
    views, in_place, zero_copy, both = case.runs
    assert (views.candidates, in_place.candidates) == (0, 0)
    assert (zero_copy.shared, zero_copy.candidates, zero_copy.bytes_not_copied) == (1, 1, 512)
    assert (views.peak_bytes, in_place.peak_bytes) == (1024, 1024)
    assert 512 < zero_copy.peak_bytes == both.peak_bytes < 600
    assert saved_bytes(case, both) == views.arena_bytes - both.arena_bytes > 400
    assert saved_share(case, views) == 0.0
    assert len(notes) == 1 and notes[0].startswith("broken is left out: ")


def test_the_zoo_and_what_is_named_of_it():
    assert [model.name for model in zoo_models(["unet", "resnet8", "unet"])] == ["unet", "resnet8"]
    assert len(zoo_models(None)) > 20
    for names in (["unet9"], []):
        with pytest.raises(UsageError, match=r"There are: .*unet"):
            zoo_models(names)


def test_directories_and_dimensions_that_do_not_exist_are_refused(tmp_path, data):
    with pytest.raises(BadFileError, match="does not exist"):
        models_in(tmp_path / "missing", {})
    with pytest.raises(BadFileError, match="no model"):
        models_in(tmp_path, {})
    with pytest.raises(UsageError, match=r"there is no other\.onnx"):
        models_in(data, {"other": {"N": 1}})


def test_the_command_writes_json_and_chart(data, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    out = tmp_path / "out"
    arguments = ["bench", "sharing", "--network", "resnet8", "--data", str(data)]
    arguments += ["--dim", "joined/N=8", "--time-limit", "5", "-o", str(out)]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert "zero copy: arena smaller on 1 of 2 networks" in printed.out
    assert "broken is left out" in printed.err
    assert sorted(path.name for path in out.iterdir()) == [
        f"sharing.{suffix}" for suffix in ("json", "png", "svg")
    ]
    document = json.loads((out / "sharing.json").read_text())
    assert document["format"] == "planner.bench-sharing"
    assert [case["network"] for case in document["cases"]] == ["resnet8", "joined"]
    plans = document["cases"][1]["plans"]
    assert [(plan["in_place"], plan["zero_copy"]) for plan in plans] == [*SETTINGS.values()]
    assert all(plan["checked"] for plan in plans)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--solver", "exact"],
            "--solver is an option of plan bench offsets, cosma, latency, pipeline and training",
        ),
        (["--parameters"], "--parameters is an option of plan bench cosma"),
        (["--dim", "joined/N=8"], "goes with --data"),
        (["--dim", "N=8", "--data", "."], "--dim MODEL/N=8"),
    ],
)
def test_options_of_others_are_refused(arguments, message, capsys):
    assert main(["bench", "sharing", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_an_illegal_plan_and_zero_copy_that_costs_are_told():
    run = SharingRun("views only", 100, 100, "optimal", 0, 0, 0, 0.1, True)
    case = SharingCase(
        "net",
        3,
        (
            run,
            run._replace(setting="in place", is_checked=False),
            run._replace(setting="zero copy", peak_bytes=101),
            run._replace(setting="both"),
        ),
    )
    assert [note.split(". ")[0] for note in defects([case])] == [
        "net, in place: the plan is illegal",
        "net: zero copy has a peak of 101 bytes, views only of 100",
    ]
    assert "ILLEGAL" in render_table([case])
