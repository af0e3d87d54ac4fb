"""`plan calibrate` end to end on tiny models, and what it refuses. Times are never asserted."""

from __future__ import annotations

import json
import sys

import pytest
from onnx import parser, save

from frontends.onnx.executable import load_executable
from planner.calibration import calibrate as module
from planner.calibration.measure import Measurer
from planner.cli.main import main
from planner.target_file import read_target

FIRST = """(float[1, 3, 8, 8] x, float[4, 3, 3, 3] w) => (z) {
    y = Conv<pads = [1, 1, 1, 1]>(x, w)
    z = Relu(y)
}"""
SECOND = """(float[1, 4, 8, 8] x, int64[2] rows) => (z) {
    a = Relu(x)
    b = Relu(a)
    c = Gather<axis = 2>(b, rows)
    z = Sigmoid(c)
}"""
# A body that reads from outside of it, and an operand that random integers would break.
THIRD = """(float[4, 2] x, bool[1] keep) => (z) {
    flag = Squeeze(keep)
    i = ArgMax<axis = 0, keepdims = 0>(x)
    p = Gather<axis = 0>(x, i)
    z = If (flag) <
        then_branch = same () => (t) { t = Neg(p) },
        else_branch = other () => (e) { e = Relu(p) }
    >
}"""
UNKNOWN = "(float[4] x) => (float[4] y) { y = com.nobody.Secret(x) }"


def model(body: str):
    text = f'<ir_version: 8, opset_import: ["" : 17, "com.nobody" : 1]> g {body}'
    return parser.parse_model(text)


@pytest.fixture
def paths(tmp_path):
    found = {}
    for name, body in (("first", FIRST), ("second", SECOND), ("unknown", UNKNOWN)):
        found[name] = tmp_path / f"{name}.onnx"
        save(model(body), found[name])
    return found


def test_target_is_written_and_can_be_planned_on(paths, tmp_path, capsys):
    output = tmp_path / "mycpu.toml"
    arguments = ["calibrate", str(paths["first"]), str(paths["second"]), "-o", str(output)]
    assert main([*arguments, "--repeat", "2"]) == 0
    captured = capsys.readouterr()
    assert "rank correlation" in captured.out
    assert "measuring first.onnx" in captured.err
    target = read_target(output)
    assert target.name == "mycpu"
    assert target.compute is not None
    assert target.compute.measured is not None
    assert len(target.compute.measured.seconds) == 4  # all three Relu are one
    assert all(seconds >= 0 for seconds in target.compute.measured.seconds.values())
    planned = [str(paths["first"]), "-t", str(output), "--objective", "latency", "--json"]
    assert main(planned) == 0
    assert json.loads(capsys.readouterr().out)["latency_s"] >= 0


def test_json_has_the_errors_of_each_model(paths, tmp_path, capsys):
    arguments = ["calibrate", "--json", "-q", "--repeat", "1", "-o", str(tmp_path / "t.toml")]
    assert main([*arguments, str(paths["first"]), str(paths["second"])]) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert captured.err == ""
    assert [entry["name"] for entry in document["models"]] == ["first.onnx", "second.onnx"]
    for entry in document["models"]:
        expected = (entry["predicted_s"] - entry["measured_s"]) / entry["measured_s"]
        assert entry["error"] == pytest.approx(expected)
    assert document["models"][0]["operators"] == {"measured": 1, "fitted": 0, "roofline": 1}
    assert document["median_error"] >= 0


def test_one_model_is_measured_and_predicts_nothing(paths, tmp_path, capsys):
    output = tmp_path / "one.toml"
    assert main(["calibrate", str(paths["first"]), "-o", str(output), "--repeat", "1"]) == 0
    assert "leaving one model out takes two models" in capsys.readouterr().out
    assert output.exists()


def test_a_refused_model_is_left_out_loudly(paths, tmp_path, capsys):
    output = tmp_path / "some.toml"
    arguments = ["calibrate", str(paths["unknown"]), str(paths["first"]), "-o", str(output)]
    assert main([*arguments, "--repeat", "1"]) == 0
    assert "unknown.onnx is left out: ONNX Runtime refuses it" in capsys.readouterr().err
    assert output.exists()


def test_nothing_is_written_where_no_model_can_be_measured(paths, tmp_path, capsys):
    output = tmp_path / "none.toml"
    assert main(["calibrate", str(paths["unknown"]), "-o", str(output)]) == 5
    assert "unknown.onnx: ONNX Runtime refuses it" in capsys.readouterr().err
    assert not output.exists()


def test_a_missing_model_is_noticed_before_anything_is_measured(paths, tmp_path, capsys):
    output = tmp_path / "t.toml"
    arguments = ["calibrate", str(paths["first"]), str(tmp_path / "absent.onnx")]
    assert main([*arguments, "-o", str(output)]) == 6
    captured = capsys.readouterr()
    assert "absent.onnx: no such model file. Nothing was measured." in captured.err
    assert "measuring" not in captured.err
    assert not output.exists()


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("target.json", 2, "a target file's name ends in .toml"),
        ("no/such/folder/t.toml", 6, "Nothing was measured"),
        ("folder.toml", 6, "not a regular file"),
    ],
)
def test_an_unwritable_output_is_noticed_before(name, code, message, paths, tmp_path, capsys):
    (tmp_path / "folder.toml").mkdir()
    assert main(["calibrate", str(paths["first"]), "-o", str(tmp_path / name)]) == code
    captured = capsys.readouterr()
    assert message in captured.err
    assert "measuring" not in captured.err


def test_repeat_must_be_positive(paths, tmp_path, capsys):
    output = str(tmp_path / "t.toml")
    assert main(["calibrate", str(paths["first"]), "-o", output, "--repeat", "0"]) == 2
    assert "--repeat 0: must be at least 1" in capsys.readouterr().err


def test_without_onnx_runtime_the_message_says_how_to_install_it(
    paths, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    output = tmp_path / "t.toml"
    assert main(["calibrate", str(paths["first"]), "-o", str(output)]) == 2
    assert "pip install 'tensor-planner[run]'" in capsys.readouterr().err
    assert not output.exists()


def test_an_interruption_leaves_the_old_file(paths, tmp_path, capsys, monkeypatch):
    output = tmp_path / "t.toml"
    output.write_text("old")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module.Measurer, "measure", interrupt)
    assert main(["calibrate", str(paths["first"]), "-o", str(output)]) == 130
    assert "nothing was written" in capsys.readouterr().err
    assert output.read_text() == "old"
    assert list(tmp_path.glob(".t.toml*")) == []


def test_equal_operators_are_timed_once_over_all_models(monkeypatch):
    timed = []
    original = Measurer._operator

    def counted(self, runnable, operator):
        timed.append(runnable.graph.signatures[operator])
        return original(self, runnable, operator)

    monkeypatch.setattr(Measurer, "_operator", counted)
    measurer = Measurer(seed=0, repeat=1)
    for name in ("a", "b"):
        measured = measurer.measure(name, load_executable(model(SECOND)), lambda *_: None)
    assert sorted(timed) == [
        "Gather float32 1x4x8x8 2:int64 -> 1x4x2x8",
        "Relu float32 1x4x8x8 -> 1x4x8x8",
        "Sigmoid float32 1x4x2x8 -> 1x4x2x8",
    ]
    assert measured.operators["Relu float32 1x4x8x8 -> 1x4x8x8"] == 2


def test_bodies_and_their_captured_values_are_timed():
    measured = Measurer(seed=0, repeat=1).measure(
        "m", load_executable(model(THIRD)), lambda *_: None
    )
    assert sum(measured.operators.values()) == 3  # Squeeze is a view
    assert {sample.kind for sample in measured.samples.values()} == {"ArgMax", "Gather", "If"}
    assert all(sample.seconds >= 0 for sample in measured.samples.values())
