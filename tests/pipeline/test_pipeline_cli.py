"""``plan pipeline``: reports, files, exit codes, nonsense, interruption."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from planner.cli.main import main
from planner.pipelining.files.schedule_csv import read_schedule_csv
from planner.pipelining.files.schedule_file import read_schedule

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parent.parent.parent
COSTS = (
    "forward_ms,backward_ms,weight_ms,communication_ms,activation_bytes,kept_bytes\n"
    "20,21,14,1,1000,400\n"
)
Write = "Callable[..., str]"


@pytest.fixture
def costs(tmp_path: Path) -> Callable[..., str]:
    def write(text: str = COSTS, name: str = "costs.csv") -> str:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def plan(*arguments: str, time_limit: str = "1") -> int:
    return main(["pipeline", *arguments, "--time-limit", time_limit])


# --- what is printed --------------------------------------------------------------------------


def test_the_report_says_all_in_a_few_lines(costs, capsys) -> None:
    assert plan("--costs", costs(), "--devices", "2", "--microbatches", "3") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("pipeline  costs.csv  2 devices  3 microbatches  2 stages (linear)")
    labels = [line.split()[0] for line in lines if not line.startswith(" ")]
    assert labels[:4] == ["pipeline", "schedule", "time", "memory"]
    assert labels[-2:] == ["solvers", "checked"]
    assert lines[-1] == "checked   legal"


def test_one_device_is_optimal_and_says_so(costs, capsys) -> None:
    """Nothing to wait for: any order keeps the device busy."""
    assert plan("--costs", costs(), "--devices", "1", "--microbatches", "5") == 0
    out = capsys.readouterr().out
    assert "bubble 0.0000   lower bound 0.0000 (optimal)" in out
    assert "longest stage 275 ms   makespan 275 ms" in out


def test_json_is_one_object_and_nothing_else(costs, capsys) -> None:
    arguments = ("--costs", costs(), "--devices", "2", "--microbatches", "3", "--json", "-v")
    assert plan(*arguments) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["format"], result["version"]) == ("planner.pipeline-result", 1)
    assert (result["devices"], result["microbatches"], result["stages"]) == (2, 3, 2)
    assert result["checked"] is True
    assert result["bubble_lower_bound"] <= result["bubble"]
    assert result["longest_stage_s"] <= result["makespan_s"]
    assert len(result["peak_activation_bytes"]) == 2
    assert result["contenders"]


def test_quiet_leaves_stderr_empty(costs, capsys) -> None:
    assert plan("--costs", costs(), "--devices", "2", "--microbatches", "3", "-q") == 0
    assert capsys.readouterr().err == ""


def test_fewer_microbatches_than_devices_are_planned(costs, capsys) -> None:
    assert plan("--costs", costs(), "--devices", "6", "--microbatches", "1") == 0
    assert "checked   legal" in capsys.readouterr().out


def test_passes_of_no_length_are_planned(costs, capsys) -> None:
    path = costs("forward_s,backward_s,weight_s,activation_bytes\n0,0,0,0\n")
    assert plan("--costs", path, "--devices", "2", "--microbatches", "2") == 0
    assert "bubble 0.0000" in capsys.readouterr().out


# --- files ------------------------------------------------------------------------------------


def test_all_files_are_written_and_come_back_in(costs, capsys, tmp_path: Path) -> None:
    path = costs()
    out = tmp_path / "new" / "out"
    arguments = ("--costs", path, "--devices", "2", "--microbatches", "3", "-o", str(out))
    assert plan(*arguments) == 0
    written = {file.name for file in out.iterdir()}
    assert written == {
        "costs.schedule.json",
        "costs.schedule.csv",
        "costs.html",
        "costs.svg",
        "costs.trace.json",
    }
    printed = capsys.readouterr().out
    assert all(name in printed for name in written)
    first = read_schedule(out / "costs.schedule.json")
    assert read_schedule_csv(out / "costs.schedule.csv").schedule.passes == first.schedule.passes

    assert plan("--schedule", str(out / "costs.schedule.json"), "--json") == 0
    ours = json.loads(capsys.readouterr().out)
    assert plan("--schedule", str(out / "costs.schedule.csv"), "--costs", path, "--json") == 0
    theirs = json.loads(capsys.readouterr().out)
    for key in ("bubble", "longest_stage_s", "makespan_s", "peak_activation_bytes"):
        assert ours[key] == theirs[key], key


def test_copies_travel_in_a_file_beside_the_csv(costs, capsys, tmp_path: Path) -> None:
    path, out = costs(), tmp_path / "out"
    # Half a device's stages fit at once, so one of the two has to leave.
    offloading = ("--memory-limit", "700", "--offload-bandwidth", "100kB")
    arguments = ("--costs", path, "--devices", "2", "--microbatches", "2", "--chunks", "2")
    assert plan(*arguments, *offloading, "--solver", "sequential", "-o", str(out)) == 0
    assert "costs.schedule.offload.json" in capsys.readouterr().err
    schedule = str(out / "costs.schedule.csv")
    assert plan("--costs", path, "--schedule", schedule, *offloading, "--json") == 0
    assert max(json.loads(capsys.readouterr().out)["peak_activation_bytes"]) <= 700
    (out / "costs.schedule.offload.json").unlink()
    assert plan("--costs", path, "--schedule", schedule, *offloading) == 4
    assert "its limit is 700" in capsys.readouterr().err


def test_what_the_csv_cannot_say_is_said(costs, capsys, tmp_path: Path) -> None:
    arguments = ("--costs", costs(), "--devices", "2", "--microbatches", "2", "-o", str(tmp_path))
    layer = ("--vocabulary", "forward=2ms,backward=3ms,barrier=0.5ms,activation_bytes=100")
    assert plan(*arguments, *layer, "--solver", "sequential") == 0
    assert "no CSV for PyTorch" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.schedule.csv"))
    assert read_schedule(tmp_path / "costs.schedule.json").problem.vocabulary is not None


# --- schedules that are given -----------------------------------------------------------------

GOOD = "0F0,0F1,0I0,0W0,0I1,0W1\n1F0,1I0,1F1,1W0,1I1,1W1\n"
BAD = {
    "missing W": (GOOD.replace(",1W1", ""), "1.1|microbatch 1"),
    "twice": (GOOD.replace("0W1", "0W0"), "twice"),
    "swapped": (GOOD.replace("0I0,0W0", "0W0,0I0"), "0.0"),
    "a circle": (
        "0F1,0F0,0I0,0W0,0I1,0W1\n1F0,1I0,1W0,1F1,1I1,1W1\n".replace(
            "0F1,0F0", "0F1,0I1,0F0,0W1"
        ).replace(",0I1,0W1\n", "\n"),
        "deadlock",
    ),
}


def test_a_legal_csv_is_priced(costs, capsys) -> None:
    path = costs(GOOD, "theirs.csv")
    assert plan("--costs", costs(), "--schedule", path) == 0
    out = capsys.readouterr().out
    assert "schedule  theirs" in out
    assert "2 devices  2 microbatches" in out


@pytest.mark.parametrize("name", BAD)
def test_an_illegal_csv_is_refused_with_the_reason(name: str, costs, capsys) -> None:
    text, reason = BAD[name]
    assert plan("--costs", costs(), "--schedule", costs(text, "theirs.csv")) == 4
    message = capsys.readouterr().err
    assert any(part in message for part in reason.split("|")), message


def test_times_that_are_tampered_with_are_refused(costs, capsys, tmp_path: Path) -> None:
    arguments = ("--costs", costs(), "--devices", "2", "--microbatches", "2", "-o", str(tmp_path))
    assert plan(*arguments) == 0
    path = tmp_path / "costs.schedule.json"
    document = json.loads(path.read_text())
    document["times"]["passes"][1][0][0] -= 1
    path.write_text(json.dumps(document))
    capsys.readouterr()
    assert plan("--schedule", str(path)) == 4
    assert "device 1" in capsys.readouterr().err
    assert plan("--schedule", str(path), "--costs", costs()) == 0, "the orders are legal"


def test_limits_beside_a_schedule_that_has_its_own_are_not_passed_over(
    costs, capsys, tmp_path: Path
) -> None:
    arguments = ("--costs", costs(), "--devices", "2", "--microbatches", "3")
    assert plan(*arguments, "-o", str(tmp_path)) == 0
    file = str(tmp_path / "costs.schedule.json")
    assert plan("--schedule", file, "--memory-limit", "1x") == 2
    assert "--memory-limit: without --costs" in capsys.readouterr().err
    assert plan("--schedule", file, "--memory-limit", "1x", *arguments[:2]) in (0, 4)


def test_a_schedule_of_another_size_is_refused(costs, capsys) -> None:
    path = costs(GOOD, "theirs.csv")
    assert plan("--costs", costs(), "--schedule", path, "--devices", "3") == 2
    assert "2 devices" in capsys.readouterr().err
    assert plan("--costs", costs(), "--schedule", path, "--microbatches", "3") == 4


# --- nonsense ---------------------------------------------------------------------------------

WRONG = {
    "no costs": (["--devices", "2", "--microbatches", "3"], 2, "--costs"),
    "no devices": (["--costs", "COSTS", "--microbatches", "3"], 2, "--devices"),
    "no microbatches": (["--costs", "COSTS", "--devices", "2"], 2, "--microbatches"),
    "zero microbatches": (["--costs", "COSTS", "--devices", "2", "--microbatches", "0"], 2, "0"),
    "zero devices": (["--costs", "COSTS", "--devices", "0", "--microbatches", "3"], 2, "0"),
    "many devices": (
        ["--costs", "COSTS", "--devices", "99999", "--microbatches", "3"],
        2,
        "99,999 devices",
    ),
    "many microbatches": (
        ["--costs", "COSTS", "--devices", "2", "--microbatches", "999999999999"],
        2,
        "forward passes",
    ),
    "many chunks": (
        ["--costs", "COSTS", "--devices", "2", "--microbatches", "2", "--chunks", "99999999"],
        2,
        "too many stages",
    ),
    "no such file": (["--costs", "none.csv", "--devices", "2", "--microbatches", "3"], 6, "none"),
    "a limit of nothing": (
        ["--costs", "COSTS", "--devices", "2", "--microbatches", "3", "--memory-limit", "0"],
        3,
        "1,000 B",
    ),
    "memory below one activation": (
        ["--costs", "COSTS", "--devices", "2", "--microbatches", "3", "--memory-limit", "999"],
        3,
        "must be 1,000 B at least",
    ),
    "a negative limit": (
        ["--costs", "COSTS", "--devices", "2", "--microbatches", "3", "--memory-limit=-1"],
        2,
        "-1",
    ),
    "too many limits": (
        ["--costs", "COSTS", "--devices", "2", "--microbatches", "3", "--memory-limit", "1,2,3"],
        2,
        "3 memory limits for 2 devices",
    ),
    "v with one chunk": (
        ["--costs", "COSTS", "--devices", "2", "--microbatches", "3", "--placement", "v"],
        2,
        "no placement 'v' with 1 chunks",
    ),
    "an unknown solver": (
        ["--costs", "COSTS", "--devices", "2", "--microbatches", "3", "--solver", "magic"],
        2,
        "no pipeline solver 'magic'",
    ),
    "no solver": (
        ["--costs", "COSTS", "--devices", "2", "--microbatches", "3", "--solver", ","],
        2,
        "no solver is named",
    ),
    "host memory without a link": (
        ["--costs", "COSTS", "--devices", "2", "--microbatches", "3", "--host-memory", "1GiB"],
        2,
        "without a bandwidth",
    ),
    "no bandwidth": (
        ["--costs", "COSTS", "--devices", "2", "--microbatches", "3", "--offload-bandwidth", "0"],
        2,
        "moves nothing",
    ),
    "half a vocabulary": (
        [
            "--costs",
            "COSTS",
            "--devices",
            "2",
            "--microbatches",
            "3",
            "--vocabulary",
            "forward=1ms",
        ],
        2,
        "backward must be given",
    ),
    "an unknown word of the vocabulary": (
        ["--costs", "COSTS", "--devices", "2", "--microbatches", "3", "--vocabulary", "size=1"],
        2,
        "size=1",
    ),
    "what only models have": (
        ["--costs", "COSTS", "--devices", "2", "--microbatches", "3", "--dim", "batch=2"],
        2,
        "--dim: of --model alone",
    ),
    "an output that is a file": (
        ["--costs", "COSTS", "--devices", "2", "--microbatches", "3", "-o", "COSTS"],
        6,
        "costs.csv",
    ),
    "a schedule that is none": (["--schedule", "COSTS", "--costs", "COSTS"], 6, "no action"),
}


@pytest.mark.parametrize("name", WRONG)
def test_nonsense_is_refused_in_words(name: str, costs, capsys) -> None:
    arguments, code, reason = WRONG[name]
    path = costs()
    assert plan(*(path if argument == "COSTS" else argument for argument in arguments)) == code
    captured = capsys.readouterr()
    assert reason in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""


def test_what_does_not_fit_is_an_object_too(costs, capsys) -> None:
    arguments = ("--devices", "2", "--microbatches", "3", "--memory-limit", "999", "--json")
    assert plan("--costs", costs(), *arguments) == 3
    result = json.loads(capsys.readouterr().out)
    assert (result["status"], result["fits"], result["schedule"]) == ("infeasible", False, None)


def test_the_least_limit_that_is_named_is_enough(costs, capsys) -> None:
    arguments = ("--costs", costs(), "--devices", "3", "--microbatches", "4", "--chunks", "2")
    assert plan(*arguments, "--memory-limit", "1000") == 0
    assert plan(*arguments, "--memory-limit", "999") == 3


# --- models ----------------------------------------------------------------------------------

MODEL = str(ROOT / "examples" / "models" / "resnet8.onnx")


def test_a_model_is_cut_and_scheduled(capsys, tmp_path: Path) -> None:
    arguments = ("--model", MODEL, "-t", "npu-8m", "--devices", "2", "--microbatches", "4")
    assert plan(*arguments, "--solver", "sequential", "-o", str(tmp_path)) == 0
    out = capsys.readouterr().out
    assert "stages    0: " in out
    stages = json.loads((tmp_path / "resnet8.partition.json").read_text())["stages"]
    assert [stage["device"] for stage in stages] == [0, 1]
    chunks = ("--chunks", "2", "--memory-limit", "1x", "--offload-bandwidth", "1GB", "--json")
    assert plan(*arguments, "--solver", "sequential", *chunks) == 0
    result = json.loads(capsys.readouterr().out)
    assert len(result["partition"]["stages"]) == 4
    assert result["partition"]["placement"] == result["placement"]


@pytest.mark.parametrize(
    ("extra", "code", "reason"),
    [
        (["-t", "host"], 2, "no [compute] rates"),
        (["-t", "npu-8m", "--costs", "c.csv"], 2, "give --costs"),
        (["-t", "npu-8m", "--vocabulary", "forward=1ms,backward=1ms"], 2, "barriers=1 or 2"),
        (["-t", "npu-8m", "--memory-limit", "1KiB"], 3, "1,024"),
        (["-t", "npu-8m", "--chunks", "99"], 2, "operators"),
    ],
)
def test_models_that_cannot_be_planned_are_refused(
    extra: list[str], code: int, reason: str, capsys
) -> None:
    assert plan("--model", MODEL, "--devices", "2", "--microbatches", "4", *extra) == code
    assert reason in capsys.readouterr().err


# --- interruption -----------------------------------------------------------------------------

INTERRUPTED = """
import sys, time
from planner.registry import SOLVERS, Entry
from planner.cli.main import main
from solvers.pipeline.constructors import catalogue
class Slow:
    def solve(self, problem, *, deadline, **options):
        print('searching', file=sys.stderr, flush=True)
        while not deadline.cancel.is_set(): time.sleep(0.01)
        raise RuntimeError('stopped')
catalogue.CONSTRUCTORS = tuple(c for c in catalogue.CONSTRUCTORS if c.name == 'sequential')
SOLVERS['pipeline'].clear()
SOLVERS['pipeline']['search'] = Entry('__main__:Slow', '')
sys.exit(main(['pipeline', '--costs', sys.argv[1], '--devices', '3', '--microbatches', '4',
               '--time-limit', '300']))
"""


def test_ctrl_c_hands_back_the_best_until_then(costs) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, costs()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        try:
            assert process.stderr is not None
            assert process.stderr.readline().strip() == "searching"
            process.send_signal(signal.SIGINT)
            out, error = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130, error
    assert "checked   legal" in out
    assert "interrupted; this is the best schedule until then" in error


def test_solvers_are_listed(capsys) -> None:
    assert main(["solvers"]) == 0
    out = capsys.readouterr().out
    assert "pipeline schedules" in out
    assert "sequential" in out
