"""Block-wise plans of a training step: each distinct block solved once, joined by a program."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.training.memory import memory_profile
from planner.training.schedule import recompute_ps
from planner.training.seed import Seed
from solvers.training.block_baselines import baseline_schedules
from solvers.training.blocks import cut_chain
from solvers.training.chain_program import UNREACHED, ChainProgram
from solvers.training.chain_schedule import ChainSchedules
from solvers.training.chain_stages import solve_blocks
from solvers.training.ladder import STEP

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
_MOST_SLACK = 1.1
_SPARE_PERCENT = (0, 2, 5, 10, 15, 20)
# Runs of so many neighbouring blocks are treated as blocks too, if the chain is short enough.
_WIDTHS = (1, 2, 4, 6)
_MOST_RUNS = 336


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
    for seed in _seeds(problem, deadline):
        found.append(seed)
        if deadline.expired():
            break
    return _frontier(found)


def _seeds(problem: TrainingProblem, deadline: Deadline) -> Iterator[Seed]:
    chain = cut_chain(problem)
    most_bytes = 0
    for name, schedule in baseline_schedules(problem, chain):
        seed = _seed(problem, name, schedule)
        # The first one saves everything.
        most_bytes = most_bytes or seed.peak_bytes
        yield seed
    if len(problem.boundary) == 0:
        # Nothing crosses, so there is nothing to choose.
        return
    solved = solve_blocks(problem, chain, _widths(chain), deadline=deadline)
    if deadline.expired():
        return
    slots = _slots(solved.stages)
    program = ChainProgram(
        *(solved.stages, slots.size_bytes, slots.number),
        deadline=deadline,
        spare_bytes=slots.spare_bytes,
    )
    if not program.complete:
        return
    schedules = ChainSchedules(problem, solved)
    most = max(12, min(_MOST_PLANS, _EVALUATED_STEPS // (2 * len(problem.operator_names))))
    # Rounded sizes make the program's peaks a little too high, from one target to the next alike.
    slack, known = 1.0, -1
    for target in _targets(program, most_bytes, most):
        budget = program.best_within(int(slack * target / slots.size_bytes))
        if budget == known:
            continue
        known = budget
        seed = _seed(problem, "block-dp", schedules.schedule(program.trace(budget)))
        slack = min(_MOST_SLACK, budget * slots.size_bytes / max(1, seed.peak_bytes))
        yield seed


def _seed(problem: TrainingProblem, name: str, schedule: TrainingSchedule) -> Seed:
    peak = memory_profile(problem, schedule).peak_bytes
    return Seed(name, schedule, peak, recompute_ps(problem, schedule))


def _widths(chain: Chain) -> list[int]:
    """Return how many neighbouring blocks may be treated as one."""
    blocks = len(chain.blocks)
    return [width for width in _WIDTHS if width == 1 or width * blocks <= _MOST_RUNS]


class _Slots(NamedTuple):
    """Memory slots: enough of them to keep everything of every block."""

    size_bytes: int
    number: int
    spare_bytes: int


def _slots(stages: Sequence[Stage]) -> _Slots:
    """Return the slots that waste least, of numbers within a fifth of the intended one."""
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
    best: tuple[float, int, int] | None = None
    for size in np.geomspace(whole / intended, 1.2 * whole / intended, 200).astype(int).tolist():
        slot = size + 1
        for spare in [slot * percent // 100 for percent in _SPARE_PERCENT]:
            # Each of them may take ``spare`` more than its slots, which is reserved.
            taken = np.maximum(0, -(-(sizes - spare) // slot)) * slot + spare
            wasted = float((taken - sizes).mean())
            if best is None or wasted < best[0]:
                best = wasted, slot, spare
    assert best is not None
    _, slot, spare = best
    return _Slots(slot, -(-(whole + 2 * blocks * spare) // slot), spare)


def _targets(program: ChainProgram, most_bytes: int, most: int) -> list[float]:
    """Return peaks to aim at, falling as those of `solvers.training.ladder` do.

    Parameters
    ----------
    most_bytes : int
        Peak of saving everything, where the targets begin.
    most : int
        If there are more targets than this, they are taken in larger steps.
    """
    reached = np.flatnonzero(program.times() < UNREACHED)
    if len(reached) == 0:
        return []
    least_bytes = max(1, int(reached[0]) * program.slot_bytes)
    most_bytes = max(most_bytes, least_bytes)
    count = 2 + int(np.log(least_bytes / most_bytes) / np.log(STEP))
    if count <= most:
        return [most_bytes * STEP**k for k in range(count)]
    return np.geomspace(most_bytes, least_bytes, most).tolist()


def _frontier(seeds: list[Seed]) -> list[Seed]:
    kept: list[Seed] = []
    for seed in sorted(seeds, key=lambda s: (s.recompute_ps, s.peak_bytes)):
        if not kept or seed.peak_bytes < kept[-1].peak_bytes:
            kept.append(seed)
    return kept
