"""What solvers are given and what they hand back: plain index arrays, proofs and statistics."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from planner.graph import RaggedArray, StorageKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from planner.graph import Graph
    from planner.plans import ByteRange
    from planner.target import Target

Solution = TypeVar("Solution")


class Status(StrEnum):
    """``optimal`` and ``infeasible`` are proofs; nothing else may use those words."""

    OPTIMAL = "optimal"
    FEASIBLE = "feasible"
    INFEASIBLE = "infeasible"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Outcome(Generic[Solution]):
    """What a solver found.

    Attributes
    ----------
    status : Status
    solution : Solution or None
        Never None when the status is optimal or feasible.
    lower_bound : int or None
        Proven bound on the value, also when the solver was stopped early.
    statistics : mapping
        Counters and CPU seconds, for reports and benchmarks.
    """

    status: Status
    solution: Solution | None
    lower_bound: int | None = None
    statistics: Mapping[str, Any] = field(default_factory=dict)


class Objective(StrEnum):
    """What a plan minimises: bytes live at once, spills and reloads, or simulated seconds."""

    PEAK = "peak"
    TRAFFIC = "traffic"
    LATENCY = "latency"


@dataclass(frozen=True)
class PlanningProblem:
    """Everything a contender needs to make a whole plan.

    Attributes
    ----------
    graph : Graph
    target : Target
    objective : Objective
    in_place : bool
        Whether operators may overwrite dying operands.
    partial_spills : bool
        Whether a part of a storage may leave the nearest memory while the rest stays.
    """

    graph: Graph
    target: Target
    objective: Objective
    in_place: bool = True
    partial_spills: bool = False

    @property
    def inputs_resident(self) -> bool:
        """Whether graph inputs lie in the nearest memory from the start."""
        return self.target.io_memory == self.target.nearest.name

    @property
    def capacity_bytes(self) -> int | None:
        """Bytes of the nearest memory for activations, in whole units of its alignment.

        None if unlimited, negative if the constants that live there exceed it.
        """
        capacity = self.target.activation_capacity(self.graph.constant_bytes)
        if capacity is None:
            return None
        unit = self.target.nearest.alignment_bytes
        return capacity // unit * unit

    @property
    def far_memory(self) -> str:
        """Name of the memory of farther copies: the caller's, or else the one to spill to.

        The nearest one where there is no other.
        """
        spill = self.target.spill_memory
        return self.target.io_memory if spill is None or not self.inputs_resident else spill.name

    @cached_property
    def far_storages(self) -> frozenset[int]:
        """Storages to use in place in the farther memory all their life.

        Empty where operands have to be in the nearest memory. Elsewhere, of each operator whose
        operands do not fit, the largest ones until the rest does. What the caller leaves or
        expects in the nearest memory is none of them.
        """
        capacity = self.capacity_bytes
        if (
            self.target.operands_resident
            or capacity is None
            or self.far_memory == self.target.nearest.name
        ):
            return frozenset()
        storages = self.graph.storages
        unit = self.target.nearest.alignment_bytes
        far: set[int] = set()
        for operator in range(len(self.graph.operators)):
            sizes = {
                storage: -(-storages[storage].size_bytes // unit) * unit
                for storage in self.graph.operand_storages.row(operator).tolist()
                if storage not in far
            }
            needed = sum(sizes.values())
            for storage in sorted(sizes, key=lambda s: (-sizes[s], s)):
                if needed <= capacity:
                    break
                given = storages[storage].kind is StorageKind.INPUT or storages[storage].is_output
                if given and self.inputs_resident:
                    continue
                far.add(storage)
                needed -= sizes[storage]
        return frozenset(far)


@dataclass(frozen=True)
class OrderProblem:
    """Find an order of the operators with the smallest peak of live bytes.

    Storage ``s`` is live from the first of its starters to run (from the beginning if it has
    none) until all its users have run (to the end if ``kept[s]``). Operator ``v`` needs, while it
    runs, all live bytes and the storages it brings to life, less the largest gain among its
    in-place options whose operand has no other user left to run.

    Attributes
    ----------
    operators : int
        Number n.
    size : int64 array of shape [m]
        Bytes of each storage.
    predecessors : RaggedArray of n rows
        Operators that must run before; they come first in the default order 0 .. n - 1.
    starters, users : RaggedArray of m rows
        Operators, see above. Every starter is also a user.
    kept : bool array of shape [m]
    in_place : RaggedArray of n rows
        Storages that the operator may overwrite. Their size is the gain.
    """

    operators: int
    size: NDArray[np.int64]
    predecessors: RaggedArray
    starters: RaggedArray
    users: RaggedArray
    kept: NDArray[np.bool_]
    in_place: RaggedArray

    @classmethod
    def from_graph(
        cls,
        graph: Graph,
        *,
        in_place: bool = True,
        inputs_resident: bool = True,
        outputs_resident: bool = True,
        alignment_bytes: int = 1,
    ) -> OrderProblem:
        """Build the ordering problem of a graph; constants have size 0 in it.

        Parameters
        ----------
        in_place : bool
            Whether operators may overwrite dying operands.
        inputs_resident, outputs_resident : bool
            As for `planner.liveness.storage_lifetimes`.
        alignment_bytes : int
            Sizes are rounded up to multiples of it.
        """
        import numpy as np

        def rounded(size: int) -> int:
            return -(-size // alignment_bytes) * alignment_bytes

        users = graph.storage_users
        starters = graph.storage_starters
        if not inputs_resident:
            starters = RaggedArray.from_rows(
                [
                    (users if storage.kind is StorageKind.INPUT else starters).row(i).tolist()
                    for i, storage in enumerate(graph.storages)
                ]
            )
        size = np.array(
            [
                rounded(s.size_bytes) if len(users.row(i)) else 0
                for i, s in enumerate(graph.storages)
            ],
            dtype=np.int64,
        )
        options = [
            sorted({graph.tensors[option.input].storage for option in operator.in_place})
            if in_place
            else []
            for operator in graph.operators
        ]
        return cls(
            operators=len(graph.operators),
            size=size,
            predecessors=graph.predecessors,
            starters=starters,
            users=users,
            kept=np.array([s.is_output and outputs_resident for s in graph.storages], dtype=bool),
            in_place=RaggedArray.from_rows(options),
        )


class OrderSolution(NamedTuple):
    """An order (operator indices, int32 array of shape [n]) and its peak in bytes."""

    order: NDArray[np.int32]
    peak_bytes: int


class Uses(NamedTuple):
    """Which bytes of which buffer are in use when; several buffers may have several entries.

    Attributes
    ----------
    buffer : int32 array of shape [uses]
        Ascending; every buffer has at least one.
    lower, upper : int64 array of shape [uses]
        Times ``[lower, upper)``, not empty; those of one buffer may intersect.
    begin, end : int64 array of shape [uses]
        Bytes ``[begin, end)`` counted from the buffer's offset, not empty, inside its size.
    """

    buffer: NDArray[np.int32]
    lower: NDArray[np.int64]
    upper: NDArray[np.int64]
    begin: NDArray[np.int64]
    end: NDArray[np.int64]


class PairRule(NamedTuple):
    """Decides for two buffers, in place of their uses, which of their offsets go together.

    Attributes
    ----------
    first, second : int
        Buffers.
    forbidden : tuple of (int, int)
        Open intervals, ascending and disjoint: ``offset(second) - offset(first)`` is in none.
    shared : int
        The most bytes that both may use at the same time.
    """

    first: int
    second: int
    forbidden: tuple[tuple[int, int], ...]
    shared: int


@dataclass(frozen=True)
class OffsetProblem:
    """Place buffers with known lifetimes in one address range.

    Buffers share no byte at a time at which both use it.

    Attributes
    ----------
    lower, upper : int64 array of shape [buffers]
        Lifetimes ``[lower, upper)``, not empty.
    size : int64 array of shape [buffers]
        Bytes, positive.
    alignment : int64 array of shape [buffers]
        Each offset is a multiple of it, positive.
    capacity : int or None
        Give None to minimise the height; otherwise any height up to it will do.
    fixed : int64 array of shape [buffers] or None
        Fixed offsets, -1 where the offset is free.
    uses : Uses or None
        None if each buffer uses all of its bytes in all of its lifetime.
    pair_rules : tuple of PairRule
        At most one for two buffers.
    """

    lower: NDArray[np.int64]
    upper: NDArray[np.int64]
    size: NDArray[np.int64]
    alignment: NDArray[np.int64]
    capacity: int | None = None
    fixed: NDArray[np.int64] | None = None
    uses: Uses | None = None
    pair_rules: tuple[PairRule, ...] = ()


class OffsetSolution(NamedTuple):
    """Offsets (int64 array of shape [buffers]) and the height, the highest used address."""

    offsets: NDArray[np.int64]
    height: int


@dataclass(frozen=True)
class ReplacementProblem:
    """Which storages leave the nearest memory, and when, under a fixed order.

    Storage ``s`` must be resident at each of its use steps, at one address from the first step to
    the last of each **episode** of residency. Between two episodes it is not resident: it has been
    written out once (unless it had a farther copy from the start) and is read back. An episode
    that starts where the previous one ended is a move: with ``relocation`` inside the nearest
    memory, which is no traffic, otherwise written out and read back elsewhere.

    With ``partial_spills`` a storage may have several episodes at once, each of a part of it, with
    one address; then the bytes of each part count for themselves, and at each use all are there.

    Attributes
    ----------
    steps : int
    capacity : int
        Bytes of the nearest memory for activations.
    size : int64 array of shape [storages]
        Positive for every storage that has uses.
    alignment : int
        Of every offset; sizes count rounded up to it.
    uses : RaggedArray of storages rows
        Ascending steps at which the storage must be resident, its creation included.
    has_copy : bool array of shape [storages]
        A farther copy exists from the start (graph inputs): leaving costs no write.
    merged : tuple of (step, output storage, input storage)
        In-place pairs chosen for this order: ``input`` has its last use at ``step``, ``output`` its
        first, and both lie at the same address. They do not count twice at that step.
    relocation : bool
        Storages can be moved inside the nearest memory, at one boundary all those that need it, as
        long as they keep their order of addresses.
    partial_spills : bool
    """

    steps: int
    capacity: int
    size: NDArray[np.int64]
    alignment: int
    uses: RaggedArray
    has_copy: NDArray[np.bool_]
    merged: tuple[tuple[int, int, int], ...] = ()
    relocation: bool = False
    partial_spills: bool = False


class Episode(NamedTuple):
    """``storage`` is resident at ``offset`` during steps [start, end).

    With a ``part`` only those bytes of it, at ``[offset + begin, offset + end)``.
    """

    storage: int
    start: int
    end: int
    offset: int
    part: ByteRange | None = None


class ReplacementSolution(NamedTuple):
    """All episodes, sorted by storage and start, and the traffic they cause in bytes."""

    episodes: tuple[Episode, ...]
    traffic_bytes: int
