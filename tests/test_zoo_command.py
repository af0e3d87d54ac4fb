"""Building by name, the command line, and the models shipped as examples."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from frontends import zoo
from frontends.zoo.__main__ import main
from planner.errors import UsageError

EXAMPLES = Path(__file__).parents[1] / "examples" / "models"


def test_names_are_sorted_and_each_builds_the_function_of_that_name() -> None:
    assert list(zoo.names()) == sorted(zoo.names())
    for name in zoo.names():
        function = getattr(zoo, name)
        assert zoo.build(name, batch=2, dtype="float16") == function(batch=2, dtype="float16")


def test_options_reach_the_network() -> None:
    assert zoo.build("resnet50", image=192) == zoo.resnet50(image=192)
    assert zoo.build("randwire", seed=2) == zoo.randwire(seed=2)
    assert zoo.randwire(seed=2) != zoo.randwire(seed=1)
    assert zoo.options("unet") == {
        "image": 256,
        "channels": 64,
        "depth": 4,
        "fold_batchnorm": True,
    }


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("resnet-50", {}, "Did you mean resnet50?"),
        ("MobileNetV2", {}, "Did you mean mobilenet_v2?"),
        ("quux", {}, "It has: amoebanet_d, bert_base, darts"),
        ("pnasnet5", {}, "Did you mean pnasnet5_"),
        ("resnet50", {"imge": 192}, "has no option 'imge'.*Did you mean image?"),
        ("resnet50", {"image": "192"}, "image='192' is not an int"),
        ("resnet50", {"image": True}, "image=True is not an int"),
        ("resnet50", {"fold_batchnorm": 1}, "fold_batchnorm=1 is not a bool"),
        ("resnet50", {"dtype": "int4"}, "float32, float16, bfloat16, int8"),
        ("resnet50", {"batch": 0}, "would have shape 0x3x224x224"),
        ("resnet8", {"batch": 10**18}, "would have shape 1000000000000000000x3x32x32"),
        ("densenet121", {"image": 20}, "image is too small.*1x1"),
        ("darts", {"image": 200}, "multiple of 32"),
        ("darts", {"channels": 7}, "even"),
        ("darts", {"layers": 2}, "at least 3"),
        ("unet", {"image": 100}, "Use a multiple of 16"),
        ("unet", {"depth": 100_000}, "from 1 to 16"),
        ("unet", {"channels": 10**30}, "would have shape"),
        ("nasnet_a_mobile", {"filters": 1000}, "multiple of 96"),
        ("nasnet_a_mobile", {"cells": 0}, "at least 1"),
        ("nasnet_a_mobile", {"cells": 10**9}, "more than 50,000 nodes"),
        ("randwire", {"nodes": 4}, "from 5 to 1,024"),
        ("randwire", {"channels": 3}, "even"),
        ("randwire", {"head_channels": -1}, "not be negative"),
        ("bert_base", {"sequence": 513}, "at most 512"),
        ("gpt2_decode", {"cached": 1024}, "from 1 to 1,023"),
        ("gpt2_prefill", {"sequence": 1025}, "at most 1,024"),
        ("transformer", {"sequence": 0}, "would have shape 1x0"),
        ("transformer", {"layers": 0}, "at least 1"),
        ("transformer", {"vocabulary": -1}, "not be negative"),
        ("vit_b_16", {"image": 100}, "multiple of 16"),
        ("s3d", {"frames": 12}, "the video is too small, a window of 2x7x7.*1x7x7"),
        ("pnasnet5_mobile", {"cells": 0}, "at least 1"),
        ("pnasnet5_mobile", {"filters": 7}, "at least 8"),
        ("pnasnet5_large", {"image": 2}, "image is too small, a window of 3 pixels"),
        ("amoebanet_d", {"cells": 4}, "multiple of 3"),
        ("amoebanet_d", {"filters": 100}, "multiple of 16"),
    ],
)
def test_wrong_arguments_are_explained(name: str, arguments: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        zoo.build(name, **arguments)


@pytest.mark.parametrize("name", ["resnet8", "mobilenet_v2"])
def test_example_models_are_what_the_zoo_builds_today(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    assert main([name, "-o", str(path)]) == 0
    assert path.read_bytes() == (EXAMPLES / f"{name}.onnx").read_bytes()
    assert path.stat().st_size < 150_000


def test_command_writes_a_model_and_says_what_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "net.onnx"
    arguments = ["unet", "-o", str(path), "--batch", "2", "--dtype", "int8"]
    assert main([*arguments, "--option", "image=64", "--option", "fold_batchnorm=false"]) == 0
    expected = zoo.unet(batch=2, dtype="int8", image=64, fold_batchnorm=False)
    assert onnx.load(path, load_external_data=False) == expected
    assert "31,037,698 parameters" in capsys.readouterr().out


def test_command_lists_the_networks_with_their_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(zoo.names())
    assert "image=331 cells=6 filters=4032" in next(li for li in lines if "nasnet_a_large" in li)


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (["resnet-50", "-o", "x.onnx"], 2, "Did you mean resnet50?"),
        (["resnet50"], 2, "Add -o resnet50.onnx"),
        (["resnet50", "-o", "absent/x.onnx"], 6, "cannot write"),
        (["resnet50", "-o", "x.onnx", "--option", "image"], 2, "name=value"),
        (["resnet50", "-o", "x.onnx", "--option", "image=2x"], 2, "not a whole number"),
        (["resnet50", "-o", "x.onnx", "--option", "fold_batchnorm=2"], 2, "neither true nor false"),
        (["resnet50", "-o", "x.onnx", "--option", "batch=2"], 2, "--batch 2"),
        (["resnet50", "-o", "x.onnx", "--option", "imge=2"], 2, "Did you mean image?"),
    ],
)
def test_command_errors_are_one_line(
    arguments: list[str],
    exit_code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == exit_code
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
    assert message in captured.err
    assert not captured.out
    assert not (tmp_path / "x.onnx").exists()


def test_package_runs_as_a_module() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "frontends.zoo", "resnet50"],
        capture_output=True,
        text=True,
        check=False,
        cwd=EXAMPLES.parents[1],
    )
    assert result.returncode == 2
    assert result.stderr.startswith("error: where to write resnet50?")
