"""Exported schedules run in PyTorch, one process a rank, with the gradients of the whole model."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from planner.pipelining.delayed_starts import delay_first_passes
from planner.pipelining.files.offload_file import write_offload
from planner.pipelining.files.schedule_csv import (
    in_loss_order,
    read_schedule_csv,
    write_schedule_csv,
)
from planner.pipelining.memory import device_memory
from planner.pipelining.placements import placement
from planner.pipelining.problem import Offloading, PipelineProblem, StageCosts
from planner.pipelining.schedule import PipelineSchedule
from planner.pipelining.simulator import simulate_pipeline

from .constructions import NO_HURRY, construct, constructor
from .random_orders import legal_schedule, with_copies
from .torch_example import PROGRAM, Row, rows_of, run_example

if TYPE_CHECKING:
    from pathlib import Path

GPIPE = "0F0,0F1,0F2,0F3,0B0,0B1,0B2,0B3\n1F0,1F1,1F2,1F3,1B0,1B1,1B2,1B3\n"
# A zero-bubble schedule of two chunks per rank, in V placement.
ZERO_BUBBLE_V = """\
0F0,0F1,0F2,3F0,3I0,3W0,3F1,3I1,3W1,0I0,0W0,3F2,3I2,3W2,0I1,0W1,0I2,0W2
1F0,2F0,1F1,2F1,1F2,2I0,2W0,1I0,1W0,2F2,2I1,2W1,1I1,1W1,2I2,2W2,1I2,1W2
"""


def planned_peaks(schedule: PipelineSchedule, microbatches: int, rows: list[Row]) -> list[int]:
    """Return what the simulator says that each rank holds at most, given the measured bytes."""
    # All stages are alike, so those of the first rank stand for all.
    whole, kept = rows[0].whole // len(rows[0].stages), rows[0].kept // len(rows[0].stages)
    stages = len(schedule.device_of)
    problem = PipelineProblem(
        stages=(StageCosts(1, 1, 1, whole, kept),) * stages,
        device_of=schedule.device_of,
        microbatches=microbatches,
        limits=(None,) * len(schedule.passes),
        # Here a copy ends before the next pass starts.
        offloading=Offloading((0,) * stages, (0,) * stages),
    )
    memory = device_memory(problem, simulate_pipeline(problem, schedule))
    return [profile.peak for profile in memory]


def run_and_judge(path: Path, schedule: PipelineSchedule, microbatches: int) -> list[Row]:
    """Run a schedule, with its copies where it has some, and hold it to what was planned."""
    write_schedule_csv(schedule, path)
    arguments = [str(path), "--microbatches", str(microbatches)]
    if any(schedule.copies):
        write_offload(schedule, path.with_suffix(".json"))
        arguments += ["--offload", str(path.with_suffix(".json"))]
    done = run_example(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = rows_of(done.stdout)
    assert len(rows) == len(schedule.passes)
    assert all(row.is_as_in_file and row.error <= 1e-6 for row in rows)
    plain = PipelineSchedule(schedule.name, schedule.device_of, schedule.passes)
    assert [row.peak for row in rows] == planned_peaks(plain, microbatches, rows)
    assert [row.peak_with_moves for row in rows] == planned_peaks(schedule, microbatches, rows)
    return rows


def test_two_processes_run_a_v_schedule_as_the_file_says(tmp_path: Path) -> None:
    path = tmp_path / "v.csv"
    path.write_text(ZERO_BUBBLE_V)
    rows = run_and_judge(path, read_schedule_csv(path).schedule, 3)
    assert [row.stages for row in rows] == [(0, 3), (1, 2)]


@pytest.mark.slow
def test_moves_lower_the_peak_to_what_was_planned(tmp_path: Path) -> None:
    path = tmp_path / "gpipe.csv"
    path.write_text(GPIPE)
    moves = [
        {"kind": kind, "stage": 0, "microbatch": microbatch, "from": start}
        for kind, microbatch, start in (
            *(("offload", 1, "0F2"), ("offload", 2, "0F3")),
            *(("reload", 1, "0B1"), ("reload", 2, "0B2")),
        )
    ]
    document = {"format": "planner.pipeline-offload", "version": 1}
    ranks = [{"rank": 0, "moves": moves}, {"rank": 1, "moves": []}]
    (tmp_path / "moves.json").write_text(json.dumps({**document, "ranks": ranks}))
    done = run_example(str(path), "--offload", str(tmp_path / "moves.json"))
    assert done.returncode == 0, done.stdout + done.stderr
    first, second = rows_of(done.stdout)
    assert (first.peak, first.peak_with_moves) == (4 * first.whole, 2 * first.whole)
    assert first.moved == 2 * first.whole
    assert (second.peak, second.peak_with_moves, second.moved) == (4 * second.whole,) * 2 + (0,)


@pytest.mark.slow
@pytest.mark.parametrize(
    "device_of", [(0, 1), (0, 1, 1, 0), (0, 1, 2, 0, 1, 2), (1, 0, 1)], ids=str
)
def test_any_legal_orders_with_any_moves_run_as_planned(
    device_of: tuple[int, ...], tmp_path: Path
) -> None:
    chance = random.Random(sum(device_of))
    schedule = in_loss_order(with_copies(chance, legal_schedule(chance, device_of, 4)))
    rows = run_and_judge(tmp_path / "random.csv", schedule, 4)
    assert any(row.moved for row in rows)


def published(name: str, devices: int, memory: float) -> tuple[PipelineSchedule, int]:
    """Build a published schedule under a limit of so many times 1F1B's memory."""
    problem = costs(constructor(name).placements[0], devices, memory)
    return construct(name, problem), problem.microbatches


def costs(place: str, devices: int, memory: float) -> PipelineProblem:
    """Return unequal costs under a limit of so many times 1F1B's memory."""
    chunks = 2 if place == "v" else 1
    device_of = placement(place, devices, chunks)
    times = ((50, 52, 35), (46, 55, 30), (53, 51, 33))
    stages = tuple(
        StageCosts(*times[s % 3], 1000, 1000, communication=2) for s in range(len(device_of))
    )
    limits = (int(1000 * memory * devices * chunks),) * devices
    return PipelineProblem(stages, device_of, 2 * devices, limits)


@pytest.mark.slow
@pytest.mark.parametrize("devices", [2, 4])
@pytest.mark.parametrize(
    ("name", "memory"), [("zero-bubble", 1), ("zero-bubble", 2), ("zb-v", 1)], ids=str
)
def test_published_schedules_run(name: str, memory: float, devices: int, tmp_path: Path) -> None:
    run_and_judge(tmp_path / "published.csv", *published(name, devices, memory))


@pytest.mark.slow
@pytest.mark.parametrize("devices", [2, 4])
def test_a_schedule_that_only_the_search_finds_runs(devices: int, tmp_path: Path) -> None:
    from solvers.pipeline.constructors.catalogue import CONSTRUCTORS, InapplicableError
    from solvers.pipeline.search import PipelineSearch
    from solvers.protocol import Deadline

    problem = costs("v", devices, 0.75)
    published_ticks = []
    for one in CONSTRUCTORS:
        if "v" in one.placements:
            try:
                schedule = one.build(problem, NO_HURRY)
            except InapplicableError:
                continue
            published_ticks.append(delay_first_passes(problem, schedule).longest_stage)
    found = PipelineSearch().solve(problem, deadline=Deadline(120), most_rounds=4).solution
    assert found is not None
    # Memory is not asked of the published ones: they are longer even with more.
    assert delay_first_passes(problem, found).longest_stage < min(published_ticks)
    run_and_judge(tmp_path / "found.csv", found, problem.microbatches)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (("0W1,", ""), "rank 0: stage 0 lacks W, the gradient of the weights, of microbatch 1"),
        (("2I0,2W0", "2W0,2I0"), "rank 1: W 2.0 runs before B 2.0"),
        (("2I0,2W0,1I0,1W0", "1I0,1W0,2I0,2W0"), "deadlock: "),
        (("1F0", "1F0;"), "rank 1, cell 0: '1F0;' is no action"),
    ],
)
def test_what_cannot_run_is_refused_before_any_process_starts(
    damage: tuple[str, str], reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "damaged.csv"
    path.write_text(ZERO_BUBBLE_V.replace(*damage))
    # Nothing of PyTorch is needed to refuse it.
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise RuntimeError('torch was imported')")
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert reason in done.stderr and "Traceback" not in done.stderr


def processes_of(group: int) -> list[str]:
    """Return who still runs; one that init has yet to bury does not."""
    listed = subprocess.run(
        ["ps", "-eo", "pgid=,ppid=,stat=,args="], capture_output=True, text=True, check=True
    )
    fields = (line.split(maxsplit=3) for line in listed.stdout.splitlines())
    return [
        " ".join(mine)
        for mine in fields
        if mine[0] == str(group) and not (mine[1] == "1" and mine[2].startswith("Z"))
    ]


def wait_for_silence(group: int) -> list[str]:
    """Return who still runs after a while: Python's own helper process ends by itself, soon."""
    for _ in range(100):
        left = processes_of(group)
        if not left:
            break
        time.sleep(0.1)
    return left


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there are no process groups")
@pytest.mark.parametrize("wait_s", [0.0, 1.5, 3.0, 4.5])
def test_an_interrupt_leaves_no_process_behind(wait_s: float, tmp_path: Path) -> None:
    path = tmp_path / "gpipe.csv"
    path.write_text(GPIPE)
    process = subprocess.Popen(
        [sys.executable, "-u", str(PROGRAM), str(path)],
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().endswith("16 passes\n")
    time.sleep(wait_s)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    assert process.returncode in (0, 130)
    assert "Traceback" not in errors
    assert wait_for_silence(process.pid) == []


@pytest.mark.slow
def test_ranks_that_do_not_end_in_time_are_ended(tmp_path: Path) -> None:
    path = tmp_path / "gpipe.csv"
    path.write_text(GPIPE)
    done = run_example(str(path), "--time-limit", "0.2", timeout=300)
    assert done.returncode == 1
    assert "error: after 0.2 s rank 0, 1 had not finished; all were ended." in done.stderr
