"""Is the schedule of a training step legal? Replayed step by step, on a set of live storages.

No code is shared with `planner.training.memory` and the solvers.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from planner.training.violation import TrainingViolation, TrainingViolationKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from planner.training.problem import TrainingProblem
    from planner.training.schedule import Offload, TrainingSchedule

_LISTED = 1_000
_Kind = TrainingViolationKind


def check_training(
    problem: TrainingProblem, schedule: TrainingSchedule, budget_bytes: int | None = None
) -> list[TrainingViolation]:
    """Find the offences of a schedule against its problem.

    Parameters
    ----------
    budget_bytes : int, optional
        Most bytes above parameters, buffers and inputs that may be live at once.

    Returns
    -------
    list of TrainingViolation
        Empty for a legal schedule; the first 1,000 otherwise. If something named does not exist,
        nothing else is looked at, and the budget only if all else is right.
    """
    named = list(islice(_unknown(problem, schedule), _LISTED))
    if named:
        return named
    found = list(islice(_order_violations(problem, schedule), _LISTED))
    found += islice(_saved_violations(problem, schedule), _LISTED)
    offloads = list(islice(_offload_violations(problem, schedule), _LISTED))
    replay = _Replay(problem, schedule, () if offloads else schedule.offloads)
    replay.run()
    found += offloads + replay.found
    if not found and budget_bytes is not None:
        found += replay.budget_violations(budget_bytes)
    return found[:_LISTED]


def _unknown(problem: TrainingProblem, schedule: TrainingSchedule) -> Iterator[TrainingViolation]:
    """Look at what everything else relies on: integers that name things which exist."""
    operators, storages = len(problem.operator_names), len(problem.storage_names)
    for half in ("forward", "backward"):
        yield from _indices(f"the {half} half", "operator", getattr(schedule, half), operators)
    yield from _indices("the saved storages", "storage", schedule.saved, storages)
    if not isinstance(schedule.offloads, tuple):
        yield TrainingViolation(
            _Kind.TYPE, f"the offloads are a {type(schedule.offloads).__name__}, not a tuple"
        )
        return
    for number, offload in enumerate(schedule.offloads):
        if not isinstance(offload, tuple) or len(offload) != 4:
            yield TrainingViolation(_Kind.TYPE, f"offload {number:,} is {offload!r:.60}")
            continue
        yield from _indices(f"offload {number:,}", "storage", offload[:1], storages)
        yield from _indices(f"offload {number:,}", "number", offload[1:], None)


def _indices(
    where: str, what: str, indices: object, count: int | None
) -> Iterator[TrainingViolation]:
    if not isinstance(indices, tuple):
        yield TrainingViolation(
            _Kind.TYPE, f"{where}: a {type(indices).__name__}, not a tuple of integers"
        )
        return
    for position, index in enumerate(indices):
        if type(index) is not int:
            yield TrainingViolation(
                _Kind.TYPE,
                f"{where}: {what} {index!r:.60} at position {position:,} is a "
                f"{type(index).__name__}, not an int",
            )
        elif count is not None and not 0 <= index < count:
            yield TrainingViolation(
                _Kind.UNKNOWN,
                f"{where}: there is no {what} {index:,} (position {position:,}); there are "
                f"{count:,}",
            )


def _order_violations(
    problem: TrainingProblem, schedule: TrainingSchedule
) -> Iterator[TrainingViolation]:
    names, middle = problem.operator_names, len(schedule.forward)
    backward, needed = problem.is_backward.tolist(), problem.in_forward.tolist()
    recomputable = problem.recomputable.tolist()
    runs: list[list[int]] = [[] for _ in names]
    last_fixed = last_backward = -1
    for step, operator in enumerate((*schedule.forward, None, *schedule.backward)):
        if operator is None:
            continue
        runs[operator].append(step)
        if backward[operator] and step < middle:
            yield TrainingViolation(
                _Kind.HALF,
                f'step {step:,}: "{names[operator]}" depends on a tangent and stands in the '
                "forward half",
                step,
            )
        again = len(runs[operator]) > 1
        if again and (backward[operator] or not recomputable[operator]):
            why = "is a backward operator" if backward[operator] else "cannot be recomputed"
            yield TrainingViolation(
                _Kind.REPEATED,
                f'step {step:,}: "{names[operator]}" {why} and ran at step '
                f"{runs[operator][0]:,} already",
                step,
            )
            continue
        if backward[operator]:
            if operator < last_backward:
                yield _out_of_order(names, step, operator, last_backward)
            last_backward = max(last_backward, operator)
        if not recomputable[operator]:
            if operator < last_fixed:
                yield _out_of_order(names, step, operator, last_fixed)
            last_fixed = max(last_fixed, operator)
    for operator, steps in enumerate(runs):
        if backward[operator] and not steps:
            yield TrainingViolation(
                _Kind.HALF, f'"{names[operator]}" is a backward operator and never runs'
            )
        if needed[operator] and not (steps and steps[0] < middle):
            yield TrainingViolation(
                _Kind.HALF, f'"{names[operator]}" has to run in the forward half and does not'
            )


def _out_of_order(
    names: tuple[str, ...], step: int, operator: int, before: int
) -> TrainingViolation:
    return TrainingViolation(
        _Kind.ORDER,
        f'step {step:,}: "{names[operator]}" (operator {operator:,}) runs after '
        f'"{names[before]}" (operator {before:,}), which has to come later',
        step,
    )


def _saved_violations(
    problem: TrainingProblem, schedule: TrainingSchedule
) -> Iterator[TrainingViolation]:
    outputs = set(problem.forward_outputs.tolist())
    written = {
        storage
        for operator, backward in enumerate(problem.is_backward.tolist())
        if not backward
        for storage in problem.writes.row(operator).tolist()
    }
    before = -1
    for storage in schedule.saved:
        name = problem.storage_names[storage]
        if storage in outputs:
            message = f'"{name}" is a forward output: it crosses without being saved'
            yield TrainingViolation(_Kind.SAVED, message, None, storage)
        elif storage not in written:
            message = f'"{name}" is saved and no result of a forward operator'
            yield TrainingViolation(_Kind.SAVED, message, None, storage)
        if storage <= before:
            message = f'"{name}": saved storages ascend, and {storage:,} stands after {before:,}'
            yield TrainingViolation(_Kind.SAVED, message, None, storage)
        before = max(before, storage)


class _Uses(NamedTuple):
    """Steps of one half at which each storage is read, or written by its operator, ascending."""

    read: dict[int, list[int]]
    written: dict[int, list[int]]


def _uses(problem: TrainingProblem, sequence: Iterable[int]) -> _Uses:
    uses = _Uses({}, {})
    for step, operator in enumerate(sequence):
        for storage in problem.reads.row(operator).tolist():
            uses.read.setdefault(storage, []).append(step)
        for storage in problem.writes.row(operator).tolist():
            uses.written.setdefault(storage, []).append(step)
    return uses


def _offload_violations(
    problem: TrainingProblem, schedule: TrainingSchedule
) -> Iterator[TrainingViolation]:
    if not schedule.offloads:
        return
    total = sum(int(problem.size_bytes[offload.storage]) for offload in schedule.offloads)
    if problem.host is None:
        yield TrainingViolation(
            _Kind.HOST, f"{len(schedule.offloads):,} storages go to the host, and there is none"
        )
    elif total > problem.host.capacity_bytes:
        # All copies out have ended and none back has begun when the halves meet, so that is when
        # the host is fullest.
        yield TrainingViolation(
            _Kind.HOST,
            f"{total:,} bytes are on the host when the halves meet, and it holds "
            f"{problem.host.capacity_bytes:,}",
            len(schedule.forward),
        )
    forward, backward = _uses(problem, schedule.forward), _uses(problem, schedule.backward)
    saved, seen = set(schedule.saved), set[int]()
    gradients = set(problem.gradients.tolist())
    for offload in schedule.offloads:
        storage = offload.storage
        name = problem.storage_names[storage]
        faults = []
        if storage in seen:
            faults.append("twice")
        seen.add(storage)
        if storage not in saved:
            faults.append("and is not saved")
        faults += _forward_faults(forward, len(schedule.forward), offload)
        faults += _backward_faults(backward, len(schedule.backward), offload, gradients)
        for fault in faults:
            yield TrainingViolation(
                _Kind.OFFLOAD, f'"{name}" goes to the host {fault}', None, storage
            )


def _forward_faults(uses: _Uses, steps: int, offload: Offload) -> Iterator[str]:
    copied, freed = offload.copied_after, offload.freed_after
    last = max(
        uses.read.get(offload.storage, [-1])[-1], uses.written.get(offload.storage, [-1])[-1]
    )
    if not 0 <= copied < steps:
        yield f"after step {copied:,} of the forward half, which has {steps:,} steps"
    elif copied < last:
        yield f"after step {copied:,} and is written or read at step {last:,}"
    if freed < copied:
        yield f"after step {copied:,} and is freed after step {freed:,}, before it is copied"
    elif freed > steps:
        yield f"and is freed after step {freed:,} of a forward half of {steps:,} steps"


def _backward_faults(
    uses: _Uses, steps: int, offload: Offload, gradients: set[int]
) -> Iterator[str]:
    storage, fetched = offload.storage, offload.fetched_before
    read = uses.read.get(storage, [steps])[0]
    written = uses.written.get(storage, [steps + 1])[0]
    if not 0 <= fetched < steps:
        yield f"and is fetched before step {fetched:,} of the backward half, which has {steps:,}"
    elif written < read or (read == steps and storage not in gradients):
        yield f"and is fetched before step {fetched:,} of the backward half, where nothing reads it"
    elif fetched > read:
        yield (
            f"and is fetched before step {fetched:,} of the backward half, after step {read:,} "
            "has read it"
        )


class _Replay:
    """Runs the steps on a set of live storages and notes what each step holds."""

    def __init__(
        self, problem: TrainingProblem, schedule: TrainingSchedule, offloads: tuple[Offload, ...]
    ) -> None:
        self.problem = problem
        self.schedule = schedule
        self.sizes = problem.size_bytes.tolist()
        self.found: list[TrainingViolation] = []
        self.live: set[int] = set()
        self.away: set[int] = set()
        self.held_bytes = 0
        self.bytes: list[int] = []
        self.leaving: dict[int, list[int]] = {}
        self.returning: dict[int, list[int]] = {}
        middle = len(schedule.forward)
        for offload in offloads:
            self.leaving.setdefault(offload.freed_after, []).append(offload.storage)
            returns = middle + 1 + offload.fetched_before
            self.returning.setdefault(returns, []).append(offload.storage)

    def run(self) -> None:
        """Replay both halves and the moment between them."""
        problem, schedule = self.problem, self.schedule
        middle = len(schedule.forward)
        outputs = set(problem.forward_outputs.tolist())
        crossing = outputs | set(schedule.saved)
        self._half(schedule.forward, 0, crossing, set())
        for storage in sorted(crossing - self.live - self.away):
            name = problem.storage_names[storage]
            self._fault(_Kind.SAVED, f'"{name}" is not there when the halves meet', middle, storage)
        for storage in problem.tangents.tolist():
            self._take(storage)
        self.bytes.append(self.held_bytes)
        self._leave(middle)
        self._half(schedule.backward, middle + 1, set(problem.gradients.tolist()), outputs)
        for storage in problem.gradients.tolist():
            if storage not in self.live and storage not in outputs:
                name = problem.storage_names[storage]
                message = f'"{name}" is not there when the step ends'
                self._fault(_Kind.GRADIENT, message, len(self.bytes), storage)

    def budget_violations(self, budget_bytes: int) -> Iterator[TrainingViolation]:
        """Yield the peak if it is above the budget."""
        peak = max(self.bytes)
        if peak > budget_bytes:
            step, middle = self.bytes.index(peak), len(self.schedule.forward)
            run = (*self.schedule.forward, -1, *self.schedule.backward)
            name = f'"{self.problem.operator_names[run[step]]}"' if step != middle else "the middle"
            yield TrainingViolation(
                _Kind.BUDGET,
                f"step {step:,}, {name}, holds {peak:,} bytes, {peak - budget_bytes:,} above the "
                f"budget of {budget_bytes:,}",
                step,
            )

    def _half(
        self, sequence: tuple[int, ...], first: int, wanted: set[int], kept: set[int]
    ) -> None:
        """Run one half.

        Parameters
        ----------
        wanted : storages whose last instance outlives the half
        kept : storages of which the caller holds an instance throughout
        """
        problem = self.problem
        uses = _uses(problem, sequence)
        for steps in (*uses.read.values(), *uses.written.values()):
            steps.reverse()
        owned = kept & self.live
        self.live -= owned
        for storage in list(self.live):
            if not self._lives_on(uses, storage, wanted):
                self._free(storage)
        for step, operator in enumerate(sequence, first):
            for storage in self.away.intersection(self.returning.get(step, ())):
                self.away.remove(storage)
                self._take(storage)
            for storage in problem.reads.row(operator).tolist():
                uses.read[storage].pop()
                if storage not in self.live and storage not in owned:
                    self._unread(step, operator, storage)
            written = problem.writes.row(operator).tolist()
            for storage in written:
                uses.written[storage].pop()
                self._take(storage)
            self.bytes.append(self.held_bytes + int(problem.workspace_bytes[operator]))
            for storage in (*problem.reads.row(operator).tolist(), *written):
                if not self._lives_on(uses, storage, wanted):
                    self._free(storage)
            if first == 0:
                self._leave(step)

    @staticmethod
    def _lives_on(uses: _Uses, storage: int, wanted: set[int]) -> bool:
        """Whether something reads what is there before it is written again."""
        read, written = uses.read.get(storage), uses.written.get(storage)
        if not written:
            return bool(read) or storage in wanted
        return bool(read) and read[-1] < written[-1]

    def _leave(self, step: int) -> None:
        for storage in self.live.intersection(self.leaving.get(step, ())):
            self.away.add(storage)
            self._free(storage)

    def _take(self, storage: int) -> None:
        if storage not in self.live:
            self.live.add(storage)
            self.held_bytes += self.sizes[storage]

    def _free(self, storage: int) -> None:
        if storage in self.live:
            self.live.remove(storage)
            self.held_bytes -= self.sizes[storage]

    def _unread(self, step: int, operator: int, storage: int) -> None:
        away = storage in self.away
        why = "is on the host" if away else "is neither saved nor computed before"
        name = self.problem.storage_names[storage]
        by = self.problem.operator_names[operator]
        self._fault(
            _Kind.NOT_LIVE, f'step {step:,}: "{by}" reads "{name}", which {why}', step, storage
        )

    def _fault(self, kind: TrainingViolationKind, text: str, step: int, storage: int) -> None:
        if len(self.found) < _LISTED:
            self.found.append(TrainingViolation(kind, text, step, storage))
