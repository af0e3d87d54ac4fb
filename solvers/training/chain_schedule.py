"""From the actions of a chain's plan to a schedule of the whole training step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.training.schedule import TrainingSchedule
from solvers.training.chain_program import Move

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from planner.training.problem import TrainingProblem
    from solvers.training.chain_program import Action
    from solvers.training.chain_stages import SolvedChain


class _CannotRecomputeError(Exception):
    def __init__(self, storage: int) -> None:
        self.storage = storage


class ChainSchedules:
    """Makes schedules of plans of one chain.

    Within a block that runs backward, what is missing is recomputed just before it is read, as in
    `planner.training.just_in_time`. A storage that would be needed though its plan forgot it, and
    that cannot be recomputed, is kept from then on in all plans.

    """

    def __init__(self, problem: TrainingProblem, solved: SolvedChain) -> None:
        self.problem = problem
        self.solved = solved
        self.blocks = solved.chain.blocks
        self.producer = problem.producer.tolist()
        self.reads, self.writes = problem.read_rows, problem.write_rows
        self.in_forward = problem.in_forward.tolist()
        self.recomputable = problem.recomputable.tolist()
        self.tangents = frozenset(problem.tangents.tolist())
        self.always = set(solved.chain.constants) | set(problem.forward_outputs.tolist())
        self.made = [
            frozenset(s for o in block.forward for s in self.writes[o]) for block in self.blocks
        ]

    def schedule(self, actions: Sequence[Action]) -> TrainingSchedule:
        """Return the schedule of these actions."""
        while True:
            try:
                return _Run(self, actions).schedule()
            except _CannotRecomputeError as error:
                self.always.add(error.storage)


class _Run:
    """What is live as the actions go on, and what has run."""

    def __init__(self, shared: ChainSchedules, actions: Sequence[Action]) -> None:
        self.shared = shared
        self.actions = actions
        self.live: set[int] = set()
        self.sequence: list[int] = []
        self.forward: tuple[int, ...] | None = None
        self.stay: set[int] = set(shared.always)
        self.ran: set[int] = set()

    def schedule(self) -> TrainingSchedule:
        for action in self.actions:
            if action.move is Move.REVERSE:
                self._reverse(action)
            else:
                self._ahead(action)
        if self.forward is None:
            self._turn()
        self._burst(self.shared.problem.gradients.tolist())
        return TrainingSchedule(self.forward or (), tuple(self.sequence), self._crossing())

    def _ahead(self, action: Action) -> None:
        shared, blocks = self.shared, range(action.first, action.last + 1)
        outputs = set(shared.blocks[action.last].outputs)
        kept: frozenset[int] = frozenset()
        if action.move is Move.KEEP:
            step = shared.solved.choice_steps[action.first][action.choice]
            option = shared.solved.stages[action.first].choices[action.choice].option
            kept = frozenset(step.storages[s] for s in option.saved)
        wanted = outputs | kept
        operators: set[int] = set()
        if self.forward is None:
            for block in blocks:
                operators.update(o for o in shared.blocks[block].forward if shared.in_forward[o])
                self.stay |= shared.solved.fixed[block]
                wanted |= shared.solved.fixed[block]
                wanted |= shared.made[block] & shared.always
            wanted.difference_update(s for o in operators for s in shared.writes[o])
        self._run(self._closure(wanted, operators))
        for block in blocks:
            self._forget(shared.made[block] - outputs - kept)
        if action.move is Move.KEEP and action.release_input:
            self._forget(shared.blocks[action.first].inputs)

    def _reverse(self, action: Action) -> None:
        if self.forward is None:
            self._turn()
        shared, blocks = self.shared, range(action.last, action.first - 1, -1)
        step = shared.solved.choice_steps[action.first][action.choice]
        option = shared.solved.stages[action.first].choices[action.choice].option
        repeated = frozenset(step.operators[o] for o in option.repeated)
        for block in blocks:
            for operator in shared.blocks[block].backward:
                self._burst(shared.reads[operator], repeated)
                self._run((operator,))
        for block in blocks:
            self.stay -= shared.solved.fixed[block] - shared.always
            self._forget(shared.made[block])
        if action.release_input:
            self._forget(shared.blocks[action.first].inputs)

    def _turn(self) -> None:
        self.forward = tuple(self.sequence)
        self.sequence = []
        self.live |= self.shared.tangents

    def _burst(self, wanted: Iterable[int], repeated: frozenset[int] = frozenset()) -> None:
        burst = self._closure(wanted, set())
        already = self.live & {s for o in burst & repeated for s in self.shared.writes[o]}
        self._run(burst)
        for operator in burst & repeated:
            self.live.difference_update(self.shared.writes[operator])
        self.live |= already

    def _closure(self, wanted: Iterable[int], operators: set[int]) -> set[int]:
        """Return ``operators`` and those that have to run so that these storages are live."""
        shared = self.shared
        found = set(operators)
        stack = [s for s in wanted if s not in self.live]
        stack += [s for o in operators for s in shared.reads[o] if s not in self.live]
        while stack:
            storage = stack.pop()
            operator = shared.producer[storage]
            if storage in self.live or operator in found:
                continue
            if operator in self.ran and not shared.recomputable[operator]:
                raise _CannotRecomputeError(storage)
            found.add(operator)
            stack += shared.reads[operator]
        return found

    def _run(self, operators: Iterable[int]) -> None:
        ordered = sorted(operators)
        self.sequence += ordered
        self.ran.update(ordered)
        for operator in ordered:
            self.live.update(self.shared.writes[operator])

    def _forget(self, storages: Iterable[int]) -> None:
        self.live.difference_update(s for s in storages if s not in self.stay)

    def _crossing(self) -> tuple[int, ...]:
        """Return what the backward half reads before it is made there."""
        shared = self.shared
        outside = shared.tangents | set(shared.problem.forward_outputs.tolist())
        made: set[int] = set()
        saved: set[int] = set()
        for operator in self.sequence:
            saved.update(s for s in shared.reads[operator] if s not in made)
            made.update(shared.writes[operator])
        saved.update(s for s in shared.problem.gradients.tolist() if s not in made)
        return tuple(sorted(saved - outside))
