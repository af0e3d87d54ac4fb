"""What the dynamic program has to know of each block of a training step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from solvers.training.chain_program import Stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from planner.training.problem import TrainingProblem
    from solvers.training.block_kinds import BlockKinds
    from solvers.training.block_options import BlockOptions
    from solvers.training.blocks import Chain


def chain_stages(
    problem: TrainingProblem, chain: Chain, kinds: BlockKinds, options: Sequence[BlockOptions]
) -> list[Stage]:
    """Return the chain as the dynamic program sees it."""
    gradient_bytes, dying_bytes = _gradients(problem, chain)
    constant_bytes = _constants(problem, chain)
    fixed_bytes = 0
    stages: list[Stage] = []
    fixed_inputs = 0
    for index, block in enumerate(chain.blocks):
        found, step = options[kinds.kind[index]], kinds.steps[index]
        fixed_bytes += int(step.problem.size_bytes[list(found.fixed)].sum())
        bare = next(option for option in found.options if not option.saved)
        outputs = step.outputs - found.fixed
        base = int(gradient_bytes[index] + constant_bytes[index]) + fixed_bytes
        stages.append(
            Stage(
                int(problem.size_bytes[list(block.inputs)].sum()) - fixed_inputs,
                int(step.problem.size_bytes[list(outputs)].sum()),
                base,
                base - int(dying_bytes[index]),
                bare.forward_ps,
                bare.forward_bytes,
                found.options,
            )
        )
        fixed_inputs = int(step.problem.size_bytes[list(step.outputs & found.fixed)].sum())
    return stages


def _gradients(
    problem: TrainingProblem, chain: Chain
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return gradient bytes that flow into each block's backward, and those that die there."""
    order = [o for block in reversed(chain.blocks) for o in block.backward]
    owner = [b for b in range(len(chain.blocks) - 1, -1, -1) for _ in chain.blocks[b].backward]
    born = dict.fromkeys(problem.tangents.tolist(), len(chain.blocks))
    last: dict[int, int] = {}
    for operator, block in zip(order, owner, strict=True):
        last.update(dict.fromkeys(problem.reads.row(operator).tolist(), block))
        born.update(dict.fromkeys(problem.writes.row(operator).tolist(), block))
    last.update(dict.fromkeys(problem.gradients.tolist(), -1))
    flowing = np.zeros(len(chain.blocks), dtype=np.int64)
    dying = np.zeros(len(chain.blocks), dtype=np.int64)
    for storage, block in born.items():
        end = last.get(storage, block)
        flowing[max(end, 0) : block] += problem.size_bytes[storage]
        if 0 <= end < block:
            dying[end] += problem.size_bytes[storage]
    return flowing, dying


def _constants(problem: TrainingProblem, chain: Chain) -> NDArray[np.int64]:
    """Return bytes of constants that this block or one before it still reads."""
    lowest = dict.fromkeys(chain.constants, len(chain.blocks) - 1)
    for index in range(len(chain.blocks) - 1, -1, -1):
        block = chain.blocks[index]
        for operator in (*block.forward, *block.backward):
            reads = problem.reads.row(operator).tolist()
            lowest.update(dict.fromkeys((s for s in reads if s in lowest), index))
    lowest.update(dict.fromkeys(problem.forward_outputs.tolist(), 0))
    for storage in problem.gradients.tolist():
        if storage in lowest:
            lowest[storage] = 0
    live = np.zeros(len(chain.blocks), dtype=np.int64)
    for storage, index in lowest.items():
        live[index:] += problem.size_bytes[storage]
    return live
