"""Ctrl-C in a packing race hands back the best packing so far, and an easy race loads nothing."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from .race_problems import ROWS, hard_problem

INTERRUPTED = """
import sys, time
from planner.packing.problem import Buffer, MemorySpace, PackingProblem
from planner.packing.checker import check_packing
from planner.packing.race import race
import solvers.offsets.{solver} as module
ready = module.{name}.solve
def slow(self, problem, *, deadline, **options):
    print('searching', flush=True)
    while not deadline.cancel.is_set(): time.sleep(0.01)
    time.sleep(0.1)
    return ready(self, problem, deadline=deadline, **options)
module.{name}.solve = slow
rows = {rows}
spaces = (MemorySpace('a'), MemorySpace('b'))
buffers = [Buffer(f'{{m}}{{i}}', *row, memories=(m,)) for m in 'ab' for i, row in enumerate(rows)]
result = race(PackingProblem(tuple(buffers), spaces), time_limit=60)
print(result.interrupted, result.packing is not None, result.wall_s < 30)
"""


@pytest.mark.parametrize(
    ("solver", "name"), [("exact", "ExactOffsets"), ("greedy", "GreedyOffsets")]
)
def test_an_interrupt_yields_the_best_packing_so_far(solver: str, name: str) -> None:
    """Greedy is let finish, in the memories to come as well."""
    rows = [tuple(buffer[1:4]) for buffer in hard_problem().buffers]
    script = INTERRUPTED.format(solver=solver, name=name, rows=rows)
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == "searching"
            process.send_signal(signal.SIGINT)
            if solver == "greedy":
                assert process.stdout.readline().strip() == "searching"
            out, error = process.communicate(timeout=60)
        finally:
            process.kill()
    assert out.strip() == "True True True", error


def test_an_interrupt_while_memories_are_chosen_packs_the_first_choice() -> None:
    script = """
import time
from planner.packing.problem import Buffer, MemorySpace, PackingProblem
from planner.packing.race import race
from solvers.packing.membership import MembershipSearch
def slow(self, deadline):
    print('choosing', flush=True)
    while not deadline.cancel.is_set(): time.sleep(0.01)
MembershipSearch.run = slow
spaces = (MemorySpace('a', 64), MemorySpace('b'))
buffers = tuple(Buffer(f'b{i}', i, i + 2, 16) for i in range(9))
result = race(PackingProblem(buffers, spaces), time_limit=60)
print(result.interrupted, result.packing is not None, result.wall_s < 30)
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == "choosing"
            process.send_signal(signal.SIGINT)
            out, error = process.communicate(timeout=60)
        finally:
            process.kill()
    assert out.strip() == "True True True", error


def test_an_easy_race_loads_no_optimiser() -> None:
    script = (
        "import sys, planner\n"
        f"assert planner.pack({ROWS}).status.value == 'optimal'\n"
        "print(sorted({'ortools', 'pulp', 'onnx'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
