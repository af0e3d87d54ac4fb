"""Classical choices of what to save, for searches to start from and dynamic programs to beat."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from planner.training.just_in_time import just_in_time
from solvers.training.block_kinds import block_kinds
from solvers.training.saving_cut import SavingCuts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from planner.training.problem import TrainingProblem
    from planner.training.schedule import TrainingSchedule
    from solvers.training.blocks import Chain

_CORNERS = 16
_MOST_PER_RULE = 12


def baseline_schedules(
    problem: TrainingProblem, chain: Chain
) -> Iterator[tuple[str, TrainingSchedule]]:
    """Yield named schedules, the one that recomputes nothing first.

    - "save-all";
    - "saving-cut": the corners of saved bytes against recomputation of the whole step, by minimum
      cuts;
    - "every-k-inputs": checkpoints at the inputs of every k-th block (Chen, Xu, Zhang, Guestrin,
      "Training deep nets with sublinear memory cost", arXiv 1604.06174);
    - "first-j-recomputed": the first j blocks save their inputs alone (Megatron's full
      recomputation of some layers);
    - "without-...": one result is recomputed in all blocks of the commonest kind (selective
      recomputation, Korthikanti and others, arXiv 2205.05198).
    """
    boundary = frozenset(problem.boundary.tolist())
    yield "save-all", just_in_time(problem, boundary)
    corners = SavingCuts(problem, boundary, problem.size_bytes).corners(_CORNERS)
    for corner in corners[1:]:
        yield "saving-cut", just_in_time(problem, corner)
    yield from _every_few_inputs(problem, chain)
    yield from _first_recomputed(problem, chain, boundary)
    yield from _selective(problem, chain, boundary)


def _every_few_inputs(
    problem: TrainingProblem, chain: Chain
) -> Iterator[tuple[str, TrainingSchedule]]:
    blocks = len(chain.blocks)
    for every in _some(range(1, blocks)):
        saved = set(chain.constants)
        for block in chain.blocks[::every]:
            saved.update(block.inputs)
        yield f"every-{every}-inputs", just_in_time(problem, saved)


def _first_recomputed(
    problem: TrainingProblem, chain: Chain, boundary: frozenset[int]
) -> Iterator[tuple[str, TrainingSchedule]]:
    dropped: list[frozenset[int]] = []
    gone: set[int] = set()
    for block in chain.blocks:
        made = {s for o in block.forward for s in problem.write_rows[o]}
        gone |= made - set(block.outputs) - chain.constants
        dropped.append(frozenset(gone))
    for index in _some(range(len(dropped))):
        saved = boundary - dropped[index]
        for block in chain.blocks[: index + 1]:
            saved |= frozenset(block.inputs)
        yield f"first-{index + 1}-recomputed", just_in_time(problem, saved)


def _selective(
    problem: TrainingProblem, chain: Chain, boundary: frozenset[int]
) -> Iterator[tuple[str, TrainingSchedule]]:
    kinds = block_kinds(problem, chain)
    kind, count = Counter(kinds.kind).most_common(1)[0]
    if count < 2:
        return
    alike = [step for step, k in zip(kinds.steps, kinds.kind, strict=True) if k == kind]
    first = alike[0]
    local = [
        s
        for s in first.problem.boundary.tolist()
        if s >= first.inputs and first.storages[s] not in chain.constants
    ]
    local.sort(key=lambda s: -int(first.problem.size_bytes[s]))
    for storage in local[:_MOST_PER_RULE]:
        dropped = frozenset(step.storages[storage] for step in alike)
        name = f"without-{first.problem.storage_names[storage]}"
        yield name, just_in_time(problem, boundary - dropped)


def _some(numbers: range) -> list[int]:
    """Return at most a dozen of the numbers, the small ones first."""
    if len(numbers) <= _MOST_PER_RULE:
        return list(numbers)
    chosen: list[int] = []
    for number in numbers:
        if not chosen or number >= chosen[-1] * len(numbers) ** (1 / _MOST_PER_RULE):
            chosen.append(number)
    return chosen
