"""Ways to treat one block: what is kept between its two halves, and what that costs."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.training.just_in_time import just_in_time
from planner.training.memory import lifetimes, memory_profile
from solvers.training.saving_cut import SavingCuts

if TYPE_CHECKING:
    from planner.training.problem import TrainingProblem
    from solvers.protocol import Deadline
    from solvers.training.block_kinds import BlockStep

_CORNERS = 14
_MOST_OPTIONS = 24
# Evaluations of one block times its operators: what the search of one kind of block may cost.
_EFFORT = 6_000
_MOST_EVALUATIONS = 150


class BlockOption(NamedTuple):
    """One way to treat a block. Bytes leave out its inputs and what is always kept of it.

    Attributes
    ----------
    saved : frozenset of int
        Storages of the block kept between its two halves, without inputs; local numbers.
    repeated : frozenset of int
        Forward operators of the block whose results are forgotten after each burst; local numbers.
    needs_input, keeps_output : bool
        Whether the backward half reads the block's inputs, and whether outputs are saved.
    kept_bytes : int
        Of ``saved``, without outputs.
    forward_bytes, backward_bytes : int
        Most live bytes while the block runs forward, its outputs included, and backward.
    forward_ps, backward_ps : int
        Time of running it forward, up to its outputs and what is saved, and backward.
    """

    saved: frozenset[int]
    repeated: frozenset[int]
    needs_input: bool
    keeps_output: bool
    kept_bytes: int
    forward_bytes: int
    backward_bytes: int
    forward_ps: int
    backward_ps: int


def unrepeatable(step: BlockStep) -> frozenset[int]:
    """Return the fewest bytes without which some of a block could not be recomputed.

    None where all its operators can. Local numbers.
    """
    problem = step.problem
    if problem.recomputable[problem.forward_operators[1:-1]].all():
        return frozenset()
    price = problem.size_bytes.copy()
    price[: step.inputs] = 0
    cuts = SavingCuts(problem, {*problem.boundary.tolist(), *step.outputs}, price)
    return cuts.saved(cuts.dear()) - frozenset(range(step.inputs))


def block_options(
    step: BlockStep, fixed: frozenset[int], *, deadline: Deadline
) -> tuple[BlockOption, ...]:
    """Return what can be traded in one block: kept bytes, bytes while it runs, and time.

    The corners of saved bytes against recomputation come from minimum cuts, with inputs and
    outputs free and at their price, as others may keep them; between neighbours the way is gone
    storage by storage. Results of the leanest choices are then forgotten early, where that lowers
    what is live at the worst step.

    Parameters
    ----------
    fixed : frozenset of int
        Storages that are kept in every case, see `unrepeatable`; local numbers.
    """
    return _Search(step, fixed, deadline).run()


class _Search:
    def __init__(self, step: BlockStep, fixed: frozenset[int], deadline: Deadline) -> None:
        self.step = step
        self.deadline = deadline
        self.inputs = frozenset(range(step.inputs))
        self.fixed = fixed
        self.problem = _without_bytes(step.problem, self.inputs | self.fixed)
        self.boundary = frozenset(step.problem.boundary.tolist())
        self.found: dict[tuple[frozenset[int], frozenset[int]], BlockOption] = {}
        size = len(step.operators)
        self.evaluations = max(8, min(_MOST_EVALUATIONS, _EFFORT // size))

    def _price(self, free: frozenset[int]) -> np.ndarray:
        price = self.step.problem.size_bytes.copy()
        price[list(free)] = 0
        return price

    def run(self) -> tuple[BlockOption, ...]:
        self._option(frozenset())
        outputs = self.step.outputs
        for free in (self.inputs, self.inputs | outputs, frozenset[int](), outputs):
            free |= self.fixed
            cuts = SavingCuts(self.step.problem, self.boundary, self._price(free))
            corners = cuts.corners(_CORNERS)
            for corner in corners:
                self._option(corner)
            for many, few in pairwise(corners):
                self._walk(cuts, many, few)
        for saved in self._leanest(2):
            self._forget(saved)
        return _frontier(list(self.found.values()))

    def _spent(self) -> bool:
        return len(self.found) >= self.evaluations or self.deadline.expired()

    def _walk(self, cuts: SavingCuts, many: frozenset[int], few: frozenset[int]) -> None:
        """Drop from the larger choice, one by one, what the smaller lacks: cheapest bytes first."""
        saved = many
        while not self._spent():
            droppable = sorted(saved - few - self.inputs - self.fixed)
            if len(droppable) < 2 or len(droppable) > 40:
                return

            def rate(storage: int, saved: frozenset[int] = saved) -> tuple[float, int]:
                again = cuts.recomputed(saved - {storage})
                time = int(cuts.cost[list(again)].sum())
                return time / max(1, int(cuts.price_bytes[storage])), storage

            saved = saved - {min(droppable, key=rate)}
            self._option(saved)

    def _leanest(self, many: int) -> list[frozenset[int]]:
        options = sorted(self.found.values(), key=lambda o: (o.kept_bytes, o.backward_bytes))
        return list(dict.fromkeys(option.saved for option in options))[:many]

    def _forget(self, saved: frozenset[int]) -> None:
        """Repeat, one after the other, operators whose results lie idle at the worst step."""
        option = self._option(saved)
        while not self._spent():
            best: BlockOption | None = None
            for operator in self._idle(option):
                trial = self._option(saved, option.repeated | {operator})
                gain = option.backward_bytes - trial.backward_bytes
                if gain > 0 and (
                    best is None
                    or (trial.backward_ps - option.backward_ps)
                    * (option.backward_bytes - best.backward_bytes)
                    < (best.backward_ps - option.backward_ps) * gain
                ):
                    best = trial
            if best is None:
                return
            option = best

    def _idle(self, option: BlockOption) -> list[int]:
        """Return makers of recomputed storages that the worst backward step does not read."""
        problem = self.problem
        schedule = just_in_time(problem, option.saved | self.fixed, option.repeated)
        profile = memory_profile(problem, schedule)
        half = profile.live_bytes[profile.forward_steps :]
        worst = profile.forward_steps + int(half.argmax())
        found: dict[int, int] = {}
        for life in lifetimes(problem, schedule):
            maker = int(problem.producer[life.storage])
            if maker < 0 or problem.is_backward[maker] or maker in option.repeated:
                continue
            if life.first < worst < life.last and life.first > profile.forward_steps:
                size = int(problem.size_bytes[life.storage])
                found[maker] = found.get(maker, 0) + size
        return sorted((m for m in found if found[m]), key=lambda m: (-found[m], m))[:5]

    def _option(self, saved: frozenset[int], repeated: frozenset[int] = frozenset()) -> BlockOption:
        saved = saved - self.inputs - self.fixed
        known = self.found.get((saved, repeated))
        if known is None:
            known = self.found[saved, repeated] = self._evaluated(saved, repeated)
        return known

    def _evaluated(self, saved: frozenset[int], repeated: frozenset[int]) -> BlockOption:
        problem, outputs = self.problem, self.step.outputs
        schedule = just_in_time(problem, saved | self.fixed, repeated)
        profile = memory_profile(problem, schedule)
        middle = profile.forward_steps
        kept = frozenset(schedule.saved) - self.inputs - self.fixed
        return BlockOption(
            saved=kept,
            repeated=repeated,
            needs_input=not self.inputs.isdisjoint(schedule.saved),
            keeps_output=not outputs.isdisjoint(kept),
            kept_bytes=int(problem.size_bytes[list(kept - outputs)].sum()),
            forward_bytes=int(profile.live_bytes[:middle].max()),
            backward_bytes=int(profile.live_bytes[middle:].max()),
            forward_ps=int(problem.duration_ps[list(schedule.forward)].sum()),
            backward_ps=int(problem.duration_ps[list(schedule.backward)].sum()),
        )


def _without_bytes(problem: TrainingProblem, storages: frozenset[int]) -> TrainingProblem:
    size = problem.size_bytes.copy()
    size[list(storages)] = 0
    return replace(problem, size_bytes=size)


def _frontier(options: list[BlockOption]) -> tuple[BlockOption, ...]:
    """Return options that no other one equals or betters in every respect, most saved first."""

    def respects(option: BlockOption) -> tuple[int, ...]:
        return (
            *(bool(option.saved), option.needs_input, option.keeps_output, option.kept_bytes),
            *(option.backward_bytes, option.forward_ps + option.backward_ps),
            option.forward_bytes,
        )

    kept: list[BlockOption] = []
    for option in sorted(options, key=respects):
        mine = respects(option)
        if not any(all(a <= b for a, b in zip(respects(k), mine, strict=True)) for k in kept):
            kept.append(option)
    kept.sort(key=lambda o: (-o.kept_bytes, -o.backward_bytes, respects(o)))
    bare = [o for o in kept if not o.saved]
    rest = [o for o in kept if o.saved]
    return (*_spread(rest, _MOST_OPTIONS), *_spread(bare, _MOST_OPTIONS // 2))


def _spread(options: list[BlockOption], most: int) -> list[BlockOption]:
    if len(options) <= most:
        return options
    chosen = np.unique(np.linspace(0, len(options) - 1, most).round().astype(int))
    return [options[i] for i in chosen]
