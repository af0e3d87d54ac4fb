"""What Inductor's kernels take in: operators whose only reader computes them as it reads."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from planner.graph import RaggedArray

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch.fx import Node

    from frontends.torch.joint import JointProgram
    from planner.training.problem import TrainingProblem

# Beyond so many operands Inductor stores what it would otherwise compute where it is read
# (``realize_acc_reads_threshold``).
_MOST_OPERANDS = 8
_CASTS = frozenset((torch.ops.prims.convert_element_type.default,))
_REDUCTIONS = frozenset(
    (
        torch.ops.aten.amax.default,
        torch.ops.aten.amin.default,
        torch.ops.aten.mean.dim,
        torch.ops.aten.sum.default,
        torch.ops.aten.sum.dim_IntList,
    )
)


def fused(joint: JointProgram) -> JointProgram:
    """Return a joint program in which single-use elementwise operators are part of their reader.

    Inductor computes the result of an elementwise operator that one elementwise operator or
    reduction of the same half reads inside that reader's kernel: it takes no bytes, and the
    operands live until the reader has run. Other fusions, among them those of results with several
    readers, are not foreseen.
    """
    taken = _taken(joint)
    if not taken:
        return joint
    problem = joint.problem
    remaining = [o for o in range(len(problem.operator_names)) if o not in taken]
    reads = [set(row) for row in problem.read_rows]
    durations = problem.duration_ps.copy()
    within: dict[int, list[Node]] = {}
    # A reader comes behind what it takes in, so that each passes on what it took in itself.
    for operator in sorted(taken):
        reader, nodes = taken[operator]
        reads[reader] = (reads[reader] - set(problem.write_rows[operator])) | reads[operator]
        durations[reader] += durations[operator]
        within.setdefault(reader, []).extend((*within.pop(operator, ()), *nodes))
    gone = {storage for operator in taken for storage in problem.write_rows[operator]}
    kept = [s for s in range(len(problem.storage_names)) if s not in gone]
    position = {operator: index for index, operator in enumerate(remaining)}
    return replace(
        joint,
        problem=_restricted(problem, remaining, kept, reads, durations),
        nodes=tuple(joint.nodes[o] for o in remaining),
        values=tuple(joint.values[s] for s in kept),
        recomputed_as={position[o]: r for o, r in joint.recomputed_as.items()},
        within={joint.nodes[o]: tuple(nodes) for o, nodes in within.items()},
    )


def _taken(joint: JointProgram) -> Mapping[int, tuple[int, list[Node]]]:
    """Return, per operator that is taken in, its reader and the nodes in between, itself first."""
    problem = joint.problem
    readers: dict[int, list[int]] = {}
    for operator, row in enumerate(problem.read_rows):
        for storage in row:
            readers.setdefault(storage, []).append(operator)
    results = {*problem.forward_outputs.tolist(), *problem.gradients.tolist()}
    index = {node: operator for operator, node in enumerate(joint.nodes)}
    operands = [len(node.all_input_nodes) for node in joint.nodes]
    taken: dict[int, tuple[int, list[Node]]] = {}
    for operator, node in enumerate(joint.nodes):
        written = problem.write_rows[operator]
        if (
            len(written) != 1
            or written[0] in results
            or len(readers.get(written[0], ())) != 1
            or not problem.recomputable[operator]
            or operator in joint.recomputed_as
            or not _is_elementwise(node)
        ):
            continue
        path = _path(node, index)
        reader = readers[written[0]][0]
        if (
            path is None
            or index[path[-1]] != reader
            or reader in joint.recomputed_as
            or problem.is_backward[reader] != problem.is_backward[operator]
            or not (_is_elementwise(path[-1]) or path[-1].target in _REDUCTIONS)
            or operands[reader] + operands[operator] - 1 > _MOST_OPERANDS
        ):
            continue
        operands[reader] += operands[operator] - 1
        taken[operator] = reader, path[:-1]
    return taken


def _path(node: Node, index: Mapping[Node, int]) -> list[Node] | None:
    """Return a node, the views of it and their only reader; None where there are several users."""
    path = [node]
    while len(path[-1].users) == 1:
        path.append(next(iter(path[-1].users)))
        if path[-1] in index:
            return path
    return None


def _is_elementwise(node: Node) -> bool:
    target = node.target
    if not isinstance(target, torch._ops.OpOverload):
        return False
    return torch.Tag.pointwise in target.tags or target in _CASTS


def _restricted(
    problem: TrainingProblem,
    operators: list[int],
    storages: list[int],
    reads: list[set[int]],
    durations: np.ndarray,
) -> TrainingProblem:
    """Return a problem of some of its operators and storages, numbered anew."""
    number = {storage: index for index, storage in enumerate(storages)}

    def renumbered(chosen: np.ndarray) -> np.ndarray:
        return np.array([number[s] for s in chosen.tolist()], dtype=np.int32)

    return replace(
        problem,
        operator_names=tuple(problem.operator_names[o] for o in operators),
        storage_names=tuple(problem.storage_names[s] for s in storages),
        is_backward=problem.is_backward[operators],
        in_forward=problem.in_forward[operators],
        recomputable=problem.recomputable[operators],
        reads=RaggedArray.from_rows([sorted(number[s] for s in reads[o]) for o in operators]),
        writes=RaggedArray.from_rows(
            [[number[s] for s in problem.write_rows[o]] for o in operators]
        ),
        workspace_bytes=problem.workspace_bytes[operators],
        duration_ps=durations[operators],
        size_bytes=problem.size_bytes[storages],
        forward_outputs=renumbered(problem.forward_outputs),
        gradients=renumbered(problem.gradients),
        tangents=renumbered(problem.tangents),
    )
