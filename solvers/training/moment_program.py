"""A linear program that every schedule of a training step within a budget satisfies.

Some moments of the backward half are chosen; stages lie between them. Of each schedule let
``held(s, k)`` say whether forward storage s is somewhere at moment k, and ``run(f, k)`` whether
forward operator f runs in stage k, which ends at moment k; the last stage follows the last moment.

- What is held at a moment was held at the one before, or its operator ran in between.
- So with what a backward operator of the stage reads, and with what a forward operator that runs in
  the stage reads.
- What is held at a moment fits into what the budget leaves there, and into the host.
- An operator that runs in the forward half runs again in each stage in which it runs; one that the
  backward half alone needs runs for the first time at no cost.

This is Checkmate's program (arXiv 1910.02653) for few stages, in any order within them, and without
the memory between moments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

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
    chosen : Sequence of int
        Moments, ascending.
    """
    return _Builder(problem, known, budget_bytes, chosen).build()


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
        self.producer = problem.producer.tolist()
        self.recomputable = problem.recomputable.tolist()
        # Storages without bytes and forward outputs are there whenever they are wanted.
        outputs = set(problem.forward_outputs.tolist())
        self.forward = problem.forward_operators.tolist()
        self.reads = {
            f: [s for s in problem.reads.row(f).tolist() if self.size[s] and s not in outputs]
            for f in self.forward
        }
        self.writes = {f: problem.writes.row(f).tolist() for f in self.forward}
        self.demands = self._demands()
        self.useful = self._useful()

    def _demands(self) -> list[set[int]]:
        """Of each stage, the forward storages that are read in it, or at its moment."""
        bounds = [*self.chosen, len(self.known.wanted) - 1]
        demands: list[set[int]] = []
        after = -1
        for last in bounds:
            wanted = {s for m in range(after + 1, last + 1) for s in self.known.wanted[m]}
            demands.append({s for s in wanted if self.size[s]})
            after = last
        return demands

    def _useful(self) -> list[set[int]]:
        """Of each moment, the storages of which something that is read later can be made."""
        found: list[set[int]] = []
        reached: set[int] = set()
        for demand in reversed(self.demands[1:]):
            stack = [s for s in demand if s not in reached]
            reached.update(stack)
            while stack:
                operator = self.producer[stack.pop()]
                if self.recomputable[operator]:
                    fresh = [s for s in self.reads[operator] if s not in reached]
                    reached.update(fresh)
                    stack += fresh
            found.append(set(reached))
        return found[::-1]

    def build(self) -> Program:
        first_runs = self._first_runs()
        held = self._held(0, self.useful[0])
        for storage, column in held.items():
            run = first_runs.get(self.producer[storage])
            if run is not None and column >= 0:
                self.rows.add("", [(column, 1), (run, -1)], upper=0)
        again: dict[int, list[int]] = {f: [run] for f, run in first_runs.items()}
        for stage in range(1, len(self.demands)):
            useful = self.useful[stage - 1]
            run = {
                f: self.rows.variable(
                    "", 0, 1, cost=0 if f in again else float(self.problem.duration_ps[f])
                )
                for f in self.forward
                if self.recomputable[f] and any(s in useful for s in self.writes[f])
            }
            for operator, column in run.items():
                if operator in again:
                    again[operator].append(column)
                for storage in self.reads[operator]:
                    self._there(storage, held, run, [(column, -1)], 0)
            following = {}
            if stage < len(self.chosen):
                following = self._held(stage, self.useful[stage])
                for storage, column in following.items():
                    if column == _ALWAYS:
                        self._there(storage, held, run, [], 1)
                    else:
                        self._there(storage, held, run, [(column, -1)], 0)
            for storage in self.demands[stage]:
                if following.get(storage) != _ALWAYS:
                    self._there(storage, held, run, [], 1)
            held = following
        for operator, columns in again.items():
            extra = self.rows.variable(
                "", 0, len(columns), cost=float(self.problem.duration_ps[operator])
            )
            self.rows.add("", [(extra, 1), *((c, -1) for c in columns)], lower=-1)
        return self.rows.program()

    def _first_runs(self) -> dict[int, int]:
        """Return columns for having run before the first moment, of those that need not have."""
        useful = self.useful[0]
        runs: dict[int, int] = {}
        for operator in self.forward:
            if self.problem.in_forward[operator]:
                continue
            if not any(s in useful for s in self.writes[operator]):
                continue
            runs[operator] = self.rows.variable("", 0, 1)
            for storage in self.reads[operator]:
                before = runs.get(self.producer[storage])
                if before is not None:
                    self.rows.add("", [(runs[operator], 1), (before, -1)], upper=0)
        return runs

    def _held(self, index: int, useful: Iterable[int]) -> dict[int, int]:
        """Return columns for what is held at a chosen moment, and add the row of its memory."""
        known, moment = self.known, self.chosen[index]
        columns: dict[int, int] = {}
        for storage in sorted({*useful, *self.demands[index]}):
            certain = known.first[storage] <= moment <= known.last[storage]
            if certain or storage in known.wanted[moment]:
                columns[storage] = _ALWAYS
            elif storage in useful:
                columns[storage] = self.rows.variable("", 0, 1)
        self.rows.add(
            "",
            [(column, self.size[s]) for s, column in columns.items() if column >= 0],
            upper=self.budget - int(known.base_bytes[moment]),
        )
        return columns

    def _there(
        self,
        storage: int,
        held: dict[int, int],
        run: dict[int, int],
        terms: list[tuple[int, int]],
        least: int,
    ) -> None:
        """Add that a storage is held before the stage or made in it, if the terms demand it."""
        before = held.get(storage, _NEVER)
        if before == _ALWAYS:
            return
        terms = [*terms]
        if before >= 0:
            terms.append((before, 1))
        column = run.get(self.producer[storage])
        if column is not None:
            terms.append((column, 1))
        self.rows.add("", terms, lower=least)
