"""Rectangles, groups and runs of the constraint programming solver."""

from __future__ import annotations

import csv
import itertools
import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from planner.problem import PairRule, Status
from solvers import SharedBest
from solvers.offsets.cp import CpOffsets
from solvers.offsets.rectangles import disjoint_rectangles, permissive_rules, strict_groups
from solvers.protocol import Deadline

from .small_offsets import (
    allowed,
    assert_solution,
    lowest_height,
    problem_of,
    random_problem,
    rectangles_of,
    tiling,
    uses_of,
)


def cells(rectangles, buffer):
    return [
        (t, b)
        for v, lower, upper, begin, end in zip(*(r.tolist() for r in rectangles), strict=True)
        if v == buffer
        for t in range(lower, upper)
        for b in range(begin, end)
    ]


def test_rectangles_of_a_buffer_are_disjoint_and_cover_its_uses():
    for seed in range(60):
        problem = random_problem(seed, ("uses",))
        count = len(problem.size)
        rows = [(v, *r) for v in range(count) for r in rectangles_of(problem, v)]
        # A buffer that changes at every time keeps ranks of times and times the same.
        rows += [(count, t, t + 1, t % 2, t % 2 + 1) for t in range(5)]
        sizes = [(0, 5, size, 1) for size in [*problem.size.tolist(), 2]]
        rectangles = disjoint_rectangles(problem_of(sizes, uses=uses_of(rows)))
        for v in range(count + 1):
            covered = cells(rectangles, v)
            assert len(covered) == len(set(covered))
            assert set(covered) == {
                (t, b)
                for w, lower, upper, begin, end in rows
                if w == v
                for t in range(lower, upper)
                for b in range(begin, end)
            }


def test_padding_is_taken_in_only_where_rectangles_begin_at_multiples():
    rows = [(0, 2, 5, 4), (0, 2, 6, 8)]
    assert disjoint_rectangles(problem_of(rows)).end.tolist() == [8, 8]
    uses = uses_of([(0, 0, 2, 0, 5), (1, 0, 2, 3, 6)])
    assert disjoint_rectangles(problem_of(rows, uses=uses)).end.tolist() == [5, 6]


def test_rules_that_forbid_less_than_the_uses_are_permissive():
    for seed in range(100):
        problem = random_problem(seed, ("uses", "rules"))
        used = [rectangles_of(problem, v) for v in range(len(problem.size))]
        plain = random_problem(seed, ("uses", "rules"))
        found = set(permissive_rules(problem))
        for rule in problem.pair_rules:
            u, v = sorted((rule.first, rule.second))
            object.__setattr__(plain, "pair_rules", ())
            # Halves too: touching intervals leave a point between them.
            allows_more = any(
                allowed(problem, u, v, d, used) and not allowed(plain, u, v, d, used)
                for d in np.arange(-20, 20, 0.5).tolist()
            )
            assert ((u, v) in found) or not allows_more


def test_groups_hold_no_permissive_pair_and_every_buffer():
    for seed in range(40):
        rng = random.Random(seed)
        count = rng.randint(1, 12)
        pairs = list(itertools.combinations(range(count), 2))
        permissive = rng.sample(pairs, rng.randint(0, len(pairs)))
        groups = strict_groups(count, permissive)
        assert set().union(*groups) == set(range(count))
        assert not any(u in group and v in group for u, v in permissive for group in groups)
    assert strict_groups(5, []) == [set(range(5))]


def test_a_chain_of_outputs_over_their_inputs():
    # Each output may lie over the first 3 bytes of its input; alive together for one step.
    count = 3
    rows = [(t, t + 2, 4, 1) for t in range(count)]
    rules = tuple(PairRule(v, v + 1, ((-1, 4),), 3) for v in range(count - 1))
    problem = problem_of(rows, pair_rules=rules)
    outcome = CpOffsets().solve(problem, deadline=Deadline(30))
    assert_solution(problem, outcome.solution)
    assert outcome.status is Status.OPTIMAL
    assert outcome.solution.height == lowest_height(problem) == 6


def test_gaps_in_allowed_differences_lose_no_optimum():
    # The presolve of OR-Tools 9.15 proved 8 where 7 is possible.
    uses = uses_of([(0, 3, 4, 2, 3), (1, 4, 5, 0, 2), (2, 1, 2, 0, 4)])
    rules = (
        PairRule(2, 0, ((-8, -7), (-1, 1), (5, 8)), 6),
        PairRule(0, 1, ((-8, -3), (-1, 5), (6, 7)), 6),
    )
    problem = problem_of(
        [(3, 4, 3, 1), (3, 5, 3, 1), (1, 2, 4, 1)],
        fixed=np.array([-1, -1, 3], dtype=np.int64),
        uses=uses,
        pair_rules=rules,
    )
    outcome = CpOffsets().solve(problem, deadline=Deadline(30))
    assert outcome.solution.height == lowest_height(problem) == 7
    assert outcome.status is Status.OPTIMAL


def test_the_same_seed_gives_the_same_packing():
    problem = problem_of(tiling(2, 40)[0])
    runs = [CpOffsets().solve(problem, deadline=Deadline(60), seed=3) for _ in range(2)]
    first, second = (outcome.solution.offsets.tolist() for outcome in runs)
    assert first == second
    assert runs[0].statistics["branches"] == runs[1].statistics["branches"]


def test_it_starts_anew_below_what_another_solver_found():
    rows, offsets = tiling(5, 150, height=256, steps=60)
    # One more byte somewhere: what is known stays one above the bound.
    rows.append((0, 60, 1, 1))
    rows.append((0, 1, 1, 1))
    problem = problem_of(rows)
    found = np.append(offsets, [256, 257])
    shared = SharedBest()
    threading.Timer(0.3, shared.offer, (found + 1, 259)).start()
    deadline = Deadline(60)
    threading.Timer(2.5, deadline.cancel.set).start()
    outcome = CpOffsets().solve(problem, deadline=deadline, shared=shared)
    assert_solution(problem, outcome.solution)
    assert outcome.solution.height <= 259
    assert outcome.statistics["runs"] >= 2


def test_ctrl_c_reaches_the_caller(tmp_path):
    (tmp_path / "tests_small.py").write_text(
        Path(__file__).with_name("small_offsets.py").read_text()
    )
    code = (
        "import os, signal, threading\n"
        "from tests_small import tiling, problem_of\n"
        "from solvers.offsets.cp import CpOffsets\n"
        "from solvers.protocol import Deadline\n"
        "threading.Timer(2.0, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "try:\n"
        "    CpOffsets().solve(problem_of(tiling(5, 200, 256, 60)[0]), deadline=Deadline(300))\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "interrupted\n", done.stderr


@pytest.mark.slow
def test_a_minimalloc_instance_fits_its_capacity():
    folder = os.environ.get("PLANNER_DATA")
    if not folder:
        pytest.skip("PLANNER_DATA is not set: the published offset instances are not tested")
    path = Path(folder) / "offsets" / "minimalloc" / "F.1048576.csv"
    with path.open() as file:
        rows = [(int(r["lower"]), int(r["upper"]), int(r["size"]), 1) for r in csv.DictReader(file)]
    problem = problem_of(rows, capacity=1_048_576)
    outcome = CpOffsets().solve(problem, deadline=Deadline(300))
    assert outcome.status in (Status.OPTIMAL, Status.FEASIBLE)
    assert_solution(problem, outcome.solution)
