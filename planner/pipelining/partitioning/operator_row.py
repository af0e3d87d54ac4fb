"""The operators that stages are made of, in ticks and bytes, and the links between devices."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, log10
from typing import TYPE_CHECKING

import numpy as np

from planner.errors import UsageError
from planner.pipelining.partitioning.output_layer import operator_bytes
from planner.pipelining.partitioning.partition_problem import PartitionProblem
from planner.pipelining.problem import VocabularyLayer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from planner.pipelining.partitioning.output_layer import SplitOutputLayer
    from planner.pipelining.partitioning.training_costs import TrainingCosts
    from planner.target import Target

_DIGITS_OF_SHARE = 4
_LONGEST_SHARE_S = 1e6
_MOST_SHARES_TO_SEND = 1e4


@dataclass(frozen=True, slots=True)
class DeviceLink:
    """A link between two devices: bytes per second, None where sending costs the latency alone."""

    bandwidth: float | None
    latency_s: float

    def seconds(self, size_bytes: float) -> float:
        """Return how long so many bytes take; nothing sent takes no time."""
        if not size_bytes:
            return 0.0
        return self.latency_s + (size_bytes / self.bandwidth if self.bandwidth else 0.0)


def device_link(
    target: Target, bandwidth: float | None, latency: float | None, notes: list[str]
) -> DeviceLink:
    """Return the link asked for, or the target's; what is assumed about it is added to the notes.

    Without a bandwidth it is the target's link from its nearest memory to the next.
    """
    if bandwidth is not None:
        return DeviceLink(bandwidth, latency or 0.0)
    far = target.spill_memory
    link = None if far is None else target.link(target.nearest.name, far.name)
    if link is None:
        notes.append(
            f"Target {target.name!r} has no link out of its nearest memory: sending costs "
            + ("the latency alone." if latency else "nothing.")
        )
        return DeviceLink(None, latency or 0.0)
    notes.append(
        f"Devices are taken to be linked as {link.source} is to {link.destination}: "
        f"{link.bandwidth / 1e9:g} GB/s."
    )
    return DeviceLink(link.bandwidth, link.setup_s if latency is None else latency)


class OperatorRow:
    """The operators that stages are made of, in ticks and bytes."""

    def __init__(
        self,
        costs: TrainingCosts,
        count: int,
        device_of: tuple[int, ...],
        speeds: tuple[float, ...],
        link: DeviceLink,
        output_layer: SplitOutputLayer | None,
    ) -> None:
        self.costs, self.count, self.device_of = costs, count, device_of
        self.link, self.output_layer = link, output_layer
        self.crossing = costs.crossing_bytes[: count + 1].copy()
        self.crossing[count] = 0
        sends_s = [link.seconds(size) for size in self.crossing.tolist()]
        work = float((costs.forward_s + costs.backward_s + costs.weight_s)[:count].sum())
        share_s = work / min(speeds) / len(speeds) or 1.0
        if not max(share_s, *sends_s) <= _LONGEST_SHARE_S:
            raise UsageError(
                f"a device would take {share_s:.3g} s for a microbatch, and {max(sends_s):.3g} s "
                "to send its results: more than can be planned. Give a faster link or target."
            )
        # Partitions for other placements have the same ticks, so that they can be compared; and
        # sums of ticks stay exact in 64 bits, however slow the link.
        share_s = max(share_s, max(sends_s) / _MOST_SHARES_TO_SEND)
        self.tick_s = Fraction(10) ** (floor(log10(share_s)) - _DIGITS_OF_SHARE)
        passes = (costs.forward_s, costs.backward_s, costs.weight_s)
        self.ticks = np.array(
            [[self._prefix(seconds[:count] / speed) for seconds in passes] for speed in speeds]
        )
        """Of shape [devices, passes, count + 1]: ticks of the first operators."""
        self.sends = np.array([self.in_ticks(seconds) for seconds in sends_s])
        self.bytes = tuple(operator_bytes(costs, operator) for operator in range(count))
        self.speeds = speeds

    def _prefix(self, seconds: NDArray[np.float64]) -> NDArray[np.int64]:
        # Sums are rounded, not single operators, so that no error adds up.
        sums = np.concatenate(([0.0], np.cumsum(seconds)))
        return np.rint(sums / float(self.tick_s)).astype(np.int64)

    def in_ticks(self, seconds: float) -> int:
        """Return so many seconds as ticks, rounded up."""
        return ceil(seconds / float(self.tick_s))

    def problem(self, in_flight: tuple[int, ...], memory_limit: int | None) -> PartitionProblem:
        """Return the problem of cutting the row, with so many microbatches in flight per stage.

        What a split output layer holds on each device is taken off the limit.
        """
        limit = memory_limit
        if limit is not None and self.output_layer is not None:
            limit -= self.output_layer.state_bytes + self.output_layer.activation_bytes
        return PartitionProblem(
            loads=self.ticks.sum(axis=1),
            communication=self.sends,
            crossing_bytes=self.crossing,
            operators=self.bytes,
            device_of=self.device_of,
            in_flight=in_flight,
            capacities=(limit,) * len(self.speeds),
        )

    def vocabulary(self, barriers: int) -> VocabularyLayer | None:
        """Return the split output layer's passes.

        With one barrier S computes the gradient of the operand too, with two T does. A barrier
        is an all-reduce around a ring of the devices.
        """
        split = self.output_layer
        if split is None:
            return None
        devices = len(self.speeds)
        early = split.backward_s if barriers == 1 else 0.0
        slowest = min(self.speeds)
        around = 2 * (devices - 1)
        barrier_s = around * self.link.seconds(split.reduced_bytes / devices)
        return VocabularyLayer(
            forward=self.in_ticks((split.forward_s + early) / slowest),
            backward=self.in_ticks((split.weight_s + split.backward_s - early) / slowest),
            broadcast=self.in_ticks(self.link.seconds(split.operand_bytes)),
            barrier=self.in_ticks(barrier_s),
            barriers=barriers,
            activation_bytes=split.activation_bytes,
        )
