"""The steps at which operators can run and storages can be resident, and how large that gets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.joint_problem import JointProblem
    from solvers.cosma.model import Boundary

# Programs with more variables, or more entries in the rows of (4), are not started. Those of a
# fixed schedule are easier.
MOST_COLUMNS = 20_000
MOST_FIXED_COLUMNS = 60_000
MOST_ENTRIES = 500_000


@dataclass(frozen=True)
class Windows:
    """Ranges of steps, both ends included, counted from 1.

    Attributes
    ----------
    steps : int
    counted : tuple of int
        Storages that take room: with bytes, and used or passing through.
    operators : tuple of (int, int)
        First and last step of each operator.
    creations, storages : dict of storage to (int, int)
        From the earliest to the latest creation, and to the latest use. What is there from the
        start is created at step 0.
    """

    steps: int
    counted: tuple[int, ...]
    operators: tuple[tuple[int, int], ...]
    creations: dict[int, tuple[int, int]]
    storages: dict[int, tuple[int, int]]

    @classmethod
    def of(
        cls,
        problem: JointProblem,
        order: Sequence[int] | None = None,
        boundary: Boundary | None = None,
    ) -> Windows:
        """Derive them from the precedences, or from a given order."""
        steps = problem.operators
        if order is None:
            before, after = _related(problem)
            operators = tuple(
                (before[v].bit_count() + 1, steps - after[v].bit_count()) for v in range(steps)
            )
        else:
            step_of = {int(v): t for t, v in enumerate(order, 1)}
            operators = tuple((step_of[v], step_of[v]) for v in range(steps))
        later = frozenset[int]() if boundary is None else boundary.later
        counted: list[int] = []
        creations: dict[int, tuple[int, int]] = {}
        storages: dict[int, tuple[int, int]] = {}
        for s, size in enumerate(problem.size.tolist()):
            users = problem.users.row(s).tolist()
            if not size or not (users or s in later):
                continue
            starters = problem.starters.row(s).tolist()
            counted.append(s)
            creations[s] = (
                min((operators[v][0] for v in starters), default=0),
                max((operators[v][1] for v in starters), default=0),
            )
            last = max((operators[v][1] for v in users), default=1)
            end = steps if problem.kept[s] or s in later else last
            storages[s] = creations[s][0], end
        return cls(steps, tuple(counted), operators, creations, storages)

    def at(self, t: int) -> Sequence[int]:
        """Storages that can be resident at a step."""
        return self._by_step[t]

    @cached_property
    def _by_step(self) -> list[list[int]]:
        rows: list[list[int]] = [[] for _ in range(self.steps + 1)]
        for s in self.counted:
            first, last = self.storages[s]
            for t in range(max(first, 1), last + 1):
                rows[t].append(s)
        return rows

    def too_large(self, *, addresses: bool, fixed: bool = False) -> bool:
        """Whether the program of least traffic is not worth starting."""
        most = MOST_FIXED_COLUMNS if fixed else MOST_COLUMNS
        return self.columns(addresses=addresses) > most or self.entries() > MOST_ENTRIES

    def columns(self, *, addresses: bool) -> int:
        """Return about how many variables the program of least traffic has."""
        total = sum(last - first + 1 for first, last in self.operators)
        total += 3 * sum(last - first for first, last in self.storages.values())
        if addresses:
            total += sum(len(row) * len(row) for row in self._by_step)
        return total

    def entries(self) -> int:
        """Return about how many entries its largest family of rows has, (4)."""
        return sum((last - first) ** 2 // 2 for first, last in self.storages.values())


def _related(problem: JointProblem) -> tuple[list[int], list[int]]:
    """Ancestors and descendants of each operator, as bits."""
    count = problem.operators
    before, after = [0] * count, [0] * count
    rows = [problem.predecessors.row(v).tolist() for v in range(count)]
    for v in range(count):
        for u in rows[v]:
            before[v] |= before[u] | 1 << u
    for v in reversed(range(count)):
        for u in rows[v]:
            after[u] |= after[v] | 1 << v
    return before, after
