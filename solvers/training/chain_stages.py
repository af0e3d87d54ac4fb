"""What the dynamic program has to know of each block of a training step."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from solvers.training.block_kinds import block_kinds
from solvers.training.block_options import block_options, unrepeatable
from solvers.training.chain_program import Choice, Stage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from planner.training.problem import TrainingProblem
    from solvers.protocol import Deadline
    from solvers.training.block_kinds import BlockStep
    from solvers.training.block_options import BlockOption
    from solvers.training.blocks import Chain


class SolvedChain(NamedTuple):
    """A chain and what may be done with each of its blocks.

    Attributes
    ----------
    chain : Chain
    stages : tuple of Stage
        One per block.
    choice_steps : tuple of tuple of BlockStep
        For each choice of each stage, the step whose local numbers its option uses.
    fixed : tuple of frozenset of int
        Storages that are kept of each block in every case.
    solved : int
        How many distinct blocks, and runs of blocks, were solved.
    """

    chain: Chain
    stages: tuple[Stage, ...]
    choice_steps: tuple[tuple[BlockStep, ...], ...]
    fixed: tuple[frozenset[int], ...]
    solved: int


def solve_blocks(
    problem: TrainingProblem, chain: Chain, widths: Sequence[int], *, deadline: Deadline
) -> SolvedChain:
    """Solve each distinct block once, and each distinct run of so many blocks.

    Parameters
    ----------
    widths : sequence of int
        1 first.
    """
    kinds = block_kinds(problem, chain, widths)
    blocks = len(chain.blocks)
    local = [unrepeatable(kinds.steps[first]) for first in kinds.first]
    fixed = tuple(_in_whole(kinds.steps[i], local[kinds.kind[i]]) for i in range(blocks))
    found: list[tuple[BlockOption, ...]] = []
    for first in kinds.first:
        begin, end = kinds.spans[first]
        kept = frozenset[int]().union(*fixed[begin : end + 1])
        step = kinds.steps[first]
        found.append(block_options(step, _in_step(step, kept), deadline=deadline))
    live = _Live(problem, chain, fixed)
    choices: list[list[Choice]] = [[] for _ in range(blocks)]
    steps: list[list[BlockStep]] = [[] for _ in range(blocks)]
    for (begin, end), step, kind in zip(kinds.spans, kinds.steps, kinds.kind, strict=True):
        base = live.base(end) - live.dying(begin, end)
        for option in found[kind]:
            choices[begin].append(Choice(end, option, live.output_bytes(end), base))
            steps[begin].append(step)
    stages = tuple(
        _stage(live, index, found[kinds.kind[index]], choices[index]) for index in range(blocks)
    )
    return SolvedChain(chain, stages, tuple(map(tuple, steps)), fixed, len(kinds.first))


def _stage(
    live: _Live, index: int, options: Sequence[BlockOption], choices: Sequence[Choice]
) -> Stage:
    bare = next(option for option in options if not option.saved)
    inputs = live.output_bytes(index - 1) if index else 0
    return Stage(inputs, live.base(index), bare.forward_ps, bare.forward_bytes, tuple(choices))


def _in_whole(step: BlockStep, local: Iterable[int]) -> frozenset[int]:
    return frozenset(step.storages[s] for s in local)


def _in_step(step: BlockStep, storages: frozenset[int]) -> frozenset[int]:
    return frozenset(i for i, s in enumerate(step.storages) if s in storages)


class _Live:
    """Bytes that are live at a place of the chain, whatever is kept of its blocks."""

    def __init__(
        self, problem: TrainingProblem, chain: Chain, fixed: Sequence[frozenset[int]]
    ) -> None:
        self.problem = problem
        self.chain = chain
        self.fixed = fixed
        self.size = problem.size_bytes
        blocks = len(chain.blocks)
        self.fixed_bytes = np.cumsum([self._bytes(kept) for kept in fixed])
        self.constant_bytes = self._constants()
        # Gradients: block in which each is born (above all for tangents), and lowest that reads it.
        self.born = dict.fromkeys(problem.tangents.tolist(), blocks)
        self.last: dict[int, int] = {}
        for block in range(blocks - 1, -1, -1):
            for operator in chain.blocks[block].backward:
                self.last.update(dict.fromkeys(problem.read_rows[operator], block))
                self.born.update(dict.fromkeys(problem.write_rows[operator], block))
        self.last.update(dict.fromkeys(problem.gradients.tolist(), -1))
        self.flowing = np.zeros(blocks, dtype=np.int64)
        for storage, block in self.born.items():
            self.flowing[max(self.last.get(storage, block), 0) : block] += self.size[storage]

    def _bytes(self, storages: Iterable[int]) -> int:
        return int(self.size[list(storages)].sum())

    def base(self, block: int) -> int:
        """Bytes while the block or those before it run and all later ones are done with."""
        live = self.flowing[block] + self.constant_bytes[block] + self.fixed_bytes[block]
        return int(live)

    def dying(self, first: int, last: int) -> int:
        """Bytes of gradients that flow into a run of blocks and end there."""
        return sum(
            int(self.size[storage])
            for storage, born in self.born.items()
            if born > last and first <= self.last.get(storage, born) <= last
        )

    def output_bytes(self, block: int) -> int:
        """Bytes over the cut after a block, apart from those kept in every case."""
        return self._bytes(set(self.chain.blocks[block].outputs) - self.fixed[block])

    def _constants(self) -> np.ndarray:
        """Return bytes of constants that each block or one before it still reads."""
        problem, blocks = self.problem, self.chain.blocks
        lowest = dict.fromkeys(self.chain.constants, len(blocks) - 1)
        for index in range(len(blocks) - 1, -1, -1):
            for operator in (*blocks[index].forward, *blocks[index].backward):
                reads = problem.read_rows[operator]
                lowest.update(dict.fromkeys((s for s in reads if s in lowest), index))
        for storage in (*problem.forward_outputs.tolist(), *problem.gradients.tolist()):
            if storage in lowest:
                lowest[storage] = 0
        live = np.zeros(len(blocks), dtype=np.int64)
        for storage, index in lowest.items():
            live[index:] += self.size[storage]
        return live
