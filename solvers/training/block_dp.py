"""Block-wise plans of a training step: each distinct block solved once, joined by a program."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from planner.training.memory import memory_profile
from planner.training.schedule import recompute_ps
from planner.training.seed import Seed
from solvers.training.block_baselines import baseline_schedules
from solvers.training.blocks import cut_chain
from solvers.training.chain_program import UNREACHED, ChainProgram
from solvers.training.chain_schedule import ChainSchedules
from solvers.training.chain_stages import solve_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from planner.training.problem import TrainingProblem
    from planner.training.schedule import TrainingSchedule
    from solvers.protocol import Deadline
    from solvers.training.blocks import Chain
    from solvers.training.chain_program import Stage

# Elementary steps of the dynamic program; from it and the blocks follow the memory slots.
_EFFORT = 4 * 10**8
_FEWEST_SLOTS, _MOST_SLOTS = 200, 3000
# Plans that are made into schedules and evaluated, times their steps.
_EVALUATED_STEPS = 300_000
_MOST_PLANS = 160
# Runs of so many neighbouring blocks are treated as blocks too, if the chain is short enough.
_WIDTHS = (1, 2, 3, 4)
_MOST_RUNS = 256


def block_plans(problem: TrainingProblem, *, deadline: Deadline) -> list[Seed]:
    """Return plans over the whole range of budgets, none better than another in both respects.

    The forward half is cut into a chain of blocks at narrow places. Each distinct block is solved
    once for several trades of kept bytes, bytes while it runs, and time; a dynamic program over
    the chain chooses among them, and which stretches run again from a checkpoint, for all budgets
    at once. Classical checkpointing and uniform saving compete.

    Returns
    -------
    list of Seed
        By falling peak and rising recomputation, both exact. What was found by the deadline; not
        empty, for saving all that the backward half reads is always there.
    """
    found: list[Seed] = []
    for name, schedule in _schedules(problem, deadline):
        peak = memory_profile(problem, schedule).peak_bytes
        found.append(Seed(name, schedule, peak, recompute_ps(problem, schedule)))
        if deadline.expired():
            break
    return _frontier(found)


def _schedules(
    problem: TrainingProblem, deadline: Deadline
) -> Iterator[tuple[str, TrainingSchedule]]:
    chain = cut_chain(problem)
    yield from baseline_schedules(problem, chain)
    solved = solve_blocks(problem, chain, _widths(chain), deadline=deadline)
    if deadline.expired():
        return
    slot_bytes, slots = _slots(solved.stages)
    program = ChainProgram(solved.stages, slot_bytes, slots, deadline=deadline)
    if not program.complete:
        return
    schedules = ChainSchedules(problem, solved)
    steps = 2 * len(problem.operator_names)
    for budget in _budgets(program, max(12, min(_MOST_PLANS, _EVALUATED_STEPS // steps))):
        yield "block-dp", schedules.schedule(program.trace(budget))


def _widths(chain: Chain) -> list[int]:
    """Return how many neighbouring blocks may be treated as one."""
    blocks = len(chain.blocks)
    return [width for width in _WIDTHS if width == 1 or width * blocks <= _MOST_RUNS]


def _slots(stages: Sequence[Stage]) -> tuple[int, int]:
    """Return the size and number of memory slots: enough to keep everything of every block.

    Of the sizes that give a number within a fifth of the intended one, that which rounding up the
    sizes that add up wastes least.
    """
    blocks = len(stages)
    single = [
        [choice for choice in stage.choices if choice.last == index]
        for index, stage in enumerate(stages)
    ]
    kept = sum(
        stage.input_bytes + max(choice.option.kept_bytes for choice in single[index])
        for index, stage in enumerate(stages)
    )
    running = max(
        max(stage.base_bytes, choice.backward_base_bytes)
        + stage.input_bytes
        + choice.output_bytes
        + max(choice.option.forward_bytes, choice.option.backward_bytes)
        for index, stage in enumerate(stages)
        for choice in single[index]
    )
    work = blocks**3 / 6 + blocks * sum(len(stage.choices) for stage in stages)
    intended = min(_MOST_SLOTS, max(_FEWEST_SLOTS, _EFFORT / work))
    whole = kept + running + 1
    sizes = np.array(
        [stage.input_bytes for stage in stages]
        + [
            choice.option.kept_bytes + choice.output_bytes * choice.option.keeps_output
            for choices in single
            for choice in choices
        ],
        dtype=np.int64,
    )
    trials = np.unique(np.geomspace(whole / intended, 1.2 * whole / intended, 400).astype(np.int64))
    trials = trials + 1
    wasted = [int((-sizes % trial).sum()) for trial in trials.tolist()]
    slot_bytes = int(trials[int(np.argmin(wasted))])
    return slot_bytes, -(-whole // slot_bytes)


def _budgets(program: ChainProgram, most: int) -> list[int]:
    """Return numbers of slots at which the least time falls, evenly spread if there are many."""
    times = program.times()
    falls = np.flatnonzero(np.diff(times, prepend=UNREACHED) < 0)
    if len(falls) <= most:
        return falls.tolist()
    # Evenly in the logarithm: so are the targets that searches go down.
    targets = np.geomspace(falls[0], falls[-1], most)
    return np.unique(falls[np.searchsorted(falls, targets, side="right") - 1]).tolist()


def _frontier(seeds: list[Seed]) -> list[Seed]:
    kept: list[Seed] = []
    for seed in sorted(seeds, key=lambda s: (s.recompute_ps, s.peak_bytes)):
        if not kept or seed.peak_bytes < kept[-1].peak_bytes:
            kept.append(seed)
    return kept
