"""Least recomputation and least peak of a tiny training step, by trying every schedule.

A state is what has run of that which runs once, and what is held. To hold something costs nothing
but room, and can be given up at any time; so nothing is given up before the room is needed.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, NamedTuple

from planner.training.memory import memory_profile
from planner.training.schedule import recompute_ps
from planner.training.sequences import schedule_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from planner.training.problem import TrainingProblem
    from planner.training.schedule import TrainingSchedule


class _State(NamedTuple):
    """Where a schedule has got to; sets are bit masks.

    Attributes
    ----------
    backward : bool
        In the backward half.
    turn : int
        How many of those operators have run that have their turn in this half.
    last : int
        Last operator that ran in the present stage, -1 if none or if stages do not matter.
    held : int
        Storages whose latest instance is there, forward outputs in both halves included.
    renewed : int
        Forward outputs computed again in the backward half, where they need room once more.
    """

    backward: bool
    turn: int
    last: int
    held: int
    renewed: int


class _Step(NamedTuple):
    cost: int
    operator: int
    state: _State


def least_recompute(
    problem: TrainingProblem, budget_bytes: int, *, staged: bool = False
) -> TrainingSchedule | None:
    """Return a schedule of least extra time within a budget; None if there is none.

    Good for about a dozen operators. No offloading.

    Parameters
    ----------
    problem : TrainingProblem
    budget_bytes : int
        For the peak of `planner.training.memory.memory_profile`.
    staged : bool
        Only schedules in which operators run for the first time in ascending order, and run at
        most once, and in ascending order, between two that do (or before the end of a half).
        Forward operators that need not run in the forward half have no such first time.
    """
    search = _Search(problem, budget_bytes, staged)
    start = _State(backward=False, turn=0, last=-1, held=0, renewed=0)
    cost = {start: 0}
    came: dict[_State, tuple[_State, int]] = {}
    queue = [(0, start)]
    while queue:
        spent, state = heapq.heappop(queue)
        if spent > cost[state]:
            continue
        if search.is_end(state):
            return _checked(problem, budget_bytes, _schedule(problem, came, state))
        for step in search.steps(state):
            reached = spent + step.cost
            if reached < cost.get(step.state, reached + 1):
                cost[step.state] = reached
                came[step.state] = state, step.operator
                heapq.heappush(queue, (reached, step.state))
    return None


def least_peak(problem: TrainingProblem, *, staged: bool = False) -> int:
    """Return the least peak of all schedules, in bytes."""
    low = -1
    high = int(problem.size_bytes.sum() * 2 + problem.workspace_bytes.max(initial=0))
    while high - low > 1:
        middle = (low + high) // 2
        found = least_recompute(problem, middle, staged=staged)
        if found is None:
            low = middle
        else:
            high = memory_profile(problem, found).peak_bytes
    return high


_CROSSING = -1


def _schedule(
    problem: TrainingProblem, came: dict[_State, tuple[_State, int]], state: _State
) -> TrainingSchedule:
    """Return the way to a state as a schedule that saves what its backward half reads."""
    halves: tuple[list[int], list[int]] = [], []
    while state in came:
        state, operator = came[state]
        if operator != _CROSSING:
            halves[state.backward].append(operator)
    forward, backward = (half[::-1] for half in halves)
    return schedule_of(problem, forward, backward)


def _checked(
    problem: TrainingProblem, budget_bytes: int, schedule: TrainingSchedule
) -> TrainingSchedule:
    peak = memory_profile(problem, schedule).peak_bytes
    assert peak <= budget_bytes, f"a schedule of {peak} bytes was taken to fit {budget_bytes}"
    assert recompute_ps(problem, schedule) >= 0
    return schedule


class _Search:
    """What can be done next."""

    def __init__(self, problem: TrainingProblem, budget_bytes: int, staged: bool) -> None:
        self.budget = budget_bytes
        self.staged = staged
        self.operators = range(len(problem.reads))
        self.size = problem.size_bytes.tolist()
        self.workspace = problem.workspace_bytes.tolist()
        self.duration = problem.duration_ps.tolist()
        self.is_backward = problem.is_backward.tolist()
        self.reads = [_mask(problem.reads.row(o).tolist()) for o in self.operators]
        self.writes = [_mask(problem.writes.row(o).tolist()) for o in self.operators]
        self.outputs = _mask(problem.forward_outputs.tolist())
        self.tangents = _mask(problem.tangents.tolist())
        self.gradients = _mask(problem.gradients.tolist())
        # What has its turn, once: the rest may run at any time, or be left out.
        first = problem.in_forward if staged else ~problem.recomputable
        forward = [o for o in problem.forward_operators.tolist() if first[o]]
        self.turns = (forward, problem.backward_operators.tolist())
        self.free = [o for o in problem.forward_operators.tolist() if bool(problem.recomputable[o])]
        self.useful = self._useful_in_backward()

    def _useful_in_backward(self) -> list[int]:
        """Storages that may still be of use after so many backward operators."""
        useful = [self._sources(self.gradients)]
        for operator in reversed(self.turns[1]):
            useful.append(self._sources(self.reads[operator]) | useful[-1])
        return useful[::-1]

    def _sources(self, storages: int) -> int:
        for operator in reversed(self.operators):
            if self.writes[operator] & storages and not self.is_backward[operator]:
                storages |= self.reads[operator]
        return storages

    def is_end(self, state: _State) -> bool:
        return (
            state.backward and state.turn == len(self.turns[1]) and not self.gradients & ~state.held
        )

    def steps(self, state: _State) -> Iterator[_Step]:
        turns = self.turns[state.backward]
        due = turns[state.turn] if state.turn < len(turns) else None
        if due is None and not state.backward:
            yield from self._crossing(state)
        if due is not None:
            yield from self._executions(state, due, state._replace(turn=state.turn + 1, last=-1))
        for operator in self.free:
            if not self.writes[operator] & ~state.held:
                continue
            if state.backward and not self.writes[operator] & self.useful[state.turn]:
                continue
            if self.staged:
                early = not state.backward and due is not None and operator >= due
                if operator <= state.last or early:
                    continue
                yield from self._executions(state, operator, state._replace(last=operator))
            else:
                yield from self._executions(state, operator, state)

    def _crossing(self, state: _State) -> Iterator[_Step]:
        """Yield the ways over to the backward half."""
        if self.outputs & ~state.held:
            return
        held = (state.held & self.useful[0]) | self.outputs
        room = self.budget - self._bytes(self.outputs | self.tangents)
        for kept in self._kept(held & ~self.outputs, room):
            held = self.outputs | (kept | self.tangents)
            yield _Step(0, _CROSSING, _State(True, 0, -1, held, 0))

    def _executions(self, state: _State, operator: int, after: _State) -> Iterator[_Step]:
        """Yield the ways to run an operator, by what is given up for it."""
        if self.reads[operator] & ~state.held:
            return
        written = self.writes[operator]
        renewed = state.renewed
        room = self.budget - self.workspace[operator] - self._bytes(written)
        untouchable = 0
        if state.backward:
            # The caller's instances of the forward outputs.
            room -= self._bytes(self.outputs)
            untouchable = self.outputs & ~renewed & ~written
            renewed |= written & self.outputs
        room -= self._bytes(self.reads[operator] & ~untouchable)
        choice = state.held & ~(untouchable | written | self.reads[operator])
        for kept in self._kept(choice, room):
            held = kept | untouchable | written | self.reads[operator]
            if state.backward:
                held &= self.useful[after.turn] | untouchable
            yield _Step(
                self.duration[operator], operator, after._replace(held=held, renewed=renewed)
            )

    def _kept(self, storages: int, room: int) -> Iterator[int]:
        """Yield the largest sets of storages that fit into the room."""
        excess = self._bytes(storages) - room
        if room < 0:
            return
        if excess <= 0:
            yield storages
            return
        items = [s for s in _members(storages) if self.size[s]]
        items.sort(key=lambda s: -self.size[s])
        # The last one given up is the smallest, so a set is least if it is not to be spared.
        stack = [(0, 0, storages)]
        while stack:
            index, freed, kept = stack.pop()
            if index == len(items):
                continue
            size = self.size[items[index]]
            stack.append((index + 1, freed, kept))
            less = kept & ~(1 << items[index])
            if freed + size >= excess:
                yield less
            else:
                stack.append((index + 1, freed + size, less))

    def _bytes(self, storages: int) -> int:
        return sum(self.size[s] for s in _members(storages))


def _mask(storages: list[int]) -> int:
    return sum(1 << s for s in storages)


def _members(storages: int) -> Iterator[int]:
    while storages:
        low = storages & -storages
        yield low.bit_length() - 1
        storages ^= low
