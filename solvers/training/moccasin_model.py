"""Moccasin's retention intervals of a training step, in CP-SAT.

"Moccasin: Efficient Tensor Rematerialization for Neural Networks" (arXiv 2304.14463): each operator
may run at so many times of the staged grid, its copies, and each of its results is retained from
such a time to an end of choice. The intervals fill the memory, and every copy reads results that
are retained. Operators here write several storages with an end each; the forward outputs of the
caller stay, so a newer instance of one counts for itself.
"""

from __future__ import annotations

import bisect
import math
from typing import TYPE_CHECKING, Any, NamedTuple

from solvers.training.slots import number_slots

if TYPE_CHECKING:
    from collections.abc import Mapping

    from planner.training.problem import TrainingProblem
    from solvers.training.stages import StagedGrid

_ORIGINAL = -1


class _Copy(NamedTuple):
    """One possible execution.

    Attributes
    ----------
    start : variable or int
        Its time.
    present : literal or True
    least, most : int
        Limits of the time.
    """

    start: Any
    present: Any
    least: int
    most: int


class _Reader(NamedTuple):
    """Something that wants storages at a time."""

    time: Any
    present: Any
    least: int
    most: int


class MoccasinModel:
    """The model and its variables.

    Attributes
    ----------
    model : ortools.sat.python.cp_model.CpModel
        Its cost is the time of all copies of forward operators in units of `ps_unit`, without those
        that are present in any case.
    """

    def __init__(
        self,
        problem: TrainingProblem,
        grid: StagedGrid,
        budget_bytes: int,
        copies: Mapping[int, int],
    ) -> None:
        """Build the model.

        Parameters
        ----------
        problem : TrainingProblem
        grid : StagedGrid
        budget_bytes : int
            At least `solvers.training.stages.least_base`.
        copies : mapping of int to int
            How often each forward operator may run at most.

        Raises
        ------
        ImportError
            If ortools cannot be loaded.
        """
        from ortools.sat.python import cp_model

        self._domain = cp_model.Domain.from_values
        self.model: Any = cp_model.CpModel()
        self.grid = grid
        self.slots = number_slots(grid)
        self.ps_unit = math.gcd(*problem.duration_ps.tolist()) or 1
        self._workspace = problem.workspace_bytes.tolist()
        self._in_forward = problem.in_forward.tolist()
        self.times: dict[int, list[int]] = {}
        for row in self.slots.of:
            for operator, time in row.items():
                if operator in copies:
                    self.times.setdefault(operator, []).append(time)
        self.copies: dict[int, list[_Copy]] = {
            operator: self._copies(operator, copies[operator]) for operator in self.times
        }
        self._late: dict[tuple[int, int], Any] = {}
        self._ends: dict[tuple[int, int], Any] = {}
        self._serving: dict[tuple[int, int, int, int], Any] = {}
        self._intervals: list[Any] = []
        self._demands: list[int] = []
        self._lengths: dict[tuple[int, int], Any] = {}
        self._retention()
        self._readers()
        self._memory(budget_bytes)
        # The first copy of an operator is no extra time, and of each that is needed there is one.
        self._cost = sum(
            int(problem.duration_ps[operator]) // self.ps_unit * copy.present
            for operator, copies in self.copies.items()
            for copy in copies[1:]
        )
        self.model.minimize(self._cost)

    def bound(self, cost_ps: int) -> None:
        """Tell of a proven lower bound on the cost."""
        if cost_ps > 0:
            self.model.add(self._cost >= -(-cost_ps // self.ps_unit))

    def _copies(self, operator: int, most: int) -> list[_Copy]:
        model, times = self.model, self.times[operator]
        copies: list[_Copy] = []
        for index in range(min(most, len(times))):
            if index == 0 and self._in_forward[operator]:
                copies.append(_Copy(times[0], True, times[0], times[0]))
                continue
            start: Any = times[-1]
            if index + 1 < len(times):
                start = model.new_int_var_from_domain(self._domain(times[index:]), "")
            present = model.new_bool_var("") if index else True
            if index:
                model.add(start > copies[-1].start).only_enforce_if(present)
            if index > 1:
                model.add_implication(present, copies[-1].present)
            copies.append(_Copy(start, present, times[index], times[-1]))
        return copies

    def _retention(self) -> None:
        """Intervals of all storages of all copies; those of one storage do not overlap."""
        model, sizes = self.model, self.grid.sizes
        latest = self._last_readers()
        for operator, copies in self.copies.items():
            for index, copy in enumerate(copies):
                for storage in self.grid.writes[operator]:
                    end = copy.start
                    if latest.get(storage, -1) > copy.least:
                        end = model.new_int_var(copy.least, max(latest[storage], copy.most), "")
                        if copy.most > copy.least:
                            model.add(end >= copy.start).only_enforce_if(copy.present)
                    if index:
                        before = self._ends[storage, index - 1]
                        model.add(before < copy.start).only_enforce_if(copy.present)
                    self._ends[storage, index] = end
                    if storage in self.grid.outputs and end is not copy.start:
                        late = self._is_late(operator, index)
                        early = [late.negated()] if late is not None else []
                        model.add(end <= self.slots.hand_over).only_enforce_if(*early)
                    self._occupy(copy, end, sizes[storage], (storage, index))
                self._occupy(copy, copy.start, self._workspace[operator])

    def _last_readers(self) -> dict[int, int]:
        """Return the last time at which each forward storage may be wanted."""
        grid, slots = self.grid, self.slots
        last = dict.fromkeys(grid.outputs, slots.hand_over)
        for row in slots.of:
            for operator, time in row.items():
                last.update({s: max(time, last.get(s, -1)) for s in grid.reads[operator]})
        last.update(dict.fromkeys(grid.gradients, slots.end))
        for storage in grid.outputs:
            if not self._is_renewable(storage):
                last[storage] = slots.hand_over
        return last

    def _is_renewable(self, output: int) -> bool:
        return self.copies[self.grid.producer[output]][-1].most > self.slots.hand_over

    def _is_late(self, operator: int, index: int) -> Any:
        """Return a literal: in the backward half if present. None if that cannot be."""
        copy = self.copies[operator][index]
        if copy.most <= self.slots.hand_over:
            return None
        if (operator, index) not in self._late:
            late = self.model.new_bool_var("")
            self._late[operator, index] = late
            self.model.add(copy.start > self.slots.hand_over).only_enforce_if(late)
            self.model.add(copy.start < self.slots.hand_over).only_enforce_if(late.negated())
        return self._late[operator, index]

    def _occupy(self, copy: _Copy, end: Any, size: int, key: tuple[int, int] = (-1, -1)) -> None:
        """Have bytes in use from a copy's time to another, both included."""
        if not size:
            return
        model = self.model
        if end is copy.start:
            interval = model.new_optional_fixed_size_interval_var(copy.start, 1, copy.present, "")
        else:
            length: Any = end + 1 - copy.start
            if copy.most > copy.least:
                length = model.new_int_var(0, self.slots.end + 1, "")
                self._lengths[key] = length
            interval = model.new_optional_interval_var(
                copy.start, length, end + 1, copy.present, ""
            )
        self._intervals.append(interval)
        self._demands.append(size)

    def _readers(self) -> None:
        """Whatever runs finds what it reads, and the ends of the halves what they hand out."""
        for operator, copies in self.copies.items():
            for index, copy in enumerate(copies):
                reader = _Reader(copy.start, copy.present, copy.least, copy.most)
                for storage in self.grid.reads[operator]:
                    self._serve((operator, index), reader, storage)
        for stage, row in zip(self.grid.stages, self.slots.of, strict=True):
            if stage.frontier >= 0 and stage.frontier not in self.copies:
                time = row[stage.frontier]
                for storage in self.grid.reads[stage.frontier]:
                    self._serve((stage.frontier, 0), _Reader(time, True, time, time), storage)
        for time, storages in (
            (self.slots.hand_over, self.grid.outputs),
            (self.slots.end, self.grid.gradients),
        ):
            for storage in sorted(storages):
                self._serve((-1, time), _Reader(time, True, time, time), storage)

    def _serve(self, key: tuple[int, int], reader: _Reader, storage: int) -> None:
        """Demand that a reader, if present, finds an instance of a storage."""
        model = self.model
        producer = self.grid.producer[storage]
        choices: list[Any] = []
        for index, copy in enumerate(self.copies[producer]):
            if copy.least >= reader.most:
                continue
            choice = model.new_bool_var("")
            self._serving[(*key, storage, index)] = choice
            model.add_implication(choice, copy.present)
            if copy.most >= reader.least:
                model.add(copy.start < reader.time).only_enforce_if(choice)
            model.add(self._ends[storage, index] >= reader.time).only_enforce_if(choice)
            choices.append(choice)
        if storage in self.grid.outputs and reader.most > self.slots.hand_over:
            choice = self._original(reader, storage)
            self._serving[(*key, storage, _ORIGINAL)] = choice
            choices.append(choice)
        model.add_bool_or(choices).only_enforce_if(reader.present)

    def _original(self, reader: _Reader, output: int) -> Any:
        """Return a literal by which a reader finds the caller's instance of an output."""
        model = self.model
        producer = self.grid.producer[output]
        choice = model.new_bool_var("")
        if reader.least <= self.slots.hand_over:
            model.add(reader.time > self.slots.hand_over).only_enforce_if(choice)
        for index, copy in enumerate(self.copies[producer]):
            late = self._is_late(producer, index)
            if late is not None:
                # Once it is computed again, reads are of the newer instance.
                model.add(copy.start > reader.time).only_enforce_if(choice, late, copy.present)
        return choice

    def _memory(self, budget_bytes: int) -> None:
        """One row of bytes over all times; what is there anyway as intervals of its own."""
        model, grid, slots = self.model, self.grid, self.slots
        held = [(slots.hand_over + 1, 1, grid.crossing_bytes)]
        for stage, row in zip(grid.stages, slots.of, strict=True):
            first = min(row.values(), default=0)
            free = len(row) - (stage.frontier >= 0)
            held.append((first, free, stage.base_bytes))
            if stage.frontier >= 0:
                # Workspaces of forward operators are intervals of their copies.
                workspace = 0 if stage.frontier in self.copies else self._workspace[stage.frontier]
                held.append((row[stage.frontier], 1, stage.frontier_bytes + workspace))
        unit = math.gcd(*grid.sizes.values(), *self._workspace) or 1
        demands = [size // unit for size in self._demands]
        # What is there anyway is no multiple of the unit, but what it leaves to the rest is.
        capacity = budget_bytes // unit
        for first, steps, size in held:
            if size and steps:
                self._intervals.append(model.new_fixed_size_interval_var(first, steps, ""))
                demands.append(capacity - (budget_bytes - size) // unit)
        model.add_cumulative(self._intervals, demands, capacity)

    def hint(self, times: Mapping[int, list[int]]) -> bool:
        """Start the search from a schedule, given by the times of its executions.

        Returns
        -------
        bool
            False, and nothing hinted, if an operator runs more often than the model has copies.
        """
        if any(len(times[operator]) > len(copies) for operator, copies in self.copies.items()):
            return False
        values: list[tuple[Any, int]] = []
        ends = self._served_by(times, values)
        for operator, copies in self.copies.items():
            for index, copy in enumerate(copies):
                there = index < len(times[operator])
                start = times[operator][index] if there else copy.most
                values += [(copy.start, start), (copy.present, there)]
                values.append((self._late.get((operator, index)), start > self.slots.hand_over))
                for storage in self.grid.writes[operator]:
                    end = ends.get((storage, index), start)
                    values.append((self._ends[storage, index], end))
                    values.append((self._lengths.get((storage, index)), end + 1 - start))
        self.model.clear_hints()
        hinted: set[int] = set()
        for variable, value in values:
            # The end of what nobody reads is its start.
            if variable is not None and not isinstance(variable, int):
                if variable.index not in hinted:
                    self.model.add_hint(variable, value)
                hinted.add(variable.index)
        return True

    def _served_by(
        self, times: Mapping[int, list[int]], values: list[tuple[Any, int]]
    ) -> dict[tuple[int, int], int]:
        """Add the values of the literals of all readers; return the last use of all instances."""
        frontier_time = {
            stage.frontier: row.get(stage.frontier, -1)
            for stage, row in zip(self.grid.stages, self.slots.of, strict=True)
        }
        ends: dict[tuple[int, int], int] = {}
        chosen: dict[tuple[int, int, int], int] = {}
        for reader, copy, storage in {key[:3] for key in self._serving}:
            if reader < 0:
                time = copy
            elif reader not in self.copies:
                time = frontier_time[reader]
            elif copy < len(times[reader]):
                time = times[reader][copy]
            else:
                continue
            of_producer = times[self.grid.producer[storage]]
            index = bisect.bisect_left(of_producer, time) - 1
            if storage in self.grid.outputs and time > self.slots.hand_over > of_producer[index]:
                index = _ORIGINAL
            else:
                ends[storage, index] = max(time, ends.get((storage, index), -1))
            chosen[reader, copy, storage] = index
        for key, literal in self._serving.items():
            values.append((literal, chosen.get(key[:3], _ORIGINAL - 1) == key[3]))
        return ends

    def ran(self, solver: Any) -> set[tuple[int, int]]:
        """Return (stage, operator) of what a solution executes."""
        stage_of = {
            (operator, time): t
            for t, row in enumerate(self.slots.of)
            for operator, time in row.items()
        }
        return {
            (stage_of[operator, solver.value(copy.start)], operator)
            for operator, copies in self.copies.items()
            for copy in copies
            if solver.value(copy.present)
        }
