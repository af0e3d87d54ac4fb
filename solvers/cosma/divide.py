"""Divide and conquer for graphs that COSMA's integer program cannot take whole.

The paper solves its largest networks "by divide and conquer over a partitioned graph" and does not
say how. Our reading:

1. An order of small peak is cut where few bytes are live, into parts of at most so many operators.
   The cuts are those of the least live bytes altogether, by dynamic programming.
2. The parts are solved one after the other, schedule and residency free, without addresses. What is
   resident or copied at the end of one part is given to the next. A storage needed later that is
   absent at the end pays the read that is due; nothing else of the future counts.
3. Each part is solved on the given schedule first, which is quick, and then with a free one; the
   better of what is there at the end of its share of the time counts. If there is nothing,
   everything but the operands of the running operator leaves.
4. The orders of the parts in a row are an order of the whole. Its residency is chosen anew by the
   fixed-schedule program over all parts, if that is small enough; the better one counts.

Addresses come last, for the whole. Nothing is proven.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from planner.graph import RaggedArray
from planner.joint_problem import JointProblem
from solvers.cosma.model import Boundary
from solvers.cosma.program_solution import read_schedule, solve_program
from solvers.cosma.schedule import Residency, Run, replacement_on, schedule_of
from solvers.cosma.windows import Windows
from solvers.order.exact import ExactOrder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from solvers.cosma.backends import Backend
    from solvers.cosma.schedule import Schedule
    from solvers.protocol import Deadline

# Of the time left, what the order to cut may take, and what all parts may take together.
_ORDER_SHARE = 0.05
_PARTS_SHARE = 0.75


class _Part(NamedTuple):
    """A part as a problem of its own, and the names of its operators and storages in the whole."""

    problem: JointProblem
    boundary: Boundary
    operators: list[int]
    storages: list[int]


class Divided(NamedTuple):
    """The schedule of all parts together, None if it is none, and what has been counted."""

    schedule: Schedule | None
    statistics: dict[str, Any]


def solve_in_parts(
    problem: JointProblem,
    backend: Backend,
    *,
    part_operators: int,
    deadline: Deadline,
    seed: int,
) -> Divided:
    """Cut, solve the parts, and choose the residency anew on their order.

    Parameters
    ----------
    part_operators : int
        The most operators of a part.
    """
    ordered = ExactOrder().solve(
        replace(problem.ordering(), in_place=RaggedArray.from_rows([[]] * problem.operators)),
        deadline=deadline.within(_ORDER_SHARE * deadline.remaining_s()),
        seed=seed,
    )
    if ordered.solution is None:
        return Divided(None, {"stopped": "no order to cut in the time given"})
    order = ordered.solution.order.tolist()
    cuts = cut_positions(problem, order, part_operators)
    if cuts is None:
        return Divided(None, {"stopped": "a storage written in parts spans too many operators"})
    statistics: dict[str, Any] = {"parts": len(cuts) - 1, "free_parts": 0, "unsolved_parts": 0}
    statistics["cpu_s"] = 0.0
    conquest = _Conquest(problem, order)
    ending = deadline.within(_PARTS_SHARE * deadline.remaining_s())
    for index, (start, end) in enumerate(pairwise(cuts)):
        part = conquest.part(start, end)
        share = 1 / (len(cuts) - 1 - index)
        residency = _solve_part(part, backend, ending, share, seed, statistics)
        conquest.add(part, residency)
    schedule = schedule_of(problem, conquest.residency(), addresses=False)
    if schedule is None:
        return Divided(None, {**statistics, "stopped": "the parts do not fit together"})
    windows = Windows.of(problem, schedule.order)
    if not windows.too_large(addresses=False, fixed=True) and not deadline.expired():
        solved = solve_program(
            problem, windows, backend, addresses=False,
            deadline=deadline, seed=seed,
        )  # fmt: skip
        statistics["cpu_s"] += solved.statistics["cpu_s"]
        again = read_schedule(problem, solved, addresses=False)
        if again is not None and again.traffic_bytes < schedule.traffic_bytes:
            schedule = again
    return Divided(schedule, statistics)


def cut_positions(
    problem: JointProblem, order: Sequence[int], most_operators: int
) -> list[int] | None:
    """Return where to cut an order, its ends included: the least live bytes at all cuts together.

    No cut lies between the operators that write one storage.

    Returns
    -------
    list of int or None
        None if that needs a part of more operators.
    """
    steps = len(order)
    uses = replacement_on(problem, order).uses
    step_of = np.empty(steps, dtype=np.int64)
    step_of[np.asarray(order, dtype=np.int64)] = np.arange(steps)
    live = np.zeros(steps + 1, dtype=np.int64)
    half_written = np.zeros(steps + 1, dtype=bool)
    for s, size in enumerate(problem.size.tolist()):
        steps_used = uses.row(s)
        if len(steps_used):
            live[int(steps_used[0]) + 1 : int(steps_used[-1]) + 1] += size
        writes = step_of[problem.writers.row(s)]
        if size and len(writes) > 1:
            half_written[int(writes.min()) + 1 : int(writes.max()) + 1] = True
    never = 2**62
    cost, previous = [0] + [never] * steps, [0] * (steps + 1)
    for end in range(1, steps + 1):
        if half_written[end]:
            continue
        for start in range(max(0, end - most_operators), end):
            # A little per cut keeps parts large where nothing is live.
            reached = cost[start] + int(live[end]) + 1
            if cost[start] < never and reached < cost[end]:
                cost[end], previous[end] = reached, start
    if cost[steps] >= never:
        return None
    cuts = [steps]
    while cuts[-1]:
        cuts.append(previous[cuts[-1]])
    return cuts[::-1]


def _solve_part(
    part: _Part,
    backend: Backend,
    deadline: Deadline,
    share: float,
    seed: int,
    statistics: dict[str, Any],
) -> Residency:
    """Solve on the given schedule, then for a share of the time left with a free one."""
    best, least = None, math.inf
    ending = deadline.within(share * deadline.remaining_s())
    for order, limit in ((range(part.problem.operators), deadline), (None, ending)):
        if limit.expired():
            break
        solved = solve_program(
            part.problem,
            Windows.of(part.problem, order, part.boundary),
            backend,
            addresses=False,
            deadline=limit,
            seed=seed,
            boundary=part.boundary,
        )
        statistics["cpu_s"] += solved.statistics["cpu_s"]
        found = solved.residency
        if (
            found is not None
            and solved.cost < least
            and sorted(found.order) == list(range(part.problem.operators))
        ):
            best, least = found, solved.cost
            statistics["free_parts"] += order is None
    if best is not None:
        return best
    statistics["unsolved_parts"] += 1
    runs: dict[int, list[Run]] = {}
    for s in range(len(part.storages)):
        steps = set(part.problem.users.row(s).tolist())
        steps.update({0} if s in part.boundary.given else ())
        if part.problem.kept[s] and s not in part.boundary.later:
            steps.add(part.problem.operators - 1)
        runs[s] = [Run(step, step + 1, -1) for step in sorted(steps)]
    return Residency(tuple(range(part.problem.operators)), runs)


class _Conquest:
    """The parts solved so far, in terms of the whole."""

    def __init__(self, problem: JointProblem, order: Sequence[int]) -> None:
        self._problem = problem
        self._planned = list(order)
        self._order: list[int] = []
        self._runs: dict[int, list[Run]] = {}
        self._copied: set[int] = set(np.flatnonzero(problem.has_copy).tolist())
        self._resident: set[int] = set()
        step_of = {v: t for t, v in enumerate(order)}
        self._life: dict[int, tuple[int, int]] = {}
        for s, size in enumerate(problem.size.tolist()):
            users = [step_of[v] for v in problem.users.row(s).tolist()]
            if size and users:
                first = min((step_of[v] for v in problem.starters.row(s).tolist()), default=-1)
                last = len(order) if problem.kept[s] else max(users)
                self._life[s] = first, last
                if first < 0:
                    self._resident.add(s)

    def part(self, start: int, end: int) -> _Part:
        """State the part of the operators at positions [start, end)."""
        whole = self._problem
        operators = self._planned[start:end]
        index = {v: i for i, v in enumerate(operators)}
        storages = [s for s, (first, last) in self._life.items() if first < end and last >= start]
        later = [i for i, s in enumerate(storages) if self._life[s][1] >= end < len(self._planned)]
        entered = [s for s in storages if self._life[s][0] < start]

        def rows(array: RaggedArray, *, unless: Sequence[int] = ()) -> RaggedArray:
            gone = set(unless)
            return RaggedArray.from_rows(
                [
                    sorted(index[v] for v in array.row(s).tolist() if v in index)
                    if s not in gone
                    else []
                    for s in storages
                ]
            )

        problem = JointProblem(
            operators=len(operators),
            capacity=whole.capacity,
            alignment=whole.alignment,
            size=whole.size[storages],
            has_copy=np.array([s in self._copied for s in storages], dtype=bool),
            kept=whole.kept[storages],
            predecessors=RaggedArray.from_rows(
                [
                    sorted(index[u] for u in whole.predecessors.row(v).tolist() if u in index)
                    for v in operators
                ]
            ),
            starters=rows(whole.starters, unless=entered),
            users=rows(whole.users),
            writers=rows(whole.writers),
            in_place=RaggedArray.from_rows([[]] * len(operators)),
        )
        boundary = Boundary(
            resident=frozenset(i for i, s in enumerate(storages) if s in self._resident),
            given=frozenset(
                i for i, s in enumerate(storages) if start == 0 and self._life[s][0] < 0
            ),
            later=frozenset(later),
        )
        return _Part(problem, boundary, operators, storages)

    def add(self, part: _Part, residency: Residency) -> None:
        """Put a part's order and residency behind those before."""
        start, steps = len(self._order), part.problem.operators
        self._order += [part.operators[v] for v in residency.order]
        entered = self._resident
        self._resident = set()
        for i, s in enumerate(part.storages):
            runs = residency.runs.get(i, [])
            shifted = [Run(start + run.start, start + run.end, -1) for run in runs]
            self._runs.setdefault(s, []).extend(shifted)
            if i not in part.boundary.later:
                continue
            at_end = bool(runs) and runs[-1].end == steps
            if at_end:
                self._resident.add(s)
            begins = 0 if s in entered else runs[0].start if runs else steps
            if not at_end or sum(run.end - run.start for run in runs) < steps - begins:
                self._copied.add(s)

    def residency(self) -> Residency:
        """Return that of the whole."""
        return Residency(tuple(self._order), self._runs)
