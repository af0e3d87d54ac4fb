"""Which operators make up which stage: the problem that solvers are given, and its exact costs.

Operators stand in a row; a partition cuts it into stages of consecutive operators.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from planner.pipelining.partitioning.training_costs import Held


class OperatorBytes(NamedTuple):
    """What one operator holds; equal keys are the same bytes, held once per stage.

    Attributes
    ----------
    saved, kept : tuple of Held
        Per microbatch, from F to B, and from B to W.
    states : tuple of Held
        Weights, their gradients and the optimizer's states.
    """

    saved: tuple[Held, ...]
    kept: tuple[Held, ...]
    states: tuple[Held, ...]


@dataclass(frozen=True)
class PartitionProblem:
    """Cut ``n`` operators into stages, so that the busiest is as little busy as possible.

    The load of a stage is its work and the communication at its end, if the next one lies on
    another device. With V placement (``pairs``) the load of a device is that of its two stages,
    otherwise the largest load of a single stage counts. Among partitions of the least largest load
    the one that sends the fewest bytes is wanted.

    Attributes
    ----------
    loads : int64 array of shape [devices, n + 1]
        Ticks of all passes of the first ``k`` operators on each device: devices differ in speed.
    communication : int64 array of shape [n + 1]
        Ticks across the cut before operator ``k``.
    crossing_bytes : int64 array of shape [n + 1]
    operators : tuple of OperatorBytes
    device_of : tuple of int
        Per stage.
    in_flight : tuple of int
        Per stage, microbatches whose bytes it holds at once.
    capacities : tuple of (int or None)
        Bytes of each device, None without a limit.
    """

    loads: NDArray[np.int64]
    communication: NDArray[np.int64]
    crossing_bytes: NDArray[np.int64]
    operators: tuple[OperatorBytes, ...]
    device_of: tuple[int, ...]
    in_flight: tuple[int, ...]
    capacities: tuple[int | None, ...]

    @property
    def stages(self) -> int:
        """How many stages there are."""
        return len(self.device_of)

    @property
    def pairs(self) -> bool:
        """Whether each device has two stages, the one of index ``i`` and the ``i``-th from last."""
        devices = len(self.capacities)
        return self.device_of == (*range(devices), *reversed(range(devices))) and devices > 1

    @cached_property
    def hops(self) -> tuple[bool, ...]:
        """Per stage, whether the next one lies on another device."""
        device_of = self.device_of
        return (*(a != b for a, b in pairwise(device_of)), False)

    def stage_load(self, stage: int, first: int, end: int) -> int:
        """Ticks of a stage of the operators ``first..end-1``, communication at its end included."""
        load = self.loads[self.device_of[stage]]
        return int(load[end] - load[first] + self.hops[stage] * self.communication[end])

    def stage_bytes(self, stage: int, first: int, end: int) -> int:
        """Bytes of a stage of these operators with its microbatches in flight."""
        held = StageBytes()
        for operator in self.operators[first:end]:
            held.add(operator)
        return held.total(self.in_flight[stage])

    def device_loads(self, cuts: tuple[int, ...]) -> tuple[int, ...]:
        """Per device, ticks of its stages, communication included."""
        totals = [0] * len(self.capacities)
        for stage, (first, end) in enumerate(pairwise(cuts)):
            totals[self.device_of[stage]] += self.stage_load(stage, first, end)
        return tuple(totals)

    def device_bytes(self, cuts: tuple[int, ...]) -> tuple[int, ...]:
        """Per device, bytes of its stages."""
        totals = [0] * len(self.capacities)
        for stage, (first, end) in enumerate(pairwise(cuts)):
            totals[self.device_of[stage]] += self.stage_bytes(stage, first, end)
        return tuple(totals)

    def fits(self, cuts: tuple[int, ...]) -> bool:
        """Whether no device holds more than it can."""
        return all(
            capacity is None or held <= capacity
            for held, capacity in zip(self.device_bytes(cuts), self.capacities, strict=True)
        )

    def largest_load(self, cuts: tuple[int, ...]) -> int:
        """Return what is minimised: see the class's text."""
        if self.pairs:
            return max(self.device_loads(cuts))
        spans = enumerate(pairwise(cuts))
        return max(self.stage_load(stage, first, end) for stage, (first, end) in spans)


class StageBytes:
    """Bytes of a growing and shrinking set of operators, what they share counted once."""

    def __init__(self) -> None:
        self.saved = _Distinct()
        self.kept = _Distinct()
        self.states = _Distinct()

    def add(self, operator: OperatorBytes) -> None:
        """Take an operator in."""
        self.saved.add(operator.saved)
        self.kept.add(operator.kept)
        self.states.add(operator.states)

    def remove(self, operator: OperatorBytes) -> None:
        """Put one out that was taken in."""
        self.saved.remove(operator.saved)
        self.kept.remove(operator.kept)
        self.states.remove(operator.states)

    @property
    def activation(self) -> int:
        """Bytes reserved per microbatch from F on.

        The gradients that W needs come to life during B: where they exceed what B gives back,
        their room is reserved too.
        """
        return max(self.saved.total, self.kept.total)

    def total(self, in_flight: int) -> int:
        """Bytes with so many microbatches in flight."""
        return in_flight * self.activation + self.states.total


class _Distinct:
    def __init__(self) -> None:
        self.total = 0
        self._held: dict[int, list[int]] = {}

    def add(self, row: tuple[Held, ...]) -> None:
        for key, size in row:
            sizes = self._held.setdefault(key, [])
            self.total += max(0, size - max(sizes, default=0))
            sizes.append(size)

    def remove(self, row: tuple[Held, ...]) -> None:
        for key, size in row:
            sizes = self._held[key]
            before = max(sizes)
            sizes.remove(size)
            self.total -= before - max(sizes, default=0)
