"""Operator order and residency together: the problem of least traffic under a capacity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from planner.graph import RaggedArray, StorageKind
from planner.problem import OrderProblem

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from planner.problem import PlanningProblem


@dataclass(frozen=True)
class JointProblem:
    """Find an order of the operators and what leaves the nearest memory when, by capacity alone.

    Storage ``s`` comes to life when the first of its starters runs (it is there from the beginning
    if it has none) and dies after its last user (at the end if ``kept[s]``). It has to be resident
    while one of its users runs; while the first operator runs, if it has no starters; while the
    last one runs, if it is kept. From the first to the last of its writers it stays resident.
    Between any two of these it may be absent: coming back costs ``size[s]`` bytes of traffic
    each time, and leaving costs ``size[s]`` once, or nothing if ``has_copy[s]``.

    While an operator runs, the resident storages, those it brings to life included, need at most
    ``capacity`` bytes, sizes rounded up to the alignment, less the largest of its in-place options
    whose storage was alive before and has no other user left to run, but at most what it brings to
    life: operands are read before anything is overwritten.

    Attributes
    ----------
    operators : int
        Number n.
    capacity : int
        Bytes, a multiple of the alignment.
    alignment : int
    size : int64 array of shape [m]
        Bytes of each storage; 0 where it does not count.
    has_copy, kept : bool arrays of shape [m]
    predecessors : RaggedArray of n rows
        Operators that must run before; they come first in the default order 0 .. n - 1.
    starters, users, writers : RaggedArray of m rows
        Operators. Starters and writers are users.
    in_place : RaggedArray of n rows
        Storages that the operator may overwrite. Their rounded size is the gain.
    """

    operators: int
    capacity: int
    alignment: int
    size: NDArray[np.int64]
    has_copy: NDArray[np.bool_]
    kept: NDArray[np.bool_]
    predecessors: RaggedArray
    starters: RaggedArray
    users: RaggedArray
    writers: RaggedArray
    in_place: RaggedArray

    @classmethod
    def of(cls, problem: PlanningProblem) -> JointProblem:
        """State a planning problem whose operands are all resident and whose capacity is limited.

        Where a storage may end in what the capacity has beyond the alignment, the capacity is
        rounded up, as sizes are: what does not fit rounded does not fit, so bounds hold.

        Raises
        ------
        ValueError
            If the nearest memory is unlimited, or operands may be used in a farther one.
        """
        import numpy as np

        graph, resident = problem.graph, problem.inputs_resident
        capacity = problem.target.activation_capacity(graph.constant_bytes)
        if capacity is None or not problem.target.operands_resident:
            raise ValueError("least traffic needs a limited memory in which operands are resident")
        ordering = OrderProblem.from_graph(
            graph,
            in_place=problem.in_place,
            inputs_resident=resident,
            outputs_resident=resident,
        )
        unit = problem.target.nearest.alignment_bytes
        tails = ordering.size % unit
        rest = capacity % unit
        capacity -= rest
        if np.any((tails > 0) & (tails <= rest)):
            capacity += unit
        has_copy = [
            not resident and (s.kind is StorageKind.INPUT or s.is_output) for s in graph.storages
        ]
        return cls(
            operators=ordering.operators,
            capacity=max(capacity, 0),
            alignment=unit,
            size=ordering.size,
            has_copy=np.array(has_copy, dtype=bool),
            kept=ordering.kept,
            predecessors=ordering.predecessors,
            starters=ordering.starters,
            users=ordering.users,
            writers=graph.storage_writers,
            in_place=ordering.in_place,
        )

    def ordering(self) -> OrderProblem:
        """Return the problem of the smallest peak, sizes rounded up to the alignment."""
        return OrderProblem(
            operators=self.operators,
            size=-(-self.size // self.alignment) * self.alignment,
            predecessors=self.predecessors,
            starters=self.starters,
            users=self.users,
            kept=self.kept,
            in_place=self.in_place,
        )


class JointSolution(NamedTuple):
    """An order (operator indices, int32 array of shape [n]) and traffic that it can do with.

    ``traffic_bytes`` is that of some residency under which every step fits the capacity, whatever
    the addresses. Gap selection on the order may find less.
    """

    order: NDArray[np.int32]
    traffic_bytes: int
