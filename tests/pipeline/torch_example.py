"""The parts of examples/pipeline_torch.py, where PyTorch is installed; it is named where it is not.

A test module that imports this is skipped as a whole without PyTorch.
"""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from planner.pipelining.files.schedule_csv import schedule_from_csv

if TYPE_CHECKING:
    from planner.pipelining.schedule import PipelineSchedule

pytest.importorskip(
    "torch", reason="PyTorch is missing, so no schedule runs in it: pip install torch==2.13.0"
)

EXAMPLES = Path(__file__).parents[2] / "examples"
PROGRAM = EXAMPLES / "pipeline_torch.py"

sys.path.insert(0, str(EXAMPLES))
try:
    pipeline_rank = import_module("pipeline_rank")
finally:
    sys.path.remove(str(EXAMPLES))


def torch_refusal(schedule: PipelineSchedule, microbatches: int) -> list[str]:
    """Return why PyTorch's static checks refuse a schedule."""
    return pipeline_rank.torch_refusal(schedule, microbatches)


def torch_schedule(
    name: str, devices: int, microbatches: int, chunks: int
) -> tuple[PipelineSchedule, int]:
    """Return one of PyTorch's own schedules, and how many of its actions were two at once."""
    from torch.distributed.pipelining._schedule_visualizer import get_schedule_ops

    rows = get_schedule_ops(name, devices, microbatches, num_stages_per_rank=chunks)
    text = "".join(",".join("" if a is None else str(a) for a in row) + "\n" for row in rows)
    found = schedule_from_csv(text.encode(), f"{name}.csv")
    assert found.microbatches == microbatches
    return found.schedule, found.overlapped


class Row(NamedTuple):
    """What the example prints of a rank; bytes."""

    stages: tuple[int, ...]
    is_as_in_file: bool
    whole: int
    kept: int
    peak: int
    peak_with_moves: int
    moved: int
    error: float


def run_example(*arguments: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    """Run the example as a user does."""
    return subprocess.run(
        [sys.executable, str(PROGRAM), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )


def rows_of(output: str) -> list[Row]:
    """Return the rows of the example's table."""
    rows = []
    for line in output.splitlines()[2:-1]:
        _, stages, _, order, *sizes, error = line.replace("as in file", "same").split()
        numbers = (int(size.replace(",", "")) for size in sizes)
        rows.append(
            Row(tuple(map(int, stages.split(","))), order == "same", *numbers, float(error))
        )
    return rows
