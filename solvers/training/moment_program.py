"""A program in whole numbers that every schedule of a training step within a budget satisfies.

Some moments of the backward half are chosen. Of each schedule let ``held(s, a)`` say whether
forward storage s is somewhere at the a-th of them, ``run(f, a)`` whether forward operator f runs
between it and the next one, and ``later(f, a)`` whether it runs at any time after it.

- What is held at the next one was held at the a-th, or its operator ran in between.
- So with what the backward half reads in between, and with what a forward operator that runs in
  between reads; and so with all that is read, or runs, at any time after it.
- What is held at a moment fits into what the budget leaves there, and into the host.
- An operator that runs in the forward half runs again wherever it runs; one that the backward half
  alone needs runs for the first time at no cost.

This is Checkmate's program (arXiv 1910.02653) with few stages, in any order within them, and
without the memory between moments. ``later`` adds nothing in whole numbers and much to the
continuous relaxation. With one moment the program is a least cut under a knapsack.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from solvers.milp.program import Rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from planner.training.problem import TrainingProblem
    from solvers.milp.program import Program
    from solvers.training.moments import Moments

_ALWAYS = -1
_NEVER = -2


def moment_program(
    problem: TrainingProblem, known: Moments, budget_bytes: int, chosen: Sequence[int]
) -> Program:
    """Return the program whose least cost bounds the extra time, in picoseconds.

    Parameters
    ----------
    problem : TrainingProblem
    known : Moments
        Its moments.
    budget_bytes : int
    chosen : Sequence of int
        Moments, ascending.
    """
    return _Builder(problem, known, budget_bytes, chosen).build()


def held_name(storage: int, moment: int) -> str:
    """Return the name of the column that says whether a storage is held at a moment."""
    return f"held {storage} at {moment}"


class _Builder:
    def __init__(
        self, problem: TrainingProblem, known: Moments, budget_bytes: int, chosen: Sequence[int]
    ) -> None:
        self.problem = problem
        self.known = known
        self.budget = budget_bytes + (problem.host.capacity_bytes if problem.host else 0)
        self.chosen = list(chosen)
        self.rows = Rows()
        self.size = problem.size_bytes.tolist()
        self.duration = problem.duration_ps.tolist()
        self.producer = problem.producer.tolist()
        self.recomputable = problem.recomputable.tolist()
        # Storages without bytes and forward outputs are there whenever they are wanted.
        outputs = set(problem.forward_outputs.tolist())
        self.reads = {
            f: [s for s in problem.reads.row(f).tolist() if self.size[s] and s not in outputs]
            for f in problem.forward_operators.tolist()
        }
        last = len(known.wanted) - 1
        self.demands = [
            {s for m in range(a + 1, b + 1) for s in known.wanted[m] if self.size[s]}
            for a, b in pairwise([-1, *self.chosen, last])
        ]
        later: set[int] = set()
        self.useful: list[set[int]] = [set()]
        for demand in reversed(self.demands[1:]):
            later |= demand
            self.useful.append(self._sources(later))
        self.useful.reverse()

    def build(self) -> Program:
        held = [self._held(index) for index in range(len(self.chosen))]
        held.append({})
        first_runs = self._first_runs(held[0])
        # Executions of those that run once at no cost.
        executions: dict[int, list[int]] = {f: [run] for f, run in first_runs.items()}
        neighbours: list[dict[int, int]] = []
        for before, after, demand in zip(held[:-1], held[1:], self.demands[1:], strict=True):
            run = {
                f: self.rows.variable("", 0, 1, cost=0 if f in executions else self.duration[f])
                for f in self._runs(demand.union(after))
            }
            for operator in run.keys() & executions.keys():
                executions[operator].append(run[operator])
            self._between(before, after, demand, run)
            neighbours.append(run)
        demand: set[int] = set(self.demands[-1])
        for a in range(len(self.chosen) - 2, -1, -1):
            demand |= self.demands[a + 1]
            run = {f: self.rows.variable("", 0, 1) for f in self._runs(demand)}
            for operator, column in run.items():
                parts = [(r[operator], 1) for r in neighbours[a:] if operator in r]
                self.rows.add("", [(column, -1), *parts], lower=0)
            self._between(held[a], {}, demand, run)
        for operator, columns in sorted(executions.items()):
            cost = self.duration[operator]
            extra = self.rows.variable("", 0, len(columns), cost=cost)
            self.rows.add("", [(extra, 1), *((c, -1) for c in columns)], lower=-1)
        return self.rows.program()

    def _sources(self, storages: Iterable[int]) -> set[int]:
        """Return storages and those of which they can be made again."""
        found = set(storages)
        stack = list(found)
        while stack:
            operator = self.producer[stack.pop()]
            if self.recomputable[operator]:
                fresh = [s for s in self.reads[operator] if s not in found]
                found.update(fresh)
                stack += fresh
        return found

    def _runs(self, storages: Iterable[int]) -> list[int]:
        """Return the operators of which some of these storages can be made again."""
        makers = {self.producer[s] for s in self._sources(storages)}
        return sorted(f for f in makers if self.recomputable[f])

    def _held(self, index: int) -> dict[int, int]:
        """Return columns for what is held at a moment, and add the row of its memory."""
        known, moment = self.known, self.chosen[index]
        columns: dict[int, int] = {}
        for storage in sorted(self.useful[index] | self.demands[index]):
            certain = known.first[storage] <= moment <= known.last[storage]
            if certain or storage in known.wanted[moment]:
                columns[storage] = _ALWAYS
            elif storage in self.useful[index]:
                columns[storage] = self.rows.variable(held_name(storage, moment), 0, 1)
        terms = [(column, self.size[s]) for s, column in columns.items() if column != _ALWAYS]
        self.rows.add("", terms, upper=self.budget - int(known.base_bytes[moment]))
        return columns

    def _first_runs(self, held: dict[int, int]) -> dict[int, int]:
        """Return columns for runs before the first moment, of those that need not have run."""
        optional = ~self.problem.in_forward
        runs: dict[int, int] = {}
        for operator in self._runs(held):
            if optional[operator]:
                runs[operator] = self.rows.variable("", 0, 1)
                for before in {self.producer[s] for s in self.reads[operator]} & runs.keys():
                    self.rows.add("", [(runs[operator], 1), (runs[before], -1)], upper=0)
        for storage, column in held.items():
            run = runs.get(self.producer[storage])
            if run is not None and column != _ALWAYS:
                self.rows.add("", [(column, 1), (run, -1)], upper=0)
        return runs

    def _between(
        self, before: dict[int, int], after: dict[int, int], demand: set[int], run: dict[int, int]
    ) -> None:
        """Add what is to be there between two moments, or at the second one."""
        for operator, column in run.items():
            for storage in self.reads[operator]:
                self._there(storage, before, run, column)
        for storage, column in after.items():
            self._there(storage, before, run, column)
        for storage in sorted(demand):
            if after.get(storage) != _ALWAYS:
                self._there(storage, before, run, _ALWAYS)

    def _there(
        self, storage: int, before: dict[int, int], run: dict[int, int], column: int
    ) -> None:
        """Add that a storage is held before or made after that, if a column demands it."""
        ways = [before.get(storage, _NEVER), run.get(self.producer[storage], _NEVER)]
        if ways[0] == _ALWAYS:
            return
        terms = [(way, 1) for way in ways if way >= 0]
        if column != _ALWAYS:
            terms.append((column, -1))
        self.rows.add("", terms, lower=1 if column == _ALWAYS else 0)
