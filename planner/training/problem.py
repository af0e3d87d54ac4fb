"""One training step to be planned: operators of both halves, the storages they read and write."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from planner.graph import RaggedArray

PICOSECONDS = 10**12


class HostLink(NamedTuple):
    """Host memory that saved storages may be copied to, over one stream in each direction.

    Attributes
    ----------
    capacity_bytes : int
        Most bytes on the host at once.
    to_host_bytes_per_s, to_device_bytes_per_s : float
    setup_s : float
        Of each copy.
    """

    capacity_bytes: int
    to_host_bytes_per_s: float
    to_device_bytes_per_s: float
    setup_s: float = 0.0

    def to_host_ps(self, size_bytes: int) -> int:
        """Picoseconds of one copy to the host."""
        return round((self.setup_s + size_bytes / self.to_host_bytes_per_s) * PICOSECONDS)

    def to_device_ps(self, size_bytes: int) -> int:
        """Picoseconds of one copy back."""
        return round((self.setup_s + size_bytes / self.to_device_bytes_per_s) * PICOSECONDS)


@dataclass(frozen=True, eq=False)
class TrainingProblem:
    """The forward and the backward half of a training step, on storages.

    Views are not operators here: who reads a view reads its storage. Parameters, buffers and the
    caller's inputs are not storages here: they live throughout and belong to nobody's plan. Indices
    ascend in an order in which the whole step can run; the backward half depends on the tangents,
    the forward half does not.

    Attributes
    ----------
    operator_names, storage_names : tuple of str
    is_backward : bool array of shape [operators]
        Depends on a tangent, so it runs in the backward half, exactly once.
    in_forward : bool array of shape [operators]
        Has to run in the forward half: the forward's results need it, or it cannot be recomputed.
        Other forward operators are needed by the backward half alone and may run in either.
    recomputable : bool array of shape [operators]
        False for random and stateful operators, collectives, and readers of state that the forward
        writes over: they run once, in ascending order.
    reads : RaggedArray
        Storages that each operator reads; ascending, distinct.
    writes : RaggedArray
        Storages that each operator allocates; each storage is written by at most one operator.
    workspace_bytes : int64 array of shape [operators]
        Scratch that is live while the operator runs.
    duration_ps : int64 array of shape [operators]
        Picoseconds of one execution.
    size_bytes : int64 array of shape [storages]
    forward_outputs : int32 array
        Storages handed to the caller, who keeps them to the end of the step.
    gradients : int32 array
        Storages that have to be live when the step ends: the backward half's results, and tangents
        that the caller holds on to.
    tangents : int32 array
        Storages that the caller provides when the backward half begins; written by no operator.
    static_bytes : int
        Parameters, buffers and inputs, which no peak here counts.
    host : HostLink or None
        None where nothing may be offloaded.
    """

    operator_names: tuple[str, ...]
    storage_names: tuple[str, ...]
    is_backward: NDArray[np.bool_]
    in_forward: NDArray[np.bool_]
    recomputable: NDArray[np.bool_]
    reads: RaggedArray
    writes: RaggedArray
    workspace_bytes: NDArray[np.int64]
    duration_ps: NDArray[np.int64]
    size_bytes: NDArray[np.int64]
    forward_outputs: NDArray[np.int32]
    gradients: NDArray[np.int32]
    tangents: NDArray[np.int32]
    static_bytes: int = 0
    host: HostLink | None = field(default=None)

    @cached_property
    def producer(self) -> NDArray[np.int32]:
        """Operator that writes each storage, -1 for tangents; shape [storages]."""
        producer = np.full(len(self.size_bytes), -1, dtype=np.int32)
        owner = np.repeat(np.arange(len(self.writes)), np.diff(self.writes.offsets))
        producer[self.writes.values] = owner
        return producer

    @cached_property
    def forward_operators(self) -> NDArray[np.int32]:
        """Operators that do not depend on a tangent, ascending."""
        return np.flatnonzero(~self.is_backward).astype(np.int32)

    @cached_property
    def backward_operators(self) -> NDArray[np.int32]:
        """Operators that depend on a tangent, ascending."""
        return np.flatnonzero(self.is_backward).astype(np.int32)

    @cached_property
    def read_rows(self) -> list[list[int]]:
        """Rows of ``reads`` as lists, for code that walks over operators one by one."""
        return [self.reads.row(operator).tolist() for operator in range(len(self.reads))]

    @cached_property
    def write_rows(self) -> list[list[int]]:
        """Rows of ``writes`` as lists."""
        return [self.writes.row(operator).tolist() for operator in range(len(self.writes))]

    @cached_property
    def boundary(self) -> NDArray[np.int32]:
        """Forward storages that the backward half reads or hands out, forward outputs apart.

        Saving them all recomputes nothing. Ascending.
        """
        readers = self.backward_operators.tolist()
        wanted = {storage for b in readers for storage in self.reads.row(b).tolist()}
        wanted.update(self.gradients.tolist())
        wanted.difference_update(self.forward_outputs.tolist())
        producer = self.producer
        return np.array(
            sorted(s for s in wanted if producer[s] >= 0 and not self.is_backward[producer[s]]),
            dtype=np.int32,
        )
