"""Blocks as training steps of their own, and which of them are the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.graph import RaggedArray
from planner.training.problem import TrainingProblem
from solvers.training.blocks import Block

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from solvers.training.blocks import Chain


class BlockStep(NamedTuple):
    """One block as a training step.

    Its first operator provides the block's inputs and its last forward one reads the outputs; both
    take no time and cannot be repeated. Gradients that flow in are its tangents. Constants of the
    chain are left out.

    Attributes
    ----------
    problem : TrainingProblem
    operators, storages : tuple of int
        What its operators and storages are in the whole step, -1 for the two added operators.
        Both ascend in the same order in identical blocks.
    inputs, outputs : int
        How many of its storages, the first ones, are inputs; and its storages that are outputs.
    """

    problem: TrainingProblem
    operators: tuple[int, ...]
    storages: tuple[int, ...]
    inputs: int
    outputs: frozenset[int]

    @property
    def signature(self) -> tuple[object, ...]:
        """Equal for blocks of the same sizes, durations and wiring."""
        step = self.problem
        arrays = (
            *(step.is_backward, step.in_forward, step.recomputable),
            *(step.reads.offsets, step.reads.values, step.writes.offsets, step.writes.values),
            *(step.workspace_bytes, step.duration_ps, step.size_bytes),
            *(step.gradients, step.tangents),
        )
        return (self.inputs, self.outputs, *(array.tobytes() for array in arrays))


class BlockKinds(NamedTuple):
    """Blocks and runs of neighbouring blocks, and one number for all that are the same.

    Attributes
    ----------
    spans : tuple of (int, int)
        First and last block of each. The single blocks come first, in their order.
    steps : tuple of BlockStep
        Of each.
    kind : tuple of int
        Of each.
    first : tuple of int
        The first of each kind.
    """

    spans: tuple[tuple[int, int], ...]
    steps: tuple[BlockStep, ...]
    kind: tuple[int, ...]
    first: tuple[int, ...]


def block_kinds(problem: TrainingProblem, chain: Chain, widths: Sequence[int] = (1,)) -> BlockKinds:
    """Return runs of so many blocks as training steps, equal ones marked as such."""
    blocks = chain.blocks
    needed = _read_below(problem, chain)
    spans = [(i, i + w - 1) for w in widths for i in range(len(blocks) - w + 1)]
    steps = tuple(
        _step(problem, chain, _merged(blocks[first : last + 1]), needed[first])
        for first, last in spans
    )
    kinds: dict[tuple[object, ...], int] = {}
    first_of: list[int] = []
    kind: list[int] = []
    for i, step in enumerate(steps):
        number = kinds.setdefault(step.signature, len(kinds))
        kind.append(number)
        if number == len(first_of):
            first_of.append(i)
    return BlockKinds(tuple(spans), steps, tuple(kind), tuple(first_of))


def _merged(blocks: Sequence[Block]) -> Block:
    forward = sorted(o for block in blocks for o in block.forward)
    backward = sorted(o for block in blocks for o in block.backward)
    return Block(tuple(forward), tuple(backward), blocks[0].inputs, blocks[-1].outputs)


def _read_below(problem: TrainingProblem, chain: Chain) -> list[set[int]]:
    """Return, for each block, what blocks before it read in their backward stretches."""
    needed: list[set[int]] = []
    wanted = set(problem.gradients.tolist())
    for block in chain.blocks:
        needed.append(set(wanted))
        for operator in block.backward:
            wanted.update(problem.read_rows[operator])
    return needed


def _step(problem: TrainingProblem, chain: Chain, block: Block, read_below: set[int]) -> BlockStep:
    storages: dict[int, int] = {}

    def number(found: Iterable[int]) -> list[int]:
        wanted = [s for s in found if s not in chain.constants]
        return [storages.setdefault(s, len(storages)) for s in wanted]

    number(block.inputs)
    writes = [number(problem.write_rows[o]) for o in block.forward]
    made = {s for o in block.backward for s in problem.write_rows[o]}
    read = sorted({s for o in block.backward for s in problem.read_rows[o]} - made)
    flows = number(s for s in read if s not in storages)
    written = [number(problem.write_rows[o]) for o in block.backward]

    def reads(operators: Iterable[int]) -> list[list[int]]:
        return [sorted(number(problem.read_rows[o])) for o in operators]

    outputs = number(block.outputs)
    operators = [-1, *block.forward, -1, *block.backward]
    rows = [[], *reads(block.forward), sorted(outputs), *reads(block.backward)]
    made_rows = [list(range(len(block.inputs))), *writes, [], *written]
    # The two added operators have index -1: the entry put behind the last one.
    index = np.array(operators, dtype=np.int64)
    forward = len(block.forward) + 2
    names = tuple(problem.operator_names[o] if o >= 0 else "cut" for o in operators)
    step = TrainingProblem(
        names,
        tuple(problem.storage_names[s] for s in storages),
        np.arange(len(operators)) >= forward,
        np.append(problem.in_forward, True)[index],
        np.append(problem.recomputable, False)[index],
        RaggedArray.from_rows(rows),
        RaggedArray.from_rows(made_rows),
        np.append(problem.workspace_bytes, 0)[index],
        np.append(problem.duration_ps, 0)[index],
        problem.size_bytes[list(storages)],
        np.zeros(0, dtype=np.int32),
        np.array([storages[s] for s in sorted(made & read_below)], dtype=np.int32),
        np.array(flows, dtype=np.int32),
    )
    return BlockStep(step, tuple(operators), tuple(storages), len(block.inputs), frozenset(outputs))
