"""What every step of a fixed order demands of the nearest memory."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from planner.problem import Outcome, Status

if TYPE_CHECKING:
    from planner.problem import ReplacementProblem, ReplacementSolution


@dataclass(frozen=True, slots=True)
class Demand:
    """A replacement problem step by step, in plain integers.

    Attributes
    ----------
    steps : int
    capacity : int
        Bytes, rounded down to the alignment: nothing aligned can use the rest.
    exact_capacity : int
        Bytes, not rounded.
    alignment : int
    size, rounded : list of int, per storage
        Exact bytes, which traffic counts, and bytes rounded up, which occupy memory.
    has_copy : list of bool, per storage
    uses : list of list of int, per storage
        Ascending steps.
    operands : list of list of int, per step
        Storages that must be resident.
    following : list of list of int, per step
        For each operand its next use after the step, ``steps`` if there is none.
    owners : list of list of int, per step
        Operands with bytes of their own: all but those written over another operand.
    footprint : list of int, per step
        Rounded bytes of the owners.
    overwrites : dict of int to int
        Output storage to the input storage that it is written over.
    overwritten_at : dict of int to list of (output, input)
        The same pairs by step.
    relocation, partial_spills : bool
        As in `ReplacementProblem`.
    """

    steps: int
    capacity: int
    exact_capacity: int
    alignment: int
    size: list[int]
    rounded: list[int]
    has_copy: list[bool]
    uses: list[list[int]]
    operands: list[list[int]]
    following: list[list[int]]
    owners: list[list[int]]
    footprint: list[int]
    overwrites: dict[int, int]
    overwritten_at: dict[int, list[tuple[int, int]]]
    relocation: bool
    partial_spills: bool

    @classmethod
    def of(cls, problem: ReplacementProblem) -> Demand:
        """Read a problem.

        Raises
        ------
        ValueError
            If a used storage has no bytes, uses are not ascending steps, or an in-place pair
            breaks the rules of `ReplacementProblem.merged`.
        """
        size = problem.size.tolist()
        alignment = problem.alignment
        uses = [problem.uses.row(storage).tolist() for storage in range(len(problem.uses))]
        operands: list[list[int]] = [[] for _ in range(problem.steps)]
        following: list[list[int]] = [[] for _ in range(problem.steps)]
        for storage, row in enumerate(uses):
            _check_uses(storage, row, size[storage], problem.steps)
            for step, after in zip(row, [*row[1:], problem.steps], strict=False):
                operands[step].append(storage)
                following[step].append(after)
        overwrites: dict[int, int] = {}
        sources: set[int] = set()
        overwritten_at: dict[int, list[tuple[int, int]]] = {}
        for step, output, source in problem.merged:
            _check_pair(uses, size, step, output, source)
            if output in overwrites or source in sources:
                raise ValueError(f"storages {output} and {source}: merged with another one too")
            overwrites[output] = source
            sources.add(source)
            overwritten_at.setdefault(step, []).append((output, source))
        rounded = [-(-bytes_ // alignment) * alignment for bytes_ in size]
        owners = list(operands)
        for step, pairs in overwritten_at.items():
            outputs = {output for output, _ in pairs}
            owners[step] = [storage for storage in operands[step] if storage not in outputs]
        return cls(
            steps=problem.steps,
            capacity=problem.capacity // alignment * alignment,
            exact_capacity=problem.capacity,
            alignment=alignment,
            size=size,
            rounded=rounded,
            has_copy=problem.has_copy.tolist(),
            uses=uses,
            operands=operands,
            following=following,
            owners=owners,
            footprint=[sum(rounded[storage] for storage in row) for row in owners],
            overwrites=overwrites,
            overwritten_at=overwritten_at,
            relocation=problem.relocation,
            partial_spills=problem.partial_spills,
        )

    def limits(self, fraction: float) -> list[int]:
        """Bytes to use at each step: a fraction of the capacity, or what the step itself needs."""
        reduced = int(fraction * self.capacity)
        return [max(bytes_, reduced) for bytes_ in self.footprint]

    def infeasible(self) -> Outcome[ReplacementSolution] | None:
        """Return the proof that a step's operands alone exceed the capacity, None if none does.

        Operators are atomic, so this is the only way in which a problem can be infeasible.
        """
        step = max(range(self.steps), key=self.footprint.__getitem__, default=-1)
        if step < 0 or self.footprint[step] <= self.capacity:
            return None
        return Outcome(
            Status.INFEASIBLE,
            None,
            statistics={
                "step": step,
                "step_bytes": self.footprint[step],
                "capacity_bytes": self.capacity,
            },
        )


def _check_uses(storage: int, row: list[int], size: int, steps: int) -> None:
    if not row:
        return
    if size <= 0:
        raise ValueError(f"storage {storage} is used and has {size} bytes")
    if row[0] < 0 or row[-1] >= steps or any(a >= b for a, b in itertools.pairwise(row)):
        raise ValueError(f"storage {storage}: uses are not ascending steps below {steps}")


def _check_pair(
    uses: list[list[int]], size: list[int], step: int, output: int, source: int
) -> None:
    begins = uses[output][:1] == [step]
    ends = uses[source][-1:] == [step] and uses[source][0] < step
    if not begins or not ends or size[output] != size[source]:
        raise ValueError(
            f"step {step}: storage {output} cannot overwrite storage {source}: it must begin "
            "there, the other must end there and begin earlier, and both must have equal sizes"
        )
