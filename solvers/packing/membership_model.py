"""Which group in which memory as a CP-SAT model: bytes in use in each section, and cuts.

What is legal in it is a relaxation: that bytes in use keep to a capacity does not mean that there
are offsets. Sets of groups found impossible in a memory become cuts.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from solvers.cp_sat import LARGEST_SUM, new_solver, solve_until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.packing.problem import PackingProblem
    from solvers.packing.groups import Group
    from solvers.packing.loads import Loads
    from solvers.protocol import Deadline

# Beyond so many coefficients building the model takes too long.
MOST_COEFFICIENTS = 1_000_000


class Answer(NamedTuple):
    """A choice of the fewest displaced bytes within the model, if one was found in time.

    Attributes
    ----------
    choice : list of int or None
        Memory of each group.
    bound : int
        On the bytes displaced by all choices.
    impossible : bool
        There is no choice.
    cpu_s : float
        Taken by CP-SAT in a thread of its own.
    """

    choice: list[int] | None
    bound: int
    impossible: bool
    cpu_s: float


class MembershipModel:
    """The model, to which cuts are added between solves.

    Parameters
    ----------
    permille : int
        Part of the capacities that bytes in use may take. Below 1,000 there is slack for the
        packer, and the bounds prove nothing.

    Raises
    ------
    ImportError
        If ortools cannot be loaded.
    """

    def __init__(
        self,
        problem: PackingProblem,
        groups: Sequence[Group],
        loads: Loads,
        *,
        permille: int = 1000,
        seed: int = 0,
    ) -> None:
        from ortools.sat.python import cp_model

        self._cp = cp_model
        self._seed = seed
        self._groups = groups
        self._model = cp_model.CpModel()
        self._in: list[dict[int, Any]] = []
        for group in groups:
            chosen = {memory: self._model.new_bool_var("") for memory in group.memories}
            self._model.add_exactly_one(chosen.values())
            self._in.append(chosen)
        for memory, space in enumerate(problem.memories):
            if space.capacity is not None:
                self._add_capacity(memory, space.capacity * permille // 1000, loads)
        costs = [
            (bytes_, chosen[memory])
            for group, chosen in zip(groups, self._in, strict=True)
            for memory, bytes_ in zip(group.memories, group.displaced, strict=True)
            if bytes_
        ]
        self._unit = math.gcd(*(bytes_ for bytes_, _ in costs)) or 1
        self._model.minimize(sum(bytes_ // self._unit * chosen for bytes_, chosen in costs))

    def _add_capacity(self, memory: int, capacity: int, loads: Loads) -> None:
        members = [index for index, chosen in enumerate(self._in) if memory in chosen]
        crowded = loads.total(members) > capacity
        rows: dict[int, list[tuple[int, int]]] = {}
        for group in members:
            for first, last, bytes_ in loads.of_group[group]:
                for section in (np.flatnonzero(crowded[first:last]) + first).tolist():
                    rows.setdefault(section, []).append((group, bytes_))
        for row in {tuple(row) for row in rows.values()}:
            unit = math.gcd(*(bytes_ for _, bytes_ in row))
            used = sum(bytes_ // unit * self._in[group][memory] for group, bytes_ in row)
            self._model.add(used <= capacity // unit)

    def exclude(self, memory: int, members: Sequence[int]) -> None:
        """Add that these groups do not all lie in a memory."""
        self._model.add_bool_or(~self._in[group][memory] for group in members)

    def solve(self, deadline: Deadline) -> Answer:
        """Find the best choice."""
        solver = new_solver(self._seed)
        status, cpu_s = solve_until(solver, self._model, deadline)
        if status == self._cp.INFEASIBLE:
            return Answer(None, 0, True, cpu_s)
        bound = math.ceil(solver.best_objective_bound - 1e-6) * self._unit
        if status == self._cp.UNKNOWN:
            return Answer(None, max(bound, 0), False, cpu_s)
        choice = [
            next(memory for memory, variable in chosen.items() if solver.value(variable))
            for chosen in self._in
        ]
        return Answer(choice, bound, False, cpu_s)


def too_large(problem: PackingProblem, groups: Sequence[Group], loads: Loads) -> str:
    """Say why the model would be too large to be worth building, or nothing."""
    capped = {m for m, memory in enumerate(problem.memories) if memory.capacity is not None}
    coefficients = sum(
        (load.last - load.first) * len(capped.intersection(group.memories))
        for group, spans in zip(groups, loads.of_group, strict=True)
        for load in spans
    )
    if coefficients > MOST_COEFFICIENTS:
        return "too many buffers to prove that no other choice displaces less"
    if sum(problem.buffers[member].size for g in groups for member in g.members) > LARGEST_SUM:
        return "too many bytes to prove that no other choice displaces less"
    return ""
