"""From a set of saved storages to a schedule: the rest is recomputed just before it is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.training.schedule import TrainingSchedule

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from planner.training.problem import TrainingProblem


def just_in_time(
    problem: TrainingProblem, saved: Collection[int], repeated: Collection[int] = ()
) -> TrainingSchedule:
    """Return the schedule of a choice of saved storages.

    The forward half runs what has to run there and what the saved storages need. Each backward
    operator is preceded by its burst: those forward operators, in ascending order, whose results it
    needs and lacks. What a burst recomputes lives to its last reader, unless its operator is
    repeated: then it is forgotten when the burst is over, and recomputed by the next one.

    Parameters
    ----------
    saved : storages
        Results of forward operators. Storages that are needed and cannot be recomputed are added.
    repeated : operators
        Recomputable forward operators.
    """
    return _Demand(problem, saved, repeated).schedule()


class _Demand:
    """Which storages the backward half lacks, as it goes on."""

    def __init__(
        self, problem: TrainingProblem, saved: Collection[int], repeated: Collection[int]
    ) -> None:
        self.problem = problem
        self.outputs = set(problem.forward_outputs.tolist())
        self.saved = set(saved) - self.outputs
        self.repeated = frozenset(repeated)
        self.producer = problem.producer.tolist()
        self.reads, self.writes = problem.read_rows, problem.write_rows

    def schedule(self) -> TrainingSchedule:
        # What cannot be recomputed becomes known as it is demanded, and lessens the demand.
        while True:
            before = len(self.saved)
            backward = self._backward()
            if len(self.saved) == before:
                break
        return TrainingSchedule(self._forward(), tuple(backward), tuple(sorted(self.saved)))

    def _forward(self) -> tuple[int, ...]:
        needed = set(self.problem.in_forward.nonzero()[0].tolist())
        stack = [*needed, *(self.producer[s] for s in self.saved)]
        needed.clear()
        while stack:
            operator = stack.pop()
            if operator not in needed:
                needed.add(operator)
                stack.extend(self.producer[s] for s in self.reads[operator])
        return tuple(sorted(needed))

    def _backward(self) -> list[int]:
        sequence: list[int] = []
        live = self.saved | self.outputs | set(self.problem.tangents.tolist())
        for operator in self.problem.backward_operators.tolist():
            self._burst(self.reads[operator], live, sequence)
            sequence.append(operator)
            live.update(self.writes[operator])
        self._burst(self.problem.gradients.tolist(), live, sequence)
        return sequence

    def _burst(self, wanted: Iterable[int], live: set[int], sequence: list[int]) -> None:
        stack = [s for s in wanted if s not in live]
        burst: set[int] = set()
        while stack:
            storage = stack.pop()
            operator = self.producer[storage]
            if storage in live or operator in burst:
                continue
            if not self.problem.recomputable[operator]:
                self.saved.add(storage)
                live.add(storage)
                continue
            burst.add(operator)
            stack.extend(self.reads[operator])
        sequence.extend(sorted(burst))
        for operator in burst - self.repeated:
            live.update(self.writes[operator])
