"""Checkmate's integer program of a training step, in plain arrays.

"Checkmate: Breaking the Memory Wall with Optimal Tensor Rematerialization" (arXiv 1910.02653): what
is computed (R) and kept (S) in each stage, the memory in use (U) after each operator, and what may
be freed (F). Operators here write several storages, each kept and freed by itself; some run once;
they have workspaces; and the halves are parted by a moment at which only storages cross.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from planner.training.sequences import schedule_of
from solvers.milp.program import Rows
from solvers.training.stages import stage_sequences

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from planner.training.problem import TrainingProblem
    from planner.training.schedule import TrainingSchedule
    from solvers.milp.program import Program
    from solvers.protocol import Deadline
    from solvers.training.stages import Stage, StagedGrid

_Term = tuple[int, float]


class CheckmateModel(NamedTuple):
    """The program, and what its columns mean.

    Attributes
    ----------
    program : Program
        Its cost is the time of all executions in stages in which operators are no frontier.
    computed : dict of (stage, operator) to int
        Columns R; without those of frontiers, which are 1.
    kept : dict of (stage, storage) to int
        Columns S: kept from the stage before into this one.
    bytes_unit, ps_unit : int
        Of the memory and of the cost.
    most_units : int
        The budget, in units of memory.
    """

    program: Program
    computed: dict[tuple[int, int], int]
    kept: dict[tuple[int, int], int]
    bytes_unit: int
    ps_unit: int
    most_units: int


def checkmate_model(
    problem: TrainingProblem, grid: StagedGrid, budget_bytes: int, *, deadline: Deadline
) -> CheckmateModel | None:
    """Build the program of all schedules in the grid with peaks up to the budget.

    Every operator alone has to fit, see `solvers.training.stages.least_base`. None if the time does
    not suffice.
    """
    return _Build(problem, grid, budget_bytes).model(deadline)


def schedule_of_point(
    problem: TrainingProblem,
    grid: StagedGrid,
    model: CheckmateModel,
    point: NDArray[np.float64],
) -> TrainingSchedule:
    """Return the schedule that a solution of the program describes."""
    computed = {key for key, column in model.computed.items() if point[column] > 0.5}
    return schedule_of(problem, *stage_sequences(grid, computed))


class _Build:
    """The rows, stage by stage."""

    def __init__(self, problem: TrainingProblem, grid: StagedGrid, budget_bytes: int) -> None:
        self.grid = grid
        self.budget = budget_bytes
        self.workspace = problem.workspace_bytes.tolist()
        self.duration = problem.duration_ps.tolist()
        self.rows = Rows()
        self.computed: dict[tuple[int, int], int] = {}
        self.kept: dict[tuple[int, int], int] = {}
        self.original: dict[tuple[int, int], int] = {}
        self.bytes_unit = math.gcd(*grid.sizes.values(), *self.workspace) or 1
        self.ps_unit = math.gcd(*self.duration) or 1
        self.position = [
            {operator: k for k, operator in enumerate(stage.operators)} for stage in grid.stages
        ]
        self.users: dict[int, list[int]] = {s: [] for s in grid.sizes}
        for operator, reads in enumerate(grid.reads):
            for storage in reads:
                self.users[storage].append(operator)

    def model(self, deadline: Deadline) -> CheckmateModel | None:
        self._computed_columns()
        self._kept_columns()
        for t, stage in enumerate(self.grid.stages):
            if deadline.expired():
                return None
            self._original_outputs(t)
            self._dependencies(t, stage)
            self._keeping(t)
            self._memory(t, stage)
        self._crossing()
        self._end()
        return CheckmateModel(
            self.rows.program(),
            self.computed,
            self.kept,
            self.bytes_unit,
            self.ps_unit,
            self.budget // self.bytes_unit,
        )

    def _computed_columns(self) -> None:
        for t, stage in enumerate(self.grid.stages):
            for operator in stage.operators:
                if operator != stage.frontier:
                    cost = self.duration[operator] // self.ps_unit
                    self.computed[t, operator] = self.rows.binary(f"R_{t}_{operator}", float(cost))

    def _kept_columns(self) -> None:
        """S of what may be there and may be wanted."""
        grid = self.grid
        ends = len(grid.stages)
        last = {s: grid.crossing if s in grid.outputs else -1 for s in grid.sizes}
        last.update(dict.fromkeys(grid.gradients, ends))
        first: dict[int, int] = {}
        copied: dict[int, int] = {}
        for t, stage in enumerate(grid.stages):
            for operator in stage.operators:
                for storage in grid.reads[operator]:
                    last[storage] = max(last[storage], t)
                for storage in grid.writes[operator]:
                    first.setdefault(storage, t)
                    if t >= grid.crossing and storage in grid.outputs:
                        copied.setdefault(storage, t)
        for storage, begin in first.items():
            for t in range(begin + 1, last[storage] + 1):
                # The caller's instance of a forward output is there anyway, a newer one may be.
                if storage in grid.outputs and t > grid.crossing and t <= copied.get(storage, ends):
                    continue
                self.kept[t, storage] = self.rows.binary(f"S_{t}_{storage}")

    def _original_outputs(self, t: int) -> None:
        """A: no newer instance of a forward output has been computed in the backward half."""
        if t < self.grid.crossing:
            return
        for storage in self.grid.outputs:
            if not self.grid.is_copied(storage, t):
                continue
            column = self.rows.binary(f"A_{t}_{storage}")
            before = self.original.get((t - 1, storage))
            if before is not None:
                self.rows.add(f"A1_{t}_{storage}", [(column, 1.0), (before, -1.0)], upper=0.0)
            again = self.computed.get((t, self.grid.producer[storage]))
            if again is not None:
                self.rows.add(f"A2_{t}_{storage}", [(column, 1.0), (again, 1.0)], upper=1.0)
            self.original[t, storage] = column

    def _sources(self, t: int, storage: int) -> tuple[list[_Term], float]:
        """Return what has a storage available in a stage: columns, and 1 if it is anyway."""
        grid = self.grid
        producer = grid.producer[storage]
        constant = float(t < len(grid.stages) and grid.stages[t].frontier == producer)
        columns = [self.computed.get((t, producer))]
        if storage in grid.outputs and t >= grid.crossing:
            reached = min(t, len(grid.stages) - 1)
            if not grid.is_copied(storage, reached):
                return [], 1.0
            columns.append(self.original[reached, storage])
            if t > grid.crossing:
                columns.append(self.kept.get((t, storage)))
        else:
            columns.append(self.kept.get((t, storage)))
        return [(column, 1.0) for column in columns if column is not None], constant

    def _dependencies(self, t: int, stage: Stage) -> None:
        for operator in stage.operators:
            for storage in self.grid.reads[operator]:
                sources, constant = self._sources(t, storage)
                if constant:
                    continue
                if operator == stage.frontier:
                    self.rows.add(f"D_{t}_{operator}_{storage}", sources, lower=1.0)
                else:
                    own = self.computed[t, operator]
                    terms = [(own, 1.0), *((column, -1.0) for column, _ in sources)]
                    self.rows.add(f"D_{t}_{operator}_{storage}", terms, upper=0.0)

    def _keeping(self, t: int) -> None:
        """What a stage hands on, it had."""
        grid = self.grid
        for storage in grid.sizes:
            column = self.kept.get((t + 1, storage))
            if column is None:
                continue
            producer = grid.producer[storage]
            if grid.stages[t].frontier == producer:
                continue
            before = [self.computed.get((t, producer)), self.kept.get((t, storage))]
            if storage in grid.outputs and t == grid.crossing:
                before.pop()
            terms = [(c, -1.0) for c in before if c is not None]
            self.rows.add(f"K_{t + 1}_{storage}", [(column, 1.0), *terms], upper=0.0)

    def _memory(self, t: int, stage: Stage) -> None:
        """U after each operator; it counts forward storages alone."""
        carried = self._carried(t)
        before: tuple[int, int] | None = None
        for operator in stage.operators:
            at_frontier = operator == stage.frontier
            base = stage.frontier_bytes if at_frontier else stage.base_bytes
            room = (self.budget - base) // self.bytes_unit
            column = self.rows.variable(f"U_{t}_{operator}", 0.0, float(room))
            terms: list[_Term] = [(column, 1.0)]
            if before is None:
                terms += [(c, -size) for c, size in carried]
            else:
                terms += [(before[0], -1.0), *self._freed(t, stage, before[1])]
            written = self._units(sum(self.grid.sizes[s] for s in self.grid.writes[operator]))
            workspace = self._units(self.workspace[operator])
            if at_frontier:
                self.rows.add(f"U_{t}_{operator}", terms, lower=written)
                self.rows.add(f"W_{t}_{operator}", [(column, 1.0)], upper=room - workspace)
            else:
                own = self.computed[t, operator]
                self.rows.add(f"U_{t}_{operator}", [*terms, (own, -written)], lower=0.0)
                if workspace:
                    self.rows.add(
                        f"W_{t}_{operator}", [(column, 1.0), (own, workspace)], upper=float(room)
                    )
            before = column, operator

    def _carried(self, t: int) -> list[_Term]:
        grid = self.grid
        return [
            (self.kept[t, s], self._units(size))
            for s, size in grid.sizes.items()
            if (t, s) in self.kept and not (t == grid.crossing and s in grid.outputs)
        ]

    def _freed(self, t: int, stage: Stage, operator: int) -> list[_Term]:
        """Return F times size for what may be freed right after an operator."""
        grid = self.grid
        freed: list[_Term] = []
        for storage in (*grid.reads[operator], *grid.writes[operator]):
            limits: list[int] = []
            if not grid.sizes[storage]:
                continue
            if storage in grid.outputs:
                if t + 1 == grid.crossing:
                    continue
                if t >= grid.crossing and storage in grid.reads[operator]:
                    if (t, storage) not in self.original:
                        continue
                    limits.append(self.original[t, storage])
            later = [j for j in self.users[storage] if self._runs_after(t, j, operator)]
            if stage.frontier in later:
                continue
            limits += [self.computed[t, j] for j in later]
            if (t + 1, storage) in self.kept:
                limits.append(self.kept[t + 1, storage])
            name = f"F_{t}_{storage}_{operator}"
            column = self.rows.binary(name)
            freed.append((column, self._units(grid.sizes[storage])))
            if operator != stage.frontier:
                own = self.computed[t, operator]
                self.rows.add(f"{name}_R", [(column, 1.0), (own, -1.0)], upper=0.0)
            for limit in limits:
                self.rows.add(f"{name}_{limit}", [(column, 1.0), (limit, 1.0)], upper=1.0)
        return freed

    def _runs_after(self, t: int, user: int, operator: int) -> bool:
        position = self.position[t]
        return user in position and position[user] > position[operator]

    def _crossing(self) -> None:
        grid = self.grid
        for storage in grid.outputs:
            column = self.kept[grid.crossing, storage]
            self.rows.add(f"O_{storage}", [(column, 1.0)], lower=1.0)
        room = (self.budget - grid.crossing_bytes) // self.bytes_unit
        self.rows.add("crossing", self._carried(grid.crossing), upper=float(room))

    def _end(self) -> None:
        for storage in self.grid.gradients:
            sources, constant = self._sources(len(self.grid.stages), storage)
            if not constant:
                self.rows.add(f"G_{storage}", sources, lower=1.0)

    def _units(self, size: int) -> float:
        return float(size // self.bytes_unit)


def two_phases(grid: StagedGrid, kept: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """Return the least that has to be computed if so much is kept, as (stage, operator).

    The second phase of Checkmate's rounding. What is kept and of no use counts as dropped, and what
    cannot be computed where it is wanted as kept.
    """
    computed: set[tuple[int, int]] = set()
    handed_on = set(grid.gradients)
    for t in range(len(grid.stages) - 1, -1, -1):
        stage = grid.stages[t]
        free = grid.outputs if t >= grid.crossing else frozenset()
        wanted = handed_on - free
        handed_on = set(grid.outputs) if t == grid.crossing else set()
        for operator in reversed(stage.operators):
            own = wanted.intersection(grid.writes[operator])
            wanted -= own
            if operator != stage.frontier:
                if all((t, storage) in kept for storage in own):
                    handed_on |= own
                    continue
                computed.add((t, operator))
            wanted.update(s for s in grid.reads[operator] if s not in free)
        handed_on |= wanted
    return computed
