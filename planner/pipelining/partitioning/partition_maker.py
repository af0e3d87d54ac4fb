"""Partitions of one model that fit, for whatever number of microbatches in flight."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import ceil
from typing import TYPE_CHECKING

from planner.errors import DoesNotFitError
from planner.pipelining.partitioning.partition import Partition, PartitionStage
from planner.pipelining.partitioning.partition_problem import PartitionProblem, StageBytes
from planner.pipelining.problem import StageCosts

if TYPE_CHECKING:
    from planner.pipelining.partitioning.operator_row import OperatorRow


class PartitionMaker:
    """Partitions of one model, for whatever number of microbatches in flight."""

    def __init__(self, row: OperatorRow, empty: Partition) -> None:
        self.row, self.empty = row, empty

    def fitting(self, in_flight: tuple[int, ...]) -> Partition:
        """Return the best partition that fits with as many in flight as possible, and no more.

        Raises
        ------
        planner.errors.DoesNotFitError
            If there is none with one in flight.
        """
        limit = self.empty.memory_limit
        found = self._best(in_flight, limit)
        if found is not None:
            return found
        low, high = 0, max(in_flight)
        while high - low > 1:
            most = (low + high) // 2
            fewer = self._best(tuple(min(count, most) for count in in_flight), limit)
            if fewer is None:
                high = most
            else:
                low, found = most, fewer
        if found is None:
            found = self._best((1,) * len(in_flight), limit)
            low = 1
        if found is None:
            raise self._no_fit()
        return found.with_notes(
            f"The memory limit leaves room for {low} microbatches in flight per stage, instead of "
            f"up to {max(in_flight)}."
        )

    def _best(self, in_flight: tuple[int, ...], limit: int | None) -> Partition | None:
        from solvers.pipeline.partition import best_partition

        problem = self.row.problem(in_flight, limit)
        cuts = best_partition(problem)
        return None if cuts is None else self._partition(problem, cuts)

    def _no_fit(self) -> DoesNotFitError:
        limit = self.empty.memory_limit or 0
        once = (1,) * len(self.row.device_of)
        low, high = limit, 2 * max(limit, 1)
        while self._best(once, high) is None:
            low, high = high, 2 * high
        while high - low > high // 100 + 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._best(once, middle) else (middle, high)
        exact = len(once) == self.empty.devices
        return DoesNotFitError(
            f"{self.empty.model} does not fit {self.empty.devices} devices of {limit:,} B each, "
            "weights, gradients, optimizer and one microbatch per stage included. About "
            f"{high:,} B would do. Use more devices, or a smaller batch per microbatch.",
            proven=exact,
        )

    def _partition(self, problem: PartitionProblem, cuts: tuple[int, ...]) -> Partition:
        stages = []
        for stage, (first, end) in enumerate(pairwise(cuts)):
            stages.append(self._stage(problem, stage, first, end))
        busy = problem.loads[:, -1].astype(float)
        # Devices that share the work in proportion to their speeds end at once.
        parts = 1 if problem.pairs else problem.stages // self.empty.devices
        ideal = 1.0 / sum(1.0 / ticks for ticks in busy if ticks) / parts if busy.any() else 0.0
        return replace(
            self.empty,
            stages=tuple(stages),
            largest_load=problem.largest_load(cuts),
            ideal_load=ceil(ideal - 1e-9),
        )

    def _stage(self, problem: PartitionProblem, stage: int, first: int, end: int) -> PartitionStage:
        row, operators = self.row, self.row.costs.graph.operators
        held = StageBytes()
        for operator in problem.operators[first:end]:
            held.add(operator)
        device = problem.device_of[stage]
        forward, backward, weight = (int(t[end] - t[first]) for t in row.ticks[device])
        weights = {w.key: w.elements for ws in row.costs.weights[first:end] for w in ws}
        costs = StageCosts(
            forward=forward,
            backward=backward,
            weight=weight,
            activation_bytes=held.activation,
            kept_bytes=held.kept.total,
            communication=int(row.sends[end]),
        )
        return PartitionStage(
            first=first,
            last=end - 1,
            first_name=operators[first].name or operators[first].type,
            last_name=operators[end - 1].name or operators[end - 1].type,
            device=device,
            costs=costs,
            saved_bytes=held.saved.total,
            kept_bytes=held.kept.total,
            parameters=sum(weights.values()),
            state_bytes=held.states.total,
            cut_bytes=int(problem.crossing_bytes[end]),
            in_flight=problem.in_flight[stage],
        )
